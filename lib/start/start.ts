// What runs first: the version of Node is judged before anything is loaded that an older one cannot read. So this file imports nothing.

/** @returns why this version of Node cannot run the gate, or null. @param version as of `process.versions.node`. */
export function nodeProblem(version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major >= 24 || (major === 22 && minor >= 19)) return null;
  return `expected Node 22.19 or a later 22, or Node 24 or later, got ${version}. Example: npx -p node@24 -- node app.js`;
}

// Imported before anything that an older Node cannot load, so it imports nothing.

/** @returns why this version of Node cannot run the gate, or null. @param version as of `process.versions.node`. */
export function nodeProblem(version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major >= 24 || (major === 22 && minor >= 19)) return null;
  return `expected Node 22.19 or a later 22, or Node 24 or later, got ${version}. Example: npx -p node@24 -- node app.js`;
}

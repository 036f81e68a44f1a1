let known: string | null = null;

/** The version of this package. */
export async function packageVersion(): Promise<string> {
  if (known !== null) return known;
  const { default: manifest } = (await import('../../package.json', { with: { type: 'json' } })) as { default: { version: string } };
  return (known = manifest.version);
}

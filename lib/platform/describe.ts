/** An error's name, code and message for the event log; never its stack or cause. */
export function describe(error: unknown): object {
  if (!(error instanceof Error)) return { name: 'unknown' };
  const { code } = error as { code?: unknown };
  return { name: error.name, message: error.message, ...(typeof code === 'string' ? { code } : {}) };
}

/** What an error from elsewhere may be called where its text may hold anything: its code, or else its name. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

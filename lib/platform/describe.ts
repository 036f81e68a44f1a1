/** The name, code and message of an error for the event log, without its stack and cause. */
export function describe(error: unknown): object {
  if (!(error instanceof Error)) return { name: 'unknown' };
  const { code } = error as { code?: unknown };
  return { name: error.name, message: error.message, ...(typeof code === 'string' ? { code } : {}) };
}

/** The code of an error, or its name where it has no code. For errors of other libraries, whose message may contain secrets. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

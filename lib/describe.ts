/** An error's name, code and message for the event log; never its stack or cause. */
export function describe(error: unknown): object {
  if (!(error instanceof Error)) return { name: 'unknown' };
  const { code } = error as { code?: unknown };
  return { name: error.name, message: error.message, ...(typeof code === 'string' ? { code } : {}) };
}

/** Longest wait that is accepted, milliseconds. */
const maxWait = 3_600_000;

/** Milliseconds of a `Retry-After` of either form (RFC 9110 §10.2.3), at most an hour; 0 without a valid one. */
export function retryAfterOf(header: string | null, now: number): number {
  if (header === null) return 0;
  const wait = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(wait) ? 0 : Math.min(maxWait, Math.max(0, wait));
}

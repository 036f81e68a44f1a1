import type { Context } from '../request/request.ts';
import { endOfValue, headerOf, skipSpace } from '../http/http.ts';

/** A JSON answer commits when it is complete or exceeds this; an error's body is kept up to it. */
export const holdLimit = 262_144;

export type Reading = 'stream' | 'json' | 'error' | 'none';

/** How an answer is looked at before it commits; `none`: it commits at its head. */
export function readingOf(status: number, head: readonly string[], context: Context): Reading {
  if (status >= 400) return 'error';
  if (status === 204 || status === 304 || context.req.method === 'HEAD') return 'none';
  const type = headerOf(head, 'content-type') ?? '';
  if (type.startsWith('text/event-stream')) return headerOf(head, 'content-encoding') === null ? 'stream' : 'none';
  if (!type.includes('json')) return 'none';
  return Number(headerOf(head, 'content-length') ?? 0) > holdLimit ? 'none' : 'json';
}

export const lineFeed = 0x0a;
const closeBrace = 0x7d;
const closeBracket = 0x5d;

/** Whether a chunk ends at a blank line, with LF or CRLF; one that is but the second line end needs the chunk before. */
export function endsEvent(chunk: Buffer, afterLineEnd: boolean): boolean {
  const last = chunk.length - 1;
  if (chunk[last] !== lineFeed) return false;
  const before = chunk[last - 1] === 0x0d ? last - 2 : last - 1;
  return before < 0 ? afterLineEnd : chunk[before] === lineFeed;
}

/** Framing that ends cleanly can still carry half a document; of a compressed one it alone can tell. */
export function isWhole(body: Buffer, head: readonly string[]): boolean {
  if (headerOf(head, 'content-encoding') !== null) return body.length > 0;
  let last = body.length - 1;
  while (last >= 0 && (body[last] as number) <= 0x20) last--;
  return (body[last] === closeBrace || body[last] === closeBracket) && endOfValue(body, skipSpace(body, 0)) !== -1;
}

import type { Context, Tap } from '../request/request.ts';
import type { Segment } from './segment.ts';
import { kinds, texts, type Kind } from './messages.ts';

/** A request line is cut here; what is kept of it is shorter. */
const longestUrl = 8192;
/** A name that a caller or an upstream chose, and a list of addresses, are cut here; what is kept of them is shorter. */
const longestName = 1024;
const longestList = 4096;
/** A cookie or an agent beyond this is cut. */
const longestHeader = 16_384;

/** What the record knows of bytes that passed and were not kept whole. */
export interface Tapped extends Tap {
  /** Bytes of a body that streamed. */
  readonly streamed: number;
  readonly type: string | null;
  readonly encoding: string | null;
  /** What is kept of the answer. */
  taken(): Buffer | null;
}

/**
 * Writes the record of a request into a segment: numbers as they are, and the texts that are not those of an earlier record.
 * @param mostBody bytes of its body that are handed on.
 * @returns false when it does not fit, and nothing of it is there.
 */
export function encode(segment: Segment, context: Context, kind: Kind, mostBody: number): boolean {
  const { req, route } = context;
  const isWhole = route.credential && req.rawHeaders.length > 0;
  if (isWhole && write(segment, context, kind, mostBody, req.rawHeaders)) return true;
  // What no segment holds is left out; elsewhere it might fit into the next.
  return (!isWhole || segment.records === 0) && write(segment, context, kind, mostBody, fewHeaders(context));
}

function write(segment: Segment, context: Context, kind: Kind, mostBody: number, headers: readonly string[]): boolean {
  if (!segment.begin(context.req.headers['user-agent'] ?? '', texts.length + headers.length)) return false;
  const tap = context.tap as Tapped | null;
  writeTexts(segment, context, tap);
  for (let at = 0; at < headers.length; at++) segment.text(headers[at] as string);
  const body = kind === 'record' ? bodyOf(context, tap) : null;
  segment.number(kinds[kind]);
  segment.number(body === null ? (tap?.streamed ?? 0) : body.length);
  writeNumbers(segment, context);
  return segment.end(body === null || body.length <= mostBody ? body : body.subarray(0, mostBody), kind === 'record' && tap !== null ? tap.taken() : null);
}

function bodyOf({ body, route }: Context, tap: Tapped | null): Buffer | null {
  return body !== null && body.length > 0 && route.class === 'model' && (tap === null || tap.streamed === 0) ? body : null;
}

const ends = /\p{Cc}/u;
const everyEnd = /\p{Cc}/gu;
/** A text that came neither in a header nor in the request line, or was decoded, may hold any character. */
const clean = (text: string | null): string => (text === null ? '' : ends.test(text) ? cut(text, longestName).replace(everyEnd, ' ') : cut(text, longestName));
const cut = (text: string, length: number): string => (text.length > length ? text.slice(0, length) : text);

/** In the order of `ownTexts` and `texts`. */
function writeTexts(segment: Segment, context: Context, tap: Tapped | null): void {
  const { req, route, token } = context;
  segment.own(context.id);
  segment.own(cut(context.upstreamRequestId ?? '', longestName));
  segment.own(token === null ? '' : token.id);
  // Behind `sk-…`.
  segment.own(token === null ? '' : clean(token.mask.slice(4)));
  segment.text(cut(req.method ?? '', longestName));
  segment.text(cut(req.originalUrl ?? req.url ?? '', longestUrl));
  segment.text(req.httpVersion);
  segment.text(context.ip);
  segment.text(context.forwardedFor.slice(-longestList));
  segment.text(context.outcome === 'refused' ? `refused:${context.errorCode ?? 'unknown'}` : context.outcome);
  segment.text(context.device);
  segment.text(clean(context.key));
  segment.text(context.ja4 ?? '');
  segment.text(context.country ?? '');
  segment.text(clean(context.model));
  segment.text(cut(context.target ?? '', longestName));
  segment.text(context.rules === null ? '' : context.rules.join(','));
  segment.text(route.template);
  segment.text(route.class);
  segment.text(tap?.type ?? '');
  segment.text(tap?.encoding ?? '');
}

/** In the order of `numbers`, from the answer's on. */
function writeNumbers(segment: Segment, context: Context): void {
  const { usage, tokensReserved } = context;
  segment.number(context.bytesOut);
  segment.number(context.status);
  segment.number(context.duration);
  segment.number(context.attempts);
  segment.number(context.queueWait);
  segment.number(context.headAt ?? NaN);
  segment.number(context.overhead ?? NaN);
  segment.number(usage?.prompt ?? NaN);
  segment.number(usage?.completion ?? NaN);
  segment.number(usage?.cached ?? NaN);
  segment.number(usage?.reasoning ?? NaN);
  segment.number(tokensReserved ?? NaN);
  segment.number(tokensReserved === null ? NaN : context.tokensSettled);
  segment.number(context.cost ?? NaN);
  segment.number(context.bytesIn);
  segment.number(context.bytesOut);
  segment.number(context.stream ? 1 : 0);
  segment.number(usage?.estimated === true ? 1 : 0);
}

/**
 * The headers that are needed, name and value in turn: of the dashboard's requests, of webhooks' and of pages' nothing but
 * agent, cookies and what an access line may show of the referrer leaves the request.
 */
function fewHeaders({ req }: Context): readonly string[] {
  const { 'user-agent': agent, cookie, referer, 'content-type': type, 'content-encoding': encoding } = req.headers;
  const found = { 'user-agent': agent, cookie, referer: referer?.split(/[?#]/, 1)[0], 'content-type': type, 'content-encoding': encoding };
  return Object.entries(found).flatMap(([name, value]) => (value === undefined ? [] : [name, value.slice(0, longestHeader)]));
}

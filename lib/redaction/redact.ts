import { mask, masked, readable, withoutData, withoutLastWord } from './mask.ts';
import { sign, signsIn } from './secret-hints.ts';
import { textOfStream } from './stream-text.ts';

/** Longest texts kept, characters; the first four are widths of the original's columns. */
export const longest = { path: 512, method: 16, forwarded: 255, token: 255, agent: 512, name: 255, query: 1024, value: 512, headers: 16_384 } as const;

/** Headers whose values are kept: what tells clients apart and explains a failure, and never says who somebody is to a server. */
const safe: ReadonlySet<string> = new Set([
  'accept', 'accept-charset', 'accept-encoding', 'accept-language', 'access-control-request-headers', 'access-control-request-method',
  'anthropic-beta', 'anthropic-version', 'cache-control', 'connection', 'content-encoding', 'content-language', 'content-type',
  'date', 'dnt', 'expect', 'host', 'openai-beta', 'origin', 'pragma', 'priority', 'range', 'referer', 'sec-ch-ua', 'sec-ch-ua-mobile',
  'sec-ch-ua-platform', 'sec-fetch-dest', 'sec-fetch-mode', 'sec-fetch-site', 'sec-fetch-user', 'sec-websocket-version', 'te', 'transfer-encoding',
  'upgrade', 'upgrade-insecure-requests', 'user-agent', 'via', 'x-requested-with', 'x-stainless-arch', 'x-stainless-async',
  'x-stainless-helper-method', 'x-stainless-lang', 'x-stainless-os', 'x-stainless-package-version', 'x-stainless-read-timeout',
  'x-stainless-retry-count', 'x-stainless-runtime', 'x-stainless-runtime-version', 'x-stainless-timeout', 'x-title',
]);

/** Headers that carry credentials, by what their names hold. Their values are kept in no mode. */
const secretHeader = /auth|token|key|secret|cookie|session|passw|credential|signature|jwt|csrf|xsrf|sec-websocket-protocol|bearer/;

/** Flat name, value list as Node has it, names as they came. */
export type Headers = readonly string[];

/** Whether a header's value is kept in every mode, by the name it came with. */
export const isSafe = (name: string): boolean => safe.has(name.toLowerCase());

/**
 * The headers that may be kept, as a JSON object; several lines of a name are joined. Values are cut at 512 characters and
 * masked, `Referer` keeps its path alone.
 * @param mode `safe`: a literal list. `all`: everything but what carries credentials, cookies among it.
 */
export function keptHeaders(headers: Headers, mode: 'safe' | 'all'): string {
  const kept: Record<string, string> = Object.create(null) as Record<string, string>;
  let room = longest.headers;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase();
    const mayBe = safe.has(name);
    if (!mayBe && (mode === 'safe' || name.length > 64)) continue;
    const value = !mayBe && secretHeader.test(name) ? masked : shown(name, headers[at + 1] as string);
    room -= name.length + value.length;
    if (room < 0) break;
    kept[name] = kept[name] === undefined ? value : `${kept[name]}, ${value}`;
  }
  return mask(JSON.stringify(kept));
}

const shown = (name: string, value: string): string => (name === 'referer' ? pathOf(value) : value.slice(0, longest.value));

/** What is kept of a `Referer`: its path, without who, where and the query. */
export function pathOf(url: string): string {
  const path = url.replace(/^[a-z][a-z\d+.-]{0,32}:\/\/[^/?#]*/i, '');
  return (/^[^?#]*/.exec(path)?.[0] ?? '').slice(0, longest.value);
}

/** @returns the first value of a header, or null. */
export function headerOf(headers: Headers, lower: string): string | null {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return headers[at + 1] as string;
  }
  return null;
}

/** Names of cookies and of query parameters that are taken for names; anything else is somebody's text. */
const plainName = /^[\w.\-[\]~!$*+%]{1,64}$/;
const mostNames = 40;

/** A `Cookie` header's pairs; what is no pair is left out. */
export function cookiesOf(header: string): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  for (const pair of header.split(';', mostNames)) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, Math.max(0, equals)).trim();
    if (plainName.test(name)) pairs.push([name, pair.slice(equals + 1).trim()]);
  }
  return pairs;
}

/** JSON object of cookie names to keyed hashes of their values; null without any. */
export function keptCookies(pairs: readonly (readonly [string, string])[], hash: (value: string) => string): string | null {
  if (pairs.length === 0) return null;
  return mask(JSON.stringify(Object.fromEntries(pairs.map(([name, value]) => [name, hash(value)]))));
}

/** A query without values but those of the listed names. What stands without `=` may be a value itself: only a short word is kept. */
export function keptQuery(query: string, allowed: readonly string[]): string | null {
  if (query === '') return null;
  const kept = query.split('&', mostNames).map((pair) => {
    const equals = pair.indexOf('=');
    const name = equals === -1 ? pair : pair.slice(0, equals);
    if (!plainName.test(name) || (equals === -1 && name.length > 16)) return '…';
    return equals !== -1 && allowed.includes(name) ? pair.slice(0, longest.value) : name;
  });
  return mask(kept.join('&').slice(0, longest.query));
}

/** A path as it may be kept: without authority, masked. */
export function keptPath(path: string): string {
  const local = path[0] === '/' ? path : path.replace(/^(?:[a-z][a-z\d+.-]{0,32}:\/\/)?[^/?#]*/i, '');
  return mask(local.slice(0, longest.path));
}

/** A text somebody wrote into a header or a field: bounded and masked. */
export const keptText = (text: string, length: number): string => mask(text.slice(0, length));

/** A body on its way into the journal. */
export interface Body {
  /** What there is of it, from its beginning. */
  readonly bytes: Uint8Array;
  /** All of it, bytes. */
  readonly total: number;
  readonly type: string | null;
  readonly encoding: string | null;
}

const textual = /^(?:application\/(?:[\w.-]+\+)?(?:json|x-ndjson)|text\/(?:plain|event-stream|markdown))\b/i;
const stream = /^text\/event-stream\b/i;
/** What nearly all send. */
const usual = 'application/json';

/**
 * What may be kept of a body: JSON and plain text from its beginning, masked; of an event stream what it says; of anything
 * else a description in brackets.
 * @param limit bytes; 0 keeps nothing.
 */
export function keptBody({ bytes, total, type, encoding }: Body, limit: number): string | null {
  if (limit === 0 || total === 0) return null;
  if (encoding !== null && !/^identity$/i.test(encoding)) return `[${word(encoding)}, ${total} bytes]`;
  if (type !== usual) {
    if (type !== null && /^multipart\//i.test(type)) return describeParts(bytes, total, type);
    if (type === null ? !isJsonLike(bytes) : !textual.test(type)) return `[${type === null ? 'unknown' : word(type)}, ${total} bytes]`;
  }
  const cut = bytes.length > limit || total > bytes.length;
  const kept = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, limit));
  const sent = withoutBrokenEnd(kept, cut);
  if (type !== null && type !== usual && stream.test(type)) return `[${word(type)}, ${total} bytes] ${mask(withoutData(cut ? withoutLastWord(textOfStream(sent)) : textOfStream(sent)).replaceAll('\0', ''))}`;
  const signs = signsIn(kept);
  const text = withoutData((signs & sign.hidden) === 0 ? sent : readable(sent).replaceAll('\0', ''));
  return cut ? `${mask(withoutLastWord(text), signs)}… [${total} bytes]` : mask(text, signs);
}

const word = (text: string): string => text.split(';', 1)[0]?.replace(/[^\w/+.,-]/g, '').slice(0, 64).toLowerCase() ?? '';

const isJsonLike = (bytes: Uint8Array): boolean => /^\s*[[{]/.test(Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1'));

/** A cut may go through a character of several bytes. */
function withoutBrokenEnd(bytes: Buffer, cut: boolean): string {
  const text = bytes.toString('utf8');
  return cut ? text.replace(/\ufffd{1,3}$/, '') : text;
}

const mostParts = 32;

/** Names, types and sizes of the parts of a form: no content, and of file names the extension alone. */
function describeParts(bytes: Uint8Array, total: number, type: string): string {
  const boundary = /boundary="?([^\s";]{1,200})/i.exec(type)?.[1];
  const parts: string[] = [];
  if (boundary !== undefined) {
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const mark = `--${boundary}`;
    for (let from = body.indexOf(mark); from !== -1 && parts.length < mostParts; ) {
      const next = body.indexOf(mark, from + mark.length);
      if (next === -1) {
        if (total > bytes.length) parts.push(describePart(body.subarray(from + mark.length), false));
        break;
      }
      parts.push(describePart(body.subarray(from + mark.length, next), true));
      from = next;
    }
  }
  return `[${word(type)}, ${total} bytes${parts.length === 0 ? '' : `: ${parts.join('; ')}`}]`;
}

/** @param isWhole else its size is not known. */
function describePart(part: Buffer, isWhole: boolean): string {
  const gap = part.indexOf('\r\n\r\n');
  const head = part.subarray(0, Math.min(gap === -1 ? 0 : gap, 1024)).toString('latin1');
  const name = /[;\s]name="?([\w.\-[\]]{1,64})/i.exec(head)?.[1] ?? '?';
  const extension = /filename="?[^"\r\n]{0,255}(\.\w{1,8})"?/i.exec(head)?.[1] ?? null;
  const type = /content-type:\s*([\w.+/-]{1,64})/i.exec(head)?.[1] ?? null;
  const size = gap === -1 ? 0 : Math.max(0, part.length - gap - 6);
  return [mask(name), extension, type, isWhole ? `${size} bytes` : '…'].filter((fact) => fact !== null).join(' ');
}

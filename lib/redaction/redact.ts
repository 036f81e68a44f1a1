import { decodedFully, mask, masked, maskUrl, readable, withoutData, withoutLastWord } from './mask.ts';
import { hint, hintsIn } from './secret-hints.ts';
import { textOfStream } from './stream-text.ts';

/** Characters kept of each text. The first four are the widths of the original gateway's columns. */
export const maxLength = { path: 512, method: 16, forwarded: 255, token: 255, agent: 512, name: 255, query: 1024, value: 512, headers: 16_384 } as const;

/** Headers whose values are kept: they tell clients apart and explain failures, and authenticate no caller. */
const safe: ReadonlySet<string> = new Set([
  'accept', 'accept-charset', 'accept-encoding', 'accept-language', 'access-control-request-headers', 'access-control-request-method',
  'anthropic-beta', 'anthropic-version', 'cache-control', 'connection', 'content-encoding', 'content-language', 'content-type',
  'date', 'dnt', 'expect', 'host', 'openai-beta', 'origin', 'pragma', 'priority', 'range', 'referer', 'sec-ch-ua', 'sec-ch-ua-mobile',
  'sec-ch-ua-platform', 'sec-fetch-dest', 'sec-fetch-mode', 'sec-fetch-site', 'sec-fetch-user', 'sec-websocket-version', 'te', 'transfer-encoding',
  'upgrade', 'upgrade-insecure-requests', 'user-agent', 'via', 'x-requested-with', 'x-stainless-arch', 'x-stainless-async',
  'x-stainless-helper-method', 'x-stainless-lang', 'x-stainless-os', 'x-stainless-package-version', 'x-stainless-read-timeout',
  'x-stainless-retry-count', 'x-stainless-runtime', 'x-stainless-runtime-version', 'x-stainless-timeout', 'x-title',
]);

/** Names of headers that carry credentials. Their values are kept in no mode. */
const secretHeader = /auth|token|key|secret|cookie|session|passw|credential|signature|jwt|csrf|xsrf|sec-websocket-protocol|bearer/;

/** Names and values in turn, as `rawHeaders` of Node. */
export type Headers = readonly string[];

/** Whether a header's value is kept in every mode. @param name in any case. */
export const isSafe = (name: string): boolean => safe.has(name.toLowerCase());

/**
 * The headers that may be kept, as a JSON object. Several headers of one name are joined. Values are masked and cut at 512
 * characters; of `Referer` only the path is kept.
 * @param mode `safe`: the headers of a fixed list. `all`: every header; values of credentials and cookies are masked.
 */
export function keptHeaders(headers: Headers, mode: 'safe' | 'all'): string {
  const kept: Record<string, string> = Object.create(null) as Record<string, string>;
  let room = maxLength.headers;
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

const shown = (name: string, value: string): string => (name === 'referer' ? pathOf(value) : value.slice(0, maxLength.value));

/** The path of a `Referer`, without user, host and query. It is decoded, so that no secret hides in an encoding. */
export function pathOf(url: string): string {
  const path = url.replace(/^[a-z][a-z\d+.-]{0,32}:\/\/[^/?#]*/i, '');
  return decodedFully(/^[^?#]*/.exec(path)?.[0] ?? '').slice(0, maxLength.value);
}

/** @returns the first value of a header, or null. */
export function headerOf(headers: Headers, lower: string): string | null {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return headers[at + 1] as string;
  }
  return null;
}

/** Names of cookies and of query parameters that are kept. Other names may be free text. */
const plainName = /^[\w.\-[\]~!$*+%]{1,64}$/;
const maxNames = 40;

/** The pairs of a `Cookie` header; other parts are left out. */
export function cookiesOf(header: string): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  for (const pair of header.split(';', maxNames)) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, Math.max(0, equals)).trim();
    if (plainName.test(name)) pairs.push([name, pair.slice(equals + 1).trim()]);
  }
  return pairs;
}

/** JSON object of cookie names and keyed hashes of their values; null without cookies. */
export function keptCookies(pairs: readonly (readonly [string, string])[], hash: (value: string) => string): string | null {
  if (pairs.length === 0) return null;
  return mask(JSON.stringify(Object.fromEntries(pairs.map(([name, value]) => [name, hash(value)]))));
}

/** A query with its names, and with the values of allowed names. A parameter without `=` may itself be a value: only a short word is kept. */
export function keptQuery(query: string, allowed: readonly string[], more?: (text: string) => string): string | null {
  if (query === '') return null;
  const kept = query.split('&', maxNames).map((pair) => {
    const equals = pair.indexOf('=');
    const name = equals === -1 ? pair : pair.slice(0, equals);
    if (!plainName.test(name) || (equals === -1 && name.length > 16)) return '…';
    return equals !== -1 && allowed.includes(name) ? pair.slice(0, maxLength.value) : name;
  });
  return maskUrl(kept.join('&').slice(0, maxLength.query), more);
}

/** A path without authority, masked and bounded. */
export function keptPath(path: string, more?: (text: string) => string): string {
  const local = path[0] === '/' ? path : path.replace(/^(?:[a-z][a-z\d+.-]{0,32}:\/\/)?[^/?#]*/i, '');
  return maskUrl(local.slice(0, maxLength.path), more);
}

/** A text of a header or a field, bounded and masked. */
export const keptText = (text: string, length: number): string => mask(text.slice(0, length));

/** A body on its way into the journal. */
export interface Body {
  /** The first bytes of it. */
  readonly bytes: Uint8Array;
  /** Bytes of all of it. */
  readonly total: number;
  readonly type: string | null;
  readonly encoding: string | null;
}

const textual = /^(?:application\/(?:[\w.-]+\+)?(?:json|x-ndjson)|text\/(?:plain|event-stream|markdown))\b/i;
const stream = /^text\/event-stream\b/i;
/** The most frequent media type. */
const usual = 'application/json';

/**
 * The part of a body that may be kept: the start of JSON and plain text, masked; the text of an event stream; a description in
 * brackets for any other type.
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
  const { plain, hints } = decoded(sent, hintsIn(kept));
  const text = withoutData(plain);
  return cut ? `${mask(withoutLastWord(text), hints)}… [${total} bytes]` : mask(text, hints);
}

/** A text without the escapes in which a secret may hide, with the hints that are left. */
function decoded(sent: string, hints: number): { plain: string; hints: number } {
  if ((hints & hint.hidden) === 0) return { plain: sent, hints };
  const plain = readable(sent).replaceAll('\0', '');
  return { plain, hints: plain === sent ? hints & ~hint.hidden : hints };
}

/** Whether a body is JSON that was sent as it is. @param type `Content-Type`. @param encoding `Content-Encoding`. */
export function isJson(type: string | null, encoding: string | null, bytes: Uint8Array): boolean {
  if (encoding !== null && !/^identity$/i.test(encoding)) return false;
  return type === usual || (type === null ? isJsonLike(bytes) : /^application\/(?:[\w.-]+\+)?json\b/i.test(type));
}

/** Bytes up to which a part of a body is masked as a whole before it is cut, so that no secret is cut first. */
const maxWhole = 262_144;
const pemBegin = '-----BEGIN ';
const pemEnd = '-----END ';
/** Takes the place of the beginning of a key block that an earlier part has opened. */
const opened = `${pemBegin}PRIVATE KEY-----`;

/** A part of a body, masked. */
export interface MaskedPart {
  /** The whole of it, or its first bytes where `cut` is true. */
  readonly text: string;
  readonly cut: boolean;
  /** A key block has begun in it, or before it, and has not ended. */
  readonly opens: boolean;
  /** It has escapes that are decoded for masking. */
  readonly escaped: boolean;
}

/**
 * Masks a part of a JSON body: a value, or what stands between two.
 * @param limit bytes of a very long part that are read. @param inside whether an earlier part has opened a key block that is not closed.
 */
export function maskedPart(bytes: Buffer, limit: number, inside: boolean): MaskedPart {
  const cut = bytes.length > Math.max(maxWhole, limit);
  const kept = cut ? bytes.subarray(0, limit) : bytes;
  const { plain, hints } = decoded(withoutBrokenEnd(kept, cut), hintsIn(kept) | (inside ? hint.pem : 0));
  const short = withoutData(plain);
  const text = (inside ? opened : '') + (cut ? withoutLastWord(short) : short);
  const opens = cut ? opensKey(bytes, inside) : (hints & (hint.pem | hint.hidden)) !== 0 && opensKeyBlock(text);
  return { text: mask(text, hints), cut, opens, escaped: (hints & hint.hidden) !== 0 };
}

/** Characters at the beginning of the end of a part that are left out: the rest of a secret may stand there. */
const margin = 4096;

/**
 * Masks the end of a part that is too long to be masked as a whole.
 * @param limit bytes of it, about. @param scrub masks further secrets.
 */
export function maskedEnd(bytes: Buffer, limit: number, inside: boolean, scrub: (text: string) => string): string {
  const start = Math.max(0, bytes.length - limit - 2 * margin);
  const { text } = maskedPart(bytes.subarray(start), Infinity, opensKey(bytes.subarray(0, start), inside));
  return scrub(text).slice(margin);
}

/** Whether a key block has begun in a part, or before it, and has not ended. */
export function opensKey(bytes: Buffer, inside: boolean): boolean {
  const end = bytes.lastIndexOf(pemEnd);
  return bytes.lastIndexOf(pemBegin) > end || (inside && end === -1);
}

function opensKeyBlock(text: string): boolean {
  const end = text.lastIndexOf(pemEnd);
  for (let at = text.lastIndexOf(pemBegin); at > end; at = at === 0 ? -1 : text.lastIndexOf(pemBegin, at - 1)) if (text.slice(at, at + 64).includes('PRIVATE KEY')) return true;
  return false;
}

const word = (text: string): string => text.split(';', 1)[0]?.replace(/[^\w/+.,-]/g, '').slice(0, 64).toLowerCase() ?? '';

const isJsonLike = (bytes: Uint8Array): boolean => /^\s*[[{]/.test(Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1'));

/** Decodes UTF-8. The last character of a truncated body, and its last escape, may be incomplete. */
function withoutBrokenEnd(bytes: Buffer, cut: boolean): string {
  const text = bytes.toString('utf8');
  return cut ? text.replace(/\ufffd{1,3}$/, '').replace(/(?<!\\)\\+(?:u[0-9a-fA-F]{0,3})?$/, '') : text;
}

const maxParts = 32;

/** Names, types and sizes of the parts of a form, without content. Of file names only the extension is kept. */
function describeParts(bytes: Uint8Array, total: number, type: string): string {
  const boundary = /boundary="?([^\s";]{1,200})/i.exec(type)?.[1];
  const parts: string[] = [];
  if (boundary !== undefined) {
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const mark = `--${boundary}`;
    for (let from = body.indexOf(mark); from !== -1 && parts.length < maxParts; ) {
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

/** @param isWhole false when the part is truncated; its size is unknown then. */
function describePart(part: Buffer, isWhole: boolean): string {
  const gap = part.indexOf('\r\n\r\n');
  const head = part.subarray(0, Math.min(gap === -1 ? 0 : gap, 1024)).toString('latin1');
  const name = /[;\s]name="?([\w.\-[\]]{1,64})/i.exec(head)?.[1] ?? '?';
  const extension = /filename="?[^"\r\n]{0,255}(\.\w{1,8})"?/i.exec(head)?.[1] ?? null;
  const type = /content-type:\s*([\w.+/-]{1,64})/i.exec(head)?.[1] ?? null;
  const size = gap === -1 ? 0 : Math.max(0, part.length - gap - 6);
  return [mask(name), extension, type, isWhole ? `${size} bytes` : '…'].filter((fact) => fact !== null).join(' ');
}

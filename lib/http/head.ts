import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import { HeimdallError } from '../errors.ts';

/** @returns the first value of a header in a flat name, value list, or null. */
export function headerOf(head: readonly string[], lower: string): string | null {
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return head[at + 1] as string;
  }
  return null;
}

/** The media type of a message in lower case, without parameters and white space; empty without one (RFC 9110 §8.3.1). */
export function mediaTypeOf(head: readonly string[]): string {
  const type = headerOf(head, 'content-type');
  if (type === null) return '';
  const end = type.indexOf(';');
  return (end === -1 ? type : type.slice(0, end)).trim().toLowerCase();
}

/** The media type of an event stream (WHATWG HTML §9.2.5). */
export const eventStream = 'text/event-stream';

/** The bytes of the byte order mark of UTF-8, which may stand before JSON or an event stream. They begin nothing else that is read here. */
const isMark = new Uint8Array(256);
for (const byte of [0xef, 0xbb, 0xbf]) isMark[byte] = 1;

/** The offset of the first byte that is neither white space nor of the byte order mark. A piece may end within the mark. */
export function contentStart(bytes: Buffer): number {
  let at = 0;
  while (at < bytes.length && ((bytes[at] as number) <= 0x20 || isMark[bytes[at] as number] === 1)) at++;
  return at;
}

/**
 * What a body is by its own bytes, whatever its head says: some upstreams send streams as JSON, as text or without a type. Lines of an
 * event stream, one JSON document or several, a JSON list, other bytes.
 */
export type BodyKind = 'events' | 'json' | 'list' | 'bytes';

const openBrace = 0x7b;
const openBracket = 0x5b;
/** The first bytes of the lines of an event stream: a colon, `data`, `event`, `id`, `retry`. */
const lineStarts: ReadonlySet<number | undefined> = new Set([0x3a, 0x64, 0x65, 0x69, 0x72]);

/** @param first the byte at {@link contentStart}. */
export function bodyKind(first: number | undefined): BodyKind {
  if (first === openBrace) return 'json';
  if (first === openBracket) return 'list';
  return lineStarts.has(first) ? 'events' : 'bytes';
}

const none: readonly string[] = [];

/**
 * The content codings of a message in the order in which they were applied, in lower case; `identity` stands for none and is left
 * out (RFC 9110 §8.4.1). Several fields count as one list.
 * @param head a flat name, value list.
 */
export function codingsOf(head: readonly string[]): readonly string[] {
  let found = none;
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (name.length !== 16 || name.toLowerCase() !== 'content-encoding') continue;
    const named = (head[at + 1] as string).toLowerCase().split(',').map((coding) => coding.trim());
    found = [...found, ...named.filter((coding) => coding !== '' && coding !== 'identity')];
  }
  return found;
}

/** Removes every field of a name from a flat name, value list. */
export function withoutField(head: string[], lower: string): void {
  for (let at = head.length - 2; at >= 0; at -= 2) {
    const name = head[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) head.splice(at, 2);
  }
}

/** A registered name or an IPv4 address, or an IPv6 address in brackets, with an optional port (RFC 9110 §7.2). */
const hostForm = /^(?:[\w.~-]{1,255}|\[([\da-f:.]{2,45})\])(?::(\d{0,5}))?$/i;
const highestPort = 65_535;

/** Whether a `Host` is one that every receiver reads alike. RFC 3986 also allows `%` and punctuation, which readers take differently. */
export function isHost(text: string): boolean {
  const parts = hostForm.exec(text);
  if (parts === null) return false;
  const [, address, port] = parts;
  return (address === undefined || isIPv6(address)) && (port === undefined || Number(port) <= highestPort);
}

/** Older versions of Node leave further fields out of `headers`, by which a request is judged, but not out of `rawHeaders`, which are sent. */
const mostFields = 1000;

/**
 * Checks what decides where a request ends and which host it addresses, since other servers may read it differently: HTTP/1, at
 * most 1 000 fields, one valid `Host` (RFC 9112 §3.2), no transfer coding but one `chunked` (§6.1), no body on an upgrade, and no
 * expectation but `100-continue` (RFC 9110 §10.1.1).
 * @param isUpgrade the request is passed on as an upgrade, of which only the head is sent.
 */
export function headProblem(req: IncomingMessage, isUpgrade: boolean): HeimdallError | null {
  const { rawHeaders, headers, httpVersionMinor } = req;
  // Node's parser takes any version that a line of HTTP/1 names. HTTP/2 has no such line: its requests are streams.
  if (req.httpVersionMajor !== 1 && !('stream' in req)) return new HeimdallError('malformed_request');
  if (rawHeaders.length > 2 * mostFields) return new HeimdallError('headers_too_large');
  let hosts = 0;
  let codings = 0;
  let isChunked = true;
  let isExpected = true;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 4) {
      if (name.toLowerCase() === 'host') hosts++;
    } else if (name.length === 17) {
      if (name.toLowerCase() !== 'transfer-encoding') continue;
      codings++;
      isChunked &&= (rawHeaders[at + 1] as string).toLowerCase() === 'chunked';
    } else if (name.length === 6 && name.toLowerCase() === 'expect') isExpected &&= /^(?:100-continue)?$/i.test(rawHeaders[at + 1] as string);
  }
  if (hosts === 1 ? !isHost(headers.host as string) : hosts > 1 || httpVersionMinor > 0) return new HeimdallError('invalid_host');
  if (codings > 1 || !isChunked) return new HeimdallError('unsupported_transfer_coding');
  if (isUpgrade && (codings > 0 || Number(headers['content-length'] ?? 0) > 0)) return new HeimdallError('malformed_request', { message: 'An upgrade must not declare a body.' });
  return isExpected || httpVersionMinor === 0 ? null : new HeimdallError('expectation_failed');
}

/** The readings of a path. */
export interface RequestPath {
  /** Decoded once, as Go's router does, then without empty and dot segments: a request is judged by this form. */
  readonly decoded: string;
  /** The same path percent-encoded: the one spelling that every receiver reads alike. */
  readonly encoded: string;
  /** The reading of a receiver that removes dot segments before it decodes, and parameters of segments behind a semicolon. */
  readonly otherwise: string;
}

/** Characters for which a path has more than one spelling, or which receivers read in more than one way. */
const special = /[%\\;#]|\/\/|\/\.|[^\x21-\x7e]/;
/** What receivers read in different ways behind an escape: control characters, a backslash, an escape of its own (`%252e`). */
const ambiguous = /[\p{Cc}\\]|%[0-9a-f]{2}/iu;

/**
 * Reads the path of a request target. All its spellings (`%2e%2e`, `//`, `/./`, `%2F`, an encoded colon) have one `decoded` and
 * one `encoded` form.
 * @param raw the target without its query, bytes as latin1.
 * @returns null for a path with a fragment, a backslash, a control character, an escape within an escape, or bytes that are not
 *   UTF-8 (overlong forms included).
 */
export function readPath(raw: string): RequestPath | null {
  if (!special.test(raw)) return { decoded: raw, encoded: raw, otherwise: raw };
  if (raw.includes('#')) return null;
  try {
    const decoded = decodeURIComponent(raw.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`));
    if (ambiguous.test(decoded)) return null;
    const path = withoutDots(decoded);
    const segments = raw.replace(/(?:;|%3b)[^/]*/gi, '').replace(/%2e/gi, '.');
    return { decoded: path, encoded: encodePath(path), otherwise: withoutDots(decodeURIComponent(withoutDots(segments))) };
  } catch {
    return null;
  }
}

function withoutDots(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}${path.endsWith('/') && segments.length > 0 ? '/' : ''}`;
}

/** Percent-encodes a decoded path; characters that a path may contain as they are stay, the colon of Gemini's routes too. */
export const encodePath = (path: string): string => encodeURI(path).replace(/[?#]/g, encodeURIComponent);

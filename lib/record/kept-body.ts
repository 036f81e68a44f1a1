import { maskedPart, masked, type MaskedPart } from '../redaction/redaction.ts';
import { layoutOf, type Layout, type LongPart, type Part } from './layout.ts';
import { cutText, firstBytes, type LongText, type LongTexts } from './texts.ts';

/** What is kept of a request body. */
export interface KeptBody {
  /** Readable: the newest turn and everything short, with marks in brackets in place of long texts. */
  readonly text: string;
  /** The places of those marks in the text and the digests of the texts, see {@link placesIn}; null without any. */
  readonly places: string | null;
  /** The texts that the marks stand for, the last of each list. */
  readonly texts: readonly LongText[];
}

/** How a body is kept. */
export interface Keeping {
  /** Most bytes of {@link KeptBody.text}. */
  readonly limit: number;
  readonly texts: LongTexts;
  /** Masks the configured secrets and the caller's credentials. */
  readonly scrub: (text: string) => string;
  readonly credentials: readonly string[];
  /** The caller: conversations are remembered by it. */
  readonly owner: string;
}

/** A part as it is kept: a text that may be cut, or the mark of a long text. */
interface Piece {
  readonly part: Part;
  text: string;
  readonly whole: MaskedPart | null;
  readonly long: LongText | null;
}

/** Shares of a cut turn that are kept of its beginning and of its end. */
const head = 3 / 4;
const hidden = JSON.stringify(masked);

/**
 * Keeps a body within a limit: its newest turn first, then what is short. Long texts are kept by reference.
 * @returns null for a body that is no JSON object, or has nothing that is kept by reference or hidden.
 */
export function keepBody(bytes: Buffer, keeping: Keeping): KeptBody | null {
  const layout = layoutOf(bytes);
  if (layout === null || layout.parts.every(({ kind }) => kind === 'text' || kind === 'newest') && bytes.length <= keeping.limit) return null;
  return joined(piecesOf(bytes, layout, keeping), keeping);
}

function piecesOf(bytes: Buffer, { parts }: Layout, keeping: Keeping): Piece[] {
  let inside = false;
  return parts.map((part): Piece => {
    const of = bytes.subarray(part.start, part.end);
    if (part.kind === 'id') return { part, text: hidden, whole: null, long: null };
    if (part.kind !== 'single' && part.kind !== 'list') {
      const whole = maskedPart(of, keeping.limit, inside);
      inside = whole.opens;
      return { part, text: keeping.scrub(whole.text), whole, long: null };
    }
    const long = longText(part, of, inside, keeping);
    inside = long.opens;
    return { part, text: markOf(part, of), whole: null, long };
  });
}

function longText(part: LongPart, bytes: Buffer, inside: boolean, { texts, credentials, owner }: Keeping): LongText {
  if (part.kind === 'single') return texts.single(part.of, bytes, inside, credentials);
  return texts.list(part.of, bytes, part.starts.map((at) => at - part.start), inside, credentials, owner);
}

function markOf(part: LongPart, bytes: Buffer): string {
  const size = `${bytes.length} bytes`;
  if (part.kind === 'single') return `[${part.of === 'part' ? 'text' : part.of}, ${size}]`;
  if (part.of === 'turns') return `[${part.starts.length} earlier ${part.starts.length === 1 ? 'turn' : 'turns'}, ${size}]`;
  return part.of === 'tools' ? `[${part.starts.length} ${part.starts.length === 1 ? 'tool' : 'tools'}, ${size}]` : `[system, ${size}]`;
}

/** The last words of the newest turn are kept first, then the rest of it, then what stands around it. */
function joined(pieces: readonly Piece[], { limit }: Keeping): KeptBody {
  let room = limit;
  for (const { long, text } of pieces) if (long !== null) room -= text.length;
  for (const piece of [...pieces].reverse()) if (piece.part.kind === 'newest') room -= fit(piece, Math.max(0, room), head);
  for (const piece of pieces) if (piece.part.kind === 'text' || piece.part.kind === 'id') room -= fit(piece, Math.max(0, room), 1);
  let text = '';
  const places: string[] = [];
  const texts: LongText[] = [];
  for (const { text: own, long } of pieces) {
    if (long !== null) {
      places.push(`${text.length}:${own.length}:${long.digest}`);
      texts.push(long);
    }
    text += own;
  }
  return { text, places: places.length === 0 ? null : places.join(' '), texts };
}

/** Cuts a piece that is too long. @param share of its beginning; the rest is of its end. @returns the bytes it takes. */
function fit(piece: Piece, room: number, share: number): number {
  const { text, whole, part } = piece;
  const size = Buffer.byteLength(text);
  const total = part.end - part.start;
  if (size > room && room > 0 && share < 1 && whole?.cut === false) piece.text = `${firstBytes(text, Math.floor(room * share))}… [${total} bytes] …${lastBytes(text, Math.floor(room * (1 - share)))}`;
  else if (size > room || whole?.cut === true) piece.text = cutText(text, room, total);
  return Math.min(size, room);
}

const lastBytes = (text: string, limit: number): string => (limit === 0 ? '' : Buffer.from(text.slice(-limit)).subarray(-limit).toString().replace(/^\ufffd+/, ''));

/** A mark in a kept text: where it stands, and the digest of the text that it stands for. */
export interface Place {
  readonly at: number;
  readonly length: number;
  readonly digest: string;
}

/** Reads {@link KeptBody.places}. */
export function placesIn(places: string | null): Place[] {
  if (places === null || places === '') return [];
  return places.split(' ').map((place) => {
    const [at = '', length = '', digest = ''] = place.split(':');
    return { at: Number(at), length: Number(length), digest };
  });
}

/** A text as the journal has it. */
export interface StoredText {
  /** Digest of the text before it in its list. */
  readonly before: string | null;
  readonly label: string | null;
  readonly size: number;
  /** The masked text; null where the digest alone is kept. */
  readonly content: string | null;
}

/** Finds a stored text by its digest. */
export type Lookup = (digest: string) => StoredText | null;

/** Bytes of a request that is put together again, about. */
const maxWhole = 33_554_432;
/** Turns and names that a mark names. */
const maxNamed = 12;

/** The request put together again as far as it is kept; marks stand for what is not. */
export function wholeBody(text: string, places: string | null, lookup: Lookup): string {
  let room = maxWhole;
  return replaced(text, places, (mark, digest) => {
    const chain: string[] = [];
    for (let next: string | null = digest; next !== null;) {
      const found: StoredText | null = lookup(next);
      const part = found === null ? '[not kept]' : (found.content ?? `[${found.label ?? 'text'}, ${found.size} bytes]`);
      room -= part.length;
      if (room < 0) return mark;
      chain.push(part);
      next = found?.before ?? null;
    }
    return chain.reverse().join('');
  });
}

/** The kept text with what its marks stand for: roles and lengths of the latest turns, names of the tools. */
export function briefBody(text: string, places: string | null, lookup: Lookup): string {
  return replaced(text, places, (mark, digest) => {
    const named: string[] = [];
    let next: string | null = digest;
    for (; next !== null && named.length < maxNamed;) {
      const found: StoredText | null = lookup(next);
      if (found?.label != null) named.push(found.label);
      next = found?.before ?? null;
    }
    return named.length === 0 ? mark : `${mark.slice(0, -1)}: ${next === null ? '' : '… '}${named.reverse().join(', ')}]`;
  });
}

function replaced(text: string, places: string | null, by: (mark: string, digest: string) => string): string {
  let out = '';
  let done = 0;
  for (const { at, length, digest } of placesIn(places)) {
    if (at < done) break;
    out += text.slice(done, at) + by(text.slice(at, at + length), digest);
    done = at + length;
  }
  return out + text.slice(done);
}

/** The text of the newest turn; null where it has none. Of several texts the last one, which is the person's own. */
export function newestText(bytes: Buffer): string | null {
  const newest = layoutOf(bytes)?.newest;
  if (newest == null || newest.end - newest.start > maxWhole) return null;
  try {
    return textIn(JSON.parse(bytes.toString('utf8', newest.start, newest.end)));
  } catch {
    return null;
  }
}

function textIn(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.reduceRight<string | null>((found, each) => found ?? textIn(each), null);
  if (typeof value !== 'object' || value === null) return null;
  const { text, content, parts, output } = value as Record<string, unknown>;
  return textIn(text) ?? textIn(content) ?? textIn(parts) ?? textIn(output);
}

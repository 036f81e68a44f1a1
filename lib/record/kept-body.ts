import { maskedEnd, maskedPart, masked, type MaskedPart } from '../redaction/redaction.ts';
import { layoutOf, type Layout, type LongPart, type Part } from './layout.ts';
import { cutText, firstBytes, type LongText, type LongTexts } from './texts.ts';

/** What is kept of a request body. */
export interface KeptBody {
  /** Readable: the newest turn; without a frame everything short around it, with marks in brackets in place of long texts. */
  readonly text: string;
  /** The texts that belong to it and their places, see {@link readPlaces}; null without any. */
  readonly places: string | null;
  /** Those texts, of each list the last one. */
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
  /** What a scan has found in the body, or null. */
  readonly outline: Int32Array | null;
  /** The caller: conversations are remembered by it. */
  readonly owner: string;
}

/** A part as it is kept: a text that may be cut, or the mark of a long text. */
interface Piece {
  readonly part: Part;
  text: string;
  readonly whole: MaskedPart | null;
  /** Where its last words are taken from when it is cut. */
  readonly end: string;
  readonly long: LongText | null;
}

/** Shares of a cut turn that are kept of its beginning and of its end. */
const head = 3 / 4;
/** A shorter piece is kept whole: the mark of a cut is as long. */
const leastCut = 12;
const hidden = JSON.stringify(masked);

/**
 * Keeps a body within a limit: its newest turn first, then what is short. Long texts are kept by reference.
 * @returns null for a body that is no JSON object, or has nothing that is kept by reference or hidden.
 */
export function keepBody(bytes: Buffer, keeping: Keeping): KeptBody | null {
  const layout = layoutOf(bytes, keeping.outline);
  if (layout === null || layout.parts.every(({ kind }) => kind === 'text' || kind === 'newest') && bytes.length <= keeping.limit) return null;
  keeping.texts.begin();
  return joined(piecesOf(bytes, layout, keeping), keeping);
}

function piecesOf(bytes: Buffer, { parts }: Layout, keeping: Keeping): Piece[] {
  let inside = false;
  return parts.map((part): Piece => {
    const of = bytes.subarray(part.start, part.end);
    if (part.kind === 'id') return { part, text: hidden, whole: null, end: '', long: null };
    if (part.kind !== 'single' && part.kind !== 'list') {
      const whole = maskedPart(of, keeping.limit, inside);
      const text = keeping.scrub(whole.text);
      const end = !whole.cut ? text : part.kind === 'newest' ? maskedEnd(of, keeping.limit * (1 - head), inside, keeping.scrub) : '';
      inside = whole.opens;
      return { part, text, whole, end, long: null };
    }
    const long = longText(part, of, inside, keeping);
    inside = long.opens;
    return { part, text: markOf(part, long), whole: null, end: '', long };
  });
}

function longText(part: LongPart, bytes: Buffer, inside: boolean, { texts, credentials, owner }: Keeping): LongText {
  if (part.kind === 'single') return texts.single(part.of, bytes, inside, credentials);
  return texts.list(part.of, bytes, inside, credentials, owner);
}

function markOf(part: LongPart, { count }: LongText): string {
  const bytes = part.end - part.start;
  const size = `${bytes} bytes`;
  if (part.kind === 'single') return `[${part.of === 'part' ? 'text' : part.of}, ${size}]`;
  if (part.of === 'turns') return earlierMark(count, bytes);
  return part.of === 'tools' ? `[${count} ${count === 1 ? 'tool' : 'tools'}, ${size}]` : `[system, ${size}]`;
}

const earlierMark = (turns: number, bytes: number): string => `[${turns} earlier ${turns === 1 ? 'turn' : 'turns'}, ${bytes} bytes]`;

/** The last words of the newest turn are kept first, then the rest of it, then what stands around it. */
function joined(pieces: readonly Piece[], { limit, texts }: Keeping): KeptBody {
  let room = limit;
  for (const { long, text } of pieces) if (long !== null) room -= text.length;
  for (const piece of [...pieces].reverse()) if (piece.part.kind === 'newest') room -= fit(piece, Math.max(0, room), head);
  for (const piece of pieces) if (piece.part.kind === 'text' || piece.part.kind === 'id') room -= fit(piece, Math.max(0, room), 1);
  const first = pieces.findIndex(({ part }) => part.kind === 'newest');
  const written = new Writing();
  if (first === -1 || !texts.isKept || pieces.every(({ long }) => long === null)) {
    for (const piece of pieces) written.add(piece, '');
    return written.end();
  }
  const last = pieces.findLastIndex(({ part }) => part.kind === 'newest');
  for (const piece of pieces.slice(first, last + 1)) written.add(piece, '');
  return framed(written, pieces.slice(0, first), pieces.slice(last + 1), texts);
}

/** What stands around the newest turn is a text of its own, the same in many requests: the frame, with holes for the turns. */
function framed(body: Writing, before: readonly Piece[], behind: readonly Piece[], texts: LongTexts): KeptBody {
  const frame = new Writing();
  const earlier = before.find(({ part }) => part.kind === 'list' && part.of === 'turns');
  for (const piece of before) {
    if (piece === earlier) frame.text += earlierHole;
    else frame.add(piece, 'f');
  }
  frame.text += newestHole;
  for (const piece of behind) frame.add(piece, 'f');
  const around = texts.frame(frame.text);
  body.places.push(...frame.places, `=:${around.digest}`);
  body.texts.push(...frame.texts, around);
  if (earlier?.long != null) {
    const { part, long } = earlier;
    body.places.push(`h:${long.count}:${part.end - part.start}:${long.digest}`);
    body.texts.push(long);
  }
  return body.end();
}

/** In a frame, where the earlier turns and the newest turn stand. No JSON has these characters. */
const earlierHole = '\x01';
const newestHole = '\x02';

/** Writes pieces one after the other, with the places of their marks. */
class Writing {
  text = '';
  readonly places: string[] = [];
  readonly texts: LongText[] = [];

  /** @param of `f` for a place in a frame. */
  add({ text, long }: Piece, of: string): void {
    if (long !== null) {
      this.places.push(`${of}${this.text.length}:${text.length}:${long.digest}`);
      this.texts.push(long);
    }
    this.text += of === '' ? text : text.replaceAll(earlierHole, '').replaceAll(newestHole, '');
  }

  end(): KeptBody {
    return { text: this.text, places: this.places.length === 0 ? null : this.places.join(' '), texts: this.texts };
  }
}

/** Cuts a piece that is too long. @param share of its beginning; the rest is of its end. @returns the bytes it takes. */
function fit(piece: Piece, room: number, share: number): number {
  const { text, whole, end, part } = piece;
  const size = Buffer.byteLength(text);
  if (size <= Math.max(room, leastCut) && whole?.cut !== true) return size;
  const total = part.end - part.start;
  if (room > 0 && share < 1 && end !== '') piece.text = `${firstBytes(text, Math.floor(room * share))}… [${total} bytes] …${lastBytes(end, Math.floor(room * (1 - share)))}`;
  else piece.text = cutText(text, room, total);
  return Math.min(Buffer.byteLength(piece.text), room);
}

const lastBytes = (text: string, limit: number): string => (limit === 0 ? '' : Buffer.from(text.slice(-limit)).subarray(-limit).toString().replace(/^\ufffd+/, ''));

/** A mark in a kept text, or in its frame: where it stands, and the digest of the text that it stands for. */
interface Place {
  readonly at: number;
  readonly length: number;
  readonly digest: string;
}

/** The texts that belong to a kept text. */
interface Places {
  readonly body: readonly Place[];
  readonly frame: string | null;
  readonly inFrame: readonly Place[];
  readonly earlier: { readonly mark: string; readonly digest: string } | null;
}

/** The digests of all texts that {@link KeptBody.places} names. */
export const digestsIn = (places: string | null): string[] => (places === null || places === '' ? [] : places.split(' ').map((place) => place.slice(place.lastIndexOf(':') + 1)));

function readPlaces(places: string | null): Places {
  const body: Place[] = [];
  const inFrame: Place[] = [];
  let frame: string | null = null;
  let earlier: Places['earlier'] = null;
  for (const place of places === null || places === '' ? [] : places.split(' ')) {
    const [at = '', length = '', digest = '', last = ''] = place.split(':');
    if (at === '=') frame = length;
    else if (at === 'h') earlier = { mark: earlierMark(Number(length), Number(digest)), digest: last };
    else if (at.startsWith('f')) inFrame.push({ at: Number(at.slice(1)), length: Number(length), digest });
    else body.push({ at: Number(at), length: Number(length), digest });
  }
  return { body, frame, inFrame, earlier };
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
  return replaced(text, places, lookup, (mark, digest) => {
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
  return replaced(text, places, lookup, (mark, digest) => {
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

type By = (mark: string, digest: string) => string;

function replaced(text: string, places: string | null, lookup: Lookup, by: By): string {
  const { body, frame, inFrame, earlier } = readPlaces(places);
  const turn = filled(text, body, by);
  const before = earlier === null ? '' : by(earlier.mark, earlier.digest);
  const around = frame === null ? newestHole : (lookup(frame)?.content ?? `${earlierHole}${newestHole}`);
  const holes = new Map([[around.indexOf(earlierHole), before], [around.indexOf(newestHole), turn]]);
  const all = [...inFrame, ...[...holes.keys()].filter((at) => at !== -1).map((at) => ({ at, length: 1, digest: '' }))].sort((a, b) => a.at - b.at);
  let out = '';
  let done = 0;
  for (const { at, length, digest } of all) {
    if (at < done) break;
    out += around.slice(done, at) + (digest === '' ? (holes.get(at) ?? '') : by(around.slice(at, at + length), digest));
    done = at + length;
  }
  return out + around.slice(done);
}

function filled(text: string, places: readonly Place[], by: By): string {
  let out = '';
  let done = 0;
  for (const { at, length, digest } of places) {
    if (at < done) break;
    out += text.slice(done, at) + by(text.slice(at, at + length), digest);
    done = at + length;
  }
  return out + text.slice(done);
}

/**
 * The text of the newest turn; null where it has none. Of several texts the last one, which is the person's own.
 * @param outline what a scan has found in the body, or null.
 */
export function newestText(bytes: Buffer, outline: Int32Array | null): string | null {
  const newest = layoutOf(bytes, outline)?.newest;
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

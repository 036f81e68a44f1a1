import { hash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { Memo } from '../platform/platform.ts';
import { mask, maskedPart, opensKey, withoutCredentials, type SecretScrubber } from '../redaction/redaction.ts';
import { elementsIn } from '../http/http.ts';
import type { Long } from './layout.ts';

/**
 * A long text of request bodies, masked, which the journal keeps once. A list of texts is a chain: each names the one before it, so
 * that a conversation adds to the journal what is new in it and its record names one text.
 */
export interface LongText {
  /** A keyed digest of all that is kept of it and of the text before it. Begins with `~` when nothing but the digest is kept. */
  readonly digest: string;
  readonly before: LongText | null;
  /** Roles and lengths of turns, or the names of tools. */
  readonly label: string | null;
  /** Bytes of the text as it was sent. */
  readonly size: number;
  /** Elements of its list up to its end. */
  readonly count: number;
  /** The masked text, compressed; null when nothing of it is kept, and once the journal has it. */
  content: Buffer | null;
  /** A private key has begun in it and has not ended. */
  readonly opens: boolean;
}

/** What a text is made of: a key block that an earlier part has opened is masked to its end. */
interface Source {
  readonly of: Long;
  readonly bytes: Buffer;
  readonly before: LongText | null;
  readonly inside: boolean;
  /** Offsets at which elements of a list begin in it. */
  readonly starts: readonly number[];
}

/** Characters of the names of tools, or of the roles of turns, that are kept with a text. */
const maxLabel = 1024;
/** Bytes of turns in one text, and those from which a turn is a text of its own. Other lists are kept in texts as long as the limit allows. */
const turnPiece = 8192;
const longTurn = 2048;
/** Characters of a digest: 132 bits. */
export const digestLength = 22;
/** Words that texts of one or two hundred bytes have in common, so that these can be compressed. */
const dictionary = Buffer.from(
  '{"type":"object","properties":{"description":"","type":"string"},"required":[],"additionalProperties":false}},"input_schema":{"$schema":"http://json-schema.org/draft-07/schema#","name":"","parameters":{' +
    '"},"role":"system","content":"{"role":"tool","tool_call_id":"call_","content":"{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_","content":"","is_error":false}],"cache_control":{"type":"ephemeral"}}' +
    '{"role":"assistant","content":[{"type":"text","text":""},{"type":"tool_use","id":"toolu_","name":"","input":{"command":"","file_path":"/' +
    '{"role":"assistant","content":null,"tool_calls":[{"id":"call_","type":"function","function":{"name":"","arguments":"{\\"' +
    '{"type":"message","role":"assistant","content":[{"type":"output_text","text":"{"role":"model","parts":[{"text":""}]},{"role":"user","parts":[{"text":"' +
    '{"type":"message","role":"user","content":[{"type":"input_text","text":"{"role":"user","content":[{"type":"text","text":" the and that this is of to in it for you with not "}]},{"role":"assistant","content":"{"role":"user","content":"',
);

/** The text that a stored content holds. @throws Error when it is damaged. */
export const textOfContent = (content: Uint8Array): string => inflateRawSync(content, { dictionary, maxOutputLength: 268_435_456 }).toString('utf8');

/** What a digest covers. */
export interface Covered {
  /** Digest of the text before. */
  readonly before: string | null;
  readonly label: string | null;
  readonly size: number;
  /** The masked text; of a text that is not kept, the text as it was sent. */
  readonly text: string | Buffer;
}

/** Makes the digests of texts under an install secret. */
export function textDigester(secret: string): (covered: Covered) => string {
  const key = hash('sha256', `heimdall texts ${secret}`);
  return ({ before, label, size, text }) => {
    const [sign, length] = typeof text === 'string' ? ['', digestLength] : ['~', digestLength - 1];
    return sign + hash('sha256', `${key}\n${JSON.stringify([sign, before, label, size, hash('sha256', text)])}`, 'base64url').slice(0, length);
  };
}

/** A text that was masked before, and the bytes it was made of. */
interface Masked {
  readonly bytes: Buffer;
  /** Bytes of memory. */
  readonly size: number;
  readonly text: LongText;
  readonly clean: Clean;
}

/** A list whose texts were masked before: a conversation, or tools. */
interface List {
  readonly bytes: Buffer;
  readonly size: number;
  readonly texts: readonly LongText[];
  readonly clean: Clean;
}

/** For which callers a masked text may be used again. */
interface Clean {
  /** The credentials it was masked for. */
  readonly credentials: string;
  /** None of them was found, and none can hide in escapes: it is the same for callers whose credentials are not in it. */
  readonly forOthers: boolean;
  /** Credentials of others that are not in it, as far as they were looked for. */
  readonly absent: Set<string>;
}

/** Bytes of texts, and of conversations, that are remembered as they were sent. */
const rememberedBytes = 16_777_216;
/** Bytes that one body may add of turns, and of all else, which are masked and kept; of more there are digests. */
const addedBytes = 1_048_576;
/** Characters of frames, and of headers, remembered in each of two generations, and of the longest. */
const frameRoom = 1_000_000;
const maxFrame = 16_384;
/** Shorter texts are masked each time. */
const leastRemembered = 512;
/** Shorter headers stay in their record, characters. */
const leastHeaders = 200;
/** Objects and strings of a remembered text, bytes. */
const overhead = 512;
/** Texts, or conversations, remembered that begin and end alike. */
const alike = 8;
/** Credentials of other callers that are remembered with a text, of so many bytes at least, and the characters of them. */
const maxAbsent = 32;
const leastSearched = 16_384;
const maxAbsentLength = 256;

/**
 * Masks long texts and remembers them by their content, so that a text which comes again is compared and not masked again.
 * SECURITY: a remembered text is used for the credentials that it was masked for, or where the caller's are not in it.
 */
export class LongTexts {
  readonly #digest: (covered: Covered) => string;
  readonly #scrub: SecretScrubber;
  #limit: number;
  readonly #texts = new Remembered<Masked>(rememberedBytes);
  readonly #lists = new Remembered<List>(rememberedBytes);
  #frames = new Memo<LongText>(frameRoom, maxFrame);
  #headers = new Memo<LongText | null>(frameRoom, maxFrame);
  /** Bytes that the current body may still add. */
  #turnRoom = 0;
  #otherRoom = 0;

  /** @param scrub masks configured secrets. @param limit bytes kept of each text; 0 keeps digests alone. */
  constructor(secret: string, scrub: SecretScrubber, limit: number) {
    this.#digest = textDigester(secret);
    this.#scrub = scrub;
    this.#limit = limit;
  }

  /** @param limit bytes kept of each text from now on. */
  configure(limit: number): void {
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.clear();
  }

  /** More than digests are kept. */
  get isKept(): boolean {
    return this.#limit > 0;
  }

  /** Begins with another body. */
  begin(): void {
    this.#turnRoom = this.#otherRoom = addedBytes;
  }

  /** A text that is masked already, and kept whole. */
  frame(text: string): LongText {
    const known = this.#frames.get(text);
    if (known !== undefined) return known;
    const frame = this.#whole(text);
    this.#frames.set(text, frame);
    return frame;
  }

  /** Headers that are masked already; null for short ones, where only digests are kept, and when they come first: what comes once stays in its record. */
  headers(text: string): LongText | null {
    if (!this.isKept || text.length < leastHeaders) return null;
    const known = this.#headers.get(text);
    if (known != null) return known;
    const headers = known === undefined ? null : this.#whole(text);
    this.#headers.set(text, headers);
    return headers;
  }

  #forgetWhole(): void {
    this.#frames = new Memo(frameRoom, maxFrame);
    this.#headers = new Memo(frameRoom, maxFrame);
  }

  #whole(text: string): LongText {
    const size = Buffer.byteLength(text);
    return { digest: this.#digest({ before: null, label: null, size, text }), before: null, label: null, size, count: 1, content: deflateRawSync(text, { dictionary }), opens: false };
  }

  /** Forgets all texts: another process has removed some from the journal. */
  clear(): void {
    this.#texts.clear();
    this.#lists.clear();
    this.#forgetWhole();
  }

  /** Forgets texts that the journal has removed. */
  drop(digests: ReadonlySet<string>): void {
    this.#texts.drop(({ text }) => digests.has(text.digest));
    this.#forgetWhole();
    this.#lists.drop(({ texts }) => digests.has((texts.at(-1) as LongText).digest));
  }

  /** One text. */
  single(of: Long, bytes: Buffer, inside: boolean, credentials: readonly string[]): LongText {
    return this.#textOf({ of, bytes, before: null, inside, starts: none }, credentials).text;
  }

  /**
   * A list of texts. What a conversation has added since it was seen last becomes one text, or several long ones.
   * @param bytes its elements, with what stands between them. @param owner conversations are remembered by it.
   * @returns the last text of the chain.
   */
  list(of: Long, bytes: Buffer, inside: boolean, credentials: readonly string[], owner: string): LongText {
    const place = `${of === 'turns' ? owner : of} ${beginningOf(bytes)}`;
    const known = inside ? null : this.#knownList(of, place, bytes, credentials);
    const texts = known === null ? [] : known.texts.slice();
    if (known !== null && known.bytes.length === bytes.length) return texts.at(-1) as LongText;
    const limit = of === 'turns' || this.#limit === 0 ? Math.min(turnPiece, this.#limit === 0 ? turnPiece : this.#limit) : this.#limit;
    const starts = elementsIn(bytes, known?.bytes.length ?? 0);
    // A conversation is masked for its caller alone, and goes on; of other lists, those are remembered that have come twice.
    let isKnown = true;
    let forOthers = of !== 'turns';
    for (let at = 0; at < starts.length;) {
      const end = endOfPiece(starts, at, bytes.length, limit);
      const before = texts.at(-1) ?? null;
      const from = starts[at] as number;
      const made = this.#textOf({ of, bytes: bytes.subarray(from, starts[end] ?? bytes.length), before, inside: before?.opens ?? inside, starts: starts.slice(at, end).map((each) => each - from) }, credentials);
      texts.push(made.text);
      isKnown &&= made.isKnown;
      forOthers &&= made.forOthers;
      at = end;
    }
    const isWorth = of === 'turns' ? texts.length !== known?.texts.length : isKnown;
    if (isWorth && !inside) this.#lists.add(place, { bytes: Buffer.from(bytes), size: bytes.length + texts.length * overhead, texts, clean: { credentials: keyOf(credentials), forOthers, absent: new Set() } }, known);
    return texts.at(-1) as LongText;
  }

  /** The remembered list that this one repeats, or the longest conversation with which it begins. */
  #knownList(of: Long, place: string, bytes: Buffer, credentials: readonly string[]): List | null {
    let found: List | null = null;
    for (const each of this.#lists.get(place)) {
      const { length } = each.bytes;
      if (of === 'turns' ? length > bytes.length || (found !== null && length <= found.bytes.length) : length !== bytes.length) continue;
      // What begins with the same bytes has the same turns: it ends where another one begins.
      if (each.bytes.equals(bytes.subarray(0, length)) && isClean(each.clean, each.bytes, credentials)) found = each;
    }
    return found;
  }

  /** @returns the text; whether it was known; whether it is the same for callers whose credentials are not in it. */
  #textOf(source: Source, credentials: readonly string[]): { readonly text: LongText; readonly isKnown: boolean; readonly forOthers: boolean } {
    const { of, bytes, before, inside } = source;
    if (inside || bytes.length < leastRemembered) {
      const made = this.#make(source, credentials);
      // Short ones are masked each time.
      return { ...made, isKnown: !inside && (made.text.content !== null || !this.isKept) };
    }
    const key = `${of} ${before?.digest ?? ''} ${bytes.length} ${beginningOf(bytes)}${bytes.toString('latin1', bytes.length - 32)}`;
    for (const { text, clean, bytes: same } of this.#texts.get(key)) if (same.equals(bytes) && isClean(clean, bytes, credentials)) return { text, isKnown: true, forOthers: clean.forOthers };
    const { text, forOthers } = this.#make(source, credentials);
    if (text.content !== null || !this.isKept) this.#texts.add(key, { bytes: Buffer.from(bytes), size: bytes.length + overhead, text, clean: { credentials: keyOf(credentials), forOthers, absent: new Set() } }, null);
    return { text, isKnown: false, forOthers };
  }

  #mayAdd(of: Long, size: number): boolean {
    const room = of === 'turns' ? this.#turnRoom : this.#otherRoom;
    if (of === 'turns') this.#turnRoom -= size;
    else this.#otherRoom -= size;
    return room > 0;
  }

  /** A text of which the digest alone is kept. */
  #digested({ bytes, before, inside, starts }: Source): LongText {
    const covered = { before: before?.digest ?? null, label: null, size: bytes.length };
    return { ...covered, digest: this.#digest({ ...covered, text: bytes }), before, count: (before?.count ?? 0) + Math.max(1, starts.length), content: null, opens: opensKey(bytes, inside) };
  }

  #make(source: Source, credentials: readonly string[]): { text: LongText; forOthers: boolean } {
    const { of, bytes, before, inside, starts } = source;
    if (!this.#mayAdd(of, bytes.length)) return { text: this.#digested(source), forOthers: true };
    const part = maskedPart(bytes, Math.max(this.#limit, leastRemembered), inside);
    const general = this.#scrub(part.text);
    const text = withoutCredentials(general, credentials);
    const label = labelOf(of, bytes, starts);
    const kept = cutText(text, this.#limit, part.cut ? bytes.length : 0);
    const covered = { before: before?.digest ?? null, label: label === null ? null : withoutCredentials(this.#scrub(mask(label)), credentials).slice(0, maxLabel), size: bytes.length };
    const content = this.#limit === 0 ? null : deflateRawSync(kept, { dictionary });
    const digest = this.#digest({ ...covered, text: content === null ? bytes : kept });
    return { text: { digest, before, label: covered.label, size: bytes.length, count: (before?.count ?? 0) + Math.max(1, starts.length), content, opens: part.opens }, forOthers: text === general && !part.escaped };
  }
}

function isClean({ credentials, forOthers, absent }: Clean, bytes: Buffer, own: readonly string[]): boolean {
  const all = keyOf(own);
  if (credentials === all || absent.has(all)) return true;
  if (!forOthers || own.some((credential) => bytes.includes(credential))) return false;
  if (bytes.length < leastSearched || all.length > maxAbsentLength) return true;
  if (absent.size >= maxAbsent) absent.clear();
  absent.add(all);
  return true;
}

/** Different credentials never have the same: one from a query may hold any character. */
function keyOf(credentials: readonly string[]): string {
  let key = '';
  for (const credential of credentials) key += `${credential.length}:${credential}`;
  return key;
}

const beginningOf = (bytes: Buffer): string => bytes.toString('latin1', 0, 64);

/** The index behind the elements of a piece that begins with the one at `first`. @param limit bytes of it, unless one element is longer. */
function endOfPiece(starts: readonly number[], first: number, total: number, limit: number): number {
  const endOf = (at: number): number => starts[at + 1] ?? total;
  const from = starts[first] as number;
  const isTurn = limit <= turnPiece;
  if (isTurn && endOf(first) - from >= longTurn) return first + 1;
  let at = first + 1;
  while (at < starts.length && endOf(at) - from <= limit && (!isTurn || endOf(at) - (starts[at] as number) < longTurn)) at++;
  return at;
}

/** Roles and lengths of turns, or the names of tools; null where there is none. */
function labelOf(of: Long, bytes: Buffer, starts: readonly number[]): string | null {
  if (of === 'turns') return starts.slice(-maxTurns).map((start, at, all) => turnLabel(bytes.subarray(start, all[at + 1] ?? bytes.length))).join(', ');
  if (of !== 'tools') return null;
  const names = toolNames(bytes).join(', ');
  return names === '' ? null : names;
}

/** Turns of a piece that its label names. */
const maxTurns = 12;

const turnLabel = (turn: Buffer): string => `${roleOf(turn) ?? 'turn'} ${turn.length}`;

const role = /"(?:role|type)"\s{0,8}:\s{0,8}"([\w-]{1,32})"/;

/** A role is written at the beginning of a turn, or at its end. */
function roleOf(bytes: Buffer): string | null {
  const edges = bytes.length <= 512 ? bytes.toString('latin1') : bytes.toString('latin1', 0, 256) + bytes.toString('latin1', bytes.length - 256);
  return /"role"\s{0,8}:\s{0,8}"([\w-]{1,32})"/.exec(edges)?.[1] ?? role.exec(edges)?.[1] ?? null;
}

/** The names in a piece of a list of tools, in the forms of chat, messages, responses and Gemini. */
export function toolNames(bytes: Buffer): string[] {
  try {
    const list = JSON.parse(`[${bytes.toString().replace(/,\s*$/, '')}]`) as unknown[];
    return list.flat().flatMap(namesOf);
  } catch {
    return [];
  }
}

function namesOf(tool: unknown): readonly string[] {
  if (typeof tool !== 'object' || tool === null) return [];
  const { name, type, function: called, functionDeclarations, function_declarations: declarations = functionDeclarations } = tool as Record<string, unknown>;
  if (typeof name === 'string') return [name];
  if (typeof called === 'object' && called !== null) return namesOf(called);
  if (Array.isArray(declarations)) return declarations.flatMap(namesOf);
  return typeof type === 'string' ? [type] : Object.keys(tool).slice(0, 1);
}

/** @param total bytes of the text as it was sent, where it was cut already; else 0. */
export function cutText(text: string, limit: number, total: number): string {
  const size = text.length * 3 <= limit ? 0 : Buffer.byteLength(text);
  if (size <= limit) return total === 0 ? text : `${text}… [${total} bytes]`;
  return `${firstBytes(text, limit)}… [${total === 0 ? size : total} bytes]`;
}

/** The beginning of a text that takes so many bytes at most. */
export const firstBytes = (text: string, limit: number): string => Buffer.from(text.slice(0, limit)).subarray(0, limit).toString().replace(/\ufffd$/, '');

/** The latest values by key, within a bound of bytes. */
class Remembered<V extends { readonly size: number }> {
  readonly #room: number;
  readonly #values = new Map<string, readonly V[]>();
  #used = 0;

  constructor(room: number) {
    this.#room = room;
  }

  get(key: string): readonly V[] {
    const found = this.#values.get(key);
    if (found === undefined) return none;
    this.#values.delete(key);
    this.#values.set(key, found);
    return found;
  }

  /** @param instead a value that it replaces. */
  add(key: string, value: V, instead: V | null): void {
    if (value.size > this.#room / 4) return;
    const others = this.get(key).filter((each) => each !== instead);
    this.#put(key, [value, ...others.slice(0, alike - 1)]);
    for (const [oldest] of this.#values) {
      if (this.#used <= this.#room) return;
      this.#put(oldest, none);
    }
  }

  drop(test: (value: V) => boolean): void {
    for (const [key, all] of this.#values) if (all.some(test)) this.#put(key, all.filter((each) => !test(each)));
  }

  clear(): void {
    this.#values.clear();
    this.#used = 0;
  }

  #put(key: string, values: readonly V[]): void {
    this.#used += sizeOf(values) - sizeOf(this.#values.get(key) ?? none);
    if (values.length === 0) this.#values.delete(key);
    else this.#values.set(key, values);
  }
}

const none: readonly never[] = [];
const sizeOf = (values: readonly { readonly size: number }[]): number => values.reduce((sum, { size }) => sum + size, 0);

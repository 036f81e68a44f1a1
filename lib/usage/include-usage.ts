import { endOfValue, skipSpace } from '../http/http.ts';
import { nextReport } from './tokens.ts';

interface Member {
  readonly name: string;
  /** Byte offsets of its value. */
  readonly from: number;
  readonly to: number;
}

interface ObjectSpan {
  readonly members: readonly Member[];
  /** Offset of the closing brace. */
  readonly close: number;
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const openBracket = 0x5b;
const closeBrace = 0x7d;
const letterT = 0x74;

const asked = '{"include_usage":true}';

/**
 * The body of a chat or completions request for a stream, changed so that it asks for usage; every other byte stays as it is.
 * Behind a change of an existing `stream_options` offsets into the body move; a new one is added at the end.
 * @returns null when the client asks itself, or when readers differ in what they take the body for: names that stand twice, or in
 *   other letters, which NewAPI's Go takes for the same.
 */
export function withUsage(body: Buffer): Buffer | null {
  const top = readObject(body, skipSpace(body, 0));
  if (top === null || skipSpace(body, top.close + 1) !== body.length) return null;
  const options = only(top, 'stream_options');
  if (options === undefined) return null;
  if (options === null) return add(body, top, `"stream_options":${asked}`);
  if (isNull(body, options)) return splice(body, options.from, options.to, asked);
  const inner = readObject(body, options.from);
  const include = inner === null ? undefined : only(inner, 'include_usage');
  if (inner === null || include === undefined) return null;
  if (include === null) return add(body, inner, '"include_usage":true');
  return body[include.from] === letterT ? null : splice(body, include.from, include.to, 'true');
}

/** The members of the object that begins at `at`; null when no object begins there. */
function readObject(body: Buffer, at: number): ObjectSpan | null {
  if (body[at] !== openBrace) return null;
  const members: Member[] = [];
  let next = skipSpace(body, at + 1);
  if (body[next] === closeBrace) return { members, close: next };
  for (;;) {
    const named = body[next] === quote ? endOfValue(body, next) : -1;
    const name = named === -1 ? null : text(body, next, named);
    const behind = skipSpace(body, named);
    if (name === null || body[behind] !== colon) return null;
    const from = skipSpace(body, behind + 1);
    const to = endOfValue(body, from);
    if (to === -1) return null;
    members.push({ name, from, to });
    const close = skipSpace(body, to);
    if (body[close] === closeBrace) return { members, close };
    if (body[close] !== comma) return null;
    next = skipSpace(body, close + 1);
  }
}

/** The one member of that name; null when there is none, undefined when it is not the only one that may be meant. */
function only({ members }: ObjectSpan, name: string): Member | null | undefined {
  // Upper case, because Go takes a long s for an s, too.
  const meant = members.filter((member) => member.name.toUpperCase() === name.toUpperCase());
  const [first = null] = meant;
  return meant.length > 1 || (first !== null && first.name !== name) ? undefined : first;
}

function text(body: Buffer, from: number, to: number): string | null {
  try {
    return JSON.parse(body.toString('utf8', from, to)) as string;
  } catch {
    return null;
  }
}

const isNull = (body: Buffer, { from, to }: Member): boolean => body.toString('latin1', from, to) === 'null';

function add(body: Buffer, { members, close }: ObjectSpan, member: string): Buffer {
  return splice(body, close, close, members.length === 0 ? member : `,${member}`);
}

function splice(body: Buffer, from: number, to: number, put: string): Buffer {
  return Buffer.concat([body.subarray(0, from), Buffer.from(put), body.subarray(to)]);
}

/** A longer line is no usage chunk. */
const longestLine = 65_536;

/**
 * Leaves the usage chunk (`"choices": []` and a `usage`) out of a stream whose client did not ask for it, be it an event or a
 * line of JSON. Every other byte passes, each line with the piece that completes it; lines end with LF, CR LF or CR.
 * `"usage":null` in the other chunks stays: clients ignore members they do not know, and to take it out every event would have to
 * be written anew.
 */
export class ExtraChunkFilter {
  /** A line that has not ended and may be the chunk. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Within a line too long to be the chunk. */
  #inLongLine = false;
  /** The line before was blank: an event begins here. */
  #afterBlank = true;
  /** The chunk was a whole event, and the blank line that ends it goes with it. */
  #dropBlank = false;
  /** The last piece ended with CR; a LF at the beginning of the next one belongs to it. */
  #afterReturn = false;
  /** The line that ended so was left out. */
  #dropFeed = false;
  /** The stream is one JSON array: its lines are no chunks, so nothing is left out and nothing held. Null before its first byte. */
  #isArray: boolean | null = null;

  push(chunk: Buffer): Buffer[] {
    if (this.#isArray === null) this.#look(chunk);
    if (this.#isArray) return [chunk];
    const passed: Buffer[] = [];
    const piece = this.#afterReturn ? this.#endReturn(chunk, passed) : chunk;
    if (this.#held.length > 0 && lineEnd(piece, 0) === -1) {
      passed.push(...this.#hold(piece));
      return passed;
    }
    const bytes = this.#held.length === 0 ? piece : Buffer.concat([...this.#release(), piece]);
    const suspect = this.#dropBlank || nextReport(bytes, 0) !== -1;
    const rest = suspect ? this.#sift(bytes, passed) : this.#skip(bytes);
    if (rest > 0 && !suspect) passed.push(rest === bytes.length ? bytes : bytes.subarray(0, rest));
    if (rest < bytes.length) passed.push(...this.#hold(bytes.subarray(rest)));
    return passed;
  }

  /** What was still held when the stream ended: less than a line. */
  end(): Buffer[] {
    const held = Buffer.concat(this.#release());
    return held.length === 0 || isExtra(held) ? [] : [held];
  }

  #look(chunk: Buffer): void {
    const first = chunk[skipSpace(chunk, 0)];
    if (first !== undefined) this.#isArray = first === openBracket;
  }

  #endReturn(chunk: Buffer, passed: Buffer[]): Buffer {
    if (chunk.length === 0) return chunk;
    this.#afterReturn = false;
    if (chunk[0] !== newline) return chunk;
    if (!this.#dropFeed) passed.push(chunk.subarray(0, 1));
    return chunk.subarray(1);
  }

  /** Lines of which none is the chunk. @returns the offset of the line that has not ended. */
  #skip(bytes: Buffer): number {
    const last = lastLineEnd(bytes, bytes.length - 1);
    if (last === -1) return 0;
    const end = bytes[last] === newline && bytes[last - 1] === carriageReturn ? last - 1 : last;
    const start = end === 0 ? 0 : lastLineEnd(bytes, end - 1) + 1;
    this.#afterBlank = start === end && (start > 0 || !this.#inLongLine);
    this.#inLongLine = false;
    this.#noteReturn(bytes, last, false);
    return last + 1;
  }

  /** Line by line. @returns the offset of the line that has not ended. */
  #sift(bytes: Buffer, passed: Buffer[]): number {
    let kept = 0;
    let at = 0;
    for (let end = lineEnd(bytes, 0); end !== -1; end = lineEnd(bytes, at)) {
      const drops = this.#drops(bytes, at, end);
      const next = bytes[end] === carriageReturn && bytes[end + 1] === newline ? end + 2 : end + 1;
      if (drops) {
        if (at > kept) passed.push(bytes.subarray(kept, at));
        kept = next;
      }
      this.#noteReturn(bytes, next - 1, drops);
      at = next;
    }
    if (at > kept) passed.push(bytes.subarray(kept, at));
    return at;
  }

  #noteReturn(bytes: Buffer, last: number, dropped: boolean): void {
    this.#afterReturn = last === bytes.length - 1 && bytes[last] === carriageReturn;
    this.#dropFeed = dropped;
  }

  #drops(bytes: Buffer, from: number, end: number): boolean {
    const blank = from === end && !this.#inLongLine;
    const dropBlank = this.#dropBlank;
    this.#dropBlank = false;
    if (dropBlank && blank) return true;
    if (!this.#inLongLine && isExtra(bytes.subarray(from, end))) {
      this.#dropBlank = this.#afterBlank;
      return true;
    }
    this.#inLongLine = false;
    this.#afterBlank = blank;
    return false;
  }

  #hold(piece: Buffer): Buffer[] {
    if (piece.length === 0) return [];
    if (this.#inLongLine) return [piece];
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    if (this.#heldBytes <= longestLine) return [];
    this.#inLongLine = true;
    return this.#release();
  }

  #release(): Buffer[] {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }
}

/** The offset of the next LF or CR at or behind `at`, or -1. */
function lineEnd(bytes: Buffer, at: number): number {
  const feed = bytes.indexOf(newline, at);
  const back = bytes.indexOf(carriageReturn, at);
  return back === -1 || (feed !== -1 && feed < back) ? feed : back;
}

const lastLineEnd = (bytes: Buffer, at: number): number => Math.max(bytes.lastIndexOf(newline, at), bytes.lastIndexOf(carriageReturn, at));

const noChoices = /"choices"\s*:\s*\[\s*\]/;

function isExtra(line: Buffer): boolean {
  const isEvent = line.toString('latin1', 0, 5) === 'data:';
  if (line.length > longestLine || (!isEvent && line[0] !== openBrace) || nextReport(line, 0) === -1) return false;
  const data = line.toString('utf8', isEvent ? 5 : 0);
  if (!noChoices.test(data)) return false;
  try {
    const { choices, usage, error } = JSON.parse(data) as Readonly<Record<string, unknown>>;
    return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null && (error ?? null) === null;
  } catch {
    return false;
  }
}

import { at as of, begin, bytes as walkable, inString, isEscaped, isInString, resume, state, stops, suspended, walk, walkedBytes, type Walk } from './json-walk.ts';

/** Facts about a JSON body that the gate needs; found without parsing it. */
export interface Members {
  readonly model: string | null;
  /** Byte offsets of the model's JSON string, quotes included. */
  readonly modelSpan: readonly [number, number] | null;
  readonly stream: boolean;
  /** Most tokens of one completion; the largest where several members bound it, null where none does. */
  readonly maxTokens: number | null;
  /** A member that bounds tokens is -1; null otherwise. */
  readonly unbounded: string | null;
  /** Completions asked for: `n` or `best_of`, at least 1. */
  readonly choices: number;
  /** A control key occurs twice or in other letters, so parsers differ in how they read the body. */
  readonly ambiguous: boolean;
  /** A control key with a value that no upstream accepts. */
  readonly wrong: WrongMember | null;
}

/** What is wrong with a member, for an error message. */
export interface WrongMember {
  readonly field: string;
  readonly expected: string;
  /** The kind of the value, or a short number. SECURITY: nothing else of what the caller wrote. */
  readonly got: string;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** Bytes of a string that are read in a loop: a walk costs more than a short loop. */
const shortString = 48;

/** Members that bound a completion's tokens. */
const allBounds: readonly string[] = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'];

const controls = ['model', 'stream', 'n', 'best_of', ...allBounds];
const controlsFolded = controls.map((name) => name.toUpperCase());

/** Longer names that are read: the longest control key with every letter escaped. */
const maxEscapedName = 6 * Math.max(...controls.map(({ length }) => length));
/** Names up to this length are read in any case. */
const maxName = 32;

/** Largest bound that NewAPI accepts (`math.MaxInt32 / 2`). */
const maxTokenBound = 2 ** 30 - 1;
/** Most digits of a number that are read. */
const maxNumber = 24;
/** Longest accepted name of a model in bytes, quotes included. */
const maxModel = 1024;

/** Kinds of parts in the outline of a body. */
export const outlineKinds = { newest: 1, turn: 2, constant: 3, tools: 4, list: 5 } as const;
/** The part that a member of the first level is. A list's elements are turns, and so is a single text. */
const partOf: ReadonlyMap<string, number> = new Map([
  ...['messages', 'input', 'contents', 'prompt'].map((name) => [name, outlineKinds.list] as const),
  ...['system', 'instructions', 'system_instruction', 'systemInstruction'].map((name) => [name, outlineKinds.constant] as const),
  ...['tools', 'functions'].map((name) => [name, outlineKinds.tools] as const),
]);
/** A shorter turn is no part of its own, bytes, unless it is the newest. */
const leastTurn = 1024;
/** Most older turns that are parts of their own. */
const mostTurns = 256;
/** Most parts of other kinds: a member may come any number of times. */
const mostParts = 16;
/** Most members of the first level: each costs a microsecond, and no API knows a hundred. */
const mostMembers = 1000;

class Found implements Members {
  model: string | null = null;
  modelSpan: readonly [number, number] | null = null;
  stream = false;
  maxTokens: number | null = null;
  unbounded: string | null = null;
  choices = 1;
  ambiguous = false;
  wrong: WrongMember | null = null;
  /** `model` occurs in other letters: the Go of NewAPI reads `Model` as `model`, so the model is unknown. */
  hasVariant = false;
  /** Control keys found so far, as a set of bits. */
  seen = 0;
}

/** The bytes of a body so far, at absolute offsets. */
export interface BodyBytes {
  bytes(from: number, to: number): Buffer;
}

/** What the scan expects next. `inText` and `inScalar` are values of the first level, `inNested` is an object or array. */
const start = 0;
const firstName = 1;
const memberName = 2;
const inName = 3;
const afterName = 4;
const memberValue = 5;
const inText = 6;
const inScalar = 7;
const inNested = 8;
const afterValue = 9;
const end = 10;
/** It is no JSON object. */
const nothing = 11;

/**
 * Reads the members of a JSON object's first level as its bytes arrive. The last of a name counts, as in `JSON.parse`. Nested
 * values are skipped: a full parse of an 8 MB vision body blocks the process for 17 to 67 ms, this for about one. Values are
 * checked for structure only, and for no more than 9999 levels: Go's JSON, and so NewAPI, reads no more.
 */
export class MemberScan {
  readonly #body: BodyBytes;
  readonly #bounds: readonly string[];
  readonly #found = new Found();
  readonly #outline: number[] = [];
  #turns = 0;
  #parts = 0;
  #members = 0;
  #newestFrom = -1;
  #newestTo = -1;
  /** Bytes before the current piece. */
  #base = 0;
  #expect = start;
  /** The string that is being read ended a piece with a backslash. */
  #isEscaped = false;
  /** Offset of the first byte of a name or value, and that byte of a value. */
  #from = 0;
  #first = 0;
  #name: string | null = null;
  /** Of the current member's value. */
  #part = 0;
  /** The walk of a nested value that began in an earlier piece. */
  #walk: Walk | null = null;
  /** The walker has the current piece. */
  #isTaken = false;
  /** Offset of the first byte of an element of a list. */
  #element = 0;

  /**
   * @param body has the pieces that were pushed.
   * @param bounds names of the members that bound a completion's tokens on this route; other bounds are ignored.
   */
  constructor(body: BodyBytes, bounds: readonly string[] = allBounds) {
    this.#body = body;
    this.#bounds = bounds;
  }

  /** Takes the next bytes. */
  push(piece: Buffer): void {
    if (piece.length > walkedBytes) {
      for (let at = 0; at < piece.length; at += walkedBytes) this.push(piece.subarray(at, at + walkedBytes));
      return;
    }
    const { length } = piece;
    this.#isTaken = false;
    let at = 0;
    while (at < length) {
      switch (this.#expect) {
        case inName:
        case inText:
          at = this.#string(piece, at);
          break;
        case inScalar:
          at = this.#scalar(piece, at);
          break;
        case inNested:
          at = this.#nested(piece, at);
          break;
        case nothing:
          at = length;
          break;
        default:
          at = skipSpace(piece, at);
          if (at < length) this.#token(piece[at] as number, this.#base + at++);
      }
    }
    this.#base += length;
  }

  /** The model, as far as it has come and is clear. */
  get model(): string | null {
    return this.#found.ambiguous ? null : this.#found.model;
  }

  /** @returns null when the bytes are not one JSON object. Called once, at the end. */
  end(): Members | null {
    const found = this.#found;
    if (this.#members > mostMembers) found.wrong = { field: 'body', expected: `a JSON object of at most ${mostMembers} members`, got: 'more' };
    else if (this.#expect !== end) return null;
    if (found.hasVariant) found.model = found.modelSpan = null;
    return found;
  }

  /** Kinds, first and last offsets of the parts of a body that was read to its end, in turn. */
  outline(): Int32Array {
    if (this.#newestFrom !== -1) this.#outline.push(outlineKinds.newest, this.#newestFrom, this.#newestTo);
    return Int32Array.from(this.#outline);
  }

  /** A byte between names and values. @param at its offset. */
  #token(byte: number, at: number): void {
    switch (this.#expect) {
      case start:
        this.#expect = byte === openBrace ? firstName : nothing;
        return;
      case firstName:
      case memberName:
        if (++this.#members > mostMembers) {
          this.#expect = nothing;
          return;
        }
        this.#from = at;
        if (byte === quote) this.#expect = inName;
        else this.#expect = byte === closeBrace && this.#expect === firstName ? end : nothing;
        return;
      case afterName:
        this.#expect = byte === colon ? memberValue : nothing;
        return;
      case memberValue:
        this.#from = at;
        this.#first = byte;
        if (byte === quote) this.#expect = inText;
        else if (byte === openBrace || byte === openBracket) this.#expect = inNested;
        else this.#expect = endsScalar(byte) ? nothing : inScalar;
        return;
      case afterValue:
        this.#expect = byte === comma ? memberName : byte === closeBrace ? end : nothing;
        return;
      default:
        this.#expect = nothing;
    }
  }

  #string(piece: Buffer, from: number): number {
    const { length } = piece;
    let at = this.#isEscaped ? from + 1 : from;
    this.#isEscaped = false;
    for (const near = Math.min(length, at + shortString); at < near; at++) {
      const byte = piece[at];
      if (byte === quote) return this.#stringEnds(at + 1);
      if (byte === backslash) at++;
    }
    if (at >= length || piece.indexOf(quote, at) === -1) {
      this.#isEscaped = at > length || slashesBefore(piece, length, at) % 2 === 1;
      return length;
    }
    if (!this.#isTaken) walkable.set(piece);
    this.#isTaken = true;
    begin(quote);
    const behind = walk(at, length, 0);
    if (state[of.why] === stops.behindValue) return this.#stringEnds(behind);
    this.#isEscaped = slashesBefore(piece, length, at) % 2 === 1;
    return length;
  }

  /** @returns `behind`. */
  #stringEnds(behind: number): number {
    const to = this.#base + behind;
    if (this.#expect === inText) this.#valueEnds(to);
    else {
      const length = to - this.#from - 2;
      // Only short names, and names with escapes or other letters, are decoded: others are of no interest.
      const name = length > maxEscapedName ? null : this.#body.bytes(this.#from, to);
      this.#name = name === null || (length >= maxName && isPlain(name)) ? null : textOf(name);
      this.#part = (this.#name === null ? undefined : partOf.get(this.#name)) ?? 0;
      this.#expect = afterName;
    }
    return behind;
  }

  #scalar(piece: Buffer, at: number): number {
    let next = at;
    while (next < piece.length && !endsScalar(piece[next] as number)) next++;
    if (next < piece.length) this.#valueEnds(this.#base + next);
    return next;
  }

  /** @param from behind the first bracket, or the first byte of a later piece. */
  #nested(piece: Buffer, from: number): number {
    const { length } = piece;
    if (this.#walk !== null && this.#staysInString(this.#walk, piece)) return length;
    if (!this.#isTaken) walkable.set(piece);
    this.#isTaken = true;
    if (this.#walk === null) begin(this.#first);
    else resume(this.#walk);
    this.#walk = null;
    for (let at = from; ;) {
      at = walk(at, length, this.#part === outlineKinds.list ? 1 : 0);
      const element = state[of.element] as number;
      if (element >= 0) this.#element = this.#base + element;
      switch (state[of.why]) {
        case stops.behindElement:
          this.#turn(this.#element, this.#base + at);
          break;
        case stops.behindValue:
          this.#valueEnds(this.#base + at);
          return at;
        case stops.broken:
          this.#expect = nothing;
          return length;
        default:
          this.#walk = suspended();
          return length;
      }
    }
  }

  /** Whether a string of the nested value goes on behind a piece: a picture has no quote for megabytes. */
  #staysInString(earlier: Walk, piece: Buffer): boolean {
    if (!isInString(earlier) || piece.indexOf(quote) !== -1) return false;
    this.#walk = inString(earlier, slashesBefore(piece, piece.length, isEscaped(earlier) ? 1 : 0) % 2 === 1);
    return true;
  }

  #valueEnds(to: number): void {
    const from = this.#from;
    const name = this.#name;
    this.#expect = afterValue;
    if (this.#part !== 0) {
      if (this.#parts++ < mostParts) this.#outline.push(this.#part, from, to);
      // A single text is the newest turn, too.
      if (this.#part === outlineKinds.list && this.#first === quote) this.#turn(from, to);
    } else if (name !== null) readControl(this.#found, name, this.#body.bytes(from, Math.min(to, from + maxModel + 1)), from, to, this.#bounds);
  }

  #turn(from: number, to: number): void {
    if (this.#newestTo - this.#newestFrom >= leastTurn && this.#turns++ < mostTurns) this.#outline.push(outlineKinds.turn, this.#newestFrom, this.#newestTo);
    this.#newestFrom = from;
    this.#newestTo = to;
  }
}

/** Reads a whole body, see {@link MemberScan}. @returns null when it is not one JSON object. */
export function scanMembers(body: Buffer, bounds: readonly string[] = allBounds): Members | null {
  const scan = new MemberScan({ bytes: (from, to) => body.subarray(from, to) }, bounds);
  scan.push(body);
  return scan.end();
}

/** Bytes that are walked first; most values end in them. */
const firstWalked = 512;

/**
 * The offset behind the JSON value that begins at `at`, or -1 when the value does not end. Checked for structure only, and for no
 * more than 9999 levels.
 */
export function endOfValue(bytes: Buffer, at: number): number {
  const first = bytes[at];
  const { length } = bytes;
  let next = at;
  if (first === quote) {
    next++;
    for (const near = Math.min(length, next + shortString); next < near; next++) {
      const byte = bytes[next];
      if (byte === quote) return next + 1;
      if (byte === backslash) next++;
    }
  } else if (first === openBrace || first === openBracket) next++;
  else {
    while (next < length && !endsScalar(bytes[next] as number)) next++;
    return next > at ? next : -1;
  }
  begin(first);
  for (let room = firstWalked; next < length; next += room, room = Math.min(walkedBytes, 8 * room)) {
    const piece = bytes.subarray(next, next + room);
    piece.copy(walkable);
    const behind = walk(0, piece.length, 0);
    if (state[of.why] === stops.behindValue) return next + behind;
    if (state[of.why] === stops.broken) return -1;
  }
  return -1;
}

/**
 * The elements of an array that begin at an offset or behind it.
 * @returns where they begin.
 */
export function elementsIn(bytes: Buffer, from: number): number[] {
  const starts: number[] = [];
  const nested = nestedElements(bytes, from);
  let at = skipSpace(bytes, from);
  while (at < bytes.length && bytes[at] !== closeBracket) {
    // Objects and arrays are found by one walk over all of them; texts and numbers between them are rare.
    const to = nested.starts[nested.at] === at ? (nested.ends[nested.at++] as number) : endOfValue(bytes, at);
    if (to === -1) break;
    starts.push(at);
    at = skipSpace(bytes, to);
    if (bytes[at] === comma) at = skipSpace(bytes, at + 1);
    else break;
  }
  return starts;
}

/** Where the objects and arrays in an array begin and end. */
function nestedElements(bytes: Buffer, from: number): { readonly starts: number[]; readonly ends: number[]; at: number } {
  const found = { starts: [] as number[], ends: [] as number[], at: 0 };
  begin(openBracket);
  let start = -1;
  for (let base = from; base < bytes.length; base += walkedBytes) {
    const piece = bytes.subarray(base, base + walkedBytes);
    piece.copy(walkable);
    for (let at = 0; ;) {
      at = walk(at, piece.length, 1);
      const element = state[of.element] as number;
      if (element >= 0) start = base + element;
      if (state[of.why] === stops.atEnd) break;
      if (state[of.why] !== stops.behindElement) return found;
      found.starts.push(start);
      found.ends.push(base + at);
    }
  }
  return found;
}

/** The offset of the first byte at or behind `at` that is not white space. */
export function skipSpace(bytes: Buffer, at: number): number {
  let next = at;
  for (let byte = bytes[next]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[next]) next++;
  return next;
}

const isPlain = (name: Buffer): boolean => name.every((byte) => byte !== backslash && byte <= 0x7f);

const endsScalar = (byte: number): boolean => byte === comma || byte === closeBrace || byte === closeBracket || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** The backslashes that stand directly before an offset, down to another one. */
function slashesBefore(bytes: Buffer, at: number, from: number): number {
  let slashes = 0;
  while (at - 1 - slashes >= from && bytes[at - 1 - slashes] === backslash) slashes++;
  return slashes;
}

/** The text of a JSON string, or null where an escape is invalid. */
function textOf(string: Buffer): string | null {
  if (string.indexOf(backslash) === -1) return string.toString('utf8', 1, string.length - 1);
  try {
    return JSON.parse(string.toString()) as string;
  } catch {
    return null;
  }
}

/**
 * Reads a member that may be a control key.
 * @param value its first bytes, enough of them to judge it. @param from offset of its first byte. @param to offset behind it.
 */
function readControl(found: Found, key: string, value: Buffer, from: number, to: number, bounds: readonly string[]): void {
  let at = controls.indexOf(key);
  // Go also folds the long s and the Kelvin sign.
  if (at === -1) at = controlsFolded.indexOf(key.toLowerCase().toUpperCase());
  if (at === -1) return;
  const name = controls[at] as string;
  if (key !== name || (found.seen & (1 << at)) !== 0) found.ambiguous = true;
  found.seen |= 1 << at;
  const isNull = value.length === 4 && value[0] === 0x6e;
  if (key !== name) found.hasVariant ||= name === 'model';
  else if (name === 'model') {
    found.model = value[0] === quote && value.length <= maxModel ? textOf(value) : null;
    found.modelSpan = found.model === null ? null : [from, to];
    if (found.model === null && !isNull) found.wrong = { field: 'model', expected: `a string of at most ${maxModel} bytes`, got: kindOf(value) };
  } else if (name === 'stream') found.stream = value[0] === 0x74;
  else if (name === 'n' || name === 'best_of') found.choices = Math.max(found.choices, countIn(value) ?? 1);
  else if (bounds.includes(name) && !isNull) {
    const count = countIn(value);
    if (isUnbounded(value)) found.unbounded ??= name;
    else if (count === null || count > maxTokenBound) found.wrong = { field: name, expected: `a positive whole number of at most ${maxTokenBound}`, got: kindOf(value) };
    // 0 is no bound: NewAPI reads it as an absent member.
    else if (count > 0) found.maxTokens = Math.max(found.maxTokens ?? 0, count);
  }
}

/** `-1`, which some servers read as no bound. */
const isUnbounded = (value: Buffer): boolean => value.length === 2 && value[0] === 0x2d && value[1] === 0x31;

/** A whole number of at least 0 in any spelling (`1.0`, `1e3`), or null. */
function countIn(value: Buffer): number | null {
  const text = value.length <= maxNumber ? value.toString('latin1') : '';
  const count = /^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : -1;
  return Number.isInteger(count) && count >= 0 ? count : null;
}

function kindOf(value: Buffer): string {
  const first = value[0];
  if (first === quote) return 'a string';
  if (first === openBrace) return 'an object';
  if (first === openBracket) return 'an array';
  if (first === 0x74 || first === 0x66) return 'a boolean';
  const text = value.toString('latin1', 0, maxNumber);
  return /^-?[\d.eE+-]+$/.test(text) ? text : 'something else';
}

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

/** Bytes of a string that are read in a loop; the rest is searched by `indexOf`, whose call costs more than a short loop. */
const shortString = 48;

/** Members that bound a completion's tokens. */
const allBounds: readonly string[] = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'];

const controls = ['model', 'stream', 'n', 'best_of', ...allBounds];
const controlsFolded = controls.map((name) => name.toUpperCase());
/** The lengths of the control keys as a set of bits. */
const controlLengths = controls.reduce((bits, { length }) => bits | (1 << length), 0);

/** Length of the longest control key with every letter escaped. */
const maxEscapedName = 6 * Math.max(...controls.map(({ length }) => length));

/** Largest bound that NewAPI accepts (`math.MaxInt32 / 2`). */
const maxTokenBound = 2 ** 30 - 1;
/** Most digits of a number that are read. */
const maxNumber = 24;
/** Longest accepted name of a model in bytes, quotes included. */
const maxModel = 1024;

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

/**
 * Reads the members of a JSON object's first level. The last of a name counts, as in `JSON.parse`. Nested values are skipped:
 * a full parse of an 8 MB vision body blocks the process for 17 to 67 ms, this for about one.
 * @param bounds names of the members that bound a completion's tokens on this route; other bounds are ignored.
 * @returns null when the body is not one JSON object. Values are checked for structure only.
 */
export function scanMembers(body: Buffer, bounds: readonly string[] = allBounds): Members | null {
  const found = new Found();
  let at = skipSpace(body, 0);
  if (body[at] !== openBrace) return null;
  at = skipSpace(body, at + 1);
  let next = body[at] === closeBrace ? closeBrace : comma;
  if (next === closeBrace) at = skipSpace(body, at + 1);
  while (next === comma) {
    if (body[at] !== quote) return null;
    const nameEnd = endOfString(body, at);
    if (nameEnd === -1) return null;
    const name = controlName(body, at, nameEnd);
    at = skipSpace(body, nameEnd);
    if (body[at] !== colon) return null;
    const from = skipSpace(body, at + 1);
    const to = endOfValue(body, from);
    if (to === -1) return null;
    if (name !== null) readControl(found, name, body, from, to, bounds);
    at = skipSpace(body, to);
    next = body[at] as number;
    at = skipSpace(body, at + 1);
  }
  if (next !== closeBrace || at < body.length) return null;
  if (found.hasVariant) found.model = found.modelSpan = null;
  return found;
}

/**
 * The offset behind the JSON value that begins at `at`, or -1 when the value does not end. Checked for structure only;
 * nesting is counted, not recursed into.
 */
export function endOfValue(bytes: Buffer, at: number): number {
  const first = bytes[at];
  if (first === quote) return endOfString(bytes, at);
  let next = at;
  if (first !== openBrace && first !== openBracket) {
    while (next < bytes.length && !endsScalar(bytes[next] as number)) next++;
    return next > at ? next : -1;
  }
  const open: number[] = [];
  while (next < bytes.length) {
    const byte = bytes[next] as number;
    if (byte === quote) {
      next = endOfString(bytes, next);
      if (next === -1) return -1;
      continue;
    }
    next++;
    if (byte === openBrace) open.push(closeBrace);
    else if (byte === openBracket) open.push(closeBracket);
    else if (byte === closeBrace || byte === closeBracket) {
      if (open.pop() !== byte) return -1;
      if (open.length === 0) return next;
    }
  }
  return -1;
}

/** The offset of the first byte at or behind `at` that is not white space. */
export function skipSpace(bytes: Buffer, at: number): number {
  let next = at;
  for (let byte = bytes[next]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[next]) next++;
  return next;
}

const endsScalar = (byte: number): boolean => byte === comma || byte === closeBrace || byte === closeBracket || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** The offset behind the closing quote of the string that begins at `start`, or -1. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1;
  for (const near = Math.min(bytes.length, at + shortString); at < near; at++) {
    const byte = bytes[at];
    if (byte === quote) return at + 1;
    if (byte === backslash) at++;
  }
  for (;;) {
    at = bytes.indexOf(quote, at);
    if (at === -1) return -1;
    let slashes = 0;
    while (bytes[at - 1 - slashes] === backslash) slashes++;
    if (slashes % 2 === 0) return at + 1;
    at++;
  }
}

/** A member's name, or null for one that cannot be a control key: only names of their lengths, and names with escapes or other letters, are decoded. */
function controlName(body: Buffer, start: number, end: number): string | null {
  const length = end - start - 2;
  if (length < 32 && (controlLengths & (1 << length)) !== 0) return textOf(body, start, end);
  if (length > maxEscapedName) return null;
  for (let at = start; at < end; at++) if (body[at] === backslash || (body[at] as number) > 0x7f) return textOf(body, start, end);
  return null;
}

/** The text of a JSON string, or null where an escape is invalid. */
function textOf(body: Buffer, start: number, end: number): string | null {
  // Not `indexOf`, which would search the rest of the body.
  let at = start;
  while (at < end && body[at] !== backslash) at++;
  if (at === end) return body.toString('utf8', start + 1, end - 1);
  try {
    return JSON.parse(body.toString('utf8', start, end)) as string;
  } catch {
    return null;
  }
}

/** Reads a member that may be a control key. @param from first byte of its value. @param to offset behind the value. */
function readControl(found: Found, key: string, body: Buffer, from: number, to: number, bounds: readonly string[]): void {
  let at = controls.indexOf(key);
  // Go also folds the long s and the Kelvin sign.
  if (at === -1) at = controlsFolded.indexOf(key.toLowerCase().toUpperCase());
  if (at === -1) return;
  const name = controls[at] as string;
  if (key !== name || (found.seen & (1 << at)) !== 0) found.ambiguous = true;
  found.seen |= 1 << at;
  const isNull = to - from === 4 && body[from] === 0x6e;
  if (key !== name) found.hasVariant ||= name === 'model';
  else if (name === 'model') {
    found.model = body[from] === quote && to - from <= maxModel ? textOf(body, from, to) : null;
    found.modelSpan = found.model === null ? null : [from, to];
    if (found.model === null && !isNull) found.wrong = { field: 'model', expected: `a string of at most ${maxModel} bytes`, got: kindOf(body, from, to) };
  } else if (name === 'stream') found.stream = body[from] === 0x74;
  else if (name === 'n' || name === 'best_of') found.choices = Math.max(found.choices, countIn(body, from, to) ?? 1);
  else if (bounds.includes(name) && !isNull) {
    const count = countIn(body, from, to);
    if (isUnbounded(body, from, to)) found.unbounded ??= name;
    else if (count === null || count > maxTokenBound) found.wrong = { field: name, expected: `a positive whole number of at most ${maxTokenBound}`, got: kindOf(body, from, to) };
    // 0 is no bound: NewAPI reads it as an absent member.
    else if (count > 0) found.maxTokens = Math.max(found.maxTokens ?? 0, count);
  }
}

/** `-1`, which some servers read as no bound. */
const isUnbounded = (body: Buffer, from: number, to: number): boolean => to - from === 2 && body[from] === 0x2d && body[from + 1] === 0x31;

/** A whole number of at least 0 in any spelling (`1.0`, `1e3`), or null. */
function countIn(body: Buffer, from: number, to: number): number | null {
  const text = to - from <= maxNumber ? body.toString('latin1', from, to) : '';
  const count = /^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : -1;
  return Number.isInteger(count) && count >= 0 ? count : null;
}

function kindOf(body: Buffer, from: number, to: number): string {
  const first = body[from];
  if (first === quote) return 'a string';
  if (first === openBrace) return 'an object';
  if (first === openBracket) return 'an array';
  if (first === 0x74 || first === 0x66) return 'a boolean';
  const text = body.toString('latin1', from, Math.min(to, from + maxNumber));
  return /^-?[\d.eE+-]+$/.test(text) ? text : 'something else';
}

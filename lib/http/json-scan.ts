/** What the gate needs to know of a JSON body; found without parsing it. */
export interface Members {
  readonly model: string | null;
  /** Byte offsets of the model's JSON string, quotes included. */
  readonly modelSpan: readonly [number, number] | null;
  readonly stream: boolean;
  /** Most tokens one completion may have; the largest where several members bound it, null where none does. */
  readonly maxTokens: number | null;
  /** Completions asked for: `n` or `best_of`, at least 1. */
  readonly choices: number;
  /** A control key stands twice or in other letters: readers differ in what they take the body for. */
  readonly ambiguous: boolean;
  /** A control key with a value no upstream takes. */
  readonly wrong: WrongMember | null;
}

/** What is wrong with a member: for an error that names it. */
export interface WrongMember {
  readonly field: string;
  readonly expected: string;
  /** The kind of the value, or a short number; never more of what the caller wrote. */
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

/** Strings longer than this are skipped by `indexOf`; for shorter ones the call costs more than the loop. */
const shortString = 48;

/** Members that bound a completion's tokens, where the route does not say which. */
const allBounds: readonly string[] = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'];

const controls = ['model', 'stream', 'n', 'best_of', ...allBounds];
const controlsFolded = controls.map((name) => name.toUpperCase());
/** Bit by bit the lengths of their names. */
const controlLengths = controls.reduce((bits, { length }) => bits | (1 << length), 0);

/** The longest control key with every letter escaped. */
const longestName = 6 * Math.max(...controls.map(({ length }) => length));

/** NewAPI takes no more (`math.MaxInt32 / 2`). */
const mostTokens = 2 ** 30 - 1;
/** Digits of a number that are looked at. */
const longestNumber = 24;
/** No model's name is as long, bytes. */
const longestModel = 1024;

/**
 * Reads the members of a JSON object's first level, of which the last of a name counts, as in `JSON.parse`. Nested values
 * are skipped over: a full parse of an 8 MB vision body blocks the process for 17 to 67 ms, this for about one.
 * A name like `Model` leaves the model open.
 * @param bounds names of the members that bound a completion's tokens on this route; others of that kind are not looked at.
 * @returns null when the body is no JSON object. Values are checked for structure only.
 */
export function scanMembers(body: Buffer, bounds: readonly string[] = allBounds): Members | null {
  const scan = new Scan(body, 0, bounds);
  return scan.object() ? scan.members() : null;
}

/**
 * Where the JSON value ends that begins at `at`: the offset behind its last byte, or -1 when it does not end.
 * Checked for structure only.
 */
export function endOfValue(bytes: Buffer, at: number): number {
  return new Scan(bytes, at).end();
}

/** The offset of the first byte at or behind `at` that is no white space. */
export function skipSpace(bytes: Buffer, at: number): number {
  let next = at;
  while (isSpace(bytes[next] as number)) next++;
  return next;
}

class Scan implements Members {
  model: string | null = null;
  modelSpan: readonly [number, number] | null = null;
  stream = false;
  maxTokens: number | null = null;
  choices = 1;
  ambiguous = false;
  wrong: WrongMember | null = null;
  /** NewAPI's Go takes `Model` for `model`, too: then nobody can tell whose it is. */
  #variant = false;
  /** Bit by bit the control keys met. */
  #met = 0;
  readonly #body: Buffer;
  readonly #bounds: readonly string[];
  #at: number;

  constructor(body: Buffer, at = 0, bounds = allBounds) {
    this.#body = body;
    this.#at = at;
    this.#bounds = bounds;
  }

  members(): Members {
    if (this.#variant) this.model = this.modelSpan = null;
    return this;
  }

  object(): boolean {
    if (this.#token() !== openBrace) return false;
    this.#at++;
    if (this.#token() === closeBrace) return this.#atEnd();
    for (;;) {
      if (!this.#member()) return false;
      const next = this.#token();
      this.#at++;
      if (next === closeBrace) return this.#atEnd(0);
      if (next !== comma) return false;
    }
  }

  end(): number {
    return this.#value() ? this.#at : -1;
  }

  #member(): boolean {
    if (this.#token() !== quote) return false;
    const start = this.#at;
    if (!this.#string()) return false;
    const key = this.#key(start);
    if (this.#token() !== colon) return false;
    this.#at++;
    this.#token();
    const from = this.#at;
    if (!this.#value()) return false;
    if (key !== null) this.#control(key, from);
    return true;
  }

  #control(key: string, from: number): void {
    let at = controls.indexOf(key);
    // Go folds a long s and the Kelvin sign, too.
    if (at === -1) at = controlsFolded.indexOf(key.toLowerCase().toUpperCase());
    if (at === -1) return;
    const name = controls[at] as string;
    if (key !== name || (this.#met & (1 << at)) !== 0) this.ambiguous = true;
    this.#met |= 1 << at;
    if (key !== name) this.#variant ||= name === 'model';
    else if (name === 'model') this.#readModel(from);
    else if (name === 'stream') this.stream = this.#body[from] === 0x74;
    else if (name === 'n' || name === 'best_of') this.choices = Math.max(this.choices, this.#count(from) ?? 1);
    else if (this.#bounds.includes(name)) this.#readBound(name, from);
  }

  /** Only names as long as those looked for are worth a string; one that is not plain may spell anything. */
  #key(start: number): string | null {
    const length = this.#at - start - 2;
    if (length < 32 && (controlLengths & (1 << length)) !== 0) return this.#text(start);
    return length <= longestName && this.#unusual(start) ? this.#text(start) : null;
  }

  #unusual(start: number): boolean {
    for (let at = start; at < this.#at; at++) if (this.#body[at] === backslash || (this.#body[at] as number) > 0x7f) return true;
    return false;
  }

  /** No `indexOf`: it would look through the whole rest of the body for every name. */
  #escaped(start: number): boolean {
    for (let at = start; at < this.#at; at++) if (this.#body[at] === backslash) return true;
    return false;
  }

  #text(start: number): string | null {
    if (!this.#escaped(start)) return this.#body.toString('utf8', start + 1, this.#at - 1);
    try {
      return JSON.parse(this.#body.toString('utf8', start, this.#at)) as string;
    } catch {
      return null;
    }
  }

  #readModel(from: number): void {
    const isText = this.#body[from] === quote && this.#at - from <= longestModel;
    const text = isText ? this.#text(from) : null;
    this.model = text;
    this.modelSpan = text === null ? null : [from, this.#at];
    if (!isText && !this.#isNull(from)) this.wrong = { field: 'model', expected: `a string of at most ${longestModel} bytes`, got: this.#kind(from) };
  }

  /** Of several the largest. 0 is no bound: NewAPI takes it for a member that is not there. */
  #readBound(name: string, from: number): void {
    if (this.#isNull(from)) return;
    const count = this.#count(from);
    if (count === null || count > mostTokens) this.wrong = { field: name, expected: `a positive whole number of at most ${mostTokens}`, got: this.#kind(from) };
    else if (count > 0) this.maxTokens = Math.max(this.maxTokens ?? 0, count);
  }

  /** A whole number of at least 0, however it is written (`1.0`, `1e3`). */
  #count(from: number): number | null {
    const text = this.#at - from <= longestNumber ? this.#body.toString('latin1', from, this.#at) : '';
    const count = /^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : -1;
    return Number.isInteger(count) && count >= 0 ? count : null;
  }

  #isNull(from: number): boolean {
    return this.#at - from === 4 && this.#body[from] === 0x6e;
  }

  #kind(from: number): string {
    const first = this.#body[from];
    if (first === quote) return 'a string';
    if (first === openBrace) return 'an object';
    if (first === openBracket) return 'an array';
    if (first === 0x74 || first === 0x66) return 'a boolean';
    const text = this.#body.toString('latin1', from, Math.min(this.#at, from + longestNumber));
    return /^-?[\d.eE+-]+$/.test(text) ? text : 'something else';
  }

  /** Skips one value of any kind; nesting is counted, not recursed into. */
  #value(): boolean {
    const first = this.#body[this.#at];
    if (first === quote) return this.#string();
    if (first === openBrace || first === openBracket) return this.#nested();
    const from = this.#at;
    while (this.#at < this.#body.length && !ends(this.#body[this.#at] as number)) this.#at++;
    return this.#at > from;
  }

  #nested(): boolean {
    const open: number[] = [];
    const body = this.#body;
    while (this.#at < body.length) {
      const byte = body[this.#at] as number;
      if (byte === quote) {
        if (!this.#string()) return false;
        continue;
      }
      this.#at++;
      if (byte === openBrace) open.push(closeBrace);
      else if (byte === openBracket) open.push(closeBracket);
      else if (byte === closeBrace || byte === closeBracket) {
        if (open.pop() !== byte) return false;
        if (open.length === 0) return true;
      }
    }
    return false;
  }

  /** From the opening quote to behind the closing one. */
  #string(): boolean {
    const body = this.#body;
    let at = this.#at + 1;
    for (const near = Math.min(body.length, at + shortString); at < near; at++) {
      const byte = body[at];
      if (byte === quote) return this.#moveTo(at + 1);
      if (byte === backslash) at++;
    }
    for (;;) {
      at = body.indexOf(quote, at);
      if (at === -1) return false;
      let slashes = 0;
      while (body[at - 1 - slashes] === backslash) slashes++;
      if (slashes % 2 === 0) return this.#moveTo(at + 1);
      at++;
    }
  }

  #moveTo(at: number): boolean {
    this.#at = at;
    return true;
  }

  /** The next byte that is no white space, without consuming it. */
  #token(): number | undefined {
    const body = this.#body;
    while (this.#at < body.length && isSpace(body[this.#at] as number)) this.#at++;
    return body[this.#at];
  }

  /** @param skip bytes to step over first. */
  #atEnd(skip = 1): boolean {
    this.#at += skip;
    return this.#token() === undefined;
  }
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
const ends = (byte: number): boolean => byte === comma || byte === closeBrace || byte === closeBracket || isSpace(byte);

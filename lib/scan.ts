/** What the gate needs to know of a JSON body; found without parsing it. */
export interface Members {
  readonly model: string | null;
  /** Byte offsets of the model's JSON string, quotes included. */
  readonly modelSpan: readonly [number, number] | null;
  readonly stream: boolean;
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

/** `stream` with every letter escaped. */
const longestName = 36;

/**
 * Reads the members of a JSON object's first level, of which the last of a name counts, as in `JSON.parse`. Nested values
 * are skipped over: a full parse of an 8 MB vision body blocks the process for 17 to 67 ms, this for about one.
 * A name like `Model` leaves the model open.
 * @returns null when the body is no JSON object. Values are checked for structure only.
 */
export function scanMembers(body: Buffer): Members | null {
  const scan = new Scan(body);
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

const untold = { model: null, modelSpan: null };

class Scan implements Members {
  model: string | null = null;
  modelSpan: readonly [number, number] | null = null;
  stream = false;
  /** NewAPI's Go takes `Model` for `model`, too: then nobody can tell whose it is. */
  #variant = false;
  readonly #body: Buffer;
  #at: number;

  constructor(body: Buffer, at = 0) {
    this.#body = body;
    this.#at = at;
  }

  members(): Members {
    return this.#variant ? { ...untold, stream: this.stream } : this;
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
    if (key === 'model') this.#readModel(from);
    else if (key === 'stream') this.stream = this.#body[from] === 0x74;
    else if (key?.length === 5 && key.toLowerCase() === 'model') this.#variant = true;
    return true;
  }

  /** Only names as long as those looked for are worth a string; an escaped one may spell anything. */
  #key(start: number): string | null {
    const length = this.#at - start - 2;
    if (length === 5 || length === 6) return this.#text(start);
    return length <= longestName && this.#escaped(start) ? this.#text(start) : null;
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
    const text = this.#body[from] === quote ? this.#text(from) : null;
    this.model = text;
    this.modelSpan = text === null ? null : [from, this.#at];
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

const blankLine = Buffer.from('\r\n\r\n');
/** A longer head of a part or name of a model is no one's. */
const longestField = 4096;

/**
 * The `model` field of a multipart form (RFC 7578), the first as Go reads it; null when it has none. Only what stands in a
 * part's own head counts: a file may hold anything.
 * @param type the `Content-Type`, which names the boundary.
 */
export function formModel(body: Buffer, type: string): string | null {
  const boundary = /;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(type);
  if (boundary === null) return null;
  const delimiter = Buffer.from(`--${boundary[1] ?? (boundary[2] as string)}`, 'latin1');
  let part = body.indexOf(delimiter);
  while (part !== -1) {
    const head = part + delimiter.length;
    let from = head;
    if (part === 0 || (body[part - 1] === 0x0a && body[part - 2] === 0x0d)) {
      const value = body.indexOf(blankLine, head) + blankLine.length;
      if (value < head || body.toString('latin1', head, head + 2) === '--') return null;
      // Go also reads RFC 2231's spellings of a name; a part that cannot be read leaves the model untold.
      const lines = value - head > longestField ? null : body.toString('latin1', head, value);
      if (lines === null || /;[ \t]*name\*/i.test(lines)) return null;
      if (isModel(lines)) return fieldAt(body, value);
      from = value - 2;
    }
    part = body.indexOf(delimiter, from);
  }
  return null;
}

function fieldAt(body: Buffer, start: number): string | null {
  const end = body.indexOf('\r\n', start);
  return end === -1 || end - start > longestField ? null : body.toString('utf8', start, end);
}

/** @param head a part's header lines, each behind a line break. */
function isModel(head: string): boolean {
  const disposition = /\r\ncontent-disposition:[ \t]*form-data([^\r\n]*)\r\n/i.exec(head)?.[1];
  if (disposition === undefined || !/^[ \t]*\r\n/.test(head)) return false;
  const parameters = [...disposition.matchAll(/;[ \t]*([\w*]+)=("(?:[^"\\]|\\.)*"|[^;]*)/g)].map(([, name = '', value = '']) => [name.toLowerCase(), value.replaceAll('"', '').trim()] as const);
  return parameters.some(([name, value]) => name === 'name' && value === 'model') && !parameters.some(([name]) => name.startsWith('filename'));
}

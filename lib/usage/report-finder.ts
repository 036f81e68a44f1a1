const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

const names = [Buffer.from('"usage"'), Buffer.from('"usageMetadata"')];
const longestName = 15;
/** Bytes of a report; a larger object is none. */
const longestReport = 65_536;

/** A report and how deep it lies: 1 for a member of the document itself. */
export interface FoundReport {
  readonly json: Buffer;
  readonly level: number;
}

/**
 * Finds the report of a JSON document that passes in pieces and may be of any size. Up to the first member of that name it only
 * searches. From there on it counts the brackets, since how many of them close up to the end tells how deep the member lies: at
 * about a nanosecond a byte, and only where a report does not stand at the end. Keeps the report and nothing else.
 */
export class ReportFinder {
  /** The end of what was searched: a name may go on in the next piece. */
  #rest: Buffer = nothing;
  #counts = false;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Text of a string that began in an earlier piece, while it may be a name. */
  #begun: string | null = null;
  #awaits: 'nothing' | 'colon' | 'value' = 'nothing';
  /** The object that may be a report, from its opening brace on, and the depth of the object that holds it. */
  #taken: Buffer[] | null = null;
  #takenBytes = 0;
  #takenDepth = 0;
  #found: { readonly json: Buffer; readonly depth: number } | null = null;

  push(piece: Buffer): void {
    if (this.#counts) return this.#count(piece, 0);
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const at = endOfFirstName(bytes);
    if (at === -1) {
      this.#rest = Buffer.from(bytes.subarray(Math.max(0, bytes.length - longestName - 1)));
      return;
    }
    this.#rest = nothing;
    this.#counts = true;
    this.#awaits = 'colon';
    this.#count(bytes, at);
  }

  /** The report nearest to the outside, of several the last; null without one, or when the document breaks off within a string. */
  end(): FoundReport | null {
    if (this.#found === null || this.#inString) return null;
    return { json: this.#found.json, level: this.#found.depth - this.#depth };
  }

  #count(bytes: Buffer, from: number): void {
    let start = this.#taken === null ? -1 : from;
    let at = from;
    while (at < bytes.length) {
      if (this.#inString) {
        at = this.#string(bytes, at);
        continue;
      }
      const byte = bytes[at++] as number;
      if (byte <= 0x20) continue;
      if (byte === quote) this.#inString = true;
      if (this.#taken === null && this.#awaits !== 'nothing') {
        if (this.#opens(byte)) {
          this.#taken = [];
          this.#takenDepth = this.#depth;
          start = at - 1;
        }
      }
      if (byte === openBrace || byte === openBracket) this.#depth++;
      else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--;
        if (this.#taken !== null && this.#depth === this.#takenDepth) {
          this.#take(bytes, start, at);
          this.#keep();
        }
      }
    }
    if (this.#taken !== null) this.#take(bytes, start, bytes.length);
  }

  /** @returns whether a report begins with this byte: behind its name come a colon and a brace. */
  #opens(byte: number): boolean {
    const awaited = this.#awaits;
    this.#awaits = awaited === 'colon' && byte === colon ? 'value' : 'nothing';
    return awaited === 'value' && byte === openBrace;
  }

  /** Within a string. @returns the offset behind it, or the end of the piece. */
  #string(bytes: Buffer, from: number): number {
    let at = from;
    let plain = !this.#escaped;
    while (at < bytes.length) {
      if (this.#escaped) {
        this.#escaped = false;
        at++;
        continue;
      }
      const byte = bytes[at++];
      if (byte === backslash) {
        this.#escaped = true;
        plain = false;
      } else if (byte === quote) {
        this.#inString = false;
        this.#ended(bytes, from, at - 1, plain);
        return at;
      }
    }
    this.#begun = plain && at - from + (this.#begun?.length ?? 0) <= longestName ? (this.#begun ?? '') + bytes.toString('latin1', from, at) : tooLong;
    return at;
  }

  #ended(bytes: Buffer, from: number, to: number, plain: boolean): void {
    const begun = this.#begun;
    this.#begun = null;
    if (!plain || to - from > longestName || this.#taken !== null) return;
    const text = begun === null ? bytes.toString('latin1', from, to) : begun + bytes.toString('latin1', from, to);
    if (text === 'usage' || text === 'usageMetadata') this.#awaits = 'colon';
  }

  #take(bytes: Buffer, from: number, to: number): void {
    this.#takenBytes += to - from;
    if (this.#takenBytes <= longestReport) this.#taken?.push(Buffer.from(bytes.subarray(from, to)));
  }

  #keep(): void {
    const fits = this.#takenBytes <= longestReport;
    if (fits && (this.#found === null || this.#takenDepth <= this.#found.depth)) this.#found = { json: Buffer.concat(this.#taken as Buffer[]), depth: this.#takenDepth };
    this.#taken = null;
    this.#takenBytes = 0;
  }
}

const nothing = Buffer.alloc(0);
/** No name is as long. */
const tooLong = 'x'.repeat(longestName + 1);

/** The offset behind the first name of a report, outside of strings, or -1. */
function endOfFirstName(bytes: Buffer): number {
  let first = -1;
  for (const name of names) {
    let at = bytes.indexOf(name);
    while (at > 0 && bytes[at - 1] === backslash) at = bytes.indexOf(name, at + 1);
    if (at !== -1 && (first === -1 || at + name.length < first)) first = at + name.length;
  }
  return first;
}

import { StreamPeek, type Beginning } from './sse.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;
const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
/** First byte of the byte order mark of UTF-8. */
const mark = 0xef;
/** The first bytes of the fields of an event stream: `data`, `event`, `id`, `retry`. */
const fieldStarts: ReadonlySet<number> = new Set([0x64, 0x65, 0x69, 0x72]);

const undecided: Beginning = { kind: 'nothing' };
const begun: Beginning = { kind: 'event' };

/**
 * The beginning of an answer that should be a stream. Its own bytes say what it is, since some upstreams send streams as JSON, as
 * text or without a type: events, JSON value by value, one JSON document, or other bytes, which begin at once.
 */
export class StreamStart {
  #kind: 'unknown' | 'events' | 'json' | 'bytes' = 'unknown';
  readonly #peek = new StreamPeek();
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** How deep the values of the stream lie: 1 in an array. */
  #level = 0;
  /** A value is complete, and only white space has followed. */
  #complete = false;

  /** Nothing but white space has arrived. */
  get isUnknown(): boolean {
    return this.#kind === 'unknown';
  }

  /** An event stream. */
  get isEvents(): boolean {
    return this.#kind === 'events';
  }

  /** JSON: one document, or a value a line. */
  get isJson(): boolean {
    return this.#kind === 'json';
  }

  push(chunk: Buffer): Beginning {
    if (this.#kind === 'unknown') this.#look(chunk);
    switch (this.#kind) {
      case 'bytes':
        return begun;
      case 'json':
        return this.#value(chunk) ? begun : undecided;
      default:
        return this.#peek.push(chunk);
    }
  }

  #look(chunk: Buffer): void {
    for (const byte of chunk) {
      if (byte <= 0x20 || (byte >= 0x80 && isMark(byte))) continue;
      const isJson = byte === openBrace || byte === openBracket;
      this.#level = byte === openBracket ? 1 : 0;
      this.#kind = isJson ? 'json' : byte === colon || fieldStarts.has(byte) ? 'events' : 'bytes';
      return;
    }
  }

  /** @returns whether the first value of several is complete: in an array, or as a line of its own. */
  #value(chunk: Buffer): boolean {
    for (const byte of chunk) {
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
      } else if (byte === quote) this.#inString = true;
      else if (byte === openBrace || byte === openBracket) this.#depth++;
      else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--;
        if (this.#depth === this.#level) this.#complete = true;
      } else if (this.#complete && (this.#level === 1 || byte === newline || byte === carriageReturn)) return true;
    }
    return this.#complete && this.#level === 1 && this.#depth === 1;
  }
}

/** The mark may be cut into pieces, and its bytes begin nothing else that is read here. */
const isMark = (byte: number): boolean => byte === mark || byte === 0xbb || byte === 0xbf;

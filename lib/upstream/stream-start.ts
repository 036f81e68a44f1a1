import { bodyKind, contentStart, type BodyKind } from '../http/http.ts';
import { StreamPeek, type Beginning } from './sse.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;
const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

const undecided: Beginning = { kind: 'nothing' };
const begun: Beginning = { kind: 'event' };

/** The beginning of an answer that should be a stream, as its own bytes say: events, JSON value by value, one JSON document, or other bytes, which begin at once. */
export class StreamStart {
  #kind: BodyKind | 'unknown' = 'unknown';
  readonly #peek = new StreamPeek();
  #depth = 0;
  #inString = false;
  #escaped = false;
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
    return this.#kind === 'json' || this.#kind === 'list';
  }

  push(chunk: Buffer): Beginning {
    if (this.#kind === 'unknown') {
      const at = contentStart(chunk);
      if (at < chunk.length) this.#kind = bodyKind(chunk[at]);
    }
    switch (this.#kind) {
      case 'bytes':
        return begun;
      case 'json':
      case 'list':
        return this.#value(chunk) ? begun : undecided;
      default:
        return this.#peek.push(chunk);
    }
  }

  /** @returns whether the first value of several is complete: in an array, or as a line of its own. */
  #value(chunk: Buffer): boolean {
    // How deep the values lie.
    const level = this.#kind === 'list' ? 1 : 0;
    for (const byte of chunk) {
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
      } else if (byte === quote) this.#inString = true;
      else if (byte === openBrace || byte === openBracket) this.#depth++;
      else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--;
        if (this.#depth === level) this.#complete = true;
      } else if (this.#complete && (level === 1 || byte === newline || byte === carriageReturn)) return true;
    }
    return this.#complete && level === 1 && this.#depth === 1;
  }
}

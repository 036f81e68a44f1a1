import { numbers, ownTexts, recordEnd, textEnd, type Batch, type Written } from './messages.ts';

/** Size of a segment. */
const segmentBytes = 524_288;
/** Larger bodies and answers get memory of their own. */
const largeBody = 65_536;
const insideOf = (bytes: Buffer | null): number => (bytes === null || bytes.length > largeBody ? 0 : bytes.length);
/** What the numbers of a record take, and what a place in memory must be a multiple of to hold them. */
const numbersBytes = numbers.length * Float64Array.BYTES_PER_ELEMENT;
/** Records whose texts are remembered: one of each agent, and agents are few. */
const mostRows = 64;

const separator = new RegExp(`[${textEnd}${String.fromCharCode(recordEnd)}]`);
const separators = new RegExp(separator, 'g');
/** SECURITY: with a separator in a text a caller could write the records of others. */
const whole = (text: string): string => (separator.test(text) ? text.replace(separators, ' ') : text);

/** Where the numbers of a record stand that is written below a place in memory. */
export const blockBelow = (top: number): number => Math.floor(top / Float64Array.BYTES_PER_ELEMENT) * Float64Array.BYTES_PER_ELEMENT - numbersBytes;

/** What is told once a segment is committed, or cannot be: whether it may go on. */
export type Committed = (written: boolean) => void;

/** A record that was written with all its texts. */
interface Row {
  readonly nth: number;
  readonly texts: readonly string[];
}

/**
 * A piece of memory both threads see. Records are written into it as they end: objects kept until the batch is full would
 * cost a request 13 microseconds in garbage collection. A client says nearly the same with every request, so of the texts
 * of most records only those are written that differ from an earlier one's. It stays as it is until the worker has
 * committed it, so that another worker can be given the same.
 */
export class Segment {
  readonly memory = new SharedArrayBuffer(segmentBytes);
  readonly #bytes = Buffer.from(this.memory);
  readonly #numbers = new Float64Array(this.memory);
  #used = 0;
  #top = segmentBytes;
  #large: SharedArrayBuffer[] = [];
  #largeBytes = 0;
  #added: Batch['added'][number][] = [];
  #waiting: Committed[] = [];
  #records = 0;
  readonly #rows = new Map<string, Row>();
  /** Of the record being written: who it comes from, which it is like, what of its texts is written, and how far it is. */
  #agent = '';
  #like: Row | null = null;
  #parts: (string | number)[] = [];
  #at = 0;
  #number = 0;

  get records(): number {
    return this.#records + this.#added.length;
  }

  /** Bytes that wait in it. */
  get size(): number {
    return this.#used + (segmentBytes - this.#top) + this.#largeBytes;
  }

  /**
   * Begins a record: its own texts, the others and its numbers follow, each in its order, then {@link Segment.end}.
   * @param agent requests with the same have much in common. @param texts how many will follow beside its own.
   * @returns false when there is no room for another.
   */
  begin(agent: string, texts: number): boolean {
    const block = blockBelow(this.#top);
    if (block < this.#used) return false;
    const row = this.#rows.get(agent);
    this.#agent = agent;
    this.#like = row?.texts.length === texts ? row : null;
    this.#parts = [];
    this.#at = 0;
    // Its first three are known at its end.
    this.#number = block / Float64Array.BYTES_PER_ELEMENT + 3;
    return true;
  }

  /** The next of the texts that are of this request alone. */
  own(text: string): void {
    this.#parts.push(whole(text));
  }

  /** The next of the others. */
  text(text: string): void {
    if (this.#like === null) this.#parts.push(whole(text));
    else if (this.#like.texts[this.#at] !== text) this.#parts.push(this.#at, whole(text));
    this.#at++;
  }

  number(value: number): void {
    this.#numbers[this.#number++] = value;
  }

  /** Adds the record begun, with what there is of its body and of its answer. @returns false when it does not fit. */
  end(body: Buffer | null, answer: Buffer | null): boolean {
    const text = this.#parts.join(textEnd);
    const block = blockBelow(this.#top);
    const inside = insideOf(body) + insideOf(answer);
    // Three bytes are the longest a character takes.
    if (this.#used + text.length * 3 + 1 + inside > block) return false;
    this.#used += this.#bytes.write(text, this.#used);
    this.#bytes[this.#used++] = recordEnd;
    this.#top = block;
    const first = block / Float64Array.BYTES_PER_ELEMENT;
    this.#numbers[first] = this.#like?.nth ?? -1;
    this.#numbers[first + 1] = this.#place(body);
    this.#numbers[first + 2] = this.#place(answer);
    if (this.#like === null) this.#remember();
    this.#records++;
    return true;
  }

  #remember(): void {
    if (this.#rows.size < mostRows || this.#rows.has(this.#agent)) this.#rows.set(this.#agent, { nth: this.#records, texts: this.#parts.slice(ownTexts.length) as string[] });
  }

  #place(bytes: Buffer | null): number {
    if (bytes === null) return 0;
    if (bytes.length > largeBody) return -this.#apart(bytes);
    this.#top -= bytes.length;
    this.#bytes.set(bytes, this.#top);
    return bytes.length;
  }

  #apart(bytes: Buffer): number {
    const memory = new SharedArrayBuffer(bytes.length);
    this.#largeBytes += bytes.length;
    Buffer.from(memory).set(bytes);
    return this.#large.push(memory);
  }

  append(added: Batch['added'][number]): void {
    this.#added.push(added);
  }

  /** Calls when the segment is committed. */
  whenCommitted(call: Committed): void {
    this.#waiting.push(call);
  }

  settle(written: boolean): void {
    const calls = this.#waiting;
    this.#waiting = [];
    for (const call of calls) call(written);
  }

  /** What is in it so far. */
  get written(): Written {
    return { memory: this.memory, records: this.#records, used: this.#used, top: this.#top, large: this.#large };
  }

  /** Nothing is added to it any more. */
  message(seq: number, now: number, cursors: Batch['cursors']): Batch {
    this.#forget();
    return { kind: 'batch', ...this.written, seq, now, added: this.#added, cursors, isLined: false };
  }

  /** Makes an acknowledged segment ready for the next records. */
  clear(): void {
    this.#used = 0;
    this.#top = segmentBytes;
    this.#large = [];
    this.#largeBytes = 0;
    this.#added = [];
    this.#records = 0;
    this.#forget();
  }

  /** Texts of requests are not kept alive for as long as the segment waits. */
  #forget(): void {
    this.#rows.clear();
    this.#like = null;
    this.#parts = [];
  }
}

import type { Batch } from './wire.ts';

/** Size of a segment. */
const segmentBytes = 524_288;
/** Larger bodies get memory of their own. */
const largeBody = 65_536;

/** What is told once a segment is committed, or cannot be: whether it may go on. */
export type Committed = (written: boolean) => void;

/**
 * A piece of memory both threads see. Records are written into it as they end: objects kept until the batch is full would
 * cost a request 13 microseconds in garbage collection. It stays as it is until the worker has committed it, so that another
 * worker can be given the same.
 */
export class Segment {
  readonly memory = new SharedArrayBuffer(segmentBytes);
  readonly #bytes = Buffer.from(this.memory);
  #used = 0;
  #top = segmentBytes;
  #marks: number[] = [];
  #large: SharedArrayBuffer[] = [];
  #largeBytes = 0;
  #added: Batch['added'][number][] = [];
  #waiting: Committed[] = [];
  #records = 0;

  get records(): number {
    return this.#records + this.#added.length;
  }

  /** Bytes that wait in it. */
  get size(): number {
    return this.#used + (segmentBytes - this.#top) + this.#largeBytes;
  }

  /** @param text with its end; its longest form in UTF-8 must fit. */
  fits(text: string, body: Buffer | null, answer: Buffer | null): boolean {
    const inside = (body === null || body.length > largeBody ? 0 : body.length) + (answer?.length ?? 0);
    return this.#used + text.length * 3 + inside <= this.#top;
  }

  /**
   * Adds a record that {@link Segment.fits}.
   * @param total bytes of the whole body, of which `body` may be the beginning or nothing; the same for the answer.
   */
  add(text: string, body: Buffer | null, total: number, answer: Buffer | null, answered: number): void {
    this.#used += this.#bytes.write(text, this.#used);
    this.#marks.push(this.#place(body), total, answer === null ? 0 : this.#inside(answer), answered);
    this.#records++;
  }

  #place(body: Buffer | null): number {
    if (body === null) return 0;
    if (body.length <= largeBody) return this.#inside(body);
    const memory = new SharedArrayBuffer(body.length);
    this.#largeBytes += body.length;
    Buffer.from(memory).set(body);
    return -this.#large.push(memory);
  }

  #inside(bytes: Buffer): number {
    this.#top -= bytes.length;
    this.#bytes.set(bytes, this.#top);
    return bytes.length;
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

  message(seq: number, now: number, cursors: Batch['cursors']): Batch {
    return { kind: 'batch', seq, now, memory: this.memory, used: this.#used, marks: this.#marks, large: this.#large, added: this.#added, cursors, isLined: false };
  }

  /** Makes an acknowledged segment ready for the next records. */
  clear(): void {
    this.#used = 0;
    this.#top = segmentBytes;
    this.#marks = [];
    this.#large = [];
    this.#largeBytes = 0;
    this.#added = [];
    this.#records = 0;
  }
}

import { EventEmitter } from 'node:events';
import type { RequestBody } from '../http/http.ts';

/**
 * The pieces of a body as undici reads a stream: each attempt replays them from the first, and nothing is joined. undici needs of a
 * stream what is here; Node's own would copy its chunks through a buffer and cost some microseconds more.
 */
export class BodyReplay extends EventEmitter {
  readonly #body: RequestBody;
  /** The next piece. */
  #at = 0;
  #isFlowing = false;
  #isScheduled = false;
  destroyed = false;

  constructor(body: RequestBody) {
    super();
    this.#body = body;
  }

  get size(): number {
    return this.#body.total;
  }

  resume(): void {
    if (this.#isFlowing || this.destroyed) return;
    this.#isFlowing = true;
    this.#schedule();
  }

  pause(): void {
    this.#isFlowing = false;
  }

  destroy(): void {
    this.destroyed = true;
  }

  /** undici tells a stream by it and does not call it. */
  pipe(): never {
    throw new TypeError('a body is read by its events');
  }

  /** undici listens to its socket only after it has resumed the body. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(this.#flow);
  }

  readonly #flow = (): void => {
    this.#isScheduled = false;
    const body = this.#body;
    while (this.#isFlowing && !this.destroyed && this.#at < body.sendable) this.emit('data', body.pieces[this.#at++]);
    if (!this.#isFlowing || this.destroyed) return;
    if (body.isArriving) {
      body.onMore = () => this.#schedule();
      return;
    }
    this.#isFlowing = false;
    this.emit('end');
  };
}

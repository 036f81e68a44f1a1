import type { Clock, Timer } from '../../types/clock.d.ts';

/** How long a record waits to be written with others, milliseconds. */
const batchEvery = 50;

/** When what waits is posted. */
export class Schedule {
  readonly #clock: Clock;
  readonly #post: () => void;
  #timer: Timer | null = null;
  #immediate: NodeJS.Immediate | null = null;
  #isOver = false;

  constructor(clock: Clock, post: () => void) {
    this.#clock = clock;
    this.#post = post;
  }

  /** With all that ends in this turn of the event loop. */
  soon(): void {
    if (!this.#isOver) this.#immediate ??= setImmediate(this.#post);
  }

  later(): void {
    if (this.#timer !== null || this.#isOver) return;
    this.#timer = this.#clock.setTimeout(this.#post, batchEvery);
    this.#timer.unref();
  }

  /** It is posted now. */
  done(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#timer = null;
    this.#immediate = null;
  }

  end(): void {
    this.done();
    this.#isOver = true;
  }
}

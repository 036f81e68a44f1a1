import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Lane } from './lanes.ts';

/**
 * Free slots kept for a moment for callers who have just given one back. Who sends one request after another would else
 * find that a flood has taken his slot in between, and where all slots change hands at the same time he would wait a whole
 * service time for the next. One timer for all.
 */
export class Keep {
  /** The oldest first. */
  readonly #lanes: Lane[] = [];
  readonly #clock: Clock;
  readonly #over: (now: number) => void;
  #timer: Timer | null = null;

  /** @param over called when slots are no longer kept. */
  constructor(clock: Clock, over: (now: number) => void) {
    this.#clock = clock;
    this.#over = over;
  }

  /** Slots kept. */
  get size(): number {
    return this.#lanes.length;
  }

  add(lane: Lane, now: number, ms: number): void {
    lane.keptUntil = now + ms;
    this.#lanes.push(lane);
    if (this.#timer === null) this.#arm(now);
  }

  delete(lane: Lane): void {
    lane.keptUntil = 0;
    this.#lanes.splice(this.#lanes.indexOf(lane), 1);
  }

  close(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    for (const lane of [...this.#lanes]) this.delete(lane);
  }

  #arm(now: number): void {
    const soonest = Math.min(...this.#lanes.map(({ keptUntil }) => keptUntil));
    this.#timer = this.#clock.setTimeout(() => this.#look(), Math.max(1, soonest - now));
    this.#timer.unref();
  }

  #look(): void {
    const now = this.#clock.now();
    this.#timer = null;
    for (const lane of [...this.#lanes]) if (lane.keptUntil <= now) this.delete(lane);
    if (this.#lanes.length > 0) this.#arm(now);
    this.#over(now);
  }
}

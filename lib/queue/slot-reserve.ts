import type { Clock, Timer } from '../../types/clock.d.ts';
import type { CallerShare } from './caller-share.ts';

/**
 * Free slots reserved for a moment for callers that have just given one back. Without it, a caller that sends one request
 * after another would find that a flood has taken its slot in between; and where all slots change hands at the same time it
 * would wait a whole service time for the next. One timer for all.
 */
export class SlotReserve {
  /** Callers with a reserved slot, the oldest first. */
  readonly #callers: CallerShare[] = [];
  readonly #clock: Clock;
  readonly #expired: (now: number) => void;
  #timer: Timer | null = null;

  /** @param expired called when reserved slots become free. */
  constructor(clock: Clock, expired: (now: number) => void) {
    this.#clock = clock;
    this.#expired = expired;
  }

  /** Slots reserved. */
  get size(): number {
    return this.#callers.length;
  }

  add(caller: CallerShare, now: number, ms: number): void {
    caller.reservedUntil = now + ms;
    this.#callers.push(caller);
    if (this.#timer === null) this.#arm(now);
  }

  delete(caller: CallerShare): void {
    caller.reservedUntil = 0;
    this.#callers.splice(this.#callers.indexOf(caller), 1);
  }

  close(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    for (const caller of [...this.#callers]) this.delete(caller);
  }

  #arm(now: number): void {
    const soonest = Math.min(...this.#callers.map(({ reservedUntil }) => reservedUntil));
    this.#timer = this.#clock.setTimeout(() => this.#look(), Math.max(1, soonest - now));
    this.#timer.unref();
  }

  #look(): void {
    const now = this.#clock.monotonic();
    this.#timer = null;
    for (const caller of [...this.#callers]) if (caller.reservedUntil <= now) this.delete(caller);
    if (this.#callers.length > 0) this.#arm(now);
    this.#expired(now);
  }
}

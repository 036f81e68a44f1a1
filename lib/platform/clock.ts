import type { Clock } from '../../types/clock.d.ts';

/** The time of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => Math.floor(performance.timeOrigin + performance.now()),
  setTimeout,
  clearTimeout: clearTimeout as Clock['clearTimeout'],
};

/** A clock without monotonic time gets its calendar time as that. */
export function withMonotonic(clock: Omit<Clock, 'monotonic'> & Partial<Clock>): Clock {
  if (clock.monotonic !== undefined) return clock as Clock;
  return { now: () => clock.now(), monotonic: () => clock.now(), setTimeout: (run, ms) => clock.setTimeout(run, ms), clearTimeout: (timer) => clock.clearTimeout(timer) };
}

/** A difference between the two times of a clock that changes by more is a jump, milliseconds: an adjusted clock creeps. */
const creep = 1000;
/** How long the machine's clock has to be steady after a jump until it is believed, milliseconds. */
export const steadyTime = 3_600_000;

/**
 * Calendar time for what cannot be undone: the end of keys and bans, the removal of records. It follows the machine's clock; a
 * jump of that clock is believed when the clock was steady for an hour after it.
 */
export class Calendar {
  readonly #clock: Clock;
  /** Calendar time less monotonic time, as it is believed. */
  #offset: number;
  /** The same as last seen. */
  #seen: number;
  /** Since when it is as last seen, on the monotonic clock. */
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
    this.#offset = this.#seen = clock.now() - this.#since;
  }

  /** Unix milliseconds. */
  now(): number {
    const at = this.#clock.monotonic();
    const wall = this.#clock.now();
    const seen = wall - at;
    if (Math.abs(seen - this.#seen) > creep) this.#since = at;
    this.#seen = seen;
    if (Math.abs(seen - this.#offset) <= creep || at - this.#since >= steadyTime) this.#offset = seen;
    return at + this.#offset;
  }

  /** Milliseconds by which the machine's clock is ahead of the time that is believed; below 0 it is behind. */
  jump(): number {
    return this.#clock.now() - this.now();
  }

  /** Milliseconds for which the machine's clock has been steady, or that have passed since this calendar was made. */
  steadyFor(): number {
    this.now();
    return this.#clock.monotonic() - this.#since;
  }
}

const calendars = new WeakMap<Clock, Calendar>();

/** The calendar of a clock, one for all that ask. */
export function calendarOf(clock: Clock): Calendar {
  let calendar = calendars.get(clock);
  if (calendar === undefined) calendars.set(clock, (calendar = new Calendar(clock)));
  return calendar;
}

import { HeimdallError } from '../errors.ts';
import type { Lane, Waiter } from './lanes.ts';
import { Pace } from './pace.ts';
import { Returns } from './returns.ts';

/** What a forecast is made of. */
export interface Load {
  /** Slots. */
  readonly capacity: number;
  /** Milliseconds for which every slot has been held; 0 while one is free. */
  busyFor(now: number): number;
}

/** What can be told of the future: whether a turn will come in time, and when somebody sent away finds room. */
export class Forecast {
  readonly pace = new Pace();
  readonly #returns = new Returns();
  readonly #load: Load;
  readonly #places: number;
  readonly #patience: number;

  /**
   * @param places to wait.
   * @param patience milliseconds a waiter may wait.
   */
  constructor(load: Load, places: number, patience: number) {
    this.#load = load;
    this.#places = places;
    this.#patience = patience;
  }

  /** Milliseconds a request is expected to hold its slot. */
  hold(now: number): number {
    return this.pace.hold(this.#load.busyFor(now));
  }

  /** Whether a turn at that place would come too late, as far as has been measured. */
  inVain(position: number): boolean {
    return this.pace.mean !== null && this.#expected(position, this.pace.mean) > this.#patience;
  }

  /** Whether a newcomer would get a turn in time if that one left: it must stand before him. */
  makesTime(victim: Waiter | null, newcomer: Lane, position: number): boolean {
    return victim !== null && victim.lane.waiting <= newcomer.waiting + 1 && !this.inVain(position - 1);
  }

  /** Whether somebody of that lane has been told to come now. */
  isExpected(lane: Lane, now: number): boolean {
    return this.#returns.redeem(lane.key, now);
  }

  full(lane: Lane, now: number): HeimdallError {
    return new HeimdallError('queue_full', { retryAfter: this.#comeBack(lane, now, 0) });
  }

  timedOut(lane: Lane, now: number): HeimdallError {
    return new HeimdallError('queue_timeout', { retryAfter: this.#comeBack(lane, now, 0) });
  }

  tooLate(lane: Lane, position: number, now: number): HeimdallError {
    const expected = this.#expected(position, this.hold(now));
    const message = `A turn would come in about ${Math.ceil(expected / 1000)} s, later than this gateway lets requests wait.`;
    return new HeimdallError('queue_timeout', { message, retryAfter: this.#comeBack(lane, now, expected - this.#patience) });
  }

  /** Milliseconds; those who run are on average half way through. */
  #expected(position: number, hold: number): number {
    return ((position - 0.5) * hold) / this.#load.capacity;
  }

  /** Seconds for `Retry-After`. @param earliest milliseconds before which there is certainly no room. */
  #comeBack(lane: Lane, now: number, earliest: number): number {
    const { capacity } = this.#load;
    const perSecond = (capacity * 1000) / this.hold(now);
    const atOnce = capacity + Math.min(this.#places, (perSecond * this.#patience) / 1000);
    return this.#returns.book(lane.key, now, earliest, { perSecond, atOnce });
  }
}

import { HeimdallError } from '../errors.ts';
import type { CallerShare, Waiter } from './caller-share.ts';
import { RetrySchedule } from './retry-schedule.ts';

/** Service time assumed before the first measurement, milliseconds. */
const assumed = 1000;

/** The latest measurement counts at least 1/32. */
export const mostSamples = 32;

/** The recent mean time for which a request holds its slot. */
export interface ServiceTime {
  /** Milliseconds; null before the first measurement. */
  mean: number | null;
  /** Measurements in the mean, at most {@link mostSamples}. */
  samples: number;
}

/** The load that estimates are made from. */
export interface Load {
  /** Slots. */
  readonly capacity: number;
  /** Milliseconds for which every slot has been held; 0 while one is free. */
  busyFor(now: number): number;
}

/** Estimates whether a request gets its slot in time, and when a refused caller finds room. */
export class WaitEstimate {
  readonly serviceTime: ServiceTime = { mean: null, samples: 0 };
  readonly #retries = new RetrySchedule();
  readonly #load: Load;
  #places: number;
  #maxWait: number;

  /**
   * @param places to wait.
   * @param maxWait longest wait, milliseconds.
   */
  constructor(load: Load, places: number, maxWait: number) {
    this.#load = load;
    this.#places = places;
    this.#maxWait = maxWait;
  }

  /** See the constructor. */
  configure(places: number, maxWait: number): void {
    this.#places = places;
    this.#maxWait = maxWait;
  }

  /** Milliseconds a request is expected to hold its slot: at least as long as all slots have been held by now. */
  hold(now: number): number {
    return Math.max(this.serviceTime.mean ?? assumed, this.#load.busyFor(now), 1);
  }

  /** Whether a slot at that place would come too late, as far as service times have been measured. */
  isTooLate(position: number): boolean {
    const { mean } = this.serviceTime;
    return mean !== null && this.#expected(position, mean) > this.#maxWait;
  }

  /** Whether a newcomer would get its slot in time if that waiter left: it must stand before the newcomer. */
  makesTime(victim: Waiter | null, newcomer: CallerShare, position: number): boolean {
    return victim !== null && victim.share.waiting <= newcomer.waiting + 1 && !this.isTooLate(position - 1);
  }

  /** Whether a request of that caller was told to come back now. */
  isExpected(caller: CallerShare, now: number): boolean {
    return this.#retries.redeem(caller.key, now);
  }

  full(caller: CallerShare, now: number): HeimdallError {
    return new HeimdallError('queue_full', { retryAfter: this.#retryAfter(caller, now, 0) });
  }

  timedOut(caller: CallerShare, now: number): HeimdallError {
    return new HeimdallError('queue_timeout', { retryAfter: this.#retryAfter(caller, now, 0) });
  }

  tooLate(caller: CallerShare, position: number, now: number): HeimdallError {
    const expected = this.#expected(position, this.hold(now));
    const message = `A turn would come in about ${Math.ceil(expected / 1000)} s, later than this gateway lets requests wait.`;
    return new HeimdallError('queue_timeout', { message, retryAfter: this.#retryAfter(caller, now, expected - this.#maxWait) });
  }

  /** Milliseconds until a place gets its slot; running requests are on average half way through. */
  #expected(position: number, hold: number): number {
    return ((position - 0.5) * hold) / this.#load.capacity;
  }

  /** Seconds for `Retry-After`. @param earliest milliseconds before which there is certainly no room. */
  #retryAfter(caller: CallerShare, now: number, earliest: number): number {
    const { capacity } = this.#load;
    const perSecond = (capacity * 1000) / this.hold(now);
    const atOnce = capacity + Math.min(this.#places, (perSecond * this.#maxWait) / 1000);
    return this.#retries.book(caller.key, now, earliest, { perSecond, atOnce });
  }
}

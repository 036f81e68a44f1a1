import type { Signal, Subject } from '../../types/detector.d.ts';
import { different, type Distinct, Fading, secondsOf, shortHash, withValue } from './counting.ts';
import type { CallerState } from './state.ts';
import { thresholds } from './thresholds.ts';

/** Callers that are remembered of a network. */
const most = { strangers: 256, known: 1024 };

/** A caller's first sight in a network. */
interface FirstSight {
  readonly id: number;
  readonly at: number;
  readonly weight: number;
}

/** The bounded state of one client network. */
export class NetworkState {
  readonly subject: Subject;
  #refused: Distinct = null;
  #paths: Distinct = null;
  /** Callers whose only trace here is a first, tiny request, the oldest first. */
  #strangers: readonly FirstSight[] = [];
  #known: readonly number[] = [];

  constructor(subject: Subject) {
    this.subject = subject;
  }

  /** Refused tokens within some minutes. */
  refused(now: number): number {
    return different(this.#refused, now, thresholds.stuffingWithin);
  }

  /** Unknown paths within some minutes. */
  paths(now: number): number {
    return different(this.#paths, now, thresholds.scanningWithin);
  }

  /** @param caller its state after the request was taken; null without an accepted credential. */
  take(signal: Signal, caller: CallerState | null): void {
    const now = secondsOf(signal.time);
    if (signal.refusedToken !== null) this.#refused = withValue(this.#refused, now, shortHash(signal.refusedToken), thresholds.stuffingWithin);
    if (signal.route === null && signal.failed) this.#paths = withValue(this.#paths, now, shortHash(signal.path), thresholds.scanningWithin);
    if (caller !== null && signal.caller !== null) this.#takeCaller(shortHash(`${signal.caller.kind} ${signal.caller.id}`), caller, now);
  }

  #takeCaller(id: number, { latest }: CallerState, now: number): void {
    if (latest === null || this.#known.includes(id)) return;
    const isStranger = this.#strangers.some((each) => each.id === id);
    if (isStranger && latest.tiny) return;
    if (!isStranger && latest.tiny && (!latest.hasPast || latest.isNew.client || latest.isNew.platform)) {
      const others = this.#strangers.length === most.strangers ? this.#strangers.slice(1) : this.#strangers;
      this.#strangers = others.concat({ id, at: now, weight: latest.hasPast ? 1 : thresholds.sprayingUnknown });
      return;
    }
    // A caller that works here is no stranger any more.
    if (isStranger) this.#strangers = this.#strangers.filter((each) => each.id !== id);
    this.#known = this.#known.length === most.known ? [id] : this.#known.concat(id);
  }

  strangers(now: number): number {
    let sum = 0;
    for (const { at, weight } of this.#strangers) sum += weight * 2 ** ((at - now) / thresholds.sprayingHalfLife);
    return sum;
  }
}

/** The bounded state of one body that was sent more than once. */
export class ContentState {
  readonly subject: Subject;
  #callers: Distinct = null;
  readonly times = new Fading();

  constructor(subject: Subject) {
    this.subject = subject;
  }

  /** Callers that sent it within an hour. */
  callers(now: number): number {
    return different(this.#callers, now, thresholds.repetitionHalfLife);
  }

  take({ time, caller }: Signal): void {
    const now = secondsOf(time);
    if (caller !== null) this.#callers = withValue(this.#callers, now, shortHash(`${caller.kind} ${caller.id}`), thresholds.repetitionHalfLife);
    this.times.add(now, 1, thresholds.repetitionHalfLife);
  }
}

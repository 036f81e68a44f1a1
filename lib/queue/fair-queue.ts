import type { CallerShare, Waiter } from './caller-share.ts';

/** Callers looked at for a request to displace where none has more waiting; without one among so many the newcomer is refused. */
const lookedAt = 64;

/**
 * Waiting requests: first in, first out for each caller, and one of each caller in turn. A caller joins at the end of the
 * round, so that leaving and coming back gains nothing. Joining, leaving and displacing take constant time; to compute a
 * position walks the callers.
 */
export class FairQueue<W extends Waiter> {
  /** Waiting requests; changed here alone. */
  size = 0;
  /** Callers with waiting requests; changed here alone. */
  callers = 0;
  /** The caller whose turn is next. */
  #next: CallerShare | null = null;
  /** Callers by the number of their waiting requests, the largest number last. */
  readonly #byLength: Set<CallerShare>[] = [];

  /** The largest number of waiting requests of one caller. */
  get longest(): number {
    return Math.max(0, this.#byLength.length - 1);
  }

  push(waiter: W): void {
    const { share: caller } = waiter;
    waiter.older = caller.newest;
    waiter.newer = null;
    if (caller.newest !== null) caller.newest.newer = waiter;
    else caller.oldest = waiter;
    caller.newest = waiter;
    if (caller.waiting === 0) this.#join(caller);
    this.#measure(caller, 1);
  }

  remove(waiter: W): void {
    const { share: caller, older, newer } = waiter;
    if (older !== null) older.newer = newer;
    else caller.oldest = newer;
    if (newer !== null) newer.older = older;
    else caller.newest = older;
    waiter.older = null;
    waiter.newer = null;
    this.#measure(caller, -1);
    if (caller.waiting === 0) this.#part(caller);
  }

  /**
   * Takes out the request whose turn it is.
   * @param may false passes a caller over, until its next turn.
   * @param home the caller that a request belongs to by now; one that has moved joins the end of that caller's requests.
   * @returns null when no caller may.
   */
  take(may: (caller: CallerShare) => boolean, home: (waiter: W) => CallerShare): W | null {
    let caller = this.#next;
    let left = this.callers;
    while (caller !== null && left > 0) {
      const waiter = caller.oldest as W;
      const belongs = home(waiter);
      if (belongs !== caller) {
        const following: CallerShare = caller.waiting > 1 ? caller : caller.after;
        this.remove(waiter);
        waiter.share = belongs;
        this.push(waiter);
        caller = following.waiting > 0 ? following : this.#next;
        left = this.callers;
      } else if (may(caller)) {
        this.#next = caller.after;
        this.remove(waiter);
        return waiter;
      } else {
        caller = caller.after;
        left--;
      }
    }
    return null;
  }

  /** The position of a caller's next request: the number of requests that would run before it, and itself. */
  positionOf(caller: CallerShare): number {
    const turns = caller.waiting + 1;
    let position = turns;
    let passed = false;
    let other = this.#next;
    for (let at = 0; other !== null && at < this.callers; at++, other = other.after) {
      if (other === caller) passed = true;
      else position += Math.min(other.waiting, passed ? turns - 1 : turns);
    }
    return position;
  }

  /**
   * The request to displace for a newcomer to a full queue: the newest of a caller with the most waiting, where those are
   * more than the newcomer's caller would have; between equals, of a caller with more running; for a newcomer that comes back
   * as told, one that was never refused.
   * @returns null when the newcomer has the least right to a place.
   */
  victimFor(newcomer: CallerShare, returning: boolean): W | null {
    const { longest } = this;
    const length = newcomer.waiting + 1;
    const callers = this.#byLength[longest];
    if (longest === 0 || callers === undefined) return null;
    if (longest > length) for (const caller of callers) return caller.newest as W;
    const equal = longest === length ? amongEquals(callers, newcomer, returning) : null;
    return (equal ?? (returning ? newestFresh(newcomer) : null)) as W | null;
  }

  /** All waiting requests, caller by caller. */
  *[Symbol.iterator](): Iterator<W> {
    for (const callers of [...this.#byLength]) for (const caller of [...callers]) {
      let waiter = caller.oldest;
      while (waiter !== null) {
        const { newer }: Waiter = waiter;
        yield waiter as W;
        waiter = newer;
      }
    }
  }

  /** At the end of the round: right before the caller whose turn is next. */
  #join(caller: CallerShare): void {
    this.callers++;
    if (this.#next === null) {
      this.#next = caller;
      caller.before = caller;
      caller.after = caller;
      return;
    }
    caller.after = this.#next;
    caller.before = this.#next.before;
    caller.before.after = caller;
    caller.after.before = caller;
  }

  #part(caller: CallerShare): void {
    this.callers--;
    if (this.#next === caller) this.#next = caller.after === caller ? null : caller.after;
    caller.before.after = caller.after;
    caller.after.before = caller.before;
    caller.before = caller;
    caller.after = caller;
  }

  #measure(caller: CallerShare, by: 1 | -1): void {
    this.size += by;
    this.#byLength[caller.waiting]?.delete(caller);
    caller.waiting += by;
    while (this.#byLength.length <= caller.waiting) this.#byLength.push(new Set());
    if (caller.waiting > 0) this.#byLength[caller.waiting]?.add(caller);
    while (this.#byLength.length > 0 && this.#byLength.at(-1)?.size === 0) this.#byLength.pop();
  }
}

function amongEquals(callers: ReadonlySet<CallerShare>, newcomer: CallerShare, returning: boolean): Waiter | null {
  let fresh: Waiter | null = null;
  let left = lookedAt;
  for (const caller of callers) {
    if (caller.active > newcomer.active) return caller.newest;
    if (returning && fresh === null && caller.newest?.returning === false) fresh = caller.newest;
    if (--left === 0) break;
  }
  return fresh;
}

function newestFresh(caller: CallerShare): Waiter | null {
  let waiter = caller.newest;
  for (let left = lookedAt; waiter !== null && left > 0; left--) {
    if (!waiter.returning) return waiter;
    waiter = waiter.older;
  }
  return null;
}

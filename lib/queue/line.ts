import type { Lane, Waiter } from './lanes.ts';

/** Lanes looked at for somebody to displace where nobody's lane is longer; behind so many the newcomer is refused. */
const lookedAt = 64;

/**
 * Those who wait: first in, first out within a lane, one from each lane in turn. A lane joins at the end of the round, so
 * that leaving and coming back gains nothing. Joining, leaving and displacing take constant time; telling a place walks the
 * lanes.
 */
export class Line<W extends Waiter> {
  #size = 0;
  #lanes = 0;
  /** Whose turn is next. */
  #next: Lane | null = null;
  /** Lanes by how many wait in them: the longest are the last. */
  readonly #byLength: Set<Lane>[] = [];

  get size(): number {
    return this.#size;
  }

  /** Lanes in which somebody waits. */
  get lanes(): number {
    return this.#lanes;
  }

  /** The most that wait in one lane. */
  get longest(): number {
    return Math.max(0, this.#byLength.length - 1);
  }

  push(waiter: W): void {
    const { lane } = waiter;
    waiter.older = lane.newest;
    waiter.newer = null;
    if (lane.newest !== null) lane.newest.newer = waiter;
    else lane.oldest = waiter;
    lane.newest = waiter;
    if (lane.waiting === 0) this.#join(lane);
    this.#measure(lane, 1);
  }

  remove(waiter: W): void {
    const { lane, older, newer } = waiter;
    if (older !== null) older.newer = newer;
    else lane.oldest = newer;
    if (newer !== null) newer.older = older;
    else lane.newest = older;
    waiter.older = null;
    waiter.newer = null;
    this.#measure(lane, -1);
    if (lane.waiting === 0) this.#part(lane);
  }

  /**
   * Takes out whose turn it is.
   * @param may false passes a lane over, until its next turn.
   * @param home the lane a waiter belongs to by now; one that has moved joins the end of that lane.
   * @returns null when no lane may.
   */
  take(may: (lane: Lane) => boolean, home: (waiter: W) => Lane): W | null {
    let lane = this.#next;
    let left = this.#lanes;
    while (lane !== null && left > 0) {
      const waiter = lane.oldest as W;
      const belongs = home(waiter);
      if (belongs !== lane) {
        const following: Lane = lane.waiting > 1 ? lane : lane.after;
        this.remove(waiter);
        waiter.lane = belongs;
        this.push(waiter);
        lane = following.waiting > 0 ? following : this.#next;
        left = this.#lanes;
      } else if (may(lane)) {
        this.#next = lane.after;
        this.remove(waiter);
        return waiter;
      } else {
        lane = lane.after;
        left--;
      }
    }
    return null;
  }

  /** How many would run before a newcomer to the lane, and it. */
  positionIn(lane: Lane): number {
    const turns = lane.waiting + 1;
    let position = turns;
    let passedIt = false;
    let other = this.#next;
    for (let at = 0; other !== null && at < this.#lanes; at++, other = other.after) {
      if (other === lane) passedIt = true;
      else position += Math.min(other.waiting, passedIt ? turns - 1 : turns);
    }
    return position;
  }

  /**
   * Who must go when the line is full and somebody comes to a lane: the newest of a longest lane that is longer than the
   * newcomer's would be; between lanes as long as it, of one that has more running; and for somebody who comes back as told,
   * one of those who were never sent away.
   * @returns null when the newcomer has the least right to a place.
   */
  victimFor(newcomer: Lane, returning: boolean): W | null {
    const { longest } = this;
    const length = newcomer.waiting + 1;
    const lanes = this.#byLength[longest];
    if (longest === 0 || lanes === undefined) return null;
    if (longest > length) for (const lane of lanes) return lane.newest as W;
    const equal = longest === length ? amongEquals(lanes, newcomer, returning) : null;
    return (equal ?? (returning ? newestFresh(newcomer) : null)) as W | null;
  }

  /** Everybody, lane by lane. */
  *[Symbol.iterator](): Iterator<W> {
    for (const lanes of [...this.#byLength]) for (const lane of [...lanes]) {
      let waiter = lane.oldest;
      while (waiter !== null) {
        const { newer }: Waiter = waiter;
        yield waiter as W;
        waiter = newer;
      }
    }
  }

  /** At the end of the round: right before whose turn is next. */
  #join(lane: Lane): void {
    this.#lanes++;
    if (this.#next === null) {
      this.#next = lane;
      lane.before = lane;
      lane.after = lane;
      return;
    }
    lane.after = this.#next;
    lane.before = this.#next.before;
    lane.before.after = lane;
    lane.after.before = lane;
  }

  #part(lane: Lane): void {
    this.#lanes--;
    if (this.#next === lane) this.#next = lane.after === lane ? null : lane.after;
    lane.before.after = lane.after;
    lane.after.before = lane.before;
    lane.before = lane;
    lane.after = lane;
  }

  #measure(lane: Lane, by: 1 | -1): void {
    this.#size += by;
    this.#byLength[lane.waiting]?.delete(lane);
    lane.waiting += by;
    while (this.#byLength.length <= lane.waiting) this.#byLength.push(new Set());
    if (lane.waiting > 0) this.#byLength[lane.waiting]?.add(lane);
    while (this.#byLength.length > 0 && this.#byLength.at(-1)?.size === 0) this.#byLength.pop();
  }
}

function amongEquals(lanes: ReadonlySet<Lane>, newcomer: Lane, returning: boolean): Waiter | null {
  let fresh: Waiter | null = null;
  let left = lookedAt;
  for (const lane of lanes) {
    if (lane.active > newcomer.active) return lane.newest;
    if (returning && fresh === null && lane.newest?.returning === false) fresh = lane.newest;
    if (--left === 0) break;
  }
  return fresh;
}

function newestFresh(lane: Lane): Waiter | null {
  let waiter = lane.newest;
  for (let left = lookedAt; waiter !== null && left > 0; left--) {
    if (!waiter.returning) return waiter;
    waiter = waiter.older;
  }
  return null;
}

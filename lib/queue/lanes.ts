/** A request in the line, as far as the line needs to know it. */
export interface Waiter {
  lane: Lane;
  /** Its neighbours in the lane. */
  older: Waiter | null;
  newer: Waiter | null;
  /** It was refused before and has come back when it was told to. */
  readonly returning: boolean;
}

/** What one caller has of the gate: requests that run, requests that wait, bytes of bodies. */
export class Lane {
  readonly key: string;
  /** Requests that hold a slot. */
  active = 0;
  /** Bytes of its bodies in hand. */
  bytes = 0;
  /** Unix milliseconds until which a free slot is kept for it; 0: none is. */
  keptUntil = 0;

  waiting = 0;
  oldest: Waiter | null = null;
  newest: Waiter | null = null;
  /** Its neighbours in the round, while somebody waits in it. */
  before: Lane = this;
  after: Lane = this;

  constructor(key: string) {
    this.key = key;
  }
}

/** Lanes that nobody uses are looked for once this many are known, and again at twice what was left. */
const sweepFrom = 1024;

/** All lanes in use, by key. Those out of use go a thousand at a time: a lane made anew for each request would cost more. */
export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  #sweepAt = sweepFrom;

  get size(): number {
    return this.#lanes.size;
  }

  of(key: string): Lane {
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    if (this.#lanes.size >= this.#sweepAt) this.#sweep();
    const lane = new Lane(key);
    this.#lanes.set(key, lane);
    return lane;
  }

  #sweep(): void {
    for (const lane of this.#lanes.values()) {
      if (lane.active === 0 && lane.waiting === 0 && lane.bytes === 0 && lane.keptUntil === 0) this.#lanes.delete(lane.key);
    }
    this.#sweepAt = Math.max(sweepFrom, this.#lanes.size * 2);
  }
}

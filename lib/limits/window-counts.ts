/** Windows are looked through for those that are over once there are so many, and again at twice the number that was left. */
const firstSweep = 10_000;
/** Most windows; beyond, the oldest are forgotten. */
const mostWindows = 200_000;

/** The count of a window, and its end in monotonic milliseconds. */
export interface WindowCount {
  hits: number;
  readonly until: number;
}

/** Counts by key in fixed windows, each of which begins with its first hit. */
export class WindowCounts {
  readonly #windows = new Map<string, WindowCount>();
  #nextSweep = firstSweep;

  /** @param now monotonic milliseconds. @param length of a window, milliseconds. */
  hit(key: string, now: number, length: number): Readonly<WindowCount> {
    const known = this.#windows.get(key);
    if (known !== undefined && known.until > now) {
      known.hits++;
      return known;
    }
    this.#windows.delete(key);
    if (this.#windows.size >= this.#nextSweep) this.#sweep(now);
    const window = { hits: 1, until: now + length };
    this.#windows.set(key, window);
    return window;
  }

  #sweep(now: number): void {
    for (const [key, { until }] of this.#windows) if (until <= now) this.#windows.delete(key);
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size < mostWindows) break;
      this.#windows.delete(oldest);
    }
    this.#nextSweep = Math.min(mostWindows, Math.max(firstSweep, 2 * this.#windows.size));
  }
}

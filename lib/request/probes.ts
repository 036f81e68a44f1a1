/** Callers of the readiness that are remembered. */
const mostProbers = 16;

/** When a prober came last, monotonic milliseconds, and the time between its last two probes; steady when the one before was alike. */
interface Prober {
  readonly at: number;
  readonly interval: number;
  readonly isSteady: boolean;
}

/** Who asks for the readiness, and how often: a gate that ends listens until a prober that keeps a steady pace has been told. */
export class Probes {
  readonly #probers = new Map<string, Prober>();

  /**
   * Notes a probe.
   * @param from who asks.
   * @param isTold whether it is told that the gate ends: then its next probe is not waited for.
   */
  note(from: string, at: number, isTold: boolean): void {
    const before = this.#probers.get(from);
    this.#probers.delete(from);
    if (isTold) return;
    const interval = before === undefined ? 0 : at - before.at;
    const isSteady = before !== undefined && before.interval > 0 && Math.abs(interval - before.interval) <= before.interval / 4;
    this.#probers.set(from, { at, interval, isSteady });
    if (this.#probers.size > mostProbers) this.#probers.delete(this.#probers.keys().next().value as string);
  }

  /** Whether a probe is to be expected, and before `until`. Times are monotonic milliseconds. */
  isExpected(now: number, until: number): boolean {
    for (const { at, interval, isSteady } of this.#probers.values()) if (isSteady && at + interval < until && now < at + interval * 1.5) return true;
    return false;
  }
}

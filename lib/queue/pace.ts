/** What a request is taken to need before any has been measured, milliseconds. */
const assumed = 1000;
/** Share of the newest measurement once there are many. */
const weight = 1 / 32;

/** How fast slots come free: the recent mean time a request holds one. */
export class Pace {
  /** Milliseconds; null before the first measurement. */
  mean: number | null = null;
  /** Measurements behind the mean, as far as they count. */
  samples = 0;

  /** @param ms for which a slot was held. */
  add(ms: number): void {
    this.samples = Math.min(this.samples + 1, 1 / weight);
    this.mean = this.mean === null ? ms : this.mean + (ms - this.mean) / this.samples;
  }

  /** Takes over what an earlier process measured. */
  restore(mean: number | null, samples: number): void {
    this.mean = mean;
    this.samples = mean === null ? 0 : samples;
  }

  /**
   * Milliseconds a slot is held, as far as can be told now.
   * @param busyFor milliseconds for which every slot has been held: whoever holds one needs at least as long.
   */
  hold(busyFor: number): number {
    return Math.max(this.mean ?? assumed, busyFor, 1);
  }
}

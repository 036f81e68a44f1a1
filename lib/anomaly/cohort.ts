/** Buckets of a histogram: four for each doubling. */
const buckets = 96;
const perDoubling = 4;
/** Values above this count fade by half, so that the histogram follows the cohort. */
const fadeAt = 100_000;

/** The distribution of an amount over the active hours of all keys. */
export class Cohort {
  readonly #counts = new Float64Array(buckets);
  readonly #unit: number;
  readonly #share: number;
  readonly #needs: number;
  readonly #fallback: number;
  #total = 0;
  #normal: number;

  /**
   * @param unit the smallest amount that is told apart.
   * @param share of the key-hours that lie below the normal value.
   * @param needs key-hours before the distribution counts; until then `fallback` is the normal value.
   */
  constructor(unit: number, share: number, needs: number, fallback: number) {
    this.#unit = unit;
    this.#share = share;
    this.#needs = needs;
    this.#fallback = fallback;
    this.#normal = fallback;
  }

  /** @param amount of one key in one active hour. */
  add(amount: number): void {
    const at = Math.min(buckets - 1, Math.max(0, Math.floor(Math.log2(Math.max(amount, this.#unit) / this.#unit) * perDoubling)));
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#total++;
    if (this.#total >= fadeAt) {
      for (let each = 0; each < buckets; each++) this.#counts[each] = (this.#counts[each] as number) / 2;
      this.#total /= 2;
    }
    if (this.#total % 64 < 1) this.#normal = this.#quantile();
  }

  /** The amount that the configured share of the key-hours does not exceed. */
  normal(): number {
    return this.#total < this.#needs ? this.#fallback : this.#normal;
  }

  #quantile(): number {
    let left = this.#total * this.#share;
    for (let at = 0; at < buckets; at++) {
      left -= this.#counts[at] as number;
      if (left <= 0) return this.#unit * 2 ** ((at + 1) / perDoubling);
    }
    return this.#fallback;
  }
}

/** Runs callbacks in order, a few in each round of the event loop, so that all else that is ready has its turn between them. */
export class Rounds {
  readonly #each: number;
  readonly #waiting: (() => void)[] = [];
  #isDue = false;

  /** @param each callbacks in one round. */
  constructor(each: number) {
    this.#each = each;
  }

  /** @param run throws nothing. */
  add(run: () => void): void {
    this.#waiting.push(run);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isDue || this.#waiting.length === 0) return;
    this.#isDue = true;
    setImmediate(this.#round);
  }

  readonly #round = (): void => {
    const now = this.#waiting.splice(0, this.#each);
    this.#isDue = false;
    this.#schedule();
    for (const run of now) run();
  };
}

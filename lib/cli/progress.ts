/** Columns of the bar between its brackets. */
const width = 30;

/** How far a long work is, drawn over one line of a terminal, and removed when something else is written or the work is done. */
export class ProgressBar {
  readonly #write: ((text: string) => void) | null;
  #shown = '';

  /** @param write takes text for the terminal; null where there is none, and nothing is drawn. */
  constructor(write: ((text: string) => void) | null) {
    this.#write = write;
  }

  /** @param done how much is done, of `total`, in whatever unit. */
  show(done: number, total: number): void {
    if (this.#write === null) return;
    const share = total === 0 ? 1 : Math.min(1, done / total);
    const text = `[${'='.repeat(Math.floor(share * width)).padEnd(width)}] ${Math.floor(share * 100)}%`;
    if (share === 1) return this.clear();
    if (text === this.#shown) return;
    this.#write(`\r${text}`);
    this.#shown = text;
  }

  clear(): void {
    if (this.#shown === '') return;
    this.#write?.(`\r${' '.repeat(this.#shown.length)}\r`);
    this.#shown = '';
  }
}

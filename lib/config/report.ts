import type { Path } from './problems.ts';
import type { Problem } from '../errors.ts';

/** Gathers what is wrong and what is worth a warning, so that everything is said at once. */
export class Report {
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  readonly #broken: Path[] = [];
  #whole = true;

  /** Adds a problem; `at` is the place whose value is now unknown (null: any may be), `path` what the user calls it. */
  problem(at: Path | null, path: string, message: string): void {
    this.problems.push({ path, message });
    if (at === null) this.#whole = false;
    else this.#broken.push(at);
  }

  /** Whether every source could be read: without one, rules about the rest would guess. */
  get whole(): boolean {
    return this.#whole;
  }

  /** Adds a warning. */
  warn(path: string, message: string): void {
    this.warnings.push(`${path}: ${message}`);
  }

  /** Whether nothing at, above or below a place is in doubt, so that what is said about it is true. */
  sound(at: Path): boolean {
    return !this.#broken.some((path) => path.every((step, index) => index >= at.length || step === at[index]));
  }
}

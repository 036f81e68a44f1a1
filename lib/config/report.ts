import type { Path } from '../values/values.ts';
import type { Problem } from '../errors.ts';

/** Collects problems and warnings, so that all are reported at once. */
export class Report {
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  /** Files that were read, or looked for: the configuration depends on what is in them. */
  readonly files = new Set<string>();
  readonly #invalid: Path[] = [];
  #complete = true;

  /**
   * Adds a problem.
   * @param at path of the value that is now unknown; null when any value may be.
   * @param path the path as the user wrote it.
   */
  problem(at: Path | null, path: string, message: string): void {
    this.problems.push({ path, message });
    if (at === null) this.#complete = false;
    else this.#invalid.push(at);
  }

  /** The value at a path is not known here: neither it nor what depends on it can be judged. */
  unknown(at: Path): void {
    this.#invalid.push(at);
  }

  /** Whether every source could be read. Otherwise rules over several keys cannot be checked. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Adds a warning. */
  warn(path: string, message: string): void {
    this.warnings.push(`${path}: ${message}`);
  }

  /** Whether no value at, above or below a path has a problem, so that a rule can rely on it. */
  isValid(at: Path): boolean {
    return !this.#invalid.some((path) => path.every((step, index) => index >= at.length || step === at[index]));
  }
}

import type { Complaint } from './fields.ts';
import type { Layer } from './layers.ts';
import { merge, valueAt, writePath } from './paths.ts';
import { type Path, show, showLength, suggestion } from './problems.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import type { Tree } from './schema-tree.ts';

/** All layers, the highest last, as one tree; knows for every place who set it and what they call it. */
export class Sources {
  readonly tree: Tree;
  readonly report: Report;
  readonly #layers: readonly Layer[];

  constructor(layers: readonly Layer[], report: Report) {
    this.#layers = layers;
    this.report = report;
    this.tree = layers.reduce((tree, layer) => merge(tree, layer.tree), {});
  }

  /** Reports that the value at a place is not what was expected there. */
  refuse(at: Path, { expected, example, unit, words = [] }: Complaint, got = this.got(at, unit)): void {
    const value = valueAt(this.tree, at);
    const guess = typeof value === 'string' && unit !== 'secret' ? suggestion(value, words) : '';
    this.report.problem(
      at,
      this.name(at),
      guess === '' ? expectation(expected, got, example) : expectation(expected, got) + guess,
    );
  }

  /** Adds a warning about a place. */
  warn(at: Path, message: string): void {
    this.report.warn(this.name(at), message);
  }

  /** What the user who set the value at a place, or one near it, calls the place. */
  name(at: Path): string {
    let setter = this.#setter(at, true);
    for (let length = at.length - 1; length > 0; length -= 1) setter ??= this.#setter(at.slice(0, length), false);
    return setter?.name(at) ?? writePath(at, 'snake');
  }

  /**
   * The value at a place as an error may tell it.
   * SECURITY: of secrets, and of texts that came out of a file's variables, that is the length alone.
   */
  got(at: Path, unit?: Complaint['unit']): string {
    const value = valueAt(this.tree, at);
    if (unit === 'secret' || unit === 'token') return showLength(value);
    const setter = this.#setter(at, true);
    const written = setter?.written.get(setter.name(at));
    return written === undefined ? show(value) : `${showLength(value)} from ${show(written)}`;
  }

  /** Whether a program set the value at a place. */
  isCode(at: Path): boolean {
    return this.#setter(at, true)?.code ?? false;
  }

  #setter(at: Path, exact: boolean): Layer | undefined {
    return this.#layers.findLast(({ tree, single }) => (exact || !single) && valueAt(tree, at) !== undefined);
  }
}

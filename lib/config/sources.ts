import type { Mismatch } from './fields.ts';
import type { Layer } from './layers.ts';
import { merge, valueAt, writePath } from './paths.ts';
import { type Path, show, showLength, suggestion } from '../values/values.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import type { Tree } from './schema-tree.ts';

/** All layers as one tree, the layer with the highest precedence last. Knows the layer that set a value, and its written path. */
export class Sources {
  readonly tree: Tree;
  readonly report: Report;
  /** Whether the process belongs to the gate, so that it listens itself. */
  readonly standalone: boolean;
  /** Whether files that values name may be looked at. */
  readonly readsFiles: boolean;
  readonly #layers: readonly Layer[];

  constructor(layers: readonly Layer[], report: Report, standalone: boolean, readsFiles = true) {
    this.readsFiles = readsFiles;
    this.standalone = standalone;
    this.#layers = layers;
    this.report = report;
    this.tree = layers.reduce((tree, layer) => merge(tree, layer.tree), {});
  }

  /** Reports that the value at a path is not what was expected. */
  refuse(at: Path, { expected, example, unit, words = [] }: Mismatch, got = this.got(at, unit)): void {
    const value = valueAt(this.tree, at);
    const guess = typeof value === 'string' && unit !== 'secret' ? suggestion(value, words) : '';
    this.report.problem(
      at,
      this.name(at),
      guess === '' ? expectation(expected, got, example) : expectation(expected, got) + guess,
    );
  }

  /** Adds a warning about a path. */
  warn(at: Path, message: string): void {
    this.report.warn(this.name(at), message);
  }

  /** The path as written by the user who set the value at the path, or at the nearest path above it. */
  name(at: Path): string {
    let setter = this.#setter(at, true);
    for (let length = at.length - 1; length > 0; length -= 1) setter ??= this.#setter(at.slice(0, length), false);
    return setter?.name(at) ?? writePath(at, 'snake');
  }

  /**
   * The value at a path in the form an error may show.
   * SECURITY: secrets, and texts from variables of a file, are shown by their length only.
   */
  got(at: Path, unit?: Mismatch['unit']): string {
    const value = valueAt(this.tree, at);
    if (unit === 'secret' || unit === 'token') return showLength(value);
    const setter = this.#setter(at, true);
    const written = setter?.written.get(setter.name(at));
    return written === undefined ? show(value) : `${showLength(value)} from ${show(written)}`;
  }

  /** Whether the value at a path was given in code. */
  isCode(at: Path): boolean {
    return this.#setter(at, true)?.code ?? false;
  }

  #setter(at: Path, exact: boolean): Layer | undefined {
    return this.#layers.findLast(({ tree, single }) => (exact || !single) && valueAt(tree, at) !== undefined);
  }
}

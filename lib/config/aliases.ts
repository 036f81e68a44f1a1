import { isDeepStrictEqual } from 'node:util';
import { merge, type Style, valueAt, without, writePath } from './paths.ts';
import type { Path } from '../values/values.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { isSection, ALIASES, type Alias, type Tree } from './schema-tree.ts';

/** A tree without aliases, and a function that returns the path the user wrote for a path in it. */
export interface Resolved {
  readonly tree: Tree;
  readonly origin: (at: Path) => Path;
}

interface AppliedAlias extends Alias {
  readonly value: unknown;
}

/** Moves values from aliases to their keys. A key that both set, with different values, is a problem. */
export function resolveAliases(entered: Tree, style: Style, report: Report): Resolved {
  const applied: AppliedAlias[] = [];
  let tree = entered;
  for (const { from, to, having } of ALIASES) {
    const value = valueAt(tree, from) ?? null;
    if (having !== undefined && !(isSection(value) && having.some((key) => (value[key] ?? null) !== null))) continue;
    tree = without(tree, from);
    if (value === null) continue;
    for (const rest of disagreements(valueAt(tree, to), value)) {
      const [here, there] = [from, to].map((place) => writePath(originOf([...place, ...rest], applied), style));
      report.problem([...to, ...rest], here ?? '', expectation(`either this or ${there}`, 'both with different values'));
    }
    tree = merge(tree, nested(to, value));
    applied.push({ from, to, value });
  }
  return { tree, origin: (at) => originOf(at, applied) };
}

/** The path the user wrote: undoes the moves that led to the path `at`. */
function originOf(at: Path, applied: readonly AppliedAlias[]): Path {
  return applied.reduceRight((place, { from, to, value }) => {
    const rest = place.slice(to.length);
    const moved = to.every((step, index) => step === place[index]) && valueAt(value as Tree, rest) !== undefined;
    return moved ? [...from, ...rest] : place;
  }, at);
}

/** The paths below, at which both trees have a value and the values differ. */
function disagreements(one: unknown, other: unknown): Path[] {
  if (isSection(one) && isSection(other)) {
    return Object.keys(other).flatMap((key) =>
      Object.hasOwn(one, key) ? disagreements(one[key], other[key]).map((rest): Path => [key, ...rest]) : [],
    );
  }
  return (one ?? null) === null || isDeepStrictEqual(one, other) ? [] : [[]];
}

function nested(at: Path, value: unknown): Tree {
  return at.reduceRight<unknown>((inner, step) => ({ [step]: inner }), value) as Tree;
}

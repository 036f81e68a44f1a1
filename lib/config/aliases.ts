import { isDeepStrictEqual } from 'node:util';
import { merge, type Style, valueAt, without, writePath } from './paths.ts';
import { type Path } from './problems.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { isSection, SECOND_PLACES, type SecondPlace, type Tree } from './schema-tree.ts';

/** A tree whose settings stand at their first places alone, and where in it a setting stood before. */
export interface Home {
  readonly tree: Tree;
  readonly origin: (at: Path) => Path;
}

interface Move extends SecondPlace {
  readonly value: unknown;
}

/** Moves what stands at a second place to the first one; a key that both set, and not alike, is a problem. */
export function moveHome(entered: Tree, style: Style, report: Report): Home {
  const moves: Move[] = [];
  let tree = entered;
  for (const { from, to, having } of SECOND_PLACES) {
    const value = valueAt(tree, from) ?? null;
    if (having !== undefined && !(isSection(value) && having.some((key) => (value[key] ?? null) !== null))) continue;
    tree = without(tree, from);
    if (value === null) continue;
    for (const rest of disagreements(valueAt(tree, to), value)) {
      const [here, there] = [from, to].map((place) => writePath(originOf([...place, ...rest], moves), style));
      report.problem([...to, ...rest], here ?? '', expectation(`either this or ${there}`, 'both with different values'));
    }
    tree = merge(tree, nested(to, value));
    moves.push({ from, to, value });
  }
  return { tree, origin: (at) => originOf(at, moves) };
}

/** Where the user put a setting that is at a place now: every move is undone that brought it there. */
function originOf(at: Path, moves: readonly Move[]): Path {
  return moves.reduceRight((place, { from, to, value }) => {
    const rest = place.slice(to.length);
    const moved = to.every((step, index) => step === place[index]) && valueAt(value as Tree, rest) !== undefined;
    return moved ? [...from, ...rest] : place;
  }, at);
}

/** The places below, at which both say something and not the same. */
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

import { type Style, writeStep } from './paths.ts';
import { type Path, show, showLength, suggestion } from './problems.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { type Entry, isSection, type Shape, SHAPE, type Tree } from './schema-tree.ts';

/** Stands at the place of a secret that is to be read from a file. */
export class SecretFile {
  readonly path: unknown;

  constructor(path: unknown) {
    this.path = path;
  }
}

/** The text of a note on a key that is known and does nothing yet. */
export const LATER_NOTE = 'known, takes effect in a later release; ignored';

/**
 * Takes a user's tree through the door: keys become camelCase (a map's own keys stay as written), later keys are noted
 * and left out, unknown keys and wrong forms are reported, `x_file` becomes a `SecretFile` at `x`. Values are not judged.
 */
export function enter(raw: Tree, style: Style, report: Report): Tree {
  return admitSection(raw, SHAPE.keys, { at: [], path: '' }, { style, report });
}

interface Door {
  readonly style: Style;
  readonly report: Report;
}

/** A place inside (`at`) and what the user calls it. */
interface Place {
  readonly at: Path;
  readonly path: string;
}

function admit(value: unknown, shape: Shape, place: Place, door: Door): unknown {
  // `server:` with nothing below it says nothing; null in code says "none".
  if (value === null && shape.kind !== 'value') return door.style === 'snake' ? undefined : null;
  switch (shape.kind) {
    case 'value':
      return value;
    case 'map':
      return isSection(value) ? admitMap(value, shape.item, place, door) : refuse(value, 'a map of names', shape, place, door);
    case 'list':
      if (!Array.isArray(value)) return refuse(value, 'a list', shape, place, door);
      return value.map((item: unknown, index) => admit(item, shape.item, below(place, index, `[${index}]`), door));
    case 'section':
      return isSection(value)
        ? admitSection(value, shape.keys, place, door)
        : refuse(value, 'a section of keys', shape, place, door);
  }
}

/** The names are the user's own; one with nothing below it stays, for the schema to judge. */
function admitMap(map: Tree, item: Shape, place: Place, door: Door): Tree {
  const admitted = Object.entries(map).map(([name, value]): [string, unknown] => {
    const inner = below(place, name, writeStep(name, false, false));
    return [name, (value ?? null) === null ? value : admit(value, item, inner, door)];
  });
  return Object.fromEntries(admitted);
}

function admitSection(section: Tree, keys: readonly Entry[], place: Place, door: Door): Tree {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(section)) {
    const entry = keys.find((each) => each[door.style] === name);
    const inner = below(place, entry?.camel ?? name, dotted(place, name));
    if (!entry) refuseName(name, keys, inner, door);
    else if (value !== undefined) admitKey(result, section, entry, inner, door);
  }
  return result;
}

function admitKey(result: Record<string, unknown>, section: Tree, entry: Entry, place: Place, door: Door): void {
  const value = section[entry[door.style]];
  if (entry.shape.later) {
    door.report.warn(place.path, LATER_NOTE);
    checkNames(value, entry.shape, place, door);
  } else if (entry.fileOf) {
    admitFile(result, section, entry.fileOf, value, place, door);
  } else if (!(value === null && result[entry.camel] instanceof SecretFile)) {
    const admitted = admit(value, entry.shape, place, door);
    if (admitted !== undefined) result[entry.camel] = admitted;
  }
}

function admitFile(result: Record<string, unknown>, section: Tree, secret: Entry, path: unknown, place: Place, door: Door): void {
  const name = secret[door.style];
  if (path === null) return;
  if ((section[name] ?? null) === null) result[secret.camel] = new SecretFile(path);
  else door.report.problem(place.at, place.path, expectation(`either this or ${name}`, 'both'));
}

/** Later keys may hold anything, but a name nobody knows is a mistake there too. */
function checkNames(value: unknown, shape: Shape, place: Place, door: Door): void {
  if (shape.kind === 'list' && Array.isArray(value)) {
    value.forEach((item, index) => checkNames(item, shape.item, below(place, index, `[${index}]`), door));
  }
  if (shape.kind !== 'section' || !isSection(value)) return;
  for (const [name, inner] of Object.entries(value)) {
    const entry = shape.keys.find((each) => each[door.style] === name);
    const at = below(place, name, dotted(place, name));
    if (entry) checkNames(inner, entry.shape, at, door);
    else refuseName(name, shape.keys, at, door);
  }
}

function refuseName(name: string, keys: readonly Entry[], place: Place, door: Door): void {
  const names = keys.map((each) => each[door.style]);
  door.report.problem(place.at, place.path, `unknown key.${suggestion(name, names)}`);
}

function refuse(value: unknown, expected: string, shape: Shape, place: Place, door: Door): undefined {
  const example = shape.kind === 'list' ? shape.example : undefined;
  const got = typeof value === 'string' ? showLength(value) : show(value);
  door.report.problem(place.at, place.path, expectation(expected, got, example));
}

function below(place: Place, step: string | number, suffix: string): Place {
  return { at: [...place.at, step], path: place.path + suffix };
}

function dotted(place: Place, name: string): string {
  return place.path === '' ? name : `.${name}`;
}

import { type Style, writeStep } from './paths.ts';
import { type Path, show, showLength, suggestion } from '../values/values.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { type KeyEntry, isSection, type SchemaNode, SCHEMA_TREE, type Section, type Tree } from './schema-tree.ts';

/** Marks the place of a secret that is read from a file. */
export class SecretFile {
  readonly path: unknown;

  constructor(path: unknown) {
    this.path = path;
  }
}

/**
 * Normalizes the keys of a tree. Keys become camelCase; the keys of a map stay as written. Unknown keys and wrong forms are
 * reported. `x_file` becomes a `SecretFile` at `x`. Values are not checked.
 */
export function normalizeKeys(raw: Tree, style: Style, report: Report): Tree {
  return readSection(raw, SCHEMA_TREE.keys, { at: [], path: '' }, { style, report });
}

interface ReadContext {
  readonly style: Style;
  readonly report: Report;
}

/** A path in the tree (`at`) and the path as the user wrote it. */
interface Place {
  readonly at: Path;
  readonly path: string;
}

function readPlace(value: unknown, shape: SchemaNode, place: Place, context: ReadContext): unknown {
  // In YAML a section header without keys (`server:`) is null and means nothing. In code null means "none".
  if (value === null && shape.kind !== 'value') return context.style === 'snake' ? undefined : null;
  switch (shape.kind) {
    case 'value':
      return value;
    case 'map':
      return isSection(value) ? readMap(value, shape.item, place, context) : reportWrongForm(value, 'a map of names', shape, place, context);
    case 'list':
      if (!Array.isArray(value)) return reportWrongForm(value, 'a list', shape, place, context);
      return value.map((item: unknown, index) => readPlace(item, shape.item, below(place, index, `[${index}]`), context));
    case 'section':
      if (Array.isArray(value) && shape.keys.some(({ camel }) => camel === 'others')) return readListed(value, shape, place, context);
      return isSection(value)
        ? readSection(value, shape.keys, place, context)
        : reportWrongForm(value, 'a section of keys', shape, place, context);
  }
}

/** Reads a list in place of a section that has `others`: the first entry has the keys of the section, the rest are the others. */
function readListed(list: readonly unknown[], shape: Section, place: Place, context: ReadContext): unknown {
  const [first, ...rest] = list.map((item: unknown, index) => {
    const inner = index === 0 ? { at: place.at, path: `${place.path}[0]` } : { at: [...place.at, 'others', index - 1], path: `${place.path}[${index}]` };
    return readPlace(item, { ...shape, keys: shape.keys.filter(({ camel }) => camel !== 'others') }, inner, context);
  });
  return isSection(first) ? { ...first, others: rest } : first;
}

/** Reads a map with user-defined names. A name without a value stays, for the schema to check. */
function readMap(map: Tree, item: SchemaNode, place: Place, context: ReadContext): Tree {
  const read = Object.entries(map).map(([name, value]): [string, unknown] => {
    const inner = below(place, name, writeStep(name, false, false));
    return [name, (value ?? null) === null ? value : readPlace(value, item, inner, context)];
  });
  return Object.fromEntries(read);
}

function readSection(section: Tree, keys: readonly KeyEntry[], place: Place, context: ReadContext): Tree {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(section)) {
    const entry = keys.find((each) => each[context.style] === name);
    const inner = below(place, entry?.camel ?? name, dotted(place, name));
    if (!entry) reportUnknownKey(name, keys, inner, context);
    else if (value !== undefined) readKey(result, section, entry, inner, context);
  }
  return result;
}

function readKey(result: Record<string, unknown>, section: Tree, entry: KeyEntry, place: Place, context: ReadContext): void {
  const value = section[entry[context.style]];
  if (entry.fileOf) {
    readSecretPath(result, section, entry.fileOf, value, place, context);
  } else if (!(value === null && result[entry.camel] instanceof SecretFile)) {
    const read = readPlace(value, entry.shape, place, context);
    if (read !== undefined) result[entry.camel] = read;
  }
}

function readSecretPath(result: Record<string, unknown>, section: Tree, secret: KeyEntry, path: unknown, place: Place, context: ReadContext): void {
  const name = secret[context.style];
  if (path === null) return;
  if ((section[name] ?? null) === null) result[secret.camel] = new SecretFile(path);
  else context.report.problem(place.at, place.path, expectation(`either this or ${name}`, 'both'));
}

function reportUnknownKey(name: string, keys: readonly KeyEntry[], place: Place, context: ReadContext): void {
  const names = keys.map((each) => each[context.style]);
  context.report.problem(place.at, place.path, `unknown key.${suggestion(name, names)}`);
}

function reportWrongForm(value: unknown, expected: string, shape: SchemaNode, place: Place, context: ReadContext): undefined {
  const example = shape.kind === 'list' ? shape.example : undefined;
  const got = typeof value === 'string' ? showLength(value) : show(value);
  context.report.problem(place.at, place.path, expectation(expected, got, example));
}

function below(place: Place, step: string | number, suffix: string): Place {
  return { at: [...place.at, step], path: place.path + suffix };
}

function dotted(place: Place, name: string): string {
  return place.path === '' ? name : `.${name}`;
}

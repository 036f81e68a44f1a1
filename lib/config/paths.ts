import type { Path } from '../values/values.ts';
import { isSection, type SchemaNode, SCHEMA_TREE, toSnake, type Tree } from './schema-tree.ts';

/** The case of keys: snake_case in files, camelCase in code. */
export type Style = 'snake' | 'camel';

/** A path as the user writes it: `llm.backup_providers[0].api_key`. The keys of a map stay as they are. */
export function writePath(at: Path, style: Style): string {
  let text = '';
  let shape: SchemaNode | undefined = SCHEMA_TREE;
  for (const step of at) {
    const own: boolean = shape?.kind === 'map';
    text += writeStep(own || style === 'camel' ? step : toSnake(String(step)), typeof step === 'number', text === '');
    shape = shape && inside(shape, step);
  }
  return text;
}

/** The value at a path, or undefined where there is none. */
export function valueAt(tree: Tree, at: Path): unknown {
  let value: unknown = tree;
  for (const step of at) {
    if (Array.isArray(value)) value = value[Number(step)];
    else if (isSection(value) && Object.hasOwn(value, step)) value = value[step];
    else return undefined;
  }
  return value;
}

/** The tree without the value at a path. A list is removed as a whole, because the indices of its items would change. */
export function without(tree: Tree, at: Path): Tree {
  const [step, next] = at;
  if (step === undefined || !Object.hasOwn(tree, step)) return tree;
  const { [step]: value, ...rest } = tree;
  return next === undefined || !isSection(value) ? rest : { ...tree, [step]: without(value, at.slice(1)) };
}

/** Merges two trees. Sections are merged; for lists and values the upper one wins. */
export function merge(lower: Tree, upper: Tree): Tree {
  const result: Record<string, unknown> = { ...lower };
  for (const [key, value] of Object.entries(upper)) {
    const below = Object.hasOwn(lower, key) ? lower[key] : undefined;
    result[key] = isSection(value) && isSection(below) ? merge(below, value) : value;
  }
  return result;
}

/** One step of a written path. */
export function writeStep(step: string | number, index: boolean, first: boolean): string {
  if (index) return `[${step}]`;
  if (!/^[\w-]+$/.test(String(step))) return `[${JSON.stringify(step)}]`;
  return first ? String(step) : `.${step}`;
}

function inside(shape: SchemaNode, step: string | number): SchemaNode | undefined {
  if (shape.kind === 'list' || shape.kind === 'map') return shape.item;
  return shape.kind === 'section' ? shape.keys.find(({ camel }) => camel === step)?.shape : undefined;
}

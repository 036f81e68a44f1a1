import type { Path } from './problems.ts';
import { isSection, type Shape, SHAPE, toSnake, type Tree } from './schema-tree.ts';

/** How the user writes keys: files in snake_case, code in camelCase. */
export type Style = 'snake' | 'camel';

/** A place as the user writes it: `llm.backup_providers[0].api_key`. A map's own keys stay as they are. */
export function writePath(at: Path, style: Style): string {
  let text = '';
  let shape: Shape | undefined = SHAPE;
  for (const step of at) {
    const own: boolean = shape?.kind === 'map';
    text += writeStep(own || style === 'camel' ? step : toSnake(String(step)), typeof step === 'number', text === '');
    shape = shape && inside(shape, step);
  }
  return text;
}

/** The value at a place, or undefined where the tree does not reach. */
export function valueAt(tree: Tree, at: Path): unknown {
  let value: unknown = tree;
  for (const step of at) {
    if (Array.isArray(value)) value = value[Number(step)];
    else if (isSection(value) && Object.hasOwn(value, step)) value = value[step];
    else return undefined;
  }
  return value;
}

/** The tree without the value at a place. Lists go as a whole: without one item the others would move. */
export function without(tree: Tree, at: Path): Tree {
  const [step, next] = at;
  if (step === undefined || !Object.hasOwn(tree, step)) return tree;
  const { [step]: value, ...rest } = tree;
  return next === undefined || !isSection(value) ? rest : { ...tree, [step]: without(value, at.slice(1)) };
}

/** Two trees as one; where both say something the upper wins. Sections merge, lists and values do not. */
export function merge(lower: Tree, upper: Tree): Tree {
  const result: Record<string, unknown> = { ...lower };
  for (const [key, value] of Object.entries(upper)) {
    const below = Object.hasOwn(lower, key) ? lower[key] : undefined;
    result[key] = isSection(value) && isSection(below) ? merge(below, value) : value;
  }
  return result;
}

/** One step of a place as it follows the steps before it. */
export function writeStep(step: string | number, index: boolean, first: boolean): string {
  if (index) return `[${step}]`;
  if (!/^[\w-]+$/.test(String(step))) return `[${JSON.stringify(step)}]`;
  return first ? String(step) : `.${step}`;
}

function inside(shape: Shape, step: string | number): Shape | undefined {
  if (shape.kind === 'list' || shape.kind === 'map') return shape.item;
  return shape.kind === 'section' ? shape.keys.find(({ camel }) => camel === step)?.shape : undefined;
}

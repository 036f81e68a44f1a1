import type { Meta } from './fields.ts';
import { SERVER_HEALTH } from './health.ts';
import { type Later, LATER, type LaterSection } from './planned-keys.ts';
import type { Path } from './problems.ts';
import { schema } from './schema.ts';

/** The form of a place in the configuration: the schema's and the later keys' in one tree. */
export type Shape =
  | Section
  | { readonly kind: 'list'; readonly later: boolean; readonly item: Shape; readonly example: unknown }
  | { readonly kind: 'map'; readonly later: boolean; readonly item: Shape }
  | { readonly kind: 'value'; readonly later: boolean; readonly meta: Meta | undefined };

/** A section and its keys. */
export interface Section {
  readonly kind: 'section';
  readonly later: boolean;
  readonly keys: readonly Entry[];
}

/** A key of a section under both of its names. `fileOf` is the secret whose file this key points to. */
export interface Entry {
  readonly camel: string;
  readonly snake: string;
  readonly shape: Shape;
  readonly fileOf?: Entry;
}

/** A place where a setting may stand beside its own. */
export interface SecondPlace {
  readonly from: Path;
  readonly to: Path;
  /** Keys of which one must be given; without, the place is always one. */
  readonly having?: readonly string[];
}

/** Every second place, in the order in which what stands there is moved to the first one. */
export const SECOND_PLACES: readonly SecondPlace[] = [
  { from: ['server', 'middleware'], to: ['middleware'] },
  { from: ['retry'], to: ['llm', 'retry'] },
  { from: ['healthCheck'], to: ['server', 'healthCheck'], having: SERVER_HEALTH },
  { from: ['healthCheck'], to: ['llm', 'healthCheck'] },
  { from: ['server', 'healthCheck', 'failureThreshold'], to: ['server', 'healthCheck', 'threshold'] },
  { from: ['llm', 'healthCheck', 'threshold'], to: ['llm', 'healthCheck', 'failureThreshold'] },
];

/** A tree of settings, keys in camelCase once it is inside. */
export type Tree = { readonly [key: string]: unknown };

/** `baseUrl` as files write it: `base_url`. */
export function toSnake(camel: string): string {
  return camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `base_url` as code writes it: `baseUrl`. */
export function toCamel(snake: string): string {
  return snake.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Whether a value is a plain object, the only thing that counts as a section. */
export function isSection(value: unknown): value is Tree {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** What the walk needs to know of zod's own objects. */
interface Node {
  readonly def: {
    readonly innerType?: Node;
    readonly element?: Node;
    readonly valueType?: Node;
    readonly shape?: Record<string, Node>;
  };
  meta(): object | undefined;
}

/** The form of the whole configuration. */
export const SHAPE: Section = widened(sectionOf(schema.def.innerType.shape as unknown as Readonly<Record<string, Node>>));

function shapeOf(node: Node): Shape {
  const { innerType, element, valueType, shape } = node.def;
  if (shape) return sectionOf(shape);
  if (element) return listOf(shapeOf(element));
  if (valueType) return { kind: 'map', later: false, item: shapeOf(valueType) };
  if (innerType) return shapeOf(innerType);
  return { kind: 'value', later: false, meta: node.meta() as Meta };
}

function sectionOf(shape: Readonly<Record<string, Node>>): Section {
  return { kind: 'section', later: false, keys: Object.entries(shape).flatMap(([name, each]) => entriesOf(name, shapeOf(each))) };
}

/** The second places and the later keys join. What is moved twice needs the place between, so the last come first. */
function widened(root: Section): Section {
  const wider = SECOND_PLACES.reduceRight((section, { from, to }) => withKey(section, from, shapeAt(section, to)), root);
  return { ...wider, keys: overlayKeys(wider.keys, LATER) };
}

function withKey(section: Section, [step, ...rest]: Path, added: Shape): Section {
  const camel = String(step);
  if (rest.length === 0) return { ...section, keys: joined(section.keys, entriesOf(camel, added)) };
  const widen = (entry: Entry): Entry =>
    entry.camel === camel && entry.shape.kind === 'section' ? { ...entry, shape: withKey(entry.shape, rest, added) } : entry;
  return { ...section, keys: section.keys.map(widen) };
}

function shapeAt(section: Section, at: Path): Shape {
  return at.reduce<Shape>((shape, step) => {
    const entry = shape.kind === 'section' ? shape.keys.find(({ camel }) => camel === step) : undefined;
    if (!entry) throw new Error(`expected a key of the schema, got ${at.join('.')}`);
    return entry.shape;
  }, section);
}

/** A place that is second to two sections takes the keys of both. */
function joined(keys: readonly Entry[], added: readonly Entry[]): Entry[] {
  const [entry] = added;
  const found = keys.find(({ camel }) => camel === entry?.camel);
  if (entry === undefined || found?.shape.kind !== 'section' || entry.shape.kind !== 'section') return [...keys, ...added];
  const names = new Set(found.shape.keys.map(({ camel }) => camel));
  const both = { ...found.shape, keys: [...found.shape.keys, ...entry.shape.keys.filter(({ camel }) => !names.has(camel))] };
  return keys.map((each) => (each === found ? { ...found, shape: both } : each));
}

function listOf(item: Shape): Shape {
  const example = item.kind === 'value' ? [item.meta?.example] : undefined;
  return { kind: 'list', later: false, item, example };
}

function entriesOf(camel: string, shape: Shape): Entry[] {
  const entry = { camel, snake: toSnake(camel), shape };
  if (shape.kind !== 'value' || !shape.meta?.file) return [entry];
  const path: Shape = { kind: 'value', later: false, meta: undefined };
  return [entry, { camel: `${camel}File`, snake: `${entry.snake}_file`, shape: path, fileOf: entry }];
}

function overlay(shape: Shape, later: Later | undefined): Shape {
  if (later === undefined || later === true) return shape;
  if (isList(later)) return shape.kind === 'list' ? { ...shape, item: overlay(shape.item, later[0]) } : shape;
  return shape.kind === 'section' ? { ...shape, keys: overlayKeys(shape.keys, later) } : shape;
}

function overlayKeys(keys: readonly Entry[], later: LaterSection): Entry[] {
  const known = new Set(keys.map(({ snake }) => snake));
  const overlaid = keys.map((entry) => ({ ...entry, shape: overlay(entry.shape, later[entry.snake]) }));
  return [...overlaid, ...laterKeys(later).filter(({ snake }) => !known.has(snake))];
}

function laterShape(later: Later): Shape {
  if (later === true) return { kind: 'value', later: true, meta: undefined };
  if (isList(later)) return { kind: 'list', later: true, item: laterShape(later[0]), example: undefined };
  return { kind: 'section', later: true, keys: laterKeys(later) };
}

function laterKeys(later: LaterSection): Entry[] {
  return Object.entries(later).map(([snake, inner]) => ({ snake, camel: toCamel(snake), shape: laterShape(inner) }));
}

/** `Array.isArray` does not narrow read-only lists. */
function isList(later: Later): later is readonly [Later] {
  return Array.isArray(later);
}

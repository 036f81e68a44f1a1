import type { Meta } from './fields.ts';
import { SERVER_HEALTH } from './health.ts';
import type { Path } from '../values/values.ts';
import { schema } from './schema.ts';

/** A node of the configuration tree. */
export type SchemaNode =
  | Section
  | { readonly kind: 'list'; readonly item: SchemaNode; readonly example: unknown }
  | { readonly kind: 'map'; readonly item: SchemaNode }
  | { readonly kind: 'value'; readonly meta: Meta | undefined };

/** A section and its keys. */
export interface Section {
  readonly kind: 'section';
  readonly keys: readonly KeyEntry[];
}

/** A key of a section with both of its names. `fileOf` is the secret that this key gives the file of. */
export interface KeyEntry {
  readonly camel: string;
  readonly snake: string;
  readonly shape: SchemaNode;
  readonly fileOf?: KeyEntry;
}

/** An alternative path of a key. */
export interface Alias {
  readonly from: Path;
  readonly to: Path;
  /** The alias applies only when one of these keys is given. Without the list it always applies. */
  readonly having?: readonly string[];
}

/** Every alias, in the order in which values are moved. */
export const ALIASES: readonly Alias[] = [
  { from: ['server', 'middleware'], to: ['middleware'] },
  { from: ['retry'], to: ['llm', 'retry'] },
  { from: ['healthCheck'], to: ['server', 'healthCheck'], having: SERVER_HEALTH },
  { from: ['healthCheck'], to: ['llm', 'healthCheck'] },
  { from: ['server', 'healthCheck', 'failureThreshold'], to: ['server', 'healthCheck', 'threshold'] },
  { from: ['llm', 'healthCheck', 'threshold'], to: ['llm', 'healthCheck', 'failureThreshold'] },
];

/** A tree of settings. Keys are in camelCase, except in a tree that was just read from a file. */
export type Tree = { readonly [key: string]: unknown };

/** `baseUrl` as files write it: `base_url`. */
export function toSnake(camel: string): string {
  return camel.replace(/[A-Z]|(?<=[a-z])\d(?=[a-z])/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `base_url` as code writes it: `baseUrl`. */
export function toCamel(snake: string): string {
  return snake.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Whether a value is a section: a plain object. */
export function isSection(value: unknown): value is Tree {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The part of zod's objects that is read. */
interface Node {
  readonly def: {
    readonly innerType?: Node;
    readonly element?: Node;
    readonly valueType?: Node;
    readonly shape?: Record<string, Node>;
  };
  meta(): object | undefined;
}

/** The tree of the whole configuration. */
export const SCHEMA_TREE: Section = extended(sectionOf(schema.def.innerType.shape as unknown as Readonly<Record<string, Node>>));

function nodeOf(node: Node): SchemaNode {
  const { innerType, element, valueType, shape } = node.def;
  if (shape) return sectionOf(shape);
  if (element) return listOf(nodeOf(element));
  if (valueType) return { kind: 'map', item: nodeOf(valueType) };
  if (innerType) return nodeOf(innerType);
  return { kind: 'value', meta: node.meta() as Meta };
}

function sectionOf(shape: Readonly<Record<string, Node>>): Section {
  return { kind: 'section', keys: Object.entries(shape).flatMap(([name, each]) => keyEntriesOf(name, nodeOf(each))) };
}

/** Adds aliases. The last come first, because a value that is moved twice needs the path between. */
function extended(root: Section): Section {
  return ALIASES.reduceRight((section, { from, to }) => withKey(section, from, nodeAtPath(section, to)), root);
}

function withKey(section: Section, [step, ...rest]: Path, added: SchemaNode): Section {
  const camel = String(step);
  if (rest.length === 0) return { ...section, keys: merged(section.keys, keyEntriesOf(camel, added)) };
  const widen = (entry: KeyEntry): KeyEntry =>
    entry.camel === camel && entry.shape.kind === 'section' ? { ...entry, shape: withKey(entry.shape, rest, added) } : entry;
  return { ...section, keys: section.keys.map(widen) };
}

function nodeAtPath(section: Section, at: Path): SchemaNode {
  return at.reduce<SchemaNode>((shape, step) => {
    const entry = shape.kind === 'section' ? shape.keys.find(({ camel }) => camel === step) : undefined;
    if (!entry) throw new Error(`expected a key of the schema, got ${at.join('.')}`);
    return entry.shape;
  }, section);
}

/** An alias of two sections takes the keys of both. */
function merged(keys: readonly KeyEntry[], added: readonly KeyEntry[]): KeyEntry[] {
  const [entry] = added;
  const found = keys.find(({ camel }) => camel === entry?.camel);
  if (entry === undefined || found?.shape.kind !== 'section' || entry.shape.kind !== 'section') return [...keys, ...added];
  const names = new Set(found.shape.keys.map(({ camel }) => camel));
  const both = { ...found.shape, keys: [...found.shape.keys, ...entry.shape.keys.filter(({ camel }) => !names.has(camel))] };
  return keys.map((each) => (each === found ? { ...found, shape: both } : each));
}

function listOf(item: SchemaNode): SchemaNode {
  const example = item.kind === 'value' ? [item.meta?.example] : undefined;
  return { kind: 'list', item, example };
}

function keyEntriesOf(camel: string, shape: SchemaNode): KeyEntry[] {
  const entry = { camel, snake: toSnake(camel), shape };
  if (shape.kind !== 'value' || !shape.meta?.file) return [entry];
  const path: SchemaNode = { kind: 'value', meta: undefined };
  return [entry, { camel: `${camel}File`, snake: `${entry.snake}_file`, shape: path, fileOf: entry }];
}

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { VARIABLES } from '../lib/config/environment.ts';
import type { Meta } from '../lib/config/fields.ts';
import { LATER } from '../lib/config/planned-keys.ts';
import type { Later, LaterSection } from '../lib/config/planned-keys.ts';
import { writePath } from '../lib/config/paths.ts';
import { schema } from '../lib/config/schema.ts';
import { SECOND_PLACES, toSnake } from '../lib/config/schema-tree.ts';
import { rowOf as seriesRow, seriesNames } from '../lib/config/series.ts';

/** A place of the schema as zod describes it, with what every key carries. */
interface Node extends Partial<Meta> {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly additionalProperties?: Node | false;
  readonly anyOf?: readonly Node[];
  readonly default?: unknown;
}

type Json = Readonly<Record<string, unknown>>;

const ROOT = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node;
const LATER_TEXT = 'known; takes effect in a later release';
const GENERATED = 'Generated from lib/config/schema.ts by test/generate.ts: change the schema, not this file.';
const BLOCK = /(<!-- config:start -->\n)[^]*(<!-- config:end -->)/;
const METRICS = /(<!-- metrics:start -->\n)[^]*(<!-- metrics:end -->)/;

/** The JSON Schema (draft 2020-12) of a configuration file, for editors. */
export function schemaJson(): string {
  const { properties, ...root } = sectionJson(ROOT, LATER);
  const places = SECOND_PLACES.reduceRight((all, { from, to }) => withPlace(all, from.map(String), jsonAt(all, to)), properties as Json);
  const metrics = places['metrics'] as Json;
  const aliased = { ...places, metrics: { anyOf: [metrics, (metrics['properties'] as Json)['series']] } };
  const variable = { type: 'string', pattern: String.raw`\$\{.+\}`, description: 'A text with a variable' };
  const head = { $schema: 'https://json-schema.org/draft/2020-12/schema', $comment: GENERATED, title: 'Heimdall configuration' };
  return `${JSON.stringify({ ...head, ...root, properties: aliased, $defs: { variable } }, null, 2)}\n`;
}

/** The properties with one more, which takes in the later keys that are there already. */
function withPlace(properties: Json, [step = '', ...rest]: readonly string[], added: Json): Json {
  const snake = toSnake(step);
  const there = properties[snake] as Json | undefined;
  const inside = (there?.['properties'] ?? {}) as Json;
  if (rest.length > 0) return { ...properties, [snake]: { ...there, properties: withPlace(inside, rest, added) } };
  const both = there ? { properties: { ...(added['properties'] as Json), ...inside } } : {};
  return { ...properties, [snake]: { ...added, ...both } };
}

function jsonAt(properties: Json, at: readonly (string | number)[]): Json {
  return at.reduce<Json>(
    (json, step) => ((json['properties'] as Json)[toSnake(String(step))] ?? {}) as Json,
    { properties },
  );
}

function sectionJson(node: Node, later: LaterSection): Json {
  const properties: Record<string, Json> = {};
  for (const [name, each] of Object.entries(node.properties ?? {})) {
    const snake = toSnake(name);
    properties[snake] = placeJson(inner(each), each.default, later[snake]);
    if (inner(each).file) properties[`${snake}_file`] = { type: 'string', description: `Path of a file that holds ${snake}.` };
  }
  for (const [snake, each] of Object.entries(later)) properties[snake] ??= laterJson(each);
  const required = (node.required ?? []).map(toSnake);
  return {
    type: 'object',
    description: node.description,
    properties,
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
  };
}

function placeJson(node: Node, fallback: unknown, later: Later | undefined): Json {
  const { description } = node;
  const preset = fallback === null || fallback === undefined ? {} : { default: fallback };
  // `server:` with nothing below it is null in YAML.
  if (node.properties) return { ...sectionJson(node, (later ?? {}) as LaterSection), type: ['object', 'null'] };
  if (node.items) return { type: ['array', 'null'], description, items: itemJson(node.items, later), ...preset };
  if (node.additionalProperties)
    return {
      type: ['object', 'null'],
      description,
      additionalProperties: itemJson(node.additionalProperties, undefined),
      ...preset,
    };
  return {
    description,
    ...orVariable(node.json ?? {}),
    ...preset,
    ...(node.example === undefined ? {} : { examples: [node.example] }),
  };
}

function itemJson(node: Node, later: Later | undefined): Json {
  const inside = later !== undefined && isList(later) ? later[0] : {};
  return node.properties ? sectionJson(node, inside as LaterSection) : placeJson(node, null, undefined);
}

/** Where not every text is allowed, one with a variable still is. */
function orVariable(json: Json): Json {
  const forms = (json['anyOf'] ?? [json]) as readonly Json[];
  const anyText = forms.some((form) => form['type'] === 'string' && form['pattern'] === undefined);
  return anyText ? json : { anyOf: [...forms, { $ref: '#/$defs/variable' }] };
}

function laterJson(later: Later): Json {
  if (later === true) return { description: LATER_TEXT };
  if (isList(later)) return { description: LATER_TEXT, type: 'array', items: laterJson(later[0]) };
  const properties = Object.fromEntries(Object.entries(later).map(([name, each]) => [name, laterJson(each)]));
  return { description: LATER_TEXT, type: ['object', 'null'], properties, additionalProperties: false };
}

/** `types/config.d.ts`: what the configuration is, and what is accepted in code. */
export function configTypes(): string {
  const types = new Map<string, string>();
  declare(ROOT, 'config', types);
  declare(ROOT, 'input', types);
  return `// ${GENERATED}\n\nimport type { Provider } from './provider.d.ts';\n\n${[...types.values()].join('\n')}`;
}

type Side = 'config' | 'input';

function declare(node: Node, side: Side, types: Map<string, string>): string {
  const name = side === 'config' ? (node.title ?? '') : `${node.title?.replace(/(?<=.)Config$/, '')}Input`;
  if (types.has(name)) return name;
  types.set(name, '');
  const lines = Object.entries(node.properties ?? {}).flatMap(([key, each]) => [
    ...memberLines(key, each, node.required?.includes(key) ?? false, side, types),
    ...(side === 'input' ? extraLines(`${name}.${key}`, key, inner(each)) : []),
  ]);
  const doc = side === 'config' ? rootNote(node) : `\`${node.title}\` as code may give it; what is left out keeps its default.`;
  types.set(name, `/** ${doc} */\nexport interface ${name} {\n${lines.join('\n')}\n}\n`);
  return name;
}

function rootNote(node: Node): string {
  return node === ROOT
    ? `${node.what}: complete and deep-frozen. Durations in milliseconds, sizes in bytes, null for what is absent.`
    : `${node.what}.`;
}

function memberLines(key: string, node: Node, required: boolean, side: Side, types: Map<string, string>): string[] {
  const type = typeOf(inner(node), side, types) + (isNullable(node) ? ' | null' : '');
  const member = side === 'config' || required ? `${key}: ${type}` : `${key}?: ${type} | undefined`;
  const list =
    side === 'input' && key === 'metrics'
      ? member.replace('MetricsInput', 'MetricsInput | readonly (SeriesName | (string & {}))[]')
      : member;
  return [`  /** ${inner(node).description} */`, `  readonly ${list};`];
}

/** Second places, by the key after which they are told. */
const SECOND: Readonly<Record<string, readonly string[]>> = {
  'ServerInput.host': ['  /** The same as middleware at the top. */', "  readonly middleware?: ConfigInput['middleware'];"],
  'HealthCheckInput.failureThreshold': ['  /** The same as failureThreshold. */', '  readonly threshold?: number | undefined;'],
  'ConfigInput.llm': [
    '  /** The same as llm.retry. */',
    '  readonly retry?: RetryInput | undefined;',
    '  /** The same as llm.healthCheck. */',
    '  readonly healthCheck?: HealthCheckInput | undefined;',
  ],
};

/** Keys that are accepted but do not stay: the file of a secret, and second places. */
function extraLines(place: string, key: string, node: Node): readonly string[] {
  if (node.file) return [`  /** Path of a file that holds ${key}. */`, `  readonly ${key}File?: string | null | undefined;`];
  return SECOND[place] ?? [];
}

function typeOf(node: Node, side: Side, types: Map<string, string>): string {
  if (node.properties) return declare(node, side, types);
  if (node.items) return `readonly ${grouped(typeOf(node.items, side, types))}[]`;
  if (node.additionalProperties) return `Readonly<Record<string, ${typeOf(node.additionalProperties, side, types)}>>`;
  if (node.title === undefined) return node[side === 'config' ? 'output' : 'input'] ?? 'unknown';
  if (!types.has(node.title)) types.set(node.title, `/** ${node.what}: one name. */\nexport type ${node.title} = ${node.output};\n`);
  return side === 'config' ? node.title : (node.input ?? node.title);
}

function grouped(type: string): string {
  return type.includes(' ') ? `(${type})` : type;
}

/** The README's table of every key that takes effect. */
export function readmeTable(): string {
  return table('key', rowsOf(ROOT, ''));
}

/** The README's table of the environment's variables. */
export function envTable(): string {
  const rows = VARIABLES.map(({ name, at, what }): Row => {
    const node = at && nodeAt(at);
    return { name, shown: node?.shown ?? 'none', what: node ? `${node.what} (\`${writePath(at, 'snake')}\`)` : (what ?? '') };
  });
  return table('variable', rows);
}

/** The README's table of every metric. */
export function metricsTable(): string {
  const rows = seriesNames.map((name) => {
    const { type, labels, help } = seriesRow(name);
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`;
  });
  return ['| metric | type | labels | what it says |', '|---|---|---|---|', ...rows, ''].join('\n');
}

interface Row {
  readonly name: string;
  readonly shown: string;
  readonly what: string;
}

function rowsOf(section: Node, prefix: string): Row[] {
  return Object.entries(section.properties ?? {}).flatMap(([key, each]) => {
    const node = inner(each);
    const name = prefix + toSnake(key);
    if (node.properties)
      return [...(isNullable(each) ? [rowOf(name, { ...node, shown: 'none' })] : []), ...rowsOf(node, `${name}.`)];
    // Keys that are those of the section around the list need no second row.
    const repeated = Object.keys(node.items?.properties ?? {}).every((item) => Object.hasOwn(section.properties ?? {}, item));
    const named = node.additionalProperties ? rowsOf(node.additionalProperties, `${name}.<name>.`) : [];
    return [rowOf(name, node), ...(node.items && !repeated ? rowsOf(node.items, `${name}[].`) : []), ...named];
  });
}

function rowOf(name: string, { shown = 'required', what = '', file }: Node): Row {
  return { name, shown, what: file ? `${what}; also as \`${name.replace(/^.*\./, '')}_file\`` : what };
}

function table(first: string, rows: readonly Row[]): string {
  const lines = rows.map(
    ({ name, shown, what }) => `| \`${name}\` | ${isLiteral(shown) ? `\`${shown}\`` : shown} | ${what.replaceAll('|', '\\|')} |`,
  );
  return [`| ${first} | default | what it does |`, '|---|---|---|', ...lines, ''].join('\n');
}

/** Whether a default is written as a file would, not explained in words. */
function isLiteral(shown: string): boolean {
  return /^(\[.*|\S+)$/.test(shown) && !['none', 'required', 'all'].includes(shown);
}

function nodeAt(at: readonly (string | number)[]): Node {
  return at.reduce<Node>((node, step) => inner(node).properties?.[step] ?? {}, ROOT);
}

/** A nullable place is described as either its own form or null. */
function inner(node: Node): Node {
  return isNullable(node) ? (node.anyOf?.[0] ?? node) : node;
}

function isNullable(node: Node): boolean {
  return node.anyOf !== undefined && node.what === undefined;
}

function isList(later: Later): later is readonly [Later] {
  return Array.isArray(later);
}

/** A README whose blocks between the `config` and `metrics` markers, if it has them, hold the tables. */
export function fillReadme(text: string): string {
  return text
    .replace(BLOCK, (_, start: string, end: string) => `${start}\n${envTable()}\n${readmeTable()}\n${end}`)
    .replace(METRICS, (_, start: string, end: string) => `${start}\n${metricsTable()}\n${end}`);
}

function writeAll(): void {
  writeFileSync(new URL('../types/config.d.ts', import.meta.url), configTypes());
  writeFileSync(new URL('../types/heimdall.schema.json', import.meta.url), schemaJson());
  const readme = new URL('../README.md', import.meta.url);
  if (existsSync(readme)) writeFileSync(readme, fillReadme(readFileSync(readme, 'utf8')));
}

if (import.meta.main) writeAll();

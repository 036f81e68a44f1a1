import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { VARIABLES } from '../lib/config/environment.ts';
import type { Meta } from '../lib/config/fields.ts';
import { writePath } from '../lib/config/paths.ts';
import { schema } from '../lib/config/schema.ts';
import { ALIASES, toSnake } from '../lib/config/schema-tree.ts';
import { resources } from '../lib/admin/table.ts';
import { errors } from '../lib/errors.ts';
import { events, type EventRow } from '../lib/telemetry/events.ts';
import { rowOf as seriesRow, seriesNames } from '../lib/config/series.ts';

/** A node of zod's JSON Schema, with the facts that every key carries. */
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
const GENERATED = 'Generated from lib/config/schema.ts by test/generate.ts: change the schema, not this file.';

/** The JSON Schema (draft 2020-12) of a configuration file, for editors. */
export function schemaJson(): string {
  const { properties, ...root } = sectionJson(ROOT);
  const places = ALIASES.reduceRight((all, { from, to }) => withPlace(all, from.map(String), jsonAt(all, to)), properties as Json);
  const metrics = places['metrics'] as Json;
  const server = places['server'] as Json;
  const listed = { ...(server['properties'] as Json), tls: orList((server['properties'] as Json)['tls'] as Json) };
  const aliased = { ...places, metrics: { anyOf: [metrics, (metrics['properties'] as Json)['series']] }, audit: { anyOf: [places['audit'], { const: false }] }, server: { ...server, properties: listed } };
  const variable = { type: 'string', pattern: String.raw`\$\{.+\}`, description: 'A text with a variable' };
  const head = { $schema: 'https://json-schema.org/draft/2020-12/schema', $comment: GENERATED, title: 'Heimdall configuration' };
  return `${JSON.stringify({ ...head, ...root, properties: aliased, $defs: { variable } }, null, 2)}\n`;
}

/** A section, or a list of sections: the further ones are those of its `others`. */
function orList(section: Json): Json {
  const { others, ...entry } = section['properties'] as Json;
  const { description, ...rest } = section;
  return { description, anyOf: [rest, { type: 'array', items: { type: 'object', properties: entry, required: (others as { items: Json }).items['required'], additionalProperties: false } }] };
}

/** The properties with one added at a path. Keys that stand there already are kept. */
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

function sectionJson(node: Node): Json {
  const properties: Record<string, Json> = {};
  for (const [name, each] of Object.entries(node.properties ?? {})) {
    const snake = toSnake(name);
    properties[snake] = placeJson(inner(each), each.default);
    if (inner(each).file) properties[`${snake}_file`] = { type: 'string', description: `Path of a file that holds ${snake}.` };
  }
  const required = (node.required ?? []).map(toSnake);
  return {
    type: 'object',
    description: node.description,
    properties,
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
  };
}

function placeJson(node: Node, fallback: unknown): Json {
  const { description } = node;
  const preset = fallback === null || fallback === undefined ? {} : { default: fallback };
  // In YAML a section header without keys (`server:`) is null.
  if (node.properties) return { ...sectionJson(node), type: ['object', 'null'] };
  if (node.items) return { type: ['array', 'null'], description, items: itemJson(node.items), ...preset };
  if (node.additionalProperties)
    return {
      type: ['object', 'null'],
      description,
      additionalProperties: itemJson(node.additionalProperties),
      ...preset,
    };
  return {
    description,
    ...orVariable(node.json ?? {}),
    ...preset,
    ...(node.example === undefined ? {} : { examples: [node.example] }),
  };
}

function itemJson(node: Node): Json {
  return node.properties ? sectionJson(node) : placeJson(node, null);
}

/** Allows a text with a variable where the type does not allow every text. */
function orVariable(json: Json): Json {
  const forms = (json['anyOf'] ?? [json]) as readonly Json[];
  const anyText = forms.some((form) => form['type'] === 'string' && form['pattern'] === undefined);
  return anyText ? json : { anyOf: [...forms, { $ref: '#/$defs/variable' }] };
}

/** `types/config.d.ts`: the type of the configuration, and the type that code may pass. */
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
  const doc = side === 'config' ? rootNote(node) : `\`${node.title}\` as code may pass it. A missing key takes its default.`;
  types.set(name, `/** ${doc} */\nexport interface ${name} {\n${lines.join('\n')}\n}\n`);
  return name;
}

function rootNote(node: Node): string {
  return node === ROOT
    ? `${node.summary}: complete and deep-frozen. Durations are in milliseconds, sizes in bytes. An absent value is null.`
    : `${node.summary}.`;
}

function memberLines(key: string, node: Node, required: boolean, side: Side, types: Map<string, string>): string[] {
  const type = typeOf(inner(node), side, types) + (isNullable(node) ? ' | null' : '');
  const member = side === 'config' || required ? `${key}: ${type}` : `${key}?: ${type} | undefined`;
  const list =
    side === 'input' && key === 'metrics'
      ? member.replace('MetricsInput', 'MetricsInput | readonly (SeriesName | (string & {}))[]')
      : member.replace('?: AuditInput |', '?: AuditInput | false |').replace('?: TlsInput |', '?: TlsInput | readonly TlsInput[] |');
  return [`  /** ${inner(node).description} */`, `  readonly ${list};`];
}

/** Aliases, by the key after which they are declared. */
const ALIAS_LINES: Readonly<Record<string, readonly string[]>> = {
  'ServerInput.host': ['  /** Alias of the top-level middleware. */', "  readonly middleware?: ConfigInput['middleware'];"],
  'HealthCheckInput.failureThreshold': ['  /** Alias of failureThreshold. */', '  readonly threshold?: number | undefined;'],
  'ConfigInput.llm': [
    '  /** Alias of llm.retry. */',
    '  readonly retry?: RetryInput | undefined;',
    '  /** Alias of llm.healthCheck. */',
    '  readonly healthCheck?: HealthCheckInput | undefined;',
  ],
};

/** Keys that the input accepts and the configuration does not keep: files of secrets, and aliases. */
function extraLines(place: string, key: string, node: Node): readonly string[] {
  if (node.file) return [`  /** Path of a file that holds ${key}. */`, `  readonly ${key}File?: string | null | undefined;`];
  return ALIAS_LINES[place] ?? [];
}

function typeOf(node: Node, side: Side, types: Map<string, string>): string {
  if (node.properties) return declare(node, side, types);
  if (node.items) return `readonly ${grouped(typeOf(node.items, side, types))}[]`;
  if (node.additionalProperties) return `Readonly<Record<string, ${typeOf(node.additionalProperties, side, types)}>>`;
  if (node.title === undefined) return node[side === 'config' ? 'output' : 'input'] ?? 'unknown';
  if (!types.has(node.title)) types.set(node.title, `/** ${node.summary}: one name. */\nexport type ${node.title} = ${node.output};\n`);
  return side === 'config' ? node.title : (node.input ?? node.title);
}

function grouped(type: string): string {
  return type.includes(' ') ? `(${type})` : type;
}

/** The table of every key that takes effect. */
export function readmeTable(): string {
  return table('key', rowsOf(ROOT, ''));
}

/** The table of the environment's variables. */
export function envTable(): string {
  const rows = VARIABLES.map(({ name, at, summary, secret }): Row => {
    const node = at && nodeAt(at);
    const file = secret ? `. Also as \`${name}_FILE\`` : '';
    return { name, defaultText: node?.defaultText ?? 'none', summary: node ? `${node.summary} (\`${writePath(at, 'snake')}\`)${file}` : (summary ?? '') };
  });
  return table('variable', rows);
}

/** The table of every metric. */
export function metricsTable(): string {
  const rows = seriesNames.map((name) => {
    const { type, labels, help } = seriesRow(name);
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`;
  });
  return ['| metric | type | labels | description |', '|---|---|---|---|', ...rows, ''].join('\n');
}

/** The table of every event. */
export function eventsTable(): string {
  const rows = Object.entries(events as Readonly<Record<string, EventRow>>).map(([name, { category, type, outcome = '', alert, ends, what }]) => {
    const sent = alert ? 'begins' : ends === undefined ? '' : `ends \`${ends}\``;
    return `| \`${name}\` | ${category} | ${type} | ${outcome} | ${sent} | ${what.replaceAll('|', '\\|')} |`;
  });
  return ['| event | category | type | outcome | alert | what it reports |', '|---|---|---|---|---|---|', ...rows, ''].join('\n');
}

/** The table of every error. */
export function errorsTable(): string {
  const all = Object.entries(errors as Readonly<Record<string, { status: number; type: string; message: string; hint?: string; retryable: boolean }>>);
  const rows = all.map(([code, { status, type, message, hint, retryable }]) => `| \`${code}\` | ${status} | \`${type}\` | ${retryable ? 'yes' : 'no'} | ${[message, hint].filter(Boolean).join(' ').replaceAll('|', '\\|')} |`);
  return ['| code | status | type | retry | message |', '|---|---|---|---|---|', ...rows, ''].join('\n');
}

/** The table of the admin API. */
export function apiTable(): string {
  const rows = resources.flatMap(({ path, what }) => Object.entries(what).map(([method, text]) => `| \`${method} ${path.replace(/:(\w+)\*?/g, (_, name: string) => name.toUpperCase().replaceAll('_', '-'))}\` | ${text.replaceAll('|', '\\|')} |`));
  return ['| below `/heimdall/api` | what it does |', '|---|---|', ...rows, ''].join('\n');
}

/** The tables by the name of the markers around them. */
const tables: Readonly<Record<string, () => string>> = { config: () => `${envTable()}\n${readmeTable()}`, metrics: metricsTable, events: eventsTable, errors: errorsTable, api: apiTable };

/** Documents with tables, from the root of the repository. */
export const documents: readonly string[] = ['types/README.md', 'lib/telemetry/README.md', 'lib/admin/README.md', 'lib/errors.md'];

interface Row {
  readonly name: string;
  readonly defaultText: string;
  readonly summary: string;
}

function rowsOf(section: Node, prefix: string): Row[] {
  return Object.entries(section.properties ?? {}).flatMap(([key, each]) => {
    const node = inner(each);
    const name = prefix + toSnake(key);
    if (node.properties)
      return [...(isNullable(each) ? [rowOf(name, { ...node, defaultText: 'none' })] : []), ...rowsOf(node, `${name}.`)];
    // A list item with the same keys as the section around it gets no rows of its own.
    const repeated = Object.keys(node.items?.properties ?? {}).every((item) => Object.hasOwn(section.properties ?? {}, item));
    const named = node.additionalProperties ? rowsOf(node.additionalProperties, `${name}.<name>.`) : [];
    return [rowOf(name, node), ...(node.items && !repeated ? rowsOf(node.items, `${name}[].`) : []), ...named];
  });
}

function rowOf(name: string, { defaultText = 'required', summary = '', file }: Node): Row {
  return { name, defaultText, summary: file ? `${summary}. Also as \`${name.replace(/^.*\./, '')}_file\`` : summary };
}

function table(first: string, rows: readonly Row[]): string {
  const lines = rows.map(
    ({ name, defaultText, summary }) => `| \`${name}\` | ${isLiteral(defaultText) ? `\`${defaultText}\`` : defaultText} | ${summary.replaceAll('|', '\\|')} |`,
  );
  return [`| ${first} | default | description |`, '|---|---|---|', ...lines, ''].join('\n');
}

/** Whether a default is a literal value, not an explanation in words. */
function isLiteral(defaultText: string): boolean {
  return /^(\[.*|\S+)$/.test(defaultText) && !['none', 'required', 'all'].includes(defaultText);
}

function nodeAt(at: readonly (string | number)[]): Node {
  return at.reduce<Node>((node, step) => inner(node).properties?.[step] ?? {}, ROOT);
}

/** The node itself, where a nullable node is a union with null. */
function inner(node: Node): Node {
  return isNullable(node) ? (node.anyOf?.[0] ?? node) : node;
}

function isNullable(node: Node): boolean {
  return node.anyOf !== undefined && node.summary === undefined;
}

/** Fills the tables of a document between their markers, such as `config:start` and `config:end`. */
export function fillDocument(text: string): string {
  return text.replace(/(<!-- (\w+):start -->\n)[^]*?(<!-- \2:end -->)/g, (all, start: string, name: string, end: string) => {
    const made = tables[name]?.();
    return made === undefined ? all : `${start}\n${made}\n${end}`;
  });
}

/** WebAssembly that is written as text, without the ending. */
export const modules = ['lib/http/json-walk', 'lib/record/md5'] as const;

/** The code of one of {@link modules}. */
export async function moduleOf(path: (typeof modules)[number]): Promise<string> {
  const { parseWat } = await (await import('wabt')).default();
  const name = `${path.slice(path.lastIndexOf('/') + 1)}.wat`;
  const { buffer } = parseWat(name, readFileSync(new URL(`../${path}.wat`, import.meta.url), 'utf8'), { simd: true }).toBinary({});
  return `// Generated from ${name} by test/generate.ts: change that, not this file.\n\n/** WebAssembly, in base64. */\nexport const code =\n  '${Buffer.from(buffer).toString('base64')}';\n`;
}

async function writeAll(): Promise<void> {
  for (const path of modules) writeFileSync(new URL(`../${path}.wasm.ts`, import.meta.url), await moduleOf(path));
  writeFileSync(new URL('../types/config.d.ts', import.meta.url), configTypes());
  writeFileSync(new URL('../types/heimdall.schema.json', import.meta.url), schemaJson());
  for (const path of documents) {
    const file = new URL(`../${path}`, import.meta.url);
    writeFileSync(file, fillDocument(readFileSync(file, 'utf8')));
  }
}

if (import.meta.main) await writeAll();

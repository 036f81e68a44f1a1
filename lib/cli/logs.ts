import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Position, SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { Query, RecordReader } from '../../types/reader.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { show } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { balanceOf, exportRecords, filters, groups, groupsOf, journalReader, measures, pageOf, readRequest, readWanted, search, SearchError, versionOf, type Wanted } from '../journal/journal.ts';
import { postgresReader } from '../postgres/postgres.ts';
import { type Cell, csvLine, jsonLine, recordColumns, recordOf, textOfCell } from '../record/record.ts';
import { printable } from '../redaction/redaction.ts';
import { journalPath, printJson, textOf, UsageError, type Action, type Invocation, type Option, type Output } from './command.ts';
import { table } from './table.ts';
import { numberOf, oneOf, wholeOf } from './values.ts';
import { systemClock } from '../platform/platform.ts';

const formats = ['table', 'json', 'jsonl', 'csv'] as const;
type Format = (typeof formats)[number];

/** Rows per query, and the interval of `--follow` in milliseconds. */
const pageSize = 1000;
const followInterval = 300;
/** How long a search for a text may take, milliseconds. */
const searchTime = 10_000;

const shown = ['timestamp', 'response_status', 'response_time', 'real_ip', 'key_id', 'token_key', 'model', 'target', 'outcome', 'prompt_tokens', 'completion_tokens', 'request_method', 'request_path'];

const filterOptions: Readonly<Record<string, Option>> = Object.fromEntries(
  Object.entries(filters).map(([name, { what: summary, example }]) => [name.replaceAll('_', '-'), { type: 'string', value: example.split(',')[0] ?? example, summary }] as const),
);

const sources = ['journal', 'postgres'] as const;
const path: Option = { type: 'string', value: 'FILE', summary: 'journal file (default: audit.path)' };
const readFrom: Option = { type: 'string', value: sources.join('|'), summary: 'records of this instance, or of all (default: admin.read_from)' };

/** What each way of the command takes beside filters; that of null lists records. */
const takes: ReadonlyMap<string | null, readonly string[]> = new Map([
  [null, ['grep', 'cursor', 'follow', 'format', 'limit', 'oldest', 'without-own', 'json']],
  ['by', ['sort', 'least', 'limit', 'format', 'without-own', 'json']],
  ['export', ['grep', 'format', 'without-own', 'json']],
  ['reconcile', ['json']],
]);

/** @throws UsageError for an option that would have no effect beside the others. */
function refuseIdle({ values }: Invocation): void {
  const beside = [...new Set([...takes.values()].flat()), 'reconcile', 'by', 'export'];
  const given = beside.filter((name) => values[name] !== undefined && values[name] !== false);
  const way = ['reconcile', 'by', 'export'].find((name) => given.includes(name)) ?? null;
  const idle = given.find((name) => name !== way && takes.get(way)?.includes(name) === false);
  if (idle === undefined) return;
  throw new UsageError(`--${idle}: ${way === null ? expectation('--by beside it', 'none', 'heimdall logs --by key --sort cost') : expectation(`no --${way} beside it`, 'both')}`);
}

/** The command `logs`: queries the journal. */
export const logs: Action = {
  options: {
    ...filterOptions,
    grep: { type: 'string', value: 'TEXT', summary: 'records whose bodies hold a text; stops after 10 s and says where to go on' },
    cursor: { type: 'string', value: 'ID', summary: 'go on behind the record at this position' },
    follow: { type: 'boolean', short: 'f', summary: 'keep printing new records' },
    format: { type: 'string', value: 'table|json|jsonl|csv', summary: 'output format (default: table)' },
    limit: { type: 'string', value: '50', summary: 'highest number of records (default: 50)' },
    oldest: { type: 'boolean', summary: 'print the oldest records first' },
    by: { type: 'string', value: 'FIELD', summary: `aggregate records by ${Object.keys(groups).join(', ')}` },
    sort: { type: 'string', value: 'NUMBER', summary: `with --by: sort by ${measures.join(', ')} (default: requests)` },
    least: { type: 'string', value: '2', summary: 'with --by: lowest value of the number in --sort' },
    export: { type: 'string', value: 'FILE', summary: 'write all matching records with their bodies to a file: csv by its ending, else jsonl' },
    reconcile: { type: 'boolean', summary: 'check that requests and reserved tokens balance' },
    'without-own': { type: 'boolean', summary: "leave out the gate's own requests, below admin.path and at endpoints.health and metrics" },
    'read-from': readFrom,
    path,
    json: { type: 'boolean', summary: 'print one JSON document, as --format json does; with --follow a line a record' },
  },
  examples: ['heimdall logs --follow', 'heimdall logs --from 24h --status 5xx', 'heimdall logs --by key --sort cost', 'heimdall logs --from 30d --export last-month.csv'],
  async run(invocation) {
    refuseIdle(invocation);
    const source = await sourceOf(invocation);
    try {
      const wanted = wantedOf(invocation);
      if (invocation.values['reconcile']) return await reconcile(source.reader, wanted, invocation);
      if (textOf(invocation, 'by') !== undefined) return await printGroups(source, invocation, wanted);
      const file = textOf(invocation, 'export');
      if (file !== undefined) return exportTo(journalIn(source, 'export'), source.without, invocation, wanted, file);
      return await list(source, invocation, wanted);
    } catch (error) {
      if (error instanceof SearchError) throw new UsageError(`--${error.message.replace(error.field, error.field.replaceAll('_', '-'))}`);
      throw error;
    } finally {
      if (!invocation.values['follow']) await source.close();
    }
  },
};

/** The command `logs show`: one record with its content. */
export const showLog: Action = {
  options: { 'read-from': readFrom, path, json: { type: 'boolean', summary: 'print JSON, which it does in any case' } },
  async run(invocation) {
    const source = await sourceOf(invocation);
    try {
      const [id = ''] = invocation.names;
      const record = await source.reader.request(id);
      if (record === null) throw new Error(`ID: ${expectation('the id of a recorded request (X-Request-Id)', show(id), '01999f3e-…')}`);
      printJson(invocation, record);
      return 0;
    } finally {
      await source.close();
    }
  },
};

/** Where records are read. */
interface Source {
  readonly reader: RecordReader;
  /** Null for PostgreSQL. */
  readonly db: DatabaseSync | null;
  /** Paths whose requests are left out. */
  readonly without: readonly string[] | null;
  close(): Promise<void> | void;
}

async function sourceOf(invocation: Invocation): Promise<Source> {
  const { loadConfig } = await import('../config/config.ts');
  const { ownPaths } = await import('../request/request.ts');
  const asked = oneOf(invocation, 'read-from', sources);
  const given = textOf(invocation, 'path');
  if (given !== undefined && asked === 'postgres') throw new UsageError(`--path: ${expectation('no --read-from postgres beside it', 'both')}`);
  const leaves = invocation.values['without-own'] === true;
  const config = given === undefined || asked === 'postgres' || leaves ? loadConfig(textOf(invocation, 'config')) : null;
  const without = leaves && config !== null ? ownPaths(config) : null;
  if (config !== null && given === undefined && (asked ?? config.admin.readFrom) === 'postgres') {
    const url = config.audit.postgres.readUrl ?? config.audit.postgres.url;
    if (url === null) throw new Error(`--read-from postgres: ${expectation('audit.postgres.url in the configuration', 'none', 'audit: { postgres: { url: "${DATABASE_URL}" } }')}`);
    const reader = postgresReader(url);
    return { reader, db: null, without, close: () => reader.close() };
  }
  const file = given ?? journalPath(config as NonNullable<typeof config>);
  if (!existsSync(file)) throw new Error(`audit.path: ${expectation('a journal', `${show(file)} (no such file)`, 'heimdall logs --path data/heimdall.db')}`);
  const db = new DatabaseSync(file, { readOnly: true });
  const reader = journalReader({ query: async (sql, values) => run(db, { sql, values: values ?? [] }), request: async (id) => readRequest(db, id), grep: async (wanted) => search(db, wanted), sum: async () => undefined });
  return { reader, db, without, close: () => db.close() };
}

/** The journal, for what PostgreSQL cannot do. */
function journalIn({ db }: Source, option: string): DatabaseSync {
  if (db === null) throw new UsageError(`--${option}: ${expectation('the journal of an instance', 'PostgreSQL', `--${option} … --read-from journal`)}`);
  return db;
}

function wantedOf({ values }: Invocation): Wanted {
  const wanted: Record<string, string> = {};
  for (const name of Object.keys(filters)) {
    const value = values[name.replaceAll('_', '-')];
    if (typeof value === 'string') wanted[name] = value;
  }
  return wanted;
}

const run = (db: DatabaseSync, { sql, values }: Query): readonly SqlRow[] => db.prepare(sql).all(...(values as Exclude<SqlValue, undefined>[])) as readonly SqlRow[];

async function list(source: Source, invocation: Invocation, wanted: Wanted): Promise<number | null> {
  const format = formatOf(invocation, 'table');
  const limit = wholeOf(invocation, 'limit', Number.MAX_SAFE_INTEGER, '50') ?? 50;
  const follow = invocation.values['follow'] === true;
  const order = invocation.values['oldest'] === true ? 'oldest' : 'newest';
  const cursor = cursorIn(invocation, source.reader);
  const text = textOf(invocation, 'grep');
  if (text === '') throw new UsageError(`--grep: ${expectation('a text', 'an empty one', 'connection refused')}`);
  if (text !== undefined && follow) throw new UsageError(`--grep: ${expectation('no --follow beside it', 'both')}`);
  const db = follow ? journalIn(source, 'follow') : null;
  const asked = { wanted, without: source.without, grep: text ?? null, limit, cursor, order, now: systemClock.now(), time: text === undefined ? Infinity : searchTime } as const;
  const { records, next, stopped } = await source.reader.search(asked);
  printRecords(follow && order === 'newest' ? [...records].reverse() : records, format, true, invocation.output);
  if ((text !== undefined || stopped) && next !== null) invocation.output.err(`${stopped ? `Stopped after ${searchTime / 1000} s` : `Stopped at ${records.length} records`}. Go on with --cursor ${next}\n`);
  if (db === null) return 0;
  follower(db, wanted, source.without, format, invocation.output, (order === 'newest' ? records[0] : records.at(-1))?.id ?? newest(db));
  return null;
}

function cursorIn(invocation: Invocation, reader: RecordReader): Position | null {
  const text = textOf(invocation, 'cursor');
  if (text === undefined) return null;
  const position = reader.position(text);
  if (position === null) throw new UsageError(`--cursor: ${expectation(reader.instances === 'all' ? 'the id of a request' : `a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`, show(text), reader.instances === 'all' ? '01999f3e-…' : '1200')}`);
  return position;
}

/** Position of the last record, where `--follow` starts when none was listed. */
const newest = (db: DatabaseSync): number => Number(run(db, { sql: 'SELECT coalesce(max(id), 0) AS id FROM heimdall_logs', values: [] })[0]?.['id'] ?? 0);

function follower(db: DatabaseSync, wanted: Wanted, without: Source['without'], format: Format, output: Output, from: number): void {
  let last = from;
  const timer = setInterval(() => {
    const rows = run(db, pageOf({ wanted, without, limit: pageSize, cursor: last, order: 'oldest', schema: versionOf(db), now: systemClock.now() }, recordColumns));
    if (rows.length === 0) return;
    last = Number(rows.at(-1)?.['id']);
    print(rows, format === 'json' ? 'jsonl' : format, false, output);
  }, followInterval);
  process.stdout.on('error', () => process.exit(0));
  process.once('SIGINT', () => {
    clearInterval(timer);
    db.close();
  });
}

const print = (rows: readonly SqlRow[], format: Format, head: boolean, output: Output): void => printRecords(rows.map(recordOf), format, head, output);

function printRecords(all: readonly AuditRecord[], format: Format, head: boolean, output: Output): void {
  const records = all as unknown as readonly Readonly<Record<string, Cell>>[];
  if (format === 'json') return output.out(`${JSON.stringify(records, null, 2)}\n`);
  if (format === 'jsonl') return output.out(records.map(jsonLine).join(''));
  const names = shown;
  if (format === 'csv') return output.out((head ? csvLine(names) : '') + records.map((record) => csvLine(names.map((name) => cellOf(record, name)))).join(''));
  const text = table(['TIME', 'STATUS', 'MS', 'ADDRESS', 'KEY', 'TOKEN', 'MODEL', 'TARGET', 'OUTCOME', 'IN', 'OUT', 'METHOD', 'PATH'], records.map((record) => names.map((name) => textOfCell(cellOf(record, name)))));
  output.out(head ? text : text.slice(text.indexOf('\n') + 1));
}

function cellOf(record: Readonly<Record<string, Cell>>, name: string): Cell {
  const value = record[name];
  return name === 'timestamp' ? new Date(Number(value) * 1000).toISOString().replace('.000', '') : value;
}

async function printGroups({ reader, without }: Source, invocation: Invocation, wanted: Wanted): Promise<number> {
  const { output } = invocation;
  const by = oneOf(invocation, 'by', Object.keys(groups) as (keyof typeof groups)[]) ?? 'key';
  const sort = oneOf(invocation, 'sort', measures) ?? 'requests';
  const rows = await reader.ask(groupsOf({ wanted, by, sort, least: numberOf(invocation, 'least', '2') ?? 0, limit: wholeOf(invocation, 'limit', Number.MAX_SAFE_INTEGER, '50') ?? 50, offset: 0, without, now: systemClock.now() }));
  const format = formatOf(invocation, 'table');
  if (format === 'json') output.out(`${JSON.stringify(rows, null, 2)}\n`);
  else if (format === 'jsonl') output.out(rows.map(jsonLine).join(''));
  else {
    const names = ['value', 'requests', 'keys', 'addresses', 'devices', 'errors', 'tokens', 'cost', 'per_minute', 'first_seen', 'last_seen'];
    const cells = rows.map((row) => names.map((name) => groupCell(name, row[name] as Cell)));
    output.out(format === 'csv' ? csvLine(names) + cells.map(csvLine).join('') : table([by.toUpperCase(), ...names.slice(1).map((name) => name.toUpperCase())], cells.map((line) => line.map(textOfCell))));
  }
  return 0;
}

function groupCell(name: string, value: Cell): Cell {
  if (name.endsWith('_seen')) return new Date(Number(value) * 1000).toISOString().replace('.000', '');
  return name === 'cost' || name === 'per_minute' ? Math.round(Number(value) * 1e6) / 1e6 : value;
}

/** Exports all matching records with their content, oldest first. */
function exportTo(db: DatabaseSync, without: Source['without'], invocation: Invocation, wanted: Wanted, file: string): number {
  const format = textOf(invocation, 'format') === undefined ? (file.endsWith('.csv') ? 'csv' : 'jsonl') : formatOf(invocation, 'jsonl');
  if (format !== 'csv' && format !== 'jsonl') throw new UsageError(`--format: ${expectation('csv or jsonl for an export', show(format))}`);
  // A wrong filter is refused before the file is emptied.
  readWanted(wanted, systemClock.now());
  const handle = openSync(file, 'w', 0o600);
  let done = 0;
  try {
    done = exportRecords(db, { wanted, format, grep: textOf(invocation, 'grep'), without, now: systemClock.now() }, (text) => void writeSync(handle, text), (read, total) => invocation.output.progress(read, total));
  } finally {
    closeSync(handle);
  }
  if (invocation.values['json']) printJson(invocation, { file, records: done });
  else invocation.output.err(`${done} records in ${printable(file)}\n`);
  return 0;
}

/** Checks that requests and reserved tokens balance. @returns the exit code: 1 when they do not. */
async function reconcile(reader: RecordReader, wanted: Wanted, invocation: Invocation): Promise<number> {
  const { output } = invocation;
  const [row = {}] = await reader.ask(balanceOf(wanted, systemClock.now()));
  const number = (name: string): number => Number(row[name] ?? 0);
  const ends = ['served', 'refused', 'errors', 'aborted', 'interrupted'];
  const ended = ends.reduce((sum, name) => sum + number(name), 0);
  const back = number('tokens_settled') + number('tokens_released');
  const whole = ended === number('requests') && back === number('tokens_reserved');
  if (invocation.values['json']) {
    printJson(invocation, { balanced: whole, requests: { in: number('requests'), ...Object.fromEntries(ends.map((name) => [name, number(name)])), ended }, tokens: { reserved: number('tokens_reserved'), settled: number('tokens_settled'), released: number('tokens_released') } });
    return whole ? 0 : 1;
  }
  output.out(table(['REQUESTS', ''], [['in', String(number('requests'))], ...ends.map((name) => [name, String(number(name))]), ['ended', String(ended)]]));
  output.out(table(['TOKENS', ''], ['tokens_reserved', 'tokens_settled', 'tokens_released'].map((name) => [name.slice(7), String(number(name))])));
  output.out(whole ? 'Balanced.\n' : 'NOT balanced.\n');
  return whole ? 0 : 1;
}

function formatOf(invocation: Invocation, fallback: Format): Format {
  if (invocation.values['json'] !== true) return oneOf(invocation, 'format', formats) ?? fallback;
  const text = textOf(invocation, 'format');
  if (text !== undefined && text !== 'json') throw new UsageError(`--json: ${expectation('no other --format beside it', show(text))}`);
  return 'json';
}

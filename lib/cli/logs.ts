import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { SqlRow, SqlValue } from '../../types/journal.d.ts';
import { show } from '../config/config.ts';
import { expectation } from '../errors.ts';
import { csvLine, harmless, jsonLine, textOfCell, type Cell } from './record-format.ts';
import { balanceOf, countOf, filters, groups, groupsOf, measures, pageOf, SearchError, type Query, type Wanted } from '../journal/journal.ts';
import { recordColumns, recordOf } from '../record/record.ts';
import { textOf, UsageError, type Command, type Given, type Option, type Say } from './command.ts';
import { table } from './table.ts';
import { numberOf } from './values.ts';

const formats = ['table', 'json', 'jsonl', 'csv'] as const;
type Format = (typeof formats)[number];

/** Rows read at a time, and how often a follower looks again, milliseconds. */
const pageSize = 1000;
const lookEvery = 300;

const shown = ['timestamp', 'response_status', 'response_time', 'real_ip', 'key_id', 'token_key', 'model', 'target', 'outcome', 'prompt_tokens', 'completion_tokens', 'request_method', 'request_path'];

const filterOptions: Readonly<Record<string, Option>> = Object.fromEntries(
  Object.entries(filters).map(([name, { what, example }]) => [name.replaceAll('_', '-'), { type: 'string', value: example.split(',')[0] ?? example, what }] as const),
);

/** What the journal holds. */
export const logs: Command = {
  name: 'logs',
  wants: [],
  what: 'what the journal holds: list, follow, put together, export, reconcile',
  options: {
    ...filterOptions,
    follow: { type: 'boolean', short: 'f', what: 'go on with what comes' },
    format: { type: 'string', value: 'table|json|jsonl|csv', what: 'table unless given; csv for a file' },
    limit: { type: 'string', value: '50', what: 'most records' },
    oldest: { type: 'boolean', what: 'the oldest first, as for a session’s timeline' },
    by: { type: 'string', value: Object.keys(groups).join('|'), what: 'put together by this' },
    sort: { type: 'string', value: measures.join('|'), what: 'with --by: in this order' },
    least: { type: 'string', value: '2', what: 'with --by: at least so many of what it is sorted by' },
    export: { type: 'string', value: 'FILE', what: 'all of them into a file; csv or jsonl by its ending' },
    reconcile: { type: 'boolean', what: 'whether what came in is what was answered, and tokens taken are tokens given back or used' },
    path: { type: 'string', value: 'FILE', what: 'the journal; else that of the configuration' },
  },
  async run(given) {
    const db = new DatabaseSync(await journalOf(given), { readOnly: true });
    try {
      const wanted = wantedOf(given);
      if (given.values['reconcile']) return reconcile(db, wanted, given.say);
      if (textOf(given, 'by') !== undefined) return put(db, given, wanted);
      const file = textOf(given, 'export');
      if (file !== undefined) return exportTo(db, given, wanted, file);
      return await list(db, given, wanted);
    } catch (error) {
      if (error instanceof SearchError) throw new UsageError(`--${error.message.replace(error.field, error.field.replaceAll('_', '-'))}`);
      throw error;
    } finally {
      if (!given.values['follow']) db.close();
    }
  },
};

async function journalOf(given: Given): Promise<string> {
  const { loadConfig } = await import('../config/config.ts');
  const path = textOf(given, 'path') ?? loadConfig(textOf(given, 'config')).audit.path;
  if (!existsSync(path)) throw new Error(`audit.path: ${expectation('a journal', `${show(path)}, where there is none`, 'heimdall logs --path data/heimdall.db')}`);
  return path;
}

function wantedOf({ values }: Given): Wanted {
  const wanted: Record<string, string> = {};
  for (const name of Object.keys(filters)) {
    const value = values[name.replaceAll('_', '-')];
    if (typeof value === 'string') wanted[name] = value;
  }
  return wanted;
}

const run = (db: DatabaseSync, { sql, values }: Query): readonly SqlRow[] => db.prepare(sql).all(...(values as Exclude<SqlValue, undefined>[])) as readonly SqlRow[];

async function list(db: DatabaseSync, given: Given, wanted: Wanted): Promise<number | null> {
  const format = formatOf(given, 'table');
  const limit = numberOf(given, 'limit', '50') ?? 50;
  const follow = given.values['follow'] === true;
  const order = given.values['oldest'] === true ? 'oldest' : 'newest';
  const rows = run(db, pageOf({ wanted, limit, cursor: null, order, now: Date.now() }, recordColumns));
  const printed = follow && order === 'newest' ? [...rows].reverse() : rows;
  print(printed, format, true, given.say);
  if (!follow) return 0;
  follower(db, wanted, format, given.say, Number(printed.at(-1)?.['id'] ?? newest(db)));
  return null;
}

/** A record that was never listed begins behind the last there is. */
const newest = (db: DatabaseSync): number => Number(run(db, { sql: 'SELECT coalesce(max(id), 0) AS id FROM heimdall_logs', values: [] })[0]?.['id'] ?? 0);

function follower(db: DatabaseSync, wanted: Wanted, format: Format, say: Say, from: number): void {
  let last = from;
  const timer = setInterval(() => {
    const rows = run(db, pageOf({ wanted, limit: pageSize, cursor: last, order: 'oldest', now: Date.now() }, recordColumns));
    if (rows.length === 0) return;
    last = Number(rows.at(-1)?.['id']);
    print(rows, format === 'json' ? 'jsonl' : format, false, say);
  }, lookEvery);
  process.stdout.on('error', () => process.exit(0));
  process.once('SIGINT', () => {
    clearInterval(timer);
    db.close();
  });
}

function print(rows: readonly SqlRow[], format: Format, head: boolean, say: Say): void {
  const records = rows.map((row) => recordOf(row) as unknown as Readonly<Record<string, Cell>>);
  if (format === 'json') return say.out(`${JSON.stringify(records, null, 2)}\n`);
  if (format === 'jsonl') return say.out(records.map(jsonLine).join(''));
  const names = shown;
  if (format === 'csv') return say.out((head ? csvLine(names) : '') + records.map((record) => csvLine(names.map((name) => cellOf(record, name)))).join(''));
  const text = table(['TIME', 'STATUS', 'MS', 'ADDRESS', 'KEY', 'TOKEN', 'MODEL', 'TARGET', 'OUTCOME', 'IN', 'OUT', 'METHOD', 'PATH'], records.map((record) => names.map((name) => textOfCell(cellOf(record, name)))));
  say.out(head ? text : text.slice(text.indexOf('\n') + 1));
}

function cellOf(record: Readonly<Record<string, Cell>>, name: string): Cell {
  const value = record[name];
  return name === 'timestamp' ? new Date(Number(value) * 1000).toISOString().replace('.000', '') : value;
}

function put(db: DatabaseSync, given: Given, wanted: Wanted): number {
  const { say } = given;
  const by = oneOf(given, 'by', Object.keys(groups) as (keyof typeof groups)[], 'key');
  const sort = oneOf(given, 'sort', measures, 'requests');
  const rows = run(db, groupsOf({ wanted, by, sort, least: numberOf(given, 'least', '2') ?? 0, limit: numberOf(given, 'limit', '50') ?? 50, offset: 0, now: Date.now() }));
  const format = formatOf(given, 'table');
  if (format === 'json') say.out(`${JSON.stringify(rows, null, 2)}\n`);
  else if (format === 'jsonl') say.out(rows.map(jsonLine).join(''));
  else {
    const names = ['value', 'requests', 'keys', 'addresses', 'devices', 'errors', 'tokens', 'cost', 'per_minute', 'first_seen', 'last_seen'];
    const cells = rows.map((row) => names.map((name) => groupCell(name, row[name] as Cell)));
    say.out(format === 'csv' ? csvLine(names) + cells.map(csvLine).join('') : table([by.toUpperCase(), ...names.slice(1).map((name) => name.toUpperCase())], cells.map((line) => line.map(textOfCell))));
  }
  return 0;
}

function groupCell(name: string, value: Cell): Cell {
  if (name.endsWith('_seen')) return new Date(Number(value) * 1000).toISOString().replace('.000', '');
  return name === 'cost' || name === 'per_minute' ? Math.round(Number(value) * 1e6) / 1e6 : value;
}

/** Everything that fits, page by page, oldest first; how far it is stands on a terminal's standard error. */
function exportTo(db: DatabaseSync, given: Given, wanted: Wanted, path: string): number {
  const format = formatOf(given, path.endsWith('.csv') ? 'csv' : 'jsonl');
  if (format !== 'csv' && format !== 'jsonl') throw new UsageError(`--format: ${expectation('csv or jsonl for an export', show(format))}`);
  const now = Date.now();
  const total = Number(run(db, countOf(wanted, now))[0]?.['records'] ?? 0);
  const file = openSync(path, 'w', 0o600);
  const names = recordColumns.split(', ');
  let done = 0;
  try {
    if (format === 'csv') writeSync(file, csvLine(names));
    for (let cursor: number | null = null; ; ) {
      const rows = run(db, pageOf({ wanted, limit: pageSize, cursor, order: 'oldest', now }, recordColumns));
      if (rows.length === 0) break;
      const records = rows.map((row) => recordOf(row) as unknown as Readonly<Record<string, Cell>>);
      writeSync(file, records.map((record) => (format === 'csv' ? csvLine(names.map((name) => record[name])) : jsonLine(record))).join(''));
      cursor = Number(rows.at(-1)?.['id']);
      done += rows.length;
      progress(given.say, done, total);
    }
  } finally {
    closeSync(file);
  }
  given.say.err(`${process.stderr.isTTY ? '\n' : ''}${done} records in ${harmless(path)}\n`);
  return 0;
}

function progress(say: Say, done: number, total: number): void {
  if (!process.stderr.isTTY) return;
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const width = 30;
  say.err(`\r[${'='.repeat(Math.round(share * width)).padEnd(width)}] ${Math.round(share * 100)}% ${done}/${total}`);
}

/** @returns 1 when something is missing. */
function reconcile(db: DatabaseSync, wanted: Wanted, say: Say): number {
  const [row = {}] = run(db, balanceOf(wanted, Date.now()));
  const number = (name: string): number => Number(row[name] ?? 0);
  const ends = ['served', 'refused', 'errors', 'aborted', 'interrupted'];
  const ended = ends.reduce((sum, name) => sum + number(name), 0);
  const back = number('tokens_settled') + number('tokens_released');
  say.out(table(['REQUESTS', ''], [['in', String(number('requests'))], ...ends.map((name) => [name, String(number(name))]), ['ended', String(ended)]]));
  say.out(table(['TOKENS', ''], ['tokens_reserved', 'tokens_settled', 'tokens_released'].map((name) => [name.slice(7), String(number(name))])));
  const whole = ended === number('requests') && back === number('tokens_reserved');
  say.out(whole ? 'Balanced.\n' : 'NOT balanced.\n');
  return whole ? 0 : 1;
}

const formatOf = (given: Given, fallback: Format): Format => oneOf(given, 'format', formats, fallback);

function oneOf<T extends string>(given: Given, name: string, words: readonly T[], fallback: T): T {
  const text = textOf(given, name) ?? fallback;
  const found = words.find((word) => word === text);
  if (found === undefined) throw new UsageError(`--${name}: ${expectation(`one of ${words.join(', ')}`, show(text))}`);
  return found;
}

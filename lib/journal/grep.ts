import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { JournalSearch, SearchFound, SqlRow, TextSearch } from '../../types/journal.d.ts';
import { recordColumns, recordOf, textOfContent } from '../record/record.ts';
import { versionOf } from './schema.ts';
import { momentOf, nextWidth, pageOf } from './search.ts';

/** Records that are read at a time. */
const step = 200;
/** Positions that are looked through at a time, at first the fewest. */
const leastWidth = 2000;
const mostWidth = 500_000;
/** Records are in the order in which requests ended; this many seconds one may have lasted that is looked for by its time. */
const longest = 6 * 3600;
/** The first records of a time whose positions are compared, and by how much the lowest may be undercut. */
const compared = 2000;

/**
 * Searches by filters, and for a text in bodies where one is given, until `limit` records are found, or the time is over.
 * @throws SearchError naming the filter.
 */
export const search = (db: DatabaseSync, asked: JournalSearch): SearchFound => (asked.grep === null ? list(db, asked) : grep(db, { ...asked, grep: asked.grep }));

/** A page of records, looked for in stretches of the journal. */
function list(db: DatabaseSync, { wanted, limit, cursor, order, now, time, last = null, without = null, callers = null }: JournalSearch): SearchFound {
  const until = performance.now() + time;
  const schema = versionOf(db);
  const { low, high } = reachOf(db, wanted, now);
  const isNewest = order === 'newest';
  const records: SearchFound['records'][number][] = [];
  let at = isNewest ? Math.min(cursor ?? Infinity, high + 1) : Math.max(cursor ?? 0, low - 1);
  for (let width = leastWidth; ; ) {
    const begun = performance.now();
    const edge = isNewest ? at - width : at + width;
    const bounds = isNewest ? { first: edge, last: Math.min(high, last ?? high) } : { first: low, last: Math.min(edge, last ?? edge) };
    const { sql, values } = pageOf({ wanted, limit: limit - records.length, cursor: at, order, schema, now, without, callers, ...bounds }, recordColumns);
    records.push(...(db.prepare(sql).all(...values) as SqlRow[]).map(recordOf));
    if (records.length >= limit) return { records, next: records.at(-1)?.id ?? null, stopped: false };
    if (isNewest ? edge <= low : edge >= Math.min(high, last ?? high)) return { records, next: null, stopped: false };
    at = edge;
    const ended = performance.now();
    if (ended >= until) return { records, next: at, stopped: true };
    width = Math.min(mostWidth, Math.max(leastWidth, Math.floor(nextWidth(width, ended - begun, until - ended))));
  }
}

/** The positions between which records of a time are: the index by time tells, and the journal is not read up to there. */
function reachOf(db: DatabaseSync, { from, to }: JournalSearch['wanted'], now: number): { readonly low: number; readonly high: number } {
  const number = (sql: string, ...values: number[]): number | null => (db.prepare(sql).get(...values) as { n: number | null } | undefined)?.n ?? null;
  const seconds = (text: string | undefined): number | null => (text === undefined ? null : momentOf(text, now));
  const [begin, end] = [seconds(from), seconds(to)];
  const high = number('SELECT max(id) AS n FROM heimdall_logs') ?? 0;
  const low = number('SELECT min(id) AS n FROM heimdall_logs') ?? 0;
  const lowest = begin === null ? null : number('SELECT min(id) AS n FROM (SELECT id FROM heimdall_logs WHERE timestamp >= ? ORDER BY timestamp LIMIT ?)', Math.floor(begin / 1000), compared);
  const highest = end === null ? null : number('SELECT id AS n FROM heimdall_logs WHERE timestamp >= ? ORDER BY timestamp LIMIT 1', Math.floor(end / 1000) + longest);
  return { low: begin !== null && lowest === null ? high + 1 : Math.max(low, (lowest ?? low) - compared), high: Math.min(high, highest ?? high) };
}

/**
 * Searches what is kept of bodies for a text, as it was said or as JSON writes it. A record is found by what is new in it: its newest
 * turn, the texts that no earlier record had, and its answer.
 * @returns at most `limit` records without their content, and where to go on.
 * @throws SearchError naming the filter.
 */
export function grep(db: DatabaseSync, { wanted, grep: text, limit, cursor, order, now, time, last = null, without = null, callers = null }: TextSearch): SearchFound {
  const until = performance.now() + time;
  const matches = matcher(db, text);
  const schema = versionOf(db);
  const records: SearchFound['records'][number][] = [];
  let next = cursor;
  for (;;) {
    const { sql, values } = pageOf({ wanted, limit: step, cursor: next, order, schema, now, last, without, callers, whole: true }, recordColumns);
    const rows = db.prepare(sql).all(...values) as SqlRow[];
    for (const row of rows) {
      next = Number(row['id']);
      if (matches(row)) records.push(recordOf({ ...row, request_headers: null, request_body: null, response_body: null, cookies: null }));
      if (records.length === limit) return { records, next, stopped: false };
      if (performance.now() >= until) return { records, next, stopped: true };
    }
    if (rows.length < step) return { records, next: null, stopped: false };
  }
}

/** Tells whether a record with its content holds a text. */
export function matcher(db: DatabaseSync, text: string): (row: SqlRow) => boolean {
  const spellings = [...new Set([text, JSON.stringify(text).slice(1, -1)])];
  const holds = (value: unknown): boolean => typeof value === 'string' && spellings.some((each) => value.includes(each));
  const texts = versionOf(db) > 1 ? db.prepare('SELECT content FROM heimdall_texts WHERE record = ?') : null;
  return (row) => holds(row['request_body']) || holds(row['response_body']) || (texts !== null && contentsOf(texts, Number(row['id'])).some(holds));
}

function contentsOf(texts: StatementSync, record: number): string[] {
  return (texts.all(record) as { content: Uint8Array | null }[]).flatMap(({ content }) => (content === null ? [] : [textOfContent(content)]));
}

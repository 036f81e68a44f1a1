import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { JournalSearch, SearchFound, SqlRow, TextSearch } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { recordColumns, recordOf, textOfContent } from '../record/record.ts';
import { versionOf } from './schema.ts';
import { Places } from './places.ts';
import { momentOf, nextWidth, pageOf, readWanted, wantsOf } from './search.ts';

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

/** A page of records. */
function list(db: DatabaseSync, asked: JournalSearch): SearchFound {
  const records: AuditRecord[] = [];
  return { records, ...look(db, asked, { whole: false, size: () => asked.limit - records.length, take: (row) => records.push(recordOf(row)) >= asked.limit }) };
}

/** What is done with the records that pass the filters. */
interface Looking {
  /** Their content is read. */
  readonly whole: boolean;
  /** Records that are read at a time. */
  readonly size: () => number;
  /** @returns whether there are enough. */
  readonly take: (row: SqlRow) => boolean;
}

/** Looks for records in stretches of the journal, and where it is known where they may be, there alone. */
function look(db: DatabaseSync, asked: JournalSearch, { whole, size, take }: Looking): Pick<SearchFound, 'next' | 'stopped'> {
  const { wanted, cursor, order, now, time, last = null, without = null, callers = null } = asked;
  const until = performance.now() + time;
  const schema = versionOf(db);
  readWanted(wanted, now);
  const { low, high, places } = reachOf(db, asked);
  const top = Math.min(high, last ?? high);
  const isNewest = order === 'newest';
  let at = isNewest ? Math.min(cursor ?? Infinity, top + 1) : Math.max(cursor ?? 0, low - 1);
  for (let width = leastWidth; ; ) {
    const position = isNewest ? at - 1 : at + 1;
    if (isNewest ? position < low : position > top) return { next: null, stopped: false };
    const begun = performance.now();
    const stretch = places.next(position, isNewest ? Math.max(low, at - width) : Math.min(top, at + width));
    for (let behind = at; stretch.ids?.length !== 0; ) {
      const limit = size();
      const { sql, values } = pageOf({ wanted, limit, cursor: behind, order, schema, now, without, callers, whole, first: stretch.first, last: Math.min(stretch.last, top), ids: stretch.ids }, recordColumns);
      const rows = db.prepare(sql).all(...values) as SqlRow[];
      for (const row of rows) {
        behind = Number(row['id']);
        if (take(row)) return { next: behind, stopped: false };
        if (performance.now() >= until) return { next: behind, stopped: true };
      }
      if (rows.length < limit) break;
    }
    at = isNewest ? stretch.first : stretch.last;
    const ended = performance.now();
    if (ended >= until) return { next: at, stopped: true };
    if (stretch.ids === null) width = Math.min(mostWidth, Math.max(leastWidth, Math.floor(nextWidth(stretch.last - stretch.first + 1, ended - begun, until - ended))));
  }
}

/** The positions between which records may be: the index by time tells, and the journal is not read up to there; and what is known of their places. */
function reachOf(db: DatabaseSync, { wanted, callers = null, now }: JournalSearch): { readonly low: number; readonly high: number; readonly places: Places } {
  const { from, to, request_id: id } = wanted;
  const number = (sql: string, ...values: (number | string)[]): number | null => (db.prepare(sql).get(...values) as { n: number | null } | undefined)?.n ?? null;
  const seconds = (text: string | undefined): number | null => (text === undefined ? null : momentOf(text, now));
  const [begin, end] = [seconds(from), seconds(to)];
  const at = (moment: number | null): number | null => (moment === null ? null : Math.floor(moment / 1000));
  const places = new Places(db, wantsOf(wanted, callers), at(begin), at(end));
  if (id !== undefined) {
    const only = number('SELECT id AS n FROM heimdall_logs WHERE request_id = ?', id);
    return { low: only ?? 1, high: only ?? 0, places };
  }
  const high = number('SELECT max(id) AS n FROM heimdall_logs') ?? 0;
  const low = number('SELECT min(id) AS n FROM heimdall_logs') ?? 0;
  const lowest = begin === null ? null : number('SELECT min(id) AS n FROM (SELECT id FROM heimdall_logs WHERE timestamp >= ? ORDER BY timestamp LIMIT ?)', Math.floor(begin / 1000), compared);
  const highest = end === null ? null : number('SELECT id AS n FROM heimdall_logs WHERE timestamp >= ? ORDER BY timestamp LIMIT 1', Math.floor(end / 1000) + longest);
  return { low: begin !== null && lowest === null ? high + 1 : Math.max(low, (lowest ?? low) - compared), high: Math.min(high, highest ?? high), places };
}

/**
 * Searches what is kept of bodies for a text, as it was said or as JSON writes it. A record is found by what is new in it: its newest
 * turn, the texts that no earlier record had, and its answer.
 * @returns at most `limit` records without their content, and where to go on.
 * @throws SearchError naming the filter.
 */
export function grep(db: DatabaseSync, asked: TextSearch): SearchFound {
  const matches = matcher(db, asked.grep);
  const records: AuditRecord[] = [];
  const take = (row: SqlRow): boolean => matches(row) && records.push(recordOf({ ...row, request_headers: null, request_body: null, response_body: null, cookies: null })) >= asked.limit;
  return { records, ...look(db, asked, { whole: true, size: () => step, take }) };
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

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { JournalSearch, SearchFound, SqlRow } from '../../types/journal.d.ts';
import { recordColumns, recordOf, textOfContent } from '../record/record.ts';
import { versionOf } from './schema.ts';
import { pageOf } from './search.ts';

/** Records that are read at a time. */
const step = 200;

/**
 * Searches what is kept of bodies for a text, as it was said or as JSON writes it. A record is found by what is new in it: its newest
 * turn, the texts that no earlier record had, and its answer.
 * @returns at most `limit` records without their content, and where to go on.
 * @throws SearchError naming the filter.
 */
export function grep(db: DatabaseSync, { wanted, grep: text, limit, cursor, order, now, time }: JournalSearch): SearchFound {
  const until = performance.now() + time;
  const matches = matcher(db, text);
  const schema = versionOf(db);
  const records: SearchFound['records'][number][] = [];
  let next = cursor;
  for (;;) {
    const { sql, values } = pageOf({ wanted, limit: step, cursor: next, order, schema, now, whole: true }, recordColumns);
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

import type { DatabaseSync } from 'node:sqlite';
import type { SqlRow } from '../../types/journal.d.ts';
import type { Query } from '../../types/reader.d.ts';
import { type Cell, csvLine, jsonLine, recordColumns } from '../record/record.ts';
import { matcher } from './grep.ts';
import { wholeRecord } from './query.ts';
import { versionOf } from './schema.ts';
import { countOf, pageOf, sqlite, type Wanted } from './search.ts';

/** Records that are read at a time: each may be megabytes. */
const atOnce = 100;

/** What is exported. */
export interface Exporting {
  readonly wanted: Wanted;
  readonly format: 'csv' | 'jsonl';
  /** Only records whose bodies hold this text. */
  readonly grep?: string | undefined;
  /** Leaves out requests of these paths and of what is below them. */
  readonly without?: readonly string[] | null;
  /** Unix milliseconds. */
  readonly now: number;
}

/**
 * Exports all matching records with their content, the oldest first.
 * @param write takes text. @param told is called with how many records are read, of how many.
 * @returns the records that were written.
 * @throws SearchError naming the filter.
 */
export function exportRecords(db: DatabaseSync, { wanted, format, grep, without = null, now }: Exporting, write: (text: string) => void, told: (done: number, total: number) => void): number {
  const run = ({ sql, values }: Query): SqlRow[] => db.prepare(sql).all(...values) as SqlRow[];
  const total = Number(run(countOf(wanted, now, without)(sqlite))[0]?.['records'] ?? 0);
  const names = recordColumns.split(', ');
  const recordFrom = wholeRecord(db);
  const matches = grep === undefined ? () => true : matcher(db, grep);
  const schema = versionOf(db);
  if (format === 'csv') write(csvLine(names));
  let done = 0;
  let written = 0;
  told(0, total);
  for (let cursor: number | null = null; ; ) {
    const rows = run(pageOf({ wanted, limit: atOnce, cursor, order: 'oldest', schema, whole: true, without, now }, `${recordColumns}${schema > 1 ? ', request_texts' : ''}`));
    if (rows.length === 0) return written;
    const records = rows.filter(matches).map((row) => recordFrom(row) as unknown as Readonly<Record<string, Cell>>);
    write(records.map((record) => (format === 'csv' ? csvLine(names.map((name) => record[name])) : jsonLine(record))).join(''));
    cursor = Number(rows.at(-1)?.['id']);
    done += rows.length;
    written += records.length;
    told(done, total);
  }
}

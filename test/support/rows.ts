import { DatabaseSync } from 'node:sqlite';
import type { SqlRow } from '../../types/journal.d.ts';
import type { Query, Question } from '../../types/reader.d.ts';
import { signerOf } from '../../lib/journal/hash-chain.ts';
import { migrate } from '../../lib/journal/schema.ts';
import { sqlite } from '../../lib/journal/search.ts';
import { names, type RecordRow } from '../../lib/record/columns.ts';

/** Noon of the day everything in these tests happens on. */
export const noon = Date.UTC(2026, 10, 22, 12) / 1000;

const plain: RecordRow = Object.fromEntries(names.map((name) => [name, null])) as RecordRow;

/** A journal with these records, each laid over an ordinary one; a minute apart unless they say otherwise. */
export function journalOf(path: string, records: readonly Partial<RecordRow>[]): DatabaseSync {
  const db = new DatabaseSync(path);
  migrate(db, signerOf('a secret of these tests'), 0);
  const insert = db.prepare(`INSERT INTO heimdall_logs (${names.join(', ')}, digest) VALUES (${names.map((name) => `:${name}`).join(', ')}, '')`);
  db.exec('BEGIN');
  for (const [at, record] of records.entries()) {
    const row = {
      ...plain, id: at + 1, request_id: `request-${at + 1}`, timestamp: noon + at * 60, request_method: 'POST', request_path: '/v1/chat/completions', route: '/v1/chat/completions',
      real_ip: '192.0.2.1', forwarded_for: '', device_fingerprint: 'd1'.repeat(32), session: '5e55'.repeat(4), response_status: 200, response_time: 12, stream: 0, attempts: 1, outcome: 'served',
      queue_wait: 0, bytes_in: 1, bytes_out: 1, source: 'gate', ...record,
    };
    insert.run(Object.fromEntries(Object.entries(row).map(([name, value]) => [`:${name}`, value])));
  }
  db.exec('COMMIT');
  return db;
}

/** A question in the words of a journal. */
export const inJournal = (asked: Query | Question): Query => (typeof asked === 'function' ? asked(sqlite) : asked);

/** All rows of a query. */
export function rowsOf(db: DatabaseSync, asked: Query | Question): readonly SqlRow[] {
  const { sql, values } = inJournal(asked);
  return db.prepare(sql).all(...values) as readonly SqlRow[];
}

import type { DatabaseSync } from 'node:sqlite';
import type { SqlRow } from '../../types/journal.d.ts';
import { type CallName, type Calls, type FromWorker, recordColumns, recordOf } from '../record/record.ts';

type Call = { readonly call: number; readonly name: CallName; readonly ask: unknown };

/** The calls that only read. */
const reading: { readonly [N in 'read' | 'query' | 'cursor']: (db: DatabaseSync, ask: Calls[N]['ask']) => Calls[N]['answer'] } = {
  read: (db, { after, limit }) => (db.prepare(`SELECT ${recordColumns} FROM heimdall_logs WHERE id > ? ORDER BY id LIMIT ?`).all(after, limit) as SqlRow[]).map(recordOf),
  query: (db, { sql, values }) => db.prepare(sql).all(...values) as SqlRow[],
  cursor: (db, { sink }) => (db.prepare('SELECT record FROM heimdall_cursors WHERE sink = ?').get(sink) as { record: number } | undefined)?.record ?? 0,
};

/** Answers what only reads; an error goes back to who asked. */
export function answerer(db: () => DatabaseSync): (call: Call, tell: (message: FromWorker) => void) => void {
  return ({ call, name, ask }, tell) => {
    try {
      const read = Object.hasOwn(reading, name) ? (reading[name as keyof typeof reading] as (db: DatabaseSync, ask: unknown) => unknown) : undefined;
      if (read === undefined) throw new Error(`the journal has no call ${name}`);
      tell({ kind: 'answer', call, value: read(db(), ask) });
    } catch (error) {
      tell({ kind: 'refused', call, message: error instanceof Error ? error.message : String(error) });
    }
  };
}

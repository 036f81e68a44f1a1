import type { DatabaseSync } from 'node:sqlite';
import type { SqlRow } from '../../types/journal.d.ts';
import { type CallName, type FromWorker, recordColumns, recordOf, type WorkerCalls } from '../record/record.ts';

type Call = { readonly call: number; readonly name: CallName; readonly request: unknown };

/** The calls that only read. */
const reading: { readonly [N in 'read' | 'query' | 'cursor']: (db: DatabaseSync, request: WorkerCalls[N]['request']) => WorkerCalls[N]['result'] } = {
  read: (db, { after, limit }) => (db.prepare(`SELECT ${recordColumns} FROM heimdall_logs WHERE id > ? ORDER BY id LIMIT ?`).all(after, limit) as SqlRow[]).map(recordOf),
  query: (db, { sql, values }) => db.prepare(sql).all(...values) as SqlRow[],
  cursor: (db, { sink }) => (db.prepare('SELECT record FROM heimdall_cursors WHERE sink = ?').get(sink) as { record: number } | undefined)?.record ?? 0,
};

/** Answers the calls that only read; an error is sent back to the caller. */
export function answerer(db: () => DatabaseSync): (call: Call, send: (message: FromWorker) => void) => void {
  return ({ call, name, request }, send) => {
    try {
      const read = Object.hasOwn(reading, name) ? (reading[name as keyof typeof reading] as (db: DatabaseSync, request: unknown) => unknown) : undefined;
      if (read === undefined) throw new Error(`the journal has no call ${name}`);
      send({ kind: 'result', call, value: read(db(), request) });
    } catch (error) {
      send({ kind: 'error', call, message: error instanceof Error ? error.message : String(error) });
    }
  };
}

import type { DatabaseSync } from 'node:sqlite';
import type { PackedRecords, SqlRow } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { briefBody, type CallName, type FromWorker, type Lookup, recordColumns, recordOf, wholeBody, type WorkerCalls } from '../record/record.ts';
import { search } from './grep.ts';
import { versionOf } from './schema.ts';
import { requestOf } from './search.ts';
import { headerReader, textLookup } from './texts.ts';

type Call = { readonly call: number; readonly name: CallName; readonly request: unknown };

type Reading = 'read' | 'query' | 'cursor' | 'request' | 'grep';

/** The calls that only read. */
const reading: { readonly [N in Reading]: (db: DatabaseSync, request: WorkerCalls[N]['request']) => WorkerCalls[N]['result'] } = {
  read: (db, { after, limit }) => (db.prepare(`SELECT ${recordColumns}, request_texts FROM heimdall_logs WHERE id > ? ORDER BY id LIMIT ?`).all(after, limit) as SqlRow[]).map(recordReader(textLookup(db), briefBody)),
  query: (db, { sql, values }) => db.prepare(sql).all(...values) as SqlRow[],
  cursor: (db, { sink }) => (db.prepare('SELECT record FROM heimdall_cursors WHERE sink = ?').get(sink) as { record: number } | undefined)?.record ?? 0,
  request: (db, { id }) => readRequest(db, id),
  grep: search,
};

/** One record with its content, the request put together again. Works on journals of every schema. */
export function readRequest(db: DatabaseSync, id: string): AuditRecord | null {
  const { sql, values } = requestOf(id, `${recordColumns}, request_texts`, versionOf(db));
  const row = db.prepare(sql).get(...values) as SqlRow | undefined;
  return row === undefined ? null : wholeRecord(db)(row);
}

/** Makes records of rows with `request_texts`: the requests are put together again. */
export const wholeRecord = (db: DatabaseSync): ((row: SqlRow) => AuditRecord) => recordReader(versionOf(db) > 1 ? textLookup(db) : () => null, wholeBody);

function recordReader(lookup: Lookup, body: typeof wholeBody): (row: SqlRow) => AuditRecord {
  const headersOf = headerReader(lookup);
  return ({ request_texts: places, ...row }) => {
    const { request_headers: headers = null, request_body: text = null } = row;
    return recordOf({ ...row, request_headers: headersOf(headers), request_body: typeof places === 'string' && typeof text === 'string' ? body(text, places, lookup) : text });
  };
}

/** Loads the module that knows the form, then reads and packs at once. */
async function packed(db: () => DatabaseSync, { first, last, packing: { module, options } }: WorkerCalls['pack']['request']): Promise<PackedRecords> {
  const { pack } = (await import(module)) as { pack(records: readonly AuditRecord[], options: unknown): PackedRecords };
  const records = reading.read(db(), { after: first - 1, limit: last - first + 1 });
  return pack(records.filter(({ id }) => id <= last), options);
}

/** Answers the calls that only read; an error is sent back to the caller. */
export function answerer(db: () => DatabaseSync): (call: Call, send: (message: FromWorker) => void) => void {
  return ({ call, name, request }, send) => {
    if (name === 'pack') {
      packed(db, request as WorkerCalls['pack']['request']).then((value) => send({ kind: 'result', call, value }), (error: unknown) => send({ kind: 'error', call, message: String(error) }));
      return;
    }
    try {
      const read = Object.hasOwn(reading, name) ? (reading[name as Reading] as (db: DatabaseSync, request: unknown) => unknown) : undefined;
      if (read === undefined) throw new Error(`the journal has no call ${name}`);
      send({ kind: 'result', call, value: read(db(), request) });
    } catch (error) {
      send({ kind: 'error', call, message: error instanceof Error ? error.message : String(error) });
    }
  };
}

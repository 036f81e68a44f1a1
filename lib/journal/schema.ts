import type { DatabaseSync } from 'node:sqlite';
import { columns } from '../record/record.ts';

/** What the chain needs beside the record: never part of a record. */
const ours = ['salt TEXT', 'digest TEXT NOT NULL', 'body_digest TEXT', 'erasure INTEGER', 'deleted_at DATETIME'];

/**
 * Steps from one `user_version` to the next; only ever added to. Ids are ours, so that they grow without a gap. Every index
 * grows at its end, request ids beginning with the time: one by address, token or device would cost a record twelve
 * microseconds where there are many of them. Those are looked for in the last index, which is a tenth of the table.
 */
const migrations: readonly string[] = [
  `CREATE TABLE heimdall_logs (${[...columns.map(({ name, type }) => `${name} ${type}`), ...ours].join(', ')});
   CREATE UNIQUE INDEX heimdall_logs_request ON heimdall_logs (request_id);
   CREATE INDEX heimdall_logs_time ON heimdall_logs (timestamp);
   CREATE INDEX heimdall_logs_search ON heimdall_logs (id, timestamp, deleted_at, erasure, key_id, token_id, real_ip, device_fingerprint);
   CREATE TABLE heimdall_batches (batch INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, time INTEGER NOT NULL, hash TEXT NOT NULL, signature TEXT NOT NULL);
   CREATE TABLE heimdall_checkpoints (batch INTEGER NOT NULL, record INTEGER NOT NULL, time INTEGER NOT NULL, hash TEXT NOT NULL, key TEXT NOT NULL, signature TEXT NOT NULL, UNIQUE (batch, hash));
   CREATE TABLE heimdall_erasures (erasure INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, records INTEGER NOT NULL, ids TEXT NOT NULL, signature TEXT NOT NULL);
   CREATE TABLE heimdall_marks (name TEXT PRIMARY KEY, batch INTEGER NOT NULL, record INTEGER NOT NULL, hash TEXT NOT NULL, signature TEXT NOT NULL);
   CREATE TABLE heimdall_intents (request_id TEXT PRIMARY KEY, session TEXT NOT NULL, draft TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE heimdall_cursors (sink TEXT PRIMARY KEY, record INTEGER NOT NULL);
   CREATE TABLE heimdall_sessions (session TEXT PRIMARY KEY, seq INTEGER NOT NULL);`,
];

/** The version of the schema this release writes. */
export const schemaVersion = migrations.length;

/**
 * Brings a database to this release's schema.
 * @throws Error when it was written by a newer release, or is no journal.
 */
export function migrate(db: DatabaseSync): void {
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version > schemaVersion) throw new Error(`it was written by a newer release (schema ${version}, this one knows ${schemaVersion})`);
  const foreign = version === 0 && db.prepare("SELECT 1 FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' LIMIT 1").get() !== undefined;
  if (foreign) throw new Error('it is a database of something else');
  if (version === schemaVersion) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const step of migrations.slice(version)) db.exec(step);
    db.exec(`PRAGMA user_version = ${schemaVersion}; COMMIT`);
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

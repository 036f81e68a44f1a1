import { DatabaseSync } from 'node:sqlite';
import { signedText, type Signer } from './hash-chain.ts';
import { Ledger } from './ledger.ts';

/**
 * Steps from one `user_version` to the next. A released step never changes, since `verify` compares the schema of a journal with
 * it. Record ids are given by the gate, so that they have no gaps. Entries are appended to the end of every index, because request
 * ids begin with the time: an index by address, token or device would cost 12 µs a record. Those are found by the last index of
 * `heimdall_logs`, a tenth of the table's size.
 */
const migrations: readonly string[] = [
  `CREATE TABLE heimdall_logs (id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, timestamp INTEGER NOT NULL, request_method VARCHAR(16), response_status INTEGER, response_time INTEGER, route TEXT, client TEXT, model TEXT, stream INTEGER, target TEXT, attempts INTEGER, outcome TEXT, would_refuse TEXT, queue_wait REAL, first_byte REAL, overhead REAL, prompt_tokens INTEGER, completion_tokens INTEGER, tokens_reserved INTEGER, tokens_settled INTEGER, tokens_released INTEGER, cost REAL, bytes_in INTEGER, bytes_out INTEGER, source TEXT, created_at DATETIME, user_id INTEGER, token_key VARCHAR(255), token_id TEXT, key_id TEXT, session TEXT, request_path VARCHAR(512), query TEXT, real_ip VARCHAR(64), forwarded_for VARCHAR(255), upstream_request_id TEXT, ja4 TEXT, country TEXT, content_fingerprint VARCHAR(255), device_fingerprint VARCHAR(255), user_agent TEXT, cookies TEXT, request_headers TEXT, request_body TEXT, response_body TEXT, salt TEXT, digest TEXT NOT NULL, body_digest TEXT, erasure INTEGER, deleted_at DATETIME);
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
  // Rows that change in place get a MAC. What happens to the journal, and what is learnt about a record later, is appended to tables that the chain covers.
  `ALTER TABLE heimdall_intents ADD COLUMN mac TEXT NOT NULL DEFAULT '';
   ALTER TABLE heimdall_cursors ADD COLUMN mac TEXT NOT NULL DEFAULT '';
   ALTER TABLE heimdall_sessions ADD COLUMN mac TEXT NOT NULL DEFAULT '';
   CREATE TABLE heimdall_history (entry INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL, batch INTEGER NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL, signature TEXT NOT NULL);
   CREATE TABLE heimdall_learnt (fact INTEGER PRIMARY KEY, batch INTEGER NOT NULL, record INTEGER NOT NULL, name TEXT NOT NULL, value TEXT, salt TEXT, digest TEXT NOT NULL);
   CREATE INDEX heimdall_learnt_record ON heimdall_learnt (record);
   ALTER TABLE heimdall_logs ADD COLUMN device_id TEXT;
   ALTER TABLE heimdall_logs ADD COLUMN session_id TEXT;
   ALTER TABLE heimdall_logs ADD COLUMN home_id TEXT;
   ALTER TABLE heimdall_logs ADD COLUMN request_texts TEXT;
   CREATE TABLE heimdall_texts (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, before INTEGER, uses INTEGER NOT NULL, record INTEGER NOT NULL, label TEXT, size INTEGER NOT NULL, content BLOB);
   CREATE UNIQUE INDEX heimdall_texts_digest ON heimdall_texts (digest);
   CREATE INDEX heimdall_texts_record ON heimdall_texts (record);`,
];

/** The version of the schema that this release writes. */
export const schemaVersion = migrations.length;

/** The version of a database's schema; 0 for an empty database. */
export const versionOf = (db: DatabaseSync): number => (db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;

/**
 * Brings a database to this release's schema. The migration of a journal is an entry of its history.
 * @param signer signs the entry. @param now Unix milliseconds.
 * @throws Error when a newer release wrote the database, or it is no journal.
 */
export function migrate(db: DatabaseSync, signer: Signer, now: number): void {
  const version = versionOf(db);
  if (version > schemaVersion) throw new Error(`it was written by a newer release (schema ${version}, this one knows ${schemaVersion})`);
  const foreign = version === 0 && db.prepare("SELECT 1 FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' LIMIT 1").get() !== undefined;
  if (foreign) throw new Error('it is a database of something else');
  if (version === schemaVersion) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const step of migrations.slice(version)) db.exec(step);
    if (version > 0) {
      authenticate(db, signer);
      new Ledger(db, signer).note('migrated', String(version), now);
    }
    db.exec(`PRAGMA user_version = ${schemaVersion}; COMMIT`);
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Gives the rows of schema 1 their MACs. */
function authenticate(db: DatabaseSync, signer: Signer): void {
  for (const { sink, record } of db.prepare('SELECT sink, record FROM heimdall_cursors').all() as { sink: string; record: number }[]) {
    db.prepare('UPDATE heimdall_cursors SET mac = ? WHERE sink = ?').run(signer.mac(signedText.cursor(sink, record)), sink);
  }
  for (const { session, seq } of db.prepare('SELECT session, seq FROM heimdall_sessions').all() as { session: string; seq: number }[]) {
    db.prepare('UPDATE heimdall_sessions SET mac = ? WHERE session = ?').run(signer.mac(signedText.session(session, seq)), session);
  }
  for (const { request_id: id, session, draft } of db.prepare('SELECT request_id, session, draft FROM heimdall_intents').all() as { request_id: string; session: string; draft: string }[]) {
    db.prepare('UPDATE heimdall_intents SET mac = ? WHERE request_id = ?').run(signer.mac(signedText.intent(id, session, draft)), id);
  }
}

/** An object of the schema: a table, index, view or trigger. */
interface SchemaObject {
  readonly type: string;
  readonly name: string;
  readonly tbl_name: string;
  readonly sql: string | null;
}

/** SQLite's own statistics (`ANALYZE`) change no result. */
const objectsOf = (db: DatabaseSync): SchemaObject[] => db.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' ORDER BY type, name").all() as unknown as SchemaObject[];

function expectedObjects(version: number): SchemaObject[] {
  const db = new DatabaseSync(':memory:');
  try {
    for (const step of migrations.slice(0, version)) db.exec(step);
    return objectsOf(db);
  } finally {
    db.close();
  }
}

/**
 * Compares the schema of a database with that of its version, to the letter: columns, defaults, collations, indices, and no view or
 * trigger.
 * @returns the first difference, or null.
 */
export function schemaProblem(db: DatabaseSync): string | null {
  const version = versionOf(db);
  if (version < 1 || version > schemaVersion) return `its schema has the version ${version}, which this release does not know`;
  const expected = new Map(expectedObjects(version).map((object) => [`${object.type} ${object.name}`, object]));
  for (const object of objectsOf(db)) {
    const key = `${object.type} ${object.name}`;
    const own = expected.get(key);
    if (own === undefined) return `its schema has the ${key}, which is not part of it`;
    if (own.sql !== object.sql || own.tbl_name !== object.tbl_name) return `the ${key} of its schema was changed`;
    expected.delete(key);
  }
  const [missing] = expected.keys();
  return missing === undefined ? null : `the ${missing} of its schema is missing`;
}

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Checkpoint } from '../../types/sink.d.ts';
import { bodyDigest, BatchDigest, origin, privateDigest, salts, signedText, type Signer, type Verifier } from './hash-chain.ts';
import { isPassing, transaction } from './database.ts';
import { columns, names, valuesOf, type RecordRow } from '../record/record.ts';

/** What one transaction adds. */
export interface Writing {
  readonly records: readonly RecordRow[];
  readonly intents: readonly RecordRow[];
  readonly cursors: readonly (readonly [sink: string, id: number | null])[];
  /** The last batch of the gate that is in it. */
  readonly seq: number;
  /** Unix milliseconds. */
  readonly now: number;
}

/** What became of it. */
export interface Wrote {
  readonly records: number;
  /** Records the database does not take, and never will. */
  readonly invalid: number;
}

interface Head {
  batch: number;
  last: number;
  hash: string;
}

const insertColumns = [...names, 'salt', 'digest', 'body_digest'];

/** `created_at` as SQLite's and Go's drivers write and read it. */
const dateTime = (now: number): string => new Date(now).toISOString().replace('T', ' ').replace('Z', '+00:00');

/** The tables, and the chain that runs through them. One writer; every method is one transaction. */
export class Store {
  readonly db: DatabaseSync;
  readonly #session: string;
  readonly #signer: Signer;
  readonly #insert: StatementSync;
  readonly #batch: StatementSync;
  readonly #intend: StatementSync;
  readonly #intended: StatementSync;
  readonly #seq: StatementSync;
  #head: Head;
  /** There may be some to be taken back. */
  #hasIntents = false;
  #signed: number;
  /** The last batch of this gate that is committed. */
  seq: number;

  constructor(db: DatabaseSync, session: string, signer: Signer) {
    this.db = db;
    this.#session = session;
    this.#signer = signer;
    this.#insert = db.prepare(`INSERT INTO heimdall_logs (${insertColumns.join(', ')}) VALUES (${insertColumns.map(() => '?').join(', ')}) ON CONFLICT (request_id) DO NOTHING`);
    this.#batch = db.prepare('INSERT INTO heimdall_batches (batch, first, last, time, hash, signature) VALUES (?, ?, ?, ?, ?, ?)');
    this.#intend = db.prepare('INSERT OR REPLACE INTO heimdall_intents (request_id, session, draft) VALUES (?, ?, ?)');
    this.#intended = db.prepare('DELETE FROM heimdall_intents WHERE request_id = ?');
    this.#seq = db.prepare('INSERT OR REPLACE INTO heimdall_sessions (session, seq) VALUES (?, ?)');
    this.#head = headOf(db);
    this.#signed = (db.prepare('SELECT max(batch) AS batch FROM heimdall_checkpoints').get() as { batch: number | null }).batch ?? 0;
    this.seq = (db.prepare('SELECT seq FROM heimdall_sessions WHERE session = ?').get(session) as { seq: number } | undefined)?.seq ?? 0;
  }

  get lastId(): number {
    return this.#head.last;
  }

  /** Adds records as one batch of the chain, with all that goes with them. */
  write(writing: Writing): Wrote {
    const head = { ...this.#head };
    this.#hasIntents ||= writing.intents.length > 0;
    const wrote = transaction(this.db, () => {
      for (const draft of writing.intents) this.#intend.run(draft.request_id, this.#session, JSON.stringify(draft));
      const counted = this.#add(writing, head);
      for (const [sink, id] of writing.cursors) this.#move(sink, id);
      if (writing.seq > this.seq) this.#seq.run(this.#session, writing.seq);
      return counted;
    });
    this.#head = head;
    this.seq = Math.max(this.seq, writing.seq);
    return wrote;
  }

  #add({ records, now }: Writing, head: Head): Wrote {
    if (records.length === 0) return { records: 0, invalid: 0 };
    const salted = salts(records.length);
    const created = dateTime(now);
    const first = head.last + 1;
    const leaves = new BatchDigest();
    let invalid = 0;
    for (const [at, draft] of records.entries()) {
      draft.id = head.last + 1;
      draft.created_at = created;
      const values = valuesOf(draft);
      const salt = salted[at] as string;
      const digest = privateDigest(values, salt);
      const ofBody = bodyDigest(values, salt);
      const added = this.#insertOne(values, salt, digest, ofBody);
      if (this.#hasIntents) this.#intended.run(draft.request_id);
      if (added === 'invalid') invalid++;
      if (added !== 'added') continue;
      head.last++;
      leaves.add(values, digest, ofBody);
    }
    if (leaves.count > 0) this.#close(head, first, now, leaves);
    return { records: leaves.count, invalid };
  }

  /** A record that is there already was committed by a worker that failed before it could say so. */
  #insertOne(values: readonly (string | number | null)[], salt: string, digest: string, ofBody: string | null): 'added' | 'known' | 'invalid' {
    try {
      return this.#insert.run(...values, salt, digest, ofBody).changes === 1 ? 'added' : 'known';
    } catch (error) {
      if (isPassing(error) || !this.db.isTransaction) throw error;
      return 'invalid';
    }
  }

  #close(head: Head, first: number, time: number, leaves: BatchDigest): void {
    const facts = { batch: head.batch + 1, first, last: head.last, time };
    head.hash = leaves.hash(head.hash, facts);
    head.batch = facts.batch;
    this.#batch.run(facts.batch, first, facts.last, time, head.hash, this.#signer.sign(signedText.batch(facts.batch, head.hash)));
  }

  #move(sink: string, id: number | null): void {
    if (id === null) this.db.prepare('DELETE FROM heimdall_cursors WHERE sink = ?').run(sink);
    else this.db.prepare('INSERT OR REPLACE INTO heimdall_cursors (sink, record) VALUES (?, ?)').run(sink, id);
  }

  /** Records what an earlier run of a gate had in hand when it ended. @returns how many. */
  recover(now: number): number {
    const rows = this.db.prepare('SELECT draft FROM heimdall_intents WHERE session <> ? ORDER BY request_id').all(this.#session) as { draft: string }[];
    this.#hasIntents ||= rows.length > 0;
    const records = rows.map(({ draft }) => ({ ...empty, ...(JSON.parse(draft) as RecordRow) }));
    const { records: count } = this.write({ records, intents: [], cursors: [], seq: 0, now });
    this.db.prepare('DELETE FROM heimdall_sessions WHERE session <> ?').run(this.#session);
    return count;
  }

  /**
   * Signs the chain as it stands, into its table and beside the file, unless nothing was added since. What is on the disk
   * by then survives a power cut, so that a file that ends before its checkpoint was cut.
   */
  checkpoint(now: number, headFile: string | null): Checkpoint | null {
    const { batch, last, hash } = this.#head;
    if (batch <= this.#signed) return null;
    const facts = { batch, record: last, time: now, hash };
    const checkpoint: Checkpoint = { ...facts, key: this.#signer.key, signature: this.#signer.sign(signedText.checkpoint(facts)) };
    keepCheckpoint(this.db, checkpoint);
    this.#signed = batch;
    if (headFile !== null) {
      this.db.exec('PRAGMA wal_checkpoint(PASSIVE)');
      writeFileSync(`${headFile}.new`, `${JSON.stringify(checkpoint)}\n`, { mode: 0o600 });
      renameSync(`${headFile}.new`, headFile);
    }
    return checkpoint;
  }

  /**
   * Compares the chain with the state that was signed last and lies beside the file. What was signed stays known, so that
   * `verify` names the break after the chain has gone on.
   * @returns what is wrong, or null.
   */
  compare(headFile: string, trust: Verifier): string | null {
    const signed = readHead(headFile);
    if (signed === null) return null;
    if (!trust(signedText.checkpoint(signed), signed.signature, signed.key)) return null;
    const removed = (this.db.prepare("SELECT batch FROM heimdall_marks WHERE name = 'records'").get() as { batch: number } | undefined)?.batch ?? 0;
    const found = this.db.prepare('SELECT hash FROM heimdall_batches WHERE batch = ?').get(signed.batch) as { hash: string } | undefined;
    if (found?.hash === signed.hash || (found === undefined && signed.batch <= removed)) return null;
    keepCheckpoint(this.db, signed);
    return found === undefined ? `batch ${signed.batch}, signed at ${new Date(signed.time).toISOString()}, is not there` : `batch ${signed.batch} is not the one that was signed at ${new Date(signed.time).toISOString()}`;
  }
}

const empty = Object.fromEntries(columns.map(({ name }) => [name, null])) as RecordRow;

/** The last checkpoint lies there, so that a file cut or exchanged is noticed. */
export const headFileOf = (path: string): string => `${path}.head`;

/** @returns null when there is none that can be read. */
export function readHead(file: string): Checkpoint | null {
  if (!existsSync(file)) return null;
  try {
    const head = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown> | null;
    const isWhole = ['batch', 'record', 'time'].every((name) => Number.isSafeInteger(head?.[name])) && ['hash', 'key', 'signature'].every((name) => typeof head?.[name] === 'string');
    return isWhole ? (head as unknown as Checkpoint) : null;
  } catch {
    return null;
  }
}

function keepCheckpoint(db: DatabaseSync, { batch, record, time, hash, key, signature }: Checkpoint): void {
  db.prepare('INSERT OR IGNORE INTO heimdall_checkpoints (batch, record, time, hash, key, signature) VALUES (?, ?, ?, ?, ?, ?)').run(batch, record, time, hash, key, signature);
}

/** Where the chain ends. A row that somebody put behind it keeps its place, and shows. */
function headOf(db: DatabaseSync): Head {
  const { id } = db.prepare('SELECT coalesce(max(id), 0) AS id FROM heimdall_logs').get() as { id: number };
  const last = db.prepare('SELECT batch, last, hash FROM heimdall_batches ORDER BY batch DESC LIMIT 1').get() as unknown as Head | undefined;
  if (last !== undefined) return { batch: last.batch, last: Math.max(id, last.last), hash: last.hash };
  const mark = db.prepare("SELECT batch, record AS last, hash FROM heimdall_marks WHERE name = 'records'").get() as unknown as Head | undefined;
  return mark === undefined ? { batch: 0, last: id, hash: origin } : { batch: mark.batch, last: Math.max(id, mark.last), hash: mark.hash };
}

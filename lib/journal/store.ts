import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { LearntFact } from '../../types/journal.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import { BatchDigest, bodyDigest, factDigest, origin, privateDigest, salts, signedText, type HistoryKind, type Signer, type Verifier } from './hash-chain.ts';
import { isPassing, transaction } from './database.ts';
import { readHead, writeHead } from './head.ts';
import { Ledger } from './ledger.ts';
import { TextTable } from './texts.ts';
import { schemaProblem } from './schema.ts';
import { columns, names, valuesOf, type RecordRow, type RowTexts } from '../record/record.ts';

/** What one transaction adds. */
export interface Writing {
  readonly records: readonly RecordRow[];
  /** The long texts that records refer to. */
  readonly texts?: RowTexts;
  readonly intents: readonly RecordRow[];
  readonly cursors: readonly (readonly [sink: string, id: number | null])[];
  /** The gate's last batch that it contains. */
  readonly seq: number;
  /** Unix milliseconds. */
  readonly now: number;
}

/** The result of a transaction. */
export interface Wrote {
  readonly records: number;
  /** Records the database refused, and would refuse again. */
  readonly invalid: number;
}

/** No version that SQLite gives. */
const unknownVersion = -1;

/** In place of the record that has brought a text: headers are not searched for what was said. */
const inHeaders = 0;

const insertColumns = [...names, 'salt', 'digest', 'body_digest'];

/** `created_at` as SQLite's and Go's drivers write and read it. */
const dateTime = (now: number): string => new Date(now).toISOString().replace('T', ' ').replace('Z', '+00:00');

/** Writes the tables and their hash chain. There is one writer; every method is one transaction. */
export class Store {
  readonly db: DatabaseSync;
  readonly #session: string;
  readonly #signer: Signer;
  readonly ledger: Ledger;
  readonly #texts: TextTable;
  readonly #insert: StatementSync;
  readonly #intend: StatementSync;
  readonly #intended: StatementSync;
  readonly #seq: StatementSync;
  readonly #version: StatementSync;
  #dataVersion: number;
  /** Called when a text is gone that was stored: another process has removed it. */
  onTextGone: () => void = () => undefined;
  /** Intents may exist. */
  #hasIntents = false;
  /** The last batch with a checkpoint. */
  #signed: number;
  /** The gate's last batch that is committed. */
  seq: number;

  /** @param session identifies this run of the gate. */
  constructor(db: DatabaseSync, session: string, signer: Signer) {
    this.db = db;
    this.#session = session;
    this.#signer = signer;
    this.#insert = db.prepare(`INSERT INTO heimdall_logs (${insertColumns.join(', ')}) VALUES (${insertColumns.map(() => '?').join(', ')}) ON CONFLICT (request_id) DO NOTHING`);
    this.#intend = db.prepare('INSERT OR REPLACE INTO heimdall_intents (request_id, session, draft, mac) VALUES (?, ?, ?, ?)');
    this.#intended = db.prepare('DELETE FROM heimdall_intents WHERE request_id = ?');
    this.#seq = db.prepare('INSERT OR REPLACE INTO heimdall_sessions (session, seq, mac) VALUES (?, ?, ?)');
    this.#version = db.prepare('PRAGMA data_version');
    this.#dataVersion = this.#readVersion();
    this.ledger = new Ledger(db, signer);
    this.#texts = new TextTable(db);
    this.#signed = this.#lastSigned();
    const known = db.prepare('SELECT seq, mac FROM heimdall_sessions WHERE session = ?').get(session) as { seq: number; mac: string } | undefined;
    this.seq = known !== undefined && known.mac === signer.mac(signedText.session(session, known.seq)) ? known.seq : 0;
  }

  get lastId(): number {
    return this.ledger.head.last;
  }

  /** Adds records as one batch of the chain, and everything else that belongs to them. */
  write(writing: Writing): Wrote {
    this.#hasIntents ||= writing.intents.length > 0;
    const wrote = this.#transaction(() => {
      for (const row of writing.intents) this.#addIntent(row);
      const counted = this.#add(writing);
      for (const [sink, id] of writing.cursors) this.#move(sink, id);
      if (writing.seq > this.seq) this.#seq.run(this.#session, writing.seq, this.#signer.mac(signedText.session(this.#session, writing.seq)));
      return counted;
    });
    this.seq = Math.max(this.seq, writing.seq);
    this.#texts.committed();
    return wrote;
  }

  /** Adds facts about earlier records: rows of a table of its own, which the chain covers. Facts about unknown requests are left out. @returns the number added. */
  learn(facts: readonly LearntFact[], now: number): number {
    return this.#transaction(() => {
      const digest = new BatchDigest();
      const find = this.db.prepare('SELECT id FROM heimdall_logs WHERE request_id = ? AND erasure IS NULL');
      const insert = this.db.prepare('INSERT INTO heimdall_learnt (fact, batch, record, name, value, salt, digest) VALUES (?, ?, ?, ?, ?, ?, ?)');
      const salted = salts(facts.length);
      let { last } = this.db.prepare('SELECT coalesce(max(fact), 0) AS last FROM heimdall_learnt').get() as { last: number };
      let added = 0;
      for (const [at, { requestId, name, value }] of facts.entries()) {
        const record = (find.get(requestId) as { id: number } | undefined)?.id;
        if (record === undefined) continue;
        const text = JSON.stringify(value).toWellFormed();
        const salt = salted[at] as string;
        const digested = factDigest(name, text, salt);
        insert.run(++last, this.ledger.head.batch + 1, record, name, text, salt, digested);
        digest.addFact(last, record, digested);
        added++;
      }
      if (added > 0) this.ledger.close(this.ledger.head.last, now, digest);
      return added;
    });
  }

  /** Another process (a gate, `heimdall forget`) may have appended to the chain since the last transaction. */
  #transaction<T>(work: () => T): T {
    try {
      return transaction(this.db, () => {
        this.refresh();
        return work();
      });
    } catch (error) {
      // The next transaction reads the end of the chain again.
      this.#dataVersion = unknownVersion;
      this.#texts.reset();
      throw error;
    }
  }

  /** Reads the end of the chain when another process has appended to it. @returns whether one has. */
  refresh(): boolean {
    const version = this.#readVersion();
    if (version === this.#dataVersion) return false;
    this.ledger.reload();
    this.#texts.reset();
    this.#dataVersion = version;
    return true;
  }

  /** Texts were removed from the table by this process. */
  textsRemoved(): void {
    this.#texts.reset();
  }

  #readVersion(): number {
    return (this.#version.get() as { data_version: number }).data_version;
  }

  #addIntent(row: RecordRow): void {
    const id = String(row.request_id);
    const draft = JSON.stringify(row).toWellFormed();
    this.#intend.run(id, this.#session, draft, this.#signer.mac(signedText.intent(id, this.#session, draft)));
  }

  #add({ records, texts, now }: Writing): Wrote {
    if (records.length === 0) return { records: 0, invalid: 0 };
    const salted = salts(records.length);
    const created = dateTime(now);
    let { last } = this.ledger.head;
    const digests = new BatchDigest();
    let invalid = 0;
    for (const [at, row] of records.entries()) {
      row.id = last + 1;
      row.created_at = created;
      const named = texts?.get(row);
      const isNamed = named !== undefined && this.#texts.has(named.body);
      // Without its texts a body keeps their marks.
      if (!isNamed) row.request_texts = null;
      if (named !== undefined && !isNamed) this.onTextGone();
      const values = valuesOf(row);
      const salt = salted[at] as string;
      const digest = privateDigest(values, salt);
      const ofBody = bodyDigest(values, salt);
      const added = this.#insertOne(values, salt, digest, ofBody);
      if (this.#hasIntents) this.#intended.run(row.request_id);
      if (added === 'invalid') invalid++;
      if (added !== 'added') continue;
      last++;
      digests.add(values, digest, ofBody);
      if (isNamed) this.#texts.add(named.body, last);
      if (named?.headers != null) this.#texts.name(named.headers, inHeaders);
    }
    this.#texts.settle();
    if (digests.count > 0) this.ledger.close(last, now, digests);
    return { records: digests.count, invalid };
  }

  /** A known record was committed by a worker that failed before it could acknowledge it. */
  #insertOne(values: readonly (string | number | null)[], salt: string, digest: string, ofBody: string | null): 'added' | 'known' | 'invalid' {
    try {
      return this.#insert.run(...values, salt, digest, ofBody).changes === 1 ? 'added' : 'known';
    } catch (error) {
      if (isPassing(error) || !this.db.isTransaction) throw error;
      return 'invalid';
    }
  }

  #move(sink: string, id: number | null): void {
    if (id === null) this.db.prepare('DELETE FROM heimdall_cursors WHERE sink = ?').run(sink);
    else this.db.prepare('INSERT OR REPLACE INTO heimdall_cursors (sink, record, mac) VALUES (?, ?, ?)').run(sink, id, this.#signer.mac(signedText.cursor(sink, id)));
  }

  /**
   * Records the requests that sessions were forwarding when they ended.
   * SECURITY: an intent that this gate did not write is dropped, or it would become a signed record.
   * @param living those of the sessions that have the journal open; called after the intents were read, since a session opens the
   * journal before it writes one.
   * @returns the number of records.
   */
  recover(now: number, verifier: Verifier, living: (sessions: ReadonlySet<string>) => ReadonlySet<string>): number {
    const found = this.db.prepare('SELECT request_id, session, draft, mac FROM heimdall_intents WHERE session <> ? ORDER BY request_id').all(this.#session) as { request_id: string; session: string; draft: string; mac: string }[];
    const sessions = (this.db.prepare('SELECT session FROM heimdall_sessions WHERE session <> ?').all(this.#session) as { session: string }[]).map(({ session }) => session);
    const known = new Set([...sessions, ...found.map(({ session }) => session)]);
    if (known.size === 0) return 0;
    const alive = living(known);
    const rows = found.filter(({ session }) => !alive.has(session));
    this.#hasIntents ||= rows.length > 0;
    const ours = rows.filter(({ request_id: id, session, draft, mac }) => verifier.isAuthentic(signedText.intent(id, session, draft), mac));
    const records = ours.map(({ draft }) => ({ ...empty, ...(JSON.parse(draft) as RecordRow) }));
    const { records: count } = records.length === 0 ? { records: 0 } : this.write({ records, intents: [], cursors: [], seq: 0, now });
    if (ours.length < rows.length) {
      for (const { request_id: id } of rows) this.#intended.run(id);
      this.note('tampered', `${rows.length - ours.length} requests in hand were not written by this gate`, now);
    }
    for (const session of sessions) if (!alive.has(session)) this.db.prepare('DELETE FROM heimdall_sessions WHERE session = ?').run(session);
    return count;
  }

  /** Appends an entry to the history, unless the last one says the same. */
  note(kind: HistoryKind, detail: string, now: number): void {
    const last = this.db.prepare('SELECT kind, detail FROM heimdall_history ORDER BY entry DESC LIMIT 1').get() as { kind: string; detail: string } | undefined;
    if (last?.kind !== kind || last.detail !== detail) this.#transaction(() => this.ledger.note(kind, detail, now));
  }

  /**
   * Signs the chain, into its table and into the head file, unless nothing was added since. The write-ahead log is moved before,
   * so that a power cut cannot leave a head whose batches are lost.
   */
  checkpoint(now: number, headFile: string | null): Checkpoint | null {
    this.refresh();
    const { batch } = this.ledger.head;
    // Another process may have signed it.
    this.#signed = Math.max(this.#signed, this.#lastSigned());
    if (batch <= this.#signed) return null;
    const checkpoint = this.#transaction(() => {
      const signed = this.#sign(now);
      this.db.prepare('INSERT OR IGNORE INTO heimdall_checkpoints (batch, record, time, hash, key, signature) VALUES (?, ?, ?, ?, ?, ?)').run(signed.batch, signed.record, signed.time, signed.hash, signed.key, signed.signature);
      this.ledger.reload();
      return signed;
    });
    this.#signed = checkpoint.batch;
    if (headFile !== null) {
      this.db.exec('PRAGMA wal_checkpoint(PASSIVE)');
      writeHead(headFile, checkpoint);
    }
    return checkpoint;
  }

  #lastSigned(): number {
    return (this.db.prepare('SELECT max(batch) AS batch FROM heimdall_checkpoints').get() as { batch: number | null }).batch ?? 0;
  }

  #sign(now: number): Checkpoint {
    const { batch, last, hash } = this.ledger.head;
    const facts = { batch, record: last, time: now, hash };
    return { ...facts, key: this.#signer.key, signature: this.#signer.sign(signedText.checkpoint(facts)) };
  }

  /**
   * Compares schema and chain with the head file, when the gate starts. A difference becomes an entry of the history, so that
   * `verify` still names it after the chain has grown. A new journal gets its first head file. A checkpoint should follow.
   * @returns the difference, or null.
   */
  attest(headFile: string, verifier: Verifier, now: number): string | null {
    this.refresh();
    const head = readHead(headFile);
    const problem = schemaProblem(this.db) ?? this.#dropForeignCursors(verifier) ?? (head.kind === 'read' ? this.#difference(head.checkpoint, verifier) : head.kind === 'damaged' ? 'the head file beside it is damaged' : null);
    if (problem !== null) this.note('tampered', problem, now);
    if (problem !== null || head.kind !== 'missing') return problem;
    if (this.ledger.head.batch === 0) writeHead(headFile, this.#sign(now));
    if (this.ledger.head.batch === 0 || this.#neverHadHead()) return null;
    this.note('unattested', 'the head file beside it was missing', now);
    return 'the head file beside it is missing';
  }

  /** A journal that was just migrated may never have been signed: under schema 1 the first head file was written after a minute. */
  #neverHadHead(): boolean {
    const last = this.db.prepare('SELECT kind, batch FROM heimdall_history ORDER BY entry DESC LIMIT 1').get() as { kind: string; batch: number } | undefined;
    return last?.kind === 'migrated' && last.batch === this.ledger.head.batch && this.#signed === 0;
  }

  /** SECURITY: a cursor that was moved by others would hide records from its sink. Without one the sink gets every record again. */
  #dropForeignCursors(verifier: Verifier): string | null {
    const foreign = (this.db.prepare('SELECT sink, record, mac FROM heimdall_cursors').all() as { sink: string; record: number; mac: string }[]).filter(({ sink, record, mac }) => !verifier.isAuthentic(signedText.cursor(sink, record), mac));
    for (const { sink } of foreign) this.db.prepare('DELETE FROM heimdall_cursors WHERE sink = ?').run(sink);
    return foreign.length === 0 ? null : `the cursor of the sink ${foreign.map(({ sink }) => sink).join(', ')} was changed`;
  }

  #difference(signed: Checkpoint, verifier: Verifier): string | null {
    if (!verifier.isSigned(signedText.checkpoint(signed), signed.signature, signed.key)) return "the head file beside it is not signed by this gate's secret";
    const at = new Date(signed.time).toISOString();
    if (signed.batch === 0) return signed.hash === origin ? null : `the head file of ${at} is not of this journal`;
    const removed = this.db.prepare("SELECT batch FROM heimdall_marks WHERE name = 'records'").get() as { batch: number } | undefined;
    const found = this.db.prepare('SELECT hash FROM heimdall_batches WHERE batch = ?').get(signed.batch) as { hash: string } | undefined;
    if (found?.hash === signed.hash || (found === undefined && signed.batch <= (removed?.batch ?? 0))) return null;
    return found === undefined ? `batch ${signed.batch}, signed at ${at}, is missing` : `batch ${signed.batch} is not the one that was signed at ${at}`;
  }
}

const empty = Object.fromEntries(columns.map(({ name }) => [name, null])) as RecordRow;

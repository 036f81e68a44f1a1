import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { BatchDigest, historyHash, noCheckpoint, origin, signedText, type HistoryKind, type Signer } from './hash-chain.ts';

/** The end of the chain. */
export interface ChainHead {
  /** Number of the last batch, and position of the last record. */
  readonly batch: number;
  readonly last: number;
  /** Hash of the last batch. */
  readonly hash: string;
  /** Number and hash of the last entry of the history. */
  readonly entry: number;
  readonly history: string;
  /** Signature of the last batch's checkpoint, or {@link noCheckpoint}. */
  readonly checkpoint: string;
}

/**
 * Appends to the chain of batches and to the history. Every method has to be called in a transaction. When the transaction fails, or
 * when another process may have appended, the caller has to call {@link Ledger.reload}.
 */
export class Ledger {
  readonly #db: DatabaseSync;
  readonly #signer: Signer;
  readonly #insert: StatementSync;
  head: ChainHead;

  constructor(db: DatabaseSync, signer: Signer) {
    this.#db = db;
    this.#signer = signer;
    this.#insert = db.prepare('INSERT INTO heimdall_batches (batch, first, last, time, hash, signature) VALUES (?, ?, ?, ?, ?, ?)');
    this.head = headOf(db);
  }

  /** Reads the end of the chain again. */
  reload(): void {
    this.head = headOf(this.#db);
  }

  /** Closes a batch. @param last position of its last record. @param time Unix milliseconds. */
  close(last: number, time: number, digest: BatchDigest): void {
    const { head } = this;
    const facts = { batch: head.batch + 1, first: head.last + 1, last, time };
    const hash = digest.hash({ before: head.hash, history: head.history, checkpoint: head.checkpoint }, facts);
    this.#insert.run(facts.batch, facts.first, last, time, hash, this.#signer.sign(signedText.batch(facts.batch, hash)));
    this.head = { ...head, batch: facts.batch, last, hash, checkpoint: noCheckpoint };
  }

  /** Appends an entry to the history, and a batch without records that covers it. */
  note(kind: HistoryKind, detail: string, time: number): void {
    const facts = { entry: this.head.entry + 1, time, kind, batch: this.head.batch + 1, detail };
    const hash = historyHash(this.head.history, facts);
    const signature = this.#signer.sign(signedText.history(facts.entry, hash));
    this.#db.prepare('INSERT INTO heimdall_history (entry, time, kind, batch, detail, hash, signature) VALUES (?, ?, ?, ?, ?, ?, ?)').run(facts.entry, time, kind, facts.batch, detail, hash, signature);
    this.head = { ...this.head, entry: facts.entry, history: hash };
    this.close(this.head.last, time, new BatchDigest());
  }
}

/** Reads the end of the chain. A row that was added after it keeps its position, so that `verify` finds it. */
function headOf(db: DatabaseSync): ChainHead {
  const { id } = db.prepare('SELECT coalesce(max(id), 0) AS id FROM heimdall_logs').get() as { id: number };
  type End = Pick<ChainHead, 'batch' | 'last' | 'hash'>;
  const end = (db.prepare('SELECT batch, last, hash FROM heimdall_batches ORDER BY batch DESC LIMIT 1').get() ??
    db.prepare("SELECT batch, record AS last, hash FROM heimdall_marks WHERE name = 'records'").get() ?? { batch: 0, last: 0, hash: origin }) as unknown as End;
  const entry = (db.prepare('SELECT entry, hash FROM heimdall_history ORDER BY entry DESC LIMIT 1').get() ?? { entry: 0, hash: origin }) as { entry: number; hash: string };
  const checkpoint = db.prepare('SELECT signature FROM heimdall_checkpoints WHERE batch = ? AND hash = ?').get(end.batch, end.hash) as { signature: string } | undefined;
  return { batch: end.batch, last: Math.max(id, end.last), hash: end.hash, entry: entry.entry, history: entry.hash, checkpoint: checkpoint?.signature ?? noCheckpoint };
}

import type { AuditRecord, NewRecord } from './record.d.ts';
import type { Checkpoint } from './sink.d.ts';

export type SqlValue = string | number | null | Uint8Array;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * Where records go. `memory`: only the latest records, in memory, since the file cannot be used. `full`: nothing can be
 * written just now; what arrives waits within bounds. `failed`: it cannot be used and must not be done without.
 */
export type JournalState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'open' }
  | { readonly kind: 'memory'; readonly reason: string }
  | { readonly kind: 'full'; readonly reason: string; readonly since: number }
  | { readonly kind: 'failed'; readonly reason: string };

/**
 * Why records were lost, or removed before their time. `queue`: the writing could not keep up. `full`: nothing could be
 * written for too long. `invalid`: the database did not take it. `size`: `audit.max_size`. `memory`: only the latest fit.
 * `undelivered`: removed before a sink had it; counted beside the reason of its removal.
 */
export type DropReason = 'queue' | 'full' | 'invalid' | 'size' | 'memory' | 'undelivered';

/** The journal in numbers, since the start of the gate. */
export interface JournalStats {
  readonly state: JournalState;
  /** Position of the last record written. */
  readonly lastId: number;
  readonly written: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** Records not yet written. */
  readonly waiting: number;
  /** Bytes not yet written. */
  readonly waitingBytes: number;
  /** Bytes of the database, its write-ahead log included; what removed records left free is not counted. */
  readonly bytes: number;
  /** Commits, and the seconds they took, in buckets bounded by `writeBounds`. */
  readonly writeCounts: Readonly<Float64Array>;
  readonly writeSum: number;
  readonly checkpoint: Checkpoint | null;
}

/** What is to be forgotten: all records of a token or gateway key, of an address, or of a device. */
export interface Forgetting {
  readonly kind: 'key' | 'address' | 'device';
  /** `key`: name of a gateway key, 16 hex digits of a token's identity, or the token itself. */
  readonly value: string;
}

/**
 * The local log of requests, kept by a worker thread. Everything else follows it. Nothing here blocks the main thread, and
 * reading runs in a thread of its own beside the writing.
 */
export interface Journal {
  /** Opens the database; rejects where `strict` or `on_full: refuse` cannot do without it. Called by whatever needs it, once. */
  open(): Promise<void>;
  /** Adds records from elsewhere. Resolves when they are committed. */
  append(records: readonly NewRecord[]): Promise<void>;
  /** Records after a position, in the journal's order. @param limit at most 1000. */
  read(after: number, limit: number): Promise<readonly AuditRecord[]>;
  /** Runs one SELECT of ours beside the writing, read-only. SECURITY: the text never holds anything a caller wrote. */
  query(sql: string, values?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
  /** Position of the last record a sink has taken; 0 for a new one. */
  cursor(sink: string): Promise<number>;
  /** Moves a sink's cursor; kept with the next commit. Retention waits for cursors, up to a bound. */
  advance(sink: string, id: number): void;
  /** Forgets a sink's cursor, so that retention no longer waits for it. */
  abandon(sink: string): void;
  /** Calls after every commit, with the position of the last record. @returns what ends it. */
  onWritten(listener: (lastId: number) => void): () => void;
  /** Calls with every signed checkpoint. @returns what ends it. */
  onCheckpoint(listener: (checkpoint: Checkpoint) => void): () => void;
  /** Erases what tells who it was in all matching records; the chain still verifies. @returns how many. */
  forget(what: Forgetting): Promise<number>;
  /** Resolves when everything handed in before is committed, dropped or cannot be written. */
  flush(): Promise<void>;
  stats(): JournalStats;
  /** Flushes, signs a checkpoint and closes. */
  close(): Promise<void>;
}

import type { AuditRecord, NewRecord } from './record.d.ts';
import type { Checkpoint } from './sink.d.ts';

export type SqlValue = string | number | null | Uint8Array;
/** A place in a list: a number in a journal, a text in PostgreSQL. */
export type Position = number | string;

export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * The state of the journal. `memory`: the file cannot be used, so the latest records are kept in memory and written when it can.
 * `full`: the file cannot be written at the moment, so new records wait within bounds. `failed`: as `memory`, and the
 * configuration requires the file.
 */
export type JournalState =
  | { readonly kind: 'off' }
  | { readonly kind: 'idle' }
  | { readonly kind: 'open' }
  | { readonly kind: 'memory'; readonly reason: string }
  | { readonly kind: 'full'; readonly reason: string; readonly since: number }
  | { readonly kind: 'failed'; readonly reason: string };

/**
 * Reason why records were lost, or removed before their time. `queue`: writing was too slow. `full`: the file could not be
 * written for too long. `invalid`: the database rejected the record. `size`: `audit.max_size`. `memory`: they were
 * kept in memory, since the file could not be used, and did not fit or ended with the process. `undelivered`: removed before a sink received it; counted in addition to the reason of its removal.
 */
export type DropReason = 'queue' | 'full' | 'invalid' | 'size' | 'memory' | 'undelivered';

/** Statistics of the journal since the start of the gate. */
export interface JournalStats {
  readonly state: JournalState;
  /** Position of the last record written. */
  readonly lastId: number;
  readonly written: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** Records not yet written, those in memory included. */
  readonly waiting: number;
  /** Bytes not yet written. */
  readonly waitingBytes: number;
  /** Bytes of the database and its write-ahead log, without free pages. */
  readonly bytes: number;
  /** Number of commits by duration, in buckets bounded by `writeBounds`. `writeSum` is the total in seconds. */
  readonly writeCounts: Readonly<Float64Array>;
  readonly writeSum: number;
  readonly checkpoint: Checkpoint | null;
}

/** The subject of an erasure: a token or gateway key, an address, or a device. */
export interface Forgetting {
  readonly kind: 'key' | 'address' | 'device';
  /** `key`: name of a gateway key, 16 hex digits of a token's identity, or the token itself. */
  readonly value: string;
}

/** A search that stops when its time is over: a filter that few records pass would read all of them. */
export interface JournalSearch<P extends Position = number> {
  /** Filters by name, as `heimdall logs` knows them. */
  readonly wanted: Readonly<Record<string, string>>;
  /** A text in what is kept of bodies; null: none is looked for. */
  readonly grep: string | null;
  /** Only requests of these keys and tokens. */
  readonly callers?: readonly string[] | null;
  /** Leaves out requests of these paths and of what is below them. */
  readonly without?: readonly string[] | null;
  /** Position of the last record that counts. */
  readonly last?: P | null;
  /** Records to be found at most. */
  readonly limit: number;
  /** Position after which the search begins, in its direction; null for the beginning. */
  readonly cursor: P | null;
  readonly order: 'newest' | 'oldest';
  /** Unix milliseconds. */
  readonly now: number;
  /** Milliseconds after which the search stops. */
  readonly time: number;
}

/** A search for a text. */
export type TextSearch = JournalSearch & { readonly grep: string };

/** What a search has found. */
export interface SearchFound<P extends Position = number> {
  /** Without their content. */
  readonly records: readonly AuditRecord[];
  /** Position after which a search goes on; null when everything was searched. */
  readonly next: P | null;
  /** The time was over. */
  readonly stopped: boolean;
}

/** How a sink wants records made into the body of a call: by `pack(records, options)` of a module, by its URL. */
export interface Packing {
  readonly module: string;
  readonly options: unknown;
}

/** Records in the form in which a sink sends them. */
export interface PackedRecords {
  /** Records in it. */
  readonly count: number;
  readonly body: Uint8Array;
}

/** A fact about a request that was learnt after its record was written. */
export interface LearntFact {
  readonly requestId: string;
  readonly name: string;
  readonly value: string | number | boolean | null;
}

/**
 * The local log of requests, which all sinks follow. A worker thread writes it and another one reads it, so that no method
 * blocks the main thread.
 */
export interface Journal {
  /** Opens the database. Rejects when that fails and `durability: strict` or `on_full: refuse` requires it. */
  open(): Promise<void>;
  /** Adds records of other sources. Resolves when they are committed. */
  append(records: readonly NewRecord[]): Promise<void>;
  /** Records after a position, in the order of the journal. @param limit at most 1000. */
  read(after: number, limit: number): Promise<readonly AuditRecord[]>;
  /** The body that a module makes of the records between two positions, both included, made where they are read. */
  pack(first: number, last: number, packing: Packing): Promise<PackedRecords>;
  /** Runs one SELECT, read-only. SECURITY: `sql` never contains text from a caller; use `values`. */
  query(sql: string, values?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
  /** One record with its content; its request is put together again as far as it is kept. Null for an unknown id. */
  request(id: string): Promise<AuditRecord | null>;
  /** Searches bodies for a text. */
  grep(search: JournalSearch): Promise<SearchFound>;
  /** Position of the last record that a sink received. 0 for a new sink. */
  cursor(sink: string): Promise<number>;
  /** Claims the deliveries to a sink: of the gates that share a journal, one delivers. @returns whether this gate has the claim. */
  claim(sink: string): Promise<boolean>;
  /** Calls `listener` when the journal was opened, also again: claims are lost then, and positions may differ. @returns a function that removes it. */
  onOpened(listener: () => void): () => void;
  /** Moves a sink's cursor, stored with the next commit. Retention waits for cursors, up to a bound. */
  advance(sink: string, id: number): void;
  /** Deletes a sink's cursor, so that retention no longer waits for it. */
  abandon(sink: string): void;
  /** Calls `listener` after every commit, also of another gate that shares the journal, with the position of the last record. @returns a function that removes the listener. */
  onWritten(listener: (lastId: number) => void): () => void;
  /** Calls `listener` with every signed checkpoint. @returns a function that removes the listener. */
  onCheckpoint(listener: (checkpoint: Checkpoint) => void): () => void;
  /**
   * Adds facts that were learnt about earlier records. A record never changes: facts are rows of their own, which the chain covers.
   * Facts about unknown and erased records are left out.
   * @returns the number of facts added.
   */
  learn(facts: readonly LearntFact[]): Promise<number>;
  /** Erases the personal data of all matching records. The chain still verifies. @returns the number of records. */
  forget(what: Forgetting): Promise<number>;
  /** Resolves when every record added before is committed, dropped, or cannot be written. */
  flush(): Promise<void>;
  stats(): JournalStats;
  /** Flushes, signs a checkpoint and closes. */
  close(): Promise<void>;
}

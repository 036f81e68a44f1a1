import type { AuditRecord } from './record.d.ts';

/**
 * What became of a delivery. `held`: nothing was lost, the same records come again (without a `wait` after a growing one, 1
 * to 10 s). `refused`: these records can never be taken; in one piece they are tried in halves, a single one is set aside
 * and counted. `off`: there is no receiver and will not be one; the sink is not asked again before the next start.
 * `wait`: milliseconds for which the sink is to be left alone.
 */
export type Delivery =
  | { readonly kind: 'delivered'; readonly wait?: number }
  | { readonly kind: 'held'; readonly reason: string; readonly wait?: number }
  | { readonly kind: 'refused'; readonly reason: string; readonly wait?: number }
  | { readonly kind: 'off'; readonly reason: string };

/** A signed state of the journal: what is anchored elsewhere cannot be rewritten or cut here unseen. */
export interface Checkpoint {
  /** Number of the last batch it covers. */
  readonly batch: number;
  /** Position of that batch's last record. */
  readonly record: number;
  /** Unix milliseconds. */
  readonly time: number;
  /** Hex SHA-256 of the chain up to there. */
  readonly hash: string;
  /** Base64 of the Ed25519 public key, 32 bytes. */
  readonly key: string;
  /** Base64 of the Ed25519 signature over `heimdall checkpoint <batch> <record> <time> <hash>`. */
  readonly signature: string;
}

/**
 * A place that follows the journal: at least once, in the journal's order, one call at a time; after a crash at most the
 * records of one call come again. A promise that rejects counts as `held`; its error's name and code are logged, never its
 * message. The signal aborts when the gate closes or the call takes longer than 30 s.
 */
export interface Sink {
  /** Names its cursor and its metrics: stable over restarts, `[a-z0-9_-]`, at most 64 characters. `newapi` and `postgres` are taken. */
  readonly name: string;
  /** Most records a call takes, 1 to 1000. */
  readonly batch: number;
  /** Whether a record is for it; without this every one is. Those that are not are passed over. */
  wants?(record: AuditRecord): boolean;
  deliver(records: readonly AuditRecord[], signal: AbortSignal): Promise<Delivery>;
  /** A signed state of the journal, given once all that it covers was delivered; sinks that have no place for it leave this out. */
  checkpoint?(checkpoint: Checkpoint, signal: AbortSignal): Promise<void>;
  close?(): Promise<void>;
}

/** How a sink stands. `working` delivers or has nothing to do; `held` waits to try again; `off` is not asked any more. */
export type SinkState =
  | { readonly kind: 'working' }
  | { readonly kind: 'held'; readonly reason: string; readonly since: number }
  | { readonly kind: 'off'; readonly reason: string };

/** A sink in numbers, since the start of the gate. */
export interface SinkView {
  readonly name: string;
  readonly state: SinkState;
  /** Records it has not seen yet. */
  readonly lag: number;
  /** It is behind by so much, or for so long, that somebody should know. */
  readonly lagging: boolean;
  readonly delivered: number;
  /** Records it can never take, set aside. */
  readonly refused: number;
  readonly errors: number;
}

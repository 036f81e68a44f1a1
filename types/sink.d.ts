import type { AuditRecord } from './record.d.ts';

/**
 * The result of a delivery. `held`: a temporary failure; the same records are delivered again, after `wait`, or after a
 * growing delay of 1 to 10 s. `refused`: a permanent failure; several records are retried in halves, a single record is set
 * aside and counted. `off`: there is no receiver; the sink is not called again before the next start.
 * `wait`: time before the next call, in milliseconds. `refused` of a delivery: so many of its records were not taken, and are not sent again.
 */
export type Delivery =
  | { readonly kind: 'delivered'; readonly wait?: number; readonly refused?: number }
  | { readonly kind: 'held'; readonly reason: string; readonly wait?: number }
  | { readonly kind: 'refused'; readonly reason: string; readonly wait?: number }
  | { readonly kind: 'off'; readonly reason: string };

/** A signed state of the journal. A copy outside the journal reveals a later change or cut. */
export interface Checkpoint {
  /** Number of the last covered batch. */
  readonly batch: number;
  /** Position of that batch's last record. */
  readonly record: number;
  /** Unix milliseconds. */
  readonly time: number;
  /** SHA-256 in hex of the chain up to that batch. */
  readonly hash: string;
  /** Base64 of the Ed25519 public key, 32 bytes. */
  readonly key: string;
  /** Base64 of the Ed25519 signature over `heimdall checkpoint <batch> <record> <time> <hash>`. */
  readonly signature: string;
}

/**
 * A receiver of records that follows the journal. Delivery is at least once, in the order of the journal, one call at a
 * time. After a crash at most the records of one call are delivered again. A rejected promise counts as `held`; the name and
 * code of its error are logged, never the message. The signal aborts when the gate closes or the call exceeds 30 s.
 */
export interface Sink {
  /** Name of the cursor and of the metrics' label. Stable over restarts, `[a-z0-9_-]`, at most 64 characters. `newapi`, `postgres`, `otlp_traces`, `otlp_logs` and `syslog` are reserved. */
  readonly name: string;
  /** Highest number of records per call, 1 to 1000. */
  readonly batch: number;
  /** Whether the sink receives a record. Default: every record. */
  wants?(record: AuditRecord): boolean;
  deliver(records: readonly AuditRecord[], signal: AbortSignal): Promise<Delivery>;
  /** Receives a signed state of the journal, after all covered records were delivered. Optional. */
  checkpoint?(checkpoint: Checkpoint, signal: AbortSignal): Promise<void>;
  /** Receives what was learnt about records that were delivered before. Delivered again after a failure or a start. Optional. */
  learn?(facts: readonly LearntOf[], signal: AbortSignal): Promise<void>;
  close?(): Promise<void>;
}

/** What was learnt about a record: NewAPI's names of its caller, and what NewAPI has charged, dollars. */
export interface LearntOf {
  readonly request_id: string;
  /** Arrival, Unix seconds. */
  readonly timestamp: number;
  readonly username?: string;
  readonly token_name?: string;
  readonly charged?: number;
}

/** The state of a sink. `working`: delivering or idle. `standby`: another gate that shares the journal delivers. `held`: waiting for a retry. `off`: not called any more. */
export type SinkState =
  | { readonly kind: 'working' }
  | { readonly kind: 'standby' }
  | { readonly kind: 'held'; readonly reason: string; readonly since: number }
  | { readonly kind: 'off'; readonly reason: string };

/** Statistics of a sink since the start of the gate. */
export interface SinkView {
  readonly name: string;
  readonly state: SinkState;
  /** Records that the sink has not received yet. */
  readonly lag: number;
  /** Whether the lag is large or old enough for an alert. */
  readonly lagging: boolean;
  readonly delivered: number;
  /** Records that the sink refused for good. */
  readonly refused: number;
  readonly errors: number;
}

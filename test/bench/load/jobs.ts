import type { BodyKind } from '../bodies.ts';
import type { Pace } from '../wire.ts';

/** Whom to send to. */
export interface Endpoint {
  readonly port: number;
  /** Headers this contestant needs beside the client's own. */
  readonly headers: Record<string, string>;
  /** Payload bytes a correct plain answer has; undefined when the contestant writes its own. */
  readonly bytes: number | undefined;
}

/** What is sent, and whether the answer is one document or a stream of events at a pace. */
export interface Load {
  readonly body: BodyKind;
  readonly pace?: Pace | undefined;
}

/** One piece of work for the load process. */
export type Job =
  | { readonly kind: 'probe'; readonly to: Endpoint; readonly load?: Load | undefined }
  | { readonly kind: 'closed'; readonly to: Endpoint; readonly connections: number; readonly requests: number; readonly limit: number; readonly load?: Load | undefined }
  | { readonly kind: 'open'; readonly to: Endpoint; readonly rate: number; readonly requests: number }
  | { readonly kind: 'streams'; readonly to: Endpoint; readonly concurrency: number; readonly streams: number; readonly pace: Pace }
  | { readonly kind: 'first-token'; readonly to: readonly Endpoint[]; readonly samples: number }
  | { readonly kind: 'hold'; readonly to: Endpoint; readonly streams: number; readonly pace: Pace }
  | { readonly kind: 'release' }
  | { readonly kind: 'failover'; readonly to: Endpoint; readonly samples: number };

/** The bytes of the plain answer seen, or why there is none. */
export interface ProbeResult {
  readonly bytes: number;
}

/** What a closed-loop or stream round came to. */
export interface RoundResult {
  readonly seconds: number;
  readonly done: number;
  readonly errors: number;
  /** The first thing that went wrong. */
  readonly firstError: string | undefined;
  /** Streamed events received; 0 for plain answers. */
  readonly events: number;
}

/** Latencies in milliseconds, from the scheduled time. */
export interface OpenResult {
  readonly latencies: number[];
  readonly errors: number;
  readonly firstError: string | undefined;
}

/** For each endpoint, milliseconds from sending to the first payload byte; same index = same moment. */
export interface FirstTokenResult {
  readonly samples: number[][];
}

/** Streams that are alive after the opening phase. */
export interface HoldResult {
  readonly live: number;
  readonly firstError: string | undefined;
}

/** Milliseconds from sending to the second target's first sight of the request. */
export interface FailoverResult {
  readonly samples: number[];
  readonly errors: number;
  readonly firstError: string | undefined;
}

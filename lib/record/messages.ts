import type { CaptureConfig, LoggingConfig } from '../../types/config.d.ts';
import type { DropReason, Forgetting, SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { AuditRecord, NewRecord } from '../../types/record.d.ts';
import type { Route, RouteClass } from '../../types/route.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import { requestId } from '../request/request.ts';

/** Between two texts, and the code of what stands behind those of a record. A text that holds one is written without. */
export const textEnd = '\x1f';
export const recordEnd = 0x1e;

/** The texts of a record that are of this request alone, in the order in which they are written. */
export const ownTexts = ['id', 'upstreamRequestId', 'tokenId', 'tokenEnd'] as const;

/** The texts that a caller's requests have in common for the most part, behind its own; its headers follow, name and value in turn. */
export const texts = [
  'method', 'url', 'httpVersion', 'ip', 'forwardedFor', 'outcome', 'device', 'key', 'ja4', 'country', 'model', 'target', 'rules', 'route', 'class', 'answerType', 'answerEncoding',
] as const;

/**
 * The numbers of a record, in the order in which they are written; NaN where there is none. `like` is the record of the same
 * segment whose texts it has but for those written, -1 when all are. `body` is bytes of its body in the segment, or -n when
 * the n-th large one is it; `answer` the same of its answer. Times are milliseconds.
 */
export const numbers = [
  'like', 'body', 'answer', 'kind', 'bodyTotal', 'answerTotal', 'status', 'duration', 'attempts', 'queueWait', 'firstByte', 'overhead', 'prompt', 'completion', 'cached', 'reasoning', 'reserved', 'settled', 'cost',
  'bytesIn', 'bytesOut', 'stream', 'estimated',
] as const;

/** Of a request that is over; of the intent to forward one; of one that leaves an access line and no record. */
export const kinds = { record: 0, intent: 1, line: 2 } as const;
export type Kind = keyof typeof kinds;

/**
 * A piece of shared memory full of records: texts from its beginning; from its end the numbers of each, and below them its body
 * and its answer. One order for all.
 */
export interface Written {
  readonly memory: SharedArrayBuffer;
  readonly records: number;
  /** Bytes of texts. */
  readonly used: number;
  /** Where the rest begins. */
  readonly top: number;
  readonly large: readonly SharedArrayBuffer[];
}

/** What is written in one go. */
export interface Batch extends Written {
  readonly kind: 'batch';
  /** Counts a gate's batches from 1; what was committed once is not written again. */
  readonly seq: number;
  /** Unix milliseconds. */
  readonly now: number;
  readonly added: readonly Added[];
  readonly cursors: readonly (readonly [sink: string, id: number | null])[];
  /** Its access lines were made already, by a worker that ended before it had committed the records. */
  readonly isLined: boolean;
}

/** A record from elsewhere, with what the gate's route table says of its path. */
export interface Added {
  readonly record: NewRecord;
  readonly id: string;
  readonly route: string;
  readonly class: RouteClass;
}

/** Makes a record from elsewhere one of ours. */
export function addedOf(record: NewRecord, routeOf: (method: string, path: string) => Route): Added {
  const { template, class: of } = routeOf(record.request_method, record.request_path.split('?', 1)[0] ?? '/');
  return { record, id: record.request_id ?? requestId(record.time), route: template, class: of };
}

/** What becomes of access lines. */
export interface LineOptions extends Pick<LoggingConfig, 'format' | 'file' | 'maxSize' | 'maxFiles'> {
  /** They are handed back, too. */
  readonly isShown: boolean;
}

/** What a journal's worker is told at its start. */
export interface WorkerOptions {
  readonly role: 'write' | 'read';
  readonly path: string;
  /** Tells one run of a gate from the next. */
  readonly session: string;
  readonly secret: string;
  readonly previousSecrets: readonly string[];
  /** Configured secrets, which are hidden wherever they turn up. */
  readonly hidden: readonly string[];
  readonly durable: boolean;
  /** Without the file nothing works; else the journal is kept in memory. */
  readonly required: boolean;
  readonly maxSize: number;
  /** Sinks whose cursors hold back the removal of records; null for all that have one. */
  readonly sinks: readonly string[] | null;
  /** Milliseconds. */
  readonly keepRecords: number;
  readonly keepBodies: number;
  readonly capture: CaptureConfig;
  readonly queryAllow: readonly string[];
  /** Null when nobody reads the access lines. */
  readonly lines: LineOptions | null;
  /** Unix milliseconds. */
  readonly now: number;
}

/** What can be asked of a worker. */
export interface Calls {
  read: { ask: { readonly after: number; readonly limit: number }; answer: readonly AuditRecord[] };
  query: { ask: { readonly sql: string; readonly values: readonly SqlValue[] }; answer: readonly SqlRow[] };
  cursor: { ask: { readonly sink: string }; answer: number };
  forget: { ask: Forgetting & { readonly now: number }; answer: number };
  tidy: { ask: { readonly now: number }; answer: null };
  close: { ask: { readonly now: number }; answer: null };
}

export type CallName = keyof Calls;

export type ToWorker =
  | Batch
  /** A part of a body too large to be kept: hashed as it passes. */
  | { readonly kind: 'piece'; readonly id: string; readonly bytes: Uint8Array }
  /** Records of which nothing but access lines is to be made: there is no room for more. */
  | { readonly kind: 'lines'; readonly spared: readonly Written[] }
  | { readonly kind: 'call'; readonly call: number; readonly name: CallName; readonly ask: unknown };

export type FromWorker =
  | { readonly kind: 'opened'; readonly memory: string | null; readonly lastId: number; readonly bytes: number; readonly interrupted: number }
  | { readonly kind: 'failed'; readonly reason: string }
  /** Access lines of the batch `seq` are made, of records without one where it is null; `bytes` is for who wants to see them. */
  | { readonly kind: 'lines'; readonly seq: number | null; readonly bytes: Uint8Array<ArrayBuffer> | null }
  /** Something is wrong with the file of the access log. */
  | { readonly kind: 'unlined'; readonly sink: string; readonly error: object; readonly effect: string }
  /** Everything up to `seq` is committed; `counted` are lost or removed. */
  | { readonly kind: 'written'; readonly seq: number; readonly lastId: number; readonly records: number; readonly seconds: number; readonly bytes: number }
  /** Nothing of `seq` will be committed: there is no file. */
  | { readonly kind: 'refusing'; readonly seq: number }
  | { readonly kind: 'lost'; readonly reason: DropReason; readonly count: number }
  | { readonly kind: 'full'; readonly reason: string }
  | { readonly kind: 'recovered' }
  | { readonly kind: 'taken'; readonly bytes: number }
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint }
  | { readonly kind: 'tampered'; readonly reason: string }
  | { readonly kind: 'answer'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'refused'; readonly call: number; readonly message: string };

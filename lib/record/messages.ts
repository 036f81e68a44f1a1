import type { AuditConfig, CaptureConfig, LoggingConfig } from '../../types/config.d.ts';
import type { DropReason, Forgetting, JournalSearch, LearntFact, SearchFound, SqlRow, SqlValue, PackedRecords, Packing } from '../../types/journal.d.ts';
import type { AuditRecord, NewRecord } from '../../types/record.d.ts';
import type { Route, RouteClass } from '../../types/route.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import { requestId } from '../request/request.ts';

/** The separator between two texts of a record, and the code of the separator after a record. Texts never contain either. */
export const textEnd = '\x1f';
export const recordEnd = 0x1e;

/** The texts that belong to one request alone, in the order in which they are written. */
export const ownTexts = ['id', 'upstreamRequestId', 'tokenId', 'tokenEnd'] as const;

/** The texts that a caller's requests mostly have in common. They follow its own texts; its headers follow them, name and value in turn. */
export const texts = [
  'method', 'url', 'httpVersion', 'ip', 'forwardedFor', 'outcome', 'device', 'key', 'ja4', 'country', 'model', 'target', 'rules', 'route', 'class', 'answerType', 'answerEncoding',
] as const;

/**
 * The numbers of a record, in the order in which they are written; NaN where there is none. `base` is the number of the record in
 * the same segment whose texts apply where this one has none, or -1 when all texts are written. `body` is the count of bytes of the
 * request body in the segment, or -n when it is the n-th large one; `answer` and `outline` are the same for the answer and for what the
 * scan of the body has found. Times are milliseconds.
 */
export const numbers = [
  'base', 'body', 'answer', 'outline', 'kind', 'bodyTotal', 'answerTotal', 'status', 'duration', 'attempts', 'queueWait', 'firstByte', 'overhead', 'prompt', 'completion', 'cached', 'reasoning', 'reserved', 'settled', 'cost',
  'bytesIn', 'bytesOut', 'stream', 'estimated',
] as const;

/** How many of the first are known at the end of the record alone. */
export const lateNumbers = 4;

/** `record`: a finished request. `intent`: a request about to be forwarded. `line`: a request that leaves an access line and no record. */
export const kinds = { record: 0, intent: 1, line: 2 } as const;
export type Kind = keyof typeof kinds;

/**
 * Shared memory with records in one order: their texts from its start; from its end, for each record, its numbers and below them
 * its body, its answer and the outline of the body.
 */
export interface RecordMemory {
  readonly memory: SharedArrayBuffer;
  readonly records: number;
  /** Bytes of texts. */
  readonly used: number;
  /** Position at which numbers, bodies and answers begin. */
  readonly top: number;
  readonly large: readonly LargeBytes[];
}

/** A body or an answer outside the shared memory. */
export interface LargeBytes {
  /** In shared memory, or in memory that is moved to the worker with the batch; none when it went to an earlier worker. */
  readonly pieces: readonly Uint8Array[];
}

/** The memory of a batch that moves to the worker, so that nothing is copied. */
export function movedOf({ large }: RecordMemory): ArrayBuffer[] {
  const moved: ArrayBuffer[] = [];
  for (const { pieces } of large) for (const { buffer } of pieces) if (buffer instanceof ArrayBuffer) moved.push(buffer);
  return moved;
}

/** The same batch without what was moved. */
export const withoutMoved = (batch: Batch): Batch => ({ ...batch, large: batch.large.map((each) => (each.pieces[0]?.buffer instanceof ArrayBuffer ? { pieces: [] } : each)) });

/** A segment on its way to the worker. */
export interface Batch extends RecordMemory {
  readonly kind: 'batch';
  /** Number of the batch in this run of the gate, from 1. A batch that was committed once is not written again. */
  readonly seq: number;
  /** Unix milliseconds. */
  readonly now: number;
  readonly external: readonly ExternalRecord[];
  readonly cursors: readonly (readonly [sink: string, id: number | null])[];
  /** Its access lines were written already, by a worker that ended before it committed the records. */
  readonly isLined: boolean;
  /** More of the same moment follows: it is committed together with that. */
  readonly isPart: boolean;
}

/** A record from elsewhere, with its id and the route of its path. */
export interface ExternalRecord {
  readonly record: NewRecord;
  readonly id: string;
  readonly route: string;
  readonly class: RouteClass;
}

/** Gives a record from elsewhere an id, where it has none, and the route of its path. */
export function externalRecordOf(record: NewRecord, routeOf: (method: string, path: string) => Route): ExternalRecord {
  const { template, class: of } = routeOf(record.request_method, record.request_path.split('?', 1)[0] ?? '/');
  return { record, id: record.request_id ?? requestId(record.time), route: template, class: of };
}

/** Where access lines are written. */
export interface LineOptions extends Pick<LoggingConfig, 'format' | 'maxSize' | 'maxFiles'> {
  readonly file: string | false;
  /** Lines are also sent back to the main thread, for the console. */
  readonly isShown: boolean;
  /** Those are for a terminal: one short line each. */
  readonly isReadable?: boolean;
}

/** The options of a journal worker. */
export interface WorkerOptions {
  readonly role: 'write' | 'read';
  /** Null: nothing is kept. */
  readonly path: string | null;
  /** Identifies this run of the gate. */
  readonly session: string;
  readonly secret: string;
  readonly previousSecrets: readonly string[];
  /** Configured secrets; they are masked wherever they appear. */
  readonly hidden: string[];
  readonly durable: boolean;
  /** Model routes need the file. Otherwise the journal is kept in memory when the file cannot be used. */
  readonly required: boolean;
  /** Bytes. */
  readonly maxSize: number;
  /** Sinks whose cursors delay the removal of records; null for every sink with a cursor. */
  readonly sinks: readonly string[] | null;
  /** Milliseconds. */
  readonly keepRecords: number;
  readonly keepBodies: number;
  readonly capture: CaptureConfig;
  /** Spans are exported: the caller's trace is kept of every request. */
  readonly traced: boolean;
  readonly fingerprint: AuditConfig['fingerprint'];
  readonly queryAllow: readonly string[];
  /** Paths of the gate itself, which charts leave out. */
  readonly ownPaths: readonly string[];
  /** Ids that clients send are read for the watch. */
  readonly watched: boolean;
  /** URL of a module that follows the journal in its thread (an `ObserverModule`). Null without one. */
  readonly observer: string | null;
  /** The observer hears of other instances. */
  readonly observerShares: boolean;
  /** What the gate hands to the observer. */
  readonly observerOptions: unknown;
  /** Null when access lines go neither to the console nor to a file. */
  readonly lines: LineOptions | null;
  /** Unix milliseconds. */
  readonly now: number;
  /** Set to 1 when the worker has ended, for a main thread that can only wait. */
  readonly ended: Int32Array;
}

/** What can change of a worker that writes while it runs. */
export type WorkerSettings = Pick<WorkerOptions, 'maxSize' | 'sinks' | 'keepRecords' | 'keepBodies' | 'capture' | 'traced' | 'fingerprint' | 'queryAllow' | 'ownPaths' | 'watched' | 'observer' | 'observerOptions' | 'lines'>;

/** What the main thread knows of the time. */
export interface Times {
  /** Unix milliseconds, by the clock of the machine. */
  readonly now: number;
  /** The same, as far as it is believed: not the jump of a moment ago. */
  readonly believed: number;
  /** Milliseconds for which that clock has been steady, or since the start. */
  readonly steadyFor: number;
}

/** The calls a worker answers, with their arguments and results. */
export interface WorkerCalls {
  read: { request: { readonly after: number; readonly limit: number }; result: readonly AuditRecord[] };
  pack: { request: { readonly first: number; readonly last: number; readonly packing: Packing }; result: PackedRecords };
  query: { request: { readonly sql: string; readonly values: readonly SqlValue[] }; result: readonly SqlRow[] };
  request: { request: { readonly id: string }; result: AuditRecord | null };
  grep: { request: JournalSearch; result: SearchFound };
  cursor: { request: { readonly sink: string }; result: number };
  forget: { request: Forgetting & { readonly now: number }; result: number };
  learn: { request: { readonly facts: readonly LearntFact[]; readonly now: number }; result: number };
  retain: { request: Times; result: null };
  /** Brings the sums up to the last record; whether there is more to add up. */
  sum: { request: { readonly now: number }; result: boolean };
  /** Asks the observer; null without one. */
  observe: { request: { readonly question: unknown }; result: unknown };
  /** Claims the delivery to a sink for this gate. */
  claim: { request: { readonly sink: string }; result: boolean };
  close: { request: { readonly now: number }; result: null };
}

export type CallName = keyof WorkerCalls;

export type ToWorker =
  | Batch
  /** Nothing follows the last batches, which were parts. */
  | { readonly kind: 'commit' }
  /** A chunk of a request body that streams: it is hashed as it passes. */
  | { readonly kind: 'bodyChunk'; readonly id: string; readonly bytes: Uint8Array }
  /** Further secrets that are masked from now on. */
  | { readonly kind: 'hide'; readonly secrets: readonly string[] }
  /** Another configuration. */
  | { readonly kind: 'configure'; readonly settings: WorkerSettings }
  /** Records for which the outbox had no room: only their access lines are written. */
  | { readonly kind: 'lines'; readonly unplaced: readonly RecordMemory[] }
  /** For the observer: what other instances tell. */
  | { readonly kind: 'heard'; readonly value: unknown }
  | { readonly kind: 'call'; readonly call: number; readonly name: CallName; readonly request: unknown };

export type FromWorker =
  /** The journal is open. `memory`: why records are kept in memory; `isPassing`: another process has the file for itself. `exposed`: why the file's permissions could not be narrowed. */
  | { readonly kind: 'opened'; readonly memory: string | null; readonly isPassing: boolean; readonly exposed: string | null; readonly lastId: number; readonly bytes: number }
  /** Requests that sessions were forwarding when they ended are recorded. */
  | { readonly kind: 'interrupted'; readonly records: number }
  /** Another process has written up to `lastId`. */
  | { readonly kind: 'grown'; readonly lastId: number }
  /** The access lines of batch `seq` are written, or of unplaced records where `seq` is null; `bytes` are the lines for the console. */
  | { readonly kind: 'lines'; readonly seq: number | null; readonly bytes: Uint8Array<ArrayBuffer> | null }
  /** The file of the access log could not be written. */
  | { readonly kind: 'lineFailure'; readonly sink: string; readonly error: object; readonly effect: string }
  /** Everything up to `seq` is committed. */
  | { readonly kind: 'written'; readonly seq: number; readonly lastId: number; readonly records: number; readonly seconds: number; readonly bytes: number }
  /** Everything up to `seq` is kept in memory, until the file can be opened. */
  | { readonly kind: 'kept'; readonly seq: number; readonly lastId: number; readonly records: number; readonly bytes: number }
  /** So many kept records are not kept any more: they are in the file, or known there. */
  | { readonly kind: 'merged'; readonly records: number }
  | { readonly kind: 'lost'; readonly reason: DropReason; readonly count: number }
  /** So many records would be removed if the clock of the machine, which may have jumped, were believed. */
  | { readonly kind: 'spared'; readonly records: number }
  | { readonly kind: 'full'; readonly reason: string }
  | { readonly kind: 'recovered' }
  /** So many bytes of body chunks were read. */
  | { readonly kind: 'bodyChunkRead'; readonly bytes: number }
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint }
  /** The observer has said something. */
  | { readonly kind: 'observed'; readonly value: unknown }
  | { readonly kind: 'observerFailed'; readonly reason: string }
  | { readonly kind: 'tampered'; readonly reason: string }
  | { readonly kind: 'result'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly call: number; readonly message: string };

// The record of a request, from its end to the row that the journal stores.

import type { JournalStats } from '../../types/journal.d.ts';
import type { Context, Core, Tap } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../http/http.ts';
import { receiver } from './ingest.ts';
import type { Kind } from './messages.ts';
import type { Committed, RecordTap } from './segment.ts';

export { RecordBuilder, type RowTexts } from './builder.ts';
export { addedColumns, columns, erasedValue, names, parts, recordColumns, recordOf, valuesOf, type ColumnName, type RecordRow, type Values } from './columns.ts';
export { decode, wipe, type RawRecord } from './decode.ts';
export { briefBody, digestsIn, wholeBody, type Lookup, type StoredText } from './kept-body.ts';
export { headerDigestsIn, wholeHeaders } from './kept-headers.ts';
export { textDigester, textOfContent, type Covered, type LongText } from './texts.ts';
export { ingestion, type Ingestion, receiver } from './ingest.ts';
export type { Filling } from './intake.ts';
export { externalRecordOf, type Batch, type CallName, type ExternalRecord, type FromWorker, type Kind, type LargeBytes, type LineOptions, movedOf, withoutMoved, type RecordMemory, type Times, type ToWorker, type WorkerCalls, type WorkerOptions, type WorkerSettings } from './messages.ts';
export { csvLine, jsonLine, textOfCell, type Cell } from './record-format.ts';
export { encode, Segment, type Committed } from './segment.ts';

/** `Retry-After` in seconds when a request could not be recorded. */
const retryAfter = 5;

/** The journal as the recording of requests uses it. */
export interface RequestJournal {
  /** Model routes must be refused now. */
  readonly refusing: boolean;
  /** Adds a finished request. */
  push(context: Context, kind: Kind): void;
  /** Commits the intent of a request before it is forwarded. @param then called with whether it is committed. */
  intend(context: Context, then: Committed): void;
  /** Hands over a chunk of a streamed request body. @returns false when this chunk and the following ones are not read. */
  bodyChunk(id: string, chunk: Buffer): boolean;
  stats(): JournalStats;
}

/** Records every request. */
export interface Recorder {
  /** Hands a finished request to the journal. The worker masks, hashes and writes it, and its access line. */
  record(context: Context): void;
  /** The tap for a streamed request body, and for an answer that is recorded. */
  tap(context: Context): Tap;
  /** Wraps the forwarding of model routes: the request may have to wait for its intent to be committed. */
  admit(forward: (context: Context) => void): (context: Context) => void;
}

/**
 * Every request leaves an access line and a record. Successful requests to the health, metrics and log endpoints leave no record.
 * @param isLined whether access lines are written now.
 */
export function recorder(core: Core, journal: RequestJournal, isLined: () => boolean): Recorder {
  const { enabled, durability, onFull } = core.config.audit;
  const { health, metrics, log } = core.config.endpoints;
  const unrecorded = new Set([health, metrics, log, receiver].filter((path) => path !== false));
  return {
    record(context) {
      if (enabled && (context.errorCode !== null || !unrecorded.has(context.route.template))) journal.push(context, 'record');
      else if (isLined()) journal.push(context, 'line');
    },
    tap: (context) => (context.tap ??= new AnswerTap(context, journal, core.config.audit.capture.response)),
    admit(forward) {
      if (durability === 'batched' && onFull === 'drop') return forward;
      const admitted = durability === 'strict' ? (context: Context) => intend(journal, context, forward) : forward;
      return (context) => {
        if (!journal.refusing) admitted(context);
        else if (!context.refuse('audit', unavailable())) forward(context);
      };
    },
  };
}

const unavailable = (): HeimdallError => new HeimdallError('journal_unavailable', { retryAfter });

/** While the journal cannot be written, `on_full: drop` forwards without a record. A client that left meanwhile gets no answer. */
function intend(journal: RequestJournal, context: Context, forward: (context: Context) => void): void {
  journal.intend(context, (written) => {
    if (context.finished) return;
    const mayPass = written || (journal.stats().state.kind === 'full' && !journal.refusing);
    if (mayPass || !context.refuse('audit', unavailable())) forward(context);
  });
}

/** Counts and hands on the chunks of a streamed request body, and keeps the start of the answer. */
class AnswerTap implements RecordTap {
  readonly #id: string;
  readonly #journal: RequestJournal;
  readonly #chunks: Buffer[] = [];
  #room: number;
  #lost = false;
  /** Bytes of the streamed request body. */
  streamed = 0;
  type: string | null = null;
  encoding: string | null = null;

  constructor({ id }: Context, journal: RequestJournal, room: number) {
    this.#id = id;
    this.#journal = journal;
    this.#room = room;
  }

  body(chunk: Buffer): void {
    this.streamed += chunk.length;
    if (!this.#lost) this.#lost = !this.#journal.bodyChunk(this.#id, chunk);
  }

  head(head: readonly string[]): void {
    this.type = headerOf(head, 'content-type');
    this.encoding = headerOf(head, 'content-encoding');
  }

  /** Copies the chunk: a slice would keep the whole read buffer alive. */
  answer(chunk: Buffer): void {
    if (this.#room === 0) return;
    const part = Buffer.from(chunk.subarray(0, this.#room));
    this.#room -= part.length;
    this.#chunks.push(part);
  }

  taken(): Buffer | null {
    return this.#chunks.length === 0 ? null : Buffer.concat(this.#chunks);
  }
}

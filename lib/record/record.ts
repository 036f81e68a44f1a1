// What is known of a request when it ends, and the form in which it is handed to the journal.

import type { JournalStats } from '../../types/journal.d.ts';
import type { Context, Core, Tap } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../http/http.ts';
import type { Tapped } from './encode.ts';
import { receiver } from './ingest.ts';
import type { Kind } from './messages.ts';
import type { Committed } from './segment.ts';

export { Drafter } from './builder.ts';
export { columns, emptied, names, parts, recordColumns, recordOf, valuesOf, type ColumnName, type Draft, type Values } from './columns.ts';
export { decode, wipe, type Raw } from './decode.ts';
export { encode } from './encode.ts';
export { ingestion, type Ingestion } from './ingest.ts';
export { addedOf, type Added, type Batch, type CallName, type Calls, type FromWorker, type Kind, type LineOptions, type ToWorker, type WorkerOptions, type Written } from './messages.ts';
export { Segment, type Committed } from './segment.ts';

/** Seconds after which a client may try again whose request could not be recorded. */
const retryAfter = 5;

/** The journal as the recording of requests uses it. */
export interface RequestJournal {
  /** Model routes must not be served now. */
  readonly refusing: boolean;
  /** Adds a finished request. */
  push(context: Context, kind: Kind): void;
  /** Commits the intent of a request before it is forwarded. @param then called with whether it is committed. */
  intend(context: Context, then: Committed): void;
  /** Hands over a piece of a body that is not kept whole. @returns false when the piece and those after it are lost. */
  piece(id: string, chunk: Buffer): boolean;
  stats(): JournalStats;
}

/** Makes the record of every request. */
export interface Recorder {
  /** Hands on a finished request: everything but the writing down, the access line among it, is the worker's. */
  record(context: Context): void;
  /** Looks at bytes that pass and are not kept: of a body that streams, of an answer that is to be recorded. */
  tap(context: Context): Tap;
  /** What stands between a model route and its forwarding: nothing, or the commit of the intent. */
  admit(forward: (context: Context) => void): (context: Context) => void;
}

/**
 * One access line for every request, and one record but of the polls of monitoring and the handing in of records, where they
 * got what they asked for.
 * @param isLined whether anybody reads the lines.
 */
export function recorder(core: Core, journal: RequestJournal, isLined: boolean): Recorder {
  const { durability, onFull } = core.config.audit;
  const { health, metrics, log } = core.config.endpoints;
  const unrecorded = new Set([health, metrics, log, receiver].filter((path) => path !== false));
  return {
    record(context) {
      if (context.errorCode !== null || !unrecorded.has(context.route.template)) journal.push(context, 'record');
      else if (isLined) journal.push(context, 'line');
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

/** While nothing can be written, `on_full: drop` goes on without; a client that left meanwhile needs no answer. */
function intend(journal: RequestJournal, context: Context, forward: (context: Context) => void): void {
  journal.intend(context, (written) => {
    if (context.finished) return;
    const mayPass = written || (journal.stats().state.kind === 'full' && !journal.refusing);
    if (mayPass || !context.refuse('audit', unavailable())) forward(context);
  });
}

/** What the record keeps of bytes that only pass. */
class AnswerTap implements Tapped {
  readonly #id: string;
  readonly #journal: RequestJournal;
  readonly #chunks: Buffer[] = [];
  #room: number;
  #lost = false;
  /** Bytes of a body that streams. */
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
    if (!this.#lost) this.#lost = !this.#journal.piece(this.#id, chunk);
  }

  head(head: readonly string[]): void {
    this.type = headerOf(head, 'content-type');
    this.encoding = headerOf(head, 'content-encoding');
  }

  /** Copied: a slice would keep alive all that was read with it. */
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

import type { Context } from '../context.ts';
import type { Core, Tap } from '../core.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../head.ts';
import { overhead } from '../metrics.ts';
import { receiver } from './ingest.ts';
import type { WorkerJournal } from './journal.ts';
import { fieldEnd as f, recordEnd } from './wire.ts';

/** A request line is cut here; what is kept of it is shorter. */
const longestUrl = 8192;
/** With longer headers only those are handed on that are needed. */
const longestHeaders = 98_304;
/** A cookie or an agent beyond this is cut. */
const longestHeader = 16_384;

/** Seconds after which a client may try again whose request could not be recorded. */
const retryAfter = 5;

/** Makes the record of every request. */
export interface Recorder {
  /** Hands on a finished request: some four microseconds; everything else, the access line among it, is the worker's. */
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
export function recorder(core: Core, journal: WorkerJournal, isLined: boolean): Recorder {
  const { durability, onFull } = core.config.audit;
  const { health, metrics, log } = core.config.endpoints;
  const unrecorded = new Set([health, metrics, log, receiver].filter((path) => path !== false));
  return {
    record(context) {
      if (context.errorCode === null && unrecorded.has(context.route.template)) {
        if (isLined) journal.push(textOf(context, 'l'), null, 0, null, 0);
        return;
      }
      const tap = context.tap as AnswerTap | null;
      const streamed = tap?.streamed ?? 0;
      const body = streamed === 0 && context.route.class === 'model' && context.body !== null && context.body.length > 0 ? context.body : null;
      journal.push(textOf(context, 'r'), body, body === null ? streamed : body.length, tap === null ? null : tap.taken(), context.bytesOut);
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
function intend(journal: WorkerJournal, context: Context, forward: (context: Context) => void): void {
  journal.intend(textOf(context, 'i'), (written) => {
    if (context.finished) return;
    const mayPass = written || (journal.stats().state.kind === 'full' && !journal.refusing);
    if (mayPass || !context.refuse('audit', unavailable())) forward(context);
  });
}

const micro = (ms: number | null): number | string => (ms === null ? '' : Math.round(ms * 1000));
const flag = (is: boolean): string => (is ? '1' : '');
const orNone = (text: string | number | null | undefined): string | number => text ?? '';

const ends = /\p{Cc}/u;
const everyEnd = /\p{Cc}/gu;
/** A text that came neither in a header nor in the request line may hold any character. */
const clean = (text: string | null): string => (text === null ? '' : ends.test(text) ? text.replace(everyEnd, ' ') : text);

/**
 * The end of a mask, behind `sk-…`, put together of characters: a piece of a text with a wide character is wide itself, and
 * one wide piece makes the whole record wide, which costs a microsecond.
 */
const last = (mask: string): string => mask.charAt(4) + mask.charAt(5) + mask.charAt(6) + mask.charAt(7);

/** The record as one text, its values in the order of `fields`: a structured clone of them would cost twice as much on either side. */
export function textOf(context: Context, kind: 'r' | 'i' | 'l'): string {
  const { req, route, token, usage } = context;
  const url = req.originalUrl ?? req.url ?? '';
  const outcome = kind === 'i' ? 'interrupted' : context.outcome === 'refused' ? `refused:${context.errorCode ?? 'unknown'}` : context.outcome;
  const seconds = overhead(context);
  const answer = context.tap as AnswerTap | null;
  const values: (string | number)[] = [
    kind, context.id, orNone(req.method), url.length > longestUrl ? url.slice(0, longestUrl) : url, req.httpVersion, context.ip, context.forwardedFor,
    context.status, Math.round(context.duration * 10) / 10, outcome, context.device, token === null ? '' : token.id, token === null ? '' : last(token.mask), clean(context.key),
    orNone(context.ja4), orNone(context.country), clean(context.model), flag(context.stream), orNone(context.target), context.attempts, orNone(context.upstreamRequestId),
    micro(context.queueWait), micro(context.headAt), seconds === null ? '' : Math.round(seconds * 1e6),
    orNone(usage?.prompt), orNone(usage?.completion), orNone(usage?.cached), orNone(usage?.reasoning), flag(usage?.estimated ?? false),
    orNone(context.tokensReserved), context.tokensReserved === null ? '' : orNone(context.tokensSettled), orNone(context.cost), context.bytesIn, context.bytesOut,
    context.rules === null ? '' : context.rules.join(','), route.template, route.class, orNone(answer?.type), orNone(answer?.encoding),
  ];
  addHeaders(values, context);
  return values.join(f) + recordEnd;
}

/**
 * Adds the headers, name and value in turn. Only credentialed routes hand them all on: of the dashboard's, of webhooks and of
 * pages nothing but agent, cookies and what an access line may show of the referrer leaves the request.
 */
function addHeaders(values: (string | number)[], { req, route }: Context): void {
  const { rawHeaders } = req;
  if (route.credential && rawHeaders.length > 0) {
    let length = 0;
    for (let at = 0; at < rawHeaders.length; at++) {
      const text = rawHeaders[at] as string;
      length += text.length;
      values.push(text);
    }
    if (length <= longestHeaders) return;
    values.length -= rawHeaders.length;
  }
  const { 'user-agent': agent, cookie, referer, 'content-type': type, 'content-encoding': encoding } = req.headers;
  addHeader(values, 'user-agent', agent);
  addHeader(values, 'cookie', cookie);
  addHeader(values, 'referer', referer?.split(/[?#]/, 1)[0]);
  addHeader(values, 'content-type', type);
  addHeader(values, 'content-encoding', encoding);
}

function addHeader(values: (string | number)[], name: string, value: string | undefined): void {
  if (value !== undefined) values.push(name, value.slice(0, longestHeader));
}

/** What the record keeps of bytes that only pass. */
class AnswerTap implements Tap {
  readonly #id: string;
  readonly #journal: WorkerJournal;
  readonly #chunks: Buffer[] = [];
  #room: number;
  #lost = false;
  /** Bytes of a body that streams. */
  streamed = 0;
  type: string | null = null;
  encoding: string | null = null;

  constructor({ id }: Context, journal: WorkerJournal, room: number) {
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

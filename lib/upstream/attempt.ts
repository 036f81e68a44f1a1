import type { Dispatcher } from 'undici';
import type { Context } from '../context.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../head.ts';
import { answerHead } from './hygiene.ts';
import { StreamPeek } from './sse.ts';
import { requestFor, type Connection, type ConnectionAware, type Target } from './targets.ts';

/** A complete answer that was not passed on. */
export interface Reply {
  readonly status: number;
  readonly head: string[];
  /** Null when it did not come whole within the bounds below. */
  readonly body: Buffer | null;
}

/** Why an attempt ended without an answer for the client. */
export type Failure =
  /** Nothing was sent: refused, DNS, TLS, connect timeout. */
  | { readonly kind: 'unreachable'; readonly cause: unknown }
  /** A kept-alive socket was closed under the request: zero bytes came back. */
  | { readonly kind: 'stale' }
  /** The connection broke after the request was sent. */
  | { readonly kind: 'reset'; readonly cause: unknown }
  | { readonly kind: 'timeout' }
  /** No HTTP, a JSON answer cut short, or a stream without an event. */
  | { readonly kind: 'unusable'; readonly cause: unknown }
  /** The request itself cannot be put on the wire. */
  | { readonly kind: 'malformed'; readonly cause: unknown }
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** A stream whose first event is an error. */
  | { readonly kind: 'error_event'; readonly error: unknown; readonly head: string[] };

/** A JSON answer commits when it is complete or exceeds this; an error's body is kept up to it. */
const holdLimit = 262_144;

/** Answers up to this size leave in one piece with their head. */
const joinedBytes = 16_384;

/** How long an error's body may take, milliseconds; without it the next target is asked all the same. */
const errorBodyGrace = 2000;

interface Peeking {
  readonly phase: 'peeking';
  readonly controller: Dispatcher.DispatchController;
  readonly reading: 'stream' | 'json' | 'error';
  readonly status: number;
  readonly head: string[];
  readonly held: Buffer[];
  readonly peek: StreamPeek | null;
  size: number;
}

type State =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'waiting'; readonly controller: Dispatcher.DispatchController }
  | Peeking
  | { readonly phase: 'committed'; readonly controller: Dispatcher.DispatchController }
  | { readonly phase: 'done' };

const connecting: State = { phase: 'connecting' };
const done: State = { phase: 'done' };
const over = new Error('the exchange is over');

/**
 * One exchange with one target. Until it commits nothing has been sent to the client and it may fail silently; a stream
 * commits at its first event that is no error, a JSON answer when it is complete, everything else at its head.
 */
export class Attempt implements Dispatcher.DispatchHandler, ConnectionAware {
  connection: Connection | null = null;
  readonly target: Target;
  readonly #context: Context;
  readonly #failed: (failure: Failure, attempt: Attempt) => void;
  #state: State = connecting;
  /** Unix milliseconds; while committed, since when the upstream is silent plus its limit. */
  #due = 0;
  /** Unix milliseconds by which something must have committed. */
  #deadline = 0;
  #reused = false;

  constructor(context: Context, target: Target, failed: (failure: Failure, attempt: Attempt) => void) {
    this.#context = context;
    this.target = target;
    this.#failed = failed;
  }

  /** @param patience milliseconds until something must have committed. */
  start(patience: number): void {
    const { clock, config } = this.#context.core;
    const now = clock.now();
    this.#deadline = now + patience;
    // undici's own limit may come a second late.
    this.#due = Math.min(this.#deadline, now + config.llm.timeouts.connect);
    this.target.pool.dispatch(requestFor(this.target, this.#context), this);
  }

  /** Ends the exchange in any phase and says nothing about it. While connecting, `onRequestStart` finds out. */
  abort(): void {
    const state = this.#state;
    this.#end();
    if ('controller' in state) state.controller.abort(over);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#state.phase === 'done') return controller.abort(over);
    this.#state = { phase: 'waiting', controller };
    this.#due = this.#deadline;
    this.#reused = this.connection?.serve() ?? false;
    this.#context.sentAt = this.#context.elapsed();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200 || this.#state.phase !== 'waiting') return;
    const head = answerHead(this.#context, (controller.rawHeaders ?? []) as Buffer[], this.target.credential === 'own');
    const reading = readingOf(status, head, this.#context);
    if (reading === 'none') return this.#commit(controller, status, head);
    this.#state = { phase: 'peeking', controller, reading, status, head, held: [], size: 0, peek: reading === 'stream' ? new StreamPeek() : null };
    if (reading === 'error') this.#due = this.#context.core.clock.now() + errorBodyGrace;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const state = this.#state;
    if (state.phase === 'committed') this.#relay(controller, chunk);
    else if (state.phase === 'peeking') this.#hold(state, chunk);
  }

  onResponseEnd(): void {
    const state = this.#state;
    if (state.phase === 'committed') {
      this.#end();
      this.#context.res.end();
    } else if (state.phase === 'peeking') this.#complete(state);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const state = this.#state;
    switch (state.phase) {
      case 'done':
        return;
      case 'connecting':
        return this.#fail(neverSent(error));
      case 'waiting':
        return this.#fail(this.#broken(error));
      case 'peeking':
        return this.#fail(cut(state, error));
      case 'committed':
        this.#end();
        return this.#context.fail(new HeimdallError('upstream_interrupted', { cause: error }));
    }
  }

  #broken(error: Error): Failure {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (error.name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW') return { kind: 'unusable', cause: error };
    return this.#reused ? { kind: 'stale' } : { kind: 'reset', cause: error };
  }

  #hold(state: Peeking, chunk: Buffer): void {
    state.held.push(chunk);
    state.size += chunk.length;
    const beginning = state.peek?.push(chunk);
    if (beginning?.kind === 'error') return this.#fail({ kind: 'error_event', error: beginning.error, head: state.head });
    if (beginning?.kind !== 'event' && state.size <= holdLimit) return;
    if (state.reading === 'error') return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body: null } });
    this.#commit(state.controller, state.status, state.head);
    for (const bytes of state.held) this.#relay(state.controller, bytes);
  }

  #complete(state: Peeking): void {
    const body = state.held.length === 1 ? (state.held[0] as Buffer) : Buffer.concat(state.held);
    if (state.reading === 'error') return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body } }, true);
    if (state.reading === 'stream' || !looksComplete(body)) return this.#fail({ kind: 'unusable', cause: null }, true);
    this.#end();
    this.#context.exchange = null;
    deliver(this.#context, this.target, { status: state.status, head: state.head, body });
  }

  #commit(controller: Dispatcher.DispatchController, status: number, head: string[]): void {
    const context = this.#context;
    this.#state = { phase: 'committed', controller };
    this.#heard();
    answered(context, this.target, status, head);
    if (headerOf(head, 'content-type')?.startsWith('text/event-stream')) {
      context.eventStream = headerOf(head, 'content-encoding') === null;
      if (headerOf(head, 'x-accel-buffering') === null) head.push('X-Accel-Buffering', 'no');
    }
    context.writeProxied(status, head);
  }

  /** Back pressure: a slow reader pauses the upstream instead of filling memory. */
  #relay(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { res } = this.#context;
    this.#context.bytesOut += chunk.length;
    this.#heard();
    if (res.write(chunk)) return;
    controller.pause();
    res.once('drain', () => controller.resume());
  }

  /** @param ended the exchange is complete and its connection may serve again. */
  #fail(failure: Failure, ended = false): void {
    const state = this.#state;
    this.#end();
    if ('controller' in state && !ended) state.controller.abort(over);
    this.#failed(failure, this);
  }

  #end(): void {
    this.#state = done;
  }

  /** The clock of the last look is exact enough for silence, and free. */
  #heard(): void {
    const { watch, config } = this.#context.core;
    this.#due = watch.now + config.llm.timeouts.idle;
  }

  look(now: number): void {
    if (now >= this.#due && this.#state.phase !== 'done') this.#late();
  }

  #late(): void {
    const state = this.#state;
    if (state.phase === 'committed') return this.#silent(state.controller);
    if (state.phase === 'peeking' && state.reading === 'error') {
      return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body: null } });
    }
    const unsent = state.phase === 'connecting';
    this.#fail(unsent ? { kind: 'unreachable', cause: 'connect timeout' } : { kind: 'timeout' });
  }

  /** A reader that stalls is not an upstream that is silent. */
  #silent(controller: Dispatcher.DispatchController): void {
    if (this.#context.res.writableNeedDrain) return this.#heard();
    this.#end();
    controller.abort(over);
    this.#context.fail(new HeimdallError('upstream_interrupted'));
  }
}

function neverSent(error: Error): Failure {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'UND_ERR_INVALID_ARG' ? { kind: 'malformed', cause: error } : { kind: 'unreachable', cause: error };
}

/** An answer had begun: a JSON document is cut short, a stream of which nothing was passed on is a broken exchange. */
function cut(state: Peeking, cause: unknown): Failure {
  if (state.reading === 'error') return { kind: 'reply', reply: { status: state.status, head: state.head, body: null } };
  return state.reading === 'json' ? { kind: 'unusable', cause } : { kind: 'reset', cause };
}

function readingOf(status: number, head: readonly string[], context: Context): 'stream' | 'json' | 'error' | 'none' {
  if (status >= 400) return 'error';
  if (status === 204 || status === 304 || context.req.method === 'HEAD' || headerOf(head, 'content-encoding') !== null) return 'none';
  const type = headerOf(head, 'content-type') ?? '';
  if (type.startsWith('text/event-stream')) return 'stream';
  if (!type.includes('json')) return 'none';
  return Number(headerOf(head, 'content-length') ?? 0) > holdLimit ? 'none' : 'json';
}

/** Framing that ends cleanly can still carry half a document. */
function looksComplete(body: Buffer): boolean {
  let last = body.length - 1;
  while (last >= 0 && (body[last] as number) <= 0x20) last--;
  return body[last] === 0x7d || body[last] === 0x5d;
}

/** Notes what an answer says about the caller and the upstream. */
function answered(context: Context, target: Target, status: number, head: readonly string[]): void {
  context.answeredAt = context.elapsed();
  context.target = target.name;
  context.upstreamRequestId = headerOf(head, 'x-oneapi-request-id');
  if (target.credential === 'caller' && !context.ambiguous) context.vouched = status < 300 ? 'accepted' : status === 401 ? 'refused' : null;
}

/** Sends a complete answer. */
export function deliver(context: Context, target: Target, reply: Reply & { readonly body: Buffer }): void {
  answered(context, target, reply.status, reply.head);
  if (headerOf(reply.head, 'content-length') === null) reply.head.push('Content-Length', String(reply.body.length));
  context.writeProxied(reply.status, reply.head);
  context.bytesOut += reply.body.length;
  // One string is one write; head and bytes apart are a vector of two.
  if (reply.body.length <= joinedBytes) context.res.end(reply.body.toString('latin1'), 'latin1');
  else context.res.end(reply.body);
}

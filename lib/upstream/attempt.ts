import type { Dispatcher } from 'undici';
import type { Context } from '../context.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../head.ts';
import { answerHead } from './hygiene.ts';
import { answered, deliver } from './deliver.ts';
import { endsEvent, holdLimit, lineFeed, looksComplete, readingOf, type Reading } from './reading.ts';
import type { Failure, Watcher } from './failure.ts';
import { StreamPeek } from './sse.ts';
import { jsonUsage, meterFor, type UsageTap } from './usage.ts';
import { requestFor, type Connection, type ConnectionAware, type Target } from './targets.ts';

/** How long an error's body may take, milliseconds; without it the next target is asked all the same. */
const errorBodyGrace = 2000;

interface Peeking {
  readonly phase: 'peeking';
  readonly controller: Dispatcher.DispatchController;
  readonly reading: Exclude<Reading, 'none'>;
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
const nothing = Buffer.alloc(0);
const whole = (chunks: readonly Buffer[]): Buffer => (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
const over = new Error('the exchange is over');
const silence = new Error('the upstream fell silent');

/**
 * One exchange with one target. Until it commits nothing has been sent to the client and it may fail silently; a stream
 * commits at its first event that is no error, a JSON answer when it is complete, everything else at its head.
 */
export class Attempt implements Dispatcher.DispatchHandler, ConnectionAware {
  connection: Connection | null = null;
  readonly target: Target;
  readonly #context: Context;
  readonly #watcher: Watcher;
  #state: State = connecting;
  /** Unix milliseconds; while committed, since when the upstream is silent plus its limit. */
  #due = 0;
  /** Unix milliseconds by which something must have committed. */
  #deadline = 0;
  #reused = false;
  /** `llm.keep_alive_comments`, milliseconds. */
  readonly #comments: number | null;
  #commentedAt = 0;
  #atBoundary = false;
  #atLineEnd = false;
  #meter: UsageTap | null = null;

  constructor(context: Context, target: Target, watcher: Watcher) {
    this.#context = context;
    this.target = target;
    this.#watcher = watcher;
    this.#comments = context.core.config.llm.keepAliveComments;
  }

  /** @param patience milliseconds until something must have committed. */
  start(patience: number): void {
    const { clock, config } = this.#context.core;
    const now = clock.now();
    this.#deadline = now + patience;
    // undici's own limit may come a second late.
    this.#due = Math.min(this.#deadline, now + config.llm.timeouts.connect);
    this.target.inHand++;
    this.target.pool.dispatch(requestFor(this.target, this.#context), this);
  }

  /** Ends the exchange in any phase and says nothing about it. While connecting, `onRequestStart` finds out. */
  abort(): void {
    const state = this.#state;
    this.#measured(false);
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
    if (reading === 'none') return this.#commit(controller, status, head, nothing);
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
      this.#measured(true);
      this.#end();
      this.#watcher.completed(this.target);
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
        return this.#interrupt(error);
    }
  }

  #broken(error: Error): Failure {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (error.name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW') return { kind: 'not_http', cause: error };
    return this.#reused ? { kind: 'stale' } : { kind: 'reset', cause: error };
  }

  #hold(state: Peeking, chunk: Buffer): void {
    state.held.push(chunk);
    state.size += chunk.length;
    const beginning = state.peek?.push(chunk);
    if (beginning?.kind === 'error') return this.#fail({ kind: 'error_event', error: beginning.error, head: state.head });
    if (beginning?.kind !== 'event' && state.size <= holdLimit) return;
    if (state.reading === 'error') return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body: null } });
    this.#commit(state.controller, state.status, state.head, whole(state.held));
    if (this.#state.phase !== 'committed') return;
    for (const bytes of state.held) this.#relay(state.controller, bytes);
  }

  #complete(state: Peeking): void {
    const body = whole(state.held);
    if (state.reading === 'error') return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body } }, true);
    if (state.reading === 'stream' || !looksComplete(body)) return this.#fail({ kind: 'cut', cause: null, head: state.head }, true);
    this.#end();
    this.#context.exchange = null;
    this.#context.usage = jsonUsage(body);
    this.#watcher.committed(this.target, body);
    this.#watcher.completed(this.target);
    deliver(this.#context, this.target, { status: state.status, head: state.head, body });
  }

  #commit(controller: Dispatcher.DispatchController, status: number, head: string[], bytes: Buffer): void {
    const context = this.#context;
    const isStream = headerOf(head, 'content-type')?.startsWith('text/event-stream') ?? false;
    const isReadable = isStream && headerOf(head, 'content-encoding') === null;
    // A client that has been sent the head of a stream could not make anything of it.
    if (context.prelude && !isReadable) return this.#fail({ kind: 'cut', cause: null, head });
    this.#state = { phase: 'committed', controller };
    this.#heard();
    this.#watcher.committed(this.target, bytes);
    answered(context, this.target, status, head);
    if (isStream) {
      context.eventStream = isReadable;
      if (headerOf(head, 'x-accel-buffering') === null) head.push('X-Accel-Buffering', 'no');
    }
    this.#meter = meterFor(context, head);
    context.writeProxied(status, head);
  }

  /** Back pressure: a slow reader pauses the upstream instead of filling memory. */
  #relay(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { res } = this.#context;
    this.#context.bytesOut += chunk.length;
    this.#heard();
    this.#meter?.push(chunk);
    if (this.#comments !== null) this.#atBoundary = endsEvent(chunk, this.#atLineEnd);
    this.#atLineEnd = chunk[chunk.length - 1] === lineFeed;
    if (res.write(chunk)) return;
    controller.pause();
    res.once('drain', () => {
      this.#heard();
      controller.resume();
    });
  }

  /** @param ended the exchange is complete and its connection may serve again. */
  #fail(failure: Failure, ended = false): void {
    const state = this.#state;
    this.#end();
    if ('controller' in state && !ended) state.controller.abort(over);
    this.#watcher.failed(failure, this.target);
  }

  #end(): void {
    if (this.#state !== done) this.target.inHand--;
    this.#state = done;
  }

  /** @param complete false when the answer was cut, so that what is missing is estimated. */
  #measured(complete: boolean): void {
    if (this.#meter !== null) this.#context.usage = this.#meter.end(complete);
    this.#meter = null;
  }

  #interrupt(cause: unknown): void {
    this.#measured(false);
    this.#end();
    this.#watcher.broken(this.target, cause === silence);
    this.#context.fail(new HeimdallError('upstream_interrupted', { cause }));
  }

  /** The clock of the last look is exact enough for silence, and free. */
  #heard(): void {
    const { watch, config } = this.#context.core;
    this.#due = watch.now + config.llm.timeouts.idle;
  }

  look(now: number): void {
    const { phase } = this.#state;
    if (phase === 'done') return;
    if (now >= this.#due) return this.#late();
    if (phase === 'committed' && this.#comments !== null) this.#comment(now, this.#comments);
  }

  /** Only between two events: within one it would become part of it. */
  #comment(now: number, every: number): void {
    const { res, eventStream, core } = this.#context;
    const silentSince = Math.max(this.#due - core.config.llm.timeouts.idle, this.#commentedAt);
    if (!eventStream || !this.#atBoundary || res.writableNeedDrain || now - silentSince < every) return;
    this.#commentedAt = now;
    res.write(': keep-alive\n\n');
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
    this.#interrupt(silence);
    controller.abort(over);
  }
}

function neverSent(error: Error): Failure {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'UND_ERR_INVALID_ARG' ? { kind: 'malformed', cause: error } : { kind: 'unreachable', cause: error };
}

/** An answer had begun: a JSON document is cut short, a stream of which nothing was passed on is a broken exchange. */
function cut(state: Peeking, cause: unknown): Failure {
  if (state.reading === 'error') return { kind: 'reply', reply: { status: state.status, head: state.head, body: null } };
  return state.reading === 'json' ? { kind: 'cut', cause, head: state.head } : { kind: 'reset', cause };
}

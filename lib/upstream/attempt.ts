import type { Dispatcher } from 'undici';
import type { Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf, withoutField } from '../http/http.ts';
import { answerHead } from './headers.ts';
import { answered, deliver } from './answer.ts';
import { endsEvent, holdLimit, isWhole, lineFeed, readingOf, type Reading } from './commit-rule.ts';
import { neverSent, type Failure, type Watcher } from './failure.ts';
import { ExtraChunkFilter, jsonUsage, meterFor, type UsageTap } from '../usage/usage.ts';
import { StreamPeek } from './sse.ts';
import { requestFor, type Connection, type ConnectionAware, type Target } from './targets.ts';

/** How long an error's body, or the end of a stream that has said everything, may take, milliseconds: nothing is lost without. */
const grace = 2000;

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
const within = new Error('the stream ended within an event');

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
  /** Something came back, if only the first byte of a head. */
  #begun = false;
  /** `llm.keep_alive_comments`, milliseconds. */
  readonly #comments: number | null;
  #commentedAt = 0;
  #atBoundary = false;
  #atLineEnd = false;
  #meter: UsageTap | null = null;
  #filter: ExtraChunkFilter | null = null;

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

  onResponseStarted(): void {
    this.#begun = true;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200 || this.#state.phase !== 'waiting') return;
    const head = answerHead((controller.rawHeaders ?? []) as Buffer[], this.target.credential === 'own');
    const reading = readingOf(status, head, this.#context);
    if (reading === 'none') return this.#commit(controller, status, head, nothing);
    this.#state = { phase: 'peeking', controller, reading, status, head, held: [], size: 0, peek: reading === 'stream' ? new StreamPeek() : null };
    if (reading === 'error') this.#due = this.#context.core.clock.now() + grace;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const state = this.#state;
    if (state.phase === 'committed') this.#relay(controller, chunk);
    else if (state.phase === 'peeking') this.#hold(state, chunk);
  }

  onResponseEnd(): void {
    const state = this.#state;
    if (state.phase === 'committed') this.#finish(null);
    else if (state.phase === 'peeking') this.#complete(state);
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
        return this.#finish(error);
    }
  }

  #broken(error: Error): Failure {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (error.name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW') return { kind: 'not_http', cause: error };
    return this.#reused && !this.#begun ? { kind: 'stale' } : { kind: 'reset', cause: error };
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
    if (state.reading === 'stream' || !isWhole(body, state.head)) return this.#fail({ kind: 'cut', cause: null, head: state.head }, true);
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
      // What may be added to the stream, an error at its end for one, would not be counted in.
      if (isReadable) withoutField(head, 'content-length');
      if (headerOf(head, 'x-accel-buffering') === null) head.push('X-Accel-Buffering', 'no');
    }
    this.#meter = meterFor(context, head);
    if (isReadable && context.usageAdded) this.#filter = new ExtraChunkFilter();
    context.writeProxied(status, head);
  }

  /** Back pressure: a slow reader pauses the upstream instead of filling memory. */
  #relay(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { res } = this.#context;
    this.#meter?.push(chunk);
    this.#context.tap?.answer(chunk);
    this.#heard();
    const bytes = this.#filter === null ? chunk : whole(this.#filter.push(chunk));
    if (this.#comments !== null && bytes.length > 0) this.#atBoundary = endsEvent(bytes, this.#atLineEnd);
    this.#atLineEnd = chunk[chunk.length - 1] === lineFeed;
    this.#context.bytesOut += bytes.length;
    if (bytes.length === 0 || res.write(bytes)) return;
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

  /**
   * @param complete false when the answer was cut, so that what is missing is estimated.
   * @returns whether nothing is missing all the same.
   */
  #measured(complete: boolean): boolean {
    const meter = this.#meter;
    if (meter === null) return false;
    this.#meter = null;
    this.#context.usage = meter.end(complete || meter.over);
    return meter.over;
  }

  /** An answer that had begun is at its end: a good one by its framing or its own last words. @param cause what cut it, or null. */
  #finish(cause: Error | null): void {
    const context = this.#context;
    const over = this.#measured(cause === null);
    this.#end();
    const rest = this.#filter === null ? nothing : whole(this.#filter.end());
    context.bytesOut += rest.length;
    if (rest.length > 0) context.res.write(rest);
    if (over || (cause === null && (this.#atLineEnd || !context.eventStream))) {
      this.#watcher.completed(this.target);
      return void context.res.end();
    }
    this.#watcher.broken(this.target, cause === silence);
    context.fail(new HeimdallError('upstream_interrupted', { cause: cause ?? within }));
  }

  /** The clock of the last look is exact enough for silence, and free. */
  #heard(): void {
    const { deadlines, config } = this.#context.core;
    const { idle } = config.llm.timeouts;
    this.#due = deadlines.now + (this.#meter?.over ? Math.min(grace, idle) : idle);
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
    if (!eventStream || !this.#atBoundary || this.#meter?.over || res.writableNeedDrain || now - silentSince < every) return;
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
    this.#finish(silence);
    controller.abort(over);
  }
}

/** An answer had begun: a JSON document is cut short, a stream of which nothing was passed on is a broken exchange. */
function cut(state: Peeking, cause: unknown): Failure {
  if (state.reading === 'error') return { kind: 'reply', reply: { status: state.status, head: state.head, body: null } };
  return state.reading === 'json' ? { kind: 'cut', cause, head: state.head } : { kind: 'reset', cause };
}

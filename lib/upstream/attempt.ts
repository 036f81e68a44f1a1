import type { Dispatcher } from 'undici';
import { contain, guarded, type Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { codingsOf, endOfValue, eventStream, headerOf, mediaTypeOf, skipSpace, withoutField } from '../http/http.ts';
import { answerHead, asLive } from './headers.ts';
import { crumbBytes, Crumbs } from './crumbs.ts';
import { deliver, noteAnswer } from './answer.ts';
import { neverSent, type AttemptListener, type Failure } from './failure.ts';
import { ExtraChunkFilter, jsonUsage, meterFor, type UsageMeter } from '../usage/usage.ts';
import { MaskedAnswer } from './quoted.ts';
import { StreamStart } from './stream-start.ts';
import { requestFor, type Connection, type ConnectionAware, type Target } from './targets.ts';
import { Outflow } from './outflow.ts';
import type { UnreadAnswer } from './unread-answers.ts';

/** How long the body of an error, or the end of a stream behind its last event, may take, milliseconds: nothing is lost without it. */
const grace = 2000;
/** Signs of life of an upstream that has answered 200 reach the client at the latest after this time, milliseconds. */
const lifeDelay = 10_000;
/** A JSON answer commits when it is complete or larger than this, bytes; the body of an error is kept up to this size. */
const holdLimit = 262_144;

/**
 * When an answer is committed, that is: passed on from then on. `head`: at its head. `event`: at its first event that is no
 * error, or at its first value when it is JSON value by value. `complete`: when the JSON document is complete. `never`: it is an
 * error, which is judged when it is complete.
 */
export type CommitRule = 'head' | 'event' | 'complete' | 'never';

interface Peeking {
  readonly phase: 'peeking';
  readonly controller: Dispatcher.DispatchController;
  readonly rule: Exclude<CommitRule, 'head'>;
  readonly status: number;
  readonly head: string[];
  readonly held: Buffer[];
  /** Content codings of the body. */
  readonly codings: readonly string[];
  readonly start: StreamStart | null;
  size: number;
  /** When the first of the held bytes arrived, monotonic milliseconds; 0 before. */
  since: number;
  /** The held bytes are white space. */
  isBlank: boolean;
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
 * One exchange with one target. Until it commits, the client has been sent nothing and another attempt can follow: see
 * {@link CommitRule}.
 */
export class Attempt implements Dispatcher.DispatchHandler, ConnectionAware {
  connection: Connection | null = null;
  readonly target: Target;
  readonly #context: Context;
  readonly #listener: AttemptListener;
  #state: State = connecting;
  /** Monotonic milliseconds; while committed, the time of the last bytes plus the limit of silence. */
  #due = 0;
  /** Monotonic milliseconds by which the answer must have committed. */
  #deadline = 0;
  /** The latest that signs of life can put the deadline off to. */
  #latest = 0;
  #reused = false;
  /** `llm.keep_alive_comments`, milliseconds. */
  readonly #comments: number | null;
  #commentedAt = 0;
  /** The last four bytes of the answer. */
  #tail = 0;
  #crumbs: Crumbs | null = null;
  #outflow: Outflow | null = null;
  #meter: UsageMeter | null = null;
  /** The answer is over, and its meter still decompresses the end. */
  #metering: UsageMeter | null = null;
  /** The client's connection has closed, and the request waits for the usage of its answer. */
  #left = false;
  /** The client has left, and the answer is read without it. */
  #unread: UnreadAnswer | null = null;
  #filter: ExtraChunkFilter | null = null;

  constructor(context: Context, target: Target, listener: AttemptListener) {
    this.#context = context;
    this.target = target;
    this.#listener = listener;
    this.#comments = context.core.config.llm.keepAliveComments;
  }

  /** @param until monotonic milliseconds at which the request has no more time for an answer to commit. */
  start(until: number): void {
    const { clock, config: { llm: { timeouts } } } = this.#context.core;
    const now = clock.monotonic();
    this.#latest = Math.max(until, now + 1);
    this.#deadline = Math.min(this.#latest, now + timeouts.firstByte);
    // undici's own limit can fire a second late.
    this.#due = Math.min(this.#deadline, now + timeouts.connect);
    this.target.inHand++;
    // SECURITY: the answer may quote the credential that is sent, which the caller must not see unless it is its own.
    const ours = this.target.key ?? this.#context.upstreamCredential;
    this.target.pool.dispatch(requestFor(this.target, this.#context), ours === null ? this : new MaskedAnswer(ours, this));
  }

  /** Ends the exchange in any phase without telling the listener. While it connects, `onRequestStart` ends it. */
  abort(): void {
    const state = this.#state;
    const meter = this.#meter ?? this.#metering;
    this.#meter = this.#metering = null;
    if (meter !== null) this.#context.usage = meter.stop();
    this.#end();
    if ('controller' in state) state.controller.abort(over);
  }

  /** The request has been sent, and its answer is not over and no error. */
  get isOpen(): boolean {
    const { phase } = this.#state;
    return phase === 'waiting' || phase === 'committed' || (phase === 'peeking' && (this.#state as Peeking).rule !== 'never');
  }

  /** The client has left: reads the rest of the answer without it, then finishes the request. */
  readOn(unread: UnreadAnswer): void {
    this.#unread = unread;
    // The client may have been too slow for the answer.
    if (this.#state.phase === 'committed') this.#state.controller.resume();
  }

  /** See {@link Exchange}: what a compressed answer used is known when its end is decompressed. */
  outlives(): boolean {
    const state = this.#state;
    if (state.phase === 'committed' && this.#meter?.isCompressed) {
      this.#measured(false);
      this.#end();
      state.controller.abort(over);
    }
    this.#left = this.#metering !== null;
    return this.#left;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#state.phase === 'done') return controller.abort(over);
    this.#state = { phase: 'waiting', controller };
    this.#due = this.#deadline;
    this.#reused = this.connection?.serve() ?? false;
    const { body } = this.#context;
    if ((body?.isOwn || body?.isArriving) && this.connection !== null) body.readBy(this.connection);
    this.#context.sentAt = this.#context.elapsed();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    try {
      if (this.#state.phase !== 'waiting') return;
      // Interim answers have been taken out: what is left is an upgrade or no status at all.
      if (status < 200) return this.#fail({ kind: 'not_http', cause: new Error(`status ${status}`) });
      this.#begin(controller, status);
    } catch (error) {
      this.#contain(error);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    try {
      if (chunk.length < crumbBytes) return (this.#crumbs ??= new Crumbs(this.#context, (bytes) => this.#take(controller, bytes))).push(chunk);
      this.#crumbs?.flush();
      this.#take(controller, chunk);
    } catch (error) {
      this.#contain(error);
    }
  }

  #take(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const state = this.#state;
    if (state.phase === 'committed') this.#relay(controller, chunk);
    else if (state.phase === 'peeking') this.#hold(state, chunk);
  }

  onResponseEnd(): void {
    try {
      this.#crumbs?.flush();
      const state = this.#state;
      if (state.phase === 'committed') this.#finish(null);
      else if (state.phase === 'peeking') this.#complete(state);
    } catch (error) {
      this.#contain(error);
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    try {
      this.#crumbs?.flush();
      this.#broke(error);
    } catch (thrown) {
      this.#contain(thrown);
    }
  }

  #begin(controller: Dispatcher.DispatchController, status: number): void {
    const head = answerHead((controller.rawHeaders ?? []) as Buffer[], this.target.credential === 'own');
    const codings = codingsOf(head);
    const rule = commitRuleOf(status, head, codings, this.#context);
    if (rule === 'head') return this.#commit({ controller, status, head, codings, start: null }, nothing);
    this.#state = { phase: 'peeking', controller, rule, status, head, codings, held: [], size: 0, since: 0, isBlank: true, start: rule === 'event' ? new StreamStart() : null };
    if (rule === 'never') this.#due = this.#context.core.clock.monotonic() + grace;
  }

  #broke(error: Error): void {
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
    // A length that differs before there is a head: the answer has two of them, or a coding beside it.
    if (error.name === 'HTTPParserError' || error.name === 'ResponseContentLengthMismatchError' || code === 'UND_ERR_HEADERS_OVERFLOW' || error.message === 'bad upgrade') return { kind: 'not_http', cause: error };
    if (this.#reused && this.connection?.begun === false) return { kind: 'stale' };
    // Without the last bytes of its body nothing has served the request.
    return this.#context.body?.isArriving ? { kind: 'unreachable', cause: error } : { kind: 'reset', cause: error, head: null };
  }

  /** undici calls its handler outside Express: what that throws ends this request alone. */
  #contain(error: unknown): void {
    const state = this.#state;
    this.#end();
    contain(this.#context, error, 'upstream_invalid');
    if ('controller' in state) state.controller.abort(over);
  }

  #hold(state: Peeking, chunk: Buffer): void {
    state.held.push(chunk);
    state.size += chunk.length;
    const beginning = state.start?.push(chunk);
    if (beginning?.kind === 'error') return this.#fail({ kind: 'error_event', error: beginning.error, head: state.head });
    if (beginning?.kind !== 'event' && state.size <= holdLimit) return this.#alive(state, chunk);
    if (state.rule === 'never') return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body: null } });
    this.#commitHeld(state);
  }

  /** Any byte behind a 200 shows that the upstream works on its answer. */
  #alive(state: Peeking, chunk: Buffer): void {
    if (state.rule === 'never') return;
    const { inFlight, config } = this.#context.core;
    if (state.since === 0) state.since = inFlight.now;
    state.isBlank &&= isBlank(chunk);
    this.#due = this.#deadline = Math.min(this.#latest, inFlight.now + config.llm.timeouts.firstByte);
  }

  #commitHeld(state: Peeking): void {
    this.#commit(state, whole(state.held));
    if (this.#state.phase !== 'committed') return;
    for (const bytes of state.held) this.#relay(state.controller, bytes);
  }

  #complete(state: Peeking): void {
    const body = whole(state.held);
    if (state.rule === 'never') return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body } }, true);
    if ((state.rule === 'event' && !state.start?.isJson) || !isWhole(body, state.codings)) return this.#fail({ kind: 'cut', cause: null, head: state.head }, true);
    this.#end();
    this.#readJson(state, body);
    this.#listener.committed(this.target, body);
    this.#listener.completed(this.target);
    if (this.#unread !== null) {
      noteAnswer(this.#context, this.target, state.status, state.head);
      return this.#finishUnread();
    }
    deliver(this.#context, this.target, { status: state.status, head: state.head, body });
  }

  #readJson({ status, head, codings }: Peeking, body: Buffer): void {
    const context = this.#context;
    context.usage = codings.length === 0 ? jsonUsage(body) : null;
    if (context.usage === null || context.usage.prompt === 0) {
      // Compressed, or no document of this kind, or one that does not tell everything.
      this.#meter = meterFor(context, status, head);
      this.#meter?.push(body);
      this.#measured(true);
    }
    if (this.#unread === null && this.#metering === null) context.exchange = null;
  }

  /** @param bytes that have arrived of the body. */
  #commit({ controller, status, head, codings, start }: Pick<Peeking, 'controller' | 'status' | 'head' | 'codings' | 'start'>, bytes: Buffer): void {
    const context = this.#context;
    const byType = start === null || start.isUnknown;
    const isStream = byType ? mediaTypeOf(head) === eventStream : start.isEvents || start.isJson;
    const isReadable = byType ? isStream && codings.length === 0 : start.isEvents;
    // A client that has been sent the head of a stream cannot read anything else.
    if (context.prelude && !isReadable) return this.#fail({ kind: 'cut', cause: null, head });
    this.#state = { phase: 'committed', controller };
    this.#heard();
    this.#listener.committed(this.target, bytes);
    noteAnswer(context, this.target, status, head);
    if (isStream) {
      context.eventStream = isReadable;
      // The gate may add to the stream, for example an error at its end, and leave a chunk out.
      if (codings.length === 0) withoutField(head, 'content-length');
      asLive(head, context.res);
    }
    this.#meter = meterFor(context, status, head);
    if (this.#unread !== null) return;
    if (isStream && codings.length === 0 && context.usageAdded) this.#filter = new ExtraChunkFilter();
    context.writeProxied(status, head);
  }

  #relay(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#meter?.push(chunk);
    this.#context.tap?.answer(chunk);
    this.#heard();
    if (this.#unread !== null) return this.#skip(controller, this.#unread, chunk);
    const bytes = this.#filter === null ? chunk : whole(this.#filter.push(chunk));
    for (let at = Math.max(0, chunk.length - 4); at < chunk.length; at++) this.#tail = (this.#tail << 8) | (chunk[at] as number);
    this.#context.bytesOut += bytes.length;
    if (this.#meter?.behind) {
      controller.pause();
      this.#meter.whenCaughtUp(guarded(this.#context, () => controller.resume()));
    }
    (this.#outflow ??= new Outflow(this.#context, controller, () => this.#heard())).write(bytes);
  }

  /** Bytes that only the meter reads. */
  #skip(controller: Dispatcher.DispatchController, unread: UnreadAnswer, chunk: Buffer): void {
    if (!unread.take(chunk.length)) return this.#giveUp();
    if (!this.#meter?.behind) return;
    controller.pause();
    this.#meter.whenCaughtUp(guarded(this.#context, () => controller.resume()));
  }

  /** The answer is over without a client: the request is finished as soon as its usage is known. */
  #finishUnread(): void {
    this.#left = true;
    if (this.#metering === null) this.#context.finish();
  }

  /** @param ended the exchange is complete, so its connection may serve again. */
  #fail(failure: Failure, ended = false): void {
    const state = this.#state;
    this.#end();
    if ('controller' in state && !ended) state.controller.abort(over);
    this.#listener.failed(failure, this.target);
  }

  #end(): void {
    if (this.#state !== done) this.target.inHand--;
    this.#state = done;
  }

  /**
   * @param complete false when the answer was cut: the missing part is estimated.
   * @returns whether the answer was complete by its own last event.
   */
  #measured(complete: boolean): boolean {
    const meter = this.#meter;
    if (meter === null) return false;
    this.#meter = null;
    this.#metering = meter;
    meter.end(complete || meter.over, (usage) => {
      this.#metering = null;
      this.#context.usage = usage;
      if (this.#left) this.#context.finish();
    });
    return meter.over;
  }

  /** Ends a committed answer; its framing or its own last event says whether it is complete. @param cause the error that cut it, or null. */
  #finish(cause: Error | null): void {
    const context = this.#context;
    const over = this.#measured(cause === null);
    this.#end();
    if (this.#unread !== null) {
      if (over || cause === null) this.#listener.completed(this.target);
      else this.#listener.broken(this.target, cause === silence);
      return this.#finishUnread();
    }
    const rest = this.#filter === null ? nothing : whole(this.#filter.end());
    context.bytesOut += rest.length;
    if (rest.length > 0) context.res.write(rest);
    if (over || (cause === null && (endsLine(this.#tail) || !context.eventStream))) {
      this.#listener.completed(this.target);
      return void context.res.end();
    }
    this.#listener.broken(this.target, cause === silence);
    context.fail(new HeimdallError('upstream_interrupted', { cause: cause ?? within }));
  }

  /** Takes the time of the last look, which is exact enough for silence and costs no reading of the clock. */
  #heard(): void {
    const { inFlight, config } = this.#context.core;
    const { idle } = config.llm.timeouts;
    this.#due = inFlight.now + (this.#meter?.over ? Math.min(grace, idle) : idle);
  }

  look(now: number): void {
    const state = this.#state;
    if (state.phase === 'done') return;
    if (this.#unread?.isLate(now)) return this.#giveUp();
    // An upstream answers what it has got whole.
    if (state.phase === 'waiting' && this.#context.body?.isArriving) this.#due = this.#deadline = Math.min(this.#latest, now + this.#context.core.config.llm.timeouts.firstByte);
    if (now >= this.#due) return this.#late();
    if (state.phase === 'peeking' && state.since > 0 && now - state.since >= lifeDelay && this.#isWaiting(state)) return this.#commitHeld(state);
    if (state.phase === 'committed' && this.#comments !== null) this.#comment(now, this.#comments);
  }

  /** Nothing of the answer itself has arrived, and the client can still be sent its head. */
  #isWaiting({ start, isBlank, head }: Peeking): boolean {
    return start?.isEvents || (isBlank && (!this.#context.prelude || mediaTypeOf(head) === eventStream));
  }

  /** An answer without a client is too long. */
  #giveUp(): void {
    const state = this.#state;
    this.#measured(false);
    this.#end();
    if ('controller' in state) state.controller.abort(over);
    this.#finishUnread();
  }

  /** Sends a comment between two events: within an event it would become part of it. */
  #comment(now: number, every: number): void {
    const { res, eventStream, core } = this.#context;
    const silentSince = Math.max(this.#due - core.config.llm.timeouts.idle, this.#commentedAt);
    if (!eventStream || this.#unread !== null || !endsEvent(this.#tail) || this.#meter?.over || res.writableNeedDrain || now - silentSince < every) return;
    this.#commentedAt = now;
    res.write(': keep-alive\n\n');
  }

  #late(): void {
    const state = this.#state;
    if (state.phase === 'committed') return this.#silent(state.controller);
    if (state.phase === 'peeking' && state.rule === 'never') {
      return this.#fail({ kind: 'reply', reply: { status: state.status, head: state.head, body: null } });
    }
    const unsent = state.phase === 'connecting';
    this.#fail(unsent ? { kind: 'unreachable', cause: 'connect timeout' } : { kind: 'timeout' });
  }

  /** While the client does not read, the upstream is not silent. */
  #silent(controller: Dispatcher.DispatchController): void {
    if (this.#unread === null && this.#context.res.writableNeedDrain) return this.#heard();
    this.#finish(silence);
    controller.abort(over);
  }
}

/** The failure of an answer that broke off before it was committed. */
function cut(state: Peeking, cause: unknown): Failure {
  if (state.rule === 'never') return { kind: 'reply', reply: { status: state.status, head: state.head, body: null } };
  return state.rule === 'complete' ? { kind: 'cut', cause, head: state.head } : { kind: 'reset', cause, head: state.head };
}

/** How an answer is committed. */
export function commitRuleOf(status: number, head: readonly string[], codings: readonly string[], context: Context): CommitRule {
  if (status >= 400) return 'never';
  if (status === 204 || status === 304 || context.req.method === 'HEAD') return 'head';
  const type = mediaTypeOf(head);
  // A compressed stream cannot be looked into before it is passed on.
  if (type === eventStream || context.stream) return codings.length === 0 ? 'event' : 'head';
  if (!type.includes('json')) return 'head';
  return Number(headerOf(head, 'content-length') ?? 0) > holdLimit ? 'head' : 'complete';
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const closeBrace = 0x7d;
const closeBracket = 0x5d;

const isLineEnd = (byte: number): boolean => byte === lineFeed || byte === carriageReturn;
const endsLine = (tail: number): boolean => isLineEnd(tail & 0xff);

/** Whether a stream ends with a blank line; lines end with LF, CRLF or CR. @param tail its last four bytes. */
export function endsEvent(tail: number): boolean {
  const isPair = (tail & 0xffff) === ((carriageReturn << 8) | lineFeed);
  return endsLine(tail) && isLineEnd((tail >>> (isPair ? 16 : 8)) & 0xff);
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte > space) return false;
  return true;
}

/** Whether a JSON document is complete: framing that ends cleanly can carry half a document. A compressed one is known by its framing alone. */
export function isWhole(body: Buffer, codings: readonly string[]): boolean {
  if (codings.length > 0) return body.length > 0;
  let last = body.length - 1;
  while (last >= 0 && (body[last] as number) <= space) last--;
  return (body[last] === closeBrace || body[last] === closeBracket) && endOfValue(body, skipSpace(body, 0)) !== -1;
}

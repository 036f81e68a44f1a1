import type { Timer } from '../../types/clock.d.ts';
import { guarded, type Context, type Core, type Exchange } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { Affinity, conversations } from './affinity.ts';
import { giveUp } from './answer.ts';
import { Attempt } from './attempt.ts';
import { rejected, type AttemptResult, type Breaker } from './breaker.ts';
import { plainBody, type AttemptListener, type Failure } from './failure.ts';
import { isOurKeyRefused, judge, type Judgement } from './judge.ts';
import { Prelude } from './prelude.ts';
import { refusalsOf } from './refusals.ts';
import { backoff, longestWait, RetryBudget } from './retry.ts';
import { strategyOf, type Strategy } from './strategy.ts';
import type { UnreadAnswer, UnreadAnswers } from './unread-answers.ts';
import { eligible, targetModel, type Target } from './targets.ts';

/**
 * Answers model routes: choose a target, ask it, judge its answer, again.
 * @param shares what requests have in common: `unread` places for answers whose client has left, `budget` of retries, and `affinity`.
 * @param begin called by the first request.
 */
export function forwarder(core: Core, targets: readonly Target[], { metrics, unread, affinity, budget }: Pick<Shared, 'metrics' | 'unread' | 'affinity' | 'budget'>, begin: () => void): (context: Context) => void {
  const shared: Shared = { core, targets, strategy: strategyOf(core.config.llm.strategy), budget, affinity, metrics, unread };
  let isBegun = false;
  return (context) => {
    if (context.trapped) return refusalsOf(core).answer(context);
    budget.requests++;
    if (!isBegun) {
      isBegun = true;
      begin();
    }
    const forward = new Forward(shared, context);
    context.exchange = forward;
    forward.begin();
  };
}

interface Shared {
  readonly core: Core;
  readonly targets: readonly Target[];
  readonly strategy: Strategy;
  readonly budget: RetryBudget;
  readonly affinity: Affinity;
  readonly metrics: Metrics;
  readonly unread: UnreadAnswers;
}

interface FailedAttempt {
  readonly failure: Failure;
  readonly target: Target;
}

/**
 * The way of one request to an answer. A round asks each eligible target once. After a wait the next round asks the targets
 * that may be asked again, until `llm.retry`, the retry budget or the deadline ends it.
 */
class Forward implements Exchange, AttemptListener {
  readonly #shared: Shared;
  readonly #context: Context;
  /** Monotonic milliseconds. */
  readonly #deadline: number;
  #queue: readonly Target[] = [];
  #at = 0;
  /** Targets of this round that are open by their probes alone: asked when all others have failed. */
  #down: Target[] = [];
  /** Targets that may be asked in the next round. */
  #again: Target[] = [];
  #round = 1;
  /** Milliseconds for which it has waited for a pause of every target. */
  #waited = 0;
  /** Attempts of this round. */
  #asked = 0;
  /** When the first target that rejected the request in this round will admit it, monotonic milliseconds. */
  #soonest = Number.POSITIVE_INFINITY;
  #attempt: Attempt | null = null;
  /** What {@link Breaker.enter} gave, until the breaker is told the result. */
  #generation = rejected;
  /** The breaker that admitted the request. */
  #breaker: Breaker | null = null;
  #resent = false;
  #waiting: Timer | null = null;
  #prelude: Prelude | null = null;
  /** The client has left, and the answer is read without it. */
  #unread: UnreadAnswer | null = null;
  #last: FailedAttempt | null = null;
  /** The last failure for which an upstream gave an error of its own. */
  #lastReply: FailedAttempt | null = null;

  constructor(shared: Shared, context: Context) {
    this.#shared = shared;
    this.#context = context;
    this.#deadline = shared.core.clock.monotonic() + shared.core.config.llm.timeouts.total;
  }

  begin(): void {
    const { targets, strategy, affinity, core } = this.#shared;
    const context = this.#context;
    const able: Target[] = [];
    for (const target of targets) if (eligible(target, context)) able.push(target);
    if (able.length === 0) return context.fail(this.#noTarget());
    const after = core.config.llm.streamPreludeAfter;
    if (after !== null && context.stream) this.#prelude = new Prelude(context, after);
    this.#queue = able.length === 1 ? able : affinity.narrow(context, strategy(able));
    this.#next();
  }

  abort(): void {
    if (this.#waiting !== null) this.#shared.core.clock.clearTimeout(this.#waiting);
    this.#waiting = null;
    this.#leave('neutral');
    this.#attempt?.abort();
  }

  outlives(): boolean {
    const attempt = this.#attempt;
    if (attempt === null) return false;
    if (this.#unread === null && attempt.isOpen && isSent(this.#context)) {
      this.#unread = this.#shared.unread.admit(this.#context);
      if (this.#unread !== null) attempt.readOn(this.#unread);
    }
    if (this.#unread !== null && attempt.isOpen) return true;
    this.#unread?.release();
    return attempt.outlives();
  }

  look(now: number): void {
    this.#prelude?.look(now);
    this.#attempt?.look(now);
  }

  /** The first bytes of the answer go to the client. */
  committed(target: Target, bytes: Buffer): void {
    const context = this.#context;
    this.#prelude = null;
    if (context.route.api === conversations) this.#shared.affinity.remember(context, target, bytes);
    context.servedModel = targetModel(target, context);
    // A half-open breaker needs a sign of life, not the end of a long stream.
    if (this.#breaker?.state.kind === 'probing') this.#leave('ok');
    if (target.state.isDown) target.state.base.probe(true, 1);
  }

  /**
   * The answer broke off. Only a target of ours is blamed for silence, which may be that of one caller's model, and for an answer
   * that NewAPI has signed, which may be that of one caller's channel.
   */
  broken(target: Target, silent: boolean): void {
    if (target.credential === 'caller' && (silent || this.#context.upstreamRequestId !== null)) return this.#leave('neutral');
    if (this.#generation === rejected) breakerOf(target, this.#context).countBroken(this.#shared.core.clock.monotonic());
    this.#leave('fail');
  }

  completed(): void {
    this.#leave('ok');
  }

  failed(failure: Failure, target: Target): void {
    const { core, metrics } = this.#shared;
    const now = core.clock.monotonic();
    if (this.#unread === null && this.#refusesUsage(failure)) return this.#askWithoutUsage(target, now);
    const judgement = judge(failure, { context: this.#context, target, retry: core.config.llm.retry, resent: this.#resent, now: core.clock.now() });
    this.#settle(judgement, target, now);
    this.#last = { failure, target };
    metrics.failed(target.name, failure.kind);
    if (this.#unread !== null) return this.#context.finish();
    if ((failure.kind === 'reply' || failure.kind === 'error_event') && (this.#lastReply === null || !isOurKeyRefused(failure, target, this.#context))) this.#lastReply = this.#last;
    if (judgement.verdict === 'same') {
      this.#resent = true;
      return this.#ask(target);
    }
    if (judgement.again) this.#again.push(target);
    this.#report(failure, target, judgement);
    if (judgement.verdict === 'return') return this.#giveUp(this.#last);
    if (now >= this.#deadline) return this.#giveUp();
    this.#next();
  }

  /** The upstream does not know the `stream_options` that the gate has added to the request. */
  #refusesUsage(failure: Failure): boolean {
    if (!this.#context.usageAdded) return false;
    const said = failure.kind === 'error_event' ? JSON.stringify(failure.error) : failure.kind === 'reply' && failure.reply.status >= 400 ? plainBody(failure.reply) : null;
    return usageOption.test(String(said ?? ''));
  }

  #askWithoutUsage(target: Target, now: number): void {
    this.#context.usageRefused = true;
    this.#settle(unasked, target, now);
    this.#ask(target);
  }

  /** Asks the next target of this round that admits the request. */
  #next(): void {
    const now = this.#shared.core.clock.monotonic();
    this.#resent = false;
    while (this.#at < this.#queue.length) {
      const target = this.#queue[this.#at++] as Target;
      if (target.state.isDown) {
        this.#down.push(target);
        continue;
      }
      const breaker = breakerOf(target, this.#context);
      this.#breaker = breaker;
      this.#generation = breaker.enter(now);
      if (this.#generation !== rejected) return this.#ask(target);
      this.#soonest = Math.min(this.#soonest, breaker.closedUntil(now));
    }
    this.#generation = rejected;
    const down = this.#down.shift();
    if (down) return this.#ask(down);
    this.#endRound(now);
  }

  #endRound(now: number): void {
    if (this.#asked === 0) return this.#allRejected(now);
    const wait = this.#waitForNextRound(now);
    if (wait === null) return this.#giveUp();
    this.#round++;
    this.#wait(wait, this.#again);
  }

  /** @returns milliseconds until the next round, or null when there is none. */
  #waitForNextRound(now: number): number | null {
    const { core: { config: { llm: { retry } } }, budget } = this.#shared;
    if (this.#again.length === 0 || this.#round > retry.maxRetries) return null;
    const closed = (target: Target): number => (target.state.isDown ? 0 : breakerOf(target, this.#context).closedUntil(now));
    const rest = Math.min(...this.#again.map(closed)) - now;
    const wait = Math.max(backoff(retry, this.#round), rest);
    if (rest > longestWait || now + wait >= this.#deadline) return null;
    return budget.withdraw() ? wait : null;
  }

  /** Every target rejected the request: it waits for a short pause, otherwise it gives up or tells the caller when to come back. */
  #allRejected(now: number): void {
    const wait = this.#soonest - now;
    if (this.#waited + wait <= longestWait && this.#soonest < this.#deadline && this.#queue.some((target) => breakerOf(target, this.#context).isPausing)) {
      this.#waited += wait;
      return this.#wait(wait, this.#queue);
    }
    if (this.#last !== null) return this.#giveUp();
    this.#context.fail(new HeimdallError('no_target', { retryAfter: Math.max(1, Math.ceil(wait / 1000)) }));
  }

  #wait(ms: number, targets: readonly Target[]): void {
    // Node's timers can fire a millisecond early, before the rest of a target is over.
    this.#waiting = this.#shared.core.clock.setTimeout(guarded(this.#context, () => {
      this.#waiting = null;
      this.#queue = targets;
      this.#at = 0;
      this.#down = [];
      this.#again = [];
      this.#asked = 0;
      this.#soonest = Number.POSITIVE_INFINITY;
      this.#next();
    }), ms + 1);
    this.#waiting.unref();
  }

  #ask(target: Target): void {
    this.#context.attempts++;
    this.#shared.metrics.attempted(target.name);
    this.#asked++;
    this.#attempt = new Attempt(this.#context, target, this);
    this.#attempt.start(this.#deadline);
  }

  #settle(judgement: Judgement, target: Target, now: number): void {
    this.#leave(judgement.result);
    // The model of a body that is still arriving may not be known: a pause for it would be one for all.
    const isNamed = this.#context.model !== null || this.#context.body?.isArriving !== true;
    if (judgement.rest !== null && isNamed) target.state.rest(targetModel(target, this.#context), now, judgement.rest);
    if (judgement.verdict !== 'same') return;
    this.#breaker = breakerOf(target, this.#context);
    this.#generation = this.#breaker.enter(now);
  }

  /** Tells the breaker that admitted the request the result, once. */
  #leave(result: AttemptResult): void {
    if (this.#generation === rejected) return;
    this.#breaker?.leave(this.#generation, result, this.#shared.core.clock.monotonic());
    this.#generation = rejected;
  }

  #report(failure: Failure, target: Target, { verdict }: Judgement): void {
    const { log } = this.#shared.core;
    const fields = { requestId: this.#context.id, target: target.name, failure: failure.kind, verdict };
    if (isOurKeyRefused(failure, target, this.#context)) log.error(fields, 'upstream.credential_refused');
    else if (failure.kind !== 'reply' || verdict === 'next') log.warn({ ...fields, ...cause(failure) }, 'upstream.failed');
  }

  #giveUp({ failure, target }: FailedAttempt = (this.#lastReply ?? this.#last) as FailedAttempt): void {
    this.#prelude = null;
    giveUp(this.#context, failure, target);
  }

  #noTarget(): HeimdallError {
    const { key, upstreamCredential, verified } = this.#context;
    if (key !== null && upstreamCredential === null) return new HeimdallError('no_upstream_credential');
    return new HeimdallError(verified ? 'no_target' : 'not_verified');
  }
}

/** What an error names that is about the usage the gate has asked for. */
const usageOption = /stream_options|include_usage/;

/** A refusal of what the gate added itself: the same target is asked once more, and nothing is wrong with it. */
const unasked: Judgement = { verdict: 'same', again: false, result: 'ok', rest: null };

/** The upstream has the whole request, or will have it without its client. */
const isSent = ({ bodyStream, body, req }: Context): boolean => req.complete || (bodyStream === null && body?.isArriving !== true);

const breakerOf = (target: Target, context: Context): Breaker => target.state.breaker(targetModel(target, context));

const cause = (failure: Failure): object => ('cause' in failure && failure.cause instanceof Error ? { cause: describe(failure.cause) } : {});

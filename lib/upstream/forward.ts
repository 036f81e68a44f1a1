import type { Timer } from '../../types/clock.d.ts';
import type { Context, Core, Exchange } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { Affinity } from './affinity.ts';
import { Attempt } from './attempt.ts';
import type { Failure, Watcher } from './failure.ts';
import { giveUp } from './give-up.ts';
import { isOurKeyRefused, judge, type Judgement } from './judge.ts';
import { Prelude } from './prelude.ts';
import { backoff, longestWait, RetryBudget } from './retry.ts';
import { selectBy, type Select } from './strategy.ts';
import { rejected, type Breaker } from './breaker.ts';
import { eligible, targetModel, type Target } from './targets.ts';

/** Answers model routes: choose a target, ask it, judge the answer, again. */
export function forwarder(core: Core, targets: readonly Target[], metrics: Metrics): (context: Context) => void {
  const shared: Shared = { core, targets, select: selectBy(core.config.llm.strategy), budget: new RetryBudget(), affinity: new Affinity(), metrics };
  return (context) => {
    shared.budget.deposit();
    const forward = new Forward(shared, context);
    context.exchange = forward;
    forward.begin();
  };
}

interface Shared {
  readonly core: Core;
  readonly targets: readonly Target[];
  readonly select: Select;
  readonly budget: RetryBudget;
  readonly affinity: Affinity;
  readonly metrics: Metrics;
}

interface Said {
  readonly failure: Failure;
  readonly target: Target;
}

/**
 * One request's way to an answer: each eligible target once, then, after a wait, once more those that may be asked again,
 * until retries, their budget or the deadline end it.
 */
class Forward implements Exchange, Watcher {
  readonly #shared: Shared;
  readonly #context: Context;
  readonly #deadline: number;
  #queue: readonly Target[] = [];
  #at = 0;
  /** Targets of this round that probes alone call down: asked when all others have failed. */
  #down: Target[] = [];
  /** Targets that may be asked in the next round. */
  #again: Target[] = [];
  #round = 1;
  #asked = 0;
  /** When the first target that turned this round's request away will take it, Unix milliseconds. */
  #soonest = Number.POSITIVE_INFINITY;
  #attempt: Attempt | null = null;
  #generation = 0;
  /** What let the request in. */
  #breaker: Breaker | null = null;
  #resent = false;
  #waiting: Timer | null = null;
  #prelude: Prelude | null = null;
  #last: Said | null = null;
  /** The last failure that an upstream put in words. */
  #spoken: Said | null = null;

  constructor(shared: Shared, context: Context) {
    this.#shared = shared;
    this.#context = context;
    this.#deadline = shared.core.clock.now() + shared.core.config.llm.timeouts.total;
  }

  begin(): void {
    const { targets, select, core } = this.#shared;
    const { affinity } = this.#shared;
    const reachable = affinity.narrow(this.#context, select(targets.filter((target) => eligible(target, this.#context))));
    if (reachable.length === 0) return this.#context.fail(this.#nobody());
    const after = core.config.llm.streamPreludeAfter;
    if (after !== null && this.#context.stream) this.#prelude = new Prelude(this.#context, after);
    this.#queue = reachable;
    this.#next();
  }

  abort(): void {
    if (this.#waiting !== null) this.#shared.core.clock.clearTimeout(this.#waiting);
    this.#waiting = null;
    this.#leave('neither');
    this.#attempt?.abort();
  }

  look(now: number): void {
    this.#prelude?.look(now);
    this.#attempt?.look(now);
  }

  /** Something of the answer is on its way to the client. */
  committed(target: Target, bytes: Buffer): void {
    this.#prelude = null;
    this.#shared.affinity.remember(this.#context, target, bytes);
    this.#context.servedModel = targetModel(target, this.#context);
    // Half-open waits for a sign of life, not for the end of a long stream.
    if (this.#breaker?.state.kind === 'probing') this.#leave('ok');
    if (target.state.isDown) target.state.base.probe(true, 1);
  }

  /** The answer broke off after it had begun. Silence may be one caller's model: it tells against that of an own target alone. */
  broken(target: Target, silent: boolean): void {
    if (silent && target.credential === 'caller') return this.#leave('neither');
    if (this.#generation === rejected) breakerOf(target, this.#context).lapse(this.#shared.core.clock.now());
    this.#leave('fail');
  }

  completed(): void {
    this.#leave('ok');
  }

  failed(failure: Failure, target: Target): void {
    const { core } = this.#shared;
    const now = core.clock.now();
    const judgement = judge(failure, { context: this.#context, target, retry: core.config.llm.retry, resent: this.#resent, now });
    this.#settle(judgement, target, now);
    this.#last = { failure, target };
    this.#shared.metrics.failed(target.name, failure.kind);
    if ((failure.kind === 'reply' || failure.kind === 'error_event') && (this.#spoken === null || !isOurKeyRefused(failure, target, this.#context))) this.#spoken = this.#last;
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

  /** Asks the next target of this round that lets the request in. */
  #next(): void {
    const now = this.#shared.core.clock.now();
    while (this.#at < this.#queue.length) {
      const target = this.#queue[this.#at++] as Target;
      if (target.state.isDown) {
        this.#down.push(target);
        continue;
      }
      const breaker = breakerOf(target, this.#context);
      this.#breaker = breaker;
      this.#generation = breaker.enter(now);
      if (this.#generation !== rejected) return this.#askAnew(target);
      this.#soonest = Math.min(this.#soonest, breaker.closedUntil(now));
    }
    this.#generation = rejected;
    const last = this.#down.shift();
    if (last) return this.#askAnew(last);
    this.#endRound(now);
  }

  #endRound(now: number): void {
    if (this.#asked === 0) return this.#nobodyFree(now);
    const wait = this.#patience(now);
    if (wait === null) return this.#giveUp();
    this.#round++;
    this.#wait(wait, this.#again);
  }

  /** Milliseconds until the next round, or null when there is none. */
  #patience(now: number): number | null {
    const { retry } = this.#shared.core.config.llm;
    if (this.#again.length === 0 || this.#round > retry.maxRetries) return null;
    const closed = (target: Target): number => (target.state.isDown ? 0 : breakerOf(target, this.#context).closedUntil(now));
    const rest = Math.min(...this.#again.map(closed)) - now;
    const wait = Math.max(backoff(retry, this.#round), rest);
    if (rest > longestWait || now + wait >= this.#deadline) return null;
    return this.#shared.budget.withdraw() ? wait : null;
  }

  /**
   * Every target turned the request away: a rest of a few seconds is waited for, else the caller hears when to come back,
   * or what was said before.
   */
  #nobodyFree(now: number): void {
    if (this.#last !== null) return this.#giveUp();
    const wait = this.#soonest - now;
    if (this.#round === 1 && wait <= longestWait && this.#soonest < this.#deadline && this.#queue.some((target) => breakerOf(target, this.#context).state.kind === 'resting')) {
      this.#round++;
      return this.#wait(wait, this.#queue);
    }
    this.#context.fail(new HeimdallError('no_target', { retryAfter: Math.max(1, Math.ceil(wait / 1000)) }));
  }

  #wait(ms: number, targets: readonly Target[]): void {
    // Node's timers can be a millisecond early, when a rest would not be over yet.
    this.#waiting = this.#shared.core.clock.setTimeout(() => {
      this.#waiting = null;
      this.#queue = targets;
      this.#at = 0;
      this.#down = [];
      this.#again = [];
      this.#asked = 0;
      this.#soonest = Number.POSITIVE_INFINITY;
      this.#next();
    }, ms + 1);
    this.#waiting.unref();
  }

  #askAnew(target: Target): void {
    this.#resent = false;
    this.#ask(target);
  }

  #ask(target: Target): void {
    const context = this.#context;
    context.attempts++;
    this.#shared.metrics.attempted(target.name);
    this.#asked++;
    const patience = Math.min(this.#shared.core.config.llm.timeouts.firstByte, Math.max(1, this.#deadline - this.#shared.core.clock.now()));
    this.#attempt = new Attempt(context, target, this);
    this.#attempt.start(patience);
  }

  #settle(judgement: Judgement, target: Target, now: number): void {
    this.#leave(judgement.result);
    if (judgement.rest !== null) breakerOf(target, this.#context).rest(now + judgement.rest);
    if (judgement.verdict !== 'same') return;
    this.#breaker = breakerOf(target, this.#context);
    this.#generation = this.#breaker.enter(now);
  }

  /** Tells the state that let the request in how it went, once. */
  #leave(result: 'ok' | 'fail' | 'neither'): void {
    if (this.#generation === rejected) return;
    this.#breaker?.leave(this.#generation, result, this.#shared.core.clock.now());
    this.#generation = rejected;
  }

  #report(failure: Failure, target: Target, { verdict }: Judgement): void {
    const { log } = this.#shared.core;
    const fields = { requestId: this.#context.id, target: target.name, failure: failure.kind, verdict };
    if (isOurKeyRefused(failure, target, this.#context)) log.error(fields, 'upstream.credential_refused');
    else if (failure.kind !== 'reply' || verdict === 'next') log.warn({ ...fields, ...cause(failure) }, 'upstream.failed');
  }

  #giveUp({ failure, target }: Said = (this.#spoken ?? this.#last) as Said): void {
    this.#prelude = null;
    giveUp(this.#context, failure, target);
  }

  #nobody(): HeimdallError {
    const { key, upstreamCredential, verified } = this.#context;
    if (key !== null && upstreamCredential === null) return new HeimdallError('no_upstream_credential');
    return new HeimdallError(verified ? 'no_target' : 'not_verified');
  }
}

const breakerOf = (target: Target, context: Context): Breaker => target.state.breaker(targetModel(target, context));

const cause = (failure: Failure): object => ('cause' in failure && failure.cause instanceof Error ? { cause: describe(failure.cause) } : {});

import { dirname, join } from 'node:path';
import type { TokenIdentity } from '../../types/context.d.ts';
import { hasLimits } from '../config/limits.ts';
import type { Context } from '../context.ts';
import type { Core } from '../core.ts';
import { HeimdallError } from '../errors.ts';
import type { Redis } from '../redis.ts';
import { BudgetFile } from './budget-file.ts';
import { RuleBook, type RuleSet } from './book.ts';
import { LimitCounters, type Held } from './counters.ts';
import { amountOf, estimateOf, type Appraiser } from './estimate.ts';
import { limitHead, limitNames, withoutLimits } from './head.ts';
import { MemoryStore } from './memory-store.ts';
import { RedisStore } from './redis-store.ts';
import { refusalOf } from './refusal.ts';
import { Reservation, type Till } from './reservation.ts';
import { Ask, spanOf, Taking, type Rule, type Store, type Verdict } from './rule.ts';
import { SharedStore } from './shared-store.ts';

/** What limits are made of. */
export interface LimitsDeps {
  /** Null without `rate_limit.redis_url`. */
  readonly redis: Redis | null;
  readonly identify: (credential: string) => TokenIdentity;
  readonly appraiser: Appraiser;
}

type Next = (error?: unknown) => void;

/** Beside the journal, what budgets have spent. */
const fileName = 'heimdall.limits.json';

/**
 * The limits of keys, policies and whoever has none of its own: checks all that hold for a request, takes from all or from
 * none, and corrects what was taken by what was used. Opens nothing before the first request that is limited.
 */
export class Limits {
  readonly #core: Core;
  readonly #deps: LimitsDeps;
  readonly #counters = new LimitCounters();
  #book: RuleBook | null = null;
  #till: Till | null = null;

  constructor(core: Core, deps: LimitsDeps) {
    this.#core = core;
    this.#deps = deps;
  }

  /** Whether anything can ever be limited: by the configuration, or by keys that are made while the gate runs. */
  get possible(): boolean {
    const { rateLimit, auth } = this.#core.config;
    return auth.mode !== 'passthrough' || hasLimits(rateLimit.key) || rateLimit.policies.length > 0 || auth.keys.some(hasLimits);
  }

  /** What the requests in hand have taken and not yet settled: all zero when none is. */
  held(): Held {
    return this.#counters.held();
  }

  /** For the metrics. */
  series(): ReturnType<LimitCounters['series']> {
    return this.#counters.series();
  }

  /** Begins to connect, so that the first request need not wait for it. */
  start(): void {
    const { rateLimit } = this.#core.config;
    if (this.possible && rateLimit.store === 'redis') this.#open().store.start();
  }

  /** Lets a request in or refuses it; calls `next` once it may go on, at once where the counters are this process's own. */
  admit(context: Context, next: Next): void {
    const book = (this.#book ??= this.#read());
    const closed = book.closedTo(context);
    if (closed !== null && this.#refuse(context, closed.rule, closed.observe, new HeimdallError('address_not_allowed'))) return;
    const set = book.find(context);
    if (isUnclear(context) && (set?.measured || book.asksForModel(context)) && context.refuse('key_limit.body', new HeimdallError('ambiguous_body'))) return;
    if (set === null) return next();
    this.#take(context, set, next);
  }

  /** Gives back what a request has taken, and counts what it has used. */
  readonly settle = (context: Context): void => context.reservation?.release();

  /** An upstream's answer begins: our numbers stand in place of those it sends of its own limits. */
  readonly answered = (context: Context, head: string[]): void => {
    if (!(context.reservation instanceof Reservation)) return;
    context.reservation.answered();
    withoutLimits(head, limitNames);
  };

  async close(): Promise<void> {
    await this.#till?.store.close();
  }

  #take(context: Context, set: RuleSet, next: Next): void {
    const till = (this.#till ??= this.#open());
    const estimate = estimateOf(context, till.appraiser);
    const asks: Ask[] = [];
    const { lane } = context;
    const own = ownLane(context);
    for (const rule of set.rules) {
      if (context.route.free && isMeasured(rule)) continue;
      const amount = amountOf(rule, estimate, context, till.appraiser);
      if (own !== lane) asks.push(askOf(rule, amount, context, own, false));
      asks.push(askOf(rule, amount, context, lane, own !== lane));
    }
    if (asks.length === 0) return next();
    const reservation = new Reservation(context, new Taking(context.id, asks), estimate, till);
    context.reservation = reservation;
    till.store.take(reservation.taking, (verdict) => {
      try {
        this.#decided(context, reservation, verdict, next);
      } catch (error) {
        next(error);
      }
    });
  }

  #decided(context: Context, reservation: Reservation, verdict: Verdict, next: Next): void {
    const { asks } = reservation.taking;
    switch (verdict) {
      case 'taken':
        if (!reservation.keep()) return;
        context.measured = asks.some(({ rule }) => isMeasured(rule));
        this.#count(context, asks);
        (context.extraHead ??= []).push(...limitHead(tighter(asks, true), true));
        return next();
      case 'refused':
        if (!reservation.drop()) return;
        return this.#refused(context, asks);
      case 'unchecked':
        if (!reservation.drop()) return;
        context.reservation = null;
        this.#counters.checked('unchecked');
        return next();
      case 'unavailable':
        if (!reservation.drop()) return;
        context.reservation = null;
        this.#counters.checked('unavailable');
        if (!context.refuse('key_limit.store', new HeimdallError('limits_unavailable', { retryAfter: 1 }))) next();
    }
  }

  /** What only observes has counted it in all the same. */
  #count(context: Context, asks: readonly Ask[]): void {
    const over = asks.filter(({ fits }) => !fits);
    for (const { rule } of over) this.#note(context, rule.name);
    this.#counters.checked(over.length === 0 ? 'allowed' : 'observed');
  }

  #refused(context: Context, asks: readonly Ask[]): void {
    const refusing = asks.filter(({ fits, rule }) => !fits && !rule.observe);
    for (const { rule } of refusing) this.#counters.hit(rule.name);
    this.#counters.checked('refused');
    (context.extraHead ??= []).push(...limitHead(tighter(asks, false), false));
    context.fail(refusalOf(refusing));
  }

  /** @returns true when the request was answered. */
  #refuse(context: Context, rule: string, observe: boolean, error: HeimdallError): boolean {
    if (observe) this.#note(context, rule);
    else this.#counters.hit(rule);
    return !observe && context.refuse(rule, error);
  }

  #note(context: Context, rule: string): void {
    (context.rules ??= []).push(rule);
    this.#counters.hit(rule);
  }

  #read(): RuleBook {
    return new RuleBook(this.#core.config.rateLimit, this.#deps.identify, this.#core.observe);
  }

  #open(): Till {
    return (this.#till ??= { store: this.#store(), appraiser: this.#deps.appraiser, counters: this.#counters });
  }

  #store(): Store {
    const { config, clock } = this.#core;
    const { redis } = this.#deps;
    if (config.rateLimit.store === 'memory' || redis === null) return new MemoryStore(clock, new BudgetFile(this.#core, join(dirname(config.audit.path), fileName)));
    return new SharedStore(this.#core, new RedisStore(redis, clock), new MemoryStore(clock, null), this.#counters.storeFailed);
  }
}

const isMeasured = ({ kind }: Rule): boolean => kind === 'tokens' || kind === 'budget';

/** What is too large to be looked into is guessed at; anything else that readers may differ in was made so. */
const isUnclear = ({ bodyAmbiguous, bodyStream }: Context): boolean => bodyAmbiguous && bodyStream === null;

/**
 * A token that has not proved itself counts for itself and for its address: made-up ones gain nothing, and of a good one
 * every request has counted when it is known to be good. Then its address is given back what it took.
 */
function ownLane({ lane, key, token, verified }: Context): string {
  return verified || key !== null || token === null ? lane : `token:${token.id}`;
}

/** Of two that count the same rule the one with less room. */
function tighter(asks: readonly Ask[], taken: boolean): readonly Ask[] {
  if (!asks.some(({ provisional }) => provisional)) return asks;
  return asks.filter((ask, at) => {
    const other = asks[ask.provisional ? at - 1 : at + 1] as Ask;
    return ask.provisional ? ask.remaining(taken) < other.remaining(taken) : ask.remaining(taken) <= other.remaining(taken);
  });
}

function askOf(rule: Rule, amount: number, { time }: Context, lane: string, provisional: boolean): Ask {
  if (rule.period === null) return new Ask(rule, `${rule.counter}:${lane}`, amount, 0, provisional);
  const { label, until } = spanOf(rule.period, time);
  return new Ask(rule, `${rule.counter}.${label}:${lane}`, amount, until, provisional);
}

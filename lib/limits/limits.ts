// What a caller may use: requests, tokens, concurrency and budgets, in memory or in Redis.

import { dirname, join } from 'node:path';
import type { TokenIdentity } from '../../types/context.d.ts';
import { hasLimits } from '../config/config.ts';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import type { Redis } from '../platform/platform.ts';
import { BudgetFile } from './budget-file.ts';
import { RuleBook, type RuleSet } from './book.ts';
import { LimitCounters, type Held } from './counters.ts';
import { amountOf, estimateOf, nothing, type Appraiser } from './estimate.ts';
import { limitLines, limitNames, withoutLimits } from './head.ts';
import { MemoryStore } from './memory-store.ts';
import { Pages } from './page.ts';
import { RedisStore } from './redis-store.ts';
import { refusalOf } from './refusal.ts';
import { Reservation, type Till } from './reservation.ts';
import { Ask, type Rule, type Store, type Verdict } from './rule.ts';
import { SharedStore } from './shared-store.ts';

export { AddressCounts } from './address-counts.ts';

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
  readonly #pages = new Pages();
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
    const chosen = context.route.free && set !== null ? set.unmeasured : set;
    if (chosen === null || chosen.rules.length === 0) return next();
    this.#take(context, chosen, next);
  }

  /** Gives back what a request has taken, and counts what it has used. */
  readonly settle = (context: Context): void => context.reservation?.release();

  /** An upstream's answer begins: our numbers stand in place of those it sends of its own limits. */
  readonly answered = (context: Context, head: string[]): void => {
    // Nobody else makes one.
    const reservation = context.reservation as Reservation | null;
    if (reservation === null) return;
    reservation.answered();
    withoutLimits(head, limitNames);
  };

  async close(): Promise<void> {
    await this.#till?.store.close();
  }

  #take(context: Context, set: RuleSet, next: Next): void {
    const till = (this.#till ??= this.#open());
    const { fairnessKey, time } = context;
    const { rules } = set;
    const estimate = set.measured ? estimateOf(context, till.appraiser) : nothing;
    const page = this.#pages.of(rules, fairnessKey, time);
    const unproven = unprovenKey(context);
    const own = unproven === null ? null : this.#pages.of(rules, unproven, time);
    const asks: Ask[] = [];
    for (let at = 0; at < rules.length; at++) {
      const amount = amountOf(rules[at] as Rule, estimate, context, till.appraiser);
      if (own !== null) asks.push(new Ask(own.account(at, time), amount));
      asks.push(new Ask(page.account(at, time), amount, own !== null));
    }
    const reservation = new Reservation(context, asks, estimate, till);
    context.reservation = reservation;
    till.store.take(reservation, (verdict) => {
      try {
        this.#decided(reservation, set, verdict, next);
      } catch (error) {
        next(error);
      }
    });
  }

  #decided(reservation: Reservation, set: RuleSet, verdict: Verdict, next: Next): void {
    const { context } = reservation;
    switch (verdict) {
      case 'taken':
        if (!reservation.keep()) return;
        this.#taken(reservation, set);
        return next();
      case 'refused':
        if (!reservation.drop()) return;
        return this.#refused(reservation);
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
  #taken({ context, asks, provisional }: Reservation, { measured, notice }: RuleSet): void {
    let fits = true;
    for (let at = 0; at < asks.length; at++) {
      const ask = asks[at] as Ask;
      if (ask.fits) continue;
      this.#note(context, ask.rule.name);
      fits = false;
    }
    this.#counters.checked(fits ? 'allowed' : 'observed');
    context.measured = measured;
    if (fits && !provisional) context.headLines = notice.lines(asks);
    else context.headLines = limitLines(provisional ? tighter(asks, true) : asks, true);
  }

  #refused({ context, asks, provisional }: Reservation): void {
    const refusing = asks.filter(({ fits, rule }) => !fits && !rule.observe);
    for (const { rule } of refusing) this.#counters.hit(rule.name);
    this.#counters.checked('refused');
    context.headLines = limitLines(provisional ? tighter(asks, false) : asks, false);
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

/** What is too large to be looked into is guessed at; anything else that readers may differ in was made so. */
const isUnclear = ({ bodyAmbiguous, bodyStream }: Context): boolean => bodyAmbiguous && bodyStream === null;

/**
 * A token that has not proved itself counts for itself and for its address: made-up ones gain nothing, and of a good one
 * every request has counted when it is known to be good. Then its address is given back what it took.
 * @returns null for everybody else.
 */
const unprovenKey = ({ key, token, verified }: Context): string | null => (verified || key !== null || token === null ? null : `token:${token.id}`);

/** Of two that count the same rule the one with less room. */
function tighter(asks: readonly Ask[], taken: boolean): readonly Ask[] {
  return asks.filter((ask, at) => {
    const other = asks[ask.provisional ? at - 1 : at + 1] as Ask;
    return ask.provisional ? ask.remaining(taken) < other.remaining(taken) : ask.remaining(taken) <= other.remaining(taken);
  });
}

// What a caller may use: requests, tokens, concurrency and budgets, in memory or in Redis.

import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { LRUCache } from 'lru-cache';
import type { NewapiName } from '../../types/caller.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Subject } from '../../types/detector.d.ts';
import type { LimitView, OwnLimits } from '../../types/registry.d.ts';
import type { Usage } from '../../types/usage.d.ts';
import { hasLimits } from '../config/config.ts';
import { type Context, type Core, isConversation, underway } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { inBackground, type Redis } from '../platform/platform.ts';
import { BudgetFile, budgetFileName } from './budget-file.ts';
import type { Charge, ChargeSet, Counter, Rule, Store, Verdict } from './charge.ts';
import { LimitMetrics, type Held } from './limit-metrics.ts';
import { MemoryStore } from './memory-store.ts';
import { NamelessUse } from './nameless-use.ts';
import { type CallerNames, CounterCache, counterOf, countersOf, PolicyIndex, type RuleSet } from './policy-index.ts';
import { remaining, spans, withoutLimits } from './rate-limit-headers.ts';
import { RemoteStore, StoreOwner } from './remote-store.ts';
import { RedisStore } from './redis-store.ts';
import { refusalOf } from './refusal.ts';
import { SharedStore } from './shared-store.ts';

export { forgetSpending } from './budget-file.ts';
export { AddressCounts } from './address-counts.ts';

/** Knows models and prices; handed in, since they belong to higher rooms. */
export interface CostEstimator {
  /** Estimates the tokens of a body. */
  tokens(bytes: Buffer | readonly Buffer[]): number;
  /** US dollars; null without a known price. */
  price(model: string, usage: Usage): number | null;
}

/** What limits are made of. */
export interface LimitsDeps {
  /** Null without `rate_limit.redis_url`. */
  readonly redis: Redis | null;
  readonly identify: (credential: string) => TokenIdentity;
  readonly costs: CostEstimator;
  /** Users of a host application may have limits of their own. */
  readonly hasUsers: boolean;
  /** Counts while `newapi.access_token` is set. */
  readonly names?: CallerNames | null;
}

type Next = (error?: unknown) => void;

/** The charges of a request, kept at its context until its end. */
interface Reservation extends ChargeSet {
  readonly context: Context;
  readonly estimate: Estimate;
  /** The largest amount of a rule of the kind, since several rules count the same; null without one. */
  readonly tokens: number | null;
  readonly nanoDollars: number | null;
  /** Some charges count for an address until the token is accepted. */
  provisional: boolean;
  state: 'asking' | 'held' | 'over';
  readonly rules: readonly Rule[];
  /** Whose counters hold the charges that are not provisional. */
  readonly caller: string;
  /** The user of NewAPI whose tokens count together for some rules; null where none is known or no rule asks. */
  readonly user: number | null;
  /** Of a WebSocket that has answered: the tokens and the money of its next answer; null while they are asked for or not counted. */
  answer: ChargeSet | null;
  /** Answers of a WebSocket, and what they have used and is settled. */
  answers: number;
  isAsking: boolean;
  settled: Settled;
}

/** What is settled of a request that has not ended. */
interface Settled {
  readonly tokens: number;
  readonly nanoDollars: number;
}

/** A caller without a request is on no route. */
const noRoute = { class: 'other', body: null, api: '', template: '' };

const nothingSettled: Settled = { tokens: 0, nanoDollars: 0 };

/** Shares of a budget that are told when they are spent. */
const budgetLevels = [
  { level: '80%', share: 0.8 },
  { level: '100%', share: 1 },
] as const;
/** By size: a `max` takes its memory at the start. */
const toldRemembered = { maxSize: 10_000, sizeCalculation: () => 1 };

/**
 * The limits of keys and policies, and the default limits of all other callers. Checks all that apply to a request, takes
 * from all of them or from none, and at the end replaces the estimate by what was used. Opens nothing before the first
 * limited request.
 */
export class Limits {
  readonly #core: Core;
  readonly #deps: LimitsDeps;
  readonly #metrics = new LimitMetrics();
  #counters = new CounterCache();
  /** Levels of budgets that have been told, with the end of their period. */
  readonly #told = new LRUCache<string, number>(toldRemembered);
  /** Null but with policies by names of NewAPI. */
  #nameless: NamelessUse | null = null;
  /** It is told of names. */
  #isTold = false;
  #index: PolicyIndex | null = null;
  #store: Store | null = null;

  constructor(core: Core, deps: LimitsDeps) {
    this.#core = core;
    this.#deps = deps;
    const { crew } = core;
    if (crew?.isWorker === false) new StoreOwner(crew, () => (this.#store ??= this.#open()), (charge, caller) => this.#watchBudget(charge, caller));
  }

  /** Whether a limit can ever apply: one of the configuration, of a key made while the gate runs, or of a host's user. */
  isPossible({ rateLimit, auth } = this.#core.config): boolean {
    return this.#deps.hasUsers || auth.mode !== 'passthrough' || hasLimits(rateLimit.key) || rateLimit.policies.length > 0 || auth.keys.some(hasLimits);
  }

  /** What the requests in hand have reserved; all zero without requests. */
  held(): Held {
    return this.#metrics.held();
  }

  /** For the metrics. */
  series(): ReturnType<LimitMetrics['series']> {
    return this.#metrics.series();
  }

  /** Begins to connect, so that the first request need not wait for it. */
  start(): void {
    if (this.isPossible() && this.#core.config.rateLimit.store === 'redis') (this.#store ??= this.#open()).start();
  }

  /** Takes the rules of another configuration. What is counted stays, by the names of the counters. */
  configure(): void {
    this.#index = null;
    this.#counters = new CounterCache();
  }

  /** Whether the limits of a request depend on its body. */
  needsBody(context: Context): boolean {
    if (!this.isPossible()) return false;
    const index = this.#indexed();
    return this.#nameless !== null || index.asksForModel(context) || index.find(context)?.measured === true;
  }

  /** Lets a request in or refuses it. Calls `next` once it may go on, at once where the counters are in memory. */
  admit(context: Context, next: Next): void {
    const index = this.#index ?? this.#indexed();
    if (index.hasPolicies && this.#isRefusedByAddress(context, index)) return;
    const set = index.find(context);
    // A body too large to be read here is estimated; receivers may read any other ambiguous body in two ways.
    if (context.bodyAmbiguous && context.bodyStream === null && (set?.measured || index.asksForModel(context)) && context.refuse('key_limit.body', new HeimdallError('ambiguous_body'))) return;
    if (this.#nameless !== null && context.route.class === 'model' && index.nameOf(context) === null) context.measured = true;
    const chosen = context.route.free && set !== null ? set.unmeasured : set;
    if (chosen === null || chosen.rules.length === 0) return next();
    const reservation = this.#reserve(context, chosen);
    const verdict = (this.#store ??= this.#open()).take(reservation);
    if (typeof verdict === 'string') this.#decided(reservation, chosen, verdict, next);
    else underway(context, this.#decideLater(reservation, chosen, verdict, next));
  }

  /** The limits that apply to a caller's next request, as far as they depend on the caller, and what is left of each. Takes nothing. */
  async shown(context: Context): Promise<readonly LimitView[]> {
    // Not from the cache, which is made for callers that call.
    const set = this.#indexed().find(context);
    if (set === null || set.rules.length === 0) return [];
    const charges = countersOf(set.rules, context.fairnessKey, context.time, set.perUser ? this.#userOf(context) : null).map((counter) => chargeOf(counter, 0, false));
    const asked: ChargeSet = { id: context.id, charges, holder: null };
    if ((await (this.#store ??= this.#open()).take(asked)) === 'taken') this.#store.settle(asked);
    return charges.map(({ counter: { rule }, limit, used }) => {
      const unit = rule.kind === 'budget' ? billion : 1;
      const known = limit === 0 ? rule.limit : limit;
      return { rule: rule.name, limit: known / unit, remaining: Math.max(0, known - used) / unit, window: rule.period === null ? (rule.window === 0 ? null : rule.window / 1000) : spans[rule.period] };
    });
  }

  /** The same for a key or token that sends no request now. @param grant the limits of a key. */
  shownOf({ kind, id }: Subject, grant: OwnLimits | null): Promise<readonly LimitView[]> {
    if (kind !== 'key' && kind !== 'token') return Promise.resolve([]);
    const idle = { id: randomUUID(), time: this.#core.clock.now(), fairnessKey: `${kind}:${id}`, key: kind === 'key' ? id : null, token: kind === 'token' ? { id, mask: '', former: [] } : null, verified: true, ip: '', grant: kind === 'key' ? grant : null, user: null, client: null, model: null, bodyStream: null, path: '', route: noRoute };
    return this.shown(idle as unknown as Context);
  }

  #indexed(): PolicyIndex {
    if (this.#index !== null) return this.#index;
    const { identify } = this.#deps;
    const names = this.#core.config.newapi.accessToken === null ? null : (this.#deps.names ?? null);
    this.#index = new PolicyIndex(this.#core.config.rateLimit, identify, this.#core.observe, names);
    if (!this.#index.hasNames) this.#nameless = null;
    else {
      this.#nameless ??= new NamelessUse();
      if (!this.#isTold) names?.onNamed((caller, name) => this.#named(caller, name));
      this.#isTold = true;
    }
    return this.#index;
  }

  #userOf(context: Context): number | null {
    return this.#index?.nameOf(context)?.user_id ?? null;
  }

  /** A caller has a name: what it has used until now counts for the policies that the name fits, whether there is room or not. */
  #named(caller: string, name: NewapiName): void {
    const now = this.#core.clock.now();
    const whose = caller.replace(' ', ':');
    const charges = (this.#nameless?.take(caller) ?? []).flatMap(([policy, amount]) => this.#indexed().rulesFor(policy, name).map((rule) => {
      const counter = counterOf({ ...rule, observe: true }, rule.perUser ? `newapi:${name.user_id}` : whose, now);
      return chargeOf(counter, amount(rule), false);
    })).filter(({ amount }) => amount > 0);
    if (charges.length === 0) return;
    const store = (this.#store ??= this.#open());
    const set: ChargeSet = { id: randomUUID(), charges, holder: null };
    const taken = (verdict: Verdict): void => { if (verdict === 'taken') store.settle(set); };
    const verdict = store.take(set);
    if (typeof verdict === 'string') taken(verdict);
    else inBackground(this.#core.log, 'limits.names', verdict.then(taken));
  }

  /** At the end of a request: gives back what it has taken, and counts what it has used. */
  readonly settle = (context: Context): void => {
    if (this.#nameless !== null && context.route.class === 'model' && !context.route.free) {
      const index = this.#indexed();
      if (index.nameOf(context) === null) this.#nameless?.add(context, index.waiting(context));
    }
    const reservation = context.reservation as Reservation | null;
    if (reservation === null) return;
    const held = reservation.state === 'held';
    reservation.state = 'over';
    if (!held) return;
    const { answer, tokens, nanoDollars } = reservation;
    const metrics = this.#metrics;
    metrics.requestsHeld--;
    metrics.tokensHeld -= tokens ?? 0;
    metrics.nanoDollarsHeld -= nanoDollars ?? 0;
    this.#settleCharges(reservation, reservation);
    if (answer !== null) this.#settleCharges(reservation, answer);
  };

  /**
   * An answer on a WebSocket is over: counts what it has used, and makes room for the next one as for a request of its own.
   * @param refused is called when there is no room.
   */
  spend(context: Context, refused: (error: HeimdallError) => void): void {
    const reservation = context.reservation as Reservation | null;
    if (reservation === null || reservation.state !== 'held' || reservation.isAsking) return;
    this.#giveBack(reservation);
    const { id, caller, user, rules, charges, holder, estimate, tokens, nanoDollars } = reservation;
    if (tokens === null && nanoDollars === null) return;
    if (reservation.answers++ === 0) {
      reservation.answer = { id, holder, charges: charges.filter(isMeasured) };
      reservation.charges = charges.filter((charge) => !isMeasured(charge));
    }
    if (reservation.answer !== null) this.#settleCharges(reservation, reservation.answer);
    reservation.answer = null;
    const counters = this.#counters.of(rules, caller, this.#core.clock.now(), user);
    const all = counters.map((counter) => chargeOf(counter, amountOf(counter.rule, estimate, context, this.#deps.costs), false));
    const next: ChargeSet = { id: `${id}:${reservation.answers}`, holder: null, charges: all.filter(isMeasured) };
    const verdict = (this.#store as Store).take(next);
    if (typeof verdict === 'string') return this.#goesOn(reservation, next, verdict, refused);
    reservation.isAsking = true;
    underway(context, verdict.then((known) => this.#goesOn(reservation, next, known, refused)));
  }

  #goesOn(reservation: Reservation, next: ChargeSet, verdict: Verdict, refused: (error: HeimdallError) => void): void {
    const { context, state, tokens } = reservation;
    reservation.isAsking = false;
    switch (verdict) {
      case 'taken':
        this.#metrics.tokensReserved += tokens ?? 0;
        if (state === 'held') reservation.answer = next;
        else this.#settleCharges(reservation, next);
        return;
      case 'refused': {
        this.#metrics.checks.refused++;
        const refusing = next.charges.filter(refuses);
        for (const { counter } of refusing) this.#metrics.hit(counter.rule.name);
        return refused(refusalOf(refusing));
      }
      case 'unchecked':
        return;
      case 'unavailable':
        if (!context.core.observe) refused(new HeimdallError('limits_unavailable', { retryAfter: 1 }));
    }
  }

  /** Replaces the estimates of charges by what the request has used since they were taken. */
  #settleCharges(reservation: Reservation, set: ChargeSet): void {
    const { context, estimate, settled, tokens, nanoDollars } = reservation;
    const { charges } = set;
    const metrics = this.#metrics;
    let used = settled.tokens;
    let spent = settled.nanoDollars;
    let counts = false;
    for (let at = 0; at < charges.length; at++) {
      const charge = charges[at] as Charge;
      const { kind } = charge.counter.rule;
      charge.actual = actualOf(charge.counter.rule, estimate, context, this.#deps.costs);
      if (kind === 'tokens') {
        counts = true;
        used = charge.actual;
        charge.actual = Math.max(0, used - settled.tokens);
      } else if (kind === 'budget') {
        spent = charge.actual;
        charge.actual = Math.max(0, spent - settled.nanoDollars);
      }
      // The token is known by now, and has counted for itself.
      if (charge.provisional && isProven(context)) charge.actual = 0;
    }
    context.tokensSettled = used;
    metrics.tokensSettled += used - settled.tokens;
    if (counts) metrics.tokensReleased += Math.max(0, (tokens ?? 0) - used + settled.tokens);
    if (reservation.state === 'held') reservation.settled = { tokens: used, nanoDollars: spent };
    this.#store?.settle(set, nanoDollars === null ? null : context.fairnessKey);
    // Of several workers the main thread knows what all have spent.
    if (nanoDollars === null || this.#core.crew?.isWorker === true) return;
    for (const charge of charges) if (charge.counter.rule.kind === 'budget' && charge.actual > 0) this.#watchBudget(charge, context.fairnessKey);
  }

  /** Tells once, for each caller, period and level, that so much of a budget is spent. */
  #watchBudget({ counter, limit, used, actual }: Charge, caller: string): void {
    const known = this.#store?.spent(counter.key) ?? null;
    const spent = known ?? used + actual;
    for (const { level, share } of budgetLevels) {
      const id = `${counter.key} ${level}`;
      if (spent < limit * share || this.#told.get(id) === counter.until) continue;
      // An earlier request has passed the level, perhaps before a restart.
      if (known !== null && known - actual >= limit * share) continue;
      this.#told.set(id, counter.until);
      this.#metrics.budget(counter.rule.name, level);
      const fields = { caller, rule: counter.rule.name, period: counter.rule.period, budget: limit / billion, spent: spent / billion, until: new Date(counter.until).toISOString() };
      if (share === 1) this.#core.log.warn(fields, 'budget.reached');
      else this.#core.log.warn(fields, 'budget.warning');
    }
  }

  /**
   * An upstream's answer begins: the fields of the gate replace those that the upstream sends of its own limits. The answer
   * proves the token, so what its address took for it is given back, however long the answer lasts.
   */
  readonly answered = (context: Context, head: string[]): void => {
    const reservation = context.reservation as Reservation | null;
    if (reservation === null) return;
    withoutLimits(head);
    this.#giveBack(reservation);
  };

  #giveBack(reservation: Reservation): void {
    if (!reservation.provisional || reservation.state !== 'held' || !isProven(reservation.context)) return;
    reservation.provisional = false;
    const proven = { id: reservation.id, charges: reservation.charges.filter(({ provisional }) => provisional), holder: reservation.holder };
    reservation.charges = reservation.charges.filter(({ provisional }) => !provisional);
    for (const charge of proven.charges) charge.actual = 0;
    this.#store?.settle(proven);
  }

  async close(): Promise<void> {
    await this.#store?.close();
  }

  /**
   * Makes the charges. A token that is not accepted yet counts for itself and for its address: made-up tokens gain nothing,
   * and all requests of a good one have counted by the time it is accepted. Then its address is given back what it took.
   */
  #reserve(context: Context, set: RuleSet): Reservation {
    const { rules, measured } = set;
    const user = set.perUser ? this.#userOf(context) : null;
    const { fairnessKey, key, token, time } = context;
    const { costs } = this.#deps;
    const provisional = !context.verified && key === null && token !== null;
    const estimate = measured ? estimateOf(context, costs) : nothing;
    const counters = this.#counters.of(rules, fairnessKey, time, provisional ? null : user);
    const caller = provisional ? `token:${token.id}` : fairnessKey;
    const own = provisional ? this.#counters.of(rules, caller, time, user) : counters;
    const charges: Charge[] = [];
    let tokens: number | null = null;
    let nanoDollars: number | null = null;
    for (let at = 0; at < rules.length; at++) {
      const rule = rules[at] as Rule;
      const amount = amountOf(rule, estimate, context, costs);
      if (rule.kind === 'tokens') tokens = Math.max(tokens ?? 0, amount);
      else if (rule.kind === 'budget') nanoDollars = Math.max(nanoDollars ?? 0, amount);
      charges.push(chargeOf(own[at] as Counter, amount, false));
      if (provisional) charges.push(chargeOf(counters[at] as Counter, amount, true));
    }
    const reservation: Reservation = { id: context.id, charges, holder: null, context, estimate, tokens, nanoDollars, provisional, state: 'asking', rules, caller, user, answer: null, answers: 0, isAsking: false, settled: nothingSettled };
    context.reservation = reservation;
    return reservation;
  }

  async #decideLater(reservation: Reservation, set: RuleSet, verdict: Promise<Verdict>, next: Next): Promise<void> {
    try {
      this.#decided(reservation, set, await verdict, next);
    } catch (error) {
      next(error);
    }
  }

  #decided(reservation: Reservation, set: RuleSet, verdict: Verdict, next: Next): void {
    const { context } = reservation;
    const over = reservation.state === 'over';
    if (verdict === 'taken') {
      const { tokens, nanoDollars } = reservation;
      const metrics = this.#metrics;
      reservation.state = 'held';
      metrics.requestsHeld++;
      metrics.tokensHeld += tokens ?? 0;
      metrics.tokensReserved += tokens ?? 0;
      metrics.nanoDollarsHeld += nanoDollars ?? 0;
      if (tokens !== null) context.tokensReserved = tokens;
      // The client left while the store was asked.
      if (over) return this.settle(context);
      this.#letIn(reservation, set);
      return next();
    }
    reservation.state = 'over';
    if (over) return;
    this.#metrics.checks[verdict]++;
    if (verdict === 'refused') return this.#refuse(reservation, set);
    context.reservation = null;
    if (verdict === 'unchecked' || !context.refuse('key_limit.store', new HeimdallError('limits_unavailable', { retryAfter: 1 }))) next();
  }

  /** A rule that only observes may have had no room. */
  #letIn({ context, charges, provisional }: Reservation, { measured, headers }: RuleSet): void {
    let fits = true;
    for (let at = 0; at < charges.length; at++) {
      const charge = charges[at] as Charge;
      if (charge.fits) continue;
      this.#note(context, charge.counter.rule.name);
      fits = false;
    }
    this.#metrics.checks[fits ? 'allowed' : 'observed']++;
    if (measured) context.measured = true;
    headers.add((context.extraHead ??= []), provisional ? tighter(charges, true) : charges, true);
  }

  #refuse({ context, charges, provisional }: Reservation, { headers }: RuleSet): void {
    const refusing = charges.filter(refuses);
    for (const { counter } of refusing) this.#metrics.hit(counter.rule.name);
    headers.add((context.extraHead ??= []), provisional ? tighter(charges, false) : charges, false);
    context.fail(refusalOf(refusing));
  }

  /** @returns true when a policy refused the caller's address, and the request was answered. */
  #isRefusedByAddress(context: Context, index: PolicyIndex): boolean {
    const refusal = index.refusalOf(context);
    if (refusal === null) return false;
    if (refusal.observe) this.#note(context, refusal.rule);
    else this.#metrics.hit(refusal.rule);
    return !refusal.observe && context.refuse(refusal.rule, new HeimdallError('address_not_allowed'));
  }

  #note(context: Context, rule: string): void {
    (context.rules ??= []).push(rule);
    this.#metrics.hit(rule);
  }

  #open(): Store {
    const { config, clock } = this.#core;
    const { redis } = this.#deps;
    const main = this.#core.crew?.main ?? null;
    if (main !== null) return new RemoteStore(main);
    if (config.rateLimit.store === 'memory' || redis === null) return new MemoryStore(clock, !config.audit.enabled ? null : new BudgetFile(this.#core, join(dirname(config.audit.path), budgetFileName)));
    return new SharedStore(this.#core, new RedisStore(redis, clock), new MemoryStore(clock, null), () => this.#metrics.storeErrors++);
  }
}

function chargeOf(counter: Counter, amount: number, provisional: boolean): Charge {
  return { counter, amount, provisional, actual: amount, limit: 0, used: 0, fits: true, wait: 0, reset: 0, place: 0 };
}

const refuses = ({ fits, counter }: Charge): boolean => !fits && !counter.rule.observe;

const isMeasured = ({ counter: { rule } }: Charge): boolean => rule.kind === 'tokens' || rule.kind === 'budget';

/** An answer of a model proves the token. On carried routes only the usage in an answer of Gemini's API does. */
const isProven = ({ newapiVerdict, route, usage }: Context): boolean => newapiVerdict === 'accepted' || (route.errors === 'gemini' && usage !== null);

/** Of each two charges of a rule, the token's own and its address's, the one with less room. */
function tighter(charges: readonly Charge[], taken: boolean): readonly Charge[] {
  return charges.filter((charge, at) => {
    const other = charges[charge.provisional ? at - 1 : at + 1] as Charge;
    return charge.provisional ? remaining(charge, taken) < remaining(other, taken) : remaining(charge, taken) <= remaining(other, taken);
  });
}

/** What a request may use, as far as it is known before it is sent. */
interface Estimate {
  readonly prompt: number;
  /** The bound of the answer that the body names; null when it names none. */
  readonly declared: number | null;
  /** Assumed for an answer without a bound; 0 on routes that write none. */
  readonly guess: number;
}

/** For a request that uses no tokens, or to which no rule on tokens or money applies. */
const nothing: Estimate = { prompt: 0, declared: 0, guess: 0 };

/** Routes whose answer is written token by token. */
const writing: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/messages']);

/** Assumed for a request that does not bound its answer, tokens. */
const guessedCompletion = 1024;
/** For the next answer of a WebSocket. */
const aConversation: Estimate = { prompt: 0, declared: null, guess: guessedCompletion };
/** Such a guess takes at most a tenth of a limit, so that small limits stay usable. */
const guessedShare = 10;

/** Pictures, sound and bodies too large to be read here: bytes a token. */
const mediaBytes = 256;
const textBytes = 4;
const billion = 1_000_000_000;

/** A body may ask for any number of tokens; counters are whole numbers of 63 bits. */
const mostAmount = 2 ** 50;

/** Whether the answer of a request is written token by token. Gemini's own API writes by `:generateContent` and `:streamGenerateContent`. */
const writes = ({ route, path }: Context): boolean => writing.has(route.api) || (route.errors === 'gemini' && path.endsWith('enerateContent'));

/** Estimates the tokens of a request. Carried routes use none, nor does Gemini's own count of them. */
function estimateOf(context: Context, costs: CostEstimator): Estimate {
  const { route, maxTokens, path, req, body, decodedBody, bodyStream } = context;
  if (isConversation(context)) return aConversation;
  if (route.class !== 'model' || path.endsWith(':countTokens')) return nothing;
  const length = Number(req.headers['content-length'] ?? 0);
  let prompt = 0;
  if (bodyStream !== null) prompt = Math.ceil(length / mediaBytes);
  else if (body !== null && route.body === 'form') prompt = Math.ceil(body.size / mediaBytes);
  // Compressed text is about a quarter of its size, and a token about four bytes.
  else if (decodedBody !== null) prompt = costs.tokens(decodedBody);
  else if (body !== null) prompt = (req.headers['content-encoding'] ?? '') === '' ? costs.tokens(body.pieces) : body.size;
  return { prompt, declared: maxTokens, guess: writes(context) ? guessedCompletion : 0 };
}

/** The amount that a request takes from a rule before it is sent. */
function amountOf({ kind, share }: Rule, { prompt, declared, guess }: Estimate, context: Context, costs: CostEstimator): number {
  switch (kind) {
    case 'requests':
    case 'concurrency':
      return 1;
    case 'tokens':
      return Math.min(mostAmount, prompt + (declared ?? Math.min(guess, Math.ceil(share / guessedShare))));
    case 'budget': {
      if (declared !== null) return Math.min(mostAmount, nanoDollars(context, prompt, declared, costs));
      const least = nanoDollars(context, prompt, 0, costs);
      return Math.min(mostAmount, least + Math.min(nanoDollars(context, prompt, guess, costs) - least, Math.ceil(share / guessedShare)));
    }
  }
}

/** The amount that a request has used of a rule in the end. */
function actualOf({ kind }: Rule, estimate: Estimate, context: Context, costs: CostEstimator): number {
  switch (kind) {
    case 'requests':
      // A request that the gate itself refused further down does not count.
      return context.outcome === 'refused' && context.sentAt === null ? 0 : 1;
    case 'concurrency':
      return 0;
    case 'tokens':
      return context.usage === null ? unreportedTokens(context, estimate) : context.usage.prompt + context.usage.completion;
    case 'budget': {
      if (context.cost !== null) return Math.ceil(context.cost * billion);
      // The target that answered has no price for its model: the price by which the request was let in counts.
      if (context.usage !== null) return nanoDollars(context, context.usage.prompt, context.usage.completion, costs);
      const tokens = unreportedTokens(context, estimate);
      const prompt = Math.min(tokens, estimate.prompt);
      return nanoDollars(context, prompt, tokens - prompt, costs);
    }
  }
}

/** Tokens of an answer that reports no usage: 0 of one that failed, the prompt where the client left, else the prompt and what was written. */
function unreportedTokens(context: Context, { prompt }: Estimate): number {
  const { sentAt, outcome, status, route, bytesOut } = context;
  if (sentAt === null) return 0;
  if (outcome === 'aborted') return prompt;
  const isAnswer = status >= 200 && status < 300 && route.class === 'model' && !route.free;
  if (!isAnswer) return 0;
  return prompt + (writes(context) ? Math.ceil(bytesOut / textBytes) : 0);
}

function nanoDollars({ model }: Context, prompt: number, completion: number, costs: CostEstimator): number {
  if (model === null || prompt + completion === 0) return 0;
  return Math.ceil((costs.price(model, { prompt, completion, cached: 0, reasoning: 0, estimated: true }) ?? 0) * billion);
}

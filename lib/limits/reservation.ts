import type { Context, Holding } from '../request/request.ts';
import type { LimitCounters } from './counters.ts';
import { actualOf, type Appraiser, type Estimate } from './estimate.ts';
import { Taking, type Ask, type Store } from './rule.ts';

/** What requests take from and give back to. */
export interface Till {
  readonly store: Store;
  readonly appraiser: Appraiser;
  readonly counters: LimitCounters;
}

/** What one request has taken, or has asked for and not yet got. Given back once, however the request ends. */
export class Reservation extends Taking implements Holding {
  readonly context: Context;
  readonly #estimate: Estimate;
  readonly #till: Till;
  /** The most that a limit of the kind holds, for several count the same; null without one. */
  #tokens: number | null = null;
  #nanoDollars: number | null = null;
  #provisional = false;
  #state: 'asking' | 'held' | 'over' = 'asking';

  constructor(context: Context, asks: readonly Ask[], estimate: Estimate, till: Till) {
    super(context.id, asks);
    this.context = context;
    this.#estimate = estimate;
    this.#till = till;
    for (let at = 0; at < asks.length; at++) {
      const { rule, amount, provisional } = asks[at] as Ask;
      if (rule.kind === 'tokens') this.#tokens = Math.max(this.#tokens ?? 0, amount);
      else if (rule.kind === 'budget') this.#nanoDollars = Math.max(this.#nanoDollars ?? 0, amount);
      if (provisional) this.#provisional = true;
    }
  }

  /** Some of it is counted for an address until its token has proved itself. */
  get provisional(): boolean {
    return this.#provisional;
  }

  /** The store has counted it. @returns false when the request is over already, so that it was given back at once. */
  keep(): boolean {
    const over = this.#state === 'over';
    this.#state = 'held';
    this.#till.counters.hold(this.#tokens ?? 0, this.#nanoDollars ?? 0);
    if (this.#tokens !== null) this.context.tokensReserved = this.#tokens;
    if (over) this.release();
    return !over;
  }

  /** The store has not. @returns false when the request is over already. */
  drop(): boolean {
    const over = this.#state === 'over';
    this.#state = 'over';
    return !over;
  }

  /** The answer has begun, and proves the token: what its address took for it is given back, however long the answer lasts. */
  answered(): void {
    if (!this.#provisional || this.#state !== 'held' || !isProven(this.context)) return;
    this.#provisional = false;
    const provisional = this.part(isProvisional);
    for (const ask of provisional.asks) ask.actual = 0;
    this.#till.store.settle(provisional);
  }

  release(): void {
    const held = this.#state === 'held';
    this.#state = 'over';
    if (!held) return;
    const { asks, context } = this;
    let used = 0;
    for (let at = 0; at < asks.length; at++) {
      const ask = asks[at] as Ask;
      ask.actual = actualOf(ask.rule, this.#estimate, context, this.#till.appraiser);
      if (ask.rule.kind === 'tokens') used = ask.actual;
      // The token is known by now, and has counted for itself.
      if (ask.provisional && isProven(context)) ask.actual = 0;
    }
    context.tokensSettled = used;
    this.#till.counters.letGo(this.#tokens ?? 0, this.#nanoDollars ?? 0, used);
    this.#till.store.settle(this);
  }
}

/** Whoever got an answer of a model had a token that is good. On carried routes only what Gemini's API used tells so. */
const isProven = ({ vouched, route, usage }: Context): boolean => vouched === 'accepted' || (route.errors === 'gemini' && usage !== null);

const isProvisional = ({ provisional }: Ask): boolean => provisional;

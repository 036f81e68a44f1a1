import type { Context } from '../context.ts';
import type { Holding } from '../core.ts';
import type { LimitCounters } from './counters.ts';
import { actualOf, type Appraiser, type Estimate } from './estimate.ts';
import type { Ask, Store, Taking } from './rule.ts';

/** What requests take from and give back to. */
export interface Till {
  readonly store: Store;
  readonly appraiser: Appraiser;
  readonly counters: LimitCounters;
}

/** What one request has taken, or has asked for and not yet got. Given back once, however the request ends. */
export class Reservation implements Holding {
  readonly taking: Taking;
  readonly #context: Context;
  readonly #estimate: Estimate;
  readonly #till: Till;
  readonly #tokens: number;
  readonly #nanoDollars: number;
  #state: 'asking' | 'held' | 'over' = 'asking';

  constructor(context: Context, taking: Taking, estimate: Estimate, till: Till) {
    this.#context = context;
    this.taking = taking;
    this.#estimate = estimate;
    this.#till = till;
    this.#tokens = amountOf(taking, 'tokens');
    this.#nanoDollars = amountOf(taking, 'budget');
  }

  /** The store has counted it. @returns false when the request is over already, so that it was given back at once. */
  keep(): boolean {
    const over = this.#state === 'over';
    this.#state = 'held';
    this.#till.counters.hold(this.#tokens, this.#nanoDollars);
    if (this.taking.asks.some(({ rule }) => rule.kind === 'tokens')) this.#context.tokensReserved = this.#tokens;
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
    if (this.#state !== 'held' || !isProven(this.#context) || !this.taking.asks.some(isProvisional)) return;
    const provisional = this.taking.part(isProvisional);
    for (const ask of provisional.asks) ask.actual = 0;
    this.#till.store.settle(provisional);
  }

  release(): void {
    const held = this.#state === 'held';
    this.#state = 'over';
    if (!held) return;
    const { asks } = this.taking;
    let used = 0;
    for (const ask of asks) {
      ask.actual = actualOf(ask.rule, this.#estimate, this.#context, this.#till.appraiser);
      if (ask.rule.kind === 'tokens') used = ask.actual;
      // The token is known by now, and has counted for itself.
      if (ask.provisional && isProven(this.#context)) ask.actual = 0;
    }
    this.#context.tokensSettled = used;
    this.#till.counters.letGo(this.#tokens, this.#nanoDollars, used);
    this.#till.store.settle(this.taking);
  }
}

/** Whoever got an answer of a model had a token that is good. On carried routes only what Gemini's API used tells so. */
const isProven = ({ vouched, route, usage }: Context): boolean => vouched === 'accepted' || (route.errors === 'gemini' && usage !== null);

const isProvisional = ({ provisional }: Ask): boolean => provisional;

/** The largest: several limits of a kind count the same tokens. */
function amountOf({ asks }: Taking, kind: 'tokens' | 'budget'): number {
  let most = 0;
  for (const { rule, amount } of asks) if (rule.kind === kind && amount > most) most = amount;
  return most;
}

import type { Crew, Link } from '../platform/platform.ts';
import type { Charge, ChargeSet, Counter, Rule, Store, Verdict } from './charge.ts';

/** Rules that a worker has told the main thread of before it begins anew: keys come and go. */
const mostRules = 10_000;

/** A rule, and the number by which later charges name it. */
type NumberedRule = readonly [number: number, rule: Rule];
/** Of each charge: the number of its rule, the name of its counter, its end, its amount. */
const askedFields = 4;
interface Asked {
  readonly id: string;
  /** The worker has begun to number its rules anew. */
  readonly anew: boolean;
  readonly rules: readonly NumberedRule[];
  readonly charges: readonly (number | string)[];
}
/** Of each charge: its limit, what was used, whether it fits, the wait, the reset. */
const repliedFields = 5;
interface Replied {
  readonly verdict: Verdict;
  /** The first of the numbers by which the charges are settled. */
  readonly first: number;
  readonly charges: readonly number[];
}
interface Settled {
  /** Number and actual amount of each charge. */
  readonly charges: readonly number[];
  /** Whose budgets are among them; null without any. */
  readonly caller: string | null;
}

/**
 * The counters of a gate with several workers, as a worker sees them: the main thread has them, so that they are exact over all. A
 * request costs a message there and back, and one at its end, each together with what else is said in the same turn.
 */
export class RemoteStore implements Store {
  readonly #main: Link;
  #numbers = new WeakMap<Rule, number>();
  #rules = 0;
  #anew = true;

  constructor(main: Link) {
    this.#main = main;
  }

  async take(set: ChargeSet): Promise<Verdict> {
    const asked = this.#asked(set);
    const { verdict, first, charges: found } = (await this.#main.ask('limits.take', asked)) as Replied;
    for (const [at, charge] of set.charges.entries()) {
      const from = at * repliedFields;
      charge.limit = found[from] as number;
      charge.used = found[from + 1] as number;
      charge.fits = found[from + 2] === 1;
      charge.wait = found[from + 3] as number;
      charge.reset = found[from + 4] as number;
      charge.place = first + at;
    }
    if (verdict === 'taken') set.holder = this;
    return verdict;
  }

  settle(set: ChargeSet, caller: string | null = null): void {
    set.holder = null;
    const charges: number[] = [];
    for (const { place, actual } of set.charges) charges.push(place, actual);
    this.#main.tell('limits.settle', { charges, caller } satisfies Settled);
  }

  spent(): null {
    return null;
  }

  start(): void {}

  async close(): Promise<void> {}

  #asked({ id, charges }: ChargeSet): Asked {
    if (this.#rules >= mostRules) {
      this.#numbers = new WeakMap();
      this.#rules = 0;
      this.#anew = true;
    }
    const anew = this.#anew;
    this.#anew = false;
    const rules: NumberedRule[] = [];
    const flat: (number | string)[] = [];
    for (const { counter: { rule, key, until }, amount } of charges) {
      let number = this.#numbers.get(rule);
      if (number === undefined) {
        this.#numbers.set(rule, (number = this.#rules++));
        rules.push([number, rule]);
      }
      flat.push(number, key, until, amount);
    }
    return { id, anew, rules, charges: flat };
  }
}

/** What a worker has taken and not settled. */
interface Holding {
  rules: Map<number, Rule>;
  readonly charges: Map<number, { readonly set: ChargeSet; readonly charge: Charge }>;
}

/** Counts for the workers of a gate. What a worker held when it ended counts as used, and its slots are free. */
export class StoreOwner {
  readonly #store: () => Store;
  readonly #spent: (charge: Charge, caller: string) => void;
  readonly #held = new Map<Link, Holding>();
  #last = 0;

  /** @param store of this thread. @param spent is called when something of a caller's budget is spent. */
  constructor(crew: Crew, store: () => Store, spent: (charge: Charge, caller: string) => void) {
    this.#store = store;
    this.#spent = spent;
    crew.answer('limits.take', (asked, from) => this.#take(asked as Asked, from as Link));
    crew.answer('limits.settle', (settled, from) => this.#settle(settled as Settled, from as Link));
    crew.onLeft((link) => this.#left(link));
  }

  #take(asked: Asked, from: Link): Replied | Promise<Replied> {
    const holding = this.#holdingOf(from);
    if (asked.anew) holding.rules = new Map();
    for (const [number, rule] of asked.rules) holding.rules.set(number, rule);
    const charges: Charge[] = [];
    for (let at = 0; at < asked.charges.length; at += askedFields) {
      const [number, key, until, amount] = asked.charges.slice(at, at + askedFields) as [number, string, number, number];
      const counter: Counter = { rule: holding.rules.get(number) as Rule, key, until, state: null };
      charges.push({ counter, amount, provisional: false, actual: amount, limit: 0, used: 0, fits: true, wait: 0, reset: 0, place: 0 });
    }
    const set: ChargeSet = { id: asked.id, charges, holder: null };
    const verdict = this.#store().take(set);
    return typeof verdict === 'string' ? this.#replied(set, verdict, from) : verdict.then((known) => this.#replied(set, known, from));
  }

  #replied(set: ChargeSet, verdict: Verdict, from: Link): Replied {
    const first = this.#last + 1;
    const charges: number[] = [];
    const holding = this.#held.get(from);
    for (const charge of set.charges) {
      const { limit, used, fits, wait, reset } = charge;
      charges.push(limit, used, fits ? 1 : 0, wait, reset);
      const number = ++this.#last;
      if (verdict === 'taken' && holding !== undefined) holding.charges.set(number, { set, charge });
    }
    // The worker has ended while the store was asked.
    if (verdict === 'taken' && holding === undefined) this.#giveBack(set, set.charges);
    return { verdict, first, charges };
  }

  #settle({ charges, caller }: Settled, from: Link): void {
    const { charges: held } = this.#holdingOf(from);
    const settled = new Map<ChargeSet, Charge[]>();
    for (let at = 0; at < charges.length; at += 2) {
      const number = charges[at] as number;
      const found = held.get(number);
      if (found === undefined) continue;
      held.delete(number);
      found.charge.actual = charges[at + 1] as number;
      const list = settled.get(found.set);
      if (list === undefined) settled.set(found.set, [found.charge]);
      else list.push(found.charge);
    }
    for (const [set, list] of settled) {
      this.#settled(set, list);
      if (caller !== null) for (const charge of list) if (charge.counter.rule.kind === 'budget' && charge.actual > 0) this.#spent(charge, caller);
    }
  }

  /** Settles some of the charges of a request, or all. */
  #settled(set: ChargeSet, charges: readonly Charge[]): void {
    const isWhole = charges.length === set.charges.length;
    this.#store().settle(isWhole ? set : { id: set.id, charges, holder: set.holder });
    if (!isWhole) set.charges = set.charges.filter((charge) => !charges.includes(charge));
  }

  #giveBack(set: ChargeSet, charges: readonly Charge[]): void {
    for (const charge of charges) charge.actual = charge.counter.rule.kind === 'concurrency' ? 0 : charge.amount;
    this.#settled(set, charges);
  }

  #left(link: Link): void {
    const held = this.#held.get(link)?.charges ?? new Map<number, never>();
    this.#held.delete(link);
    const sets = new Set([...held.values()].map(({ set }) => set));
    for (const set of sets) this.#giveBack(set, set.charges);
  }

  #holdingOf(link: Link): Holding {
    let holding = this.#held.get(link);
    if (holding === undefined) this.#held.set(link, (holding = { rules: new Map(), charges: new Map() }));
    return holding;
  }
}

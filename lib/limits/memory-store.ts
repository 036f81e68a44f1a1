import type { Clock } from '../../types/clock.d.ts';
import type { Budget, BudgetFile } from './budget-file.ts';
import type { Account, Ask, Counter, Store, Taking, Verdict } from './rule.ts';
import { WindowLog } from './window.ts';

/** Counters kept; beyond, those that hold nothing go, the oldest first. */
const mostCounters = 200_000;
const firstSweep = 1000;
/** Looked at for each that is too many. */
const evictionReach = 64;

/** A slot may be free any moment; nobody can tell when. Milliseconds. */
const slotWait = 1000;

/** Requests in hand. */
class Slots implements Counter {
  gone = false;
  held = 0;
}

/** Counters of one process. Takes and settles at once. */
export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #file: BudgetFile | null;
  readonly #counters = new Map<string, WindowLog | Slots>();
  readonly #budgets: Map<string, Budget> | null;
  #nextSweep = firstSweep;
  #nextBudgetSweep = firstSweep;

  /** @param file keeps budgets over a restart; without one they live as long as the process. */
  constructor(clock: Clock, file: BudgetFile | null) {
    this.#clock = clock;
    this.#file = file;
    this.#budgets = file === null ? new Map() : null;
  }

  take(taking: Taking, done: (verdict: Verdict) => void): void {
    const now = this.#clock.now();
    const { asks } = taking;
    let fits = true;
    for (let at = 0; at < asks.length; at++) {
      const ask = asks[at] as Ask;
      this.#look(ask, now);
      if (!ask.fits && !ask.rule.observe) fits = false;
    }
    if (!fits) return done('refused');
    for (let at = 0; at < asks.length; at++) this.#count(asks[at] as Ask, now);
    taking.holder = this;
    done('taken');
  }

  settle(taking: Taking): void {
    const now = this.#clock.now();
    const { asks } = taking;
    taking.holder = null;
    for (let at = 0; at < asks.length; at++) this.#correct(asks[at] as Ask, now);
  }

  /** Spending that others know of; of who has spent nothing there is nothing to remember. @param spent nano-dollars. */
  learn(key: string, spent: number, until: number): void {
    if (spent > 0 || this.budgets.has(key)) this.#budgetOf(key, until).elsewhere = spent;
  }

  /** Hands over what was spent here alone, once. */
  *handOver(): Iterable<readonly [key: string, spent: number, until: number]> {
    for (const [key, budget] of this.budgets) {
      if (budget.spent === 0) continue;
      const { spent } = budget;
      budget.spent = 0;
      yield [key, spent, budget.until];
    }
  }

  /** Takes back what could not be handed over. */
  takeBack(key: string, spent: number, until: number): void {
    this.#budgetOf(key, until).spent += spent;
  }

  start(): void {}

  async close(): Promise<void> {
    this.#file?.close();
  }

  get budgets(): Map<string, Budget> {
    return this.#budgets ?? (this.#file as BudgetFile).budgets;
  }

  #look(ask: Ask, now: number): void {
    const { rule } = ask;
    ask.limit = rule.share;
    switch (rule.kind) {
      case 'requests':
      case 'tokens':
        return lookAtWindow(ask, this.#known(ask.account) as WindowLog | null, now);
      case 'concurrency':
        return lookAtSlots(ask, this.#known(ask.account) as Slots | null);
      case 'budget':
        return lookAtBudget(ask, this.budgets.get(ask.key), now);
    }
  }

  #count(ask: Ask, now: number): void {
    const { account, amount } = ask;
    switch (account.rule.kind) {
      case 'requests':
      case 'tokens':
        ask.place = this.#windowOf(account).add(amount, now);
        return;
      case 'concurrency':
        this.#slotsOf(account).held += amount;
        return;
      case 'budget':
        this.#budgetOf(account.key, account.until).held += amount;
    }
  }

  #correct({ account, amount, actual, place }: Ask, now: number): void {
    const { rule, key, until } = account;
    switch (rule.kind) {
      case 'requests':
        if (actual !== amount) this.#windowOf(account).correct(place, actual - amount, 0, now);
        return;
      case 'tokens':
        if (actual !== amount || place + rule.window <= now) this.#windowOf(account).correct(place, actual - amount, actual, now);
        return;
      case 'concurrency':
        this.#slotsOf(account).held -= amount;
        return;
      case 'budget':
        this.#spend(key, this.#budgetOf(key, until), amount, actual);
    }
  }

  /** Strangers come under ever new names: a budget of which nothing was spent is not kept until its month is over. */
  #spend(key: string, budget: Budget, held: number, spent: number): void {
    budget.held -= held;
    budget.spent += spent;
    if (spent > 0) this.#file?.touch();
    else if (budget.held === 0 && budget.spent === 0 && budget.elsewhere === 0) this.budgets.delete(key);
  }

  /** The counter of an account, if there is one: to look makes none. */
  #known(account: Account): Counter | null {
    const { counter } = account;
    if (counter !== null && !counter.gone) return counter;
    return (account.counter = this.#counters.get(account.key) ?? null);
  }

  #windowOf(account: Account): WindowLog {
    return (this.#known(account) as WindowLog | null) ?? this.#open(account, new WindowLog(account.rule.window));
  }

  #slotsOf(account: Account): Slots {
    return (this.#known(account) as Slots | null) ?? this.#open(account, new Slots());
  }

  #budgetOf(key: string, until: number): Budget {
    const { budgets } = this;
    let budget = budgets.get(key);
    if (budget === undefined) {
      if (budgets.size >= this.#nextBudgetSweep) this.#sweepBudgets();
      budgets.set(key, (budget = { spent: 0, held: 0, elsewhere: 0, until }));
    }
    return budget;
  }

  #open<T extends WindowLog | Slots>(account: Account, counter: T): T {
    if (this.#counters.size >= this.#nextSweep) this.#sweep();
    if (this.#counters.size >= mostCounters) this.#evict();
    this.#counters.set(account.key, counter);
    account.counter = counter;
    return counter;
  }

  /** Each time after the counters have doubled: a constant cost a counter. */
  #sweep(): void {
    const now = this.#clock.now();
    for (const [key, counter] of this.#counters) if (isIdle(counter, now)) this.#forget(key, counter);
    this.#nextSweep = Math.max(firstSweep, 2 * this.#counters.size);
  }

  #forget(key: string, counter: Counter): void {
    this.#counters.delete(key);
    counter.gone = true;
  }

  #sweepBudgets(): void {
    const now = this.#clock.now();
    for (const [key, { until, held }] of this.budgets) if (until <= now && held === 0) this.budgets.delete(key);
    this.#nextBudgetSweep = Math.max(firstSweep, 2 * this.budgets.size);
  }

  /** What holds a slot is never forgotten; its number is bounded by the requests in hand. */
  #evict(): void {
    let looked = 0;
    for (const [key, counter] of this.#counters) {
      if (counter instanceof WindowLog || counter.held === 0) return this.#forget(key, counter);
      if (++looked === evictionReach) return;
    }
  }
}

/** Who is refused again and again under new names must not fill memory, so there may be no counter. */
function lookAtWindow(ask: Ask, log: WindowLog | null, now: number): void {
  ask.used = log === null ? 0 : log.total(now);
  const surplus = ask.used + ask.amount - ask.limit;
  ask.fits = surplus <= 0;
  ask.wait = ask.fits ? 0 : (log?.untilLeft(surplus, now) ?? Infinity);
  ask.reset = ask.fits ? ask.rule.window : (log?.untilEmpty(now) ?? 0);
}

function lookAtSlots(ask: Ask, slots: Slots | null): void {
  ask.used = slots === null ? 0 : slots.held;
  ask.fits = ask.used + ask.amount <= ask.limit;
  ask.wait = ask.fits ? 0 : slotWait;
}

/** Beside others of which nothing can be heard, this instance may use its share of what they had left. */
function lookAtBudget(ask: Ask, budget: Budget | undefined, now: number): void {
  const { limit, share } = ask.rule;
  const elsewhere = budget?.elsewhere ?? 0;
  if (elsewhere > 0) ask.limit = elsewhere + Math.floor(Math.max(0, limit - elsewhere) * (share / Math.max(1, limit)));
  ask.used = elsewhere + (budget === undefined ? 0 : budget.spent + budget.held);
  ask.fits = ask.used + Math.max(1, ask.amount) <= ask.limit;
  ask.reset = ask.until - now;
  ask.wait = ask.fits ? 0 : ask.reset;
}

const isIdle = (counter: WindowLog | Slots, now: number): boolean => (counter instanceof WindowLog ? counter.total(now) === 0 : counter.held === 0);

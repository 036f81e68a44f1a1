import type { Clock } from '../../types/clock.d.ts';
import type { Budget, BudgetFile } from './budget-file.ts';
import type { Ask, Store, Taking, Verdict } from './rule.ts';
import { WindowLog } from './window.ts';

/** Counters kept; beyond, those that hold nothing go, the oldest first. */
const mostCounters = 200_000;
const firstSweep = 1000;
/** Looked at for each that is too many. */
const evictionReach = 64;

/** A slot may be free any moment; nobody can tell when. Milliseconds. */
const slotWait = 1000;

/** Requests in hand. */
class Slots {
  held = 0;
}

type Counter = WindowLog | Slots;

/** Counters of one process. Takes and settles at once. */
export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #file: BudgetFile | null;
  readonly #counters = new Map<string, Counter>();
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
    let fits = true;
    for (const ask of taking.asks) {
      this.#look(ask, now);
      if (!ask.fits && !ask.rule.observe) fits = false;
    }
    if (!fits) return done('refused');
    for (const ask of taking.asks) this.#count(ask, now);
    taking.holder = this;
    done('taken');
  }

  settle(taking: Taking): void {
    const now = this.#clock.now();
    taking.holder = null;
    for (const ask of taking.asks) this.#correct(ask, now);
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
    const { rule, amount, key } = ask;
    ask.limit = rule.share;
    switch (rule.kind) {
      case 'requests':
      case 'tokens':
        return lookAtWindow(ask, this.#counters.get(key) as WindowLog | undefined, now);
      case 'concurrency':
        ask.used = (this.#counters.get(key) as Slots | undefined)?.held ?? 0;
        ask.fits = ask.used + amount <= ask.limit;
        ask.wait = ask.fits ? 0 : slotWait;
        return;
      case 'budget':
        return lookAtBudget(ask, this.budgets.get(key), now);
    }
  }

  #count(ask: Ask, now: number): void {
    const { rule, key, amount } = ask;
    switch (rule.kind) {
      case 'requests':
      case 'tokens':
        ask.place = this.#windowOf(key, rule.window).add(amount, now);
        return;
      case 'concurrency':
        this.#slotsOf(key).held += amount;
        return;
      case 'budget':
        this.#budgetOf(key, ask.until).held += amount;
    }
  }

  #correct({ rule, key, amount, actual, place, until }: Ask, now: number): void {
    switch (rule.kind) {
      case 'requests':
      case 'tokens':
        if (actual !== amount || place + rule.window <= now) this.#windowOf(key, rule.window).correct(place, actual - amount, rule.kind === 'tokens' ? actual : 0, now);
        return;
      case 'concurrency':
        this.#slotsOf(key).held -= amount;
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

  #windowOf(key: string, window: number): WindowLog {
    return (this.#counters.get(key) as WindowLog | undefined) ?? this.#open(key, new WindowLog(window));
  }

  #slotsOf(key: string): Slots {
    return (this.#counters.get(key) as Slots | undefined) ?? this.#open(key, new Slots());
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

  #open<T extends Counter>(key: string, counter: T): T {
    if (this.#counters.size >= this.#nextSweep) this.#sweep();
    if (this.#counters.size >= mostCounters) this.#evict();
    this.#counters.set(key, counter);
    return counter;
  }

  /** Each time after the counters have doubled: a constant cost a counter. */
  #sweep(): void {
    const now = this.#clock.now();
    for (const [key, counter] of this.#counters) if (isIdle(counter, now)) this.#counters.delete(key);
    this.#nextSweep = Math.max(firstSweep, 2 * this.#counters.size);
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
      if (counter instanceof WindowLog || counter.held === 0) return void this.#counters.delete(key);
      if (++looked === evictionReach) return;
    }
  }
}

/** To look makes no counter: who is refused again and again under new names must not fill memory. */
function lookAtWindow(ask: Ask, log: WindowLog | undefined, now: number): void {
  ask.used = log?.total(now) ?? 0;
  const surplus = ask.used + ask.amount - ask.limit;
  ask.fits = surplus <= 0;
  ask.wait = ask.fits ? 0 : (log?.untilLeft(surplus, now) ?? Infinity);
  ask.reset = ask.fits ? ask.rule.window : (log?.untilEmpty(now) ?? 0);
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

const isIdle = (counter: Counter, now: number): boolean => (counter instanceof WindowLog ? counter.total(now) === 0 : counter.held === 0);

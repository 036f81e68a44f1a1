import type { Clock } from '../../types/clock.d.ts';
import type { Budget, BudgetFile } from './budget-file.ts';
import type { Charge, ChargeSet, Counter, Store, Verdict } from './charge.ts';
import { calendarOf } from '../platform/platform.ts';

/** Counters kept; beyond, those that hold nothing go, the oldest first. */
const mostCounters = 200_000;
const firstSweep = 1000;
/** Counters looked at for each one above the maximum. */
const evictionReach = 64;

/** A slot may come free at any moment, which cannot be predicted. Milliseconds. */
const slotWait = 1000;

/** Requests closer together than this share of a window are counted as one entry. */
const grain = 60;

/** Milliseconds within which requests are counted as one entry. @param window milliseconds. */
export const grainOf = (window: number): number => Math.max(1, Math.floor(window / grain));

/** An entry is its first time, its latest time and its count. */
const fields = 3;

/**
 * A sliding log whose entries begin at least a sixtieth of the window apart: a request that comes sooner joins the last entry,
 * and an entry leaves as a whole, a window after the latest request that joined it. So no stretch of that length, wherever it
 * begins, ever holds more than the limit, and a place is free again at most a sixtieth of the window late; a burst leaves to
 * the millisecond. Two counters weighted by time let almost twice the limit pass within a window, a token bucket exactly twice.
 * Holds about sixty entries however much is counted. The script for Redis does the same, step by step.
 */
export class WindowLog {
  gone = false;
  /** Entries flat, oldest first. */
  #log: number[] = [];
  #total = 0;
  #window: number;
  #grain: number;

  /** @param window milliseconds. */
  constructor(window: number) {
    this.#window = window;
    this.#grain = grainOf(window);
  }

  /** Takes another length of the window, milliseconds, for what is counted already too. */
  resize(window: number): void {
    this.#window = window;
    this.#grain = grainOf(window);
  }

  /** Drops what has left the window. @returns what counts now. @param now monotonic milliseconds. */
  total(now: number): number {
    const log = this.#log;
    let gone = 0;
    while (gone < log.length && (log[gone + 1] as number) + this.#window <= now) {
      this.#total -= log[gone + 2] as number;
      gone += fields;
    }
    if (gone > 0) log.splice(0, gone);
    // After the clock was set back, entries with later times count as made now, or they would stay too long.
    for (let at = log.length - fields; at >= 0 && (log[at + 1] as number) > now; at -= fields) {
      log[at + 1] = now;
      log[at] = Math.min(log[at] as number, now);
    }
    return this.#total;
  }

  /** Milliseconds until `surplus` will have left; Infinity when there is less than that. Call {@link total} first. */
  untilLeft(surplus: number, now: number): number {
    let left = 0;
    for (let at = 0; at < this.#log.length; at += fields) {
      left += this.#log[at + 2] as number;
      if (left >= surplus) return (this.#log[at + 1] as number) + this.#window - now;
    }
    return Infinity;
  }

  /** Milliseconds until nothing counts any more. Call {@link total} first. */
  untilEmpty(now: number): number {
    return this.#log.length === 0 ? 0 : (this.#log.at(-2) as number) + this.#window - now;
  }

  /** Counts an amount. Call {@link total} first. @returns the entry's name, for {@link correct}. */
  add(amount: number, now: number): number {
    this.#total += amount;
    const log = this.#log;
    const last = log.length - fields;
    if (last >= 0 && now - (log[last] as number) < this.#grain) {
      log[last + 1] = now;
      log[last + 2] = (log[last + 2] as number) + amount;
      return log[last] as number;
    }
    log.push(now, now, amount);
    return now;
  }

  /** Changes an entry by an amount. If the entry has left already, `late` counts from now on. */
  correct(entry: number, change: number, late: number, now: number): void {
    this.total(now);
    const log = this.#log;
    // From the latest, since most requests are short. After the clock was set back several may have the same name: the first counts.
    let at = log.length - fields;
    while (at >= 0 && ((log[at] as number) > entry || (at > 0 && log[at - fields] === entry))) at -= fields;
    if (at >= 0 && log[at] === entry) {
      const count = Math.max(0, (log[at + 2] as number) + change);
      this.#total += count - (log[at + 2] as number);
      log[at + 2] = count;
    } else if (late > 0) {
      this.add(late, now);
    }
  }
}

/** Requests in hand. */
interface Slots {
  gone: boolean;
  held: number;
}

/** Counters of one process. Takes and settles at once. */
export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #file: BudgetFile | null;
  readonly #states = new Map<string, WindowLog | Slots>();
  readonly #budgets: Map<string, Budget> | null;
  #nextSweep = firstSweep;
  #nextBudgetSweep = firstSweep;

  /** @param file keeps budgets over a restart; without it they live as long as the process. */
  constructor(clock: Clock, file: BudgetFile | null) {
    this.#clock = clock;
    this.#file = file;
    this.#budgets = file === null ? new Map() : null;
  }

  take(set: ChargeSet): Verdict {
    const now = this.#clock.monotonic();
    const { charges } = set;
    let fits = true;
    for (let at = 0; at < charges.length; at++) {
      const charge = charges[at] as Charge;
      this.#look(charge, now);
      if (!charge.fits && !charge.counter.rule.observe) fits = false;
    }
    if (!fits) return 'refused';
    for (let at = 0; at < charges.length; at++) this.#count(charges[at] as Charge, now);
    set.holder = this;
    return 'taken';
  }

  settle(set: ChargeSet): void {
    const now = this.#clock.monotonic();
    const { charges } = set;
    set.holder = null;
    for (let at = 0; at < charges.length; at++) this.#correct(charges[at] as Charge, now);
  }

  spent(key: string): number {
    const budget = this.budgets.get(key);
    return budget === undefined ? 0 : budget.spent + budget.elsewhere;
  }

  /** Remembers what other instances have spent; of a caller without spending nothing is kept. @param spent nano-dollars. */
  learn(key: string, spent: number, until: number): void {
    if (spent > 0 || this.budgets.has(key)) this.#budgetOf(key, until).elsewhere = spent;
  }

  /** Hands over what this instance spent alone, once. */
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

  /** Makes no counter: requests refused under ever new names must not fill memory. */
  #look(charge: Charge, now: number): void {
    const { counter, amount } = charge;
    const { kind, limit, share, window } = counter.rule;
    charge.limit = share;
    switch (kind) {
      case 'requests':
      case 'tokens': {
        const log = this.#stateOf(counter) as WindowLog | null;
        charge.used = log === null ? 0 : log.total(now);
        const surplus = charge.used + amount - share;
        charge.fits = surplus <= 0;
        charge.wait = charge.fits ? 0 : (log?.untilLeft(surplus, now) ?? Infinity);
        charge.reset = charge.fits ? window : (log?.untilEmpty(now) ?? 0);
        return;
      }
      case 'concurrency':
        charge.used = (this.#stateOf(counter) as Slots | null)?.held ?? 0;
        charge.fits = charge.used + amount <= share;
        charge.wait = charge.fits ? 0 : slotWait;
        return;
      case 'budget': {
        const budget = this.budgets.get(counter.key);
        const elsewhere = budget?.elsewhere ?? 0;
        // While other instances cannot be reached, this one may use its share of what they had left.
        if (elsewhere > 0) charge.limit = elsewhere + Math.floor(Math.max(0, limit - elsewhere) * (share / Math.max(1, limit)));
        charge.used = elsewhere + (budget === undefined ? 0 : budget.spent + budget.held);
        charge.fits = charge.used + Math.max(1, amount) <= charge.limit;
        charge.reset = Math.max(0, counter.until - this.#clock.now());
        charge.wait = charge.fits ? 0 : charge.reset;
      }
    }
  }

  #count(charge: Charge, now: number): void {
    const { counter, amount } = charge;
    switch (counter.rule.kind) {
      case 'requests':
      case 'tokens':
        charge.place = ((this.#stateOf(counter) ?? this.#open(counter)) as WindowLog).add(amount, now);
        return;
      case 'concurrency':
        ((this.#stateOf(counter) ?? this.#open(counter)) as Slots).held += amount;
        return;
      case 'budget':
        this.#budgetOf(counter.key, counter.until).held += amount;
    }
  }

  #correct({ counter, amount, actual, place }: Charge, now: number): void {
    const { kind, window } = counter.rule;
    switch (kind) {
      case 'requests':
        if (actual !== amount) ((this.#stateOf(counter) ?? this.#open(counter)) as WindowLog).correct(place, actual - amount, 0, now);
        return;
      case 'tokens':
        if (actual !== amount || place + window <= now) ((this.#stateOf(counter) ?? this.#open(counter)) as WindowLog).correct(place, actual - amount, actual, now);
        return;
      case 'concurrency':
        ((this.#stateOf(counter) ?? this.#open(counter)) as Slots).held -= amount;
        return;
      case 'budget':
        this.#spend(counter, amount, actual);
    }
  }

  /** A budget without spending is not kept until its period ends: strangers come under ever new names. */
  #spend({ key, until }: Counter, held: number, spent: number): void {
    const budget = this.#budgetOf(key, until);
    budget.held -= held;
    budget.spent += spent;
    if (spent > 0) this.#file?.touch();
    else if (budget.held === 0 && budget.spent === 0 && budget.elsewhere === 0) this.budgets.delete(key);
  }

  /** @returns null where nothing has been counted, or not for long. */
  #stateOf(counter: Counter): Counter['state'] {
    if (counter.state !== null && !counter.state.gone) return counter.state;
    const known = this.#states.get(counter.key) ?? null;
    if (known instanceof WindowLog) known.resize(counter.rule.window);
    return (counter.state = known);
  }

  #open(counter: Counter): WindowLog | Slots {
    if (this.#states.size >= this.#nextSweep) this.#sweep();
    if (this.#states.size >= mostCounters) this.#evict();
    const { kind, window } = counter.rule;
    const state = kind === 'concurrency' ? { gone: false, held: 0 } : new WindowLog(window);
    this.#states.set(counter.key, state);
    counter.state = state;
    return state;
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

  /** Each time after the counters have doubled: a constant cost a counter. */
  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [key, state] of this.#states) if (isIdle(state, now)) this.#forget(key, state);
    this.#nextSweep = Math.max(firstSweep, 2 * this.#states.size);
  }

  #forget(key: string, state: WindowLog | Slots): void {
    this.#states.delete(key);
    state.gone = true;
  }

  #sweepBudgets(): void {
    const now = calendarOf(this.#clock).now();
    for (const [key, { until, held }] of this.budgets) if (until <= now && held === 0) this.budgets.delete(key);
    this.#nextBudgetSweep = Math.max(firstSweep, 2 * this.budgets.size);
  }

  /** A counter that holds a slot is never dropped; the number of those is bounded by the requests in hand. */
  #evict(): void {
    let looked = 0;
    for (const [key, state] of this.#states) {
      if (state instanceof WindowLog || state.held === 0) return this.#forget(key, state);
      if (++looked === evictionReach) return;
    }
  }
}

const isIdle = (state: WindowLog | Slots, now: number): boolean => (state instanceof WindowLog ? state.total(now) === 0 : state.held === 0);

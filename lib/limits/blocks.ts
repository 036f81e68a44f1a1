import type { Clock, Timer } from '../../types/clock.d.ts';
import type { BlockTerms, Charge, ChargeSet, Counter, Rule } from './charge.ts';

/** How often blocks that are over are given back, milliseconds. */
const sweepEvery = 250;
/** A block is over after this time, milliseconds, or a thirtieth of its window where that is shorter. */
const longestLife = 1000;
const shares = 30;
/** A refusal is remembered for this long at most, milliseconds: others may give back what they hold. */
const longestRefusal = 50;
/** Callers whose rates are known; beyond, all are counted anew. */
const mostCallers = 10_000;
const second = 1000;

/** Requests of a caller in this second and in the one before. */
interface Pace {
  second: number;
  count: number;
  before: number;
}

/** What Redis has granted beyond a request, for those that follow, or what it has refused. */
interface Block {
  readonly counter: Counter;
  /** Entry of the window that holds it. */
  readonly place: number;
  readonly granted: number;
  /** May pass `granted`: answers use more tokens than was expected. */
  used: number;
  /** Counted in Redis before the block. */
  readonly before: number;
  /** Monotonic milliseconds. */
  lastUse: number;
  readonly until: number;
  isOpen: boolean;
}

/** The answer to a request that had no room. */
interface Refusal {
  readonly amount: number;
  readonly used: number;
  readonly wait: number;
  readonly reset: number;
  /** Monotonic milliseconds. */
  readonly since: number;
  readonly until: number;
}

/**
 * Allowances of callers with many requests, taken from Redis in blocks, so that most requests are decided without a round trip.
 * A block counts in Redis as used from the moment that it is taken, and what was not used of it is given back within about a
 * second, when its last use is also noted: more than the limit does not pass, and what other instances hold is the most that
 * may be refused too early. Only where an instance is killed its last block counts from when it was taken, so that at the end of
 * the window as much as a block more may pass. An instance holds one block of a counter at a time.
 */
export class Blocks {
  readonly #clock: Clock;
  readonly #correct: (charges: readonly Charge[], lastUses: readonly number[] | null) => void;
  readonly #paces = new Map<string, Pace>();
  readonly #blocks = new Map<string, Block>();
  readonly #refusals = new Map<string, Refusal>();
  /** Charges that were taken from a block. */
  readonly #drawn = new WeakMap<Charge, Block>();
  /** Corrections of charges whose block is over, summed by entry. */
  readonly #late = new Map<string, Charge>();
  readonly #asking = new Map<string, Promise<unknown>>();
  #timer: Timer | null = null;
  #isClosed = false;

  /** @param correct sends corrections of one caller's charges to Redis. `lastUses`: of blocks that end, when each was last used, monotonic milliseconds. */
  constructor(clock: Clock, correct: (charges: readonly Charge[], lastUses: readonly number[] | null) => void) {
    this.#clock = clock;
    this.#correct = correct;
  }

  /** Decides by what is in hand. @param isNew the request has not been counted yet. @returns null where Redis has to be asked. */
  draw({ charges }: ChargeSet, isNew: boolean): boolean | null {
    if (!this.#isFast(charges, isNew)) return null;
    const now = this.#clock.monotonic();
    let refused = false;
    for (const charge of charges) {
      if (this.#isRefused(charge, now)) refused = true;
      else if (!this.#hasRoom(charge, now)) return null;
    }
    for (const charge of charges) this.#fill(charge, now, !refused);
    return !refused;
  }

  /** The question that already brings a block for one of the charges; null without one. */
  pending({ charges }: ChargeSet): Promise<unknown> | null {
    if (this.#asking.size === 0) return null;
    for (const { counter } of charges) {
      const asked = this.#asking.get(counter.key);
      if (asked !== undefined) return asked;
    }
    return null;
  }

  /**
   * What to ask for beyond the amount of each charge: as much as the caller is expected to use while the block lasts, at most a
   * whole one. What was in hand of the counters is given back. @returns null where blocks do not pay.
   */
  wishes({ charges }: ChargeSet): readonly number[] | null {
    if (!this.#isFast(charges, false)) return null;
    const { count, before } = this.#paces.get((charges[0] as Charge).counter.key) as Pace;
    const wishes = charges.map(({ counter: { rule }, amount }) => {
      const expected = Math.floor((Math.max(count, before) * lifeOf(rule) * amount) / second);
      return expected < 2 * amount ? 0 : Math.min(rule.blocks?.size ?? 0, expected);
    });
    // A request is decided by blocks of all its counters, or not at all.
    if (wishes.some((wish, at) => wish === 0 || wish < (charges[at] as Charge).amount)) return null;
    this.#end(charges.map(({ counter }) => counter.key));
    return wishes;
  }

  /** Redis is asked for blocks; requests of the same counters wait for its answer. */
  ask({ charges }: ChargeSet, answer: Promise<unknown>): void {
    for (const { counter } of charges) this.#asking.set(counter.key, answer);
    const over = (): void => {
      for (const { counter } of charges) if (this.#asking.get(counter.key) === answer) this.#asking.delete(counter.key);
    };
    answer.then(over, over);
  }

  /** What Redis has granted beyond the amount of each charge. */
  granted({ charges }: ChargeSet, extra: readonly number[]): void {
    const now = this.#clock.monotonic();
    for (const [at, { counter, amount, used, place }] of charges.entries()) {
      const granted = extra[at] ?? 0;
      if (granted === 0) continue;
      this.#end([counter.key]);
      this.#refusals.delete(counter.key);
      this.#blocks.set(counter.key, { counter, place, granted, used: 0, before: used + amount, lastUse: now, until: now + lifeOf(counter.rule), isOpen: true });
    }
    if (this.#isClosed) this.close();
    else this.#sweepLater();
  }

  /** Redis has refused: the next requests of the same are refused without asking. */
  refused({ charges }: ChargeSet): void {
    const now = this.#clock.monotonic();
    if (!this.#isFast(charges, false)) return;
    for (const { counter, amount, used, wait, reset, fits } of charges) {
      if (fits || counter.rule.observe) continue;
      if (this.#refusals.size >= mostCallers) this.#refusals.clear();
      this.#refusals.set(counter.key, { amount, used, wait, reset, since: now, until: now + Math.min(wait, longestRefusal) });
    }
  }

  /** Ends the charges of a request. @returns whether they were taken from blocks. */
  settle({ charges }: ChargeSet): boolean {
    if (charges[0] === undefined || !this.#drawn.has(charges[0])) return false;
    for (const charge of charges) {
      const block = this.#drawn.get(charge);
      this.#drawn.delete(charge);
      if (block?.isOpen === true) block.used += charge.actual - charge.amount;
      else if (charge.actual !== charge.amount || charge.counter.rule.kind === 'tokens') this.#later(charge);
    }
    return true;
  }

  /** Gives all blocks back. What is granted or settled afterwards is given back at once. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    for (const key of [...this.#blocks.keys()]) this.#end([key]);
    this.#flush();
  }

  /** Counts a request, unless it was counted. @returns whether its caller sends enough for blocks, by what this instance sees. */
  #isFast(charges: readonly Charge[], counts: boolean): boolean {
    const terms = termsOf(charges);
    if (terms === null) return false;
    const { key } = (charges[0] as Charge).counter;
    const now = Math.floor(this.#clock.monotonic() / second);
    let pace = this.#paces.get(key);
    if (pace === undefined) {
      if (this.#paces.size >= mostCallers) this.#paces.clear();
      this.#paces.set(key, (pace = { second: now, count: 0, before: 0 }));
    }
    if (pace.second !== now) {
      pace.before = pace.second === now - 1 ? pace.count : 0;
      pace.second = now;
      pace.count = 0;
    }
    if (counts) pace.count++;
    return Math.max(pace.count, pace.before) > terms.rate;
  }

  #isRefused({ counter, amount }: Charge, now: number): boolean {
    const refusal = this.#refusals.get(counter.key);
    if (refusal === undefined) return false;
    if (now < refusal.until) return amount >= refusal.amount;
    this.#refusals.delete(counter.key);
    return false;
  }

  #hasRoom({ counter, amount }: Charge, now: number): boolean {
    const block = this.#blocks.get(counter.key);
    return block !== undefined && now < block.until && block.granted - block.used >= amount;
  }

  /** Writes into a charge what Redis would have said of it. */
  #fill(charge: Charge, now: number, taken: boolean): void {
    const { counter: { key, rule }, amount } = charge;
    const refusal = this.#isRefused(charge, now) ? this.#refusals.get(key) : undefined;
    charge.limit = rule.limit;
    charge.fits = refusal === undefined;
    if (refusal !== undefined) {
      charge.used = refusal.used;
      charge.wait = Math.max(1, refusal.wait - (now - refusal.since));
      charge.reset = Math.max(0, refusal.reset - (now - refusal.since));
      return;
    }
    const block = this.#blocks.get(key) as Block;
    charge.used = block.before + block.used;
    charge.wait = 0;
    charge.reset = rule.window;
    charge.place = block.place;
    if (!taken) return;
    block.used += amount;
    block.lastUse = now;
    this.#drawn.set(charge, block);
  }

  /** Gives back what is left of the blocks of one caller's counters. */
  #end(keys: readonly string[]): void {
    const blocks = keys.flatMap((key) => this.#blocks.get(key) ?? []);
    for (const block of blocks) {
      this.#blocks.delete(block.counter.key);
      block.isOpen = false;
    }
    if (blocks.length === 0) return;
    const charges = blocks.map(({ counter, granted, used, place }) => ({ ...emptyCharge, counter, amount: granted, actual: used, place }));
    this.#correct(charges, blocks.map(({ lastUse }) => lastUse));
  }

  #later({ counter, amount, actual, place }: Charge): void {
    const name = `${place} ${counter.key}`;
    const known = this.#late.get(name);
    this.#late.set(name, { ...emptyCharge, counter, place, amount: amount + (known?.amount ?? 0), actual: actual + (known?.actual ?? 0) });
    if (this.#isClosed || this.#late.size >= mostCallers) this.#flush();
    this.#sweepLater();
  }

  #flush(): void {
    const late = [...this.#late.values()];
    this.#late.clear();
    for (const charge of late) this.#correct([charge], null);
  }

  #sweepLater(): void {
    if (this.#timer !== null || (this.#blocks.size === 0 && this.#late.size === 0)) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      this.#sweep();
    }, sweepEvery);
    this.#timer.unref();
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [key, { until }] of this.#blocks) if (until <= now) this.#end([key]);
    this.#flush();
    this.#sweepLater();
  }
}

const lifeOf = ({ window }: Rule): number => Math.min(longestLife, Math.floor(window / shares));

/** The terms of a request's first rule; null where some rule is not taken in blocks. */
function termsOf(charges: readonly Charge[]): BlockTerms | null {
  let terms: BlockTerms | null = null;
  for (const { counter: { rule } } of charges) {
    if (rule.blocks === null) return null;
    terms ??= rule.blocks;
  }
  return terms;
}

const emptyCharge = { provisional: false, limit: 0, used: 0, fits: true, wait: 0, reset: 0 } as const;

import type { Counter } from './rule.ts';

/** Requests nearer than this share of a window are counted together. */
const grain = 60;

/** Milliseconds within which requests are counted together. @param window milliseconds. */
export const grainOf = (window: number): number => Math.max(1, Math.floor(window / grain));

/** First, latest and count of an entry. */
const fields = 3;

/**
 * A sliding log whose entries begin at least a sixtieth of the window apart: what comes sooner joins the last entry, and an
 * entry leaves as a whole, a window after the latest that joined it. So no stretch of that length, wherever it begins, ever
 * holds more than the limit, and a place is free again at most a sixtieth of the window late; a burst leaves to the millisecond.
 * Two counters weighted by time let almost twice the limit pass within a window, a token bucket exactly twice.
 * Holds some sixty entries however much is counted. The script for Redis does the same, step by step.
 */
export class WindowLog implements Counter {
  gone = false;
  /** Entries flat, oldest first. */
  #log: number[] = [];
  #total = 0;
  readonly #window: number;
  readonly #grain: number;

  /** @param window milliseconds. */
  constructor(window: number) {
    this.#window = window;
    this.#grain = grainOf(window);
  }

  /** What counts now. @param now Unix milliseconds. */
  total(now: number): number {
    this.#age(now);
    return this.#total;
  }

  /** Milliseconds until `surplus` will have left; Infinity when there is not so much. Behind {@link total}. */
  untilLeft(surplus: number, now: number): number {
    let left = 0;
    for (let at = 0; at < this.#log.length; at += fields) {
      left += this.#log[at + 2] as number;
      if (left >= surplus) return (this.#log[at + 1] as number) + this.#window - now;
    }
    return Infinity;
  }

  /** Milliseconds until nothing counts any more. Behind {@link total}. */
  untilEmpty(now: number): number {
    return this.#log.length === 0 ? 0 : (this.#log.at(-2) as number) + this.#window - now;
  }

  /** @returns the entry's name, for {@link correct}. */
  add(amount: number, now: number): number {
    this.#age(now);
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

  /** Changes an entry by an amount; one that has left already counts `late` from now on. */
  correct(entry: number, change: number, late: number, now: number): void {
    this.#age(now);
    const at = this.#find(entry);
    if (at !== -1) {
      const count = Math.max(0, (this.#log[at + 2] as number) + change);
      this.#total += count - (this.#log[at + 2] as number);
      this.#log[at + 2] = count;
      return;
    }
    if (late > 0) this.add(late, now);
  }

  /** From the latest: most requests are short. The first of those that a clock that was set back has made one. */
  #find(entry: number): number {
    const log = this.#log;
    let at = log.length - fields;
    while (at >= 0 && (log[at] as number) > entry) at -= fields;
    if (at < 0 || log[at] !== entry) return -1;
    while (at > 0 && log[at - fields] === entry) at -= fields;
    return at;
  }

  #age(now: number): void {
    const log = this.#log;
    let gone = 0;
    while (gone < log.length && (log[gone + 1] as number) + this.#window <= now) {
      this.#total -= log[gone + 2] as number;
      gone += fields;
    }
    if (gone > 0) log.splice(0, gone);
    // A clock that was set back must not make the past last: what lies ahead of it happened just now.
    for (let at = log.length - fields; at >= 0 && (log[at + 1] as number) > now; at -= fields) {
      log[at + 1] = now;
      log[at] = Math.min(log[at] as number, now);
    }
  }
}

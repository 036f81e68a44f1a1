/** What a rule counts. A budget counts nano-dollars: whole numbers, so that every store comes to the same sum. */
export type Kind = 'requests' | 'tokens' | 'concurrency' | 'budget';

/** The calendar in UTC. */
export type Period = 'day' | 'month';

/** One limit, as the configuration or a key has it. */
export interface Rule {
  /** Stable and bounded by the configuration: for metrics, `would_refuse` and errors. */
  readonly name: string;
  readonly kind: Kind;
  readonly limit: number;
  /** What one of several instances may use alone: the limit divided by their number, at least 1. */
  readonly share: number;
  /** Milliseconds; 0 where nothing slides. */
  readonly window: number;
  /** Of a budget. */
  readonly period: Period | null;
  /** Names its counters beside whose they are. Comes from what the rule is for, not from its place: a list may be edited. */
  readonly counter: string;
  /** Decides and counts, but refuses nothing. */
  readonly observe: boolean;
}

/** What counts, in the memory of a process. */
export interface Counter {
  /** Its store has forgotten it, and counts in another by the same name. */
  gone: boolean;
}

/** Where a rule counts a caller. */
export class Account {
  readonly rule: Rule;
  /** The counter: whose, which rule, and of a budget which day or month. */
  readonly key: string;
  /** When a budget's period ends, Unix milliseconds; else 0. */
  readonly until: number;
  /** What the memory store counts it in, once it has looked for it. */
  counter: Counter | null = null;

  constructor(rule: Rule, key: string, until: number) {
    this.rule = rule;
    this.key = key;
    this.until = until;
  }
}

/** What one request wants of one rule, and what the store found. */
export class Ask {
  readonly account: Account;
  readonly amount: number;
  /** Counted for an address until the token it sent has proved itself. */
  readonly provisional: boolean;
  /** What is to be counted in the end; as the amount until it is settled. */
  actual: number;

  /** The limit the store held it to. */
  limit = 0;
  /** Counted before this request, reservations of others included. */
  used = 0;
  fits = true;
  /** Milliseconds until it would fit as far as can be told; 0 when it does, Infinity when it never will. */
  wait = 0;
  /** Milliseconds until nothing is counted any more. */
  reset = 0;
  /** Where a window counted it. */
  place = 0;

  constructor(account: Account, amount: number, provisional = false) {
    this.account = account;
    this.amount = amount;
    this.provisional = provisional;
    this.actual = amount;
  }

  get rule(): Rule {
    return this.account.rule;
  }

  get key(): string {
    return this.account.key;
  }

  get until(): number {
    return this.account.until;
  }

  /** What is left, this request taken off when it was let in. */
  remaining(taken: boolean): number {
    return Math.max(0, this.limit - this.used - (taken ? this.amount : 0));
  }
}

/** All that one request wants. */
export class Taking {
  /** Unique among all instances. */
  readonly id: string;
  asks: readonly Ask[];
  /** Who holds what was taken, and is told how it ended. */
  holder: Holder | null = null;

  constructor(id: string, asks: readonly Ask[]) {
    this.id = id;
    this.asks = asks;
  }

  /** Parts with some of it, to be settled before the rest. */
  part(some: (ask: Ask) => boolean): Taking {
    const parted = new Taking(this.id, this.asks.filter(some));
    parted.holder = this.holder;
    this.asks = this.asks.filter((ask) => !some(ask));
    return parted;
  }
}

/**
 * `taken`: all rules had room and all have counted. `refused`: one had none and none has counted. `unchecked`: nobody could
 * be asked and nothing was counted. `unavailable`: nobody could be asked, so nothing may pass.
 */
export type Verdict = 'taken' | 'refused' | 'unchecked' | 'unavailable';

/** Holds what was taken. */
export interface Holder {
  /** Corrects every amount to what was really used (`actual`), gives slots back. Called once for whatever was taken. */
  settle(taking: Taking): void;
}

/** Where counters live: checks all rules of a request, then counts for all or for none. */
export interface Store extends Holder {
  /** @param done is called once, at once where nothing has to be waited for. */
  take(taking: Taking, done: (verdict: Verdict) => void): void;
  /** Begins to connect where there is something to connect to. */
  start(): void;
  close(): Promise<void>;
}

/** Guessed for who does not say how long the answer may be, tokens. */
export const guessedCompletion = 1024;

/** A tenth of a limit is as much as a guess may take: small limits must stay usable. */
export const guessedShare = 10;

const day = 86_400_000;

/** A day or month in UTC: its name, and when it is over in Unix milliseconds. */
export interface Span {
  readonly label: string;
  readonly until: number;
}

let lastDay: Span = { label: '', until: 0 };
let lastMonth: Span = { label: '', until: 0 };

/** The day or month a moment belongs to. @param now Unix milliseconds. */
export function spanOf(period: Period, now: number): Span {
  const known = period === 'day' ? lastDay : lastMonth;
  const length = period === 'day' ? 10 : 7;
  const label = known.until > now && now >= known.until - day ? known.label : new Date(now).toISOString().slice(0, length);
  if (label === known.label) return known;
  const date = new Date(now);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  const span = { label, until: period === 'day' ? Date.UTC(year, month, date.getUTCDate() + 1) : Date.UTC(year, month + 1, 1) };
  if (period === 'day') lastDay = span;
  else lastMonth = span;
  return span;
}

/** What a rule counts. A budget counts nano-dollars: with whole numbers every store comes to the same sum. */
export type Kind = 'requests' | 'tokens' | 'concurrency' | 'budget';

/** The calendar in UTC. */
export type Period = 'day' | 'month';

/** How a rule is taken from Redis in blocks (`rate_limit.redis_blocks`). */
export interface BlockTerms {
  /** Requests a second at this instance above which a caller's allowance is taken in blocks. */
  readonly rate: number;
  /** The most that a block holds: a hundredth of the limit. */
  readonly size: number;
  /** What all instances may hold together, and so the most that may be refused too early. */
  readonly error: number;
}

/** One limit of the configuration or of a key. */
export interface Rule {
  /** Stable and bounded by the configuration: used in metrics, `would_refuse` and errors. */
  readonly name: string;
  readonly kind: Kind;
  readonly limit: number;
  /** What one of several instances may use alone: the limit divided by their number, at least 1. */
  readonly share: number;
  /** Milliseconds; 0 for a kind without a sliding window. */
  readonly window: number;
  /** Of a budget; else null. */
  readonly period: Period | null;
  /** First part of the names of its counters. Made from the purpose of the rule, not from its place in a list that may be edited. */
  readonly counter: string;
  /** Decides and counts, but refuses nothing. */
  readonly observe: boolean;
  /** All tokens of a user of NewAPI count together. */
  readonly perUser: boolean;
  /** Null where each request asks Redis. */
  readonly blocks: BlockTerms | null;
}

/** One rule for one caller; of a budget, for one day or month. */
export interface Counter {
  readonly rule: Rule;
  /** Unique name: the rule's, the period's and the caller's. */
  readonly key: string;
  /** End of a budget's period, Unix milliseconds; else 0. */
  readonly until: number;
  /** The memory store's count, once it has been looked up. `gone`: the store has dropped it since. */
  state: { gone: boolean } | null;
}

/** What one request takes from one counter, and what the store found there. */
export interface Charge {
  readonly counter: Counter;
  readonly amount: number;
  /** Counted for an address until the token of the request is accepted. */
  readonly provisional: boolean;
  /** The amount to count in the end; equal to `amount` until the request ends. */
  actual: number;
  /** The limit that the store applied. */
  limit: number;
  /** Counted before this request, reservations of others included. */
  used: number;
  fits: boolean;
  /** Milliseconds until it is expected to fit; 0 when it fits, Infinity when it never will. */
  wait: number;
  /** Milliseconds until nothing is counted any more. */
  reset: number;
  /** The window's entry in which it was counted. */
  place: number;
}

/** All charges of one request. */
export interface ChargeSet {
  /** Unique among all instances. */
  readonly id: string;
  charges: readonly Charge[];
  /** The store that has counted them. */
  holder: Holder | null;
}

/**
 * `taken`: all rules had room and all have counted. `refused`: one had none and none has counted. `unchecked`: the store
 * cannot be reached, nothing was counted, and the request may pass. `unavailable`: it cannot be reached and nothing may pass.
 */
export type Verdict = 'taken' | 'refused' | 'unchecked' | 'unavailable';

/** A store that has counted charges. */
export interface Holder {
  /**
   * Corrects each amount to `actual` and gives slots back. Called once for all that was taken.
   * @param caller whose budgets are among the charges; null without any.
   */
  settle(set: ChargeSet, caller?: string | null): void;
}

/** The place of the counters. */
export interface Store extends Holder {
  /** Checks all rules of a request, then counts for all of them or for none. Answers at once where the counters are in memory. */
  take(set: ChargeSet): Verdict | Promise<Verdict>;
  /** Nano-dollars that are spent of a budget, reservations left out; null where this process does not know. */
  spent(key: string): number | null;
  /** Begins to connect, where there is a connection. */
  start(): void;
  close(): Promise<void>;
}

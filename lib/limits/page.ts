import { Account, spanOf, type Rule } from './rule.ts';

/** Callers remembered, each with each set of rules; beyond, all are looked up anew. */
const mostPages = 10_000;

/** The accounts of one caller, of each rule of a set one: kept from request to request, so that each finds its counters at once. */
export class Page {
  readonly #lane: string;
  readonly #accounts: Account[];

  /** @param time Unix milliseconds. */
  constructor(rules: readonly Rule[], lane: string, time: number) {
    this.#lane = lane;
    this.#accounts = rules.map((rule) => accountOf(rule, lane, time));
  }

  /** That of a budget is over with its day or month. @param nth rule of the set. @param time Unix milliseconds. */
  account(nth: number, time: number): Account {
    const account = this.#accounts[nth] as Account;
    const { period } = account.rule;
    if (period === null || spanOf(period, time).until === account.until) return account;
    return (this.#accounts[nth] = accountOf(account.rule, this.#lane, time));
  }
}

/** The pages of all callers. */
export class Pages {
  readonly #pages = new Map<readonly Rule[], Map<string, Page>>();
  #size = 0;

  /** @param time Unix milliseconds. */
  of(rules: readonly Rule[], lane: string, time: number): Page {
    return this.#pages.get(rules)?.get(lane) ?? this.#open(rules, lane, time);
  }

  #open(rules: readonly Rule[], lane: string, time: number): Page {
    if (this.#size >= mostPages) {
      this.#pages.clear();
      this.#size = 0;
    }
    this.#size++;
    const page = new Page(rules, lane, time);
    const pages = this.#pages.get(rules);
    if (pages === undefined) this.#pages.set(rules, new Map([[lane, page]]));
    else pages.set(lane, page);
    return page;
  }
}

function accountOf(rule: Rule, lane: string, time: number): Account {
  if (rule.period === null) return new Account(rule, `${rule.counter}:${lane}`, 0);
  const { label, until } = spanOf(rule.period, time);
  return new Account(rule, `${rule.counter}.${label}:${lane}`, until);
}

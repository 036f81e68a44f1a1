import { Account, spanOf, type Rule } from './rule.ts';

/** Callers remembered, each with each set of rules; beyond, all are looked up anew. */
const mostPages = 10_000;

/** The accounts of one caller, of each rule of a set one: kept from request to request, so that each finds its counters at once. */
export class Page {
  readonly #fairnessKey: string;
  readonly #accounts: Account[];

  /** @param time Unix milliseconds. */
  constructor(rules: readonly Rule[], fairnessKey: string, time: number) {
    this.#fairnessKey = fairnessKey;
    this.#accounts = rules.map((rule) => accountOf(rule, fairnessKey, time));
  }

  /** That of a budget is over with its day or month. @param nth rule of the set. @param time Unix milliseconds. */
  account(nth: number, time: number): Account {
    const account = this.#accounts[nth] as Account;
    const { period } = account.rule;
    if (period === null || spanOf(period, time).until === account.until) return account;
    return (this.#accounts[nth] = accountOf(account.rule, this.#fairnessKey, time));
  }
}

/** The pages of all callers. */
export class Pages {
  readonly #pages = new Map<readonly Rule[], Map<string, Page>>();
  #size = 0;

  /** @param time Unix milliseconds. */
  of(rules: readonly Rule[], fairnessKey: string, time: number): Page {
    return this.#pages.get(rules)?.get(fairnessKey) ?? this.#open(rules, fairnessKey, time);
  }

  #open(rules: readonly Rule[], fairnessKey: string, time: number): Page {
    if (this.#size >= mostPages) {
      this.#pages.clear();
      this.#size = 0;
    }
    this.#size++;
    const page = new Page(rules, fairnessKey, time);
    const pages = this.#pages.get(rules);
    if (pages === undefined) this.#pages.set(rules, new Map([[fairnessKey, page]]));
    else pages.set(fairnessKey, page);
    return page;
  }
}

function accountOf(rule: Rule, fairnessKey: string, time: number): Account {
  if (rule.period === null) return new Account(rule, `${rule.counter}:${fairnessKey}`, 0);
  const { label, until } = spanOf(rule.period, time);
  return new Account(rule, `${rule.counter}.${label}:${fairnessKey}`, until);
}

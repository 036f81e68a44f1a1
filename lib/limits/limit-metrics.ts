import type { SeriesName } from '../config/config.ts';

/** How a check ended. */
export type Checked = 'allowed' | 'refused' | 'observed' | 'unchecked' | 'unavailable';

/** What all requests in hand have reserved together. */
export interface Held {
  readonly requests: number;
  readonly tokens: number;
  /** US dollars. */
  readonly budget: number;
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const billion = 1_000_000_000;

/** Numbers that limits report to the metrics. Labels are bounded by the configuration. */
export class LimitMetrics {
  readonly checks: Record<Checked, number> = { allowed: 0, refused: 0, observed: 0, unchecked: 0, unavailable: 0 };
  storeErrors = 0;
  requestsHeld = 0;
  tokensHeld = 0;
  nanoDollarsHeld = 0;
  tokensReserved = 0;
  tokensSettled = 0;
  tokensReleased = 0;
  readonly #hits = new Map<string, number>();
  readonly #budgets = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>();

  /** @param rule that had no room. */
  hit(rule: string): void {
    this.#hits.set(rule, (this.#hits.get(rule) ?? 0) + 1);
  }

  /** @param rule whose budget has reached a level. */
  budget(rule: string, level: string): void {
    const count = this.#budgets.get(`${rule} ${level}`);
    if (count === undefined) this.#budgets.set(`${rule} ${level}`, { labels: { rule, level }, value: 1 });
    else count.value++;
  }

  held(): Held {
    return { requests: this.requestsHeld, tokens: this.tokensHeld, budget: this.nanoDollarsHeld / billion };
  }

  /** The series of a scrape. */
  series(): { readonly name: SeriesName; values(): Sample[] }[] {
    return [
      { name: 'rate_limit_hits_total', values: () => [...this.#hits].map(([rule, value]) => ({ labels: { rule }, value })) },
      { name: 'rate_limit_checks_total', values: () => Object.entries(this.checks).map(([result, value]) => ({ labels: { result }, value })) },
      { name: 'rate_limit_budgets_total', values: () => [...this.#budgets.values()] },
      { name: 'rate_limit_store_errors_total', values: () => [{ labels: {}, value: this.storeErrors }] },
      { name: 'rate_limit_tokens_total', values: () => byKind({ reserved: this.tokensReserved, settled: this.tokensSettled, released: this.tokensReleased }) },
      { name: 'rate_limit_reserved', values: () => byKind({ ...this.held() }) },
    ];
  }
}

const byKind = (counts: Readonly<Record<string, number>>): Sample[] => Object.entries(counts).map(([kind, value]) => ({ labels: { kind }, value }));

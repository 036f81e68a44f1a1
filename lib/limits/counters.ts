import type { SeriesName } from '../config/config.ts';

/** How a check ended. */
export type Checked = 'allowed' | 'refused' | 'observed' | 'unchecked' | 'unavailable';

/** What is held at a moment, of all requests in hand together. */
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

/** What limits tell the metrics. Labels are bounded by the configuration. */
export class LimitCounters {
  readonly #hits = new Map<string, number>();
  readonly #checks: Record<Checked, number> = { allowed: 0, refused: 0, observed: 0, unchecked: 0, unavailable: 0 };
  #storeErrors = 0;
  #reserved = 0;
  #settled = 0;
  #released = 0;
  #requestsHeld = 0;
  #tokensHeld = 0;
  #nanoDollarsHeld = 0;

  checked(result: Checked): void {
    this.#checks[result]++;
  }

  /** @param rule that had no room. */
  hit(rule: string): void {
    this.#hits.set(rule, (this.#hits.get(rule) ?? 0) + 1);
  }

  readonly storeFailed = (): void => {
    this.#storeErrors++;
  };

  hold(tokens: number, nanoDollars: number): void {
    this.#requestsHeld++;
    this.#tokensHeld += tokens;
    this.#nanoDollarsHeld += nanoDollars;
    this.#reserved += tokens;
  }

  /** @param used tokens of the `tokens` held. */
  letGo(tokens: number, nanoDollars: number, used: number): void {
    this.#requestsHeld--;
    this.#tokensHeld -= tokens;
    this.#nanoDollarsHeld -= nanoDollars;
    this.#settled += used;
    this.#released += Math.max(0, tokens - used);
  }

  held(): Held {
    return { requests: this.#requestsHeld, tokens: this.#tokensHeld, budget: this.#nanoDollarsHeld / billion };
  }

  /** What a scrape is told. */
  series(): { readonly name: SeriesName; values(): Sample[] }[] {
    return [
      { name: 'rate_limit_hits_total', values: () => [...this.#hits].map(([rule, value]) => ({ labels: { rule }, value })) },
      { name: 'rate_limit_checks_total', values: () => Object.entries(this.#checks).map(([result, value]) => ({ labels: { result }, value })) },
      { name: 'rate_limit_store_errors_total', values: () => [{ labels: {}, value: this.#storeErrors }] },
      { name: 'rate_limit_tokens_total', values: () => byKind({ reserved: this.#reserved, settled: this.#settled, released: this.#released }) },
      { name: 'rate_limit_reserved', values: () => byKind({ ...this.held() }) },
    ];
  }
}

const byKind = (counts: Readonly<Record<string, number>>): Sample[] => Object.entries(counts).map(([kind, value]) => ({ labels: { kind }, value }));

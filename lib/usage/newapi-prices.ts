import type { Usage } from '../../types/usage.d.ts';

/** A model's price as NewAPI charges it. */
export interface NewapiPrice {
  /** US dollars a call, for a model that is charged by the call; else null. */
  readonly call: number | null;
  /** US dollars a prompt token. */
  readonly input: number;
  /** Multiples of `input`, for completion tokens, and for prompt tokens read from and written to a cache. */
  readonly completion: number;
  readonly cached: number;
  readonly written: number;
}

/** US dollars a token at a model ratio of 1. */
const perRatio = 2 / 1_000_000;
/** NewAPI charges whole units. */
const unitsPerDollar = 500_000;
/** What NewAPI multiplies by where the operator has set no ratio. */
const usual = { completion: 1, cached: 1, written: 1.25 };

const isAmount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const orUsual = (value: unknown, fallback: number): number => (isAmount(value) ? value : fallback);

/** The group of callers whose group is not known. */
const usualGroup = 'default';

/** The prices of one NewAPI, by the group of the caller. */
export class NewapiPrices {
  readonly #models: ReadonlyMap<string, NewapiPrice>;

  readonly #groups: ReadonlyMap<string, number>;

  /** Models that NewAPI lists, and charges in a way that cannot be told beforehand. */
  readonly unpriced: readonly string[];

  /** @param models by name, at a ratio of 1. @param groups ratios by group. */
  constructor(models: ReadonlyMap<string, NewapiPrice>, groups: ReadonlyMap<string, number>, unpriced: readonly string[] = []) {
    this.unpriced = unpriced;
    this.#models = models;
    this.#groups = groups;
  }

  /**
   * Reads an answer to `GET /api/pricing`. Entries that make no sense, or that are charged by an expression, are left out.
   * @throws Error when it is no price list.
   */
  static read(answer: unknown): NewapiPrices {
    const { success, data, group_ratio: groups } = (typeof answer === 'object' && answer !== null ? answer : {}) as Readonly<Record<string, unknown>>;
    if (success !== true || !Array.isArray(data)) throw new Error('expected success and a list of prices');
    const ratios = Object.entries(typeof groups === 'object' && groups !== null ? groups : {}).filter((row): row is [string, number] => isAmount(row[1]));
    const models = new Map<string, NewapiPrice>();
    const unpriced: string[] = [];
    for (const entry of data as readonly unknown[]) {
      const { model_name: name, quota_type: kind, model_price: call, model_ratio: ratio, completion_ratio: completion, cache_ratio: cached, create_cache_ratio: written, billing_expr: expression } = (entry ?? {}) as Readonly<Record<string, unknown>>;
      if (typeof name !== 'string' || name === '') continue;
      if ((typeof expression === 'string' && expression !== '') || (kind === 1 ? !isAmount(call) : !isAmount(ratio))) {
        unpriced.push(name);
        continue;
      }
      models.set(name, {
        call: kind === 1 ? (call as number) : null,
        input: kind === 1 ? 0 : (ratio as number) * perRatio,
        completion: orUsual(completion, usual.completion), cached: orUsual(cached, usual.cached), written: orUsual(written, usual.written),
      });
    }
    return new NewapiPrices(models, new Map(ratios), unpriced);
  }

  /** Reads what `toJSON` has written. @throws Error when it is something else. */
  static restore(saved: unknown): NewapiPrices {
    const { models, groups } = (typeof saved === 'object' && saved !== null ? saved : {}) as Readonly<Record<string, unknown>>;
    if (!Array.isArray(models) || !Array.isArray(groups)) throw new Error('expected lists of prices and groups');
    const ratios = new Map((groups as readonly unknown[]).map((row) => {
      const [name, ratio] = Array.isArray(row) ? (row as readonly unknown[]) : [];
      if (typeof name !== 'string' || !isAmount(ratio)) throw new Error('expected a group and its ratio');
      return [name, ratio];
    }));
    return new NewapiPrices(new Map((models as readonly unknown[]).map((row) => {
      const [name, call, input, completion, cached, written] = Array.isArray(row) ? (row as readonly unknown[]) : [];
      if (typeof name !== 'string' || !(call === null || isAmount(call)) || ![input, completion, cached, written].every(isAmount)) throw new Error('expected a name and numbers');
      return [name, { call, input, completion, cached, written } as NewapiPrice];
    })), ratios);
  }

  toJSON(): object {
    return { models: [...this.#models].map(([name, { call, input, completion, cached, written }]) => [name, call, input, completion, cached, written]), groups: [...this.#groups] };
  }

  get size(): number {
    return this.#models.size;
  }

  /**
   * US dollars as NewAPI charges them, in its whole units; null for a model without a price, or one that is charged by tokens
   * while they are unknown.
   * @param calls what a call counts: several images, or larger ones, are charged as several calls.
   * @param group of the caller in NewAPI; without one, and for one that NewAPI does not list, the ratio of `default` counts.
   */
  costOf(model: string, usage: Usage | null, calls = 1, group: string | null = null): number | null {
    const price = this.#models.get(model);
    if (price === undefined) return null;
    const ratio = (group === null ? undefined : this.#groups.get(group)) ?? this.#groups.get(usualGroup) ?? 1;
    if (price.call !== null) return charged(price.call * ratio * calls);
    if (usage === null) return null;
    const { prompt, completion, cached, written = 0 } = usage;
    if (prompt + completion === 0 || price.input * ratio === 0) return 0;
    const tokens = prompt - cached - written + cached * price.cached + written * price.written + completion * price.completion;
    // What costs anything costs at least one unit.
    return Math.max(1 / unitsPerDollar, charged(tokens * price.input * ratio));
  }
}

/** Rounded to whole units, half up; 12 digits hide what floating point adds. */
const charged = (dollars: number): number => Math.round(Number((dollars * unitsPerDollar).toPrecision(12))) / unitsPerDollar;

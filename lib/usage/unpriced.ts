import type { Config } from '../../types/config.d.ts';
import type { NewapiPrices } from './newapi-prices.ts';
import { bookName, costs, type PricedTarget } from './prices.ts';

/** Limits with a budget, and the models that they are for; none: all. */
export interface Budgeted {
  /** As a message names it. */
  readonly name: string;
  readonly models: readonly string[];
}

const one = { prompt: 1000, completion: 1000, cached: 0, reasoning: 0, estimated: true };

/** The budgets of a configuration. */
export function budgetsOf({ auth, rateLimit: { key, policies } }: Config): Budgeted[] {
  const has = (budget: { readonly day: number | null; readonly month: number | null } | null): boolean => (budget?.day ?? budget?.month ?? null) !== null;
  return [
    ...(has(key.budget) ? [{ name: 'rate_limit.key.budget', models: [] }] : []),
    ...auth.keys.flatMap(({ budget, models }, index) => (has(budget) ? [{ name: `auth.keys[${index}].budget`, models }] : [])),
    ...policies.flatMap(({ budget, match: { model } }, index) => (has(budget) ? [{ name: `rate_limit.policies[${index}].budget`, models: model === null ? [] : [model] }] : [])),
  ];
}

/**
 * Budgets that count nothing for a model, because it has no price: one line each. Prices that a NewAPI tells are known to a running
 * gate only, so elsewhere its models are taken to have one.
 * @param list the prices of the NewAPI in front of which the gate runs.
 */
export async function unpricedBudgets({ llm }: Config, budgets: readonly Budgeted[], list: NewapiPrices | null = null): Promise<string[]> {
  if (budgets.length === 0) return [];
  const asksNewapi = llm.priceSource !== 'none' && llm.priceSource !== 'package' && llm.provider === 'newapi';
  if (asksNewapi && list === null) return [];
  const name = 'llm';
  const costOf = costs(llm.prices, { ...(list !== null && { newapi: new Map([[name, list]]) }), ...(llm.priceSource === 'none' && { load: null }) });
  const target: PricedTarget = { name, provider: typeof llm.provider === 'string' ? llm.provider : llm.provider.name };
  const isPriced = (model: string): boolean => costOf(llm.models[model] ?? llm.model ?? model, target, one) !== null;
  isPriced('');
  // The package with prices is loaded at the first model that has no other price.
  if (llm.priceSource !== 'none') await import(bookName).catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  const every = [...new Set([...(list?.unpriced ?? []), ...Object.keys(llm.models), ...(llm.model === null ? [] : [llm.model])])];
  return budgets.flatMap(({ name: budget, models }) => {
    const unknown = (models.length === 0 ? every : models).filter((model) => !model.endsWith('*') && !isPriced(model));
    const named = `${unknown.slice(0, mostNamed).join(', ')}${unknown.length > mostNamed ? ` and ${unknown.length - mostNamed} others` : ''}`;
    return unknown.length === 0 ? [] : [`${budget}: there is no price for ${named}, so the budget does not limit it; set llm.prices. Example: ${unknown[0]}: { input: 0.5, output: 1.5 }`];
  });
}

/** Models that a message names. */
const mostNamed = 10;

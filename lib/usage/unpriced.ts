import type { Config } from '../../types/config.d.ts';
import { bookName, costs, type PricedTarget } from './prices.ts';

/** Limits with a budget, and the models that they are for; none: all. */
export interface Budgeted {
  /** As a message names it. */
  readonly name: string;
  readonly models: readonly string[];
}

const one = { prompt: 1000, completion: 1000, cached: 0, reasoning: 0, estimated: true };

/**
 * Budgets that count nothing for a model, because it has no price: one line each. Prices that a NewAPI tells are known to a running
 * gate only, so its models are taken to have one.
 */
export async function unpricedBudgets({ llm }: Config, budgets: readonly Budgeted[]): Promise<string[]> {
  if (budgets.length === 0) return [];
  const asksNewapi = llm.priceSource !== 'none' && llm.priceSource !== 'package' && llm.provider === 'newapi';
  if (asksNewapi) return [];
  const costOf = costs(llm.prices, llm.priceSource === 'none' ? { load: null } : {});
  const target: PricedTarget = { name: 'llm', provider: typeof llm.provider === 'string' ? llm.provider : llm.provider.name };
  const isPriced = (model: string): boolean => costOf(llm.models[model] ?? llm.model ?? model, target, one) !== null;
  isPriced('');
  // The package with prices is loaded at the first model that has no other price.
  if (llm.priceSource !== 'none') await import(bookName).catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  return budgets.flatMap(({ name, models }) => {
    const unknown = models.filter((model) => !isPriced(model));
    return unknown.length === 0 ? [] : [`${name}: there is no price for ${unknown.join(', ')}, so the budget does not limit it; set llm.prices. Example: ${unknown[0]}: { input: 0.5, output: 1.5 }`];
  });
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { costs, type PriceBook, type Prices } from '../../lib/usage/prices.ts';
import type { Usage } from '../../types/usage.d.ts';

const used: Usage = { prompt: 1_000_000, completion: 100_000, cached: 400_000, reasoning: 50_000, estimated: false };
type CostOf = (model: string, provider: string, usage: Usage) => number | null;

const costsBy = (prices: Prices, load?: () => Promise<unknown>): CostOf => {
  const costOf = costs(prices, load === undefined ? {} : { load });
  return (model, provider, usage) => costOf(model, { name: provider, provider }, usage);
};

/** The package has been asked for and is loaded. */
async function loadPrices(prices: Prices, load?: () => Promise<unknown>): Promise<CostOf> {
  const costOf = costsBy(prices, load);
  assert.equal(costOf('of which no price is known yet', 'openai', used), null);
  await (load ?? (() => import('@pydantic/genai-prices' as string)))().catch(() => null);
  await new Promise(setImmediate);
  return costOf;
}

const priceOf = (model: string, usage: Usage, prices: Prices): number | null => costsBy(prices, async () => null)(model, 'newapi', usage);
const price = (input: number, output = 0): { input: number; output: number } => ({ input, output });

describe('configured prices', () => {
  it('adds input, cached input and output', () => {
    assert.equal(priceOf('m', used, { m: { input: 2, output: 10, cached: 0.5 } }), 0.6 * 2 + 0.4 * 0.5 + 0.1 * 10);
    assert.equal(priceOf('m', used, { m: { input: 2, output: 10, cached: 0 } }), 0.6 * 2 + 0.1 * 10);
  });

  it('takes input from a cache for other input when it has no price of its own', () => {
    for (const prices of [{ m: price(2, 10) }, { m: { ...price(2, 10), cached: null } }]) assert.equal(priceOf('m', used, prices), 3);
  });

  it('goes by the longest name that fits', () => {
    const prices = { '*': price(1), 'gpt-*': price(2), 'gpt-4o*': price(3), 'gpt-4o': price(4), 'gpt-4o-mini*': price(5), 'o1': price(6) };
    const found = { 'claude-3': 1, 'gpt-4': 2, 'gpt-4o-2024': 3, 'gpt-4o': 4, 'gpt-4o-mini': 5, 'gpt-4o-mini-x': 5, 'o1': 6, 'o1-mini': 1, '': 1 };
    for (const listed of [prices, Object.fromEntries(Object.entries(prices).reverse())]) {
      for (const [model, expected] of Object.entries(found)) assert.equal(priceOf(model, used, listed), expected, model);
    }
  });

  it('knows no price where none fits', () => {
    for (const model of ['n', '', 'mm', 'toString', '__proto__', 'constructor']) assert.equal(priceOf(model, used, { m: price(1), 'x*': price(1) }), null, model);
    assert.equal(priceOf('m', used, {}), null);
  });
});

/** A price book that counts how often it is asked. */
function bookOf(models: Record<string, Record<string, unknown>>): { book: PriceBook; asked: unknown[] } {
  const asked: unknown[] = [];
  const calcPrice: PriceBook['calcPrice'] = (tokens, model, options) => {
    asked.push([tokens, model, options]);
    if (model === 'broken') throw new Error('no such thing');
    const listed = models[model];
    return listed === undefined ? null : { total_price: 7, model_price: listed };
  };
  return { book: { calcPrice }, asked };
}

describe('prices of the package', () => {
  it('asks the configuration first, then the package', async () => {
    const { book, asked } = bookOf({ m: {}, n: {} });
    const costOf = await loadPrices({ m: price(1) }, async () => book);
    assert.equal(costOf('m', 'openai', used), 1);
    assert.equal(asked.length, 0);
    assert.equal(costOf('n', 'openai', used), 7);
    assert.deepEqual(asked, [[{ input_tokens: 1_000_000, output_tokens: 100_000, cache_read_tokens: 400_000 }, 'n', { providerId: 'openai' }]]);
    assert.equal(costOf('n', 'newapi', used), 7);
    assert.deepEqual((asked[1] as unknown[])[2], {});
  });

  it('remembers a price that is one number a kind, and that there is none', async () => {
    const { book, asked } = bookOf({ m: { input_mtok: 2, output_mtok: 10, cache_read_mtok: 0.5 }, embedding: { input_mtok: 2 } });
    const costOf = await loadPrices({}, async () => book);
    assert.equal(costOf('m', 'openai', used), 7);
    for (let times = 0; times < 3; times++) assert.equal(costOf('m', 'openai', used), 0.6 * 2 + 0.4 * 0.5 + 0.1 * 10);
    costOf('embedding', 'openai', used);
    assert.equal(costOf('embedding', 'openai', used), 2);
    for (let times = 0; times < 3; times++) assert.equal(costOf('unknown', 'openai', used), null);
    for (let times = 0; times < 3; times++) assert.equal(costOf('broken', 'openai', used), null);
    assert.equal(asked.length, 4);
  });

  it('asks again where the price depends on the size', async () => {
    const { book, asked } = bookOf({ m: { input_mtok: { base: 1, tiers: [] }, output_mtok: 1 }, n: {} });
    const costOf = await loadPrices({}, async () => book);
    for (let times = 0; times < 3; times++) assert.equal(costOf('m', 'newapi', used), 7);
    assert.equal(asked.length, 3);
  });

  it('does not ask for names no model has', async () => {
    const { book, asked } = bookOf({});
    assert.equal((await loadPrices({}, async () => book))('x'.repeat(300), 'openai', used), null);
    assert.equal(asked.length, 0);
  });

  it('goes by the configuration alone where the package is not installed, or is another', async () => {
    for (const load of [undefined, () => Promise.reject(new Error('not found')), async () => ({}), async () => null]) {
      const costOf = await loadPrices({ m: price(1) }, load);
      assert.equal(costOf('m', 'openai', used), 1);
      assert.equal(costOf('no-such-model', 'openai', used), null);
    }
  });
});

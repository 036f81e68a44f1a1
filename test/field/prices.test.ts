import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { describe, it, test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { resolveConfig, warningsOf } from '../../lib/config/load.ts';
import { NewapiPrices } from '../../lib/usage/newapi-prices.ts';
import { costs } from '../../lib/usage/prices.ts';
import type { Usage } from '../../types/usage.d.ts';
import { fakeClock } from '../support/clock.ts';
import { request, until, type Answer } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { bearer, chat } from '../middlewares/behind.ts';
import { startUpstream } from '../support/upstream.ts';

const used = (prompt: number, completion: number, more: Partial<Usage> = {}): Usage => ({ prompt, completion, cached: 0, reasoning: 0, estimated: false, ...more });
const entry = (name: string, more: object): object => ({ model_name: name, quota_type: 0, model_ratio: 0, model_price: 0, completion_ratio: 0, ...more });

/** As a NewAPI of 2026-05-29 answers `/api/pricing`, with the ratio of a group set to 1.5. */
const pricing = (ratio = 1.5): object => ({
  success: true, group_ratio: { default: ratio, vip: 0.333, odd: 'much' }, usable_group: { default: 'default' },
  data: [
    entry('gpt-4o-mini', { model_ratio: 0.075, completion_ratio: 4, cache_ratio: 0.5 }),
    entry('gpt-4o', { model_ratio: 1.25, completion_ratio: 4, cache_ratio: 0.5 }),
    entry('text-embedding-3-small', { model_ratio: 0.01, completion_ratio: 1 }),
    entry('claude', { model_ratio: 1.5, completion_ratio: 5, cache_ratio: 0.1, create_cache_ratio: 1.25 }),
    entry('by-the-call', { quota_type: 1, model_price: 0.0123 }),
    entry('dall-e-3', { quota_type: 1, model_price: 0.04 }),
    entry('free', { model_ratio: 0, completion_ratio: 1 }),
    entry('by-expression', { model_ratio: 1, billing_mode: 'tiered_expr', billing_expr: 'p * 2' }),
    entry('nonsense', { model_ratio: 'much' }), entry('negative', { model_ratio: -1 }), entry('', { model_ratio: 1 }), null, 7,
  ],
});

describe('the formula of NewAPI', () => {
  // `quota` of the rows that the real server wrote for these answers.
  const rows: readonly (readonly [model: string, ratio: number, usage: Usage | null, quota: number | null, calls?: number])[] = [
    ['gpt-4o-mini', 1, used(1000, 200), 135], ['gpt-4o', 1, used(1000, 200, { cached: 400 }), 2000], ['text-embedding-3-small', 1, used(1000, 200), 12],
    ['gpt-4o-mini', 1.5, used(1000, 200), 203], ['by-the-call', 1.5, used(1000, 200), 9225], ['by-the-call', 1.5, null, 9225],
    ['dall-e-3', 1, null, 20_000], ['dall-e-3', 1, null, 40_000, 2], ['dall-e-3', 1, null, 60_000, 3],
    ['claude', 1, used(1000, 100, { cached: 400, written: 200 }), Math.round((400 + 40 + 250 + 500) * 1.5)],
    ['gpt-4o-mini', 1, used(1, 0), 1], ['gpt-4o-mini', 1, used(0, 0), 0], ['free', 1, used(1000, 1000), 0],
    ['gpt-4o-mini', 1, null, null], ['by-expression', 1, used(1, 1), null], ['nonsense', 1, used(1, 1), null], ['negative', 1, used(1, 1), null], ['unknown', 1, used(1, 1), null], ['constructor', 1, used(1, 1), null],
  ];
  for (const [model, ratio, usage, quota, calls] of rows) {
    it(`charges ${quota ?? 'nothing known'} for ${model} × ${ratio}${calls === undefined ? '' : `, ${calls} calls`}: ${JSON.stringify(usage)}`, () => {
      const list = NewapiPrices.read(pricing(ratio));
      const cost = list.costOf(model, usage, calls);
      assert.equal(cost === null ? null : Math.round(cost * 500_000 * 1e6) / 1e6, quota);
      assert.equal(NewapiPrices.restore(JSON.parse(JSON.stringify(list))).costOf(model, usage, calls), cost);
    });
  }

  for (const wrong of [null, 7, {}, { success: false, message: 'not logged in' }, { success: true, data: {} }, [], 'prices']) {
    it(`does not take ${JSON.stringify(wrong)} for prices`, () => void assert.throws(() => NewapiPrices.read(wrong)));
  }
});

describe('the ratio of a group', () => {
  const rows: readonly (readonly [group: string | null, quota: number])[] = [[null, 203], ['default', 203], ['vip', 45], ['none of them', 203], ['constructor', 203], ['', 203], ['__proto__', 203], ['VIP', 203]];
  for (const [group, quota] of rows) {
    it(`of ${JSON.stringify(group)} counts, else that of default`, () => {
      const list = NewapiPrices.read(pricing());
      for (const each of [list, NewapiPrices.restore(JSON.parse(JSON.stringify(list)))]) assert.equal(Math.round((each.costOf('gpt-4o-mini', used(1000, 200), 1, group) ?? 0) * 500_000), quota);
      assert.equal(list.costOf('by-the-call', null, 2, group), Math.round(0.0246 * (group === 'vip' ? 0.333 : 1.5) * 500_000) / 500_000);
    });
  }

  it('is that of a user of the host with a credential of its own, not of one that shares another’s', async (t) => {
    const newapi = await listed(t);
    const config = { newapi: { baseUrl: newapi.url }, llm: { priceSource: 'newapi' }, auth: { upstreamCredential: 'sk-of-all-users' }, audit: { path: join(temporary(t), 'heimdall.db') } } as const;
    const users = [{ id: 'ada', group: 'vip', upstreamCredential: 'sk-of-ada' }, { id: 'bob', group: 'vip' }, { id: 'eve', upstreamCredential: 'sk-of-eve' }];
    let user = 0;
    const gate = await startGate(t, config, { clock: fakeClock(), identify: () => users[user] ?? null });
    await gate.gate.ready;
    await until(() => gate.log.named('prices.loaded').length === 1);
    for (; user < users.length; user++) assert.equal((await request(`${gate.url}/v1/chat/completions`, { body: { ...chat, model: 'gpt-4o-mini' } })).status, 200);
    assert.deepEqual((await recorded(gate.gate)).map(({ cost }) => cost), [0.04995, 0.15, 0.15]);
  });
});

test('the start says which models a budget does not limit', async (t) => {
  const rows: readonly (readonly [rateLimit: ConfigInput['rateLimit'], warned: readonly RegExp[]])[] = [
    [{}, []], [{ key: { budget: { day: 1 } } }, [/^rate_limit\.key\.budget: there is no price for by-expression, nonsense, negative, so/]],
    [{ policies: [{ match: { model: 'gpt-4o' }, budget: { day: 1 } }] }, []], [{ policies: [{ match: { model: 'by-expression' }, budget: { month: 1 } }] }, [/^rate_limit\.policies\[0\]\.budget: there is no price for by-expression/]],
  ];
  const newapi = await listed(t);
  for (const [rateLimit, warned] of rows) {
    const { log } = await start(t, newapi, temporary(t), { rateLimit: rateLimit ?? {} });
    await until(() => log.named('prices.loaded').length === 1);
    await until(() => log.named('budget.unpriced').length === warned.length);
    for (const [at, row] of log.named('budget.unpriced').entries()) assert.match(String(row['warning']), warned[at] ?? /nothing/);
  }
});

describe('where a price comes from', () => {
  const list = NewapiPrices.read(pricing(1));
  const book = { calcPrice: () => ({ total_price: 7, model_price: {} }) };
  const costOf = costs({ 'gpt-4o': { input: 1, output: 0 } }, { newapi: new Map([['newapi', list]]), load: async () => book });
  it('the configuration wins model by model, then NewAPI where it answered, then the package', async () => {
    const million = used(1_000_000, 0);
    costOf('unknown', { name: 'openai', provider: 'openai' }, million);
    await new Promise(setImmediate);
    const from = (model: string, name: string): number | null => costOf(model, { name, provider: name }, million);
    assert.deepEqual([from('gpt-4o', 'newapi'), from('gpt-4o', 'openai'), from('gpt-4o-mini', 'newapi'), from('gpt-4o-mini', 'openai'), from('unknown', 'newapi')], [1, 1, 0.15, 7, 7]);
    assert.equal(costs({}, { load: null })('unknown', { name: 'openai', provider: 'openai' }, million), null);
  });
});

/** A NewAPI with a price list. */
interface Listed {
  readonly url: string;
  /** How often prices were asked for. */
  looks: number;
  status: number;
}

async function listed(t: TestContext): Promise<Listed> {
  const answer: RequestListener = (req, res) => {
    if (req.url === '/api/pricing') {
      its.looks++;
      return void res.writeHead(its.status, { 'Content-Type': 'application/json' }).end(JSON.stringify(pricing(1)));
    }
    const made = req.url?.includes('/images/') ? '{"data":[]}' : null;
    req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end(made ?? '{"choices":[],"usage":{"prompt_tokens":1000000,"completion_tokens":0,"total_tokens":1000000}}'));
  };
  const { url } = await startUpstream(t, answer);
  const its: Listed = { url, looks: 0, status: 200 };
  return its;
}

interface Priced extends RunningGate {
  ask(): Promise<Answer>;
}

async function start(t: TestContext, { url }: Listed, directory: string, config: ConfigInput = {}, clock = fakeClock()): Promise<Priced> {
  const gate = await startGate(t, { ...config, newapi: { baseUrl: url }, llm: { priceSource: 'newapi' }, audit: { path: join(directory, 'heimdall.db') } }, { clock });
  await gate.gate.ready;
  return { ...gate, ask: () => request(`${gate.url}/v1/chat/completions`, { headers: bearer, body: { ...chat, model: 'gpt-4o-mini' } }) };
}

test('prices are asked for every five minutes, kept over an outage and over a restart', async (t) => {
  const directory = temporary(t);
  const clock = fakeClock();
  const newapi = await listed(t);
  const first = await start(t, newapi, directory, {}, clock);
  await until(() => existsSync(join(directory, 'heimdall.prices.json')) && clock.armedBy('upstream/price-feed.ts') === 1);
  clock.tick(299_000);
  assert.equal(newapi.looks, 1);
  newapi.status = 401;
  clock.tick(1000);
  await until(() => first.log.named('prices.failed').length === 1);
  clock.tick(15_000);
  await until(() => newapi.looks === 3);
  assert.deepEqual([first.log.named('prices.loaded').length, first.log.named('prices.failed').length], [1, 1]);
  await first.gate.close({ timeout: 0 });
  clock.tick(600_000);
  assert.equal(newapi.looks, 3);
  const second = await start(t, newapi, directory, { rateLimit: { key: { budget: { day: 0.1 } } } });
  await until(() => second.log.named('prices.failed').length === 1);
  assert.deepEqual([(await second.ask()).status, (await second.ask()).status], [200, 429], 'the prices of before count');
});

test('a budget works from the first request, and says when 80 % and 100 % are spent', async (t) => {
  const token = 'a-token-of-the-metrics-that-is-long-enough';
  const { ask, log, url } = await start(t, await listed(t), temporary(t), { rateLimit: { key: { budget: { day: 0.4 } } }, metrics: { token } });
  await until(() => log.named('prices.loaded').length === 1);
  // 0.15 dollars each.
  const levels: number[][] = [];
  for (let n = 0; n < 4; n++) {
    const { status } = await ask();
    await until(() => log.named('budget.reached').length === (n < 2 ? 0 : 1));
    levels.push([status, log.named('budget.warning').length, log.named('budget.reached').length]);
  }
  assert.deepEqual(levels, [[200, 0, 0], [200, 0, 0], [200, 1, 1], [429, 1, 1]]);
  const [warned] = log.named('budget.warning');
  assert.deepEqual([warned?.['rule'], warned?.['budget'], warned?.['spent']], ['key_limit.budget.day', 0.4, 0.45]);
  assert.match(String(warned?.['caller']), /^token:[0-9a-f]{16}$/);
  const metrics = await request(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } });
  assert.match(metrics.text, /heimdall_rate_limit_budgets_total\{rule="key_limit\.budget\.day",level="80%"\} 1\n/);
});

test('images cost as many calls as NewAPI charges: by number, size and quality, in bodies of one piece and of many', async (t) => {
  const gate = await start(t, await listed(t), temporary(t));
  await until(() => gate.log.named('prices.loaded').length === 1);
  const rows: readonly (readonly [asked: object, cost: number])[] = [
    [{}, 0.04], [{ n: 2 }, 0.08], [{ size: '1024x1792' }, 0.08], [{ quality: 'hd' }, 0.08], [{ size: '1792x1024', quality: 'hd' }, 0.12], [{ n: 3, size: '1024x1024' }, 0.12],
    [{ n: 0 }, 0.04], [{ n: '2' }, 0.04], [{ n: 2, prompt: 'heron '.repeat(40_000) }, 0.08],
  ];
  for (const [asked] of rows) assert.equal((await request(`${gate.url}/v1/images/generations`, { headers: bearer, body: { prompt: 'heron', ...asked, model: 'dall-e-3' } })).status, 200);
  const found = await recorded(gate.gate);
  assert.deepEqual(found.map(({ cost }) => cost), rows.map(([, cost]) => cost));
});

test('check says by which group budgets are counted, and when they have no effect', () => {
  const warnings = (llm: ConfigInput['llm']): string[] => warningsOf(resolveConfig({ llm: llm ?? {}, rateLimit: { key: { budget: { day: 1 } } } })).map((text) => text);
  assert.match(warnings({}).join(), /price_source: budgets count NewAPI's prices with the ratio of its group default|priceSource: budgets count/);
  assert.match(warnings({ priceSource: 'none' }).join(), /no model has a price, so budgets have no effect/);
  assert.deepEqual(warnings({ priceSource: 'none', prices: { 'gpt-*': { input: 1, output: 1 } } }), []);
  assert.deepEqual(resolveConfig({}).llm.priceSource, 'newapi');
  assert.deepEqual(resolveConfig({ llm: { provider: 'openai', apiKey: 'k' } }).llm.priceSource, 'package');
});

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Pool } from 'undici';
import type { ConfigInput } from '../../lib/index.ts';
import { series, seriesNames } from '../../lib/config/series.ts';
import { closing, request } from '../support/client.ts';
import { named, parse } from '../support/exposition.ts';
import { startGate } from '../support/gate.ts';
import { kinds, MARK, noise, obliging, send, seriesIn } from '../support/noise.ts';
import { noPromtool, promtool } from '../support/promtool.ts';
import { generator } from '../support/random.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'a-token-for-metrics';
/** What a gate exposes of its process, by prom-client. */
const ofProcess = /^heimdall_(?:process|nodejs)_/;

interface Scraped {
  readonly pool: Pool;
  scrape(): Promise<string>;
}

async function noisy(t: TestContext, config: ConfigInput = {}): Promise<Scraped> {
  const upstream = await startUpstream(t, obliging);
  const { url } = await startGate(t, { newapi: { baseUrl: upstream.url }, rateLimit: { address: { limit: 0 } }, metrics: { token }, ...config });
  const pool = closing(t, new Pool(url, { connections: 16 }));
  return { pool, scrape: async () => (await request(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).text };
}

describe('the metrics of a gate', () => {
  it('are those of the list, each with its type, its help and its labels', async (t) => {
    const { pool, scrape } = await noisy(t, { server: { healthCheck: { interval: '1h' } } });
    const random = generator(3);
    await send(pool, 200, () => noise(random));
    const text = await scrape();
    const { types, samples } = parse(text);
    const ours = [...types].filter(([name]) => !ofProcess.test(name));
    const full = (name: keyof typeof series): string => ('otel' in series[name] ? name : `heimdall_${name}`);
    assert.deepEqual(new Map(ours), new Map(seriesNames.map((name) => [full(name), series[name].type])));
    for (const name of seriesNames) {
      const row = series[name];
      assert.ok(text.includes(`# HELP ${full(name)} ${row.help}\n`), name);
      const labels = new Set(samples.filter(({ name: sample }) => sample.replace(row.type === 'histogram' ? /_(bucket|sum|count)$/ : '', '') === full(name)).flatMap((sample) => Object.keys(sample.labels)));
      labels.delete('le');
      // What has not happened yet has no labels either.
      assert.deepEqual([...labels].filter((label) => !(row.labels as readonly string[]).includes(label)), [], name);
    }
    assert.ok(named(samples, 'gen_ai_client_token_usage_count').length > 0);
  });

  it('have as many series after any requests as after one of each kind, and nothing of what callers wrote', async (t) => {
    const { pool, scrape } = await noisy(t);
    const random = generator(11);
    await send(pool, kinds, (at) => noise(random, at));
    await scrape();
    const before = seriesIn(await scrape());
    assert.ok(before > 500 && before < 10_000, String(before));
    await send(pool, 500, () => noise(random));
    const text = await scrape();
    assert.equal(seriesIn(text), before);
    assert.ok(!text.includes(MARK) && !text.includes('203.0.113'));
  });

  it('are Prometheus\' own, by its tool', { skip: noPromtool }, async (t) => {
    const { pool, scrape } = await noisy(t, { server: { healthCheck: { interval: '1h' } } });
    const random = generator(5);
    await send(pool, 300, () => noise(random));
    assert.deepEqual(promtool(['check', 'metrics'], await scrape()), { ok: true, said: '' });
    // The tool does find what is wrong.
    assert.equal(promtool(['check', 'metrics'], '# TYPE a_total gauge\na_total 1\n').ok, false);
  });

  it('tell how models were served', async (t) => {
    const { pool, scrape } = await noisy(t, { llm: { prices: { 'gpt-5-mini': { input: 1, output: 2 } } } });
    const ask = (model: string, stream: boolean) => ({ method: 'POST' as const, path: '/v1/chat/completions', headers: { authorization: 'Bearer sk-one', 'content-type': 'application/json' }, body: JSON.stringify({ model, stream, messages: [] }) });
    await send(pool, 6, (nth) => ask(nth < 4 ? 'gpt-5-mini' : `made-up-${nth}`, nth % 2 === 0), 1);
    const { samples } = parse(await scrape());
    const counts = (name: string): Record<string, number> => Object.fromEntries(named(samples, `gen_ai_${name}`).map(({ labels, value }) => [`${labels['gen_ai_operation_name']} ${labels['gen_ai_provider_name']} ${labels['gen_ai_request_model']} ${labels['gen_ai_token_type'] ?? ''}`.trim(), value]));
    assert.deepEqual(counts('server_request_duration_seconds_count'), { 'chat newapi gpt-5-mini': 4, 'chat newapi other': 2 });
    assert.deepEqual(counts('server_time_to_first_token_seconds_count'), { 'chat newapi gpt-5-mini': 2, 'chat newapi other': 1 });
    assert.deepEqual(counts('client_token_usage_sum'), { 'chat newapi gpt-5-mini input': 160, 'chat newapi gpt-5-mini output': 44, 'chat newapi other input': 80, 'chat newapi other output': 22 });
  });
});

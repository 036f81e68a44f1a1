import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closing, request, until } from '../support/client.ts';
import { DEMO_KEY } from '../support/newapi.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';

const limit = 30;
const metricsToken = 'limits-redis-metrics-token';
const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] };

test('two processes on one Redis let exactly the limit pass, settle what was used, and outlast Redis', { skip: withoutRedis }, async (t) => {
  const redis = closing(t, await startRedis());
  let used = 0;
  const newapi = await startUpstream(t, (req, res) => void req.resume().on('end', () => {
    if (req.method === 'POST') used += 7;
    res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3}}');
  }));
  const yaml = `
secret: an-install-secret-for-this-test
metrics: { token: ${metricsToken} }
logging: { file: false }
rate_limit:
  redis_url: ${redis.url}
  instances: 2
  key: { requests: { limit: ${limit}, window: 10m }, tokens: { limit: 1000000 } }
`;
  const start = async (): Promise<Standalone> => {
    const gate = await startStandalone(newapi.url, yaml);
    t.after(() => gate.kill());
    return gate;
  };
  const gates = [await start(), await start()];
  // Few at a time: who waits half a second for Redis on a busy machine is judged without it.
  const many = async (count: number): Promise<number> => {
    const answers: number[] = [];
    while (answers.length < count) answers.push(...(await Promise.all(Array.from({ length: 6 }, async (_, nth) => (await request(`${gates[nth % 2]?.url}/v1/chat/completions`, { body, headers })).status))));
    assert.deepEqual(new Set(answers), new Set([200, 429]));
    return answers.filter((status) => status === 200).length;
  };
  assert.equal(await many(3 * limit), limit);
  const sum = async (name: RegExp): Promise<number> => {
    const pages = await Promise.all(gates.map(({ url }) => request(`${url}/metrics`, { headers: { Authorization: `Bearer ${metricsToken}` } })));
    return pages.reduce((total, { text }) => total + Number(name.exec(text)?.[1] ?? 0), 0);
  };
  await until(async () => (await sum(/^heimdall_rate_limit_reserved\{kind="tokens"\} (\d+)$/m)) === 0);
  assert.equal(used, 7 * limit);
  assert.equal(await sum(/^heimdall_rate_limit_tokens_total\{kind="settled"\} (\d+)$/m), used);
  await redis.kill();
  const alone = await many(2 * limit);
  assert.ok(alone > 0 && alone <= limit, String(alone));
  await redis.restart();
  await until(() => gates.every((gate) => gate.output().includes('limits.store_up')));
  assert.equal(await many(3 * limit), limit);
});

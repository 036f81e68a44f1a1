import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { it, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { generator } from '../support/random.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';

const metricsToken = 'limits-aborts-metrics-token';
const gateKey = 'sk-a-key-of-the-gate-that-is-long-enough';
const requests = 240;

/** Every third leaves, after as many turns of the loop as chance says; the others stay to the end. */
async function storm(t: TestContext, rateLimit: ConfigInput['rateLimit']): Promise<void> {
  const newapi = closing(t, await startNewapi({ chunks: 6, pace: 2 }));
  const keys = [{ name: 'team', sha256: createHash('sha256').update(gateKey).digest('hex'), upstreamCredential: DEMO_KEY }];
  const gate = await startGate(t, {
    audit: false,
    secret: 'the-install-secret-of-these-tests',
    newapi: { baseUrl: newapi.url },
    auth: { mode: 'keys', keys },
    metrics: { token: metricsToken },
    llm: { prices: { '*': { input: 1, output: 1 }, 'gpt-4o-mini': { input: 1, output: 1 } } },
    rateLimit: { ...rateLimit, key: { requests: { limit: 100_000 }, tokens: { limit: 10_000_000 }, concurrency: 500, budget: { day: 1000 } } },
  });
  const random = generator(5);
  const one = async (nth: number): Promise<number | null> => {
    const gone = new AbortController();
    const body = { model: 'gpt-4o-mini', stream: nth % 2 === 0, max_tokens: 50, messages: [{ role: 'user', content: 'count' }] };
    const answer = request(`${gate.url}/v1/chat/completions`, { body, headers: { Authorization: `Bearer ${gateKey}` }, signal: gone.signal }).catch(() => null);
    if (nth % 3 === 0) {
      for (let turns = random(120); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      gone.abort();
    }
    return (await answer)?.status ?? null;
  };
  const ends: (number | null)[] = [];
  for (let n = 0; n < requests; n += 40) ends.push(...(await Promise.all(Array.from({ length: 40 }, (_, at) => one(n + at)))));
  assert.ok(ends.filter((status) => status === 200).length >= (requests * 2) / 3 && ends.includes(null), String(ends.filter((status) => status === null).length));
  const held = async (): Promise<string[]> => {
    const { text } = await request(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${metricsToken}` } });
    return [...text.matchAll(/^heimdall_rate_limit_reserved\{kind="(\w+)"\} (\S+)$/gm)].map(([, kind, value]) => `${kind} ${value}`);
  };
  await until(async () => (await held()).join() === 'requests 0,tokens 0,budget 0');
}

it('nothing stays reserved, however requests end', (t) => storm(t, {}));

it('nothing stays reserved in Redis either', { skip: withoutRedis }, async (t) => {
  const redis: TestRedis = closing(t, await startRedis());
  await storm(t, { redisUrl: redis.url });
  await until(async () => (await redis.command('EXISTS', 'heimdall:limit:key.concurrency:{key:team}')) === ':0\r\n');
  assert.doesNotMatch(await redis.command('KEYS', '*held*'), /held/);
});

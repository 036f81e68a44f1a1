import '../support/node.ts';
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, until, type Answer } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';

const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] };

let redis: TestRedis;

before(async () => {
  if (!withoutRedis) redis = await startRedis();
});
after(() => redis?.close());
beforeEach(() => redis?.renew());

/** One more instance at each call. */
async function start(t: TestContext, rateLimit: ConfigInput['rateLimit']): Promise<{ gate(): Promise<RunningGate> }> {
  const newapi = closing(t, await startNewapi());
  return { gate: () => startGate(t, { audit: false, secret: 'the-install-secret-of-these-tests', newapi: { baseUrl: newapi.url }, rateLimit: { redisUrl: redis.url, instances: 2, ...rateLimit } }) };
}

const ask = (gate: RunningGate): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { body, headers: { Authorization: `Bearer ${DEMO_KEY}` } });

async function passed(times: number, once: () => Promise<Answer>): Promise<number> {
  const answers = await Promise.all(Array.from({ length: times }, once));
  return answers.filter(({ status }) => status === 200).length;
}

describe('the limit of addresses in Redis', { skip: withoutRedis }, () => {
  const guess = (gate: RunningGate): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { body, headers: { Authorization: 'Bearer sk-guess' } });

  it('counts the failures of all instances together', async (t) => {
    const { gate } = await start(t, { address: { limit: 4, window: '60s' } });
    const gates = [await gate(), await gate()] as const;
    for (let n = 0; n < 4; n++) assert.equal((await guess(gates[n % 2] as RunningGate)).status, 401);
    await until(async () => (await guess(gates[1])).status === 429);
    assert.ok((await guess(gates[0])).status >= 401);
    await until(async () => (await guess(gates[0])).status === 429);
  });

  it('goes on alone while Redis is away, and together again afterwards', async (t) => {
    const { gate } = await start(t, { address: { limit: 6, window: '60s', count: 'all' } });
    const one = await gate();
    assert.equal(await passed(2, () => ask(one)), 2);
    await redis.kill();
    assert.equal(await passed(9, () => ask(one)), 3);
    assert.equal(one.log.named('limits.store_down').length, 1);
    const other = await gate();
    await redis.restart();
    await until(async () => (await ask(other)).status === 200 && other.log.named('limits.store_up').length === other.log.named('limits.store_down').length);
  });
});

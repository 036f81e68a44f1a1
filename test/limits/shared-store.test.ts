import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, openStream, request, until, type Answer } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi, type NewapiOptions } from '../support/newapi.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';

const secret = 'the-install-secret-of-these-tests';
const gateKey = 'sk-a-key-of-the-gate-that-is-long-enough';
const headers = { Authorization: `Bearer ${gateKey}` };
const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] };

interface Scene {
  readonly newapi: Newapi;
  /** Another instance. */
  gate(): Promise<RunningGate>;
}

let redis: TestRedis;

before(async () => {
  if (!withoutRedis) redis = await startRedis();
});
after(() => redis?.close());
beforeEach(() => redis?.renew());

async function start(t: TestContext, rateLimit: ConfigInput['rateLimit'], over: ConfigInput = {}, behaviour: NewapiOptions = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi(behaviour));
  const keys = [{ name: 'team', sha256: createHash('sha256').update(gateKey).digest('hex'), upstreamCredential: DEMO_KEY }];
  const config: ConfigInput = { audit: false, secret, newapi: { baseUrl: newapi.url }, auth: { mode: 'keys', keys }, ...over, rateLimit: { redisUrl: redis.url, instances: 2, ...rateLimit } };
  return { newapi, gate: () => startGate(t, config) };
}

const ask = (gate: RunningGate): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { body, headers });

async function passed(times: number, once: (nth: number) => Promise<Answer>): Promise<number> {
  const answers = await Promise.all(Array.from({ length: times }, (_, nth) => once(nth)));
  return answers.filter(({ status }) => status === 200).length;
}

const lost = (gate: RunningGate): Promise<boolean> => until(() => gate.log.named('limits.store_down').length > gate.log.named('limits.store_up').length);
const back = (gate: RunningGate): Promise<boolean> => until(() => gate.log.named('limits.store_up').length === gate.log.named('limits.store_down').length);

describe('limits in Redis', { skip: withoutRedis }, () => {
  it('are exact over two instances, whatever arrives at once', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 40 } } });
    const gates = [await gate(), await gate()] as const;
    assert.equal(await passed(120, (nth) => ask(gates[nth % 2] as RunningGate)), 40);
  });

  it('of a fast caller are taken in blocks, and its header says so', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 3000 } }, redisBlocks: '0.1/s' });
    const one = await gate();
    await ask(one);
    await redis.command('CONFIG', 'RESETSTAT');
    let last: Answer | null = null;
    for (let n = 0; n < 80; n += 8) [last = null] = await Promise.all(Array.from({ length: 8 }, () => ask(one)));
    assert.match(String(last?.headers['ratelimit-policy']), /"requests";q=3000;w=60;heimdall-error=60/);
    const scripts = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.command('INFO', 'commandstats'))?.[1]);
    assert.ok(scripts < 80, `${scripts} scripts for 80 requests`);
  });

  it('count a slot of every instance', async (t) => {
    const { gate } = await start(t, { key: { concurrency: 2 } }, {}, { chunks: 1000, pace: 5 });
    const gates = [await gate(), await gate()] as const;
    const open = (at: 0 | 1) => openStream(`${gates[at].url}/v1/chat/completions`, { method: 'POST', headers, body: { ...body, stream: true } });
    const [first] = [await open(0), await open(1)];
    assert.deepEqual([(await ask(gates[0])).status, (await ask(gates[1])).status], [429, 429]);
    first.abort();
    await until(async () => (await ask(gates[1])).status === 200);
  });

  it('give every slot back that an instance in a drain still held', async (t) => {
    const { gate } = await start(t, { key: { concurrency: 9, budget: { day: 1 } } }, { llm: { prices: { '*': { input: 1, output: 1 } } } }, { chunks: 1000, pace: 5 });
    const one = await gate();
    await openStream(`${one.url}/v1/chat/completions`, { method: 'POST', headers, body: { ...body, stream: true } });
    assert.match(await redis.command('KEYS', '*concurrency*'), /concurrency/);
    await one.gate.close({ timeout: 0 });
    assert.doesNotMatch(await redis.command('KEYS', '*concurrency*'), /concurrency/);
    assert.doesNotMatch(await redis.command('KEYS', '*held*'), /held/);
  });
});

describe('limits while Redis is away', { skip: withoutRedis }, () => {
  it('hold each instance to its share, and together to the whole again when it is back', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 10 } } });
    const gates = [await gate(), await gate()] as const;
    assert.equal(await passed(4, (nth) => ask(gates[nth % 2] as RunningGate)), 4);
    await redis.kill();
    for (const one of gates) assert.equal(await passed(9, () => ask(one)), 5);
    await redis.restart();
    for (const one of gates) await back(one);
    assert.equal(await passed(30, (nth) => ask(gates[nth % 2] as RunningGate)), 10);
    for (const one of gates) assert.deepEqual(one.log.named('limits.store_down').map((event) => event['on_store_error']), ['local']);
  });

  it('let pass, or refuse, as configured', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 2 } }, onStoreError: 'open' });
    const open = await gate();
    const strict = await start(t, { key: { requests: { limit: 2 } }, onStoreError: 'closed' });
    const closed = await strict.gate();
    await ask(open);
    await ask(closed);
    await redis.kill();
    assert.equal(await passed(9, () => ask(open)), 9);
    await lost(open);
    const refused = await ask(closed);
    assert.deepEqual([refused.status, refused.json<{ error: { code: string } }>().error.code, refused.headers['retry-after']], [503, 'limits_unavailable', '1']);
    await redis.restart();
    await back(closed);
    assert.equal((await ask(closed)).status, 200);
  });

  it('work without a Redis that was ever there', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 10 } } });
    await redis.kill();
    const one = await gate();
    assert.equal(await passed(9, () => ask(one)), 5);
    await redis.restart();
    await back(one);
    assert.equal(await passed(19, () => ask(one)), 10);
  });

  it('that hang keep nobody from an answer: who is on his way waits for the time limit, who comes later does not ask them', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 1000 } } });
    const one = await gate();
    await ask(one);
    redis.freeze();
    t.after(() => redis.thaw());
    for (let nth = 0; nth < 4; nth++) {
      assert.equal((await ask(one)).status, 200);
      assert.equal(one.log.named('limits.store_down').length, 1);
    }
    redis.thaw();
    await back(one);
  });

  it('take back what a Redis that woke up had counted for requests that others let in', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 5 }, concurrency: 99 } });
    const one = await gate();
    assert.equal((await ask(one)).status, 200);
    redis.freeze();
    t.after(() => redis.thaw());
    assert.equal(await passed(2, () => ask(one)), 2);
    redis.thaw();
    await back(one);
    await until(async () => (await redis.command('ZCARD', 'heimdall:limit:key.concurrency:{key:team}')) === ':0\r\n');
    assert.equal(await passed(9, () => ask(one)), 4);
  });

  it('give a budget that is spent no second life', async (t) => {
    const prices = { 'gpt-4o-mini': { input: 100, output: 100 } };
    const { gate } = await start(t, { key: { budget: { day: 0.02 } } }, { llm: { prices } });
    const one = await gate();
    let spent = 0;
    while ((await ask(one)).status === 200) assert.ok(++spent < 100);
    assert.ok(spent > 1);
    await redis.kill();
    assert.equal(await passed(9, () => ask(one)), 0);
    await lost(one);
  });

  it('tell Redis what was spent without it', async (t) => {
    const prices = { 'gpt-4o-mini': { input: 100, output: 100 } };
    const { gate } = await start(t, { key: { budget: { day: 1 } } }, { llm: { prices } });
    const one = await gate();
    await ask(one);
    await redis.kill();
    assert.equal(await passed(3, () => ask(one)), 3);
    await redis.restart();
    await back(one);
    const key = /heimdall:limit:key\.budget\.day\S*/.exec(await redis.command('KEYS', '*budget.day*'))?.[0] ?? '';
    const known = Number(/\r\n(\d+)\r\n/.exec(await redis.command('GET', key))?.[1]);
    assert.ok(known > 0, key);
  });

  it('report a Redis that answers and cannot write once, not at every request', async (t) => {
    const { gate } = await start(t, { key: { requests: { limit: 100 } } });
    const one = await gate();
    await ask(one);
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await until(async () => {
      await ask(one);
      return one.log.named('limits.store_down').length > 0;
    });
    assert.equal(await passed(20, () => ask(one)), 20);
    assert.equal(one.log.named('limits.store_down').length, 1);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    await back(one);
  });
});

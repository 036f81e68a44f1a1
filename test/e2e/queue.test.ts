import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { request, until } from '../support/client.ts';
import { callerNamed, chatBody, mean, obey, oneAtATime, percentile } from '../support/crowd.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';

const metrics = { token: 'a-token-for-metrics' };

interface Scene {
  readonly gate: RunningGate;
  /** How long the upstream had each request, milliseconds. */
  readonly held: readonly number[];
  /** Most it had at a time. */
  readonly most: () => number;
  gauge(name: string): Promise<number>;
}

/** A gate before an upstream that needs about `hold` milliseconds for everything, one request more and another less, and accepts every token but those of strangers. */
async function start(t: TestContext, hold: number, config: ConfigInput): Promise<Scene> {
  const held: number[] = [];
  let inHand = 0;
  let asked = 0;
  let most = 0;
  const upstream = await startUpstream(t, (req, res) => {
    const began = performance.now();
    most = Math.max(most, ++inHand);
    const needs = hold * (0.6 + 0.2 * (asked++ % 5));
    const status = req.headers.authorization?.includes('stranger') ? 403 : 200;
    req.resume().on('end', () => {
      setTimeout(() => {
        held.push(performance.now() - began);
        inHand--;
        res.writeHead(status, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"choices":[]}');
      }, needs);
    });
  });
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, metrics, ...config });
  const gauge = async (name: string): Promise<number> => {
    const { text } = await request(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${metrics.token}` } });
    return Number(new RegExp(`^heimdall_${name} (\\d+)$`, 'm').exec(text)?.[1]);
  };
  return { gate, held, most: () => most, gauge };
}

test('a key that floods does not make others wait: p95 within twice a service time by their share of slots', async (t) => {
  const concurrency = 10;
  const callers = ['flood', 'ann', 'bob', 'cleo'].map((name) => callerNamed(name, 'sk-at-newapi'));
  const [flood, ...others] = callers as [ReturnType<typeof callerNamed>];
  const { gate, held, most, gauge } = await start(t, 80, { auth: { mode: 'keys', keys: callers.map(({ key }) => key) }, queue: { concurrency } });
  let over = false;
  const flooding = Promise.all(Array.from({ length: 250 }, () => obey(gate.url, flood.headers, 1))).finally(() => {
    over = true;
  });
  await until(async () => (await gauge('queue_waiting')) > 100);
  const fared = (await Promise.all(others.map(({ headers }) => oneAtATime(gate.url, headers, () => !over)))).flat();
  assert.ok((await flooding).every(({ status }) => status === 200));
  assert.ok(fared.length > 30 && fared.every(({ status }) => status === 200));
  const waited = percentile(fared.map(({ wait }) => wait), 0.95);
  const share = concurrency / callers.length;
  assert.ok(waited <= (2 * mean(held)) / share, `p95 ${waited} ms, service ${mean(held)} ms, share ${share}`);
  assert.equal(most(), concurrency);
  assert.deepEqual([await gauge('queue_active'), await gauge('queue_waiting'), await gauge('inflight_bytes')], [0, 0, 0]);
});

test('random tokens from one address gain nothing: they have one caller\'s turns together', async (t) => {
  const { gate, gauge, held } = await start(t, 30, { queue: { concurrency: 2 } });
  const known = { Authorization: 'Bearer sk-known' };
  assert.equal((await request(`${gate.url}/v1/chat/completions`, { headers: known, body: chatBody })).status, 200);
  const ended: string[] = [];
  const ask = async (name: string, headers: Readonly<Record<string, string>>): Promise<void> => {
    await obey(gate.url, headers, 1);
    ended.push(name);
  };
  const strangers = Array.from({ length: 100 }, (_, n) => ask('stranger', { Authorization: `Bearer sk-stranger-${n * 7919}` }));
  await until(async () => (await gauge('queue_waiting')) > 50);
  const before = held.length;
  const friends = Array.from({ length: 30 }, () => ask('known', known));
  await Promise.all(friends);
  const during = held.length - before;
  assert.ok(during <= 30 * 2 + 20, `${during} were served while 30 of a known caller were`);
  await Promise.all(strangers);
});

test('in passthrough a flood of a token that proves good makes way for others behind the same address', async (t) => {
  const { gate, gauge } = await start(t, 30, { queue: { concurrency: 4 } });
  let done = 0;
  const flooding = Promise.all(Array.from({ length: 300 }, () => obey(gate.url, { Authorization: 'Bearer sk-flood' }, 1).finally(() => done++)));
  await until(async () => (await gauge('queue_waiting')) > 100);
  await obey(gate.url, { Authorization: 'Bearer sk-newcomer' }, 1);
  assert.ok(done < 200, `${done} of 300 were served before a newcomer`);
  await flooding;
});

test('of clients that obey Retry-After at least nine in ten are admitted when they come back', async (t) => {
  const { gate } = await start(t, 100, { queue: { concurrency: 10, initialSize: 60 } });
  const known = { Authorization: 'Bearer sk-known' };
  for (let n = 0; n < 3; n++) await obey(gate.url, known, 1);
  const fared = await Promise.all(Array.from({ length: 200 }, (_, n) => obey(gate.url, { Authorization: `Bearer sk-${n}`, 'X-Forwarded-For': `198.51.100.${n}` }, 2)));
  const sentAway = fared.filter(({ sentAway: times }) => times > 0);
  assert.ok(sentAway.length > 40, `${sentAway.length} were sent away`);
  const admitted = sentAway.filter(({ status }) => status === 200).length;
  assert.ok(admitted >= sentAway.length * 0.9, `${admitted} of ${sentAway.length} were admitted`);
});

test('after kill -9 the next process keeps its measure and tells which requests were lost', async (t) => {
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => (req.headers['x-lost'] === undefined ? res.writeHead(200, { 'X-Oneapi-Request-Id': 'r', 'Content-Type': 'application/json' }).end('{}') : undefined)));
  const file = join(temporary(t), 'state', 'queue.json');
  const yaml = `secret: an-install-secret-for-this-test\nqueue: { concurrency: 5, state_path: ${file}, save_interval: 100ms }\n`;
  const read = (): { samples: number; in_hand: { id: string; lane: string }[]; closed: boolean } => JSON.parse(readFileSync(file, 'utf8'));
  const first = await startStandalone(upstream.url, yaml);
  await obey(first.url, { Authorization: 'Bearer sk-known-to-newapi' }, 1);
  const lost = request(`${first.url}/v1/chat/completions`, { headers: { Authorization: 'Bearer sk-known-to-newapi', 'X-Lost': 'yes' }, body: chatBody }).catch(() => 'lost');
  await until(() => existsSync(file) && read().in_hand.length === 1 && read().samples === 1, 5000);
  assert.match(read().in_hand[0]?.lane ?? '', /^token:[0-9a-f]{16}$/);
  assert.ok(!readFileSync(file, 'utf8').includes('known-to-newapi'));
  await first.kill();
  assert.equal(await lost, 'lost');
  const second = await startStandalone(upstream.url, yaml);
  await until(() => second.output().includes('queue.interrupted'), 5000);
  assert.match(second.output(), /"requests":1[^\n]*queue\.interrupted|queue\.interrupted[^\n]*"requests":1/);
  await second.stop();
  assert.deepEqual([read().closed, read().in_hand.length, read().samples], [true, 0, 1]);
});

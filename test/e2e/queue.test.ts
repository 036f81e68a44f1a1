import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { request, until, type Answer } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { callerNamed, chatBody, obey } from '../support/crowd.ts';
import { startGate, temporary } from '../support/gate.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';

const metrics = { token: 'a-token-for-metrics' };

/** A request on its way. */
interface Asking {
  readonly who: string;
  /** How many requests had been given to the upstream when it was sent. */
  readonly at: number;
  answer: Answer | undefined;
}

/** A gate whose upstream answers one request at a time, when told. */
interface Scene {
  /** Who is with the upstream, the one longest there first. */
  readonly held: readonly string[];
  /** In the order in which the upstream got them. */
  readonly served: readonly string[];
  /** The largest number it had at a time. */
  most(): number;
  ask(who: string, headers: Readonly<Record<string, string>>): Asking;
  /** Resolves when the gate has seen every request that was sent, and the upstream every one that was let in. */
  settled(): Promise<void>;
  /** Time passes, and the upstream answers so many; then all settles. */
  answer(ms: number, count: number): Promise<void>;
  gauges(): Promise<readonly [active: number, waiting: number, bytes: number]>;
}

/** The upstream accepts every token but those of strangers. */
async function start(t: TestContext, config: ConfigInput): Promise<Scene> {
  const inHand: { readonly who: string; readonly res: ServerResponse }[] = [];
  const served: string[] = [];
  const asked: Asking[] = [];
  let most = 0;
  const clock = fakeClock();
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => {
    const who = String(req.headers['x-who']);
    served.push(who);
    most = Math.max(most, inHand.push({ who, res }));
  }));
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, metrics, ...config }, { clock });
  const gauges: Scene['gauges'] = async () => {
    const { text } = await request(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${metrics.token}` } });
    const [active, waiting, bytes] = ['queue_active', 'queue_waiting', 'inflight_bytes'].map((name) => Number(new RegExp(`^heimdall_${name} (\\d+)$`, 'm').exec(text)?.[1]));
    return [active ?? Number.NaN, waiting ?? Number.NaN, bytes ?? Number.NaN];
  };
  const settled = async (): Promise<void> => void (await until(async () => {
    const [active, waiting] = await gauges();
    return active === inHand.length && active + waiting === asked.filter(({ answer }) => answer === undefined).length;
  }));
  return {
    get held() {
      return inHand.map(({ who }) => who);
    },
    served,
    most: () => most,
    settled,
    gauges,
    ask(who, headers) {
      const asking: Asking = { who, at: served.length, answer: undefined };
      asked.push(asking);
      void request(`${gate.url}/v1/chat/completions`, { headers: { ...headers, 'X-Who': who }, body: chatBody }).then((answer) => {
        asking.answer = answer;
      });
      return asking;
    },
    async answer(ms, count) {
      clock.tick(ms);
      for (const { who, res } of inHand.splice(0, count)) res.writeHead(who.startsWith('stranger') ? 403 : 200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"choices":[]}');
      await settled();
    },
  };
}

const times = <T>(count: number, make: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n));

test('a key that floods does not make others wait: each of their requests has its turn within two rounds of all callers', async (t) => {
  const concurrency = 4;
  const callers = ['flood', 'ann', 'bob', 'cleo'].map((name) => callerNamed(name, 'sk-at-newapi'));
  const [flood, ...others] = callers as [ReturnType<typeof callerNamed>];
  const scene = await start(t, { auth: { mode: 'keys', keys: callers.map(({ key }) => key) }, queue: { concurrency } });
  const flooding = times(40, () => scene.ask('flood', flood.headers));
  await scene.settled();
  assert.deepEqual(await scene.gauges().then((gauges) => gauges.slice(0, 2)), [concurrency, 40 - concurrency]);
  const theirs = others.map(({ name, headers }) => ({ name, headers, all: [scene.ask(name, headers)] }));
  await scene.settled();
  while (theirs.some(({ all }) => all.length < 5 || all.at(-1)?.answer === undefined)) {
    await scene.answer(80, 1);
    // As a client does that sends one request after another.
    for (const { name, headers, all } of theirs) if (all.length < 5 && all.at(-1)?.answer !== undefined) all.push(scene.ask(name, headers));
    await scene.settled();
  }
  for (const { name, all } of theirs) for (const [nth, { at, answer }] of all.entries()) {
    const turn = scene.served.flatMap((who, n) => (who === name ? [n] : []))[nth] ?? Number.NaN;
    assert.ok(turn - at <= 2 * callers.length, `${name} asked after ${at} and had turn ${turn}`);
    assert.equal(answer?.status, 200);
  }
  assert.ok(flooding.some(({ answer }) => answer === undefined), 'the flood was over before the others were served');
  while (flooding.some(({ answer }) => answer === undefined)) await scene.answer(80, concurrency);
  assert.ok(flooding.every(({ answer }) => answer?.status === 200));
  assert.equal(scene.most(), concurrency);
  assert.deepEqual(await scene.gauges(), [0, 0, 0]);
});

test('random tokens from one address gain nothing: they have one caller\'s turns together', async (t) => {
  const scene = await start(t, { queue: { concurrency: 2 } });
  const known = { Authorization: 'Bearer sk-known' };
  scene.ask('known', known);
  await scene.settled();
  await scene.answer(30, 1);
  const strangers = times(30, (n) => scene.ask('stranger', { Authorization: `Bearer sk-stranger-${n * 7919}` }));
  await scene.settled();
  const before = scene.served.length;
  const friends = times(10, () => scene.ask('known', known));
  await scene.settled();
  while (friends.some(({ answer }) => answer === undefined)) await scene.answer(30, 1);
  const during = scene.served.slice(before);
  assert.ok(during.length <= 10 * 2 + 4, `${during.length} were served while 10 of a known caller were`);
  while (strangers.some(({ answer }) => answer === undefined)) await scene.answer(30, 2);
  assert.ok(strangers.every(({ answer }) => answer?.status === 403));
});

test('in passthrough a flood of a token that proves good makes way for others behind the same address', async (t) => {
  const scene = await start(t, { queue: { concurrency: 4 } });
  const flooding = times(40, () => scene.ask('flood', { Authorization: 'Bearer sk-flood' }));
  await scene.settled();
  const newcomer = scene.ask('newcomer', { Authorization: 'Bearer sk-newcomer' });
  await scene.settled();
  while (newcomer.answer === undefined) await scene.answer(30, 1);
  const before = scene.served.indexOf('newcomer');
  assert.ok(before <= 10, `${before} of 40 were served before a newcomer`);
  while (flooding.some(({ answer }) => answer === undefined)) await scene.answer(30, 4);
});

test('of clients that obey Retry-After at least nine in ten are admitted when they come back', async (t) => {
  const scene = await start(t, { queue: { concurrency: 5, initialSize: 30 } });
  const ask = (n: number): Asking => scene.ask(String(n), { Authorization: `Bearer sk-${n}`, 'X-Forwarded-For': `198.51.100.${n}` });
  for (let n = 0; n < 3; n++) {
    scene.ask('known', { Authorization: 'Bearer sk-known' });
    await scene.settled();
    await scene.answer(100, 1);
  }
  const first = times(100, ask);
  await scene.settled();
  const away = first.flatMap(({ answer }, n) => (answer?.status === 503 ? [{ n, due: Number(answer.headers['retry-after']) * 1000 }] : []));
  assert.equal(away.length, 100 - 35);
  const second: Asking[] = [];
  for (let now = 0; second.length < away.length || second.some(({ answer }) => answer === undefined); now += 100) {
    for (const { n, due } of away) if (due > now - 100 && due <= now) second.push(ask(n));
    await scene.settled();
    await scene.answer(100, 5);
  }
  const admitted = second.filter(({ answer }) => answer?.status === 200).length;
  assert.ok(admitted >= away.length * 0.9, `${admitted} of ${away.length} were admitted`);
});

test('after kill -9 the next process keeps its measure and tells which requests were lost', async (t) => {
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => (req.headers['x-lost'] === undefined ? res.writeHead(200, { 'X-Oneapi-Request-Id': 'r', 'Content-Type': 'application/json' }).end('{}') : undefined)));
  const file = join(temporary(t), 'state', 'queue.json');
  const yaml = `secret: an-install-secret-for-this-test\nqueue: { concurrency: 5, state_path: ${file}, save_interval: 100ms }\n`;
  const read = (): { samples: number; in_hand: { id: string; lane: string }[]; closed: boolean } => JSON.parse(readFileSync(file, 'utf8'));
  const first = await startStandalone(upstream.url, yaml);
  await obey(first.url, { Authorization: 'Bearer sk-known-to-newapi' }, 1);
  const lost = request(`${first.url}/v1/chat/completions`, { headers: { Authorization: 'Bearer sk-known-to-newapi', 'X-Lost': 'yes' }, body: chatBody }).catch(() => 'lost');
  await until(() => existsSync(file) && read().in_hand.length === 1 && read().samples === 1);
  assert.match(read().in_hand[0]?.lane ?? '', /^token:[0-9a-f]{16}$/);
  assert.ok(!readFileSync(file, 'utf8').includes('known-to-newapi'));
  await first.kill();
  assert.equal(await lost, 'lost');
  const second = await startStandalone(upstream.url, yaml);
  await until(() => second.output().includes('queue.interrupted'));
  assert.match(second.output(), /"requests":1[^\n]*queue\.interrupted|queue\.interrupted[^\n]*"requests":1/);
  await second.stop();
  assert.deepEqual([read().closed, read().in_hand.length, read().samples], [true, 0, 1]);
});

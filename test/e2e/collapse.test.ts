import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, type Answer } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';

interface Scene extends RunningGate {
  /** Asks as somebody behind a proxy of this machine. */
  ask(key: string, from?: string): Promise<Answer>;
}

async function start(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, trustProxy: [], ...config });
  const ask: Scene['ask'] = (key, from) => request(`${gate.url}/v1/chat/completions`, { headers: { ...bearer(key), ...(from !== undefined && { 'X-Forwarded-For': from }) }, body: chat });
  return { ...gate, ask };
}

const statuses = async (count: number, ask: (at: number) => Promise<Answer>): Promise<Set<number>> => {
  const seen = new Set<number>();
  for (let at = 0; at < count; at++) seen.add((await ask(at)).status);
  return seen;
};

test('a forgotten trust_proxy shuts nobody out: the address limit lets go of the proxy alone, and says so', async (t) => {
  const { ask, log } = await start(t);
  assert.deepEqual(await statuses(150, (at) => ask('sk-bad', `203.0.113.${at}`)), new Set([401]));
  assert.equal((await ask(DEMO_KEY, '203.0.113.1')).status, 200);
  assert.equal(log.named('address.untrusted_proxy').length, 1);
  assert.equal(log.named('address.collapse').length, 1);
  assert.match(String(log.named('address.collapse')[0]?.fix), /trust_proxy: \[127\.0\.0\.1\]/);
});

test('who sends no forwarded header is limited as ever', async (t) => {
  const { ask } = await start(t);
  assert.deepEqual(await statuses(70, () => ask('sk-bad')), new Set([401, 429]));
});

test('guessing of passwords and of tokens stays limited behind it', async (t) => {
  const { ask, url } = await start(t, { rateLimit: { address: { limit: 5 } }, metrics: { token: 'a-token-for-the-metrics' } });
  await statuses(60, () => ask('sk-bad', '203.0.113.1'));
  const metrics = await statuses(8, () => request(`${url}/metrics`, { headers: { ...bearer('a-guess'), 'X-Forwarded-For': '203.0.113.1' } }));
  assert.deepEqual(metrics, new Set([401, 429]));
});

test('a proxy that is trusted is seen through instead', async (t) => {
  const { ask, log } = await start(t, { trustProxy: ['loopback'] });
  assert.deepEqual(await statuses(70, () => ask('sk-bad', '203.0.113.1')), new Set([401, 429]));
  assert.equal((await ask('sk-bad', '203.0.113.2')).status, 401);
  assert.deepEqual(log.named('address.collapse'), []);
});

import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Core } from '../../lib/request/context.ts';
import type { Context } from '../../lib/request/context.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { loadConfig, type ConfigInput } from '../../lib/index.ts';
import { closing, request, until, type Answer, type SentHeaders } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';

interface Scene extends RunningGate {
  /** Every request that has ended. */
  readonly seen: Context[];
  ask(headers?: SentHeaders): Promise<Answer>;
}

async function start(t: TestContext, config: ConfigInput): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, ...config });
  const seen: Context[] = [];
  (internalsOf(gate.gate).core as Core).finishers.push((context) => void seen.push(context));
  return { ...gate, seen, ask: (headers = bearer(DEMO_KEY)) => request(`${gate.url}/v1/chat/completions`, { headers, body: chat }) };
}

async function tokenOf(scene: Scene): Promise<string> {
  assert.equal((await scene.ask()).status, 200);
  await until(() => scene.seen.length > 0);
  return scene.seen.at(-1)?.token?.id as string;
}

const [before, now] = ['the install secret of last year', 'the install secret of this year'];

test('a token is known by what was written of it under the secret before', async (t) => {
  const old = await tokenOf(await start(t, { secret: before }));
  const policies = [{ match: { token: old }, requests: { limit: 1 } }];
  const known = await start(t, { secret: now, previousSecrets: ['another', before].map((secret) => secret.padEnd(16, '.')), rateLimit: { policies } });
  assert.notEqual(await tokenOf(known), old);
  assert.deepEqual(known.seen.at(-1)?.token?.former.includes(old), true);
  assert.equal((await known.ask()).status, 429);
  const strange = await start(t, { secret: now, rateLimit: { policies } });
  assert.deepEqual([(await strange.ask()).status, (await strange.ask()).status], [200, 200]);
});

test('the install secret comes from the environment, from a file or is made, readable by its owner alone', async (t) => {
  const directory = temporary(t);
  const file = join(directory, 'secret');
  writeFileSync(file, `${before}\n`);
  const yaml = join(directory, 'heimdall.yaml');
  writeFileSync(yaml, `secret_file: ${file}\n`);
  const byFile = await start(t, { secret: loadConfig(yaml, {}).secret as string });
  const byVariable = await start(t, { secret: loadConfig(undefined, { HEIMDALL_SECRET: before }).secret as string });
  assert.equal(await tokenOf(byFile), await tokenOf(byVariable));
  const path = join(directory, 'data', 'heimdall.db');
  const [first, second] = [await start(t, { audit: { path } }), await start(t, { audit: { path } })];
  assert.equal(await tokenOf(first), await tokenOf(second));
  assert.notEqual(await tokenOf(first), await tokenOf(byFile));
  assert.equal(statSync(join(directory, 'data', 'heimdall.secret')).mode & 0o777, 0o600);
});

test('a client is its family and major version, and a policy can name either', async (t) => {
  const agent = (name: string): SentHeaders => ({ ...bearer(DEMO_KEY), 'User-Agent': name });
  const sent: readonly (readonly [name: string, client: string])[] = [['claude-cli/2.0.14 (external, cli)', 'claude-cli/2'], ['OpenAI/Python 1.54.0', 'openai-python/1'], ['curl/8.5.0', 'curl/8']];
  const plain = await start(t, {});
  for (const [name] of sent) await plain.ask(agent(name));
  await until(() => plain.seen.length === 3);
  assert.deepEqual(plain.seen.map(({ client }) => client), sent.map(([, client]) => client));
  for (const client of ['claude-cli', 'claude-cli*', 'claude-cli/2']) {
    const limited = await start(t, { rateLimit: { policies: [{ match: { client }, requests: { limit: 1 } }] } });
    const statuses: number[] = [];
    for (const name of ['claude-cli/2.0.14 (external, cli)', 'claude-cli/2.1.0 (external, cli)', 'curl/8.5.0']) statuses.push((await limited.ask(agent(name))).status);
    assert.deepEqual(statuses, [200, 429, 200], client);
  }
});

test('an office behind one address keeps working with good keys while somebody there sends bad ones', async (t) => {
  const key = 'sk-a-key-of-the-gate-that-is-long-enough';
  const scene = await start(t, { auth: { mode: 'keys', keys: [{ name: 'office', sha256: hash('sha256', key), upstreamCredential: DEMO_KEY }] }, rateLimit: { address: { limit: 5 } } });
  assert.equal((await scene.ask(bearer(key))).status, 200);
  const statuses = new Set<number>();
  for (let round = 0; round < 10; round++) statuses.add((await scene.ask(bearer('sk-bad'))).status);
  assert.deepEqual([...statuses], [401, 429]);
  assert.equal((await scene.ask(bearer(key))).status, 200);
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, openStream, request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, OTHER_KEY, startNewapi } from '../support/newapi.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { bearer, chat } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const bare = DEMO_KEY.replace(/^sk-/, '');

interface Finding {
  readonly id: string;
  readonly rule: string;
  readonly caller: { readonly kind: string; readonly id: string };
  readonly state: string;
  readonly action: string;
  readonly would: string | null;
  readonly expires: string | null;
}

async function api<T>({ url }: RunningGate, what: string, body?: object): Promise<{ status: number; body: T }> {
  const answer = await request(`${url}/heimdall/api/${what}`, { method: body === undefined ? 'GET' : 'POST', headers: { ...bearer(token), 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) });
  return { status: answer.status, body: answer.json<T>() };
}

const statusFor = async ({ url }: RunningGate, key: string): Promise<number> => (await request(`${url}/v1/chat/completions`, { method: 'POST', headers: bearer(key), body: chat })).status;

async function gateOf(t: TestContext, config: ConfigInput = {}, directory = temporary(t)): Promise<RunningGate> {
  const { url: baseUrl } = closing(t, await startNewapi());
  return startGate(t, { newapi: { baseUrl }, admin: { token }, ...config, audit: { path: join(directory, 'heimdall.db') } });
}

const keyOf = async (gate: RunningGate, name: string): Promise<string> => (await api<{ key: string }>(gate, 'keys', { name, upstream_credential: OTHER_KEY })).body.key;

/** Runs a command on the files of a gate. */
async function heimdall(directory: string, yaml: string, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const config = join(directory, 'heimdall.yaml');
  writeFileSync(config, `${yaml}\naudit: {path: ${join(directory, 'heimdall.db')}}\n`, { mode: 0o600 });
  const said = { out: '', err: '' };
  const code = await main([...args, '--config', config], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  return { code, ...said };
}

for (const [form, line] of [['the key', DEMO_KEY], ['the key without sk-', bare], ['its digest', sha256(DEMO_KEY)], ['its digest without sk-, in capitals', ` ${sha256(bare).toUpperCase()} `]] as const) {
  test(`a token of NewAPI that was accepted here is frozen by ${form}, in mode off too`, async (t) => {
    const gate = await gateOf(t, { anomaly: { mode: 'off' } });
    assert.deepEqual([await statusFor(gate, DEMO_KEY), await statusFor(gate, OTHER_KEY)], [200, 200]);
    const body = await until(async () => {
      const { body: answer } = await api<{ read: number; keys: { kind: string; id: string }[] }>(gate, 'leaked', { keys: ['', 'sk-of-somebody-else', '  ', line, sha256('nothing')] });
      return answer.keys.length > 0 ? answer : null;
    });
    assert.deepEqual([body.read, body.keys.length, body.keys[0]?.kind], [3, 1, 'token']);
    const refused = await request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: bearer(DEMO_KEY), body: chat });
    assert.deepEqual([refused.status, refused.json<{ error: { code: string } }>().error.code, /leak|finding|rule/i.test(refused.text)], [403, 'frozen', false]);
    assert.equal(await statusFor(gate, OTHER_KEY), 200);
    const { body: { findings } } = await api<{ findings: Finding[] }>(gate, 'findings?rule=leaked_key');
    assert.deepEqual(findings.map(({ caller, state, action, would, expires }) => ({ caller, state, action, would, expires })), [{ caller: { ...body.keys[0], newapi: null }, state: 'open', action: 'freeze', would: null, expires: null }]);
    assert.doesNotMatch(JSON.stringify([findings, gate.log.events]), new RegExp(`${bare}|${sha256(DEMO_KEY)}`));
    assert.equal((await api(gate, `findings/${findings[0]?.id}/undo`, {})).status, 200);
    assert.equal(await statusFor(gate, DEMO_KEY), 200);
    // An undone pattern rests.
    assert.equal((await api<{ keys: object[] }>(gate, 'leaked', { keys: [line] })).body.keys.length, 1);
    assert.equal(await statusFor(gate, DEMO_KEY), 200);
  });
}

test('the command loads no admin API, which takes longer than its work', () => {
  for (const file of ['leaked', 'with-findings', 'registry']) assert.doesNotMatch(readFileSync(new URL(`../../lib/cli/${file}.ts`, import.meta.url), 'utf8'), /from '(?:\.\.\/admin\/|\.\/findings\.ts)/);
});

test('a gateway key stays frozen until it is rotated; its overlap ends with the leak', async (t) => {
  const directory = temporary(t);
  const yaml = 'auth: {mode: keys}';
  const gate = await gateOf(t, { auth: { mode: 'keys' } }, directory);
  const rotated = async (): Promise<string> => (JSON.parse((await heimdall(directory, yaml, 'keys', 'rotate', 'team', '--overlap', '2h', '--json')).out) as { key: string }).key;
  const [key, other] = [await keyOf(gate, 'team'), await keyOf(gate, 'other')];
  assert.equal(await statusFor(gate, key), 200);
  writeFileSync(join(directory, 'report.txt'), `\uFEFF\r\n${sha256(key)}\r\nsk-unknown\r\n\r\n`);
  const said = await heimdall(directory, yaml, 'leaked', join(directory, 'report.txt'), '--json');
  assert.deepEqual([said.code, JSON.parse(said.out)], [0, { read: 2, keys: [{ kind: 'key', id: 'team' }] }]);
  await until(async () => (await statusFor(gate, key)) === 403);
  assert.equal(await statusFor(gate, other), 200);
  const next = await rotated();
  await until(async () => (await statusFor(gate, next)) === 200);
  assert.equal(await statusFor(gate, key), 401);
  const { body: { findings } } = await api<{ findings: Finding[] }>(gate, 'findings');
  assert.deepEqual(findings.map(({ rule, state, action }) => [rule, state, action]), [['leaked_key', 'over', 'none']]);
  assert.deepEqual(JSON.parse((await heimdall(directory, yaml, 'findings', 'list', '--json')).out), findings);
});

test('a replaced key that leaks while it is still valid does not freeze the one in its place', async (t) => {
  const gate = await gateOf(t, { auth: { mode: 'keys' } });
  const old = await keyOf(gate, 'team');
  const { body: { key } } = await api<{ key: string }>(gate, 'keys/team/rotate', { overlap: '1h' });
  await api(gate, 'leaked', { keys: [old] });
  await until(async () => (await statusFor(gate, old)) === 403);
  assert.equal(await statusFor(gate, key), 200);
});

test('with mode: observe a leak is recorded as what would be done', async (t) => {
  const gate = await gateOf(t, { mode: 'observe' });
  assert.equal(await statusFor(gate, DEMO_KEY), 200);
  await api(gate, 'leaked', { keys: [DEMO_KEY] });
  assert.equal(await statusFor(gate, DEMO_KEY), 200);
  const { body: { findings } } = await api<{ findings: Finding[] }>(gate, 'findings');
  assert.deepEqual(findings.map(({ action, would }) => [action, would]), [['none', 'freeze']]);
});

test('a report has at most 10 000 keys and 2 MB, and texts only', async (t) => {
  const gate = await gateOf(t);
  const keys = Array.from({ length: 10_000 }, (_, at) => `sk-${String(at).padStart(48, 'x')}`);
  assert.deepEqual((await api(gate, 'leaked', { keys })).body, { read: 10_000, keys: [] });
  for (const [report, status] of [[[...keys, 'one-more'], 400], [['x'.repeat(2_100_000)], 413], [[7], 400], ['sk-text', 400]] as const) {
    const { status: got, body } = await api<{ error: { message: string } }>(gate, 'leaked', { keys: report });
    assert.equal(got, status);
    assert.doesNotMatch(body.error.message, /sk-/);
  }
});

test('a running stream of a leaked key is cut', async (t) => {
  const gate = await gateOf(t);
  assert.equal(await statusFor(gate, DEMO_KEY), 200);
  const stream = await openStream(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: bearer(DEMO_KEY), body: { ...chat, stream: true, max_tokens: 1_000_000 } });
  // That a token was accepted is noted behind its answer.
  await until(async () => (await api<{ keys: object[] }>(gate, 'leaked', { keys: [DEMO_KEY] })).body.keys.length === 1);
  await stream.done;
  await until(async () => (await statusFor(gate, DEMO_KEY)) === 403);
});

test('what one instance has seen, another one finds and freezes for both', { skip: withoutRedis }, async (t) => {
  const redis = closing(t, await startRedis());
  const shared: ConfigInput = { secret: 'an install secret that two share', rateLimit: { redisUrl: redis.url } };
  const [one, two] = [await gateOf(t, shared), await gateOf(t, shared)];
  assert.equal(await statusFor(one, DEMO_KEY), 200);
  const others = Array.from({ length: 9999 }, (_, at) => (at % 2 === 0 ? `sk-${String(at).padStart(48, 'x')}` : sha256(`other ${at}`)));
  const answer = await until(async () => {
    const { body } = await api<{ keys: { kind: string; id: string }[] }>(two, 'leaked', { keys: [...others, sha256(DEMO_KEY)] });
    return body.keys.length === 1 ? body : null;
  });
  assert.equal(answer.keys[0]?.kind, 'token');
  await until(async () => (await statusFor(one, DEMO_KEY)) === 403);
  const { body: { findings: [finding] } } = await api<{ findings: Finding[] }>(one, 'findings');
  await api(one, `findings/${finding?.id}/undo`, {});
  await until(async () => (await statusFor(two, DEMO_KEY)) === 200);
});

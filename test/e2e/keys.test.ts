import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import type { ConfigInput, LlmInput } from '../../lib/index.ts';

import { closing, request, until, type Answer, type RequestOptions, type SentHeaders, type TestLike } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, OTHER_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { startProvider, type Provider } from '../support/provider.ts';
import { bearer, chat, OWN, servedBy } from '../support/scene.ts';
import { shared } from '../support/shared.ts';

type KeyInput = NonNullable<NonNullable<ConfigInput['auth']>['keys']>[number];

const key = (name: string): string => `sk-gate-${name.padEnd(40, '0')}`;
const entry = (name: string, over: Partial<KeyInput> = {}): KeyInput => ({ name, sha256: hash('sha256', key(name)), ...over });
const refusal = (answer: Answer): [number, unknown] => [answer.status, answer.json<{ error: { code: unknown } }>().error.code];

const withBackup = (backup: Provider): LlmInput => ({ backupProviders: [{ provider: 'openai', endpoint: backup.endpoint, apiKey: OWN }], retry: { initialDelay: 1, maxDelay: 2 } });

interface Scene {
  readonly newapi: Newapi;
  readonly backup: Provider;
  readonly gate: RunningGate;
  ask(headers: SentHeaders, path?: string, options?: RequestOptions): Promise<Answer>;
}

async function start(t: TestLike, keys: readonly KeyInput[], config: ConfigInput = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const gate = await startGate(t, {
    audit: false,
    newapi: { baseUrl: newapi.url },
    llm: withBackup(backup),
    auth: { mode: 'keys', keys },
    ...config,
  });
  const ask: Scene['ask'] = (headers, path = '/v1/chat/completions', options = { body: chat }) => request(gate.url + path, { headers, ...options });
  return { newapi, backup, gate, ask };
}

/** Everything NewAPI was told, as text. */
const told = ({ newapi }: Scene): string => newapi.requests.map(({ url, rawHeaders, body }) => `${url} ${rawHeaders.join(' ')} ${String(body)}`).join('\n');

test('a gateway key lets in and NewAPI sees its upstream credential alone', async (t) => {
  const scene = await start(t, [entry('alice', { upstreamCredential: DEMO_KEY })]);
  const plain = key('alice');
  const carriers: readonly (readonly [SentHeaders, path?: string, RequestOptions?])[] = [
    [bearer(plain)],
    [{ Authorization: plain }],
    [['Authorization', `Bearer ${plain}`, 'authorization', `Bearer ${plain}`]],
    [{ ...bearer(plain), 'x-api-key': plain, 'x-goog-api-key': plain, 'mj-api-secret': plain }],
    [{ 'x-api-key': plain, 'anthropic-version': '2023-06-01' }, '/v1/messages'],
    [bearer(plain), `/v1/chat/completions?key=${plain}&x=1`],
    [{ 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${plain}` }],
    [{ 'x-goog-api-key': plain }, '/v1beta/models/gemini-2.5-flash:generateContent'],
    [{}, `/v1beta/models?key=${plain}&x=1`, {}],
    [{ 'mj-api-secret': plain }, '/mj/submit/imagine', { body: { prompt: 'x' } }],
    [bearer(plain), '/v1/models', {}],
  ];
  for (const [headers, path, options] of carriers) {
    const { status, text } = await scene.ask(headers, path, options);
    assert.equal(status, 200, `${JSON.stringify(headers)} ${path ?? ''} ${text}`);
    assert.equal(scene.newapi.requests.at(-1)?.headers.authorization, `Bearer ${DEMO_KEY}`);
  }
  assert.equal(scene.newapi.requests.length, carriers.length);
  assert.ok(!told(scene).includes('sk-gate-'), told(scene));
});

test('a gateway key without an upstream credential reaches the backup alone, where there is one', async (t) => {
  const scene = await start(t, [entry('bob')]);
  assert.equal(servedBy(await scene.ask(bearer(key('bob')))), 'backup');
  assert.deepEqual(refusal(await scene.ask(bearer(key('bob')), '/v1/rerank')), [403, 'no_upstream_credential']);
  for (const path of ['/v1/files', '/v1beta/models', '/mj/task/1/fetch', '/suno/fetch/1', '/kling/v1/videos/text2video/1', '/v1/realtime']) {
    assert.equal((await scene.ask(bearer(key('bob')), path, {})).status, 403, path);
  }
  assert.deepEqual([scene.newapi.requests.length, scene.backup.calls.length], [0, 1]);
});

test('a gateway key without an upstream credential is answered 403 before NewAPI alone', async (t) => {
  const scene = await start(t, [entry('bob')], { llm: {} });
  assert.deepEqual(refusal(await scene.ask(bearer(key('bob')))), [403, 'no_upstream_credential']);
  assert.equal(scene.newapi.connections, 0);
});

test('a gateway key is verified at once: the backup answers its first request when NewAPI is down', async (t) => {
  const scene = await start(t, [entry('alice', { upstreamCredential: DEMO_KEY })]);
  await scene.newapi.stop();
  assert.equal(servedBy(await scene.ask(bearer(key('alice')))), 'backup');
  assert.ok(!JSON.stringify(scene.backup.calls.map(({ rawHeaders, path }) => [rawHeaders, path])).includes('sk-'));
});

const strangers: Readonly<Record<string, readonly [SentHeaders, code: string]>> = {
  'no key': [{}, 'missing_credential'],
  'an unknown key': [bearer(key('mallory')), 'invalid_credential'],
  'a NewAPI token': [bearer(DEMO_KEY), 'invalid_credential'],
  'the key without its sk-': [bearer(key('alice').slice(3)), 'invalid_credential'],
  'the key in another case': [bearer(key('alice').toUpperCase()), 'invalid_credential'],
  'the hash of a key': [bearer(hash('sha256', key('alice'))), 'invalid_credential'],
  'a disabled key': [bearer(key('disabled')), 'invalid_credential'],
  'an expired key': [bearer(key('expired')), 'invalid_credential'],
};

const people = [
  entry('alice', { upstreamCredential: DEMO_KEY }),
  entry('disabled', { upstreamCredential: DEMO_KEY, disabled: true }),
  entry('expired', { upstreamCredential: DEMO_KEY, expires: '2020-01-01' }),
  entry('elsewhere', { upstreamCredential: DEMO_KEY, cidrs: ['192.0.2.0/24'] }),
];

const guarded = shared((scope) => start(scope, people));

for (const [name, [headers, code]] of Object.entries(strangers)) {
  test(`${name} is answered 401, logged without itself, and goes nowhere`, async () => {
    const scene = await guarded();
    const before = scene.gate.log.named('auth.failed').length;
    for (const path of ['/v1/chat/completions', '/v1/models', '/v1beta/models', '/mj/task/1/fetch']) {
      const answer = await scene.ask(headers, path, path.endsWith('completions') ? { body: chat } : {});
      assert.equal(answer.status, 401, path);
      assert.ok(!answer.text.includes('sk-gate'));
    }
    assert.deepEqual(refusal(await scene.ask(headers)), [401, code]);
    assert.deepEqual([scene.newapi.connections, scene.backup.connections], [0, 0]);
    const failures = scene.gate.log.named('auth.failed').slice(before);
    assert.equal(failures.length, code === 'missing_credential' ? 0 : 5);
    assert.ok(failures.every(({ ip }) => ip === '127.0.0.1'));
    assert.ok(!JSON.stringify(scene.gate.log.events).includes('sk-'));
  });
}

test('a key tied to addresses works from them alone, by the verified address', async (t) => {
  const scene = await start(t, people, { trustProxy: ['loopback'] });
  assert.deepEqual(refusal(await scene.ask(bearer(key('elsewhere')))), [403, 'address_not_allowed']);
  assert.equal((await scene.ask({ ...bearer(key('elsewhere')), 'X-Forwarded-For': '192.0.2.77' })).status, 200);
  const distrustful = await start(t, people, { trustProxy: [] });
  assert.equal((await distrustful.ask({ ...bearer(key('elsewhere')), 'X-Forwarded-For': '192.0.2.77' })).status, 403);
});

test('a key with a list of models is held to it, on every target and in every form', async (t) => {
  const scene = await start(t, [entry('carol', { upstreamCredential: DEMO_KEY, models: ['gpt-4o-mini'] })]);
  const carol = { ...bearer(key('carol')), 'Content-Type': 'application/json' };
  assert.equal((await scene.ask(carol)).status, 200);
  const reached = scene.newapi.requests.length;
  const refused: Readonly<Record<string, [status: number, code: string]>> = {
    '{"model":"gpt-4o"}': [403, 'model_not_allowed'],
    '{}': [403, 'model_not_allowed'],
    '{"model":null}': [403, 'model_not_allowed'],
    '{"x":{"model":"gpt-4o-mini"}}': [403, 'model_not_allowed'],
    '{"model":["gpt-4o-mini"]}': [400, 'invalid_value'],
    '{"model":"gpt-4o-mini","model":"gpt-4o"}': [400, 'ambiguous_body'],
    '{"model":"gpt-4o-mini","mod\\u0065l":"gpt-4o"}': [400, 'ambiguous_body'],
    '{"model":"gpt-4o-mini","Model":"gpt-4o"}': [400, 'ambiguous_body'],
  };
  for (const [body, expected] of Object.entries(refused)) assert.deepEqual(refusal(await scene.ask(carol, '/v1/chat/completions', { body })), expected, body);
  assert.equal(scene.newapi.requests.length, reached);
});

test('a key ends at its moment, not at the next start', async (t) => {
  const clock = fakeClock(Date.UTC(2026, 0, 5));
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, auth: { mode: 'keys', keys: [entry('dave', { upstreamCredential: DEMO_KEY, expires: '2026-01-06' })] } }, { clock });
  const ask = () => request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(key('dave')) });
  clock.tick(86_399_000);
  assert.equal((await ask()).status, 200);
  clock.tick(1000);
  assert.equal((await ask()).status, 401);
});

test('pages, dashboard and webhooks pass without a gateway key', async (t) => {
  const { ask } = await start(t, people);
  for (const path of ['/', '/api/status', '/assets/app.js', '/mj/image/1']) assert.equal((await ask({}, path, {})).status, 200, path);
});

test('mode observe lets through what it would refuse, and lends nobody a credential of ours', async (t) => {
  const scene = await start(t, people, { mode: 'observe' });
  assert.equal((await scene.ask(bearer(DEMO_KEY))).status, 200);
  assert.equal((await scene.ask(bearer(OTHER_KEY), '/v1beta/models', {})).status, 200);
  assert.equal((await scene.ask({})).status, 401);
  assert.equal(scene.newapi.requests.length, 3);
  await scene.newapi.stop();
  for (const headers of [bearer(DEMO_KEY), {}, bearer(key('mallory')), bearer(key('disabled')), bearer(key('expired')), bearer(key('elsewhere'))]) {
    assert.ok((await scene.ask(headers)).status >= 400);
  }
  assert.equal(scene.backup.connections, 0);
});

test('mode observe shows NewAPI no gateway key, whatever is wrong with it', async (t) => {
  const scene = await start(t, people, { mode: 'observe' });
  for (const name of ['disabled', 'expired', 'elsewhere']) {
    assert.deepEqual(refusal(await scene.ask(bearer(key(name)))), [403, 'no_upstream_credential']);
    assert.equal((await scene.ask(bearer(key(name)), '/v1beta/models', {})).status, 403);
  }
  assert.ok(!told(scene).includes('sk-gate-'), told(scene));
});

test('mode observe in passthrough asks NewAPI about everybody and keeps strangers from the backup', async (t) => {
  const newapi = closing(t, await startNewapi());
  const backup = closing(t, await startProvider({ name: 'backup' }));
  const gate = await startGate(t, { audit: false, mode: 'observe', newapi: { baseUrl: newapi.url }, llm: withBackup(backup) });
  const ask = (headers: SentHeaders) => request(`${gate.url}/v1/chat/completions`, { body: chat, headers });
  assert.equal((await ask({})).status, 401);
  assert.equal(newapi.requests.length, 1);
  await newapi.stop();
  assert.equal((await ask({})).status, 502);
  assert.equal(backup.connections, 0);
});

/** Carriers that NewAPI prefers to the one beside them: what they prove, they prove of themselves alone. */
const decoys: readonly (readonly [path: string, (good: string, bogus: string) => SentHeaders])[] = [
  ['/v1/chat/completions', (good, bogus) => ({ ...bearer(bogus), 'Sec-WebSocket-Protocol': good })],
  ['/v1/chat/completions', (good, bogus) => ({ ...bearer(bogus), 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${good}` })],
  ['/v1/messages', (good, bogus) => ({ ...bearer(bogus), 'x-api-key': good })],
  ['/v1/messages', (good, bogus) => ({ 'x-api-key': good, 'Sec-WebSocket-Protocol': `openai-insecure-api-key.${bogus}` })],
  ['/v1/messages', (good, bogus) => ['Authorization', `Bearer ${good}`, 'Authorization', `Bearer ${bogus}`]],
  ['/v1/models/gpt-4o', (good, bogus) => ({ ...bearer(bogus), 'x-goog-api-key': good })],
];

for (const [at, [path, headers]] of decoys.entries()) {
  test(`a good token verifies no other that stands beside it (${at + 1}, ${path})`, async (t) => {
    const newapi = closing(t, await startNewapi());
    const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
    const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, llm: withBackup(backup) });
    const sent = path.startsWith('/v1/models') ? {} : { body: chat };
    const bogus = `sk-${'bogus000'.repeat(6)}`;
    assert.equal((await request(gate.url + path, { ...sent, headers: headers(DEMO_KEY, bogus) })).status, 200);
    await until(() => newapi.requests[0]?.done);
    await newapi.stop();
    for (const token of [bearer(bogus), { 'x-api-key': bogus }, { 'Sec-WebSocket-Protocol': `openai-insecure-api-key.${bogus}` }]) {
      assert.equal((await request(`${gate.url}/v1/chat/completions`, { body: chat, headers: token })).status >= 400, true);
    }
    assert.equal(backup.connections, 0);
  });
}

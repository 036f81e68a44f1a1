import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { type Answer, closing, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { type RunningGate, startGate, temporary } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { recorded } from '../support/journal.ts';
import { bearer, chat } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';

interface Finding {
  readonly rule: string;
  readonly caller: object;
  readonly action: string;
  readonly evidence: { readonly records: readonly string[]; readonly requests: number };
}

/** What does not differ from request to request. */
const shapeOf = ({ status, text, headers }: Answer): object => {
  const { date: _date, 'x-request-id': _id, 'x-response-time': _time, 'x-queue-wait': _wait, 'x-oneapi-request-id': id, 'ratelimit': _limit, ...rest } = headers;
  const form = (value: string): string => value.replace(/\d/g, '0').replace(/[a-z]/g, 'a').replace(/0[0a]+$/, (tail) => '0'.repeat(tail.length));
  return { status, rest, id: id === undefined ? null : form(String(id)).length, text: id === undefined ? text.replace(/"request_id":"[^"]*"|\(request id[^)]*\)/, '') : text.replaceAll(String(id), 'ID') };
};

const cases: readonly (readonly [string, ConfigInput])[] = [
  ['passthrough', { auth: { mode: 'passthrough' } }],
  ['keys', { auth: { mode: 'keys' } }],
  ['keys, observing', { auth: { mode: 'keys' }, mode: 'observe' }],
  ['passthrough, anomaly off', { anomaly: { mode: 'off' } }],
];

for (const [name, config] of cases) {
  test(`a honey key is refused as an unknown key, goes nowhere, and raises a finding: ${name}`, async (t) => {
    const newapi = closing(t, await startNewapi());
    const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, ...config, audit: { path: join(temporary(t), 'heimdall.db') } });
    const api = async <T>(what: string, body?: object): Promise<T> => (await request(`${gate.url}/heimdall/api/${what}`, { method: body ? 'POST' : 'GET', headers: { ...bearer(token), 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) })).json<T>();
    const { key, honey } = await api<{ key: string; honey: boolean }>('keys', { name: 'trap', honey: true });
    assert.equal(honey, true);
    assert.match(key, config.auth?.mode === 'keys' ? /^sk-[\w-]{43}$/ : /^sk-[A-Za-z0-9]{48}$/);
    const unknown = config.auth?.mode === 'keys' ? `sk-${'u'.repeat(43)}` : `sk-${'U'.repeat(48)}`;
    const ask = (path: string, credential: string): Promise<Answer> => request(gate.url + path, path === '/v1/models' ? { headers: bearer(credential) } : { method: 'POST', headers: bearer(credential), body: chat });
    for (const path of ['/v1/chat/completions', '/v1/messages', '/v1/models', '/v1/audio/transcriptions']) {
      const real = [await ask(path, unknown), await ask(path, unknown)];
      const seen = newapi.requests.length;
      const trapped = await ask(path, key);
      assert.equal(trapped.status, 401);
      assert.deepEqual(shapeOf(trapped), shapeOf(real[1] as Answer), path);
      assert.ok(!real.some(({ headers }) => headers['x-oneapi-request-id'] !== undefined && headers['x-oneapi-request-id'] === trapped.headers['x-oneapi-request-id']));
      assert.equal(newapi.requests.length, seen, 'nothing goes upstream');
    }
    if (name === 'passthrough') {
      assert.equal((await ask('/v1/chat/completions', key.slice(3))).status, 401);
      assert.equal((await ask('/v1/chat/completions', DEMO_KEY)).status, 200);
    }
    const finding = await until(async () => (await api<{ findings: Finding[] }>('findings?rule=honey_key')).findings[0]);
    assert.deepEqual([finding.caller, finding.action === 'none' || finding.action === 'flag'], [{ kind: 'key', id: 'trap', newapi: null }, true]);
    const rows = await recorded(gate.gate);
    assert.equal(rows.find(({ request_id: id }) => id === finding.evidence.records[0])?.outcome, 'refused:invalid_credential');
    assert.equal((await request(`${gate.url}/heimdall/api/keys/trap`, { method: 'PATCH', headers: { ...bearer(token), 'content-type': 'application/json' }, body: '{"disabled":false}' })).status, 400);
    assert.doesNotMatch(JSON.stringify(gate.log.events), new RegExp(key));
  });
}

test('before NewAPI has refused anybody, a honey key gets its usual words', async (t) => {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, audit: { path: join(temporary(t), 'heimdall.db') } });
  const made = await request(`${gate.url}/heimdall/api/keys`, { method: 'POST', headers: { ...bearer(token), 'content-type': 'application/json' }, body: '{"name":"trap","honey":true}' });
  const trapped = await request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: bearer(made.json<{ key: string }>().key), body: chat });
  const id = String(trapped.headers['x-oneapi-request-id']);
  assert.match(id, /^20\d{21}[0-9a-f]{8}\w{8}$/);
  assert.deepEqual([trapped.status, trapped.json()], [401, { error: { code: '', message: `Invalid token (request id: ${id})`, type: 'new_api_error' } }]);
});

test('uses of a honey key that wait for their report are told when the gate closes, and no timer is left', async (t) => {
  const clock = fakeClock();
  const newapi = closing(t, await startNewapi());
  const config: ConfigInput = { newapi: { baseUrl: newapi.url }, auth: { mode: 'keys' }, admin: { token }, audit: { path: join(temporary(t), 'heimdall.db') } };
  const gate = await startGate(t, config, { clock });
  const api = async <T>({ url }: RunningGate, what: string, body?: object): Promise<T> => (await request(`${url}/heimdall/api/${what}`, { method: body ? 'POST' : 'GET', headers: bearer(token), ...(body && { body }) })).json<T>();
  const used = async (at: RunningGate): Promise<number> => (await api<{ findings: Finding[] }>(at, 'findings?rule=honey_key')).findings[0]?.evidence.requests ?? 0;
  const { key } = await api<{ key: string }>(gate, 'keys', { name: 'trap', honey: true });
  for (let nth = 0; nth < 3; nth++) assert.equal((await request(`${gate.url}/v1/models`, { headers: bearer(key) })).status, 401);
  await until(async () => (await used(gate)) === 1);
  await gate.gate.close({ timeout: 0 });
  assert.equal(clock.pending, 0);
  assert.equal(clock.pending, 0);
  assert.equal(await used(await startGate(t, config)), 3);
});

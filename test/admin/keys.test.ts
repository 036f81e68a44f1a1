import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { until } from '../support/client.ts';
import { bearer, messageOf, problem, startAdmin } from './harness.ts';

const shown = {
  name: 'alice', source: 'registry', digest: '0123456789ab', created: '2026-01-01T00:00:00.000Z', expires: null, disabled: false, models: ['gpt-4o'], cidrs: [],
  has_upstream_credential: false, previous_until: null, requests: { limit: 5, window: '90s' }, tokens: null, concurrency: 2, budget: null,
};

describe('keys', () => {
  it('are listed and shown without themselves', async (t) => {
    const { ask } = await startAdmin(t);
    const { keys } = (await ask('keys')).json<{ keys: { name: string }[] }>();
    assert.deepEqual([keys[0], keys.map(({ name }) => name)], [shown, ['alice', 'fixed']]);
    assert.deepEqual((await ask('keys/alice')).json(), shown);
    assert.deepEqual(problem(await ask('keys/nobody')), [404, 'not_found', null]);
  });

  it('are made of what is asked for, and shown once', async (t) => {
    const { ask, asked, log } = await startAdmin(t);
    const answer = await ask('keys', {
      body: { name: 'Zoë / 1', expires: '2026-03-01T12:00:00+01:00', models: ['gpt-5'], cidrs: ['10.0.0.0/8'], upstream_credential: 'sk-at-newapi', requests: { limit: 60 }, tokens: { limit: 1000, window: '1h' }, concurrency: 3, budget: { day: 2.5 } },
    });
    assert.deepEqual(asked, [{
      name: 'Zoë / 1', expires: Date.UTC(2026, 2, 1, 11), models: ['gpt-5'], cidrs: ['10.0.0.0/8'], upstreamCredential: 'sk-at-newapi', honey: false, requests: { limit: 60, window: 60_000 }, tokens: { limit: 1000, window: 3_600_000 },
      concurrency: 3, budget: { day: 2.5, month: null },
    }]);
    assert.deepEqual([answer.status, answer.headers['cache-control']], [201, 'no-store']);
    const body = answer.json<Record<string, unknown>>();
    assert.deepEqual([body['key'], body['name'], body['expires'], body['has_upstream_credential']], ['sk-a-new-key', 'Zoë / 1', '2026-03-01T11:00:00.000Z', true]);
    const [change] = log.named('admin.change');
    assert.deepEqual([change?.['ip'], change?.['token'], change?.['action'], change?.['subject'], change?.['before']], ['127.0.0.1', 'f'.repeat(16), 'key.create', 'Zoë / 1', null]);
    assert.ok(!/sk-a-new|sk-at/.test(JSON.stringify(log.events)));
    const place = new URL(String(answer.headers.location), 'http://h/ops/api/keys').pathname;
    assert.equal((await ask(place.slice('/ops/api/'.length))).json<{ name: string }>().name, 'Zoë / 1');
  });

  it('have no bound that is not asked for, and may end after a while', async (t) => {
    const { ask, asked, core } = await startAdmin(t);
    await ask('keys', { body: { name: 'bob', expires: '90d' } });
    assert.deepEqual(asked, [{ name: 'bob', expires: core.clock.now() + 90 * 86_400_000, models: [], cidrs: [], upstreamCredential: null, honey: false, requests: null, tokens: null, concurrency: null, budget: null }]);
  });

  const wrong: readonly (readonly [unknown, string, string])[] = [
    [{}, 'name', 'name: expected a name, got nothing. Example: team-a'],
    [{ name: '' }, 'name', 'name: expected a name, got "". Example: team-a'],
    [{ name: 7 }, 'name', 'name: expected a name, got 7. Example: team-a'],
    [{ name: 'x', expires: 'soon' }, 'expires', 'expires: expected a date, a date and time, or a duration from now such as 24h, got "soon". Example: 2027-01-31T12:00:00Z'],
    [{ name: 'x', cidrs: ['10.0.0.0/8', '10.0.0.0/33'] }, 'cidrs[1]', 'cidrs[1]: expected an IP address or CIDR, got "10.0.0.0/33". Example: 10.0.0.0/8'],
    [{ name: 'x', models: 'gpt-5' }, 'models', 'models: expected a list, got a string.'],
    [{ name: 'x', requests: { limit: 0 } }, 'requests.limit', 'requests.limit: expected a whole number of at least 1, got 0. Example: 60'],
    [{ name: 'x', requests: 5 }, 'requests', 'requests: expected an object of fields, got a number.'],
    [{ name: 'x', tokens: { limit: 5, windows: '1h' } }, 'tokens.windows', 'tokens.windows: unknown field.'],
    [{ name: 'x', model: ['gpt-5'] }, 'model', 'model: unknown field. Did you mean models?'],
    [JSON.parse('{"name":"x","__proto__":{"a":1}}'), '__proto__', '__proto__: unknown field.'],
    [{ name: 'x', upstream_credential: 'a secret with spaces' }, 'upstream_credential', 'upstream_credential: expected a secret text of visible ASCII characters, got a value of 20 characters.'],
    [{ name: 'x', requests: { limit: { secret: 1 } } }, 'requests.limit', 'requests.limit: expected a whole number of at least 1, got a section of keys. Example: 60'],
    [[], 'body', 'body: expected an object of fields, got a list.'],
    [null, 'body', 'body: expected an object of fields, got nothing.'],
    [5, 'body', 'body: expected an object of fields, got a number.'],
  ];

  it('are refused with the field, what was expected, what came and an example', async (t) => {
    const { ask, asked, log } = await startAdmin(t);
    for (const [body, field, message] of wrong) {
      const answer = await ask('keys', { body: JSON.stringify(body), headers: { ...bearer, 'Content-Type': 'application/json' } });
      assert.deepEqual([problem(answer), messageOf(answer)], [[400, 'invalid_value', field], message]);
    }
    assert.deepEqual([asked, log.named('admin.change')], [[], []]);
  });

  it('are refused when the name is taken', async (t) => {
    const { ask, asked } = await startAdmin(t);
    for (const name of ['alice', 'fixed']) assert.deepEqual(problem(await ask('keys', { body: { name } })), [409, 'conflict', 'name']);
    assert.deepEqual(asked, []);
  });

  it('are rotated, with an overlap or none', async (t) => {
    const { ask, core, log } = await startAdmin(t);
    const answer = await ask('keys/alice/rotate', { body: { overlap: '2h' } });
    assert.deepEqual([answer.status, answer.json<{ key: string }>().key, answer.headers['cache-control']], [201, 'sk-a-rotated-key', 'no-store']);
    assert.equal(answer.json<{ previous_until: string }>().previous_until, new Date(core.clock.now() + 7_200_000).toISOString());
    assert.equal((await ask('keys/alice/rotate', { method: 'POST' })).json<{ previous_until: string }>().previous_until, new Date(core.clock.now()).toISOString());
    assert.deepEqual(problem(await ask('keys/alice/rotate', { body: { overlap: '-1s' } })), [400, 'invalid_value', 'overlap']);
    assert.deepEqual(problem(await ask('keys/nobody/rotate', { body: {} })), [404, 'not_found', null]);
    assert.deepEqual(log.named('admin.change').map(({ action }) => action), ['key.rotate', 'key.rotate']);
    assert.ok(!JSON.stringify(log.events).includes('sk-a-rot'));
  });

  it('are disabled, enabled and given an end, and the change is recorded', async (t) => {
    const { ask, log } = await startAdmin(t);
    const patch = (body: unknown) => ask('keys/alice', { method: 'PATCH', body });
    assert.equal((await patch({ disabled: true })).json<{ disabled: boolean }>().disabled, true);
    assert.deepEqual((await patch({ expires: '2026-06-01' })).json(), { ...shown, disabled: true, expires: '2026-06-01T00:00:00.000Z' });
    assert.deepEqual((await patch({ disabled: false, expires: null })).json(), shown);
    const bounds = { models: ['gpt-5'], cidrs: ['10.0.0.0/8'], requests: null, tokens: { limit: 9, window: '1h' }, concurrency: null, budget: { day: 1, month: null } };
    assert.deepEqual((await patch(bounds)).json(), { ...shown, ...bounds });
    assert.deepEqual((await patch({ budget: null, concurrency: 2, models: [] })).json(), { ...shown, ...bounds, budget: null, concurrency: 2, models: [] });
    assert.deepEqual(problem(await patch({ requests: { limit: 0 } })), [400, 'invalid_value', 'requests.limit']);
    const [, second] = log.named('admin.change') as unknown as { before: { expires: unknown }; after: { expires: unknown } }[];
    assert.deepEqual([second?.before.expires, second?.after.expires], [null, '2026-06-01T00:00:00.000Z']);
  });

  it('are changed by what can change alone', async (t) => {
    const { ask, log } = await startAdmin(t);
    const patch = async (body: unknown, name = 'alice') => problem(await ask(`keys/${name}`, { method: 'PATCH', body }));
    assert.deepEqual(await patch({}), [400, 'invalid_value', 'body']);
    for (const disabled of ['true', 1, null]) assert.deepEqual(await patch({ disabled }), [400, 'invalid_value', 'disabled']);
    assert.deepEqual(await patch({ name: 'bob' }), [400, 'invalid_value', 'name']);
    assert.deepEqual(await patch({ disabled: true }, 'nobody'), [404, 'not_found', null]);
    for (const [method, path] of [['PATCH', 'keys/fixed'], ['DELETE', 'keys/fixed'], ['POST', 'keys/fixed/rotate']] as const) {
      assert.deepEqual(problem(await ask(path, { method, body: method === 'PATCH' ? { disabled: true } : undefined })), [409, 'conflict', null]);
    }
    assert.deepEqual(log.named('admin.change'), []);
  });

  it('are removed', async (t) => {
    const { ask, keys, log } = await startAdmin(t);
    const answer = await ask('keys/alice', { method: 'DELETE' });
    assert.deepEqual([answer.status, answer.text, keys.has('alice')], [204, '', false]);
    assert.deepEqual(problem(await ask('keys/alice', { method: 'DELETE' })), [404, 'not_found', null]);
    const [change, ...others] = log.named('admin.change');
    assert.deepEqual([change?.['before'], change?.['after'], others], [shown, null, []]);
  });
});

describe('a body', () => {
  const json = { ...bearer, 'Content-Type': 'application/json' };

  it('is JSON of at most 64 KB, plain and in UTF-8, and is not quoted', async (t) => {
    const { ask, asked } = await startAdmin(t);
    const secret = 'a-secret-in-a-broken-body';
    for (const body of [`{"name":"${secret}`, `name=${secret}`, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), '{"name":"x"}}']) {
      const answer = await ask('keys', { body, headers: json });
      assert.deepEqual(problem(answer), [400, 'invalid_json', null]);
      assert.ok(!answer.text.includes('secret'));
    }
    assert.equal((await ask('keys', { body: gzipSync('{"name":"x"}'), headers: { ...json, 'Content-Encoding': 'gzip' } })).status, 415);
    assert.equal((await ask('keys', { body: '{"name":"x"}', headers: { ...bearer, 'Content-Type': 'text/plain' } })).status, 415);
    assert.equal((await ask('keys', { body: '{"name":"x"}', headers: bearer })).status, 415);
    assert.deepEqual(asked, []);
    assert.equal((await ask('keys', { body: `{"name":"x"}${' '.repeat(65_524)}`, headers: json })).status, 201);
  });

  it('that is longer is refused, announced or not', async (t) => {
    const { ask, asked } = await startAdmin(t);
    const body = `{"name":"x"}${' '.repeat(65_525)}`;
    assert.deepEqual(problem(await ask('keys', { body, headers: json })), [413, 'body_too_large', null]);
    assert.deepEqual(problem(await ask('keys', { body, headers: { ...json, 'Transfer-Encoding': 'chunked' } })), [413, 'body_too_large', null]);
    assert.deepEqual(asked, []);
  });

  it('that breaks off is nobody\'s mistake here', async (t) => {
    const { url, core, asked, log } = await startAdmin(t);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write(`POST /ops/api/keys HTTP/1.1\r\nHost: a\r\nAuthorization: ${bearer.Authorization}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"name":`);
    await until(() => core.inFlight.size === 1);
    socket.resetAndDestroy();
    await until(() => core.inFlight.size === 0);
    assert.deepEqual([asked, log.events], [[], []]);
  });

  it('of somebody without the token is not read', async (t) => {
    const { ask } = await startAdmin(t);
    const answer = await ask('keys', { body: ' '.repeat(200_000), headers: { 'Content-Type': 'application/json' } });
    assert.deepEqual([answer.status, answer.headers.connection], [401, 'close']);
  });
});

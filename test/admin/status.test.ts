import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { resources } from '../../lib/admin/table.ts';
import type { TargetStatus } from '../../types/target.d.ts';
import { bearer, aTarget, messageOf, problem, startAdmin, token } from './harness.ts';

const time = Date.UTC(2026, 0, 5);
const iso = (ms: number): string => new Date(ms).toISOString();
const down: TargetStatus = {
  ...aTarget, name: 'openai', provider: 'openai', credential: 'own', state: 'open', until: time + 5000, by: 'traffic', inHand: 3, weight: 2,
  lastProbe: { time, alive: true, status: 200, duration: 4 }, models: [{ model: 'gpt-5', state: 'resting', until: time + 1000, by: null }],
};

describe('targets', () => {
  it('are shown with their states, times as ISO 8601', async (t) => {
    const harness = await startAdmin(t);
    harness.targets = [aTarget, down];
    assert.deepEqual((await harness.ask('targets')).json(), {
      targets: [
        { name: 'newapi', provider: 'newapi', credential: 'caller', host: '127.0.0.1:3000', weight: 1, state: 'up', by: null, until: null, in_hand: 0, last_probe: null, models: [] },
        {
          name: 'openai', provider: 'openai', credential: 'own', host: '127.0.0.1:3000', weight: 2, state: 'open', by: 'traffic', until: iso(time + 5000), in_hand: 3,
          last_probe: { time: iso(time), alive: true, status: 200, duration: 4 }, models: [{ model: 'gpt-5', state: 'resting', until: iso(time + 1000), by: null }],
        },
      ],
    });
  });
});

it('the API is described by its own table', async (t) => {
  const { ask } = await startAdmin(t);
  const answer = await ask('openapi.json');
  assert.equal(answer.status, 200);
  const { openapi, servers, paths } = answer.json<{ openapi: string; servers: { url: string }[]; paths: Record<string, Record<string, { operationId: string; summary: string; parameters?: { name: string; in: string }[]; requestBody?: { content: { 'application/json': { schema: { properties: object } } } } }>> }>();
  assert.match(openapi, /^3\.1\./);
  assert.deepEqual(servers, [{ url: '/heimdall/api' }]);
  for (const { path, methods, what } of resources) {
    const described = paths[`/${path.replace(/:(\w+)\*?/g, '{$1}')}`] ?? {};
    assert.deepEqual([Object.keys(described), Object.keys(what)], [Object.keys(methods).map((name) => name.toLowerCase()), Object.keys(methods)], path);
    for (const { summary, parameters = [] } of Object.values(described)) {
      assert.ok(summary.length > 5, path);
      assert.deepEqual(parameters.filter((each) => each.in === 'path').map(({ name }) => name), [...path.matchAll(/:(\w+)/g)].map(([, name]) => name), path);
    }
  }
  const named = (path: string, method: string): string[] => {
    const { parameters = [], requestBody } = paths[path]?.[method] ?? assert.fail(path);
    return [...parameters.filter((each) => each.in === 'query').map(({ name }) => name), ...Object.keys(requestBody?.content['application/json'].schema.properties ?? {})].sort();
  };
  for (const [path, method, names] of [
    ['/findings/{id}/act', 'post', ['action', 'expires', 'reason']], ['/series', 'get', ['from', 'step', 'to']], ['/jobs', 'post', ['device', 'filters', 'format', 'ip', 'key', 'kind', 'token']],
    ['/events', 'get', ['key', 'model', 'outcome', 'own', 'rows', 'status', 'target', 'token']], ['/logs', 'get', ['count', 'cursor', 'grep', 'limit', 'order', 'own']], ['/queue', 'patch', ['concurrency']],
  ] as const) assert.deepEqual(named(path, method), names, path);
  const ids = Object.values(paths).flatMap((item) => Object.values(item).map(({ operationId }) => operationId));
  assert.equal(new Set(ids).size, ids.length);
});

describe('the queue', () => {
  const view = { enabled: true, concurrency: 10, active: 1, places: 4, waiting: 2, lanes: 2, websockets: { active: 0, limit: 7 }, service_time: 12.5 };

  it('is shown and resized, and the change is recorded', async (t) => {
    const { ask, log } = await startAdmin(t);
    assert.deepEqual((await ask('queue')).json(), view);
    const answer = await ask('queue', { method: 'PATCH', body: { concurrency: 25 } });
    assert.deepEqual([answer.status, answer.json()], [200, { ...view, concurrency: 25 }]);
    const [change] = log.named('admin.change');
    assert.deepEqual([change?.['action'], change?.['before'], change?.['after']], ['queue.resize', { concurrency: 10 }, { concurrency: 25 }]);
  });

  it('takes a whole number of at least 1 alone', async (t) => {
    const { ask, log } = await startAdmin(t);
    for (const concurrency of [0, -1, 1.5, '5', null, true, [5], 1e9]) assert.deepEqual(problem(await ask('queue', { method: 'PATCH', body: { concurrency } })), [400, 'invalid_value', 'concurrency']);
    for (const body of [{}, undefined]) assert.equal(messageOf(await ask('queue', { method: 'PATCH', body })), 'concurrency: expected a whole number from 1 to 1000000, got nothing. Example: 200');
    assert.deepEqual(problem(await ask('queue', { method: 'PATCH', body: { concurrency: 5, places: 5 } })), [400, 'invalid_value', 'places']);
    assert.deepEqual(((await ask('queue')).json<{ concurrency: number }>()).concurrency, 10);
    assert.deepEqual(log.named('admin.change'), []);
  });

  it('is not resized while it is switched off', async (t) => {
    const off = { enabled: false, concurrency: 10, active: 1, places: 0, waiting: 0, lanes: 0, serviceTime: null, websockets: { active: 0, limit: 1 } };
    const { ask } = await startAdmin(t, {}, { queue: { view: () => off, resize: () => assert.fail('resized') } });
    assert.deepEqual(problem(await ask('queue', { method: 'PATCH', body: { concurrency: 5 } })), [409, 'conflict', null]);
  });
});

describe('health', () => {
  it('says everything at one look', async (t) => {
    const { ask, core } = await startAdmin(t);
    const health = (await ask('health')).json<Record<string, unknown> & { memory: Record<string, number>; uptime: number }>();
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
    const { memory, uptime, journal, ...rest } = health;
    assert.deepEqual(
      { ...rest, targets: (rest['targets'] as unknown[]).length, queue: typeof rest['queue'] },
      { status: 'healthy', service: 'Heimdall Security Gateway', version, time: iso(core.clock.now()), mode: 'enforce', draining: false, requests_in_hand: 1, event_readers: 0, targets: 1, queue: 'object', registry: { available: true }, redis: { used: false, state: null }, certificates: [], resources: [], routes: [], sinks: [], anomaly: { mode: 'shadow', callers: 0, lag: 0 } },
    );
    assert.deepEqual(journal, { state: 'open', reason: null, since: null, last: 0, written: 0, dropped: { queue: 0, full: 0, invalid: 0, size: 0, memory: 0, undelivered: 0 }, waiting: 0, waiting_bytes: 0, bytes: 0 });
    assert.ok(uptime > 0 && Object.keys(memory).length === 5 && Object.values(memory).every((bytes) => bytes >= 0) && (memory['rss'] as number) > 1e6);
  });

  it('says how the journal does, and what follows it', async (t) => {
    const harness = await startAdmin(t);
    const { clock } = harness.core;
    const health = async (): Promise<Record<'status' | 'journal' | 'sinks', unknown>> => (await harness.ask('health')).json();
    const numbers = { lag: 3, delivered: 2, refused: 1, errors: 4 };
    harness.sinks = [
      { name: 'one', state: { kind: 'working' }, lagging: false, ...numbers },
      { name: 'two', state: { kind: 'held', reason: 'it rains', since: clock.now() }, lagging: false, ...numbers },
    ];
    const { status, sinks } = await health();
    assert.deepEqual([status, sinks], ['healthy', [{ name: 'one', state: 'working', reason: null, since: null, lagging: false, ...numbers }, { name: 'two', state: 'held', reason: 'it rains', since: iso(clock.now()), lagging: false, ...numbers }]]);
    for (const sink of [{ state: { kind: 'off', reason: 'nobody' }, lagging: false }, { state: { kind: 'working' }, lagging: true }] as const) {
      harness.sinks = [{ name: 'one', ...numbers, ...sink }];
      assert.equal((await health()).status, 'degraded');
    }
    harness.sinks = [];
    harness.journal = { ...harness.journal, state: { kind: 'full', reason: 'the disk is full', since: clock.now() } };
    const full = await health();
    const { state, reason, since } = full.journal as Record<string, unknown>;
    assert.deepEqual([full.status, state, reason, since], ['degraded', 'full', 'the disk is full', iso(clock.now())]);
  });

  it('calls a certificate a problem when it is ending, however short it is valid', async (t) => {
    const harness = await startAdmin(t);
    const ends = harness.core.clock.now() + 3_600_000;
    harness.certificates = [{ path: 'short.crt', ends, isEnding: false }, { path: 'long.crt', ends, isEnding: true }];
    assert.deepEqual((await harness.ask('health')).json<{ certificates: object[] }>().certificates, [{ name: 'short.crt', expires: iso(ends), ending: false }, { name: 'long.crt', expires: iso(ends), ending: true }]);
    assert.deepEqual((await harness.ask('overview')).json<{ problems: object[] }>().problems, [{ code: 'certificate', subject: 'long.crt', detail: iso(ends) }]);
  });

  it('says in one word how the gate does', async (t) => {
    const harness = await startAdmin(t);
    const status = async (): Promise<string> => (await harness.ask('health')).json<{ status: string }>().status;
    const cases: readonly (readonly [TargetStatus[], string])[] = [[[aTarget], 'healthy'], [[aTarget, down], 'degraded'], [[{ ...aTarget, state: 'probing' }], 'degraded'], [[down], 'unavailable'], [[{ ...aTarget, models: down.models }], 'degraded']];
    for (const [targets, word] of cases) {
      harness.targets = targets;
      assert.equal(await status(), word);
    }
    harness.core.draining = true;
    assert.equal(await status(), 'draining');
  });
});

it('the configuration is shown as a file would say it, secrets masked', async (t) => {
  const { ask } = await startAdmin(t, {
    secret: 'install-secret-of-some-length', previousSecrets: ['an-earlier-install-secret'], metrics: { token: 'metrics-token' },
    llm: { apiKey: 'the-own-key', backupProviders: [{ provider: 'openai', apiKey: 'the-backup-key' }] },
    auth: { keys: [{ name: 'a', sha256: 'ab'.repeat(32), upstreamCredential: 'sk-upstream' }] }, rateLimit: { redisUrl: 'redis://:the-password@127.0.0.1:6379' },
  });
  const answer = await ask('config');
  const config = answer.json<{ admin: Record<string, unknown>; queue: Record<string, unknown>; secret: string }>();
  assert.deepEqual([config.admin, config.queue['max_wait'], config.secret], [{ token: '***', read_token: null, path: '/heimdall', listen: null, client_ca_path: null, auth: 'token', read_from: 'journal', newapi_role: 10 }, '30s', '***']);
  for (const secret of [token, 'install-secret', 'earlier-install', 'metrics-token', 'the-own-key', 'the-backup-key', 'abab', 'sk-upstream', 'the-password']) assert.ok(!answer.text.includes(secret), secret);
});

it('a pasted configuration is checked by itself: no variable, file or address of the gate is looked at', async (t) => {
  const { ask } = await startAdmin(t, { secret: 'install-secret-of-some-length', admin: { readToken: 'a-token-that-may-only-read-0123456789' } });
  const check = async (yaml: unknown): Promise<{ ok: boolean; problems: { path: string; message: string }[]; warnings: string[]; config: Record<string, Record<string, unknown>> | null }> => {
    const answer = await ask('config/check', { method: 'POST', body: JSON.stringify({ yaml }), headers: { ...bearer, 'Content-Type': 'application/json' } });
    assert.equal(answer.status, 200, answer.text);
    assert.doesNotMatch(answer.text, /install-secret|root:|BEGIN|PATH=/);
    return answer.json();
  };
  const right = await check('newapi: {base_url: "http://newapi:3000"}\nadmin: {token: a-pasted-token-of-32-characters-or-more}\nqueue: {max_wait: 20s}');
  assert.deepEqual([right.ok, right.problems, right.config?.['queue']?.['max_wait'], right.config?.['admin']?.['token']], [true, [], '20s', '***']);
  process.env['HEIMDALL_TEST_PASTED'] = 'not-an-url';
  t.after(() => delete process.env['HEIMDALL_TEST_PASTED']);
  const rows: readonly (readonly [yaml: string, said: readonly RegExp[]])[] = [
    ['newapi: {base_url: "${HEIMDALL_TEST_PASTED}"}', []], ['newapi: {base_url: "${NOT_SET}"}\nsecret: "${HOME}"', []], ['admin: {token_file: /etc/passwd}', []], ['secret_file: /nowhere', []],
    ['server: {tls: {cert_path: /etc/passwd, key_path: /nowhere}}', []], ['newapi: {base_url: "https://a.example", ca_path: /etc/shadow}', []], ['audit: {path: /srv/x/y.db}', []],
    ['servr: {port: 1}', [/servr/]], ['server: {port: 99999999}', [/server\.port/]], ['a: [', [/^yaml:1/]], ['- 1', [/^yaml/]], ['server: {port: x}\nqueue: {max_wait: soon}', [/server\.port/, /queue\.max_wait/]],
    ['admin: {token: shh}', [/admin\.token/]], ['', []],
  ];
  for (const [yaml, said] of rows) {
    const { ok, problems } = await check(yaml);
    assert.equal(ok, said.length === 0, `${yaml} ${JSON.stringify(problems)}`);
    for (const pattern of said) assert.ok(problems.some(({ path, message }) => pattern.test(`${path}: ${message}`)), `${yaml} ${JSON.stringify(problems)}`);
    assert.doesNotMatch(JSON.stringify(problems), /shh|not-an-url/);
  }
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', ...Array.from({ length: 9 }, (_, at) => `${String.fromCharCode(98 + at)}: &${String.fromCharCode(98 + at)} [${Array(9).fill(`*${String.fromCharCode(97 + at)}`).join(',')}]`)].join('\n');
  assert.equal((await check(bomb)).ok, false);
  const refused = await ask('config/check', { method: 'POST', body: JSON.stringify({ yaml: 5 }), headers: { ...bearer, 'Content-Type': 'application/json' } });
  assert.equal(refused.status, 400);
  const reader = await ask('config/check', { method: 'POST', body: '{"yaml":""}', headers: { 'Content-Type': 'application/json', Authorization: 'Bearer a-token-that-may-only-read-0123456789' } });
  assert.equal(reader.status, 403);
});

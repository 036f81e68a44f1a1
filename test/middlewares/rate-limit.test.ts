import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RequestListener } from 'node:http';
import type { Clock } from '../../lib/index.ts';
import { until } from '../support/client.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, behind, chat, codeOf, token, type Behind } from './behind.ts';

/** NewAPI, as far as it refuses what is not the token. */
const judging: RequestListener = (req, res) => {
  const known = req.headers.authorization === `Bearer ${token}`;
  req.resume().on('end', () => res.writeHead(known || !req.url?.startsWith('/v1') ? 200 : 401, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{}'));
};
const from = (ip: string) => ({ 'X-Forwarded-For': ip });

async function statuses(gate: Behind, times: number, headers: Record<string, string>, path = '/v1/chat/completions'): Promise<number[]> {
  const found: number[] = [];
  for (let n = 0; n < times; n++) found.push((await gate.ask(path, { body: chat, headers })).status);
  return found;
}

describe('rate_limit by failures', () => {
  const address = { limit: 3, window: '60s' };

  it('stops an address after as many refusals as configured, and no other', async (t) => {
    const gate = await behind(t, { rateLimit: { address } }, judging);
    assert.deepEqual(await statuses(gate, 5, from('203.0.113.1')), [401, 401, 401, 429, 429]);
    assert.deepEqual(await statuses(gate, 1, { ...bearer, ...from('203.0.113.2') }), [200]);
    const refused = await gate.ask('/v1/models', { headers: from('203.0.113.1') });
    assert.equal(codeOf(refused), 'too_many_failures');
    assert.equal(refused.headers['x-should-retry'], 'false');
    assert.ok(Number(refused.headers['retry-after']) > 50 && Number(refused.headers['retry-after']) <= 60);
  });

  it('counts NewAPI\'s own refusals, and spends nothing on what it lets in', async (t) => {
    const gate = await behind(t, { rateLimit: { address } }, judging);
    assert.deepEqual(await statuses(gate, 5, { ...bearer, ...from('203.0.113.1') }), [200, 200, 200, 200, 200]);
    assert.deepEqual(await statuses(gate, 4, { Authorization: 'Bearer guess', ...from('203.0.113.1') }), [401, 401, 401, 429]);
  });

  it('lets those through who have proved their token, from the same address', async (t) => {
    const gate = await behind(t, { rateLimit: { address } }, judging);
    const office = from('203.0.113.1');
    assert.deepEqual(await statuses(gate, 1, { ...bearer, ...office }), [200]);
    assert.deepEqual(await statuses(gate, 4, office), [401, 401, 401, 429]);
    assert.deepEqual(await statuses(gate, 2, { ...bearer, ...office }), [200, 200]);
  });

  it('never stops a page, a webhook or a client that waits for its task', async (t) => {
    const gate = await behind(t, { rateLimit: { address } }, judging);
    await statuses(gate, 4, from('203.0.113.1'));
    for (const [method, path] of [['GET', '/'], ['GET', '/assets/app.js'], ['POST', '/api/stripe/webhook'], ['GET', '/mj/task/1/fetch']] as const) {
      assert.notEqual((await gate.ask(path, { method, headers: { ...bearer, ...from('203.0.113.1') } })).status, 429, path);
    }
  });

  it('does not close the dashboard for guesses of tokens, nor the API for guesses of passwords', async (t) => {
    const refusing: RequestListener = (req, res) => void req.resume().on('end', () => res.writeHead(401).end());
    const gate = await behind(t, { rateLimit: { address } }, refusing);
    const login = () => gate.ask('/api/user/login', { method: 'POST' });
    assert.deepEqual(await statuses(gate, 4, {}), [401, 401, 401, 429]);
    for (const status of [401, 401, 401, 429]) assert.equal((await login()).status, status);
    const other = await behind(t, { rateLimit: { address } }, refusing);
    for (let n = 0; n < 4; n++) await other.ask('/api/user/login', { method: 'POST' });
    assert.deepEqual(await statuses(other, 1, {}), [401]);
  });

  it('asks NewAPI about one new token of a blocked address a second, so that a right one gets in whatever others guess', async (t) => {
    let ahead = 0;
    const clock: Clock = { now: () => Date.now(), monotonic: () => ahead, setTimeout: (run, ms) => setTimeout(run, ms), clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout) };
    const held: (() => void)[] = [];
    const gate = await behind(t, { rateLimit: { address } }, (req, res) => (req.headers['x-held'] === undefined ? judging(req, res) : void held.push(() => judging(req, res))), { clock });
    let nth = 0;
    const guess = async (): Promise<number> => (await statuses(gate, 1, { Authorization: `Bearer guess-${nth++}` }))[0] as number;
    assert.deepEqual([await guess(), await guess(), await guess()], [401, 401, 401]);
    assert.equal(await guess(), 401, 'one is asked about at once');
    const later = await gate.ask('/v1/chat/completions', { body: chat, headers: bearer });
    assert.deepEqual([later.status, codeOf(later), later.headers['retry-after'], later.headers['x-should-retry']], [429, 'too_many_failures', '1', undefined]);
    ahead += 1000;
    assert.deepEqual(await statuses(gate, 1, { Authorization: 'Bearer guess-0' }), [429], 'a token that was refused is not asked about again');
    assert.deepEqual(await statuses(gate, 3, bearer), [200, 200, 200]);
    assert.equal(await guess(), 429);
    ahead += 1000;
    const waiting = gate.ask('/v1/chat/completions', { body: chat, headers: { Authorization: 'Bearer slow', 'X-Held': '1' } });
    await until(() => held.length > 0);
    ahead += 5000;
    assert.equal(await guess(), 429, 'one at a time');
    held[0]?.();
    assert.equal((await waiting).status, 401);
    assert.equal(await guess(), 401);
    const seen = gate.seen.length;
    for (let n = 0; n < 50; n++) assert.equal(await guess(), 429);
    assert.equal(gate.seen.length, seen);
  });

  it('takes a caller\'s IPv6 by its /56', async (t) => {
    const gate = await behind(t, { rateLimit: { address } }, judging);
    const spread = ['2001:db8:0:a1::1', '2001:db8:0:a2:ffff::2', '2001:db8:0:af::3'];
    for (const ip of spread) assert.deepEqual(await statuses(gate, 1, from(ip)), [401]);
    assert.deepEqual(await statuses(gate, 1, from('2001:db8:0:a9::9')), [429]);
    assert.deepEqual(await statuses(gate, 1, from('2001:db8:0:1b0::1')), [401]);
  });

  it('is over with the window', async (t) => {
    let ahead = 0;
    const clock: Clock = { now: () => Date.now(), monotonic: () => performance.timeOrigin + performance.now() + ahead, setTimeout: (run, ms) => setTimeout(run, ms), clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout) };
    const gate = await behind(t, { rateLimit: { address } }, judging, { clock });
    assert.deepEqual(await statuses(gate, 4, from('203.0.113.1')), [401, 401, 401, 429]);
    ahead = 59_000;
    assert.deepEqual(await statuses(gate, 1, from('203.0.113.1')), [429]);
    ahead = 60_001;
    assert.deepEqual(await statuses(gate, 1, from('203.0.113.1')), [401]);
  });

  it('exempts addresses and networks, not whoever is named like one', async (t) => {
    const gate = await behind(t, { rateLimit: { address, exempt: ['203.0.113.0/24', '2001:db8::/32', 'a-key-name'] } }, judging);
    for (const ip of ['203.0.113.1', '2001:db8::1']) assert.deepEqual(await statuses(gate, 5, from(ip)), [401, 401, 401, 401, 401]);
    assert.deepEqual(await statuses(gate, 4, from('198.51.100.1')), [401, 401, 401, 429]);
  });

  it('is switched off by a limit of 0, and only noted where the gate observes', async (t) => {
    const off = await behind(t, { rateLimit: { address: { limit: 0 } } }, judging);
    assert.deepEqual(new Set(await statuses(off, 6, {})), new Set([401]));
    const records = accessRecords(t);
    const observing = await behind(t, { mode: 'observe', rateLimit: { address }, logging: records.logging }, judging);
    assert.deepEqual(new Set(await statuses(observing, 5, {})), new Set([401]));
    const lines = (await records.atLeast(5)) as unknown as { would_refuse: string[] }[];
    assert.deepEqual(lines.at(-1)?.would_refuse, ['rate_limit', 'auth']);
  });
});

describe('rate_limit of all', () => {
  it('counts every request but those that are free', async (t) => {
    const gate = await behind(t, { rateLimit: { address: { limit: 3, count: 'all' } } }, judging);
    for (let n = 0; n < 5; n++) assert.equal((await gate.ask('/')).status, 200);
    assert.deepEqual(await statuses(gate, 5, bearer), [200, 200, 200, 429, 429]);
    assert.deepEqual(await statuses(gate, 1, { ...bearer, ...from('203.0.113.2') }), [200]);
    assert.equal((await gate.ask('/')).status, 200);
  });

  it('counts requests that arrive together', async (t) => {
    const gate = await behind(t, { rateLimit: { address: { limit: 10, count: 'all' } } }, judging);
    const answers = await Promise.all(Array.from({ length: 25 }, () => gate.ask('/v1/chat/completions', { body: chat, headers: bearer })));
    assert.equal(answers.filter(({ status }) => status === 200).length, 10);
    await until(() => gate.seen.length === 10);
  });
});

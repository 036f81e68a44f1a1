import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { closing, request, type Answer } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { journalOf } from '../support/journal.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';
import { nowhere } from '../support/upstream.ts';
import type { ConfigInput } from '../../lib/index.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const html = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

async function start(t: TestContext, config: ConfigInput = {}): Promise<RunningGate> {
  const newapi = closing(t, await startNewapi());
  return startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, audit: { path: join(temporary(t), 'heimdall.db') }, ...config });
}

const me = ({ url }: RunningGate, headers: Readonly<Record<string, string>>, path = '/heimdall/api/me'): Promise<Answer> => request(url + path, { headers });

interface Mine {
  readonly caller: { readonly id: string };
  readonly spend: { readonly day: number; readonly month: number };
  readonly limits: readonly { readonly rule: string; readonly limit: number; readonly remaining: number; readonly window: number | null }[];
  readonly requests: readonly Readonly<Record<string, unknown>>[];
  readonly findings: readonly unknown[];
}

test('a caller sees itself alone, by its own bearer token, from any address', async (t) => {
  const gate = await start(t, { rateLimit: { key: { requests: { limit: 5, window: 60_000 }, budget: { day: 2 } }, address: { limit: 3 } } });
  // Not verified yet: NewAPI is asked.
  const first = await me(gate, { ...bearer(DEMO_KEY), 'X-Forwarded-For': '198.51.100.9' });
  assert.deepEqual([first.status, first.json<Mine>().requests, first.headers['cache-control']], [200, [], 'no-store']);
  for (let nth = 0; nth < 2; nth++) await request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(DEMO_KEY) });
  await request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer('sk-somebody-else') });
  await journalOf(gate.gate).flush();
  const answer = await me(gate, bearer(DEMO_KEY));
  const mine = answer.json<Mine>();
  assert.deepEqual(mine.limits.map(({ rule, limit, remaining, window }) => [rule, limit, remaining, window]).slice(0, 1), [['key_limit.requests', 5, 3, 60]]);
  assert.deepEqual(mine.limits[1]?.rule, 'key_limit.budget.day');
  assert.deepEqual([mine.requests.length, mine.requests[0]?.['model'], mine.requests[0]?.['response_status'], mine.findings], [2, chat.model, 200, []]);
  assert.ok(String(mine.requests[0]?.['request_id']) > String(mine.requests[1]?.['request_id']));
  const hidden = ['request_body', 'response_body', 'request_headers', 'cookies', 'real_ip', 'forwarded_for', 'user_agent', 'device_fingerprint', 'device_id', 'session', 'session_id', 'home_id'];
  assert.deepEqual(mine.requests.flatMap((row) => hidden.filter((name) => name in row)), []);
  assert.equal((await me(gate, bearer(DEMO_KEY))).json<Mine>().limits[0]?.remaining, 3, 'a look takes nothing');
  for (const [headers, path] of [[{}, '/heimdall/api/me'], [{ Cookie: `key=${DEMO_KEY}` }, '/heimdall/api/me'], [{}, `/heimdall/api/me?key=${DEMO_KEY}`]] as const) assert.equal((await me(gate, headers, path)).status, 401);
  assert.equal((await me(gate, bearer('sk-guess'))).status, 429);
  assert.equal((await me(gate, bearer(DEMO_KEY))).status, 200, 'a good credential is not locked out');
  assert.equal((await me(gate, { ...bearer('sk-guess'), 'X-Forwarded-For': '198.51.100.9' })).status, 401, 'each address for itself');
});

test('the holder of a gateway key sees its requests by its name', async (t) => {
  const gate = await start(t, { auth: { mode: 'keys' } });
  const made = await request(`${gate.url}/heimdall/api/keys`, { headers: bearer(token), body: { name: 'alice', upstream_credential: DEMO_KEY, requests: { limit: 7, window: '1h' } } });
  const { key } = made.json<{ key: string }>();
  await request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(key) });
  await journalOf(gate.gate).flush();
  const mine = (await me(gate, bearer(key))).json<Mine>();
  assert.deepEqual([mine.caller.id, mine.requests.length, mine.limits[0]], ['alice', 1, { rule: 'key_limit.requests', limit: 7, remaining: 6, window: 3600 }]);
  assert.equal((await me(gate, bearer(token))).status, 401, 'the admin token is no caller');
});

test('a browser is told of errors by a page in its language, and programs and model routes as before', async (t) => {
  const gate = await startGate(t, { newapi: { baseUrl: await nowhere() }, admin: { token }, metrics: { token: 'metrics-token' } });
  const ask = (path: string, headers: Readonly<Record<string, string>>, method = 'GET'): Promise<Answer> => request(gate.url + path, { headers, method });
  for (const [path, status] of [['/', 502], ['/console', 502], ['/metrics', 401], ['/heimdall/nothing', 404]] as const) {
    const page = await ask(path, { ...html, 'Accept-Language': 'zh-CN,zh;q=0.9' });
    assert.deepEqual([page.status, page.headers['content-type'], page.headers['cache-control']], [status, 'text/html; charset=utf-8', 'no-store'], path);
    assert.match(String(page.headers['content-security-policy']), /^default-src 'none'/);
    assert.match(page.text, /<html lang="zh-CN">[^]*<title>([^<]+)<\/title>[^]*<h1>\1<\/h1>/);
    assert.ok(page.text.includes(String(page.headers['x-request-id'])) && page.body.length <= 12_288 && !/<script|src=|href=/.test(page.text));
    assert.equal(page.headers['retry-after'] !== undefined, status === 502);
    const head = await ask(path, html, 'HEAD');
    assert.deepEqual([head.status, head.headers['content-type'], head.text], [status, 'text/html; charset=utf-8', ''], path);
    assert.match((await ask(path, { ...html, 'Accept-Language': 'de' })).text, /<html lang="en">/);
  }
  for (const accept of ['*/*', 'text/html;q=0', 'application/json, text/html;q=0.9', 'text/html;q=0.5, */*']) assert.match(String((await ask('/', { Accept: accept })).headers['content-type']), /^application\/json/, accept);
  for (const path of ['/heimdall/api/keys', '/v1/models', '/v1/nothing', '/api/status']) assert.doesNotMatch(String((await ask(path, html)).headers['content-type']), /html/, path);
  const odd = await ask('/heimdall/%3Cscript%3Ealert(1)%3C/script%3E', html);
  assert.ok(!odd.text.includes('<script'));
});

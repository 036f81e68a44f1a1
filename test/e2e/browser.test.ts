import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { closing, request, type Answer, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { startNewapi, stripeSignature, type Newapi, type NewapiOptions } from '../support/newapi.ts';
import { shared } from '../support/shared.ts';
import { startUpstream } from '../support/upstream.ts';
import type { ConfigInput } from '../../lib/index.ts';

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
}

async function start(t: TestLike, options: NewapiOptions = {}, config: ConfigInput = {}): Promise<Scene> {
  const api = closing(t, await startNewapi(options));
  return { api, gate: await startGate(t, { ...config, newapi: { baseUrl: api.url } }) };
}

const common = shared((scope) => start(scope, { now: () => 1_767_571_200_000 }));

/** A stand-in that has seen nothing yet, and the gate before it. */
async function fresh(): Promise<Scene> {
  const scene = await common();
  scene.api.clear();
  return scene;
}

const login = (gate: RunningGate): Promise<Answer> =>
  request(`${gate.url}/api/user/login`, { body: { username: 'demo', password: 'demo-password' } });

/** `name=value` pairs as a browser sends them back. */
const jar = ({ headers }: Answer): string => (headers['set-cookie'] ?? []).map((line) => line.split(';', 1)[0]).join('; ');

/** Fields that may differ between two calls of the same thing, or are the gate's to say. */
const ours = new Set(['date', 'connection', 'keep-alive', 'x-oneapi-request-id', 'x-request-id', 'x-response-time', 'x-content-type-options']);

const comparable = ({ rawHeaders }: Answer): string[] => {
  const lines: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (!ours.has((rawHeaders[at] ?? '').toLowerCase())) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  }
  return lines;
};

for (const target of ['/', '/assets/app.js', '/api/status', '/console/token', '/favicon.ico', '/api/nothing', '/assets/missing.js']) {
  test(`${target} is what a direct call gets, byte for byte and header for header`, async () => {
    const { api, gate } = await fresh();
    const headers = { 'Accept-Encoding': 'gzip', Host: 'chat.example.com' };
    const direct = await request(api.url + target, { headers });
    const through = await request(gate.url + target, { headers });
    assert.equal(through.status, direct.status);
    assert.deepEqual(through.body, direct.body);
    assert.deepEqual(comparable(through), comparable(direct));
    assert.equal(through.headers['x-content-type-options'], 'nosniff');
    assert.match(String(through.headers['x-request-id']), /^[0-9a-f-]{36}$/);
    assert.match(String(through.headers['x-response-time']), /^\d+\.\d$/);
  });
}

test('a page gets no policy that its scripts, popups and images did not have before', async () => {
  const { gate } = await fresh();
  const { headers } = await request(gate.url);
  const policies = Object.keys(headers).filter((name) => /^(?:cross-origin|content-security|x-frame|referrer|permissions|strict-transport)/.test(name));
  assert.deepEqual(policies, []);
});

test('a cached asset is revalidated: 304 without a body, with the same ETag', async () => {
  const { gate } = await fresh();
  const first = await request(`${gate.url}/assets/app.js`);
  const etag = String(first.headers.etag);
  assert.equal(first.headers['cache-control'], 'max-age=604800');
  const again = await request(`${gate.url}/assets/app.js`, { headers: { 'If-None-Match': etag } });
  assert.deepEqual([again.status, again.body.length, again.headers.etag], [304, 0, etag]);
});

test('gzip arrives as the upstream packed it, and only when asked for', async () => {
  const { gate } = await fresh();
  const packed = await request(`${gate.url}/assets/app.js`, { headers: { 'Accept-Encoding': 'gzip' } });
  const plain = await request(`${gate.url}/assets/app.js`);
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.equal(packed.headers['content-length'], String(packed.body.length));
  assert.equal(plain.headers['content-encoding'], undefined);
  assert.deepEqual(gunzipSync(packed.body), plain.body);
});

test('logging in sets every cookie, and the session they make works', async () => {
  const { gate } = await fresh();
  const entered = await login(gate);
  assert.equal(entered.headers['set-cookie']?.length, 2);
  assert.match(entered.headers['set-cookie']?.[0] ?? '', /^session=.+; HttpOnly; SameSite=Strict$/);
  const headers = { Cookie: jar(entered), 'New-Api-User': '1' };
  const self = await request(`${gate.url}/api/user/self`, { headers });
  assert.deepEqual(self.json<{ data: { username: string } }>().data.username, 'demo');
  const stranger = await request(`${gate.url}/api/user/self`, { headers: { 'New-Api-User': '1' } });
  assert.equal(stranger.status, 401);
  await request(`${gate.url}/api/user/logout`, { headers });
  assert.equal((await request(`${gate.url}/api/user/self`, { headers })).status, 401);
});

test('the usage log below /api/log belongs to NewAPI', async () => {
  const { gate } = await fresh();
  const headers = { Cookie: jar(await login(gate)), 'New-Api-User': '1' };
  for (const path of ['/api/log/', '/api/log/self', '/api/log/?p=1&size=10']) {
    const { status, json } = await request(gate.url + path, { headers });
    assert.equal(status, 200, path);
    assert.deepEqual(json<{ data: { items: unknown[] } }>().data.items, [], path);
  }
});

test('own paths are matched exactly: what lies below and beside them is the upstream\'s', async (t) => {
  const { api, gate } = await start(t, {}, { metrics: { token: 'a-token-for-metrics' } });
  assert.equal((await request(`${gate.url}/health`)).json<{ status: string }>().status, 'healthy');
  assert.equal((await request(`${gate.url}/metrics`)).status, 401);
  assert.equal(api.requests.length, 0);
  const beside = ['/health/', '/healthy', '/health/other', '/metrics/', '/metrics/x', '/Health', '/console/health'];
  for (const path of beside) assert.match((await request(gate.url + path)).text, /NewAPI stand-in/, path);
  assert.deepEqual(api.requests.map(({ url }) => url), beside);
});

test('an OAuth redirect leads back to the scheme and host the browser used', async () => {
  const { api, gate } = await fresh();
  const answer = await request(`${gate.url}/api/oauth/linuxdo`, { headers: { Host: 'chat.example.com' } });
  assert.equal(answer.status, 302);
  const back = new URL(String(answer.headers.location)).searchParams.get('redirect_uri');
  assert.equal(back, 'http://chat.example.com/oauth/linuxdo');
  const [{ headers } = assert.fail()] = api.requests;
  assert.equal(headers['x-forwarded-proto'], 'http');
  assert.equal(headers['x-forwarded-host'], 'chat.example.com');
  assert.equal(headers['x-forwarded-port'], '80');
});

const forged = {
  Host: 'internal:8000', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'chat.example.com', 'X-Forwarded-For': '203.0.113.7',
  'X-Real-IP': '203.0.113.8', 'X-Forwarded-Port': '9', 'CF-Connecting-IP': '203.0.113.9', Forwarded: 'for=203.0.113.10', 'X-Original-URL': '/admin',
};

test('behind a trusted proxy its scheme, host and client count', async () => {
  const { api, gate } = await fresh();
  const answer = await request(`${gate.url}/api/oauth/linuxdo`, { headers: forged });
  assert.match(String(answer.headers.location), /redirect_uri=https%3A%2F%2F/);
  const [{ headers } = assert.fail()] = api.requests;
  assert.equal(headers['x-forwarded-proto'], 'https');
  assert.equal(headers['x-forwarded-host'], 'chat.example.com');
  assert.equal(headers['x-forwarded-port'], '443');
  assert.equal(headers['x-forwarded-for'], '203.0.113.7');
  assert.equal(headers['x-real-ip'], '203.0.113.7');
  assert.equal(headers.host, 'internal:8000');
  for (const name of ['cf-connecting-ip', 'forwarded', 'x-original-url']) assert.equal(headers[name], undefined, name);
});

test('a peer that is not trusted is believed nothing', async (t) => {
  const { api, gate } = await start(t, {}, { trustProxy: ['192.0.2.1'] });
  const answer = await request(`${gate.url}/api/oauth/linuxdo`, { headers: forged });
  assert.match(String(answer.headers.location), /redirect_uri=http%3A%2F%2Finternal%3A8000/);
  const [{ headers } = assert.fail()] = api.requests;
  assert.equal(headers['x-forwarded-proto'], 'http');
  assert.equal(headers['x-forwarded-host'], 'internal:8000');
  assert.equal(headers['x-forwarded-port'], '8000');
  assert.equal(headers['x-forwarded-for'], '127.0.0.1');
  assert.equal(headers['x-real-ip'], '127.0.0.1');
  for (const name of ['cf-connecting-ip', 'forwarded', 'x-original-url']) assert.equal(headers[name], undefined, name);
});

test('a payment\'s signature holds, since its body arrives as it was sent', async (t) => {
  const { api, gate } = await start(t, { stripeSecret: 'whsec_test' });
  const body = Buffer.from('{ "type":"checkout.session.completed",\n "amount": 1.0, "name": "Zo\\u00eb ü" }\r\n');
  const seconds = Math.floor(Date.now() / 1000);
  const headers = { 'Stripe-Signature': stripeSignature(body, 'whsec_test', seconds), 'Content-Type': 'application/json; charset=utf-8' };
  assert.equal((await request(`${gate.url}/api/stripe/webhook`, { headers, body })).status, 200);
  assert.deepEqual(api.requests[0]?.body, body);
  assert.equal((await request(`${gate.url}/api/stripe/webhook`, { headers, body: Buffer.concat([body, Buffer.from(' ')]) })).status, 400);
});

test('paths and queries arrive as they were written', async () => {
  const { api, gate } = await fresh();
  const targets = [
    '/v1beta/models/gemini-2.5-flash:countTokens?key=sk-abc', '/a//b///c', '/a/../b', '/a/./b', '/%7Euser/%2e%2e/x', '/x?a=%20b+c&a=2&&=&b', '/x?url=http://a.test/?q=1',
    '/x??', '/x?', '//', '//x:y', '//[::1', '///', '/a;b=c/d,e', "/it's(fine)!*", '/%E4%BD%A0/x?q=%00', '/x?q="<>|\\^`{}', '/mj/task/1:2/fetch',
  ];
  for (const target of targets) await request(gate.url, { target, headers: { Authorization: 'Bearer sk-none' } });
  assert.deepEqual(api.requests.map(({ url }) => url), targets);
  // No browser sends these; receivers read them in different ways.
  for (const target of ['/x?q=1#f', '/x#/../y', '/\\\\x:y', '/a\\..\\b']) assert.equal((await request(gate.url, { target })).status, 400, target);
  assert.equal(api.requests.length, targets.length);
});

test('redirects are passed on, not followed', async (t) => {
  const asked: string[] = [];
  const upstream = await startUpstream(t, (req, res) => {
    asked.push(req.url ?? '');
    res.writeHead(Number(req.url?.slice(1)), { Location: '/elsewhere' }).end();
  });
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
  for (const status of [301, 302, 303, 307, 308]) {
    const answer = await request(`${gate.url}/${status}`);
    assert.deepEqual([answer.status, answer.headers.location], [status, '/elsewhere']);
  }
  assert.equal(asked.length, 5);
});

test('an upstream below a path gets that path in front of every other', async (t) => {
  const asked: string[] = [];
  const upstream = await startUpstream(t, (req, res) => {
    asked.push(req.url ?? '');
    res.writeHead(204).end();
  });
  for (const baseUrl of [`${upstream.url}/new/api`, `${upstream.url}/new/api/`]) {
    asked.length = 0;
    const gate = await startGate(t, { newapi: { baseUrl } });
    for (const target of ['/', '/?a=1', '/api/status?b=%2F', '//x', '/assets/app.js']) await request(gate.url, { target });
    await request(`${gate.url}/v1/models`, { headers: { Authorization: 'Bearer sk-none' } });
    assert.deepEqual(asked, ['/new/api/', '/new/api/?a=1', '/new/api/api/status?b=%2F', '/new/api//x', '/new/api/assets/app.js', '/new/api/v1/models'], baseUrl);
  }
});

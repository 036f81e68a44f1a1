import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import express, { type Express, type RequestHandler } from 'express';
import type { ConfigInput } from '../../lib/index.ts';
import { openConfigured } from '../../lib/server/admin.ts';
import { closing, openStream, request, until, type Answer, type RequestOptions } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, chat } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const carrying = bearer(token);
const codeOf = (answer: Answer): string => answer.json<{ error: { code: string } }>().error.code;

interface Scene extends RunningGate {
  readonly newapi: Newapi;
  /** Asks the gate's own port for a path below the API. */
  api(path: string, options?: RequestOptions): Promise<Answer>;
}

async function start(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, ...config, admin: { token, ...config.admin } });
  return { ...gate, newapi, api: (path, options = {}) => request(`${gate.url}/heimdall/api/${path}`, { headers: carrying, ...options }) };
}

test('a gateway key is made, used, rotated, disabled and removed by the API', async (t) => {
  const { api, url, newapi } = await start(t, { auth: { mode: 'keys' } });
  const ask = async (key: string): Promise<number> => (await request(`${url}/v1/chat/completions`, { body: chat, headers: bearer(key) })).status;
  const made = await api('keys', { body: { name: 'team', upstream_credential: DEMO_KEY } });
  assert.deepEqual([made.status, made.headers['cache-control']], [201, 'no-store']);
  const { key } = made.json<{ key: string }>();
  assert.equal(await ask(key), 200);
  assert.equal(newapi.requests.at(-1)?.headers.authorization, `Bearer ${DEMO_KEY}`);
  const rotated = (await api('keys/team/rotate', { body: { overlap: '1h' } })).json<{ key: string }>().key;
  assert.deepEqual([await ask(key), await ask(rotated)], [200, 200]);
  await api('keys/team', { method: 'PATCH', body: { disabled: true } });
  assert.deepEqual([await ask(key), await ask(rotated)], [401, 401]);
  await api('keys/team', { method: 'PATCH', body: { disabled: false } });
  assert.equal(await ask(rotated), 200);
  const list = await api('keys');
  assert.equal(list.json<{ keys: unknown[] }>().keys.length, 1);
  for (const secret of [key, rotated, DEMO_KEY]) assert.ok(!list.text.includes(secret.slice(3, 30)));
  assert.equal((await api('keys/team', { method: 'DELETE' })).status, 204);
  assert.equal(await ask(rotated), 401);
});

test('a ban by the API keeps an address out, and is taken back', async (t) => {
  const { api, url } = await start(t);
  const from = (ip: string): Promise<Answer> => request(`${url}/api/status`, { headers: { 'X-Forwarded-For': ip } });
  assert.equal((await api('bans', { body: { value: '192.0.2.0/24', reason: 'test' } })).status, 201);
  assert.deepEqual([(await from('192.0.2.9')).status, (await from('192.0.3.9')).status], [403, 200]);
  assert.equal((await api('bans/192.0.2.0%2F24', { method: 'DELETE' })).status, 204);
  assert.equal((await from('192.0.2.9')).status, 200);
});

test('the queue grows while the gate runs, and who waited goes on', async (t) => {
  const held: ServerResponse[] = [];
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => void held.push(res)));
  const { url } = await startGate(t, { newapi: { baseUrl: upstream.url }, admin: { token }, queue: { concurrency: 1 } });
  const queue = async (options: RequestOptions = {}): Promise<{ active: number; waiting: number; concurrency: number }> => (await request(`${url}/heimdall/api/queue`, { headers: carrying, ...options })).json();
  const asked = [1, 2].map(() => request(`${url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: chat }));
  await until(async () => (await queue()).waiting === 1);
  assert.deepEqual([(await queue()).active, held.length], [1, 1]);
  assert.equal((await queue({ method: 'PATCH', body: { concurrency: 2 } })).concurrency, 2);
  await until(() => held.length === 2);
  for (const res of held) res.setHeader('Content-Type', 'application/json').end('{}');
  assert.deepEqual((await Promise.all(asked)).map(({ status }) => status), [200, 200]);
  assert.deepEqual((await queue()).waiting, 0);
});

test('targets, health and configuration are shown without a secret', async (t) => {
  const { api, newapi } = await start(t, { llm: { backupProviders: [{ provider: 'openai', endpoint: 'http://127.0.0.1:1/v1', apiKey: 'the-secret-of-the-backup' }] }, secret: 'the-install-secret-of-this-gate' });
  const { targets } = (await api('targets')).json<{ targets: { name: string; credential: string; host: string }[] }>();
  assert.deepEqual(targets.map(({ name, credential, host }) => [name, credential, host]), [['newapi', 'caller', new URL(newapi.url).host], ['openai', 'own', '127.0.0.1:1']]);
  const health = await api('health');
  assert.equal(health.json<{ status: string }>().status, 'healthy');
  const config = await api('config');
  assert.equal(config.json<{ newapi: { base_url: string } }>().newapi.base_url, newapi.url);
  for (const { text } of [health, config]) for (const secret of ['the-secret-of', 'the-install-secret', token]) assert.ok(!text.includes(secret));
});

test('without a token the paths are NewAPI\'s', async (t) => {
  const { api, newapi } = await start(t, { admin: { token: null } });
  await api('keys');
  assert.equal(newapi.requests.at(-1)?.url, '/heimdall/api/keys');
});

test('paths beside the admin\'s are NewAPI\'s, however they are written', async (t) => {
  const { url, newapi } = await start(t);
  for (const path of ['/heimdallx', '/heimdal/', '/heimdallx/api/keys']) {
    await request(url + path, { headers: carrying });
    assert.equal(newapi.requests.at(-1)?.url, path);
  }
  const before = newapi.requests.length;
  for (const target of ['//heimdall//api/keys', '/heimdall/./api/keys', '/x/../heimdall/api/keys', '/heimdall%2Fapi%2Fkeys', '/heimdall/ap%69/keys']) {
    assert.equal((await request(url, { target })).status, 401, target);
  }
  assert.equal(newapi.requests.length, before, 'nothing of it reaches NewAPI');
});

test('an answer has the gate\'s headers, a line in the access log and a place in the metrics', async (t) => {
  const records = accessRecords(t);
  const { api, url } = await start(t, { logging: records.logging, metrics: { token: 'metrics-token' } });
  const answer = await api('keys/nobody');
  assert.equal(answer.status, 404);
  assert.ok(answer.headers['x-request-id'] && answer.headers['x-response-time'] && answer.headers['x-frame-options']);
  await api('health', { headers: {} });
  const lines = await records.atLeast(2);
  assert.deepEqual(lines.map(({ status, route, outcome }) => [status, route, outcome]), [[404, '/heimdall/api/keys/:name', 'refused:not_found'], [401, '/heimdall/api/health', 'refused:unauthorized']]);
  const { text } = await request(`${url}/metrics`, { headers: bearer('metrics-token') });
  assert.match(text, /request_duration_seconds_count\{route="\/heimdall\/api\/keys\/:name",method="GET",status="4xx"\} 1/);
});

test('mode observe asks for the token and limits guesses all the same', async (t) => {
  const { api } = await start(t, { mode: 'observe', rateLimit: { address: { limit: 2 } } });
  const statuses: number[] = [];
  for (let n = 0; n < 3; n++) statuses.push((await api('keys', { headers: bearer('a-guess') })).status);
  assert.deepEqual(statuses, [401, 401, 429]);
});

test('the gate\'s CORS answers open the API to nobody', async (t) => {
  const { url } = await start(t, { cors: { allowOrigins: ['*'] } });
  const headers = { Origin: 'https://evil.example.com', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization' };
  const preflight = await request(`${url}/heimdall/api/keys`, { method: 'OPTIONS', headers });
  const answer = await request(`${url}/heimdall/api/keys`, { headers: { ...carrying, Origin: 'https://evil.example.com' } });
  assert.deepEqual([preflight.status, answer.status], [401, 200]);
  for (const each of [preflight, answer]) assert.equal(each.headers['access-control-allow-origin'], undefined);
});

test('who watches sees requests, refused guesses and changes as they happen', async (t) => {
  const { api, url } = await start(t);
  const stream = await openStream(`${url}/heimdall/api/events`, { headers: carrying });
  t.after(() => stream.abort());
  await until(() => stream.text.includes('connected'));
  await request(`${url}/v1/chat/completions`, { body: chat, headers: bearer(DEMO_KEY) });
  await api('keys', { headers: bearer('a-guess') });
  await api('bans', { body: { value: '192.0.2.1' } });
  interface Event { readonly [field: string]: unknown }
  const all = (kind: string): Event[] => stream.events.filter(({ event }) => event === kind).map(({ data = '' }) => JSON.parse(data) as Event);
  await until(() => all('request').length === 3 && all('log').some(({ event }) => event === 'admin.change'));
  const [seen] = all('request');
  assert.deepEqual([seen?.['route'], seen?.['model'], seen?.['status'], seen?.['outcome'], seen?.['ip']], ['/v1/chat/completions', 'gpt-4o-mini', 200, 'served', '127.0.0.1']);
  assert.match(String(seen?.['token']), /^[0-9a-f]{16}$/);
  const change = all('log').find(({ event }) => event === 'admin.change');
  assert.deepEqual([change?.['action'], change?.['subject'], change?.['ip']], ['ban.create', '192.0.2.1', '127.0.0.1']);
  assert.match(String(change?.['token']), /^[0-9a-f]{16}$/);
  assert.ok(all('log').some(({ event, ip }) => event === 'admin.auth_failed' && ip === '127.0.0.1'));
  for (const secret of [token, 'a-guess', DEMO_KEY.slice(3, 30)]) assert.ok(!stream.text.includes(secret), secret);
});

test('bans are of the chain: who reads events at the API\'s own door goes on, who reads them at the gate\'s is cut', async (t) => {
  const { gate, api, url } = await start(t, { admin: { listen: '127.0.0.1:0' } });
  const own = String(await openConfigured(gate));
  const streams = await Promise.all([url + '/heimdall/api', own].map((base) => openStream(`${base}/events`, { headers: carrying })));
  t.after(() => streams.forEach((stream) => stream.abort()));
  assert.equal((await api('bans', { body: { value: '127.0.0.1', force: true } })).status, 201);
  await streams[0]?.done;
  assert.equal((await api('queue')).status, 403);
  assert.equal((await request(`${own}/bans/127.0.0.1`, { method: 'DELETE', headers: carrying })).status, 204);
  assert.equal((await api('queue')).status, 200);
  await until(() => streams[1]?.text.includes('"ban.remove"'));
});

test('a reader of events does not hold up the drain', async (t) => {
  const { url, gate } = await start(t);
  const stream = await openStream(`${url}/heimdall/api/events`, { headers: carrying });
  // Longer than a test may take.
  await gate.close({ timeout: 600_000 });
  await stream.done;
  assert.equal(stream.complete, true);
});

const password = 'the-host-s-own-password';

/** An application with a login of its own: a cookie. */
function login(app: Express): void {
  app.post('/login', (_req, res) => void res.setHeader('Set-Cookie', `session=${password}; HttpOnly`).json({ in: true }));
}

const demandsLogin: RequestHandler = (req, res, next) => {
  if (req.headers.cookie?.includes(password)) return next();
  res.status(401).send('the host\'s login');
};

async function host(t: TestContext, config: ConfigInput, mount: (app: Express, gate: RunningGate['gate']) => void): Promise<string> {
  const { gate } = await start(t, config);
  const app = express();
  login(app);
  mount(app, gate);
  app.use((_req, res) => void res.status(404).send('the host\'s 404'));
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('below another path of an application, behind its own login, the API works with nothing more', async (t) => {
  const url = await host(t, { admin: { auth: 'host' } }, (app, gate) => app.use('/office/gate', demandsLogin, express.json(), gate.admin));
  const cookie = String((await request(`${url}/login`, { method: 'POST' })).headers['set-cookie']).split(';')[0] as string;
  assert.equal((await request(`${url}/office/gate/api/keys`)).text, 'the host\'s login');
  assert.equal((await request(`${url}/office/gate/api/keys`, { headers: carrying })).status, 401, 'the gate\'s token is no login of the host\'s');
  const made = await request(`${url}/office/gate/api/keys`, { headers: { Cookie: cookie, 'Content-Type': 'application/json' }, body: '{"name":"x"}' });
  assert.equal(made.status, 201);
  assert.equal((await request(new URL(String(made.headers.location), `${url}/office/gate/api/keys`), { headers: { Cookie: cookie } })).json<{ name: string }>().name, 'x');
  assert.deepEqual([made.headers['cache-control'], made.headers['x-content-type-options']], ['no-store', 'nosniff']);
  const forged = await request(`${url}/office/gate/api/keys/x`, { method: 'DELETE', headers: { Cookie: cookie, 'Sec-Fetch-Site': 'cross-site' } });
  assert.deepEqual([forged.status, codeOf(forged)], [403, 'cross_site']);
  const stream = await openStream(`${url}/office/gate/api/events`, { headers: { Cookie: cookie } });
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  stream.abort();
  assert.equal((await request(`${url}/office/gate/other`, { headers: { Cookie: cookie } })).text, 'the host\'s 404');
});

test('below another path of an application the API demands its token, where the host leaves it to it', async (t) => {
  const url = await host(t, {}, (app, gate) => app.use('/a/b', gate.admin));
  assert.deepEqual([(await request(`${url}/a/b/api/health`)).status, (await request(`${url}/a/b/api/health`, { headers: carrying })).status], [401, 200]);
});

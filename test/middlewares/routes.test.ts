import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { RouteInput } from '../../lib/index.ts';
import { rawRequest, request, until } from '../support/client.ts';
import { recorder, temporary } from '../support/gate.ts';
import { bearer, behind, chat, codeOf, gatewayKey, keyed, listed } from './behind.ts';

const completion = { model: 'gpt-4o', prompt: 'Hello' };
const own: RouteInput = { path: '/ask', handler: 'completion', version: 'v2' };

/** An access log in a file of its own. */
function logged(t: TestContext) {
  const file = join(temporary(t), 'access.log');
  const lines = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []).map((line) => JSON.parse(line) as { route: string; would_refuse: string[] });
  return { lines, logging: { file } };
}

describe('a configured route', () => {
  it('carries a call under another path, with the chain\'s demands on that call', async (t) => {
    const { ask, seen } = await behind(t, { routes: [own] });
    const path = '/v2/ask?x=1';
    assert.deepEqual([(await ask(path, { body: completion })).status, (await ask(path, { body: 'no json', headers: { ...bearer, 'Content-Type': 'application/json' } })).status], [401, 400]);
    assert.equal((await ask(path, { body: completion, headers: bearer })).status, 200);
    assert.deepEqual(seen.map(({ method, url }) => `${method} ${url}`), ['POST /v1/completions?x=1']);
    assert.equal((await ask('/v2/%61sk/', { body: completion, headers: bearer })).status, 200);
    assert.equal(seen[1]?.url, '/v1/completions');
  });

  it('takes the credential from where the call has it, not from where its own path would', async (t) => {
    const { ask, seen } = await behind(t, { routes: [{ path: '/x/v1/messages', handler: 'chat' }] });
    assert.equal((await ask('/x/v1/messages', { body: chat, headers: { 'x-api-key': 'sk-somebody' } })).status, 401);
    assert.equal((await ask('/x/v1/messages', { body: chat, headers: { ...bearer, 'x-api-key': 'sk-somebody' } })).status, 200);
    assert.equal(seen[0]?.url, '/v1/chat/completions');
  });

  it('leaves every other path as it is', async (t) => {
    const { ask, seen } = await behind(t, { routes: [own, { path: '/v1/completions', headers: { 'X-Version': '1' } }] });
    await ask('/v1/chat/completions', { body: chat, headers: bearer });
    await ask('/ask', { body: chat });
    await ask('/v2/ask/more', { body: chat });
    assert.deepEqual(seen.map(({ url }) => url), ['/v1/chat/completions', '/ask', '/v2/ask/more']);
  });
});

describe('the methods of a route', () => {
  it('are the only ones it serves, a preflight apart', async (t) => {
    const { ask, seen } = await behind(t, { routes: [own, { path: '/docs', methods: ['GET', 'delete' as 'DELETE'] }] });
    for (const method of ['GET', 'PUT', 'PURGE']) {
      const answer = await ask('/v2/ask', { method });
      assert.deepEqual([answer.status, answer.headers.allow], [405, 'POST'], method);
      assert.equal(answer.json<{ success: boolean }>().success, false);
    }
    const docs = await ask('/docs/', { method: 'POST', body: {} });
    assert.deepEqual([docs.status, docs.headers.allow, seen.length], [405, 'GET, HEAD, DELETE', 0]);
    for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS']) await ask('/docs', { method });
    await ask('/v2/ask', { method: 'OPTIONS', headers: { Origin: 'https://app.test', 'Access-Control-Request-Method': 'POST' } });
    assert.deepEqual(seen.map(({ method, url }) => `${method} ${url}`), ['GET /docs', 'HEAD /docs', 'DELETE /docs', 'OPTIONS /docs', 'OPTIONS /v1/completions']);
  });
});

describe('the headers of a route', () => {
  it('are demanded of every request, by name and value, in the route\'s dialect', async (t) => {
    const { ask, seen } = await behind(t, { routes: [{ path: '/v1/messages', headers: { 'X-Api-Version': '2', 'Content-Type': 'application/json', 'X-Any': '*' } }] });
    const sent = { ...bearer, 'Content-Type': 'application/json; charset=utf-8', 'x-any': 'a' };
    const body = JSON.stringify(chat);
    const missing = await ask('/v1/messages', { body, headers: sent });
    assert.equal(missing.status, 400);
    assert.deepEqual(missing.json<{ type: string; error: object }>().error, { type: 'invalid_request_error', message: 'header x-api-version: expected by this route, got nothing.' });
    const wrong = await ask('/v1/messages', { body, headers: { ...sent, 'X-API-VERSION': '20' } });
    assert.equal(wrong.json<{ error: { message: string } }>().error.message, 'header x-api-version: expected the value this route asks for, got another.');
    const { 'x-any': _, ...without } = sent;
    assert.match((await ask('/v1/messages', { body, headers: { ...without, 'X-Api-Version': '2' } })).text, /header x-any: expected/);
    assert.equal(seen.length, 0);
    assert.equal((await ask('/v1/messages', { body, headers: { ...sent, 'X-Api-Version': '2' } })).status, 200);
    assert.equal((await ask('/v1/messages', { method: 'OPTIONS' })).status, 200);
  });

  it('are named in the error of a call', async (t) => {
    const { ask } = await behind(t, { routes: [{ path: '/v1/completions', headers: { 'X-Tenant': '*' } }] });
    const answer = await ask('/v1/completions', { body: completion, headers: bearer });
    assert.deepEqual([answer.status, codeOf(answer), answer.json<{ error: { param: string } }>().error.param, answer.headers['x-should-retry']], [400, 'missing_header', 'x-tenant', 'false']);
  });

  it('are demanded of a WebSocket too', async (t) => {
    const { port, seen } = await behind(t, { routes: [{ path: '/v1/realtime', headers: { 'X-Tenant': '*' } }] });
    const upgrade = `GET /v1/realtime HTTP/1.1\r\nHost: gate\r\nAuthorization: ${bearer.Authorization}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n`;
    assert.match(String(await rawRequest(port, `${upgrade}\r\n`)), /^HTTP\/1\.1 400 [^]*header x-tenant: expected/);
    assert.equal(seen.length, 0);
  });

  it('are noted and not demanded while the gate observes', async (t) => {
    const { lines, logging } = logged(t);
    const { ask } = await behind(t, { mode: 'observe', logging, routes: [{ path: '/v1/completions', methods: ['POST'], headers: { 'X-Tenant': 't' } }] });
    assert.equal((await ask('/v1/completions', { body: completion, headers: bearer })).status, 200);
    assert.equal((await ask('/v1/completions', { method: 'GET', headers: bearer })).headers.allow, undefined);
    await until(() => lines().length === 2);
    assert.deepEqual(lines().map((line) => line.would_refuse), [['routes.headers'], ['routes.methods', 'routes.headers']]);
  });
});

describe('the parts of a route', () => {
  const off = { middleware: [] as const };

  it('run for it where the configuration leaves them out', async (t) => {
    const { ask } = await behind(t, { ...off, cors: { allowOrigins: ['https://app.test'] }, routes: [{ path: '/v1/completions', middleware: ['request_timer', 'security_headers', 'cors', 'auth'] }] });
    const headers = { Origin: 'https://app.test' };
    const mine = await ask('/v1/completions', { body: completion, headers });
    assert.deepEqual([mine.status, mine.headers['access-control-allow-origin'], mine.headers['x-frame-options']], [401, 'https://app.test', 'SAMEORIGIN']);
    assert.match(String(mine.headers['x-response-time']), /^\d/);
    const preflight = await ask('/v1/completions', { method: 'OPTIONS', headers: { ...headers, 'Access-Control-Request-Method': 'POST' } });
    assert.deepEqual([preflight.status, preflight.headers['access-control-allow-origin']], [204, 'https://app.test']);
    const other = await ask('/v1/chat/completions', { body: chat, headers });
    assert.deepEqual([other.status, other.headers['access-control-allow-origin'], other.headers['x-response-time']], [200, undefined, undefined]);
  });

  it('limit its refused credentials before auth, whatever the order they are listed in', async (t) => {
    const { ask } = await behind(t, { ...off, auth: { mode: 'keys', keys: [listed] }, rateLimit: { address: { limit: 2 } }, routes: [{ path: '/v1/completions', middleware: ['auth', 'rate-limit'] }] });
    const wrong = { Authorization: `${keyed.Authorization}x` };
    const statuses: number[] = [];
    for (let n = 0; n < 3; n++) statuses.push((await ask('/v1/completions', { body: completion, headers: wrong })).status);
    assert.deepEqual(statuses, [401, 401, 429]);
  });

  it('demand a credential of a path that needed none', async (t) => {
    const { ask, seen } = await behind(t, { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-up' }] }, routes: [{ path: '/internal/report', middleware: ['auth'] }] });
    for (const path of ['/internal/report', '/internal/report/', '/internal//report', '/internal/%72eport']) assert.equal((await ask(path)).status, 401, path);
    assert.equal((await ask('/internal/report', { headers: keyed })).status, 200);
    assert.deepEqual(seen.map(({ url, headers }) => `${url} ${headers.authorization}`), ['/internal/report Bearer sk-up']);
  });

  it('log it where nothing else is logged', async (t) => {
    const { lines, logging } = logged(t);
    const { ask } = await behind(t, { ...off, logging, routes: [{ path: '/v1/completions', middleware: ['logging'] }, { path: '/ask', handler: 'chat' }] });
    for (const path of ['/v1/chat/completions', '/ask', '/v1/completions']) await ask(path, { body: chat, headers: bearer });
    await until(() => lines().length > 0);
    assert.deepEqual(lines().map(({ route }) => route), ['/v1/completions']);
  });
});

describe('a route that the gate answers itself', () => {
  it('is health or metrics at another path', async (t) => {
    const { ask, seen } = await behind(t, { metrics: { token: 'metrics-token' }, routes: [{ path: '/health', handler: 'health', version: 'v1', methods: ['GET'] }, { path: '/scrape', handler: 'metrics' }] });
    assert.equal((await ask('/v1/health')).json<{ status: string }>().status, 'healthy');
    assert.deepEqual([(await ask('/v1/health', { method: 'HEAD' })).status, (await ask('/v1/health', { method: 'POST' })).status, (await ask('/health')).status], [200, 405, 200]);
    assert.deepEqual([(await ask('/scrape')).status, (await ask('/scrape', { headers: { Authorization: 'Bearer wrong' } })).status], [401, 401]);
    const scraped = await ask('/scrape', { headers: { Authorization: 'Bearer metrics-token' } });
    assert.match(scraped.text, /heimdall_request_duration_seconds_count\{route="\/v1\/health",method="GET",status="2xx"\} 1/);
    assert.equal(seen.length, 0);
  });

  it('is open to callers that auth has proved, and to no others', async (t) => {
    const { ask } = await behind(t, { auth: { mode: 'keys', keys: [listed] }, routes: [{ path: '/metrics', middleware: ['auth'] }, { path: '/health', middleware: ['auth'], headers: { 'X-Probe': '*' } }] });
    for (const path of ['/metrics', '/health']) assert.deepEqual([(await ask(path)).status, (await ask(path, { headers: { Authorization: `Bearer ${gatewayKey}x` } })).status], [401, 401], path);
    assert.match((await ask('/metrics', { headers: keyed })).text, /# TYPE heimdall_/);
    assert.deepEqual([(await ask('/health', { headers: keyed })).status, (await ask('/health', { headers: { ...keyed, 'X-Probe': '1' } })).status], [400, 200]);
  });

  it('asks for a token NewAPI has accepted where NewAPI judges tokens', async (t) => {
    const { ask } = await behind(t, { routes: [{ path: '/metrics', handler: 'metrics', version: 'v1', middleware: ['auth'] }] });
    assert.equal((await ask('/v1/metrics', { headers: bearer })).status, 401);
    await ask('/v1/chat/completions', { body: chat, headers: bearer });
    assert.equal((await ask('/v1/metrics', { headers: bearer })).status, 200);
  });
});

describe('the health of a route', () => {
  it('closes it with 503 until its upstream is back, and is told where an operator looks', async (t) => {
    let status = 500;
    const log = recorder();
    const gate = await behind(t, { metrics: { token: 'm' }, routes: [{ path: '/v1/completions', healthCheck: { interval: '100ms', threshold: 2 } }] }, (req, res) => {
      req.resume().on('end', () => res.writeHead(status, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{}'));
    }, { log });
    const post = (path: string) => gate.ask(path, { body: completion, headers: bearer });
    assert.equal((await post('/v1/completions')).status, 500);
    await until(() => log.named('route.unhealthy').length === 1);
    const closed = await post('/v1/completions');
    assert.deepEqual([closed.status, codeOf(closed), closed.headers['retry-after']], [503, 'route_unhealthy', '1']);
    assert.equal((await post('/v1/chat/completions')).status, 500);
    const metrics = async (): Promise<string> => (await request(`${gate.url}/metrics`, { headers: { Authorization: 'Bearer m' } })).text;
    assert.match(await metrics(), /heimdall_route_health\{route="\/v1\/completions",check="api"\} 0/);
    assert.deepEqual((await gate.ask('/health/ready')).json<{ routes: object }>().routes, { '/v1/completions': 'unhealthy' });
    assert.equal((await gate.ask('/health')).status, 200);
    status = 200;
    await until(() => log.named('route.healthy').length === 1);
    assert.equal((await post('/v1/completions')).status, 200);
    assert.match(await metrics(), /heimdall_route_health\{route="\/v1\/completions",check="api"\} 1/);
  });
});

import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import express from 'express';
import type { Admin } from '../../lib/admin/admin.ts';
import { resources } from '../../lib/admin/table.ts';
import { Context } from '../../lib/request/context.ts';
import { ownRoute } from '../../lib/request/own-route.ts';
import { rawRequest, request } from '../support/client.ts';
import { realClock } from '../support/clock.ts';
import { bearer, listening, messageOf, problem, startAdmin, token, type AdminHarness } from './harness.ts';

/** The listener of its own, as the standalone opens it. */
const apart = (t: Parameters<typeof listening>[0], admin: Admin): Promise<string> => {
  const handle = admin.alone('127.0.0.1');
  return listening(t, createServer((req, res) => handle(req, res, () => undefined)));
};

const paths = resources.map(({ path }) => path.replace(/:\w+\*?/, 'alice'));

describe('the admin API', () => {
  it('shows nobody anything without the token, whatever is asked', async (t) => {
    const { ask, log, asked } = await startAdmin(t);
    const wrong = [{}, { Authorization: token }, { Authorization: `Basic ${token}` }, { Authorization: `Bearer ${token.slice(1)}` }, { Authorization: `Bearer ${token}x` }, { 'X-Api-Key': token }, { Cookie: `token=${token}` }];
    for (const headers of wrong) {
      const answer = await ask(`keys?token=${token}`, { headers });
      assert.deepEqual(problem(answer), [401, 'unauthorized', null]);
      assert.equal(answer.headers['www-authenticate'], 'Bearer');
      assert.ok(!answer.text.includes(token.slice(1)));
    }
    const { length } = log.named('admin.auth_failed');
    assert.equal(length, wrong.length);
    assert.deepEqual(log.named('admin.auth_failed')[0], { requestId: log.named('admin.auth_failed')[0]?.['requestId'], ip: '127.0.0.1', path: '/heimdall/api/keys' });
    assert.ok(!JSON.stringify(log.events).includes(token.slice(1)));
    assert.deepEqual(asked, []);
  });

  it('asks for the token on every path and method, those it does not know too', async (t) => {
    const { ask } = await startAdmin(t, { rateLimit: { address: { limit: 1000 } } });
    for (const path of [...paths, 'nothing', 'keys/x/y/z', '']) {
      for (const method of ['GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'OPTIONS', 'HEAD']) assert.equal((await ask(path, { method, headers: {} })).status, 401, `${method} ${path}`);
    }
  });

  it('limits guesses, in mode observe and where the address limit is off or exempts, and lets in the right token all the same', async (t) => {
    for (const config of [{ rateLimit: { address: { limit: 3 } } }, { mode: 'observe', rateLimit: { address: { limit: 3 }, exempt: ['127.0.0.0/8'] } }] as const) {
      const { ask } = await startAdmin(t, config);
      const statuses: number[] = [];
      for (let n = 0; n < 4; n++) statuses.push((await ask('keys', { headers: {} })).status);
      assert.deepEqual(statuses, [401, 401, 401, 429]);
      const answer = await ask('keys', { headers: {} });
      assert.deepEqual(problem(answer), [429, 'too_many_failures', null]);
      assert.match(String(answer.headers['retry-after']), /^\d+$/);
      assert.equal((await ask('keys')).status, 200);
    }
    const { ask } = await startAdmin(t, { rateLimit: { address: { limit: 0 } } });
    const statuses = await Promise.all(Array.from({ length: 70 }, async () => (await ask('keys', { headers: {} })).status));
    assert.equal(statuses.filter((status) => status === 401).length, 60);
  });

  it('counts guesses by peer, whatever client it names, and logs the client', async (t) => {
    const { ask, log } = await startAdmin(t, { rateLimit: { address: { limit: 1 } } });
    assert.equal((await ask('keys', { headers: { 'X-Forwarded-For': '192.0.2.1' } })).status, 401);
    assert.equal((await ask('keys', { headers: { 'X-Forwarded-For': '192.0.2.2' } })).status, 429);
    assert.equal((await ask('keys')).status, 200);
    assert.equal(log.named('admin.auth_failed')[0]?.['ip'], '192.0.2.1');
  });

  it('answers HEAD and OPTIONS, and says which methods a resource knows', async (t) => {
    const { ask } = await startAdmin(t);
    const head = await ask('keys', { method: 'HEAD' });
    assert.deepEqual([head.status, head.text, head.headers['content-type']], [200, '', 'application/json']);
    const options = await ask('keys', { method: 'OPTIONS' });
    assert.deepEqual([options.status, options.headers.allow, options.headers['content-length']], [204, 'GET, HEAD, POST, OPTIONS', undefined]);
    const put = await ask('keys/alice/rotate', { method: 'PUT' });
    assert.deepEqual([problem(put)[1], put.status, put.headers.allow], ['method_not_allowed', 405, 'POST, OPTIONS']);
    const stream = await ask('events', { method: 'HEAD' });
    assert.deepEqual([stream.status, stream.headers['content-type']], [200, 'text/event-stream']);
    for (const path of ['nothing', 'keys/', 'Keys', 'keys/alice/rotate/x', 'queue/x', '']) {
      assert.equal((await ask(path)).status, path === 'keys/' ? 200 : 404, path);
    }
  });

  it('is never cached and marked for no other origin', async (t) => {
    const { ask } = await startAdmin(t, { cors: { allowOrigins: ['*'] } });
    for (const [path, options] of [['keys', {}], ['nothing', {}], ['keys', { headers: {} }], ['keys', { method: 'PUT' }], ['keys', { method: 'OPTIONS' }]] as const) {
      const { headers } = await ask(path, { ...options, headers: { Origin: 'https://a.example.com', ...('headers' in options ? {} : bearer) } });
      assert.equal(headers['cache-control'], 'no-store');
      assert.equal(headers['access-control-allow-origin'], undefined);
      assert.ok(headers['x-request-id']);
    }
  });

  it('answers what a resource throws without saying what', async (t) => {
    const { ask, log } = await startAdmin(t, {}, { registry: { keys: () => assert.fail('a secret of the store') } });
    const answer = await ask('keys');
    assert.deepEqual(problem(answer), [500, 'internal_error', null]);
    assert.ok(!answer.text.includes('secret'));
    assert.equal(log.named('request.panic').length, 1);
  });

  it('is gone once the gate is closed', async (t) => {
    const { ask, core } = await startAdmin(t);
    core.closed = true;
    assert.deepEqual(problem(await ask('health')), [503, 'shutting_down', null]);
  });
});

describe('the admin router', () => {
  it('leaves a host every path but its own, below any mount', async (t) => {
    const { url, admin } = await startAdmin(t);
    for (const path of ['/ops/apis', '/ops/other', '/api/keys', '/ops/%E0%A4%A']) assert.match((await request(url + path, { headers: bearer })).text, /the host's 404|Bad Request|URIError/, path);
    const app = express().use('/a/b/c', express.Router().use('/d', admin.router));
    const deep = await listening(t, createServer(app));
    assert.equal((await request(`${deep}/a/b/c/d/api/keys`, { headers: bearer })).status, 200);
  });

  it('does not exist without a token', async (t) => {
    const { ask, admin, core, hub, log } = await startAdmin(t, { admin: { token: null } });
    for (const path of ['keys', 'queue']) assert.equal((await ask(path)).text, 'the host\'s 404');
    assert.equal(admin.paths, null);
    assert.equal(log.named('admin.closed').length, 1);
    assert.deepEqual(hub.listeners(Date.now, core.config), [], 'nobody can read its events, so they are not kept');
  });

  it('with auth host asks the host alone, with or without a token', async (t) => {
    for (const own of [token, null]) {
      const { ask, log } = await startAdmin(t, { admin: { token: own, auth: 'host' } });
      assert.equal((await ask('keys', { headers: {} })).status, 200);
      assert.equal((await ask('keys', { headers: { 'Content-Type': 'application/json' }, body: '{"name":"x"}' })).status, 201);
      assert.equal(log.named('admin.change')[0]?.['token'], null);
    }
  });

  it('with auth host does nothing for another site\'s page', async (t) => {
    const { ask, keys, asked } = await startAdmin(t, { admin: { auth: 'host' } });
    const json = { 'Content-Type': 'application/json' };
    for (const site of ['cross-site', 'same-site']) {
      assert.deepEqual(problem(await ask('keys', { body: '{"name":"x"}', headers: { ...json, 'Sec-Fetch-Site': site } })), [403, 'cross_site', null]);
      assert.equal((await ask('keys/alice', { method: 'DELETE', headers: { 'Sec-Fetch-Site': site } })).status, 403);
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      assert.equal((await ask('keys', { body: '{"name":"x"}', headers: { 'Content-Type': type } })).status, 415);
      assert.equal((await ask('keys/alice/rotate', { method: 'POST', headers: { 'Content-Type': type } })).status, 415);
    }
    assert.equal((await ask('keys/alice/rotate', { method: 'POST', headers: {} })).status, 415);
    assert.deepEqual([asked, keys.get('alice')?.previousUntil], [[], null]);
    assert.equal((await ask('keys', { body: '{"name":"x"}', headers: { ...json, 'Sec-Fetch-Site': 'same-origin' } })).status, 201);
  });

  it('reads a body the host has read before', async (t) => {
    const { ask, asked } = await startAdmin(t, {}, { before: (app) => app.use(express.json()) });
    assert.equal((await ask('keys', { headers: { ...bearer, 'Content-Type': 'application/json' }, body: '{"name":"x"}' })).status, 201);
    assert.equal((asked[0] as { name: string }).name, 'x');
  });
});

describe('an address of its own', () => {
  it('has the API and the page below admin.path and nothing else, behind the token even with auth host', async (t) => {
    const { admin } = await startAdmin(t, { admin: { path: '/a/b', auth: 'host' } });
    const url = await apart(t, admin);
    assert.equal((await request(`${url}/a/b/api/keys`, { headers: bearer })).status, 200);
    assert.equal((await request(`${url}/a/b/api/keys`)).status, 401);
    for (const path of ['/', '/api/keys', '/a/b/apis', '/v1/models', '/a/b/%ff/api']) assert.deepEqual(problem(await request(url + path, { headers: bearer })), [404, 'not_found', null], path);
  });

  it('reads a body that waits to be asked for, after the token', async (t) => {
    const { admin } = await startAdmin(t);
    const handle = admin.alone('127.0.0.1');
    const server = createServer();
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => handle(req, res, () => undefined));
    const { port } = new URL(await listening(t, server));
    const head = (authorization: string): string => `POST /heimdall/api/keys HTTP/1.1\r\nHost: localhost\r\n${authorization}Content-Type: application/json\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n`;
    const refused = (await rawRequest(Number(port), head(''), '}}')).toString();
    assert.match(refused, /^HTTP\/1\.1 401 /);
    const admitted = (await rawRequest(Number(port), `${head(`Authorization: Bearer ${token}\r\n`)}{"name":"x"}`, '}')).toString();
    assert.match(admitted, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /);
  });
});

describe('the admin paths of the chain', () => {
  const owned = ({ core, admin }: AdminHarness, path: string, ip = '192.0.2.1', peer = ip): boolean | undefined => {
    const context = Object.assign(Object.create(Context.prototype) as Context, { core, path, ip, peer, route: ownRoute('x') });
    return admin.paths?.owns(context);
  };

  it('are those below admin.path', async (t) => {
    const harness = await startAdmin(t, { admin: { path: '/ops' } });
    for (const path of ['/ops', '/ops/', '/ops/x', '/ops/api', '/ops/api/', '/ops/api/keys', '/ops/api/x/y']) assert.equal(owned(harness, path), true, path);
    for (const path of ['/opsx/api', '/', '/api/ops/api']) assert.equal(owned(harness, path), false, path);
  });

  it('are there for callers on this machine alone once the API has an address of its own', async (t) => {
    const harness = await startAdmin(t);
    assert.equal(owned(harness, '/heimdall/api/keys'), true);
    harness.admin.alone('127.0.0.1');
    assert.equal(owned(harness, '/heimdall/api/keys'), false);
    for (const ip of ['127.0.0.1', '127.9.9.9', '::1']) assert.equal(owned(harness, '/heimdall/api/keys', ip), true, ip);
    assert.equal(owned(harness, '/heimdall/api/keys', '127.0.0.1', '203.0.113.9'), false, 'what a proxy elsewhere calls this machine is another');
    assert.equal(owned(harness, '/heimdall/api/keys', '203.0.113.9', '127.0.0.1'), false);
  });
});

it('a request is counted and recorded under its template', async (t) => {
  const harness = await startAdmin(t, {}, { clock: realClock });
  const seen: string[] = [];
  harness.core.finishers.push(({ route, status }) => void seen.push(`${status} ${route.template}`));
  for (const path of ['keys', 'keys/alice', 'keys/somebody', 'bans/10.0.0.0/8', 'x/y', 'queue']) await harness.ask(path);
  assert.deepEqual(seen, ['200 /heimdall/api/keys', '200 /heimdall/api/keys/:name', '404 /heimdall/api/keys/:name', '405 /heimdall/api/bans/:which', '404 /heimdall/api/*', '200 /heimdall/api/queue']);
  assert.equal(harness.core.inFlight.size, 0);
  assert.equal(messageOf(await harness.ask('keys/somebody')), 'There is no key of that name.');
});

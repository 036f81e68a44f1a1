import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import express from 'express';
import { heimdall, keepRawBody } from '../../lib/index.ts';
import { rawRequest, request } from '../support/client.ts';
import { recorder } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';
import { behind, bearer, codeOf, keyed, listed } from './behind.ts';
import type { RequestListener } from 'node:http';

/** Says what it received. */
const echo: RequestListener = (req, res) => {
  const chunks: Buffer[] = [];
  req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => res.writeHead(200, { 'X-Url': req.url ?? '' }).end(Buffer.concat(chunks)));
};

describe('passthrough', () => {
  it('carries path, query and body as they came', async (t) => {
    const { ask } = await behind(t, {}, echo);
    for (const target of ['/api/x%2Fy:z?a=%2f&b=%zz&c', '/a//b/../c', '/?', '/%E9%8D%B5']) {
      const answer = await ask('/', { target, method: 'PUT', body: Buffer.from([0, 255, 10]) });
      assert.deepEqual([answer.status, answer.headers['x-url'], [...answer.body]], [200, target, [0, 255, 10]]);
    }
  });

  it('shows a key of the gate to no NewAPI', async (t) => {
    const { ask, seen } = await behind(t, { auth: { mode: 'keys', keys: [listed] } }, echo);
    for (const path of ['/v1/files', '/v1beta/models', '/mj/submit/imagine']) {
      const answer = await ask(path, { headers: keyed });
      assert.equal(answer.status, 403, path);
      assert.match(answer.text, /no access to this route/);
    }
    assert.equal(seen.length, 0);
    assert.equal((await ask('/api/status')).status, 200);
  });

  it('replaces a key of the gate by its upstream credential, in the query too', async (t) => {
    const { ask, seen } = await behind(t, { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-up' }] } }, echo);
    const key = keyed.Authorization.slice('Bearer '.length);
    assert.equal((await ask(`/v1beta/models?key=${key}&alt=sse`, { headers: {} })).headers['x-url'], '/v1beta/models?alt=sse');
    assert.equal(seen[0]?.headers.authorization, 'Bearer sk-up');
    assert.ok(!JSON.stringify([seen[0]?.url, seen[0]?.rawHeaders]).includes(key));
  });

  it('asks for the body when the client waits for that', async (t) => {
    const { port } = await behind(t, {}, echo);
    const asked = 'POST /api/upload HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n';
    assert.match((await rawRequest(port, asked, 'Continue\r\n\r\n')).toString(), /^HTTP\/1\.1 100 /);
  });

  it('says that NewAPI is away, in words that fit the route', async (t) => {
    const { ask, log } = await behind(t, {}, (req) => void req.socket.destroy());
    const answer = await ask('/api/status');
    assert.deepEqual([answer.status, answer.json<{ success: boolean }>().success], [502, false]);
    assert.equal(codeOf(await ask('/v1/files', { headers: bearer })), 'upstream_unreachable');
    assert.ok(log.named('upstream.failed').length === 2);
  });

  it('sends what a host application has read before, or says how to mend it', async (t) => {
    const upstream = await startUpstream(t, echo);
    const gate = heimdall({ newapi: { baseUrl: upstream.url }, logging: { file: false, level: 'silent' } }, { log: recorder() });
    const app = express();
    app.use('/kept', express.json({ verify: keepRawBody }), gate);
    app.use('/parsed', express.json(), gate);
    app.use('/lost', (req, _res, next) => void req.resume().on('end', next), gate);
    const server = app.listen(0, '127.0.0.1');
    t.after(async () => {
      await gate.close({ timeout: 0 });
      server.close();
      server.closeAllConnections();
    });
    await once(server, 'listening');
    const post = (path: string) => request(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}/api/x`, { body: '{ "a": 1.0 }', headers: { 'Content-Type': 'application/json' } });
    assert.equal((await post('/kept')).text, '{ "a": 1.0 }');
    assert.equal((await post('/parsed')).text, '{"a":1}');
    const lost = await post('/lost');
    assert.deepEqual([lost.status, /keepRawBody/.test(lost.text)], [500, true]);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { internalsOf } from '../../lib/gateway.ts';
import { request } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { nowhere } from '../support/upstream.ts';
import { behind } from './behind.ts';

describe('live', () => {
  it('answers as the original does, NewAPI down included', async (t) => {
    const { url } = await startGate(t, { audit: false, newapi: { baseUrl: await nowhere() }, llm: { healthCheck: { enabled: true } } });
    for (const path of ['/health', '/health/live', '/health?x=1']) {
      const answer = await request(url + path);
      const { timestamp, ...body } = answer.json<{ timestamp: number }>();
      assert.deepEqual([answer.status, body], [200, { status: 'healthy', service: 'Heimdall Security Gateway' }], path);
      assert.ok(Number.isInteger(timestamp) && Math.abs(timestamp - Date.now() / 1000) < 5);
      assert.deepEqual([answer.headers['content-type'], answer.headers['cache-control']], ['application/json', 'no-store']);
    }
    const ready = await request(`${url}/health/ready`);
    assert.deepEqual([ready.status, ready.json()], [503, { status: 'unavailable' }]);
  });

  it('is ready when NewAPI answers, and no longer when the gate drains', async (t) => {
    const { ask, gate } = await behind(t);
    const ready = await ask('/health/ready');
    assert.deepEqual([ready.status, ready.json()], [200, { status: 'ready' }]);
    internalsOf(gate).core.draining = true;
    assert.equal((await ask('/health/ready')).status, 503);
    assert.equal((await ask('/health')).status, 200);
  });

  it('answers HEAD without a body, and leaves every other method and path to NewAPI', async (t) => {
    const { ask, seen } = await behind(t);
    const head = await ask('/health', { method: 'HEAD' });
    assert.deepEqual([head.status, head.text, Number(head.headers['content-length']) > 50], [200, '', true]);
    for (const [method, path] of [['POST', '/health'], ['GET', '/health/'], ['GET', '/health/deep'], ['GET', '/healthz'], ['GET', '/Health'], ['DELETE', '/health/ready']] as const) await ask(path, { method });
    assert.deepEqual(seen.map(({ method, url }) => `${method} ${url}`), ['POST /health', 'GET /health/', 'GET /health/deep', 'GET /healthz', 'GET /Health', 'DELETE /health/ready']);
  });

  it('lives where it is configured to, or nowhere', async (t) => {
    const renamed = await behind(t, { endpoints: { health: '/up/here' } });
    assert.equal((await renamed.ask('/up/here/live')).json<{ status: string }>().status, 'healthy');
    await renamed.ask('/health');
    const off = await behind(t, { endpoints: { health: false } });
    await off.ask('/health');
    assert.deepEqual([renamed.seen.length, off.seen.length], [1, 1]);
  });

  it('answers first even where a route says more of its path, unless that lets in only some', async (t) => {
    const { ask, seen } = await behind(t, { guard: { deny: ['127.0.0.1'] }, middleware: [], routes: [{ path: '/health', methods: ['GET'], middleware: ['request_timer'] }] });
    const answer = await ask('/health');
    assert.deepEqual([answer.status, answer.headers['x-response-time'] === undefined, seen.length], [200, false, 0]);
    const closed = await behind(t, { guard: { deny: ['127.0.0.1'] }, routes: [{ path: '/health', headers: { 'X-Probe': '*' } }] });
    assert.equal((await closed.ask('/health')).status, 403);
  });

  it('needs no credential and is limited by nothing', async (t) => {
    const { ask } = await behind(t, { rateLimit: { address: { limit: 1, count: 'all' } } });
    for (let n = 0; n < 5; n++) assert.equal((await ask('/health')).status, 200);
  });
});

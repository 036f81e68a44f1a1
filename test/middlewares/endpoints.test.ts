import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { behind, codeOf } from './behind.ts';

const token = 'metrics-token-of-sufficient-length';
const carrying = { headers: { Authorization: `Bearer ${token}` } };

describe('endpoints', () => {
  it('shows the metrics to who carries their token', async (t) => {
    const { ask, seen } = await behind(t, { metrics: { token } });
    const answer = await ask('/metrics', carrying);
    assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'text/plain; version=0.0.4; charset=utf-8']);
    assert.match(answer.text, /^# HELP heimdall_request_duration_seconds /m);
    assert.equal((await ask('/metrics', { headers: { authorization: `bearer ${token}` } })).status, 200);
    const head = await ask('/metrics', { ...carrying, method: 'HEAD' });
    assert.deepEqual([head.status, head.text], [200, '']);
    assert.equal(seen.length, 0);
  });

  it('shows nobody else anything', async (t) => {
    const { ask, seen, log } = await behind(t, { metrics: { token } });
    const wrong = [{}, { Authorization: token }, { Authorization: `Basic ${token}` }, { Authorization: `Bearer ${token}x` }, { Authorization: `Bearer ${token.slice(1)}` }, { Authorization: 'Bearer' }, { 'x-api-key': token }];
    for (const headers of wrong) {
      const answer = await ask(`/metrics?token=${token}`, { headers: headers as Record<string, string> });
      assert.deepEqual([answer.status, codeOf(answer)], [401, 'unauthorized']);
      assert.ok(!answer.text.includes(token));
    }
    assert.equal(log.named('auth.failed').length, wrong.length);
    assert.ok(!JSON.stringify(log.events).includes(token.slice(1)));
    assert.equal(seen.length, 0);
  });

  it('limits guesses, and lets in the right token all the same', async (t) => {
    const { ask } = await behind(t, { metrics: { token }, rateLimit: { address: { limit: 2 } } });
    const statuses: number[] = [];
    for (let n = 0; n < 3; n++) statuses.push((await ask('/metrics')).status);
    assert.deepEqual(statuses, [401, 401, 429]);
    assert.equal((await ask('/metrics', carrying)).status, 200);
  });

  it('knows no method but GET and HEAD, and no path beside its own', async (t) => {
    const { ask, seen } = await behind(t, { metrics: { token } });
    for (const method of ['POST', 'DELETE', 'PUT']) assert.deepEqual([(await ask('/metrics', { ...carrying, method })).status, (await ask('/metrics', { method })).status], [405, 401]);
    assert.equal(seen.length, 0);
    for (const path of ['/metrics/', '/metrics/x', '/Metrics', '/metricsx']) await ask(path, carrying);
    assert.equal(seen.length, 4);
  });

  it('has no path without a token, when switched off, or beside its name', async (t) => {
    for (const config of [{}, { metrics: { token, enabled: false } }, { metrics: { token }, endpoints: { metrics: false } }, { metrics: { token }, endpoints: { metrics: '/elsewhere' } }] as const) {
      const { ask, seen } = await behind(t, config);
      assert.equal((await ask('/metrics', carrying)).json<{ ok: boolean }>().ok, true);
      assert.equal(seen[0]?.url, '/metrics');
    }
    const { ask } = await behind(t, { metrics: { token }, endpoints: { metrics: '/else/where' } });
    assert.equal((await ask('/else/where', carrying)).status, 200);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bearer, behind, chat } from './behind.ts';

const policies = ['content-security-policy', 'cross-origin-opener-policy', 'cross-origin-resource-policy', 'referrer-policy', 'x-frame-options', 'x-dns-prefetch-control'];

describe('security_headers', () => {
  it('are helmet\'s on what the gate says itself', async (t) => {
    const { ask } = await behind(t);
    for (const [path, options] of [['/health', {}], ['/v1/chat/completions', { body: chat }], ['/a%00', {}]] as const) {
      const { headers } = await ask(path, options);
      for (const name of policies) assert.ok(headers[name], `${path} ${name}`);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['x-powered-by'], undefined);
      assert.equal(headers['strict-transport-security'], undefined, 'over plain HTTP');
    }
  });

  it('touch a proxied answer only by nosniff, and only where the upstream does not say it', async (t) => {
    const { ask } = await behind(t, {}, (req, res) => {
      req.resume();
      const said = req.url === '/said' ? { 'x-CONTENT-type-options': 'own', 'Content-Security-Policy': 'theirs' } : {};
      res.writeHead(200, { 'Content-Type': 'application/json', ...said }).end('{}');
    });
    for (const [path, options] of [['/', {}], ['/api/status', {}], ['/v1/chat/completions', { body: chat, headers: bearer }]] as const) {
      const { headers } = await ask(path, options);
      assert.deepEqual(policies.filter((name) => headers[name] !== undefined), [], path);
      assert.equal(headers['x-content-type-options'], 'nosniff');
    }
    const said = await ask('/said');
    assert.deepEqual([said.headers['x-content-type-options'], said.headers['content-security-policy']], ['own', 'theirs']);
  });

  it('are absent when they are left out', async (t) => {
    const { ask } = await behind(t, { middleware: ['rate_limit', 'auth'] });
    for (const path of ['/health', '/']) assert.equal((await ask(path)).headers['x-content-type-options'], undefined);
  });
});

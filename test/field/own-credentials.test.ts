import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { behind, gatewayKey, listed } from '../middlewares/behind.ts';
import { fieldInFull, sampled } from '../support/sampled.ts';

const admin = 'admin-token-of-the-gate-0123456789abcdef';
const metrics = 'metrics-token-of-the-gate-0123456789abcd';
const ingest = 'ingest-token-of-the-gate-0123456789abcde';
const ours = [admin, metrics, ingest, gatewayKey];
const tokens = { admin: { token: admin }, metrics: { token: metrics }, audit: { ingest: { tokens: [ingest] } } };

/** Where a caller may put a credential. */
const carriers: Readonly<Record<string, (value: string) => { readonly headers?: Record<string, string>; readonly query?: string }>> = {
  'a bearer': (value) => ({ headers: { Authorization: `Bearer ${value}` } }),
  'a bearer in other letters': (value) => ({ headers: { Authorization: `BEARER  ${value}` } }),
  'Authorization alone': (value) => ({ headers: { Authorization: value } }),
  'Basic': (value) => ({ headers: { Authorization: `Basic ${Buffer.from(`user:${value}`).toString('base64')}` } }),
  'x-api-key': (value) => ({ headers: { 'x-api-key': value } }),
  'x-goog-api-key': (value) => ({ headers: { 'x-goog-api-key': value } }),
  'mj-api-secret': (value) => ({ headers: { 'mj-api-secret': value } }),
  'a subprotocol': (value) => ({ headers: { 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${value}` } }),
  'a header of its own': (value) => ({ headers: { 'X-Token': value } }),
  'a cookie': (value) => ({ headers: { Cookie: `session=1; token=${value}; a=b` } }),
  'a referer': (value) => ({ headers: { Referer: `https://gate.test/?token=${value}` } }),
  'a query': (value) => ({ query: `?a=1&key=${value}` }),
  'a query of another name': (value) => ({ query: `?whatever=${value}&b=2` }),
  'an encoded query': (value) => ({ query: `?x=${[...value].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('')}` }),
};

describe('a credential of the gate\'s own', () => {
  for (const mode of ['passthrough', 'keys'] as const) {
    it(`is never forwarded, in mode ${mode}`, async (t) => {
      const { ask, seen } = await behind(t, { ...tokens, auth: { mode, keys: [{ ...listed, upstreamCredential: 'sk-up' }] } });
      const chat = { model: 'gpt-4o', messages: [] };
      const paths = ['/', '/api/status', '/Heimdall/api/keys', '/METRICS', '/api/log/', '/dashboard/billing/usage', '/v1/chat/completions', '/v1/models', '/mj/image/1', '/v1beta/models/g:generateContent', '/api/stripe/webhook'];
      const places = paths.flatMap((path) => ours.map((value) => [path, value] as const));
      for (const seed of fieldInFull ? [1] : [1, 2, 3]) {
        for (const [[what, carry], [path, value]] of sampled(Object.entries(carriers), places, seed)) {
          const { headers = {}, query = '' } = carry(value);
          const isPost = path.startsWith('/v1/chat') || path.includes(':') || path.endsWith('webhook');
          const from = seen.length;
          await ask(path + query, { headers, ...(isPost ? { body: chat } : {}) });
          const sent = seen.slice(from).map(({ url = '', rawHeaders }) => `${decodeURIComponent(url)} ${rawHeaders.join(' ')} ${rawHeaders.map((text) => Buffer.from(text.replace(/^Basic /, ''), 'base64').toString()).join(' ')}`).join('\n');
          assert.deepEqual(ours.filter((each) => sent.includes(each)), [], `${what} at ${path}`);
        }
      }
      assert.ok(seen.length > 50, `${seen.length}`);
    });
  }

  it('leaves everything else of the request as it came', async (t) => {
    const { ask, seen } = await behind(t, tokens);
    await ask(`/api/status?a=1&key=${admin}&b=2`, { headers: { Authorization: `Bearer ${metrics}`, Cookie: 'session=abc', 'X-Other': 'x' } });
    const [request] = seen;
    assert.deepEqual([request?.url, request?.headers.authorization, request?.headers.cookie, request?.headers['x-other']], ['/api/status?a=1&b=2', undefined, 'session=abc', 'x']);
  });
});

describe('a header that names a user or another method', () => {
  it('is dropped, and those that Codex names by an underscore arrive', async (t) => {
    const { ask, seen } = await behind(t);
    const dropped = ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'Remote-User', 'X-Remote-User', 'X-Remote-Groups', 'X-Authenticated-User', 'X-Auth-Request-User', 'X-WebAuth-User', 'X-Client-Cert'];
    const headers = Object.fromEntries([...dropped, 'session_id', 'conversation_id', 'x_other'].map((name) => [name, 'value']));
    for (const path of ['/api/status', '/']) {
      await ask(path, { headers });
      const names = Object.keys(seen.at(-1)?.headers ?? {});
      assert.deepEqual(dropped.filter((name) => names.includes(name.toLowerCase())), []);
      assert.deepEqual([names.includes('session_id'), names.includes('conversation_id'), names.includes('x_other')], [true, true, false]);
    }
  });
});

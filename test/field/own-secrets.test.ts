import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { request, type RequestOptions } from '../support/client.ts';
import { behind, gatewayKey, listed } from '../middlewares/behind.ts';

const tokens = { metrics: 'a-metrics-token-of-this-test', admin: 'an-admin-token-of-this-test-that-is-long', ingest: 'an-ingest-token-of-this-test' };
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Places in which a credential travels. */
const carriers: readonly ((secret: string) => { readonly headers?: Record<string, string | readonly string[]>; readonly query?: string })[] = [
  (secret) => ({ headers: { authorization: `Bearer ${secret}` } }),
  (secret) => ({ headers: { authorization: `bearer   ${secret}` } }),
  (secret) => ({ headers: { authorization: secret } }),
  (secret) => ({ headers: { authorization: `Token ${secret}` } }),
  (secret) => ({ headers: { authorization: `Basic ${base64(`user:${secret}`)}` } }),
  (secret) => ({ headers: { authorization: `Basic ${base64(`${secret}:`)}` } }),
  (secret) => ({ headers: { authorization: ['Bearer sk-first', `Bearer ${secret}`] } }),
  (secret) => ({ headers: { 'x-api-key': ['sk-first', secret] } }),
  (secret) => ({ headers: { 'x-goog-api-key': secret } }),
  (secret) => ({ headers: { 'api-key': secret } }),
  (secret) => ({ headers: { 'x-auth-token': secret } }),
  (secret) => ({ headers: { 'mj-api-secret': secret } }),
  (secret) => ({ headers: { cookie: `a=b; token=${secret}` } }),
  (secret) => ({ headers: { 'sec-websocket-protocol': `realtime, openai-insecure-api-key.${secret}` } }),
  (secret) => ({ headers: { 'sec-websocket-protocol': secret } }),
  (secret) => ({ headers: { referer: `http://h/x?key=${secret}` } }),
  (secret) => ({ query: `key=${secret}` }),
  (secret) => ({ query: `a=1&token=${secret}` }),
  (secret) => ({ query: `%6bey=${[...secret].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('')}` }),
];
const paths = ['/', '/api/status', '/api/user/self', '/v1/chat/completions', '/v1/models', '/mj/image/1', '/METRICS', '/metrics/', '/heimdall/api', '/api/log/', '/API/LOG', '/api/stripe/webhook'];

describe('a credential of the gate itself', () => {
  for (const [name, auth, more] of [['keys', { mode: 'keys' as const, keys: [listed] }, {}], ['passthrough', { mode: 'passthrough' as const, keys: [listed] }, {}], ['keys, observed', { mode: 'keys' as const, keys: [listed] }, { mode: 'observe' as const }], ['endpoints off', { mode: 'keys' as const, keys: [listed] }, { endpoints: { metrics: false as const, log: false as const } }]] as const) {
    it(`reaches no upstream by any carrier on any path: ${name}`, async (t) => {
      const { url, seen } = await behind(t, { auth, ...more, metrics: { token: tokens.metrics }, admin: { token: tokens.admin, path: '/own', listen: false }, audit: { ingest: { tokens: [tokens.ingest] } }, rateLimit: { address: { limit: 0 } } });
      for (const secret of [gatewayKey, ...Object.values(tokens)]) {
        for (const [nth, carrier] of carriers.entries()) {
          for (const path of paths.filter((_, at) => (at + nth) % 6 === 0)) {
            const { headers = {}, query = '' } = carrier(secret);
            const options: RequestOptions = path === '/v1/chat/completions' ? { headers, body: { model: 'm', messages: [] } } : { headers };
            const from = seen.length;
            await request(`${url}${path}${query === '' ? '' : `?${query}`}`, options);
            for (const { rawHeaders, url: sent = '' } of seen.slice(from)) {
              const all = decodeURIComponent(`${rawHeaders.join('\n')}\n${sent}`);
              assert.ok(!all.includes(secret) && !all.includes(base64(`user:${secret}`)) && !all.includes(base64(`${secret}:`)), `${path} ${JSON.stringify(carrier('SECRET'))}`);
            }
          }
        }
      }
      assert.ok(seen.length > 50);
    });
  }
});

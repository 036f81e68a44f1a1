import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
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
  'the name of a header': (value) => ({ headers: { [`X-${value}`]: '1' } }),
  'a query, behind a word': (value) => ({ query: `?x=bot${value}` }),
  'a header, behind a word and a slash': (value) => ({ headers: { 'X-From': `/a/bot${value}/b` } }),
  'a header, behind a label': (value) => ({ headers: { 'X-Token': `token:${value}` } }),
  'a header of JSON': (value) => ({ headers: { 'X-Meta': JSON.stringify({ user: 'a', key: value }) } }),
  'a header of a path': (value) => ({ headers: { 'X-From': `/a/${value}/b` } }),
  'a referer with it in the path': (value) => ({ headers: { Referer: `https://gate.test/${value}/x` } }),
  'a list with bars': (value) => ({ headers: { 'X-List': `a|${value}|b` } }),
  'a subprotocol of another prefix': (value) => ({ headers: { 'Sec-WebSocket-Protocol': `chat, bearer.${value}` } }),
  'a query that is encoded twice': (value) => ({ query: `?x=${encodeURIComponent([...value].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join(''))}` }),
  'an encoded query': (value) => ({ query: `?x=${[...value].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('')}` }),
};

/** Places in which a token has others of its characters around it. */
const around: typeof carriers = {
  'a label and a dash': (value) => ({ headers: { 'X-Token': `tok-${value}` } }),
  'dots around': (value) => ({ headers: { 'X-Token': `v1.${value}.x.y` } }),
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
          const sent = seen.slice(from).map(({ url = '', rawHeaders }) => `${decodeURIComponent(decodeURIComponent(url))} ${rawHeaders.join(' ')} ${rawHeaders.map((text) => Buffer.from(text.replace(/^Basic /, ''), 'base64').toString()).join(' ')}`).join('\n');
          assert.deepEqual(ours.filter((each) => sent.includes(each)), [], `${what} at ${path}`);
        }
      }
      assert.ok(seen.length > 50, `${seen.length}`);
    });
  }

  it('is never forwarded as a subprotocol of a WebSocket, and the other subprotocols are', async (t) => {
    const other = 'sk-another-key-of-the-gate-that-is-long-enough';
    const keys = [{ ...listed, upstreamCredential: 'sk-up' }, { name: 'other', sha256: createHash('sha256').update(other).digest('hex'), upstreamCredential: 'sk-up2' }];
    const lists: Readonly<Record<string, (value: string) => string>> = {
      'with its prefix': (value) => `chat, openai-insecure-api-key.${value}, beta`, 'as it is': (value) => `chat, ${value}, beta`, 'behind another prefix': (value) => `chat,bearer.${value},beta`,
      'encoded': (value) => `chat, beta, ${value.replaceAll('-', '%2d')}`, 'twice': (value) => `openai-insecure-api-key.${value}, chat, ${value}, beta`,
    };
    for (const mode of ['passthrough', 'keys'] as const) {
      const { ask, seen } = await behind(t, { ...tokens, auth: { mode, keys } });
      for (const [what, list] of Object.entries(lists)) {
        for (const [path, value] of [['/ws', gatewayKey], ['/api/ws', admin], ['/ws', other], ['/v1/realtime?model=m', other], ['/v1/realtime?model=m', metrics]] as const) {
          const from = seen.length;
          await ask(path, { headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Protocol': list(value), ...(path.startsWith('/v1') && { Authorization: `Bearer ${gatewayKey}` }) } });
          const sent = seen.slice(from).map(({ rawHeaders }) => decodeURIComponent(rawHeaders.join(' '))).join('\n');
          assert.deepEqual([...ours, other].filter((each) => sent.includes(each)), [], `${mode}: ${what} at ${path}`);
          const protocols = seen[from]?.headers['sec-websocket-protocol']?.split(',').map((each) => each.trim()).filter((each) => !each.startsWith('openai-insecure-api-key.'));
          if (!path.startsWith('/v1')) assert.deepEqual(protocols, ['chat', 'beta'], `${mode}: ${what} at ${path}`);
        }
      }
    }
  });

  it('is never forwarded as a token of the issuer, good or not', async (t) => {
    const issuer = 'https://login.example.test/';
    const { ask, seen } = await behind(t, { ...tokens, auth: { mode: 'jwt', jwt: { issuer, audience: 'a', jwksUri: 'http://127.0.0.1:9/jwks', upstreamCredential: 'sk-up' } } });
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const jwt = `${part({ alg: 'ES256', kid: 'one' })}.${part({ iss: issuer, sub: 'a', exp: 1 })}.c2lnbmF0dXJl`;
    for (const value of [jwt, jwt.slice(0, -12)]) {
      for (const [what, carry] of Object.entries({ ...carriers, ...around })) {
        const { headers = {}, query = '' } = carry(value);
        await ask(`/api/status${query}`, { headers });
        const { url = '', rawHeaders = [] } = seen.at(-1) ?? {};
        const sent = [decodeURIComponent(decodeURIComponent(url)), ...rawHeaders, ...rawHeaders.map((text) => Buffer.from(text.replace(/^Basic /, ''), 'base64').toString())].join('\n');
        assert.ok(!sent.includes(value), `${what}: ${sent}`);
      }
    }
    await ask('/api/status', { headers: { 'X-Token': `a.${part({ iss: 'https://other.example/' })}.b` } });
    assert.match(seen.at(-1)?.rawHeaders.join('\n') ?? '', /^a\.[\w-]+\.b$/m);
  });

  it('is refused in a path', async (t) => {
    const { ask, seen } = await behind(t, { ...tokens, auth: { mode: 'passthrough', keys: [listed] } });
    const encoded = (value: string): string => [...value].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('');
    for (const value of ours) {
      for (const path of [`/${value}`, `/api/status/${value}`, `/v1/models/${value}`, `/v1/videos/${value}/content`, `/assets/${value}.js?a=1`.replace('.js', ''), `/a:${value}`, `/x@${value}/y`, `/api/${encoded(value)}`]) {
        assert.equal((await ask(path)).status, 400, path);
      }
    }
    assert.equal(seen.length, 0);
  });

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
    const dropped = ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'Remote-User', 'X-Remote-User', 'X-Remote-Groups', 'X-Authenticated-User', 'X-Auth-Request-User', 'X-WebAuth-User', 'X-Client-Cert', 'Client-Cert', 'Client-Cert-Chain', 'X-SSL-Client-Verify', 'X-SSL-Client-S-DN', 'SSL-Client-Cert', 'X-ARR-ClientCert', 'X-Amzn-Mtls-Clientcert', 'X-Ms-Client-Principal', 'Cf-Access-Authenticated-User-Email', 'Tailscale-User-Login'];
    const headers = Object.fromEntries([...dropped, 'session_id', 'conversation_id', 'x_other'].map((name) => [name, 'value']));
    for (const path of ['/api/status', '/']) {
      await ask(path, { headers });
      const names = Object.keys(seen.at(-1)?.headers ?? {});
      assert.deepEqual(dropped.filter((name) => names.includes(name.toLowerCase())), []);
      assert.deepEqual([names.includes('session_id'), names.includes('conversation_id'), names.includes('x_other')], [true, true, false]);
    }
  });
});

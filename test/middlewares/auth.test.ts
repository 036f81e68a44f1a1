import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RequestListener } from 'node:http';
import { fakeClock } from '../support/clock.ts';
import { bearer, behind, chat, codeOf, gatewayKey, keyed, listed, token } from './behind.ts';

const routes = ['/v1/chat/completions', '/v1/messages', '/v1beta/models/g:generateContent', '/mj/submit/imagine', '/suno/submit/music', '/v1/files'];
const open = ['/', '/api/status', '/api/user/login', '/pg/chat/completions', '/mj/image/1', '/v1/videos/1/content', '/api/stripe/webhook', '/mj/notify', '/v1/dashboard/billing/usage'];

describe('auth by passthrough', () => {
  it('refuses who shows nothing, in the dialect of the route, before it costs anything', async (t) => {
    const { ask, seen } = await behind(t);
    for (const path of routes) {
      const answer = await ask(path, { body: chat });
      assert.equal(answer.status, 401, path);
      assert.match(answer.text, /No API key was given/);
      assert.equal(answer.headers['x-should-retry'], 'false');
    }
    assert.equal((await ask('/v1/messages', { body: chat })).json<{ type: string }>().type, 'error');
    assert.equal(seen.length, 0);
  });

  it('counts a token NewAPI accepted as verified for auth.verified_ttl, and no longer', async (t) => {
    const clock = fakeClock(Date.now());
    const judged: RequestListener = (req, res) => {
      const good = req.headers.authorization === bearer.Authorization;
      req.resume().on('end', () => res.writeHead(good ? 200 : 401, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"ok":true}'));
    };
    const { ask } = await behind(t, { auth: { verifiedTtl: '10m' }, rateLimit: { address: { limit: 1, window: '1h' } } }, judged, { clock });
    const status = async (headers: Record<string, string>): Promise<number> => (await ask('/v1/chat/completions', { body: chat, headers })).status;
    assert.deepEqual([await status(bearer), await status({ Authorization: 'Bearer sk-wrong' })], [200, 401]);
    // The address has failed too often: who is verified passes all the same.
    clock.tick(599_000);
    assert.deepEqual([await status({ Authorization: 'Bearer sk-wrong' }), await status(bearer)], [429, 200]);
    clock.tick(600_001);
    // Now it is new: of a blocked address one token a second is tried.
    assert.deepEqual([await status({ Authorization: 'Bearer sk-other' }), await status(bearer)], [401, 429]);
  });

  it('asks nothing of who needs no token', async (t) => {
    const { ask } = await behind(t);
    for (const path of open) assert.equal((await ask(path)).status, 200, path);
  });

  it('leaves the verdict on a token to NewAPI', async (t) => {
    const { ask, seen } = await behind(t);
    for (const path of routes) assert.equal((await ask(path, { body: chat, headers: { Authorization: 'Bearer anything' } })).status, 200, path);
    assert.ok(seen.every(({ headers }) => headers.authorization === 'Bearer anything'));
  });

  it('notes in a gate that observes, and refuses nothing', async (t) => {
    const { ask, seen } = await behind(t, { mode: 'observe' });
    assert.equal((await ask('/v1/chat/completions', { body: chat })).status, 200);
    assert.equal(seen.length, 1);
  });
});

describe('what passthrough learns', () => {
  let verdict = 200;
  const judging: RequestListener = (req, res) => {
    req.resume().on('end', () => res.writeHead(verdict, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{}'));
  };
  const refused: RequestListener = (_req, res) => void res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"backup":true}');

  it('lets to our own credential whom NewAPI accepted, until its 401', async (t) => {
    const backup = await behind(t, {}, refused);
    const endpoint = `http://127.0.0.1:${backup.port}/v1`;
    // The backup is a gate itself, whose upstream says who answered; it asks for a key, and ours is one.
    const { ask } = await behind(t, { llm: { backupProviders: [{ provider: 'openai', endpoint, apiKey: 'sk-ours' }] } }, judging);
    const served = async (headers: Record<string, string>): Promise<string> => {
      const answer = await ask('/v1/chat/completions', { body: chat, headers });
      return answer.status === 200 ? (answer.json<{ backup?: boolean }>().backup ? 'backup' : 'newapi') : String(answer.status);
    };
    verdict = 503;
    assert.equal(await served(bearer), '503');
    verdict = 200;
    assert.equal(await served(bearer), 'newapi');
    verdict = 503;
    assert.equal(await served(bearer), 'backup');
    assert.equal(await served({ Authorization: 'Bearer another' }), '503');
    verdict = 401;
    assert.equal(await served(bearer), '401');
    verdict = 503;
    assert.equal(await served(bearer), '503');
  });

  it('learns nothing from carriers that contradict each other', async (t) => {
    const backup = await behind(t, {}, refused);
    const endpoint = `http://127.0.0.1:${backup.port}/v1`;
    const { ask } = await behind(t, { llm: { backupProviders: [{ provider: 'openai', endpoint, apiKey: 'sk-ours' }] } }, judging);
    const laundering: [path: string, headers: Record<string, string>][] = [
      ['/v1/models', { Authorization: 'Bearer junk', 'x-api-key': token }],
      [`/v1/models?key=${token}`, { Authorization: 'Bearer junk' }],
      [`/v1/models/gpt-4o?%6bey=${token}`, { Authorization: 'Bearer junk' }],
      ['/v1/models', { Authorization: 'Bearer junk', 'Sec-WebSocket-Protocol': token }],
      ['/v1/chat/completions', { Authorization: 'Bearer junk', 'Sec-WebSocket-Protocol': token }],
      ['/v1/messages', { 'Sec-WebSocket-Protocol': 'openai-insecure-api-key.junk', 'x-api-key': token }],
      ['/v1/chat/completions', { Authorization: 'midjourney-proxy', 'mj-api-secret': token }],
    ];
    for (const [path, headers] of laundering) {
      verdict = 200;
      const body = path.startsWith('/v1/models') ? {} : { body: chat };
      assert.equal((await ask(path, { ...body, headers })).status, 200, path);
      verdict = 503;
      for (const name of ['junk', 'midjourney-proxy']) assert.equal((await ask('/v1/chat/completions', { body: chat, headers: { Authorization: `Bearer ${name}` } })).status, 503, `${path} ${JSON.stringify(headers)}`);
    }
  });
});

describe('auth by keys', () => {
  const keys = [
    { ...listed, upstreamCredential: 'sk-up', models: ['gpt-4o'] },
    { name: 'off', disabled: true, sha256: '0'.repeat(64) },
  ];

  it('lets in who carries a key of the list, and shows the key to nobody', async (t) => {
    const { ask, seen } = await behind(t, { auth: { mode: 'keys', keys } });
    assert.equal((await ask('/v1/chat/completions', { body: chat, headers: keyed })).status, 200);
    assert.equal((await ask('/v1/messages', { body: chat, headers: { 'x-api-key': gatewayKey } })).status, 200);
    assert.equal((await ask('/v1/models', { headers: keyed })).status, 200);
    assert.deepEqual(seen.map(({ headers }) => headers.authorization), Array.from({ length: 3 }, () => 'Bearer sk-up'));
    assert.ok(seen.every(({ rawHeaders }) => !rawHeaders.join().includes(gatewayKey)));
  });

  it('refuses everybody else alike, and logs the attempt without the credential', async (t) => {
    const { ask, seen, log } = await behind(t, { auth: { mode: 'keys', keys } });
    for (const guess of [token, gatewayKey.slice(3), `${gatewayKey}x`, listed.sha256]) {
      const answer = await ask('/v1/chat/completions', { body: chat, headers: { Authorization: `Bearer ${guess}` } });
      assert.deepEqual([answer.status, codeOf(answer)], [401, 'invalid_credential'], guess);
      assert.ok(!answer.text.includes(guess));
    }
    assert.equal((await ask('/v1/chat/completions', { body: chat })).status, 401);
    assert.equal(seen.length, 0);
    const failed = log.named('auth.failed');
    assert.deepEqual(failed.map(({ reason, ip }) => `${String(reason)} ${String(ip)}`), Array.from({ length: 4 }, () => 'unknown 127.0.0.1'));
    assert.ok(!JSON.stringify(log.events).includes(gatewayKey.slice(3)));
  });

  it('says to a stranger nothing of a key that is disabled or expired, and to its owner that the address is wrong', async (t) => {
    const answered = async (over: object): Promise<string> => {
      const { ask } = await behind(t, { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-up', ...over }] } });
      const answer = await ask('/v1/chat/completions', { body: chat, headers: keyed });
      return answer.status === 200 ? 'served' : codeOf(answer);
    };
    assert.equal(await answered({}), 'served');
    assert.equal(await answered({ disabled: true }), 'invalid_credential');
    assert.equal(await answered({ expires: '2020-01-01' }), 'invalid_credential');
    assert.equal(await answered({ cidrs: ['10.0.0.0/8'] }), 'address_not_allowed');
    assert.equal(await answered({ cidrs: ['127.0.0.1'] }), 'served');
  });

  it('holds a key to its models', async (t) => {
    const { ask, seen } = await behind(t, { auth: { mode: 'keys', keys } });
    const refusal = async (body: unknown): Promise<unknown[]> => {
      const answer = await ask('/v1/chat/completions', { body, headers: { ...keyed, 'Content-Type': 'application/json' } });
      return [answer.status, codeOf(answer)];
    };
    for (const body of [{ ...chat, model: 'o3' }, { messages: [] }, { model: null }]) assert.deepEqual(await refusal(body), [403, 'model_not_allowed'], JSON.stringify(body));
    for (const body of ['{"model":"gpt-4o","model":"o3"}', '{"model":"gpt-4o","Model":"o3"}', '{"model":"gpt-4o","\\u004dodel":"o3"}', '{"model":"gpt-4o","stream":true,"ſtream":false}']) {
      assert.deepEqual(await refusal(body), [400, 'ambiguous_body'], body);
    }
    assert.equal(seen.length, 0);
  });

  it('warns once when nobody could ever get in', async (t) => {
    const { gate, log, ask } = await behind(t, { auth: { mode: 'keys' } });
    await gate.ready;
    assert.equal(log.named('auth.no_keys').length, 1);
    assert.equal((await ask('/v1/chat/completions', { body: chat, headers: bearer })).status, 401);
    assert.equal((await ask('/api/status')).status, 200);
  });
});

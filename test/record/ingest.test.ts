import '../support/node.ts';
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type { ConfigInput, GateOptions } from '../../lib/index.ts';
import { closing, rawRequest, request, until, type Answer, type RequestOptions } from '../support/client.ts';
import { realClock } from '../support/clock.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { recorded, type JournalRow } from '../support/journal.ts';
import { startNewapi, type Newapi } from '../support/newapi.ts';

const token = 'a-token-of-who-hands-records-in';
const other = 'a-token-of-somebody-else';
const now = Math.floor(Date.now() / 1000);
const raw = 'sk-callersecretcallersecretcallersecretcallersecretcall';

/** What the original's gateway sends. */
const entry = {
  token_key: raw, request_path: '/v1/chat/completions', request_method: 'POST', real_ip: '203.0.113.9', forwarded_for: '203.0.113.9, 10.0.0.1', user_agent: 'curl/8.5.0',
  request_headers: JSON.stringify({ host: 'llm.example.com', authorization: `Bearer ${raw}`, accept: '*/*' }), request_body: JSON.stringify({ model: 'gpt-4o', key: raw }),
  content_fingerprint: 'D41D8CD98F00B204E9800998ECF8427E', device_fingerprint: 'b'.repeat(64), cookies: JSON.stringify({ session: 'cookie-value-of-somebody' }), response_status: 200, response_time: 321,
  timestamp: now - 60,
};

interface Bench {
  readonly gate: RunningGate;
  readonly newapi: Newapi;
  /** POSTs to `/api/log` with the token. */
  send(body: unknown, options?: RequestOptions & { readonly path?: string }): Promise<Answer>;
  /** Records that were handed in. */
  kept(): Promise<JournalRow[]>;
}

async function start(t: TestContext, ingest: object = {}, config: ConfigInput = {}, options: GateOptions = {}): Promise<Bench> {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, secret: 'an install secret', ...config, audit: { ingest: { tokens: [token, other], ...ingest }, ...config.audit } }, options);
  return {
    gate,
    newapi,
    send: (body, { path = '/api/log', headers = { Authorization: `Bearer ${token}` }, ...options } = {}) => request(gate.url + path, { method: 'POST', headers, body, ...options }),
    kept: async () => (await recorded(gate.gate)).filter(({ source }) => String(source).startsWith('ingest:')),
  };
}

const details = (answer: Answer): unknown[] => answer.json<{ detail: { loc: unknown[] }[] }>().detail.map(({ loc }) => loc.join('.'));

describe('a record that is handed in', () => {
  it('is answered as the original did, and kept as one of ours', async (t) => {
    const { send, kept, newapi } = await start(t);
    const answer = await send(entry);
    assert.deepEqual([answer.status, answer.json()], [200, { status: 'success', message: 'Log entry received' }]);
    await send({ ...entry, user_id: 7 }, { headers: { authorization: `bearer ${other}` } });
    const [row, second, ...more] = await kept();
    assert.deepEqual(more, []);
    assert.deepEqual(
      [row?.['request_path'], row?.['request_method'], row?.['real_ip'], row?.['forwarded_for'], row?.['user_agent'], row?.['device_fingerprint'], row?.['content_fingerprint'], row?.['response_status'], row?.['response_time'], row?.['timestamp'], row?.['outcome'], row?.['user_id']],
      ['/v1/chat/completions', 'POST', '203.0.113.9', '203.0.113.9, 10.0.0.1', 'curl/8.5.0', 'b'.repeat(64), 'd41d8cd98f00b204e9800998ecf8427e', 200, 321, entry.timestamp, 'served', null],
    );
    assert.match(String(row?.['source']), /^ingest:[0-9a-f]{8}$/);
    assert.deepEqual([second?.['user_id'], second?.['source'] === row?.['source']], [7, false], 'each token is a source of its own');
    assert.equal(newapi.requests.length, 0);
  });

  it('holds no secret, and names its caller as live requests do', async (t) => {
    const { send, kept, gate } = await start(t);
    await send(entry);
    await request(`${gate.url}/v1/models`, { headers: { Authorization: `Bearer ${raw}` } });
    const rows = await recorded(gate.gate);
    for (const secret of [raw.slice(3), 'cookie-value', token]) assert.ok(!JSON.stringify([rows, gate.log.events]).includes(secret), secret);
    const [row] = await kept();
    assert.deepEqual([row?.['token_key'], row?.['token_id']], ['sk-…call', rows.find(({ source }) => source === 'gate')?.['token_id']]);
  });

  it('keeps a body of model routes alone', async (t) => {
    const { send, kept } = await start(t);
    for (const path of ['/v1/chat/completions', '/api/user/login', '/%61pi/user/login?x=1']) await send({ ...entry, request_path: path, request_body: '{"password":"hunter2hunter2"}' });
    assert.deepEqual((await kept()).map(({ request_body: body, content_fingerprint: content }) => [body === null, content === null]), [[false, false], [true, true], [true, true]]);
    assert.doesNotMatch(JSON.stringify(await kept()), /hunter2/);
  });

  it('needs no more than the original demands', async (t) => {
    const { send, kept } = await start(t);
    const { request_path, request_method, response_status, response_time, timestamp } = entry;
    const answer = await send({ request_path, request_method, real_ip: 'unknown', response_status, response_time, timestamp: timestamp + 0.75, anything: 'else' });
    assert.equal(answer.status, 200);
    const [row] = await kept();
    assert.deepEqual([row?.['real_ip'], row?.['token_key'], row?.['request_body'], row?.['timestamp']], ['unknown', null, null, timestamp]);
  });

  it('is refused with the place of what is wrong, and none of it', async (t) => {
    const { send, kept, gate } = await start(t);
    const wrong: [object, string][] = [
      [{ request_path: undefined }, 'body.request_path'], [{ request_path: 'http://x' }, 'body.request_path'], [{ request_method: 'get' }, 'body.request_method'], [{ real_ip: 'not-an-ip' }, 'body.real_ip'],
      [{ response_status: '200' }, 'body.response_status'], [{ response_time: -1 }, 'body.response_time'], [{ timestamp: '1' }, 'body.timestamp'], [{ timestamp: now - 31 * 86_400 }, 'body.timestamp'],
      [{ timestamp: now + 400 }, 'body.timestamp'], [{ timestamp: 1e300 }, 'body.timestamp'], [{ cookies: '[1]' }, 'body.cookies'], [{ request_headers: 'no json' }, 'body.request_headers'], [{ user_id: 1.5 }, 'body.user_id'],
      [{ content_fingerprint: 'sk-secret' }, 'body.content_fingerprint'], [{ device_fingerprint: 'c'.repeat(65) }, 'body.device_fingerprint'],
    ];
    for (const [more, place] of wrong) {
      const answer = await send({ ...entry, ...more });
      assert.deepEqual([answer.status, details(answer)], [422, [place]], JSON.stringify(more));
      assert.ok(!answer.text.includes(raw) && !/sk-secret|not-an-ip|no json/.test(answer.text), answer.text);
    }
    for (const body of ['', '[]', 'null', '"x"', '{"a":', Buffer.from([0x7b, 0xff, 0x7d]), '['.repeat(100_000)]) assert.equal((await send(body)).status, 422, String(body).slice(0, 20));
    assert.deepEqual(await kept(), []);
    assert.equal((await recorded(gate.gate)).every(({ outcome }) => outcome === 'refused:invalid_value'), true);
  });

  it('may not be too large, nor too many of one token', async (t) => {
    // A second would give back two.
    const { send, gate } = await start(t, { maxRate: 2 }, {}, { clock: { ...realClock, now: () => now * 1000, monotonic: () => now * 1000 } });
    assert.equal((await send({ ...entry, request_body: 'x'.repeat(262_144) })).status, 413);
    const statuses: number[] = [];
    for (let nth = 0; nth < 4; nth++) statuses.push((await send(entry)).status);
    assert.deepEqual(statuses, [200, 200, 200, 429]);
    const refused = await send(entry);
    assert.deepEqual([refused.status, refused.headers['retry-after'], refused.json<{ error: { code: string } }>().error.code], [429, '1', 'too_many_records']);
    assert.equal((await send(entry, { headers: { Authorization: `Bearer ${other}` } })).status, 200);
    assert.ok(gate.url);
  });

  it('is not taken where it cannot be kept', async (t) => {
    const { send } = await start(t, {}, { audit: { path: '/dev/null/heimdall.db', onFull: 'refuse' } });
    const answer = await send(entry);
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '5']);
  });
});

describe('who hands in', () => {
  it('needs a token of its own; failures are logged and limited', async (t) => {
    const { send, gate, kept } = await start(t, {}, { mode: 'observe', rateLimit: { address: { limit: 4 } } });
    for (const headers of [{}, { Authorization: 'Bearer nobody' }, { Authorization: token }, { 'X-API-Key': token }]) {
      const answer = await send(entry, { headers });
      assert.deepEqual([answer.status, answer.json<{ error: { code: string } }>().error.code], [401, 'unauthorized']);
    }
    assert.deepEqual(gate.log.named('auth.failed').map(({ ip, path }) => [ip, path]), Array(4).fill(['127.0.0.1', '/api/log']));
    assert.equal((await send(entry, { headers: {} })).status, 429);
    assert.equal((await send(entry)).status, 200);
    await until(async () => (await kept()).length === 1);
  });

  it('is nobody where no token is configured', async (t) => {
    const { send, newapi } = await start(t, { tokens: [] });
    for (const path of ['/api/log', '/api/heimdall/log']) assert.equal((await send(entry, { path })).status, 401);
    assert.equal(newapi.requests.length, 0);
  });

  it('uses the path of the configuration, which is nobody else\'s', async (t) => {
    const { send, newapi } = await start(t, {}, { endpoints: { log: '/ingest' } });
    assert.equal((await send(entry, { path: '/ingest' })).status, 200);
    assert.equal(newapi.requests.length, 0);
    for (const [method, path] of [['POST', '/api/log'], ['GET', '/ingest'], ['POST', '/ingest/more']] as const) await send(undefined, { path, method });
    assert.deepEqual(newapi.requests.map(({ method, url }) => `${method} ${url}`), ['POST /api/log', 'GET /ingest', 'POST /ingest/more']);
    const off = await start(t, {}, { endpoints: { log: false } });
    await off.send(entry);
    assert.equal(off.newapi.requests.length, 1);
  });
});

describe('the receiver behind the gate', () => {
  const spellings = ['/api/heimdall/log', '/api/heimdall/log/', '/api//heimdall/log', '/api/heimdall/./log', '/api/x/../heimdall/log', '/api/heimdall%2flog', '/%61pi/heimdall/log', '/api/heimdall/log/more', '/api/heimdall/log?a=b', '/api/heimdall%2Flog%2F', '//api/heimdall/log'];

  for (const mode of ['enforce', 'observe'] as const) {
    it(`is out of reach by any spelling and method while the gate is in mode ${mode}`, async (t) => {
      const { gate, newapi } = await start(t, {}, { mode, rateLimit: { address: { limit: 1000 } } });
      const statuses = new Set<number>();
      for (const path of spellings) for (const method of ['POST', 'GET', 'PUT', 'DELETE', 'OPTIONS', 'HEAD']) statuses.add((await request(gate.url, { target: path, method, ...(method === 'POST' && { body: entry }) })).status);
      // Spellings that a receiver could read differently are refused with 400.
      assert.deepEqual([...statuses].filter((status) => status !== 400), [401]);
      assert.equal(newapi.requests.length, 0);
      assert.equal(newapi.received.length, 0);
    });
  }

  it('is out of reach for upgrades and in absolute form', async (t) => {
    const { gate, newapi } = await start(t);
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
    for (const head of [`GET /api/heimdall/log HTTP/1.1\r\nHost: a\r\n${upgrade}`, 'POST http://a/api/heimdall/log HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n']) {
      assert.match((await rawRequest(gate.port, `${head}\r\n`)).toString(), /^HTTP\/1.1 401 /);
    }
    assert.equal(newapi.requests.length, 0);
  });

  it('is out of reach with gateway keys and by their holders', async (t) => {
    const key = `sk-${'k'.repeat(48)}`;
    const { gate, newapi } = await start(t, {}, { auth: { mode: 'keys', keys: [{ name: 'alice', sha256: hash('sha256', key) }] } });
    assert.equal((await request(`${gate.url}/api/heimdall/log`, { method: 'POST', body: entry, headers: { Authorization: `Bearer ${key}` } })).status, 401);
    assert.equal(newapi.requests.length, 0);
  });

  it('is stood in for: with a token records are taken in its own words', async (t) => {
    const { send, kept, newapi } = await start(t);
    const path = '/api/heimdall/log';
    const good = await send(entry, { path });
    assert.deepEqual([good.status, good.json()], [200, { success: true, message: 'Log received successfully' }]);
    const bad = await send({}, { path });
    assert.deepEqual([bad.status, bad.json()], [400, { success: false, message: 'Invalid log data' }]);
    const read = await send(undefined, { path, method: 'GET' });
    assert.deepEqual([read.status, read.headers.allow, read.json<{ success: boolean }>().success], [405, 'POST', false]);
    assert.equal((await kept()).length, 1);
    assert.equal(newapi.requests.length, 0);
  });
});

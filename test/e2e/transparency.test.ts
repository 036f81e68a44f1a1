import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ConfigInput } from '../../lib/index.ts';

import { closing, request, type Answer, type RequestOptions, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi, type Override, type SeenRequest } from '../support/newapi.ts';
import { shared } from '../support/shared.ts';

/** Everything in an answer's head that may differ from a direct call's. */
const differences = {
  /** The gate says them itself; `Date` Node, where the upstream has none. */
  added: ['x-request-id', 'x-response-time', 'x-queue-position', 'x-queue-wait', 'x-content-type-options', 'x-accel-buffering', 'date'],
  /** They belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6.1). */
  connection: ['connection', 'keep-alive', 'transfer-encoding'],
  /** A chunked JSON answer that the gate has whole before its head goes out is sent with its length. */
  framing: ['content-length'],
  /** NewAPI gives every request its own. */
  values: ['x-oneapi-request-id', 'date'],
} as const;

/** What only the gate says to NewAPI. */
const said: readonly string[] = ['x-forwarded-for', 'x-real-ip', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port', 'x-request-id'];

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
}

async function start(t: TestLike, config: ConfigInput = {}): Promise<Scene> {
  const api = closing(t, await startNewapi());
  return { api, gate: await startGate(t, { newapi: { baseUrl: api.url }, ...config }) };
}

type Pair = readonly [name: string, value: string];

function pairs(raw: readonly string[]): Pair[] {
  return Array.from({ length: raw.length / 2 }, (_, at): Pair => [raw[2 * at] as string, raw[2 * at + 1] as string]);
}

const among = (names: readonly string[], [name]: Pair): boolean => names.includes(name.toLowerCase());

/** Asks NewAPI directly and through the gate and holds one answer against the other; gives both. */
async function same({ api, gate }: Scene, path: string, options: RequestOptions): Promise<{ direct: Answer; through: Answer }> {
  const direct = await request(api.url + path, options);
  const through = await request(gate.url + path, options);
  assert.deepEqual([through.status, through.statusText], [direct.status, direct.statusText]);
  assert.ok(through.body.equals(direct.body), 'the body differs');
  const { added, connection, framing, values } = differences;
  const free = [...added, ...connection, ...framing];
  const fixed = (answer: Answer): Pair[] => pairs(answer.rawHeaders).filter((pair) => !among([...free, ...values], pair));
  assert.deepEqual(fixed(through), fixed(direct), 'order, case, duplicates and values');
  const missing = pairs(direct.rawHeaders).filter((pair) => !among(connection, pair) && through.headers[pair[0].toLowerCase()] === undefined);
  assert.deepEqual(missing, []);
  const length = direct.headers['content-length'];
  if (length !== undefined) assert.equal(through.headers['content-length'], length);
  for (const name of ['x-accel-buffering', 'x-content-type-options'] as const) {
    if (direct.headers[name] !== undefined) assert.equal(through.headers[name], direct.headers[name]);
  }
  return { direct, through };
}

const chat: RequestOptions = {
  headers: { Authorization: `Bearer ${DEMO_KEY}` },
  body: { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] },
};

const answers: Readonly<Record<string, Override>> = {
  'JSON with a length': (_req, res) => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 15 }).end('{"a": "\\u00e9"}'),
  'chunked JSON': (_req, res) => {
    res.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).write('{"a":\n');
    res.end(' [1e3, "é"]}\n\n');
  },
  'JSON beyond what is held back': (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' }).write('{"a":"');
    res.write('x'.repeat(400_000));
    res.end('"}');
  },
  'JSON beyond what is held back, with a length': (_req, res) =>
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 400_008 }).end(`{"a":"${'x'.repeat(400_000)}"}`),
  'compressed JSON': (_req, res) => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' }).end(gzipSync('{}')),
  'bytes that are no text': (_req, res) => res.writeHead(200, { 'Content-Type': 'audio/mpeg' }).end(Buffer.from([0xff, 0xf3, 0, 13, 10, 0x80, 0xfe])),
  'no content': (_req, res) => res.writeHead(204).end(),
  'a redirect, which is not followed': (_req, res) => res.writeHead(307, { Location: 'http://127.0.0.1:1/v1/x', 'Content-Length': 0 }).end(),
  'an error of the caller': (_req, res) => res.writeHead(400, { 'Content-Type': 'application/json' }).end('{"error":{"message":"no","code":null}}'),
  'a limit with its headers': (_req, res) =>
    res.writeHead(429, { 'Retry-After': '7', 'x-ratelimit-remaining-requests': '0', 'x-should-retry': 'true', 'Content-Length': 0 }).end(),
  'an error that is no JSON': (_req, res) => res.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad Gateway</h1>'),
  'several lines of a name, odd case, an empty value, Latin-1': (_req, res) =>
    res
      .writeHead(200, ['Content-Type', 'application/json', 'Set-Cookie', 'a=1', 'sET-cookie', 'b=2', 'X-TWICE', '1', 'x-Twice', '2', 'X-Empty', '', 'X-Latin', 'é'])
      .end('{}'),
  'an event stream as odd as the format allows': (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
    for (const part of ['\ufeff: hi\r\n\r\n', 'id: 1\r\ndata: {"a":', '1}\r\ndata: x\r\n\r\n', 'retry: 5\n\ndata: [DONE]\n\n', 'data: cut']) res.write(part);
    res.end();
  },
  'an event stream that asks for no buffering': (_req, res) => res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' }).end('data: 1\n\n'),
  'a policy of its own on sniffing': (_req, res) => res.writeHead(200, { 'Content-Type': 'application/json', 'x-content-type-options': 'nosniff' }).end('{}'),
};

const common = shared((scope) => start(scope));

for (const [name, override] of Object.entries(answers)) {
  test(`an answer passes unchanged: ${name}`, async () => {
    const scene = await common();
    scene.api.on('POST /v1/chat/completions', override);
    const { through } = await same(scene, '/v1/chat/completions', chat);
    assert.match(String(through.headers['x-request-id']), /^[0-9a-f-]{36}$/);
    assert.equal(through.headers['x-content-type-options'], 'nosniff');
    scene.api.on('POST /api/option', override);
    await same(scene, '/api/option', { ...chat, body: '{}' });
  });
}

test('the stand-in\'s own speech, page, asset, compressed status and refusals pass unchanged', async (t) => {
  const scene = await start(t);
  const speech = { ...chat, body: { model: 'tts-1', voice: 'alloy', input: 'hello' } };
  assert.equal((await same(scene, '/v1/audio/speech', speech)).through.body.length, 4 + 128 * 32);
  // The status names the host that was asked.
  const gzip = { headers: { Host: 'chat.test', 'Accept-Encoding': 'gzip' } };
  assert.equal((await same(scene, '/api/status', gzip)).through.headers['content-encoding'], 'gzip');
  await same(scene, '/', gzip);
  const { direct } = await same(scene, '/assets/app.js', {});
  const cached = { headers: { 'If-None-Match': String(direct.headers.etag) } };
  assert.equal((await same(scene, '/assets/app.js', cached)).through.status, 304);
  assert.equal((await same(scene, '/', { method: 'HEAD' })).through.body.length, 0);
  assert.equal((await same(scene, '/assets/none.js', {})).through.status, 404);
  assert.equal((await same(scene, '/v1/models', chat.headers ? { headers: chat.headers } : {})).through.status, 200);
  const preflight = { method: 'OPTIONS', headers: { Origin: 'https://a.test', 'Access-Control-Request-Method': 'POST' } };
  assert.equal((await same(scene, '/v1/chat/completions', preflight)).through.headers['access-control-allow-origin'], '*');
});

test('what an upstream claims in the gate\'s name does not pass', async (t) => {
  const { api, gate } = await start(t);
  const forged = { 'X-Request-Id': 'forged', 'X-Response-Time': 'forged', 'X-Heimdall-Key': 'forged', Connection: 'X-Hop', 'X-Hop': 'forged' };
  for (const route of ['POST /v1/chat/completions', 'POST /api/option']) {
    api.on(route, (_req, res) => res.writeHead(200, { 'Content-Type': 'application/json', ...forged }).end('{}'));
    const { rawHeaders } = await request(gate.url + (route.split(' ')[1] ?? ''), chat);
    assert.ok(!rawHeaders.includes('forged'), route);
  }
});

/** What reached NewAPI, without what the gate says itself and what belongs to the connection. */
const received = (seen: SeenRequest | undefined): Pair[] =>
  pairs(seen?.rawHeaders ?? []).filter((pair) => !among([...said, 'connection', 'content-length'], pair));

const lowered = (head: readonly Pair[]): Pair[] => head.map(([name, value]) => [name.toLowerCase(), value]);

test('a model request arrives with its bytes, and its headers in their case and order', async (t) => {
  const { api, gate } = await start(t);
  const body = Buffer.from('{ "messages":[{"role":"user","content":"\\u00e9 \u00fc"}],\r\n\t"model" : "gpt-4o-mini", "seed": 1e3, "x": 1.0 }\n');
  const headers = [
    'host', `127.0.0.1:${gate.port}`, 'aUTHORIZATION', `Bearer ${DEMO_KEY}`, 'Content-Type', 'application/json', 'X-Twice', '1', 'x-twice', '2',
    'User-Agent', 'odd/1 (é)', 'Accept-Encoding', 'identity;q=0, *', 'Cookie', 'a=1', 'Cookie', 'b=2', 'X-Empty', '',
  ];
  const target = '/v1/chat/completions?b=2&a=%zz&&=;+%20&keys=x';
  assert.equal((await request(gate.url, { body, headers, target })).status, 200);
  const [seen] = api.requests;
  assert.equal(seen?.url, target);
  assert.ok(seen.body.equals(body));
  assert.deepEqual(received(seen), pairs(headers));
  assert.equal(seen.headers['content-length'], String(body.length));
  // A second credential, by which the caller was not judged, stays behind.
  assert.equal((await request(gate.url, { body, headers, target: `${target}&key=x` })).status, 200);
  assert.equal(api.requests[1]?.url, target);
});

test('every other request arrives with its bytes, its duplicates, its raw query and its raw path', async (t) => {
  const { api, gate } = await start(t);
  const body = randomBytes(3000);
  const targets = [
    '/v1beta/files/f:download?alt=sse&x=%zz&&=;', '/v1beta/cachedContents?a=1', '/api/a%2Fb/../c//d/%E4%B8%AD?q=%00&',
    '/mj-fast/mj/submit/imagine?', '/pg/../x/./y', '/@vite/client?import', '/p;v=1,2/$&\'()*+=!~', '//host/path',
  ];
  const headers = ['Host', 'chat.example.com:8443', 'Authorization', `Bearer ${DEMO_KEY}`, 'X-Twice', '1', 'x-twice', '2', 'Content-Type', 'application/octet-stream', 'New-Api-User', '1'];
  for (const target of targets) {
    await request(gate.url, { body, headers, target, method: 'POST' });
    const seen = api.requests.at(-1);
    assert.equal(seen?.url, target);
    assert.ok(seen.body.equals(body), target);
    assert.deepEqual(lowered(received(seen)), lowered(pairs(headers)));
  }
});

test('a call of Gemini arrives with its bytes and its raw query', async (t) => {
  const { api, gate } = await start(t);
  const body = Buffer.from('{"contents": [{"parts":[{"text":"hello"}]}], "x": 1, "x": 2}');
  for (const target of ['/v1beta/models/gemini-2.5-flash:generateContent?alt=sse&x=%zz&&=;', '/v1/models/gemini-2.5-flash:generateContent?a=1']) {
    await request(gate.url, { body, headers: ['Authorization', `Bearer ${DEMO_KEY}`, 'Content-Type', 'application/json'], target, method: 'POST' });
    const seen = api.requests.at(-1);
    assert.deepEqual([seen?.url, seen?.body.toString()], [target, body.toString()]);
  }
});

test('bodies arrive whole whatever their framing, encoding and size', async (t) => {
  const { api, gate } = await start(t, { server: { bufferBodyBytes: '64KB' } });
  const json = (size: number): Buffer => Buffer.from(JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'x'.repeat(size) }] }));
  const authorised = { Authorization: `Bearer ${DEMO_KEY}`, 'Content-Type': 'application/json' };
  const url = `${gate.url}/v1/chat/completions`;
  const cases: readonly (readonly [string, Buffer, Readonly<Record<string, string>>])[] = [
    ['chunked', json(10), { 'Transfer-Encoding': 'chunked' }],
    ['compressed', gzipSync(json(1000)), { 'Content-Encoding': 'gzip' }],
    ['larger than the buffer', json(700_000), {}],
    ['larger than the buffer, chunked', json(700_000), { 'Transfer-Encoding': 'chunked' }],
    ['larger than the buffer, after a question', json(700_000), { Expect: '100-continue' }],
  ];
  for (const [name, body, headers] of cases) {
    const answer = await request(url, { body, headers: { ...authorised, ...headers } });
    assert.equal(answer.status, 200, name);
    assert.ok(api.requests.at(-1)?.body.equals(body), name);
    assert.equal(api.requests.at(-1)?.headers.expect, undefined);
  }
});

const forged = {
  'X-Forwarded-For': '203.0.113.7', 'X-Real-IP': '203.0.113.7', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.test', 'X-Forwarded-Port': '1',
  Forwarded: 'for=203.0.113.7', 'X-Forwarded-Prefix': '/evil', 'CF-Connecting-IP': '203.0.113.7', 'True-Client-IP': '203.0.113.7', 'X-Client-IP': '203.0.113.7',
  'X-Original-URL': '/api/user/self', 'X-Rewrite-URL': '/api/user/self', 'X-Heimdall-Key': 'admin', X_Forwarded_For: '203.0.113.7', 'X-Request-Id': 'forged',
} as const;

for (const [path, trustProxy, expected] of [
  ['/v1/chat/completions', [], ['127.0.0.1', 'http', 'host.test', '80']],
  ['/api/status', [], ['127.0.0.1', 'http', 'host.test', '80']],
  ['/v1/chat/completions', ['loopback'], ['203.0.113.7', 'https', 'evil.test', '443']],
  ['/api/status', ['loopback'], ['203.0.113.7', 'https', 'evil.test', '443']],
] as const) {
  test(`forwarded headers to ${path} are the gate's own, ${trustProxy.length ? 'taken from a trusted peer' : 'whatever a stranger writes'}`, async (t) => {
    const { api, gate } = await start(t, { trustProxy: [...trustProxy] });
    const answer = await request(gate.url + path, { ...chat, headers: { ...chat.headers, ...forged, Host: 'host.test' } });
    const { headers } = api.requests[0] as SeenRequest;
    const [ip, proto, host, port] = expected;
    assert.deepEqual([headers['x-forwarded-for'], headers['x-real-ip'], headers['x-forwarded-proto']], [ip, ip, proto]);
    assert.deepEqual([headers['x-forwarded-host'], headers['x-forwarded-port'], headers.host], [host, port, 'host.test']);
    assert.equal(headers['x-request-id'], answer.headers['x-request-id']);
    const rest = Object.keys(forged).map((name) => name.toLowerCase()).filter((name) => !said.includes(name));
    assert.deepEqual(rest.filter((name) => headers[name] !== undefined), []);
  });
}

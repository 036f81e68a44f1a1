import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import { createServer as createGateServer, heimdall, keepRawBody, type ConfigInput, type Gate } from '../../lib/index.ts';
import type { RequestInfo } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { recorder, temporary, type Recorder } from '../support/gate.ts';
import { DEMO_KEY, OTHER_KEY, startNewapi, type Newapi } from '../support/newapi.ts';

const credential = { Authorization: `Bearer ${DEMO_KEY}` };
/** Spacing, number forms, duplicate names and escapes that no serialiser gives back. */
const odd = Buffer.from('{ "model" : "gpt-4o-mini", "n": 1.0, "seed": 12345678901234567890, "messages": [{"role":"user","content":"h\\u00e9llo"}] }\n');

function gateFor(t: TestContext, baseUrl: string, config: ConfigInput = {}): { readonly gate: Gate; readonly log: Recorder } {
  const log = recorder();
  const gate = heimdall({ ...config, newapi: { baseUrl }, llm: { priceSource: 'none', healthCheck: { enabled: false } }, logging: { file: false, level: 'silent' }, audit: { path: `${temporary(t)}/a.db` } }, { log });
  t.after(() => gate.close({ timeout: 0 }));
  return { gate, log };
}

async function listening(t: TestContext, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Host {
  readonly api: Newapi;
  readonly url: string;
  readonly gate: Gate;
  readonly log: Recorder;
}

/** An application with the gate at `mount`, `before` in front of it, a 404 and an error handler behind. */
async function host(t: TestContext, mount: string, before: (app: Express) => void = () => undefined, config: ConfigInput = {}): Promise<Host> {
  const api = closing(t, await startNewapi());
  const { gate, log } = gateFor(t, api.url, config);
  const app = express();
  before(app);
  app.get('/own', (_req, res) => void res.json({ own: true }));
  app.get('/own/error', () => {
    throw new Error('the host\'s own');
  });
  app.use(mount, gate);
  app.use((_req, res) => void res.status(404).send('the host\'s 404'));
  app.use(((error: Error, _req, res, _next) => void res.status(500).send(`the host's handler: ${error.message}`)) as ErrorRequestHandler);
  const server = createServer(app);
  gate.attach(server);
  return { api, gate, log, url: await listening(t, server) };
}

for (const mount of ['/', '/gate']) {
  const at = mount === '/' ? '' : mount;
  test(`mounted at ${mount} the gate serves, and leaves the host its routes and its errors`, async (t) => {
    const { url, api } = await host(t, mount);
    const answer = await request(`${url}${at}/v1/chat/completions`, { headers: credential, body: odd });
    assert.equal(answer.status, 200);
    assert.deepEqual(api.requests[0]?.body, odd);
    assert.match((await request(`${url}${at}/`)).text, /NewAPI stand-in/);
    assert.equal((await request(`${url}${at}/health`)).json<{ status: string }>().status, 'healthy');
    assert.deepEqual((await request(`${url}/own`)).json(), { own: true });
    assert.equal((await request(`${url}/own/error`)).text, 'the host\'s handler: the host\'s own');
    assert.deepEqual(api.requests.map((seen) => seen.url), ['/v1/chat/completions', '/']);
  });
}

test('below a path the rest goes upstream, and the host\'s 404 stays the host\'s', async (t) => {
  const { url, api } = await host(t, '/gate');
  for (const path of ['/gate', '/gate?a=1', '/gate/', '/gate//x:y?q=%2F', '/gate/api/status']) await request(url + path);
  assert.deepEqual(api.requests.map((seen) => seen.url), ['/', '/?a=1', '/', '//x:y?q=%2F', '/api/status']);
  for (const path of ['/nothing', '/gatekeeper', '/v1/models']) {
    const answer = await request(url + path, { headers: credential });
    assert.deepEqual([answer.status, answer.text], [404, 'the host\'s 404'], path);
  }
});

test('an error of the gate is answered by the gate, never by the host\'s handler', async (t) => {
  const { url } = await host(t, '/', (app) => app.use(express.json({ verify: keepRawBody })));
  const refused = await request(`${url}/v1/chat/completions`, { body: { model: 'gpt-4o-mini' } });
  assert.equal(refused.status, 401);
  assert.equal(refused.json<{ error: { code: string } }>().error.code, 'missing_credential');
  const broken = await request(`${url}/v1/chat/completions`, { headers: { ...credential, 'Content-Type': 'application/json' }, body: '{"model":' });
  assert.deepEqual([broken.status, broken.text.startsWith('the host\'s handler')], [500, true], 'the host\'s parser is the host\'s');
});

test('with keepRawBody the bytes reach the upstream as they came, whatever the route', async (t) => {
  const { url, api, log } = await host(t, '/', (app) => app.use(express.json({ verify: keepRawBody })));
  for (const path of ['/v1/chat/completions', '/api/stripe/webhook', '/suno/submit/music']) {
    await request(url + path, { headers: { ...credential, 'Content-Type': 'application/json' }, body: odd });
    await request(url + path, { headers: { ...credential, 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' }, body: odd });
  }
  assert.equal(api.requests.length, 6);
  for (const { body, headers, url: at } of api.requests) {
    assert.deepEqual(body, odd, at);
    assert.equal(headers['content-length'], String(odd.length), at);
  }
  assert.deepEqual(log.named('host.body_parsed'), []);
});

test('without it JSON is serialised again, and each gate\'s log says so once', async (t) => {
  for (let round = 0; round < 2; round++) {
    const { url, api, log } = await host(t, '/', (app) => app.use(express.json()));
    for (const path of ['/v1/chat/completions', '/api/user/login']) {
      await request(url + path, { headers: { ...credential, 'Content-Type': 'application/json' }, body: odd });
    }
    for (const { body } of api.requests) assert.deepEqual(body, Buffer.from(JSON.stringify(JSON.parse(odd.toString()))));
    assert.equal(log.named('host.body_parsed').length, 1);
    assert.match(String(log.named('host.body_parsed')[0]?.['fix']), /keepRawBody/);
  }
});

for (const [how, parser] of [['with', express.json({ verify: keepRawBody })], ['without', express.json()]] as const) {
  test(`a body the host's parser unpacked goes upstream unpacked and unmarked, ${how} keepRawBody`, async (t) => {
    const { url, api } = await host(t, '/', (app) => app.use(parser));
    const headers = { ...credential, 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' };
    for (const path of ['/v1/chat/completions', '/suno/submit/music']) {
      const { status } = await request(url + path, { headers, body: gzipSync(odd) });
      assert.equal(status, 200, path);
    }
    for (const { body, headers: got } of api.requests) {
      assert.deepEqual(JSON.parse(body.toString()), JSON.parse(odd.toString()));
      assert.equal(got['content-encoding'], undefined);
    }
  });
}

test('an empty body that a parser has looked at stays empty', async (t) => {
  const consume: RequestHandler = (req, _res, next) => void (req.readableEnded ? next() : req.resume().on('end', () => next()));
  const { url, api } = await host(t, '/', (app) => app.use(express.json(), consume));
  const headers = { ...credential, 'Content-Type': 'application/json', 'Content-Length': '0' };
  await request(`${url}/api/user/logout`, { method: 'POST', headers });
  await request(`${url}/api/status`);
  assert.deepEqual(api.requests.map(({ body, headers: got }) => [body.length, got['content-length']]), [[0, '0'], [0, undefined]]);
  const chat = await request(`${url}/v1/chat/completions`, { method: 'POST', headers });
  assert.deepEqual([chat.status, chat.json<{ error: { code: string } }>().error.code], [400, 'invalid_json']);
});

test('a body another parser has left as text or bytes is sent as it is', async (t) => {
  const { url, api } = await host(t, '/', (app) => app.use(express.text({ type: 'text/plain' }), express.raw({ type: 'image/png' })));
  const bytes = Buffer.from([0, 255, 1, 254]);
  await request(`${url}/api/note`, { headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: 'zoë ✓' });
  await request(`${url}/api/image`, { headers: { 'Content-Type': 'image/png' }, body: bytes });
  assert.deepEqual(api.requests.map(({ body }) => body), [Buffer.from('zoë ✓'), bytes]);
});

test('a body that is lost is answered with how to keep it, at once and on every route', async (t) => {
  const parsers = (app: Express): unknown => app.use(express.urlencoded()).use((req, _res, next) => {
    if (req.headers['content-type'] !== 'application/octet-stream') return next();
    req.resume().on('end', next);
  });
  const { url, api } = await host(t, '/', parsers);
  for (const [path, type] of [['/api/form', 'application/x-www-form-urlencoded'], ['/api/bytes', 'application/octet-stream'], ['/v1/audio/transcriptions', 'application/octet-stream']]) {
    const answer = await request(url + path, { headers: { ...credential, 'Content-Type': String(type) }, body: 'a=1&b=2' });
    assert.equal(answer.status, 500, path);
    assert.match(answer.text, /before express\.json\(\), or pass keepRawBody/);
  }
  assert.equal(api.requests.length, 0);
});

test('two gates in one process keep to themselves', async (t) => {
  const apis = [closing(t, await startNewapi()), closing(t, await startNewapi({ keys: { [OTHER_KEY]: { user: 3 } } }))] as const;
  const app = express();
  const first = gateFor(t, apis[0].url, { endpoints: { health: '/alive' }, cors: { allowOrigins: ['https://a.example.com'] } });
  const second = gateFor(t, apis[1].url, { rateLimit: { address: { limit: 1 } } });
  app.use('/one', first.gate).use('/two', second.gate);
  const server = createServer(app);
  first.gate.attach(server);
  second.gate.attach(server);
  const url = await listening(t, server);
  assert.equal((await request(`${url}/one/v1/models`, { headers: credential })).status, 200);
  assert.equal((await request(`${url}/two/v1/models`, { headers: credential })).status, 401);
  assert.equal((await request(`${url}/two/v1/models`, { headers: credential })).status, 429, 'its limit is its own');
  assert.equal((await request(`${url}/one/v1/models`, { headers: credential })).status, 200);
  assert.equal((await request(`${url}/one/alive`)).json<{ status: string }>().status, 'healthy');
  assert.match((await request(`${url}/two/alive`)).text, /NewAPI stand-in/);
  assert.ok((await request(`${url}/one/`, { headers: { Origin: 'https://a.example.com' } })).headers['access-control-allow-origin']);
  await first.gate.close();
  assert.equal((await request(`${url}/one/`)).status, 503);
  assert.equal((await request(`${url}/two/`)).status, 200);
  assert.deepEqual([first.gate.config.endpoints.health, second.gate.config.endpoints.health], ['/alive', '/health']);
});

test('a handler in front of the gate reads what the gate learned once the answer is out, and nothing secret', async (t) => {
  const seen: Pick<RequestInfo, 'id' | 'ip' | 'model' | 'token' | 'contentFingerprint' | 'device' | 'timings'>[] = [];
  const { url } = await host(t, '/', (app) => app.use((req, res, next) => {
    res.on('finish', () => {
      if (!req.heimdall) return;
      const { id, ip, model, token, contentFingerprint, device, timings } = req.heimdall;
      seen.push({ id, ip, model, token, contentFingerprint, device, timings });
    });
    next();
  }));
  const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] };
  const answer = await request(`${url}/v1/chat/completions`, { headers: credential, body });
  await request(`${url}/own`);
  assert.equal(seen.length, 1, 'a request the gate never saw has none');
  const [info] = seen;
  assert.deepEqual([info?.id, info?.ip, info?.model], [answer.headers['x-request-id'], '127.0.0.1', 'gpt-4o-mini']);
  assert.match(String(info?.token?.id), /^[0-9a-f]{16}$/);
  assert.match(String(info?.contentFingerprint), /^[0-9a-f]{32}$/);
  assert.match(String(info?.device), /^[0-9a-f]{64}$/);
  assert.ok((info?.timings.firstByte ?? -1) >= 0);
  assert.ok(!JSON.stringify([seen, info?.token?.mask]).includes(DEMO_KEY.slice(3, 30)));
});

test('a client that left while the host was still thinking costs the upstream nothing and leaves nothing behind', async (t) => {
  const gone: Promise<unknown>[] = [];
  const { url, api, gate } = await host(t, '/', (app) => app.use((req, _res, next) => {
    const left = new Promise((resolve) => req.socket.on('close', resolve));
    gone.push(
      (async () => {
        await left;
        await new Promise(setImmediate);
        next();
      })(),
    );
  }));
  const handshake = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyAuLg==\r\n';
  const body = JSON.stringify({ model: 'gpt-4o-mini', messages: [] });
  const requests = [
    `GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n`,
    `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${DEMO_KEY}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    `GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${DEMO_KEY}\r\n${handshake}\r\n`,
  ];
  for (const [at, bytes] of requests.entries()) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write(bytes);
    await until(() => gone.length === at + 1);
    socket.resetAndDestroy();
    await gone[at];
  }
  // Nothing is in hand: the limit is longer than a test may take.
  await gate.close({ timeout: 600_000 });
  assert.equal(api.requests.length, 0);
});

test('the gate needs no Express application', async (t) => {
  const api = closing(t, await startNewapi());
  const { gate } = gateFor(t, api.url);
  const url = await listening(t, createGateServer(gate));
  assert.equal((await request(`${url}/api/status`)).status, 200);
  const plain = await listening(t, createServer((req: IncomingMessage, res) => (gate as unknown as (...args: unknown[]) => void)(req, res, () => res.end('beyond'))));
  assert.equal((await request(`${plain}/v1/models`, { headers: credential })).status, 200);
});

test('shows a host\'s own logger the request as it came, never the credential sent in its place', async (t) => {
  const key = `sk-${'g'.repeat(48)}`;
  const seen: { url: string | undefined; authorization: string | undefined }[] = [];
  const { api, url } = await host(t, '/gate', (app) => app.use(((req, res, next) => {
    res.on('finish', () => void seen.push({ url: req.originalUrl, authorization: req.headers.authorization }));
    next();
  }) as RequestHandler), { auth: { mode: 'keys', keys: [{ name: 'host', sha256: hash('sha256', key), upstreamCredential: DEMO_KEY }] } });
  const answer = await request(`${url}/gate/mj/task/1/fetch?a=b`, { headers: { Authorization: `Bearer ${key}` } });
  await until(() => seen.length === 1);
  assert.deepEqual(seen, [{ url: '/gate/mj/task/1/fetch?a=b', authorization: `Bearer ${key}` }]);
  assert.equal(api.requests.at(-1)?.headers.authorization, `Bearer ${DEMO_KEY}`);
  assert.ok(answer.status < 500);
});

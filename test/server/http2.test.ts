import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { request as openSecure } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { connect as secure } from 'node:tls';
import type { ConfigInput } from '../../lib/index.ts';
import { requestHead } from '../../lib/server/stream-head.ts';
import { authority, noOpenssl } from '../support/authority.ts';
import { until } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { floods, openRaw } from '../support/http2-frames.ts';
import { accessRecords } from '../support/records.ts';
import { shared } from '../support/shared.ts';

const certificate = shared(async (scope) => Promise.resolve(authority(scope).issue('DNS:localhost', 'IP:127.0.0.1')));
const options = { skip: noOpenssl };

/** An upstream that answers by path, and remembers what was asked and left. */
interface Upstream {
  readonly url: string;
  readonly asked: IncomingMessage[];
  readonly left: string[];
}

async function startUpstream(t: TestContext): Promise<Upstream> {
  const asked: IncomingMessage[] = [];
  const left: string[] = [];
  const server = createServer((req, res) => {
    asked.push(req);
    res.on('close', () => void (res.writableFinished || left.push(req.url ?? '')));
    answer(req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, left };
}

const big = Buffer.alloc(3_000_000, 'abcdefg');

function answer(req: IncomingMessage, res: ServerResponse): void {
  const path = (req.url ?? '').replace('/api/', '');
  if (path.startsWith('echo')) {
    res.writeHead(200, ['Content-Type', 'text/plain', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Vary', 'X', 'Vary', 'Y']);
    res.write(JSON.stringify([req.method, req.headers.host, req.headers.cookie, req.headers['x-own']]));
    req.pipe(res);
  } else if (path === 'big') res.end(big);
  else if (path === 'none') res.writeHead(204).end();
  else if (path === 'reset') req.socket.end('HTTP/1.1 205 Reset\r\nContent-Length: 2\r\n\r\nok');
  else if (path === 'odd') req.socket.end('HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok');
  else if (path === 'same') res.writeHead(304, { etag: '"x"' }).end();
  else if (path === 'cut') res.writeHead(200, { 'content-length': '100' }).write('half', () => setImmediate(() => res.destroy()));
  else if (path === 'live') res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
  else if (path === 'later') setTimeout(() => res.end('later'), 300);
  else res.end('fine');
}

async function scene(t: TestContext, config: ConfigInput = {}): Promise<{ readonly upstream: Upstream; readonly gate: RunningGate; readonly session: ClientHttp2Session }> {
  const upstream = await startUpstream(t);
  const { certPath, keyPath } = await certificate();
  const gate = await startGate(t, { audit: false, ...config, newapi: { baseUrl: upstream.url }, server: { tls: { certPath, keyPath }, ...config.server } });
  return { upstream, gate, session: open(t, gate.port) };
}

function open(t: TestContext, port: number): ClientHttp2Session {
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  session.on('error', () => undefined);
  t.after(() => session.destroy());
  return session;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

async function read(stream: ClientHttp2Stream): Promise<Answer> {
  const [[headers], body] = await Promise.all([once(stream, 'response') as Promise<[IncomingHttpHeaders & { ':status'?: number }]>, bytesOf(stream)]);
  return { status: Number(headers[':status']), headers, body };
}

async function bytesOf(stream: ClientHttp2Stream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function ask(session: ClientHttp2Session, path: string, headers: OutgoingHttpHeaders = {}, body?: Buffer | string): Promise<Answer> {
  const stream = session.request({ ':path': path, ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return read(stream);
}

test('exchanges over HTTP/2 are those over HTTP/1.1', options, async (t) => {
  const lines = accessRecords(t);
  const { gate, session, upstream } = await scene(t, { logging: { ...lines.logging, format: 'combined' } });
  const rows: readonly [path: string, headers: OutgoingHttpHeaders, body: string | Buffer | undefined, status: number, expected: RegExp | Buffer][] = [
    ['/api/echo', {}, undefined, 200, /^\["GET","127\.0\.0\.1:\d+",null,null\]$/],
    ['/api/echo', { cookie: ['a=1', 'b=2'], 'x-own': '\xe9' }, undefined, 200, /"a=1; b=2","\xc3\xa9"\]$/],
    ['/api/echo', { ':method': 'POST', 'content-length': '5' }, 'hello', 200, /^\["POST".*\]hello$/],
    ['/api/echo', { ':method': 'PUT' }, 'in chunks', 200, /^\["PUT".*\]in chunks$/],
    ['/api/echo', { ':method': 'POST', expect: '100-continue' }, 'x', 200, /x$/],
    ['/api/echo?big', { ':method': 'POST' }, big, 200, Buffer.concat([Buffer.from(`["POST","127.0.0.1:${gate.port}",null,null]`), big])],
    ['/api/echo', { ':method': 'HEAD' }, undefined, 200, /^$/],
    ['/api/big', {}, undefined, 200, big],
    ['/api/none', {}, undefined, 204, /^$/],
    ['/api/same', {}, undefined, 304, /^$/],
    ['/api/reset', {}, undefined, 205, /^$/],
    ['/api/odd', {}, undefined, 502, /^ok$/],
    ['/v1/chat/completions', { ':method': 'POST', 'content-type': 'application/json' }, '{"model":', 401, /error/],
    ['/api/a/../b', {}, undefined, 200, /^fine$/],
    ['/api/a', { ':authority': 'a.test', host: 'other.test' }, undefined, 400, /exactly one valid Host/],
    ['/api/a', { ':authority': 'a b' }, undefined, 0, /^$/],
  ];
  for (const [path, headers, body, status, expected] of rows) {
    const told = JSON.stringify([path, headers]);
    const got = await ask(session, path, headers, body).catch(() => ({ status: 0, headers: {}, body: Buffer.alloc(0) }));
    assert.equal(got.status, status, told);
    if (Buffer.isBuffer(expected)) assert.ok(expected.equals(got.body), told);
    else assert.match(got.body.toString('latin1'), expected, told);
    assert.deepEqual([(got.headers as IncomingHttpHeaders)['connection'], (got.headers as IncomingHttpHeaders)['transfer-encoding']], [undefined, undefined], told);
  }
  const tunnel = session.request({ ':method': 'CONNECT', ':authority': 'a.test:443' });
  tunnel.write('GET / HTTP/1.1\r\n\r\n');
  assert.equal((await read(tunnel)).status, 400);
  const patient = session.request({ ':path': '/v1/chat/completions', ':method': 'POST', 'content-type': 'application/json', authorization: 'Bearer sk-of-somebody-who-waits', expect: '100-continue' }, { endStream: false });
  await once(patient, 'continue');
  patient.end('{"model":"a","messages":[]}');
  assert.equal((await read(patient)).status, 200);
  const trailing = session.request({ ':path': '/api/echo', ':method': 'POST' }, { endStream: false, waitForTrailers: true });
  trailing.on('wantTrailers', () => trailing.sendTrailers({ 'x-end': 'yes' })).end('with trailers');
  assert.match((await read(trailing)).body.toString(), /with trailers$/);
  const { headers } = await ask(session, '/api/echo');
  assert.deepEqual([headers['set-cookie'], headers['vary']], [['a=1', 'b=2'], 'X, Y']);
  assert.equal(upstream.asked[0]?.headers['x-forwarded-proto'], 'https');
  assert.equal(session.closed || session.destroyed, false, 'one session for all');
  const text = await until(() => (existsSync(lines.logging.file) ? readFileSync(lines.logging.file, 'latin1') : ''));
  assert.match(text, /"GET \/api\/echo HTTP\/2\.0" 200/);
});

test('what cannot be said in HTTP/1.1 has no head', () => {
  const pseudo = [':method', 'GET', ':scheme', 'https', ':authority', 'a.test', ':path', '/'];
  const of = (...raw: string[]): string | null => requestHead(raw, false)?.bytes.toString('latin1') ?? null;
  assert.equal(of(...pseudo, 'x', 'y'), 'GET / HTTP/1.1\r\nhost: a.test\r\nx: y\r\n\r\n');
  assert.equal(of(...pseudo, 'host', 'b.test'), 'GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n');
  assert.equal(of(':method', 'CONNECT', ':authority', 'a.test:443'), 'CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n');
  const wrong: readonly (readonly string[])[] = [
    ['x', 'a\r\nx: b'], ['x', 'a\nb'], ['x', '\0'], ['x', 'a\u0100'], ['a b', 'c'], ['a:b', 'c'], ['', 'c'], ['a\r\n', 'b'],
    ['transfer-encoding', 'chunked'], ['connection', 'close'], ['upgrade', 'websocket'], ['keep-alive', '1'], ['proxy-connection', 'a'], ['http2-settings', 'a'],
    ['content-length', '1', 'content-length', '2'], ['content-length', '+1'], ['content-length', '0x1'], ['content-length', ''], ['host', 'a', 'host', 'a'],
    [':method', 'POST'], [':path', '/x'],
  ];
  for (const fields of wrong) assert.equal(of(...pseudo, ...fields), null, JSON.stringify(fields));
  for (const [name, value] of [[':method', 'GET /x'], [':method', ''], [':path', '/ HTTP/1.1\r\nx: y'], [':path', 'a'], [':path', ''], [':path', '/a b'], [':authority', 'a\tb'], [':scheme', 'ftp']] as const) {
    assert.equal(of(...pseudo.map((text, at) => (at % 2 === 1 && pseudo[at - 1] === name ? value : text))), null, `${name} ${value}`);
  }
});

test('a client that leaves ends its exchange alone, and an answer that breaks off is no whole one', options, async (t) => {
  const { session, upstream } = await scene(t);
  const streams = Array.from({ length: 120 }, () => session.request({ ':path': '/api/live' }));
  await Promise.all(streams.map((stream) => once(stream, 'data')));
  for (const stream of streams) {
    stream.on('error', () => undefined);
    stream.close(constants.NGHTTP2_CANCEL);
  }
  await until(() => upstream.left.length === streams.length);
  await assert.rejects(ask(session, '/api/cut'));
  assert.equal((await ask(session, '/api/a')).status, 200);
});

test('many heads in hand fit where a single one must be small', options, async (t) => {
  const { session } = await scene(t, { server: { maxHeaderBytes: 4096 } });
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(session, '/api/later', { 'x-own': 'y'.repeat(1000) }).catch(() => null)));
  assert.deepEqual([...new Set(answers.map((got) => got?.status))], [200]);
});

test('ALPN chooses, and http2: false leaves HTTP/1.1', options, async (t) => {
  const { gate } = await scene(t);
  const { gate: old } = await scene(t, { server: { http2: false } });
  const chosen = (port: number, ...offered: string[]): Promise<string | false | null> => new Promise((resolve) => {
    const socket = secure({ port, host: '127.0.0.1', rejectUnauthorized: false, ...(offered.length > 0 && { ALPNProtocols: offered }) }, () => {
      resolve(socket.alpnProtocol);
      socket.destroy();
    });
    socket.once('error', () => resolve('refused'));
  });
  const rows: readonly [number, readonly string[], string | false][] = [
    [gate.port, ['h2'], 'h2'], [gate.port, ['http/1.1', 'h2'], 'h2'], [gate.port, ['http/1.1'], 'http/1.1'], [gate.port, [], false], [gate.port, ['spdy/3'], 'refused'],
    [old.port, ['h2', 'http/1.1'], 'http/1.1'], [old.port, ['h2'], 'refused'],
  ];
  for (const [port, offered, expected] of rows) assert.equal(await chosen(port, ...offered), expected, offered.join());
  for (const { port } of [gate, old]) {
    const [got] = (await once(openSecure({ port, host: '127.0.0.1', path: '/api/a', rejectUnauthorized: false, agent: false }).end(), 'response')) as [IncomingMessage];
    assert.equal(got.resume().statusCode, 200);
  }
});

test('a drain tells its clients, and lets streams end', options, async (t) => {
  const { gate, session, upstream } = await scene(t);
  const codes: number[] = [];
  session.on('goaway', (code: number) => void codes.push(code));
  await ask(session, '/api/a');
  const pending = ask(session, '/api/later');
  await until(() => upstream.asked.length === 2);
  const closing = gate.gate.close({ timeout: 10_000 });
  assert.equal((await pending).body.toString(), 'later');
  await closing;
  await until(() => session.destroyed);
  assert.deepEqual(new Set(codes), new Set([constants.NGHTTP2_NO_ERROR]));
});

test('streams at a time count as connections of their address, those of a closed one no longer', options, async (t) => {
  const { session } = await scene(t, { guard: { connectionsPerAddress: 3 }, trustProxy: [] });
  const codeOf = async (): Promise<number> => (await ask(session, '/api/a')).status;
  for (let nth = 0; nth < 5; nth++) assert.equal(await codeOf(), 200);
  const live = Array.from({ length: 3 }, () => session.request({ ':path': '/api/live' }));
  await Promise.all(live.map((stream) => once(stream, 'data')));
  assert.equal(await codeOf(), 429);
  for (const stream of live) stream.on('error', () => undefined).close(constants.NGHTTP2_CANCEL);
  await until(async () => (await codeOf()) === 200);
});

test('floods of frames end their own connection, calmly', options, async (t) => {
  const { gate, session: other } = await scene(t, { trustProxy: [], server: { maxHeaderBytes: 65_536 } });
  const codes = new Map<string, number>();
  for (const [name, of] of Object.entries(floods)) {
    const flood = await openRaw(t, gate.port);
    let nth = 0;
    for (let goesOn = true; goesOn && nth < 2_000_000;) goesOn = await flood.send(Buffer.concat(Array.from({ length: 200 }, () => of(nth++))));
    await flood.closed;
    assert.ok(flood.code !== null, name);
    codes.set(name, flood.code);
    assert.equal((await ask(other, '/api/a')).status, 200, name);
  }
  for (const name of ['rapid reset', 'ping', 'window update']) assert.equal(codes.get(name), constants.NGHTTP2_ENHANCE_YOUR_CALM, name);
  assert.deepEqual(gate.log.named('connection.flood').map(({ reason }) => reason), ['resets', 'control', 'control']);
});

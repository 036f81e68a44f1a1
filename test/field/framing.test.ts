import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import express, { type Express } from 'express';
import type { Gate } from '../../lib/index.ts';
import { request, until, type TestLike } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { noNginx, runNginx } from '../support/nginx.ts';
import { shared } from '../support/shared.ts';
import { startUpstream } from '../support/upstream.ts';

/** What the upstream makes of a request. */
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly body: string;
  readonly authorization: string | null;
}

interface Instance {
  readonly bytes: string;
  /** Status of each answer, in their order. */
  readonly answers: readonly number[];
  /** The gate ends the connection after them. */
  readonly ends?: boolean;
  /** What reaches the upstream: method, path and body. */
  readonly upstream?: readonly string[];
  /** Node refuses it on a host's server before the gate sees it. */
  readonly unrecorded?: boolean;
}

const token = `sk-${'f'.repeat(48)}`;
const host = 'Host: gate.test\r\n';
const handshake = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
const chunks = '2\r\n{}\r\n0\r\n\r\n';
/** As long as the head of the request that the next client sends. */
const stolen = 190;

const get = (path: string, fields = '', version = '1.1'): string => `GET ${path} HTTP/${version}\r\n${host}${fields}\r\n`;
const post = (fields: string, body = '', { version = '1.1', method = 'POST' } = {}): string => `${method} /api/x HTTP/${version}\r\n${host}${fields}\r\n${body}`;
const chat = (fields: string, body: string): string => `POST /v1/chat/completions HTTP/1.1\r\n${host}Authorization: Bearer ${token}\r\nContent-Type: application/json\r\n${fields}\r\n${body}`;
const refused = (status: number, bytes: string): Instance => ({ bytes, answers: [status], ends: true });

const upgrades: Record<string, Instance> = {
  'an upgrade that declares a length': refused(400, get('/moved', `${handshake}Content-Length: ${stolen}\r\n`)),
  'an upgrade with a body': refused(400, `${get('/moved', `${handshake}Content-Length: 3\r\n`)}abc`),
  'an upgrade that declares chunks': refused(400, get('/moved', `${handshake}Transfer-Encoding: chunked\r\n`)),
  'an upgrade with chunks': refused(400, get('/moved', `${handshake}Transfer-Encoding: chunked\r\n`) + chunks),
  'an upgrade of the realtime API with a length': refused(400, get('/v1/realtime?model=m', `${handshake}Authorization: Bearer ${token}\r\nContent-Length: ${stolen}\r\n`)),
  'an upgrade with a length in two cases': refused(400, get('/moved', `${handshake}cOnTeNt-LeNgTh: ${stolen}\r\n`)),
  'an upgrade that declares no byte': { bytes: get('/moved', `${handshake}Content-Length: 0\r\n`), answers: [301], ends: true },
  'an upgrade whose connection closes': { bytes: get('/moved', handshake.replace('Connection: ', 'Connection: close, ')), answers: [301], ends: true },
  'an upgrade followed by a request': { bytes: get('/moved', handshake) + get('/api/behind'), answers: [301], ends: true },
  'a POST that asks for an upgrade': { bytes: post(`${handshake}Content-Length: 3\r\n`, 'abc'), answers: [200], upstream: ['POST /api/x abc'] },
  'an upgrade that Connection does not name': { bytes: `${get('/api/x', `Upgrade: websocket\r\nContent-Length: 3\r\n`)}abc`, answers: [200], upstream: ['GET /api/x abc'] },
  'an upgrade to h2c': { bytes: `${get('/api/x', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 2\r\n')}{}`, answers: [200], upstream: ['GET /api/x {}'] },
  'an upgrade behind a request that is not answered': { bytes: get('/api/1') + get('/api/x', handshake), answers: [200, 200], ends: true, upstream: ['GET /api/1 ', 'GET /api/x '] },
  'an upgrade behind a chat': { bytes: chat('Content-Length: 13\r\n', '{"model":"a"}') + get('/api/x', handshake), answers: [200, 200], ends: true, upstream: ['POST /v1/chat/completions {"model":"a"}', 'GET /api/x '] },
  'a request behind an upgrade behind a request': { bytes: get('/api/1') + get('/api/x', handshake) + get('/api/2'), answers: [200, 200], ends: true, upstream: ['GET /api/1 ', 'GET /api/x '] },
  'an upgrade with a body behind a request': { bytes: `${get('/api/1') + get('/api/x', `${handshake}Content-Length: 2\r\n`)}{}`, answers: [200, 200], ends: true, upstream: ['GET /api/1 ', 'GET /api/x {}'] },
  'a tunnel': refused(400, `CONNECT gate.test:80 HTTP/1.1\r\n${host}\r\n`),
  'an upgrade by HTTP/1.0': { bytes: get('/api/x', handshake, '1.0'), answers: [200], ends: true, upstream: ['GET /api/x '] },
  'an upgrade to several protocols': { bytes: get('/api/x', handshake.replace('websocket', 'h2c, websocket')), answers: [200], upstream: ['GET /api/x '] },
};

const codings: Record<string, Instance> = {
  ...Object.fromEntries(['gzip, chunked', 'chunked, chunked', 'identity', 'xchunked', 'chunked;x=1', 'gzip', ', chunked', 'chunked,', '"chunked"', 'chunked, identity', 'deflate,chunked', ''].map((coding) => [
    `the transfer coding ${JSON.stringify(coding)}`, refused(501, post(`Transfer-Encoding: ${coding}\r\n`, chunks + get('/api/behind'))),
  ])),
  ...Object.fromEntries([['chunked', 'chunked'], ['gzip', 'chunked'], ['chunked', 'identity']].map((two) => [
    `two fields of transfer codings, ${two.join(' and ')}`, refused(501, post(two.map((coding) => `Transfer-Encoding: ${coding}\r\n`).join(''), chunks + get('/api/behind'))),
  ])),
  'a chat in gzip and chunks': refused(501, chat('Transfer-Encoding: gzip, chunked\r\n', chunks)),
  'a transfer coding in capitals': { bytes: post('Transfer-Encoding: Chunked\r\n', chunks), answers: [200], upstream: ['POST /api/x {}'] },
  'a transfer coding behind a tab': { bytes: post('Transfer-Encoding:\tchunked \r\n', chunks), answers: [200], upstream: ['POST /api/x {}'] },
  'a transfer coding behind a vertical tab': refused(400, post('Transfer-Encoding: \vchunked\r\n', chunks)),
  'a length and chunks': refused(400, post('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n', chunks)),
  'chunks and a length': refused(400, post('Transfer-Encoding: chunked\r\nContent-Length: 2\r\n', chunks)),
  'a coding and a length': refused(400, post('Transfer-Encoding: identity\r\nContent-Length: 2\r\n', '{}')),
  'chunks by HTTP/1.0': { bytes: post('Transfer-Encoding: chunked\r\n', chunks, { version: '1.0' }), answers: [200], ends: true, upstream: ['POST /api/x {}'] },
  'chunks by HTTP/1.0, and a request behind them': {
    bytes: post('Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n', chunks, { version: '1.0' }) + get('/api/behind', 'Connection: keep-alive\r\n', '1.0'),
    answers: [200], ends: true, upstream: ['POST /api/x {}'],
  },
  'a length that is repeated': refused(400, post('Content-Length: 2\r\nContent-Length: 2\r\n', '{}')),
  ...Object.fromEntries(['+2', '-2', '2, 2', '0x2', '2 2', '99999999999999999999', ''].map((length) => [`the length ${JSON.stringify(length)}`, refused(400, post(`Content-Length: ${length}\r\n`, '{}'))])),
};

const hosts: Record<string, Instance> = {
  ...Object.fromEntries([
    '', 'a b', 'user@gate.test', 'user:secret@gate.test', 'gate.test:x', 'gate.test:80:80', 'gate.test:99999', 'gate.test:-1', '[::1', '::1', '[::1]x', '[gate.test]', '[::1%25eth0]', 'gate.test/x', 'gate.test?x',
    'gate.test#x', 'http://gate.test', 'a,b', 'a%2fb', 'gate\\test', '<gate>', 'g\xe4te',
  ].map((name) => [`the host ${JSON.stringify(name)}`, refused(400, `GET /api/x HTTP/1.1\r\nHost: ${name}\r\n\r\n`)])),
  ...Object.fromEntries(['gate.test.', 'GATE.test:80', 'a_b-c', '127.0.0.1:1', '[::1]', '[2001:db8::1]:8443', 'xn--gte-qla.test'].map((name) => [
    `the host ${JSON.stringify(name)}`, { bytes: `GET /api/x HTTP/1.1\r\nHost: ${name}\r\n\r\n`, answers: [200], upstream: ['GET /api/x '] },
  ])),
  'no host': { ...refused(400, 'GET /api/x HTTP/1.1\r\n\r\n'), unrecorded: true },
  'two hosts': refused(400, get('/api/x', host)),
  'two hosts, one of them empty': refused(400, get('/api/x', 'Host:\r\n')),
  'no host by HTTP/1.0': { bytes: 'GET /api/x HTTP/1.0\r\n\r\n', answers: [200], ends: true, upstream: ['GET /api/x '] },
  'a bad host by HTTP/1.0': refused(400, 'GET /api/x HTTP/1.0\r\nHost: a/b\r\n\r\n'),
  'a target of another host': { bytes: get('http://other.test/api/x'), answers: [400] },
  'a target with a user': { bytes: get('http://user@gate.test/api/x'), answers: [400] },
  'a bad host and a request behind it': refused(400, `GET /api/x HTTP/1.1\r\nHost: a b\r\n\r\n${get('/api/behind')}`),
};

const rubbish: Record<string, Instance> = {
  'bytes behind a request': { bytes: `${get('/api/1')}\0\x01rubbish\r\n\r\n`, answers: [200, 400], ends: true, upstream: ['GET /api/1 '] },
  'bytes behind a body': { bytes: post('Content-Length: 2\r\n', '{}rubbish\r\n\r\n'), answers: [200, 400], ends: true, upstream: ['POST /api/x {}'] },
  'bytes behind chunks': { bytes: post('Transfer-Encoding: chunked\r\n', `${chunks}rubbish\r\n\r\n`), answers: [200, 400], ends: true, upstream: ['POST /api/x {}'] },
  'bytes behind a chat': { bytes: chat('Content-Length: 13\r\n', '{"model":"a"}rubbish\r\n\r\n'), answers: [200, 400], ends: true, upstream: ['POST /v1/chat/completions {"model":"a"}'] },
  'bytes behind two requests': { bytes: `${get('/api/1') + get('/api/2')}rubbish\r\n\r\n`, answers: [200, 200, 400], ends: true, upstream: ['GET /api/1 ', 'GET /api/2 '] },
  'a TLS handshake behind a request': { bytes: `${get('/api/1')}\x16\x03\x01\x02\x00\x01`, answers: [200, 400], ends: true, upstream: ['GET /api/1 '] },
  'an unknown version behind a request': { bytes: get('/api/1') + get('/api/2', '', '3.7'), answers: [200, 400], ends: true, upstream: ['GET /api/1 '] },
  'a bad length behind a request': { bytes: get('/api/1') + post('Content-Length: x\r\n', '{}'), answers: [200, 400], ends: true, upstream: ['GET /api/1 '] },
  'a coding that is not supported behind a request': { bytes: get('/api/1') + post('Transfer-Encoding: gzip, chunked\r\n', chunks), answers: [200, 501], ends: true, upstream: ['GET /api/1 '] },
  'a body behind a request that declares none': { bytes: get('/api/1') + chunks, answers: [200, 400], ends: true, upstream: ['GET /api/1 '] },
  'a folded field': refused(400, get('/api/x', 'X-Fold: a\r\n b\r\n')),
  'a transfer coding in a folded field': refused(400, post('X-Fold: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n', '{}')),
  'a line that ends with LF alone': refused(400, `GET /api/x HTTP/1.1\r\nHost: gate.test\nX: y\r\n\r\n`),
  'a first line that ends with LF alone': refused(400, `GET /api/x HTTP/1.1\n${host}\r\n`),
  'a head that ends with LF alone': refused(400, `GET /api/x HTTP/1.1\r\n${host}\n`),
  'a CR within a field': refused(400, `GET /api/x HTTP/1.1\r\nHost: gate.test\rX: y\r\n\r\n`),
  'a space before a colon': refused(400, post('Content-Length : 2\r\n', '{}')),
  ...Object.fromEntries(['2\n{}\r\n0\r\n\r\n', '0x2\r\n{}\r\n0\r\n\r\n', '2 \r\n{}\r\n0\r\n\r\n', 'ffffffffffffffffff\r\n{}', '2;a\n\r\n{}\r\n0\r\n\r\n', '-2\r\n{}\r\n0\r\n\r\n', '\r\n{}\r\n'].map((body) => [
    `the chunks ${JSON.stringify(body)}`, refused(400, post('Transfer-Encoding: chunked\r\n', body)),
  ])),
};

const crowd = Array.from({ length: 1000 }, (_, nth) => `X-${nth}: x\r\n`).join('');

const others: Record<string, Instance> = {
  ...Object.fromEntries(['Content-Length: 2\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: other.test\r\n', 'X-Last: x\r\n'].map((last) => [`1 000 fields before ${last.trim()}`, refused(431, post(crowd + last))])),
  '1 000 fields before the subprotocols of an upgrade': refused(431, get('/moved', `${handshake + crowd}Sec-WebSocket-Protocol: a\r\n`)),
  '900 fields': { bytes: get('/api/x', crowd.slice(0, crowd.indexOf('X-900'))), answers: [200], upstream: ['GET /api/x '] },
  ...Object.fromEntries(['miracles', '200-ok', '100-continue, miracles', '100-continued'].map((expectation) => [`the expectation ${expectation}`, refused(417, post(`Expect: ${expectation}\r\nContent-Length: 2\r\n`, '{}'))])),
  'two expectations': refused(417, post('Expect: 100-continue\r\nExpect: miracles\r\nContent-Length: 2\r\n', '{}')),
  'an expectation of a chat that is not supported': refused(417, chat('Expect: miracles\r\nContent-Length: 13\r\n', '{"model":"a"}')),
  '100-continue': { bytes: post('Expect: 100-Continue\r\nContent-Length: 2\r\n', '{}'), answers: [100, 200], upstream: ['POST /api/x {}'] },
  '100-continue by HTTP/1.0': { bytes: post('Expect: 100-continue\r\nContent-Length: 2\r\n', '{}', { version: '1.0' }), answers: [200], ends: true, upstream: ['POST /api/x {}'] },
  'a length that Connection names': { bytes: post('Connection: content-length, keep-alive\r\nContent-Length: 2\r\n', '{}'), answers: [200], upstream: ['POST /api/x {}'] },
  'a transfer coding that Connection names': { bytes: post('Connection: transfer-encoding, keep-alive\r\nTransfer-Encoding: chunked\r\n', chunks), answers: [200], upstream: ['POST /api/x {}'] },
  ...Object.fromEntries(['GET', 'DELETE', 'OPTIONS', 'PUT', 'PATCH'].flatMap((method) => [
    [`chunks with ${method}`, { bytes: post('Transfer-Encoding: chunked\r\n', chunks, { method }), answers: [200], upstream: [`${method} /api/x {}`] }],
    [`a length with ${method}`, { bytes: post('Content-Length: 2\r\n', '{}', { method }), answers: [200], upstream: [`${method} /api/x {}`] }],
  ])),
  'a body that a model route does not read': { bytes: `${get('/v1/models', `Authorization: Bearer ${token}\r\nContent-Length: 2\r\n`)}{}`, answers: [200], upstream: ['GET /v1/models '] },
};

interface Scene {
  readonly port: number;
  /** What reached the upstream since the last call. */
  seen(): string[];
  /** Id and status of every record so far. */
  records(): Promise<(readonly [unknown, unknown])[]>;
}

/** Answers an upgrade like any other request, before its body is there, on a connection that stays open: as nginx does. */
const upstreamOf = (seen: Seen[]): RequestListener => (req, res) => {
  if (req.url === '/moved') return void res.writeHead(301, { Location: '/x', 'Content-Length': 0 }).end();
  let body = '';
  req.on('data', (chunk: Buffer) => (body += chunk.toString())).on('end', () => {
    const { method = '', url = '', headers: { authorization = null } } = req;
    const each = { method, url, body, authorization };
    seen.push(each);
    const text = JSON.stringify(each);
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': text.length, 'X-Oneapi-Request-Id': 'r' }).end(text);
  });
};

async function start(t: TestLike, isEmbedded: boolean): Promise<Scene> {
  const seen: Seen[] = [];
  const upstream = await startUpstream(t, upstreamOf(seen));
  // In one of the two scenes the upstream is an nginx, where there is one.
  const behind = isEmbedded && noNginx === false
    ? await runNginx(t, (port) => `server { listen 127.0.0.1:${port}; location = /moved { return 301 /x; } location / { proxy_pass http://127.0.0.1:${upstream.port}; proxy_http_version 1.1; } }`)
    : upstream;
  const gate = await startGate(t, { newapi: { baseUrl: `http://127.0.0.1:${behind.port}` }, rateLimit: { address: { limit: 0 } } });
  return {
    port: isEmbedded ? await listen(t, gate.gate, express().use(gate.gate)) : gate.port,
    seen: () => seen.splice(0).map(({ method, url, body }) => `${method} ${url} ${body}`),
    records: async () => (await recorded(gate.gate)).map((row) => [row['request_id'], row['response_status']] as const),
  };
}

/** A host's server with the gate in it. */
async function listen(t: TestLike, gate: Gate, app: Express): Promise<number> {
  const server = createServer(app);
  // As older versions of Node, which count no fields, or by a host's own choice.
  server.maxHeadersCount = 0;
  gate.attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

const statusesIn = (text: string): number[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

/** Sends bytes and reads until the gate ends the connection or, where it stays open, the last answer is complete. */
async function exchange(port: number, { bytes, answers, ends = false }: Instance): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  const closed = once(socket, 'close');
  socket.write(Buffer.from(bytes, 'latin1'));
  if (ends) await closed;
  else await until(() => statusesIn(text).length >= answers.length && /\}$/.test(text), answers.join());
  socket.destroy();
  return text;
}

/** Requests of others on the same upstream connections: each must get the answer to what it asked. */
async function victims(port: number): Promise<void> {
  await Promise.all(['one', 'two'].map(async (name) => {
    const answer = await request(`http://127.0.0.1:${port}/api/victim/${name}`, { headers: { Authorization: `Bearer ${token}${name}` } });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.json(), { method: 'GET', url: `/api/victim/${name}`, body: '', authorization: `Bearer ${token}${name}` });
  }));
}

for (const [where, isEmbedded] of [['a standalone gate', false], ['a gate in a host', true]] as const) {
  describe(`framing at ${where}`, () => {
    const scene = shared((t) => start(t, isEmbedded));
    const answered: [string, number][] = [];

    for (const [name, instance] of Object.entries({ ...upgrades, ...codings, ...hosts, ...rubbish, ...others })) {
      it(name, async () => {
        const { port, seen } = await scene();
        const text = await exchange(port, instance);
        assert.deepEqual(statusesIn(text), instance.answers, text);
        const expected = instance.upstream ?? [];
        assert.deepEqual(seen(), expected);
        await victims(port);
        assert.deepEqual(seen().sort(), ['GET /api/victim/one ', 'GET /api/victim/two ']);
        const ids = [...text.matchAll(/x-request-id: (\S+)/gi)].map(([, id = '']) => id);
        const final = instance.answers.filter((status) => status !== 100);
        if (!(isEmbedded && instance.unrecorded)) assert.equal(ids.length, final.length, text);
        answered.push(...ids.map((id, at): [string, number] => [id, final[at] as number]));
      });
    }

    it('leaves a record of every answer', async () => {
      const records = new Map(await (await scene()).records());
      assert.deepEqual(answered.filter(([id, status]) => records.get(id) !== status), []);
      assert.ok(answered.length > 100);
    });
  });
}

describe('an exchange with an upstream', () => {
  const early: RequestListener = (req, res) => {
    const path = req.url ?? '';
    if (path === '/api/cached') return void res.writeHead(304, { ETag: '"a"' }).end();
    if (path === '/api/empty') return void res.writeHead(204, { 'Content-Length': 5 }).end();
    if (path === '/api/early') res.writeEarlyHints({ link: '</a>; rel=preload' }, () => undefined);
    if (path === '/api/slow') return void req.resume();
    res.writeHead(200, { 'Content-Length': 2 }).end('ok');
  };

  async function begin(t: TestContext): Promise<{ port: number; records: () => Promise<string[]>; onUpgrade: (listener: (req: IncomingMessage, answer: (bytes: string) => void) => void) => void }> {
    const upstream = await startUpstream(t, early);
    const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
    return {
      port: gate.port,
      records: async () => (await recorded(gate.gate)).map((row) => `${row['request_method']} ${row['request_path']} ${row['response_status']}`),
      onUpgrade: (listener) => void upstream.server.on('upgrade', (req: IncomingMessage, socket) => listener(req, (bytes) => void socket.end(bytes))),
    };
  }

  const plain: Record<string, { readonly bytes: string; readonly status: number; readonly record: string }> = {
    'HEAD': { bytes: `HEAD /api/x HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, status: 200, record: 'HEAD /api/x 200' },
    '304': { bytes: get('/api/cached', 'Connection: close\r\n'), status: 304, record: 'GET /api/cached 304' },
    '204': { bytes: get('/api/empty', 'Connection: close\r\n'), status: 204, record: 'GET /api/empty 204' },
    'an interim answer': { bytes: get('/api/early', 'Connection: close\r\n'), status: 200, record: 'GET /api/early 200' },
    'a body that turns out malformed': { bytes: `POST /api/slow HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n`, status: 400, record: 'POST /api/slow 400' },
  };
  for (const [name, { bytes, status, record }] of Object.entries(plain)) {
    it(`with ${name} leaves one record`, async (t) => {
      const { port, records } = await begin(t);
      const text = await exchange(port, { bytes, answers: [status], ends: true });
      assert.deepEqual(statusesIn(text), [status], text);
      if (status === 204) assert.doesNotMatch(text, /content-length/i);
      assert.deepEqual(await until(async () => ((await records()).length > 0 ? records() : undefined)), [record]);
    });
  }

  const upgraded: Record<string, { readonly answer: string; readonly status: number }> = {
    'that is accepted': { answer: 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', status: 101 },
    'that is refused': { answer: 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno', status: 403 },
    'that is refused in chunks': { answer: 'HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n', status: 401 },
    'that is refused after an interim answer': { answer: 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n', status: 426 },
    'whose answer is no HTTP': { answer: 'rubbish\r\n\r\n', status: 502 },
    'that gets no answer': { answer: '', status: 502 },
  };
  for (const [name, { answer, status }] of Object.entries(upgraded)) {
    it(`on an upgrade ${name} leaves one record`, async (t) => {
      const { port, records, onUpgrade } = await begin(t);
      onUpgrade((_req, reply) => reply(answer));
      const text = await exchange(port, { bytes: get('/api/socket', handshake), answers: [status], ends: true });
      assert.deepEqual(statusesIn(text), [status], text);
      assert.deepEqual(await until(async () => ((await records()).length > 0 ? records() : undefined)), [`GET /api/socket ${status}`]);
    });
  }

  it('on an upgrade uses a connection of its own, which is closed', async (t) => {
    const ports: (number | undefined)[] = [];
    const answer = (req: IncomingMessage, res: ServerResponse): void => {
      ports.push(req.socket.remotePort);
      res.writeHead(301, { 'Content-Length': 0 }).end();
    };
    const upstream = await startUpstream(t, answer);
    const { port } = await startGate(t, { newapi: { baseUrl: upstream.url } });
    for (const fields of ['Connection: close\r\n', handshake, handshake, 'Connection: close\r\n', 'Connection: close\r\n']) {
      await exchange(port, { bytes: get('/api/x', fields), answers: [301], ends: true });
    }
    const [first, one, other, ...rest] = ports;
    assert.equal(new Set([first, one, other]).size, 3);
    assert.deepEqual(rest, [first, first]);
  });
});

describe('malformed bytes behind a request', () => {
  it('are refused when its answer is complete, though they come before the upstream has answered', async (t) => {
    const held: ServerResponse[] = [];
    const upstream = await startUpstream(t, (_req, res) => void held.push(res));
    const { port } = await startGate(t, { newapi: { baseUrl: upstream.url } });
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const closed = once(socket, 'close');
    socket.write(get('/api/x'));
    const res = await until(() => held[0]);
    socket.write('rubbish\r\n\r\n');
    res.writeHead(200, { 'Content-Length': 2 }).write('o');
    await until(() => text.endsWith('o'));
    socket.write('more rubbish\r\n\r\n');
    res.end('k');
    await closed;
    assert.deepEqual(statusesIn(text), [200, 400], text);
    assert.match(text, /\r\n\r\nokHTTP/);
  });

  it('do not take the answer from a request that waits in a middleware of the host', async (t) => {
    const upstream = await startUpstream(t, (_req, res) => void res.writeHead(200, { 'Content-Length': 2 }).end('ok'));
    const { gate } = await startGate(t, { newapi: { baseUrl: upstream.url } });
    const app = express().use((_req, _res, next) => void setImmediate(next)).use(gate);
    const text = await exchange(await listen(t, gate, app), { bytes: `${get('/api/x')}rubbish\r\n\r\n`, answers: [200, 400], ends: true });
    assert.deepEqual(statusesIn(text), [200, 400], text);
  });
});

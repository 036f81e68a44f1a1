import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as open, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { openStream, rawRequest, request, until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { accessRecords } from '../support/records.ts';
import { nowhere, pour, settled, startUpstream } from '../support/upstream.ts';

const megabyte = 1 << 20;
const uploadSize = 64 * megabyte;

/** Answers with what it got, body by its hash. */
async function describe(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, bytes, sha256: hash.digest('hex'), trailers: req.trailers }));
}

interface Described {
  readonly method: string;
  readonly headers: Record<string, string | undefined>;
  readonly bytes: number;
  readonly sha256: string;
  readonly trailers: Record<string, string>;
}

for (const framing of ['content-length', 'chunked'] as const) {
  test(`64 MB sent by ${framing} stream through: unread they wait with their sender, read they arrive whole`, async (t) => {
    let reading = false;
    let begin = (): void => undefined;
    const upstream = await startUpstream(t, (req, res) => {
      begin = () => void describe(req, res);
      reading = true;
    });
    const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
    const headers = framing === 'chunked' ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(uploadSize) };
    const upload = open(`${gate.url}/api/files`, { method: 'POST', headers, agent: false });
    const piece = randomBytes(megabyte);
    const hash = createHash('sha256');
    let taken = 0;
    const sending = (async () => {
      for (let sent = 0; sent < uploadSize; sent += megabyte) {
        hash.update(piece);
        if (!upload.write(piece)) await once(upload, 'drain');
        taken = sent + megabyte;
      }
      upload.end();
    })();
    await until(() => reading);
    assert.ok((await settled(() => taken)) < uploadSize / 2, 'what nobody reads is not collected in the gate');
    begin();
    const [[answer]] = (await Promise.all([once(upload, 'response'), sending])) as [[IncomingMessage], void];
    const got = JSON.parse((await answer.toArray()).join('')) as Described;
    assert.deepEqual([got.bytes, got.sha256], [uploadSize, hash.digest('hex')]);
    assert.equal(framing === 'chunked' ? got.headers['transfer-encoding'] : got.headers['content-length'], Object.values(headers)[0]);
  });
}

test('a slow reader holds the upstream back instead of filling the gate', async (t) => {
  let given = (): number => 0;
  const upstream = await startUpstream(t, (_req, res) => {
    given = pour(res, uploadSize);
  });
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  const outgoing = open(`${gate.url}/api/export`, { agent: false }).end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  assert.ok((await settled(given)) < uploadSize / 2);
  let read = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) read += chunk.length;
  assert.deepEqual([read, answer.complete], [uploadSize, true]);
});

test('every method arrives with its body, DELETE too', async (t) => {
  const upstream = await startUpstream(t, (req, res) => void describe(req, res));
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  const body = randomBytes(1000);
  const sha256 = createHash('sha256').update(body).digest('hex');
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS', 'PROPFIND']) {
    const got = (await request(`${gate.url}/api/thing`, { method, body })).json<Described>();
    assert.deepEqual([got.method, got.bytes, got.sha256], [method, 1000, sha256]);
    const chunked = { 'Transfer-Encoding': 'chunked' };
    assert.equal((await request(`${gate.url}/api/thing`, { method, body, headers: chunked })).json<Described>().sha256, sha256);
    const empty = (await rawRequest(gate.port, `${method} /api/thing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).toString();
    assert.match(empty, new RegExp(`"method":"${method}".*"bytes":0`));
    assert.doesNotMatch(empty, /"transfer-encoding":"chunked"/);
  }
});

test('HEAD, 204 and 304 have no body and leave the connection usable', async (t) => {
  const upstream = await startUpstream(t, (req, res) => {
    if (req.method === 'HEAD') res.writeHead(200, { 'Content-Length': '12345', 'Content-Type': 'text/plain' }).end();
    else res.writeHead(Number(req.url?.slice(5)), { ETag: '"x"' }).end();
  });
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  const head = (method: string, target: string, more = ''): string => `${method} ${target} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
  const bytes = head('HEAD', '/api/big') + head('GET', '/api/204') + head('GET', '/api/304') + head('HEAD', '/api/last', 'Connection: close\r\n');
  const answers = (await rawRequest(gate.port, bytes)).toString().split('\r\n\r\n');
  assert.deepEqual(answers.map((answer) => answer.split('\r\n', 1)[0]), ['HTTP/1.1 200 OK', 'HTTP/1.1 204 No Content', 'HTTP/1.1 304 Not Modified', 'HTTP/1.1 200 OK', '']);
  assert.match(answers[0] ?? '', /^content-length: 12345$/im);
  assert.doesNotMatch(answers.slice(1, 3).join('\n'), /transfer-encoding|content-length/i);
});

test('trailers end with the hop and harm nothing', async (t) => {
  const upstream = await startUpstream(t, (req, res) => {
    res.writeHead(200, { Trailer: 'X-Checksum' });
    res.addTrailers({ 'X-Checksum': 'abc' });
    void describe(req, res);
  });
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  const sent = 'POST /api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n';
  const answer = (await rawRequest(gate.port, sent)).toString();
  assert.match(answer, /^HTTP\/1.1 200 /);
  assert.match(answer, /"bytes":4,.*"trailers":\{\}/);
  assert.doesNotMatch(answer, /trailer:|x-checksum/i);
});

test('connection headers and what they name travel one hop only', async (t) => {
  const upstream = await startUpstream(t, (req, res) => {
    res.writeHead(200, { Connection: 'close, X-Secret-Hop', 'X-Secret-Hop': '1', 'Keep-Alive': 'timeout=99', 'X-Kept': '2' });
    void describe(req, res);
  });
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  const headers = { Connection: 'close, X-Hop, Authorization', 'X-Hop': '1', 'Keep-Alive': '5', TE: 'trailers', 'X-Kept': '2', x_kept: '3', Authorization: 'Bearer sk-a' };
  const answer = await request(`${gate.url}/api/x`, { headers });
  const got = answer.json<Described>().headers;
  assert.deepEqual([got['x-hop'], got['keep-alive'], got.te, got.x_kept, got['x-kept'], got.authorization], [undefined, undefined, undefined, undefined, '2', 'Bearer sk-a']);
  assert.deepEqual([answer.headers['x-secret-hop'], answer.headers['x-kept']], [undefined, '2']);
  assert.notEqual(answer.headers['keep-alive'], 'timeout=99');
});

test('with the upstream down every route answers 502 in its own shape, and /health goes on', async (t) => {
  const gate = await startGate(t, { audit: false, llm: { healthCheck: { enabled: true } }, newapi: { baseUrl: await nowhere() } });
  const headers = { Authorization: 'Bearer sk-any' };
  const shapes = {
    '/api/status': { success: false }, '/': { success: false }, '/pg/chat/completions': { success: false },
    '/mj/task/1/fetch': { code: 502 }, '/suno/fetch/1': { code: 'upstream_unreachable', data: null },
    '/v1/files': { error: { code: 'upstream_unreachable' } }, '/v1beta/models': { error: { code: 502, status: 'INTERNAL' } },
  };
  for (const [path, shape] of Object.entries(shapes)) {
    const answer = await request(gate.url + path, { headers });
    assert.equal(answer.status, 502, path);
    assert.partialDeepStrictEqual(answer.json(), shape, path);
    assert.doesNotMatch(answer.text, /127\.0\.0\.1|ECONN/);
    assert.ok(answer.headers['x-request-id']);
  }
  assert.equal((await request(`${gate.url}/health`)).status, 200);
  assert.equal((await request(`${gate.url}/health/ready`)).status, 503);
  assert.equal(gate.log.named('upstream.failed').length, Object.keys(shapes).length);
});

test('an upload to an upstream that is down is answered, not left hanging', async (t) => {
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: await nowhere() } });
  const { status } = await request(`${gate.url}/api/files`, { body: randomBytes(3 * megabyte) });
  assert.equal(status, 502);
});

test('an answer given before the upload was read arrives', async (t) => {
  const upstream = await startUpstream(t);
  // As Go's server does it: the answer, the end of its own side, and patience with what still comes.
  upstream.server.removeAllListeners('connection').on('connection', (socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large')).resume();
  });
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  const upload = open(`${gate.url}/api/files`, { method: 'POST', headers: { 'Content-Length': String(uploadSize) }, agent: false });
  upload.on('error', () => undefined).write(Buffer.alloc(megabyte));
  const [answer] = (await once(upload, 'response')) as [IncomingMessage];
  assert.equal(answer.statusCode, 413);
  assert.equal(answer.headers.connection, 'close');
  assert.equal((await answer.toArray()).join(''), 'too large');
  upload.destroy();
});

test('an upstream that dies within its answer leaves a broken answer, recorded as the upstream\'s fault', async (t) => {
  const upstream = await startUpstream(t, (req, res) => {
    const length: Record<string, string> = req.url === '/api/length' ? { 'Content-Length': '1000' } : {};
    res.writeHead(200, length);
    res.write('half', () => res.destroy());
  });
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url }, logging: records.logging });
  for (const path of ['/api/length', '/api/chunked']) {
    const stream = await openStream(gate.url + path);
    await stream.done;
    assert.equal(stream.status, 200);
    assert.equal(stream.text, 'half');
    assert.equal(stream.complete, false, path);
  }
  const lines = await records.atLeast(2);
  assert.deepEqual(lines.map(({ status, outcome }) => [status, outcome]), [[200, 'upstream_error'], [200, 'upstream_error']]);
  assert.equal(gate.log.named('upstream.failed').length, 2);
});

test('an upstream that speaks no HTTP is answered 502', async (t) => {
  const upstream = await startUpstream(t);
  upstream.server.removeAllListeners('connection').on('connection', (socket) => void socket.end('SSH-2.0-OpenSSH_9.9\r\n'));
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  assert.equal((await request(`${gate.url}/api/status`)).status, 502);
});

test('an upstream that stays silent for newapi.timeout is answered 504', async (t) => {
  const upstream = await startUpstream(t, () => undefined);
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url, timeout: '50ms' } });
  const { status, json } = await request(`${gate.url}/api/status`);
  assert.deepEqual([status, json()], [504, { success: false, message: 'The upstream did not answer in time.' }]);
});

test('a client that leaves takes its request upstream with it, in every phase', async (t) => {
  const seen: { readonly req: IncomingMessage; readonly res: ServerResponse }[] = [];
  const upstream = await startUpstream(t, (req, res) => {
    seen.push({ req, res });
    if (req.url === '/api/answering') res.write('some');
    req.resume();
  });
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url }, logging: records.logging });
  for (const path of ['/api/sending', '/api/waiting', '/api/answering']) {
    const socket = connect(gate.port, '127.0.0.1');
    const length = path === '/api/sending' ? 100 : 4;
    socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\nbody`);
    const { req, res } = await until(() => seen.find((each) => each.req.url === path));
    if (path === '/api/answering') await once(socket, 'data');
    const closed = once(res, 'close');
    socket.destroy();
    await closed;
    assert.equal(req.complete, path !== '/api/sending');
    assert.equal(res.writableFinished, false, path);
  }
  const lines = await records.atLeast(3);
  assert.deepEqual(lines.map(({ path, status, outcome }) => [path, status, outcome]), [
    ['/api/sending', 499, 'aborted'], ['/api/waiting', 499, 'aborted'], ['/api/answering', 499, 'aborted'],
  ]);
});

test('connections to the upstream are kept and used again', async (t) => {
  const upstream = await startUpstream(t, (req, res) => void describe(req, res));
  let connections = 0;
  upstream.server.on('connection', () => connections++);
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  for (let count = 0; count < 5; count++) await request(`${gate.url}/api/status`);
  assert.equal(connections, 1);
});

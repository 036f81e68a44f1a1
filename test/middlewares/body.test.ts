import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { request as openRequest, type IncomingMessage, type RequestListener } from 'node:http';
import { internalsOf } from '../../lib/gateway.ts';
import { rawRequest, until } from '../support/client.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, behind, chat, codeOf } from './behind.ts';

const path = '/v1/chat/completions';
const json = { ...bearer, 'Content-Type': 'application/json' };

/** Answers with the hash of what it received. */
const hashing: RequestListener = (req, res) => {
  const hash = createHash('sha256');
  req.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ sha256: hash.digest('hex') })));
};
const sha256 = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');
const head = (...lines: string[]): string => `POST ${path} HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer x\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

describe('body', () => {
  it('passes a body on byte for byte', async (t) => {
    const { ask } = await behind(t, {}, hashing);
    const bodies = [JSON.stringify(chat), ' {"model" : "a",\n"x":1.0e2,"é":"\\u00e9"} ', `{"model":"a","x":"${'y'.repeat(3_000_000)}"}`, '{}'];
    for (const body of bodies) assert.equal((await ask(path, { body, headers: json })).json<{ sha256: string }>().sha256, sha256(body));
    const packed = gzipSync(JSON.stringify(chat));
    assert.equal((await ask(path, { body: packed, headers: { ...json, 'Content-Encoding': 'gzip' } })).json<{ sha256: string }>().sha256, sha256(packed));
    const form = Buffer.from('--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n');
    const sent = await ask('/v1/audio/transcriptions', { body: form, headers: { ...bearer, 'Content-Type': 'multipart/form-data; boundary=b' } });
    assert.equal(sent.json<{ sha256: string }>().sha256, sha256(form));
  });

  it('leaves the pieces to a listener of the host, also to one that goes before the end', async (t) => {
    const { server, port, gate } = await behind(t);
    const [begun, rest] = ['{"model":"m","user":"', `${'x'.repeat(40_000)}"}`];
    const listeners: ((req: IncomingMessage, keep: (chunk: Buffer) => void) => void)[] = [
      (req, keep) => req.on('data', keep),
      (req, keep) => req.on('data', keep).prependOnceListener('end', () => req.off('data', keep)),
    ];
    for (const [at, listen] of listeners.entries()) {
      const kept: Buffer[] = [];
      let received: IncomingMessage | null = null;
      server.once('request', (req) => void (received = req));
      const sending = openRequest({ port, host: '127.0.0.1', method: 'POST', path, headers: { ...json, 'Content-Length': begun.length + rest.length } });
      const status = new Promise((resolve, reject) => sending.on('response', (answer) => resolve(answer.resume().statusCode)).on('error', reject));
      sending.write(begun);
      const req = await until<IncomingMessage | null>(() => (received?.listenerCount('data') === 1 ? received : null));
      listen(req as IncomingMessage, (chunk) => kept.push(chunk));
      sending.end(rest);
      assert.equal(await status, 200);
      await until(() => internalsOf(gate).core.inFlight.size === 0);
      assert.equal(rest.endsWith(Buffer.concat(kept).toString()) && kept.every(({ length }) => length > 0), true, String(at));
    }
  });

  it('refuses what is no JSON object before it costs anything, and says what it expected', async (t) => {
    const { ask, seen } = await behind(t);
    for (const body of ['', ' ', '{', '[]', 'null', '"a"', '{"model":"a"', 'model=a', '{"a":1}{"b":2}', '\x00', Buffer.from([0xff, 0xfe])]) {
      const answer = await ask(path, { method: 'POST', body, headers: json });
      assert.deepEqual([answer.status, codeOf(answer)], [400, 'invalid_json'], JSON.stringify(body));
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=b', '"\\']) {
      const answer = await ask(path, { body: '{}', headers: { ...bearer, 'Content-Type': type } });
      assert.deepEqual([answer.status, codeOf(answer)], [415, 'invalid_content_type'], type);
    }
    assert.equal(seen.length, 0);
    for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/vnd.api+json']) assert.equal((await ask(path, { body: '{}', headers: { ...bearer, 'Content-Type': type } })).status, 200, type);
  });

  it('tells the record the model, the stream and the size', async (t) => {
    const records = accessRecords(t);
    const { ask } = await behind(t, { logging: records.logging });
    const body = '{"model":"gpt-4o","stream":true}';
    await ask(path, { body, headers: json });
    const [line] = (await records.atLeast(1)) as unknown as { model: string; stream: boolean; bytes_in: number }[];
    assert.deepEqual([line?.model, line?.stream, line?.bytes_in], ['gpt-4o', true, body.length]);
  });

  it('refuses a body announced too large at once, and ends the connection it stands on', async (t) => {
    const { port, seen } = await behind(t, { server: { maxBodyBytes: '2KB', bufferBodyBytes: '1KB' } });
    const answer = (await rawRequest(port, head('Content-Type: application/json', 'Content-Length: 2049'))).toString();
    assert.match(answer, /^HTTP\/1\.1 413 [^]*connection: close[^]*server\.max_body_bytes/i);
    assert.equal(seen.length, 0);
  });

  it('refuses a body that turns out too large, and lets go of its connection', async (t) => {
    const { port } = await behind(t, { server: { maxBodyBytes: '64KB', bufferBodyBytes: '1KB' } });
    const socket = connect(port, '127.0.0.1');
    t.after(() => socket.destroy());
    const closed = new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve));
    let answer = '';
    socket.on('data', (chunk) => {
      clearInterval(sending);
      answer += chunk.toString();
    });
    socket.write(head('Content-Type: application/json', 'Transfer-Encoding: chunked'));
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    const sending = setInterval(() => socket.write(chunk), 1);
    t.after(() => clearInterval(sending));
    await closed;
    assert.match(answer, /^HTTP\/1\.1 413 /);
  });

  it('streams a body too large to be kept, byte for byte', async (t) => {
    const { ask, port } = await behind(t, { server: { bufferBodyBytes: '1KB' } }, hashing);
    const body = `{"model":"a","x":"${'y'.repeat(500_000)}"}`;
    assert.equal((await ask(path, { body, headers: json })).json<{ sha256: string }>().sha256, sha256(body));
    const chunked = `${head('Content-Type: application/json', 'Transfer-Encoding: chunked', 'Connection: close')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    assert.ok((await rawRequest(port, chunked)).toString().includes(sha256(body)));
  });

  it('asks for the body of those it lets in, and of nobody else', async (t) => {
    const { port } = await behind(t, {}, hashing);
    const expecting = ['Content-Type: application/json', 'Content-Length: 2', 'Expect: 100-continue'];
    assert.match((await rawRequest(port, head(...expecting), 'Continue\r\n\r\n')).toString(), /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    const stranger = head(...expecting).replace('Authorization: Bearer x\r\n', '');
    assert.match((await rawRequest(port, stranger)).toString(), /^HTTP\/1\.1 401 /);
  });

  it('reads nothing of routes that only stream', async (t) => {
    const { ask, seen } = await behind(t);
    for (const other of ['/v1/files', '/api/user/login', '/suno/submit/music']) assert.equal((await ask(other, { body: 'no JSON {', headers: { ...bearer, 'Content-Type': 'text/plain' } })).status, 200, other);
    assert.equal(seen.length, 3);
  });
});

import '../support/node.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it, test, type TestContext } from 'node:test';
import { request, until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';

/** An upstream that answers the first request of a connection and closes it at the second, without a word. */
async function forgetful(t: TestContext, lives: () => boolean = () => true): Promise<{ readonly url: string; readonly heads: readonly string[] }> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let served = 0;
    socket.on('error', () => undefined).on('data', (chunk) => {
      heads.push(String(chunk).split('\r\n', 1)[0] as string);
      if (served++ > 0 || !lives()) return void socket.destroy();
      const body = String(chunk).startsWith('HEAD') ? '' : 'ok';
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n${body}`);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heads };
}

describe('a kept connection that the upstream has closed', () => {
  for (const [method, path] of [['GET', '/'], ['GET', '/api/status?x=1'], ['HEAD', '/'], ['GET', '/assets/a.js'], ['GET', '/v1/videos/1'], ['GET', '/mj/task/1/fetch']] as const) {
    it(`is replaced for ${method} ${path}, once`, async (t) => {
      const upstream = await forgetful(t);
      const { url } = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
      const headers = { authorization: 'Bearer sk-stale0123456789abcdefghijklmnopqrstuvwxyz01234567' };
      assert.equal((await request(url + path, { method, headers })).status, 200);
      assert.equal((await request(url + path, { method, headers })).status, 200);
      assert.deepEqual(upstream.heads, [1, 2, 3].map(() => `${method} ${path} HTTP/1.1`));
    });
  }

  for (const [method, body] of [['POST', '{}'], ['PUT', '{}'], ['DELETE', ''], ['GET', 'a body']] as const) {
    it(`is an error for ${method}${body === '' ? '' : ' with a body'}: the upstream may have done what was asked`, async (t) => {
      const upstream = await forgetful(t);
      const { url } = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
      await request(`${url}/api/status`);
      const answer = await request(`${url}/api/user/`, { method, ...(body === '' ? {} : { body }) });
      assert.equal(answer.status, 502);
      assert.equal(upstream.heads.length, 2);
    });
  }

  it('is not replaced for ever', async (t) => {
    let lives = true;
    const upstream = await forgetful(t, () => lives);
    const { url } = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
    await request(`${url}/`);
    lives = false;
    assert.equal((await request(`${url}/`)).status, 502);
    assert.equal(upstream.heads.length, 3);
  });
});

/** Requests behind whose answer the gate closes the connection. */
const last: readonly (readonly [what: string, bytes: string, status: string])[] = [
  ['a request that asks for it', 'GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', '200'],
  ['HTTP/1.0', 'GET /health HTTP/1.0\r\n\r\n', '200'],
  ['a malformed request', 'NONSENSE\r\n\r\n', '400'],
  ['a tunnel', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', '400'],
  ['a refused upgrade', 'GET /v1/realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n', '401'],
  ['a body that is too large', 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-any\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n', '413'],
];

test('a client that keeps its half of a closed connection open and sends on is cut', async (t) => {
  const { port } = await startGate(t, {});
  await Promise.all(last.map(async ([what, bytes, status]) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let said = '';
    let isCut = false;
    socket.on('data', (chunk: Buffer) => void (said += chunk.toString())).on('error', () => undefined).on('close', () => (isCut = true));
    socket.write(bytes);
    await until(() => {
      if (said !== '' && !isCut) socket.write('x');
      return isCut;
    });
    assert.equal(said.slice(9, 12), status, what);
  }));
});

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { connect } from 'node:net';
import { once } from 'node:events';
import { behind } from '../middlewares/behind.ts';

/** Node's parser takes these for the connection's own, and refuses whatever comes behind them. */
const trailers = [
  'Connection: close', 'connection: CLOSE', 'Connection: keep-alive, close', 'Connection: Upgrade', 'Proxy-Connection: close', 'Upgrade: websocket', 'Content-Length: 5', 'Transfer-Encoding: chunked', 'Transfer-Encoding: gzip', 'Host: other.example', 'Expect: 100-continue', 'X-Trailer: a', 'X-Trailer: a\r\nConnection: close',
];

it('leaves no connection open on which the next request would be refused for the trailers of another', async (t) => {
  const { port, seen } = await behind(t);
  for (const lines of trailers) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    let heard = '';
    let closed = false;
    socket.on('data', (chunk: Buffer) => void (heard += chunk.toString('latin1'))).on('end', () => void (closed = true));
    socket.write(`POST /api/one HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n${lines}\r\n\r\n`);
    while (!heard.includes('{"ok":true}') && !closed) await Promise.race([once(socket, 'data'), once(socket, 'end')]);
    assert.match(heard, /^HTTP\/1\.1 (?:200|400|501)[^]*\r\nConnection: close\r\n/, lines);
    if (!closed) await once(socket, 'end');
    assert.equal(heard.split('HTTP/1.1 ').length, 2, lines);
    socket.destroy();
  }
  assert.ok(seen.length > 0);
});

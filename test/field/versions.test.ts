import '../support/node.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { startGate } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

const rows: readonly (readonly [line: string, status: number])[] = [
  ['GET / HTTP/1.1', 200], ['GET / HTTP/1.0', 200], ['GET / HTTP/2.0', 400], ['GET / HTTP/0.9', 400], ['GET / HTTP/3.0', 400], ['GET / HTTP/1.2', 400],
  ['GET / HTTP/2', 400], ['GET / HTTP/9.9', 400], ['GET /', 400], ['GET / HTTP/11', 400], ['GET / http/1.1', 400],
];

test('a request line of another version than HTTP/1.0 and 1.1 is refused, and nothing reaches the upstream', async (t) => {
  let arrived = 0;
  const upstream = await startUpstream(t, (_req, res) => {
    arrived++;
    res.end('ok');
  });
  const { port } = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } });
  for (const [line, status] of rows) {
    const before = arrived;
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write(`${line}\r\nHost: a.example\r\nConnection: close\r\n\r\n`);
    let text = '';
    socket.on('data', (chunk) => void (text += String(chunk)));
    await once(socket, 'close');
    assert.deepEqual([Number(text.split(' ')[1]), arrived - before], [status, status === 200 ? 1 : 0], `${line}: ${text}`);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rawRequest } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

const long = `GET /api/a HTTP/1.1\r\nX-Long: ${'x'.repeat(9000)}`;
/** A request without its last lines, whether its peer is trusted, and what it gets. The rows follow each other: a retry is a row without the mark. */
const rows: readonly (readonly [head: string, mark: string | null, isTrusted: boolean, status: number])[] = [
  ['POST /api/a HTTP/1.1\r\nContent-Length: 0', '1', true, 425], ['POST /api/a HTTP/1.1\r\nContent-Length: 0', null, true, 200],
  ['POST /api/a HTTP/1.1\r\nContent-Length: 0', '1', false, 200], ['POST /api/a HTTP/1.1\r\nContent-Length: 0', null, false, 200],
  ['GET /api/a HTTP/1.1', '1', true, 200], ['GET /api/a HTTP/1.1', '1', false, 200], ['HEAD /api/a HTTP/1.1', '1', true, 200], ['OPTIONS /api/a HTTP/1.1', '1', true, 200],
  ['DELETE /api/a HTTP/1.1', '1', true, 425], ['DELETE /api/a HTTP/1.1', '1', false, 200], ['PUT /api/a HTTP/1.1\r\nContent-Length: 0', '1', true, 425], ['PATCH /api/a HTTP/1.1\r\nContent-Length: 0', '1', true, 425],
  // RFC 8470 §5.1: invalid and repeated values count as 1.
  ['POST /api/a HTTP/1.1\r\nContent-Length: 0', '0', true, 425], ['POST /api/a HTTP/1.1\r\nContent-Length: 0', '1\r\nEarly-Data: 1', true, 425], ['POST /api/a HTTP/1.1\r\nContent-Length: 0', 'x', false, 200],
  ['POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2', '1', true, 425], ['POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2', null, true, 401],
  [long, '1', true, 425], [long, null, true, 200], [long, '1', false, 200], ['GET /api/a HTTP/1.1\r\nContent-Length: 9000', '1', true, 425],
  ['GET /api/a HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13', '1', true, 425],
];

test('early data that could be a copy gets 425, from a trusted peer alone, and is served when it comes again', async (t) => {
  let arrived = 0;
  const upstream = await startUpstream(t, (_req, res) => {
    arrived++;
    res.end('ok');
  });
  const gates = new Map(await Promise.all([true, false].map(async (isTrusted) => [isTrusted, await startGate(t, { audit: false, newapi: { baseUrl: upstream.url }, trustProxy: isTrusted ? ['loopback'] : [], server: { http3: { max0rttSize: '8KB' } } })] as const)));
  for (const [head, mark, isTrusted, status] of rows) {
    const before = arrived;
    const told = `${head.slice(0, 60)} ${mark} ${isTrusted}`;
    const answer = await rawRequest(gates.get(isTrusted)?.port ?? 0, `${head}\r\nHost: a.test\r\n${head.includes('Upgrade') ? '' : 'Connection: close\r\n'}${mark === null ? '' : `Early-Data: ${mark}\r\n`}\r\n${head.endsWith('Content-Length: 2') ? '{}' : ''}`);
    assert.equal(Number(answer.toString().split(' ')[1]), status, told);
    assert.equal(arrived - before, status === 200 ? 1 : 0, told);
  }
});

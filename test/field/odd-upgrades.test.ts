import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { internalsOf } from '../../lib/gateway.ts';
import { until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { startRawUpstream } from '../support/raw-upstream.ts';
import { accessRecords } from '../support/records.ts';
import { shared } from '../support/shared.ts';
import { accepted, handshake, refused } from '../support/websocket.ts';

/** What an upstream answers to a handshake, and how it ends. */
interface Odd {
  readonly bytes?: string;
  readonly end?: 'fin' | 'rst' | 'keep';
  /** What the client is told. */
  readonly status: number;
}

const upgraded = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accepted}\r\n`;
const answer = (status: string, fields = 'Content-Length: 2\r\n', body = 'ok'): string => `HTTP/1.1 ${status} x\r\n${fields}\r\n${body}`;

const table: Readonly<Record<string, Odd>> = {
  '000': { bytes: answer('000'), status: 502 },
  '001': { bytes: answer('001'), status: 502 },
  '099': { bytes: answer('099'), status: 502 },
  '100 and no more': { bytes: answer('100', '', ''), end: 'fin', status: 502 },
  '102 and no more': { bytes: answer('102', '', ''), end: 'rst', status: 502 },
  '103 before a 101': { bytes: answer('103', 'Link: <x>\r\n', '') + answer('101', upgraded, ''), end: 'fin', status: 101 },
  '101 without Upgrade': { bytes: answer('101', '', ''), end: 'fin', status: 502 },
  '101 without Connection': { bytes: answer('101', 'Upgrade: websocket\r\n', ''), end: 'fin', status: 502 },
  '101 to another protocol': { bytes: answer('101', 'Upgrade: h2c\r\nConnection: Upgrade\r\n', ''), end: 'fin', status: 502 },
  '101 and rubbish': { bytes: answer('101', upgraded, 'rubbish'), end: 'fin', status: 101 },
  '150': { bytes: answer('150'), end: 'fin', status: 502 },
  '199': { bytes: answer('199'), end: 'fin', status: 502 },
  '200': { bytes: answer('200'), status: 200 },
  '200 with Upgrade': { bytes: answer('200', `${upgraded}Content-Length: 2\r\n`), status: 200 },
  '200 in chunks': { bytes: answer('200', 'Transfer-Encoding: chunked\r\n', '2\r\nok\r\n0\r\n\r\n'), status: 200 },
  '200 of HTTP/1.0': { bytes: 'HTTP/1.0 200 x\r\n\r\nok', end: 'fin', status: 200 },
  '204': { bytes: answer('204', '', ''), status: 204 },
  '301': { bytes: answer('301', 'Location: /x\r\nContent-Length: 0\r\n', ''), status: 301 },
  '304': { bytes: answer('304', '', ''), status: 304 },
  '307': { bytes: answer('307', 'Location: //evil.example/\r\nContent-Length: 0\r\n', ''), status: 307 },
  '401': { bytes: answer('401', 'WWW-Authenticate: Bearer\r\nContent-Length: 2\r\n'), status: 401 },
  '407': { bytes: answer('407', 'Proxy-Authenticate: Basic\r\nContent-Length: 2\r\n'), status: 407 },
  '426': { bytes: answer('426', 'Upgrade: websocket\r\nContent-Length: 0\r\n', ''), status: 426 },
  '503': { bytes: answer('503', 'Retry-After: 5\r\nContent-Length: 2\r\n'), status: 503 },
  '600': { bytes: answer('600'), status: 600 },
  '999': { bytes: answer('999'), status: 999 },
  'a status of two digits': { bytes: answer('20'), end: 'fin', status: 502 },
  'a status of letters': { bytes: answer('abc'), end: 'fin', status: 502 },
  'a byte of control in a header': { bytes: answer('101', `${upgraded}X-A: a\x01b\r\n`, ''), end: 'fin', status: 502 },
  'UTF-8 in a header of a refusal': { bytes: answer('403', 'X-Name: \xc3\xb6\r\nContent-Length: 2\r\n'), status: 403 },
  'UTF-8 in a header of a 101': { bytes: answer('101', `${upgraded}X-Name: \xc3\xb6\r\n`, ''), end: 'fin', status: 101 },
  'a line without a colon': { bytes: answer('101', `${upgraded}no colon\r\n`, ''), end: 'fin', status: 502 },
  'no HTTP at all': { bytes: '\x15\x03\x01\x00\x02\x02\x28', end: 'fin', status: 502 },
  'a head of 200 KB': { bytes: answer('101', `${upgraded}X-A: ${'x'.repeat(200_000)}\r\n`, ''), end: 'fin', status: 502 },
  'nothing': { end: 'fin', status: 502 },
  'nothing, reset': { end: 'rst', status: 502 },
  'half a status line': { bytes: 'HTTP/1.', end: 'fin', status: 502 },
  'half a head': { bytes: 'HTTP/1.1 101 x\r\nUpgrade: webs', end: 'rst', status: 502 },
};

function send(socket: Socket, { bytes = '', end = 'keep' }: Odd): void {
  socket.write(Buffer.from(bytes, 'latin1'), () => {
    if (end === 'fin') socket.end();
    else if (end === 'rst') socket.resetAndDestroy();
  });
}

describe('an upstream that answers a handshake as no other does', () => {
  const scene = shared(async (scope) => {
    const odd = new Map<string, Odd>();
    const upstream = await startRawUpstream(scope, (socket, { path }) => send(socket, odd.get(/n=(\w+)/.exec(path)?.[1] ?? '') ?? { bytes: answer('200'), status: 200 }));
    const records = accessRecords(scope);
    const { gate, port, log } = await startGate(scope, { newapi: { baseUrl: upstream.url, timeout: '10s' }, circuitBreaker: { failureThreshold: 1000 }, llm: { retry: { maxRetries: 0 } }, logging: records.logging, rateLimit: { address: { limit: 0 } } });
    return { odd, records, gate, port, log, inHand: () => internalsOf(gate).core.inFlight.size };
  });

  for (const [at, [name, instance]] of Object.entries(table).entries()) {
    it(`is answered, recorded and given back: ${name}`, async () => {
      const { odd, port, inHand, log, records } = await scene();
      const before = records.all().length;
      for (const path of ['/v1/realtime?model=m&', '/api/socket?', '/ws?']) {
        odd.set(`u${at}`, instance);
        const got = await refused(port, handshake(`${path}n=u${at}`, 'Authorization: Bearer sk-abcdefghijklmnopqrstuvwxyz'));
        assert.equal(got.status, instance.status, path);
        assert.ok(got.headers['x-request-id'], path);
        assert.ok(got.status === 101 || !got.text.includes('HTTP/1.1'), got.text);
      }
      await until(() => inHand() === 0);
      assert.deepEqual((await records.atLeast(before + 3)).slice(before).map(({ status }) => status), Array.from({ length: 3 }, () => instance.status));
      assert.deepEqual(log.named('request.panic'), []);
    });
  }

  it('leaves a record for each', async () => {
    const { gate } = await scene();
    const expected = Object.values(table).flatMap(({ status }) => [status, status, status]);
    assert.deepEqual((await recorded(gate)).map((row) => row['response_status']).sort(), expected.sort());
  });

  for (const [name, fields] of Object.entries({ 'with Upgrade': upgraded, 'without': '', 'to another protocol': 'Upgrade: h2c\r\nConnection: Upgrade\r\n' })) {
    for (const [method, path, body] of [['GET', '/api/status', ''], ['POST', '/api/user', '{}'], ['POST', '/v1/chat/completions', '{"model":"m","messages":[]}'], ['GET', '/v1/models', '']] as const) {
      it(`is told 502 when it upgrades what did not ask: ${method} ${path} ${name}`, async () => {
        const { odd, port, inHand, records } = await scene();
        odd.set('plain', { bytes: answer('101', fields, ''), end: 'fin', status: 502 });
        const before = records.all().length;
        const bytes = `${method} ${path}?n=plain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-abcdefghijklmnopqrstuvwxyz\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
        assert.equal((await refused(port, bytes)).status, 502);
        await until(() => inHand() === 0);
        assert.equal((await records.atLeast(before + 1)).at(-1)?.status, 502);
      });
    }
  }
});

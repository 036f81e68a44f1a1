import '../support/node.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { createServer } from '../../lib/index.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { AddressSet, clientAddress, peerIn } from '../../lib/identity/identity.ts';
import { preambleIn } from '../../lib/server/proxy-protocol.ts';
import { authority, noOpenssl, type Certificate } from '../support/authority.ts';
import { request, until, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { noNginx, runNginx } from '../support/nginx.ts';
import { startGateProcess } from '../support/processes.ts';
import { scratch } from '../support/scratch.ts';
import { startUpstream, type Upstream } from '../support/upstream.ts';

const ends: (() => unknown)[] = [];
const scope: TestLike = { after: (end) => void ends.push(end) };
let upstream: Upstream;
/** `X-Forwarded-For` of every request that reached the upstream. */
const forwarded: unknown[] = [];

before(async () => {
  upstream = await startUpstream(scope, (req, res) => {
    forwarded.push(req.headers['x-forwarded-for']);
    res.end('ok');
  });
});
after(async () => {
  for (const end of ends.reverse()) await end();
});

/** Addresses and JA4 of every request of a gate, in the order they ended. */
function watched({ gate }: Pick<RunningGate, 'gate'>): { ip: string; peer: string; ja4: string | null }[] {
  const seen: { ip: string; peer: string; ja4: string | null }[] = [];
  internalsOf(gate).core.finishers.push(({ ip, peer, ja4 }) => void seen.push({ ip, peer, ja4 }));
  return seen;
}

describe('peers over a Unix socket', () => {
  const rows: readonly (readonly [trust: readonly string[], headers: Record<string, string>, ip: string])[] = [
    [['unix'], { 'X-Forwarded-For': '203.0.113.7' }, '203.0.113.7'], [['unix'], { 'X-Forwarded-For': '198.51.100.1, 203.0.113.7' }, '203.0.113.7'], [['unix', 'loopback'], { 'X-Forwarded-For': '203.0.113.7, 127.0.0.1' }, '203.0.113.7'],
    [['unix'], { 'X-Real-IP': '2001:db8::7' }, '2001:db8::7'], [['unix'], {}, '0.0.0.0'], [['unix'], { 'X-Forwarded-For': 'unix:' }, '0.0.0.0'], [['unix'], { 'X-Forwarded-For': 'unix' }, '0.0.0.0'],
    [['loopback'], { 'X-Forwarded-For': '203.0.113.7' }, '0.0.0.0'], [['private', 'cloudflare', 'loopback'], { 'X-Real-IP': '203.0.113.7' }, '0.0.0.0'], [[], { 'X-Forwarded-For': '127.0.0.1' }, '0.0.0.0'],
  ];
  for (const [trust, headers, ip] of rows) {
    it(`${trust.join()} and ${JSON.stringify(headers)} are ${ip}`, async (t) => {
      const running = await startGate(t, { newapi: { baseUrl: upstream.url }, trustProxy: [...trust] });
      const seen = watched(running);
      const server = createServer(running.gate);
      const path = join(scratch(), 'gate.sock');
      await once(server.listen(path), 'listening');
      const req = httpRequest({ socketPath: path, path: '/page', headers });
      const [res] = (await once(req.end(), 'response')) as [import('node:http').IncomingMessage];
      res.resume();
      await until(() => seen.length === 1);
      assert.deepEqual([res.statusCode, seen[0]?.ip, seen[0]?.peer, forwarded.at(-1)], [200, ip, 'unix', ip]);
      // The line to add, where a proxy is not trusted.
      const warned = running.log.named('address.untrusted_proxy')[0]?.['fix'];
      assert.equal(warned, trust.includes('unix') || headers['X-Forwarded-For'] === undefined && headers['X-Real-IP'] === undefined ? undefined : `trust_proxy: [${[...trust, 'unix'].join(', ')}]`);
    });
  }

  it('are an nginx that says who calls, whatever the caller claims', { skip: noNginx }, async (t) => {
    const running = await startGate(t, { newapi: { baseUrl: upstream.url }, trustProxy: ['unix'] });
    const seen = watched(running);
    const path = join(scratch(), 'gate.sock');
    await once(createServer(running.gate).listen(path), 'listening');
    const told = ['proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;', 'proxy_set_header X-Forwarded-For $remote_addr;', 'proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For "";'];
    const { port } = await runNginx(t, (listen) => `server { listen 127.0.0.1:${listen}; ${told.map((line, nth) => `location /${nth} { proxy_pass http://unix:${path}:; proxy_http_version 1.1; ${line} }`).join(' ')} }`);
    for (const nth of told.keys()) assert.equal((await request(`http://127.0.0.1:${port}/${nth}`, { headers: { 'X-Forwarded-For': '6.6.6.6, unix:' } })).status, 200);
    await until(() => seen.length === told.length);
    assert.deepEqual(seen.map(({ ip, peer }) => [ip, peer]), told.map(() => ['127.0.0.1', 'unix']));
  });

  it('find the standalone at the path of server.host, where a process that was killed left its socket, too', async (t) => {
    const cwd = scratch();
    const path = join(cwd, 'gate.sock');
    const env = { HEIMDALL_HOST: path, HEIMDALL_PORT: '1', NEWAPI_BASE_URL: upstream.url };
    const first = await startGateProcess(t, cwd, env);
    assert.equal(first.url, `unix:${path}`);
    await first.kill();
    assert.ok(existsSync(path));
    await startGateProcess(t, cwd, env);
    const [res] = (await once(httpRequest({ socketPath: path, path: '/health' }).end(), 'response')) as [import('node:http').IncomingMessage];
    assert.equal(res.resume().statusCode, 200);
  });

  it('are not what a closed connection, or text of a client, is', () => {
    const trust = new AddressSet(['unix']);
    assert.deepEqual([peerIn(undefined), peerIn('unix'), trust.has('unix'), trust.has('127.0.0.1'), new AddressSet(['loopback']).has('unix')], ['0.0.0.0', 'unix', true, false, false]);
    assert.equal(clientAddress(undefined, { 'x-forwarded-for': '203.0.113.7' }, trust, null).ip, '0.0.0.0');
    assert.equal(clientAddress('127.0.0.1', { 'x-forwarded-for': '203.0.113.7, unix' }, new AddressSet(['loopback', 'unix']), null).ip, '127.0.0.1');
  });
});

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** A preamble of version 2. */
function second(command: number, family: number, address: Buffer, tlvs = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt8(command, 0);
  head.writeUInt8(family, 1);
  head.writeUInt16BE(address.length + tlvs.length, 2);
  return Buffer.concat([signature, head, address, tlvs]);
}

const four = Buffer.from([203, 0, 113, 9, 192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb]);
const six = Buffer.concat([Buffer.from('20010db8000000000000000000000009', 'hex'), Buffer.from('20010db8000000000000000000000001', 'hex'), Buffer.from([0xdc, 0x04, 0x01, 0xbb])]);
const tlv = Buffer.from([0x02, 0x00, 0x03, 0x61, 0x62, 0x63, 0x04, 0x00, 0x00]);

/** Preambles, and the client that they name; null: the peer itself. */
const good: readonly (readonly [name: string, preamble: Buffer | string, ip: string | null])[] = [
  ['v1 TCP4', 'PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n', '203.0.113.9'], ['v1 TCP6', 'PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n', '2001:db8::9'], ['v1 TCP6 mapped', 'PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n', '203.0.113.9'],
  ['v1 UNKNOWN', 'PROXY UNKNOWN\r\n', null], ['v1 UNKNOWN with addresses', 'PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n', null], ['v1 the longest line', 'PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0009 2001:0db8:0000:0000:0000:0000:0000:0001 65535 65535\r\n', '2001:db8::9'],
  ['v2 TCP4', second(0x21, 0x11, four), '203.0.113.9'], ['v2 TCP6', second(0x21, 0x21, six), '2001:db8::9'], ['v2 TCP4 with TLVs', second(0x21, 0x11, four, tlv), '203.0.113.9'], ['v2 TCP6 with a long TLV', second(0x21, 0x21, six, Buffer.concat([Buffer.from([0xe0, 0x10, 0x00]), Buffer.alloc(4096)])), '2001:db8::9'],
  ['v2 LOCAL', second(0x20, 0x00, Buffer.alloc(0)), null], ['v2 LOCAL with addresses', second(0x20, 0x11, four), null], ['v2 UNSPEC', second(0x21, 0x00, Buffer.alloc(0)), null], ['v2 Unix', second(0x21, 0x31, Buffer.alloc(216)), null],
];

const bad: readonly (readonly [name: string, preamble: Buffer | string])[] = [
  ['no preamble', 'GET /page HTTP/1.1\r\nHost: a\r\n\r\n'], ['v1 of another family', 'PROXY TCP4 2001:db8::9 ::1 1 2\r\n'], ['v1 no address', 'PROXY TCP4 a.example 192.0.2.1 1 2\r\n'], ['v1 a port too high', 'PROXY TCP4 203.0.113.9 192.0.2.1 65536 2\r\n'], ['v1 without ports', 'PROXY TCP4 203.0.113.9 192.0.2.1\r\n'],
  ['v1 two blanks', 'PROXY  TCP4 203.0.113.9 192.0.2.1 1 2\r\n'], ['v1 in small letters', 'proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n'], ['v1 ends in LF', 'PROXY TCP4 203.0.113.9 192.0.2.1 1 2\nGET / HTTP/1.1\r\n'], ['v1 UDP', 'PROXY UDP4 203.0.113.9 192.0.2.1 1 2\r\n'], ['v1 too long', `PROXY UNKNOWN ${'x'.repeat(120)}\r\n`],
  ['v2 version 3', second(0x31, 0x11, four)], ['v2 command 2', second(0x22, 0x11, four)], ['v2 family 4', second(0x21, 0x41, four)], ['v2 UDP', second(0x21, 0x12, four)], ['v2 too short', second(0x21, 0x11, four.subarray(0, 8))], ['v2 cut TLV', second(0x21, 0x11, four, Buffer.from([2, 0, 9, 1]))],
  ['v2 another signature', Buffer.concat([signature.subarray(0, 11), Buffer.from('\r\n'), four])], ['TLS', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])],
];

const question = 'GET /page HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.66\r\nConnection: close\r\n\r\n';

/** All that comes back until the connection is closed. */
async function wire(socket: Socket, ...parts: readonly (Buffer | string)[]): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => void (text += String(chunk))).on('error', () => undefined);
  for (const part of parts) socket.write(part);
  await once(socket, 'close');
  return text;
}

describe('the PROXY protocol', () => {
  let certificate: Certificate | null = null;
  let plain: RunningGate;
  let secure: RunningGate | null = null;
  let stranger: RunningGate;
  let seen: ReturnType<typeof watched>;
  let seenSecure: ReturnType<typeof watched> = [];

  before(async () => {
    const server = { proxyProtocol: true, readTimeout: 1500 };
    const config = { newapi: { baseUrl: upstream.url }, trustProxy: ['loopback'] };
    plain = await startGate(scope, { ...config, server });
    seen = watched(plain);
    stranger = await startGate(scope, { ...config, server, trustProxy: ['10.0.0.0/8'] });
    if (noOpenssl) return;
    certificate = authority(scope).issue('DNS:gate.example');
    secure = await startGate(scope, { ...config, server: { ...server, tls: { certPath: certificate.certPath, keyPath: certificate.keyPath } } });
    seenSecure = watched(secure);
  });

  for (const [name, preamble, ip] of good) {
    it(`${name} names ${ip ?? 'nobody'}, in one piece, byte by byte and before TLS`, { timeout: 30_000 }, async () => {
      const bytes = Buffer.from(preamble as Buffer);
      const expected = ip ?? '198.51.100.66';
      assert.match(await wire(connect(plain.port, '127.0.0.1'), Buffer.concat([bytes, Buffer.from(question)])), /^HTTP\/1\.1 200 [^]*ok$/);
      // A peer that is trusted may still forward: what it names is the client's address. A named client is no such peer.
      assert.deepEqual([seen.at(-1)?.ip, seen.at(-1)?.peer, forwarded.at(-1)], [expected, ip ?? '127.0.0.1', expected]);
      const slow = connect(plain.port, '127.0.0.1').setNoDelay(true);
      for (let at = 0; at < bytes.length; at += bytes.length > 200 ? 997 : 7) {
        slow.write(bytes.subarray(at, at + (bytes.length > 200 ? 997 : 7)));
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.match(await wire(slow, question), /^HTTP\/1\.1 200 /);
      assert.equal(seen.at(-1)?.ip, expected);
      for (let length = 0; length < bytes.length; length += 5) assert.equal(preambleIn(bytes.subarray(0, length)), 'more');
      if (secure === null) return;
      const raw = connect(secure.port, '127.0.0.1');
      raw.write(bytes);
      const text = await wire(connectTls({ socket: raw, servername: 'gate.example', rejectUnauthorized: false }), question);
      assert.match(text, /^HTTP\/1\.1 200 /);
      const last = seenSecure.at(-1);
      assert.deepEqual([last?.ip, last?.peer, forwarded.at(-1)], [expected, ip ?? '127.0.0.1', expected]);
      if (ip !== null) assert.match(last?.ja4 ?? '', /^t13d/);
    });
  }

  for (const [name, preamble] of bad) {
    it(`${name} closes the connection without an answer`, async () => {
      const before = [seen.length, seenSecure.length];
      assert.equal(preambleIn(Buffer.from(preamble as Buffer)), null);
      assert.equal(await wire(connect(plain.port, '127.0.0.1'), preamble, question), '');
      if (secure !== null) assert.equal(await wire(connect(secure.port, '127.0.0.1'), preamble, question), '');
      assert.deepEqual([seen.length, seenSecure.length], before);
    });
  }

  it('a preamble that does not come, or not to its end, times out, and one whose client leaves ends nothing', async () => {
    const begun = ['', 'PROXY TCP4 203.', signature, second(0x21, 0x11, four).subarray(0, 20)];
    assert.deepEqual(await Promise.all(begun.map((part) => wire(connect(plain.port, '127.0.0.1'), part))), ['', '', '', '']);
    const gone = connect(plain.port, '127.0.0.1');
    gone.end('PROXY TCP4');
    await wire(gone);
    assert.match(await wire(connect(plain.port, '127.0.0.1'), 'PROXY UNKNOWN\r\n', question), /^HTTP\/1\.1 200 /);
  });

  it('a connection of a peer that is not trusted is its own, and a preamble on it is no request', async () => {
    const strange = watched(stranger);
    assert.match(await wire(connect(stranger.port, '127.0.0.1'), question), /^HTTP\/1\.1 200 /);
    assert.deepEqual([strange.at(-1)?.ip, strange.at(-1)?.peer], ['127.0.0.1', '127.0.0.1']);
    for (const [, preamble] of good) assert.doesNotMatch(await wire(connect(stranger.port, '127.0.0.1'), preamble, question), /^HTTP\/1\.1 200 /);
    assert.ok(strange.every(({ ip }) => ip === '127.0.0.1'));
  });

  it('a whole connection has one preamble: requests after the first have the same client, and a second one is no request', async () => {
    const many = question.replace('Connection: close\r\n', '');
    const count = seen.length;
    assert.match(await wire(connect(plain.port, '127.0.0.1'), 'PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n', many, many, 'PROXY TCP4 203.0.113.10 192.0.2.1 1 2\r\n', question), /200[^]*200[^]*400/);
    assert.deepEqual(seen.slice(count, count + 2).map(({ ip }) => ip), ['203.0.113.9', '203.0.113.9']);
    assert.ok(!seen.slice(count).some(({ ip }) => ip === '203.0.113.10'));
  });
});

describe('preflights of Private Network Access', () => {
  const asks = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Private-Network': 'true' };
  const rows: readonly (readonly [allow: readonly string[] | null, method: string, headers: Record<string, string>, answer: string | undefined])[] = [
    [['https://a.example'], 'OPTIONS', { ...asks, Origin: 'https://a.example' }, 'true'], [['https://a.example', 'https://b.example'], 'OPTIONS', { ...asks, Origin: 'https://b.example' }, 'true'], [['*'], 'OPTIONS', { ...asks, Origin: 'https://c.example' }, 'true'],
    [['null'], 'OPTIONS', { ...asks, Origin: 'null' }, 'true'], [['https://a.example'], 'OPTIONS', { ...asks, Origin: 'https://evil.example' }, undefined], [['https://a.example'], 'OPTIONS', asks, undefined],
    [['https://a.example'], 'OPTIONS', { 'Access-Control-Request-Method': 'POST', Origin: 'https://a.example' }, undefined], [['https://a.example'], 'OPTIONS', { ...asks, 'Access-Control-Request-Private-Network': 'false', Origin: 'https://a.example' }, undefined],
    [['https://a.example'], 'GET', { ...asks, Origin: 'https://a.example' }, undefined], [[], 'OPTIONS', { ...asks, Origin: 'https://a.example' }, undefined],
  ];
  it('are allowed for the origins that may call', async () => {
    const gates = new Map<string, RunningGate>();
    for (const [allow, method, headers, answer] of rows) {
      const running = gates.get(String(allow)) ?? (await startGate(scope, { newapi: { baseUrl: upstream.url }, ...(allow === null ? {} : { cors: { allowOrigins: [...allow] } }) }));
      gates.set(String(allow), running);
      const got = await request(`${running.url}/v1/chat/completions`, { method, headers });
      assert.equal(got.headers['access-control-allow-private-network'], answer, `${allow?.join()} ${method} ${JSON.stringify(headers)}`);
      assert.equal((await request(`${running.url}/page`, { method, headers })).headers['access-control-allow-private-network'], answer);
    }
  });
});

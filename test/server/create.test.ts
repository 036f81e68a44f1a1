import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createServer as createHost, type IncomingMessage } from 'node:http';
import { request as openSecure } from 'node:https';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as secure, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { heimdall, type ServerInput, type TlsInput } from '../../lib/index.ts';
import { closing, rawRequest, request, until } from '../support/client.ts';
import { recorder, startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { fakeClock } from '../support/clock.ts';
import { accessRecords } from '../support/records.ts';

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

/** A certificate for that name, made for the test. */
function certificate(t: TestContext, name: string, days = 30): { readonly certPath: string; readonly keyPath: string } {
  const at = temporary(t);
  const paths = { certPath: join(at, 'cert.pem'), keyPath: join(at, 'key.pem') };
  const made = spawnSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', String(days), '-subj', `/CN=${name}`,
    '-keyout', paths.keyPath, '-out', paths.certPath,
  ]);
  assert.equal(made.status, 0, made.stderr.toString());
  return paths;
}

async function startSecure(t: TestContext, tls: TlsInput = {}): Promise<RunningGate> {
  const api = closing(t, await startNewapi());
  return startGate(t, { audit: false, newapi: { baseUrl: api.url }, server: { tls: { ...certificate(t, 'gate.test'), ...tls } } });
}

async function handshake(t: TestContext, port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = secure({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  t.after(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

test('with a certificate the gate speaks HTTPS, WebSockets included, and says so upstream', { skip: noOpenssl }, async (t) => {
  const api = closing(t, await startNewapi());
  const { port } = await startGate(t, { audit: false, newapi: { baseUrl: api.url }, server: { tls: certificate(t, 'gate.test') } });
  const asked = openSecure({ port, host: '127.0.0.1', path: '/api/status', rejectUnauthorized: false, agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  assert.equal(answer.statusCode, 200);
  await answer.toArray();
  assert.equal(api.requests[0]?.headers['x-forwarded-proto'], 'https');
  const socket = new WebSocket(`wss://127.0.0.1:${port}/v1/realtime?model=gpt-realtime`, { rejectUnauthorized: false, headers: { Authorization: `Bearer ${DEMO_KEY}` } });
  const [first] = (await once(socket, 'message')) as [Buffer];
  assert.match(first.toString(), /session\.created/);
  socket.close();
  await once(socket, 'close');
  const plain = await rawRequest(port, 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.doesNotMatch(plain.toString(), /^HTTP\/1.1 200/);
});

test('over TLS the gate asks for TLS from then on, of its own name alone', { skip: noOpenssl }, async (t) => {
  const { port } = await startSecure(t);
  const asked = openSecure({ port, host: '127.0.0.1', path: '/health', rejectUnauthorized: false, agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  await answer.toArray();
  assert.equal(answer.headers['strict-transport-security'], 'max-age=31536000');
});

test('a certificate in the last third of its validity is told of at the start and once a day', { skip: noOpenssl }, async (t) => {
  const clock = fakeClock(Date.now());
  const { log, gate } = await startGate(t, { server: { tls: certificate(t, 'gate.test') } }, { clock });
  assert.equal(log.named('certificate.expiring').length, 0);
  await gate.close({ timeout: 0 });
  const short = recorder();
  const tls = certificate(t, 'gate.test', 2);
  clock.tick(1.5 * 86_400_000);
  const { gate: other } = await startGate(t, { server: { tls } }, { clock, log: short });
  assert.equal(short.named('certificate.expiring').length, 1);
  clock.tick(86_400_000);
  assert.equal(short.named('certificate.expiring').length, 2);
  await other.close({ timeout: 0 });
  await until(() => clock.pending === 0);
});

test('a certificate whose files change is served to new connections, and one that cannot be used is told of', { skip: noOpenssl }, async (t) => {
  const tls = certificate(t, 'gate.test');
  const [other, third] = [certificate(t, 'gate.test'), certificate(t, 'gate.test')];
  const { port, url, log } = await startGate(t, { server: { tls }, metrics: { token: 'a-token-for-metrics-0123456789' } });
  const served = async (): Promise<string> => (await handshake(t, port, {})).getPeerX509Certificate()?.fingerprint256 ?? '';
  const fingerprintOf = ({ certPath }: { certPath: string }): string => new X509Certificate(readFileSync(certPath)).fingerprint256;
  const first = fingerprintOf(tls);
  const open = await handshake(t, port, {});
  assert.equal(await served(), first);
  // The key comes later: until then the two do not belong together.
  copyFileSync(other.certPath, tls.certPath);
  await until(() => log.named('certificate.refused').length === 1);
  assert.deepEqual(log.named('certificate.refused').map(({ certificate: path, reason }) => [path, reason]), [[tls.certPath, 'the key belongs to another certificate']]);
  assert.equal(await served(), first);
  copyFileSync(other.keyPath, tls.keyPath);
  await until(() => log.named('certificate.renewed').length === 1);
  assert.equal(await served(), fingerprintOf(other));
  // Kubernetes and certbot exchange links.
  for (const name of ['certPath', 'keyPath'] as const) {
    symlinkSync(third[name], `${tls[name]}.new`);
    renameSync(`${tls[name]}.new`, tls[name]);
  }
  await until(async () => (await served()) === fingerprintOf(third));
  rmSync(tls.keyPath);
  await until(() => log.named('certificate.refused').some(({ reason }) => reason === 'ENOENT'));
  assert.equal(await served(), fingerprintOf(third));
  open.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  const [answer] = (await once(open, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200/, 'a connection that was open stays');
  const asked = openSecure({ port, host: '127.0.0.1', path: '/metrics', rejectUnauthorized: false, agent: false, headers: { Authorization: 'Bearer a-token-for-metrics-0123456789' } }).end();
  const [metrics] = (await once(asked, 'response')) as [IncomingMessage];
  const ends = Number(/tls_certificate_not_after_seconds\{certificate="[^"]+"\} (\d+)/.exec(Buffer.concat(await metrics.toArray()).toString())?.[1]);
  assert.equal(ends, Date.parse(new X509Certificate(readFileSync(third.certPath)).validTo) / 1000, url);
});

test('a TLS version below min_version is refused', { skip: noOpenssl }, async (t) => {
  const modern = await startSecure(t, { minVersion: '1.3' });
  await assert.rejects(handshake(t, modern.port, { maxVersion: 'TLSv1.2' }), /protocol version|ECONNRESET/);
  assert.equal((await handshake(t, modern.port, {})).getProtocol(), 'TLSv1.3');
  const usual = await startSecure(t);
  assert.equal((await handshake(t, usual.port, { maxVersion: 'TLSv1.2' })).getProtocol(), 'TLSv1.2');
});

test('with server_name other names are refused within the handshake', { skip: noOpenssl }, async (t) => {
  const { port } = await startSecure(t, { serverName: 'gate.test' });
  await assert.rejects(handshake(t, port, { servername: 'evil.test' }));
  for (const servername of ['gate.test', 'GATE.test']) assert.ok((await handshake(t, port, { servername })).encrypted);
  assert.ok((await handshake(t, port, {})).encrypted, 'a client that names none is served');
});

test('a body over TLS that keeps its pace is not given up', { skip: noOpenssl }, async (t) => {
  const api = closing(t, await startNewapi());
  const { port } = await startGate(t, { audit: false, newapi: { baseUrl: api.url }, server: { tls: certificate(t, 'gate.test'), readTimeout: '60ms' } });
  const asked = openSecure({ port, host: '127.0.0.1', path: '/api/user/login', method: 'POST', headers: { 'Content-Length': 12 * 16_384 }, rejectUnauthorized: false, agent: false });
  const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
  for (let sent = 0; sent < 12; sent++) {
    asked.write(Buffer.alloc(16_384, ' '));
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  asked.end();
  const [answer] = await answered;
  assert.equal(answer.statusCode, 200, (await answer.toArray()).join(''));
});

test('a certificate that cannot be used stops the server with its reason', { skip: noOpenssl }, (t) => {
  const mine = certificate(t, 'gate.test');
  const other = certificate(t, 'gate.test');
  assert.throws(() => heimdall({ server: { tls: { certPath: mine.certPath, keyPath: other.keyPath } } }), /server\.tls\.keyPath: .*which belongs to another certificate/);
});

async function limited(t: TestContext, server: ServerInput): Promise<RunningGate & { readonly records: ReturnType<typeof accessRecords> }> {
  const api = closing(t, await startNewapi());
  const records = accessRecords(t);
  return { ...(await startGate(t, { newapi: { baseUrl: api.url }, server, logging: records.logging })), records };
}

test('connections above max_connections are closed, those within are served', async (t) => {
  const { port } = await limited(t, { maxConnections: 2 });
  const opened: Socket[] = [];
  t.after(() => opened.forEach((socket) => socket.destroy()));
  for (let count = 0; count < 2; count++) {
    const socket = connect(port, '127.0.0.1');
    opened.push(socket);
    socket.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    assert.match(bytes.toString(), /^HTTP\/1.1 200/);
  }
  const third = connect(port, '127.0.0.1');
  opened.push(third);
  await once(third.on('error', () => undefined), 'close');
  assert.equal(third.bytesRead, 0);
  opened[0]?.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  const [again] = (await once(opened[0] as Socket, 'data')) as [Buffer];
  assert.match(again.toString(), /^HTTP\/1.1 200/);
});

test('a head above max_header_bytes is answered 431 and recorded; one below passes', async (t) => {
  const { port, url, records } = await limited(t, { maxHeaderBytes: '32KB' });
  const sized = (bytes: number): string => `GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Padding: ${'p'.repeat(bytes)}\r\n\r\n`;
  assert.match((await rawRequest(port, sized(30_000))).toString(), /^HTTP\/1.1 200/);
  const refused = (await rawRequest(port, sized(40_000))).toString();
  assert.match(refused, /^HTTP\/1.1 431 .*"code":"headers_too_large"/s);
  assert.equal((await request(`${url}/health`)).status, 200);
  const lines = await records.atLeast(3);
  assert.deepEqual(lines.map(({ status, outcome }) => [status, outcome]), [[200, 'served'], [431, 'refused:headers_too_large'], [200, 'served']]);
});

test('a megabyte of headers fits by default', async (t) => {
  const { port } = await limited(t, {});
  const cookies = 'c=1; '.repeat(150_000);
  assert.match((await rawRequest(port, `GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: ${cookies}\r\n\r\n`)).toString(), /^HTTP\/1.1 200/);
});

test('headers that do not come within read_timeout are answered 408', async (t) => {
  const { port, records } = await limited(t, { readTimeout: '80ms' });
  const answer = (await rawRequest(port, 'GET /health HTTP/1.1\r\nHost: a\r\n')).toString();
  assert.match(answer, /^HTTP\/1.1 408 .*"code":"request_timeout"/s);
  assert.equal((await records.atLeast(1))[0]?.status, 408);
});

test('an idle connection is closed after idle_timeout', async (t) => {
  const { port } = await limited(t, { idleTimeout: '50ms' });
  const socket = connect(port, '127.0.0.1');
  socket.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(socket, 'data');
  await once(socket, 'close');
});

test('attach says what only a constructor can set, sets the rest, and may be called again', async (t) => {
  const log = recorder();
  const gate = heimdall({ logging: { file: false, level: 'silent' }, server: { idleTimeout: '7s', readTimeout: '8s' } }, { log });
  t.after(() => gate.close({ timeout: 0 }));
  const server = createHost();
  gate.attach(server);
  const [warning] = log.named('attach.limited');
  assert.equal(warning?.['setting'], 'server.max_header_bytes');
  assert.match(String(warning?.['fix']), /createServer\(gate\)/);
  assert.deepEqual([server.keepAliveTimeout, server.headersTimeout], [7000, 8000]);
  gate.attach(server);
  for (const event of ['upgrade', 'checkContinue', 'clientError']) assert.equal(server.listenerCount(event), 1, event);
});

test('attach leaves a host its own handlers', () => {
  const gate = heimdall({ logging: { file: false, level: 'silent' }, server: { maxHeaderBytes: '16KB' } }, { log: recorder() });
  const server = createHost();
  const own = (): void => undefined;
  server.on('checkContinue', own).on('clientError', own);
  gate.attach(server);
  assert.deepEqual([server.listeners('checkContinue'), server.listeners('clientError')], [[own], [own]]);
});

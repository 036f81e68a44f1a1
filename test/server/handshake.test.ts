import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { request as secureRequest } from 'node:https';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { Core } from '../../lib/request/context.ts';
import { helloIn, ja4Of } from '../../lib/identity/ja4.ts';
import { internalsOf } from '../../lib/gateway.ts';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { startNewapi } from '../support/newapi.ts';

const missing = (program: string, ...args: string[]): string | false => (spawnSync(program, args).status === 0 ? false : `${program} is not installed`);
const noOpenssl = missing('openssl', 'version');
const noCurl = noOpenssl || missing('curl', '--version');
const form = /^t13[di]\d{4}(?:00|h1|h2)_[0-9a-f]{12}_[0-9a-f]{12}$/;

interface Scene extends RunningGate {
  /** JA4 of every request so far, in the order they ended. */
  readonly seen: (string | null)[];
}

async function start(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const at = temporary(t);
  const [certPath, keyPath] = [join(at, 'cert.pem'), join(at, 'key.pem')];
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=gate.test', '-keyout', keyPath, '-out', certPath]);
  assert.equal(made.status, 0, String(made.stderr));
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, ...config, server: { tls: { certPath, keyPath }, ...config.server } });
  const seen: (string | null)[] = [];
  (internalsOf(gate.gate).core as Core).finishers.push(({ ja4 }) => void seen.push(ja4));
  return { ...gate, seen };
}

async function ask(port: number, options: object = {}): Promise<number | undefined> {
  const req = secureRequest({ host: '127.0.0.1', port, path: '/health', rejectUnauthorized: false, agent: false, ...options }).end();
  const [res] = (await once(req, 'response')) as [import('node:http').IncomingMessage];
  res.resume();
  await once(res, 'end');
  return res.statusCode;
}

/** A plain wire to the gate that keeps what the client sends first. */
async function tapped(t: TestContext, to: number): Promise<{ readonly port: number; hello(): string }> {
  const chunks: Buffer[] = [];
  const sockets = new Set<Socket>();
  const wire = createServer((client) => {
    const gate = connect(to, '127.0.0.1');
    for (const socket of [client, gate]) sockets.add(socket.on('error', () => undefined));
    client.on('data', (chunk: Buffer) => chunks.push(chunk));
    client.pipe(gate).pipe(client);
  });
  wire.listen(0, '127.0.0.1');
  await once(wire, 'listening');
  t.after(() => {
    wire.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (wire.address() as AddressInfo).port,
    hello() {
      const found = helloIn(Buffer.concat(chunks));
      assert.ok(found !== null && found !== 'more');
      return ja4Of(found);
    },
  };
}

test('a request over TLS carries the fingerprint of the handshake that is seen on the wire', { skip: noOpenssl }, async (t) => {
  const { port, seen } = await start(t);
  const wire = await tapped(t, port);
  assert.equal(await ask(wire.port, { servername: 'gate.test' }), 200);
  await until(() => seen.length === 1);
  assert.match(seen[0] as string, /^t13d/);
  assert.equal(seen[0], wire.hello());
});

test('clients differ by what they offer, and each is the same at every call', { skip: noOpenssl }, async (t) => {
  const { port, seen } = await start(t);
  const clients: object[] = [{}, { servername: 'gate.test' }, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' }, { ALPNProtocols: ['http/1.1'] }, { sigalgs: 'ecdsa_secp256r1_sha256' }];
  for (const client of [...clients, ...clients]) assert.equal(await ask(port, client), 200);
  await until(() => seen.length === 10);
  assert.deepEqual(seen.slice(5), seen.slice(0, 5));
  assert.equal(new Set(seen).size, 5, seen.join('\n'));
  assert.deepEqual(seen.slice(0, 4).map((ja4) => ja4?.slice(0, 4)), ['t13i', 't13d', 't12i', 't13i']);
  assert.equal(seen[3]?.slice(8, 10), 'h1');
});

test('curl and openssl are served and told apart', { skip: noCurl }, async (t) => {
  const { port, seen } = await start(t);
  const { stdout } = await promisify(execFile)('curl', ['-sk', `https://localhost:${port}/health`, `https://localhost:${port}/health`]);
  assert.match(stdout, /"healthy"/);
  const client = spawn('openssl', ['s_client', '-quiet', '-noservername', '-connect', `127.0.0.1:${port}`], { stdio: ['pipe', 'ignore', 'ignore'] });
  const left = once(client, 'exit');
  client.stdin.write('GET /health HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n');
  await until(() => seen.length === 3);
  client.stdin.end();
  await left;
  assert.equal(seen[0], seen[1]);
  for (const ja4 of seen) assert.match(ja4 as string, form);
  assert.deepEqual([seen[0]?.slice(3, 4), seen[2]?.slice(3, 4), seen[0]?.slice(8, 10)], ['d', 'i', 'h2']);
});

test('a handshake that comes byte by byte is waited for, one that never comes is not', { skip: noOpenssl }, async (t) => {
  const { port, seen } = await start(t, { server: { readTimeout: '300ms' } });
  const slow = createServer(async (client) => {
    const gate = connect(port, '127.0.0.1').setNoDelay();
    gate.on('error', () => undefined).pipe(client.on('error', () => undefined));
    let first = true;
    for await (const chunk of client as AsyncIterable<Buffer>) {
      const cuts = first ? [1, 4, 5, 6, 40, 100, chunk.length - 1] : [];
      first = false;
      for (const [at, cut] of cuts.entries()) {
        gate.write(chunk.subarray(cuts[at - 1] ?? 0, cut));
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
      gate.write(chunk.subarray(cuts.at(-1) ?? 0));
    }
  });
  slow.listen(0, '127.0.0.1');
  await once(slow, 'listening');
  t.after(() => slow.close());
  assert.equal(await ask((slow.address() as AddressInfo).port), 200);
  await until(() => seen.length === 1);
  assert.match(seen[0] as string, form);
  const silent = connect(port, '127.0.0.1');
  silent.write(Buffer.from([22, 3, 1]));
  await once(silent, 'close');
});

test('what is no handshake, breaks off or leaves harms nobody', { skip: noOpenssl }, async (t) => {
  const { port, seen } = await start(t);
  for (const bytes of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', '\x16\x03\x01\x00\x04\x02\x00\x00\x00', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03']) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write(Buffer.from(bytes, 'latin1'));
    if (bytes.length === 11) socket.end();
    await once(socket.resume(), 'close');
  }
  const reset = connect(port, '127.0.0.1');
  await once(reset, 'connect');
  reset.write(Buffer.from([22, 3, 1, 2, 0]));
  reset.resetAndDestroy();
  const left = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(left, 'secureConnect');
  left.destroy();
  assert.equal(await ask(port), 200);
  await until(() => seen.length > 0);
  assert.match(seen.at(-1) as string, form);
});

test('a trusted proxy names the fingerprint of its client; nobody else does', { skip: noOpenssl }, async (t) => {
  const named = 't13d1516h2_8daaf6152771_e5627efa2ab1';
  const trusting = await start(t, { ja4Header: 'x-ja4' });
  const headers = { 'X-JA4': named, 'X-Forwarded-For': '203.0.113.9' };
  assert.equal(await ask(trusting.port, { headers }), 200);
  assert.equal(await ask(trusting.port, { headers: { 'X-Forwarded-For': '203.0.113.9' } }), 200);
  assert.equal(await ask(trusting.port, { headers: { ...headers, 'X-JA4': 'no "fingerprint"' } }), 200);
  const wary = await start(t, { ja4Header: 'x-ja4', trustProxy: [] });
  assert.equal(await ask(wary.port, { headers }), 200);
  await until(() => trusting.seen.length === 3 && wary.seen.length === 1);
  assert.deepEqual(trusting.seen, [named, null, null]);
  assert.match(wary.seen[0] as string, form);
  assert.notEqual(wary.seen[0], named);
});

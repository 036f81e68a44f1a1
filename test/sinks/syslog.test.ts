import '../support/node.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { syslogSink } from '../../lib/sinks/syslog.ts';
import type { SyslogConfig } from '../../types/config.d.ts';
import { authority, noOpenssl, type Certificate } from '../support/authority.ts';
import { request, until } from '../support/client.ts';
import { aRecord } from '../support/fake-journal.ts';
import { startGate } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

/** A receiver that reads messages by their length. @param certificate speaks TLS with it. */
async function startReceiver(t: TestContext, certificate: Certificate | null = null) {
  const messages: string[] = [];
  const sockets: Socket[] = [];
  const onSocket = (socket: Socket): void => {
    sockets.push(socket);
    let rest = Buffer.alloc(0);
    socket.on('error', () => undefined).on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const space = rest.indexOf(0x20);
        const length = Number(rest.subarray(0, Math.max(0, space)).toString());
        if (space === -1 || rest.length < space + 1 + length) return;
        messages.push(rest.subarray(space + 1, space + 1 + length).toString());
        rest = rest.subarray(space + 1 + length);
      }
    });
  };
  const server = certificate === null ? createServer(onSocket) : createTlsServer({ cert: certificate.cert, key: certificate.key }, onSocket);
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port, messages, sockets, server };
}

const defaults: Omit<SyslogConfig, 'url'> = { caPath: null, facility: 'local0', bodies: false, timeout: 5000, batch: 10 };
const never = new AbortController().signal;

function sinkTo(t: TestContext, url: string, more: Partial<SyslogConfig> = {}, ca: string | null = null) {
  const sink = syslogSink({ syslog: { ...defaults, ...more, url }, ca });
  t.after(() => sink.close?.());
  return sink;
}

const pathsOf = (messages: readonly string[]): string[] => messages.map((message) => (JSON.parse(message.slice(message.indexOf('] ') + 2)) as { request_path: string }).request_path);

describe('syslog', () => {
  it('gets messages of RFC 5424, counted in octets', async (t) => {
    const { port, messages } = await startReceiver(t);
    const sink = sinkTo(t, `tcp://127.0.0.1:${port}`);
    const strange = aRecord(2, { request_id: '019b8c2a-1c00-7abc-8123-456789abcdef', request_path: '/v1/ä\n<0>1 \u202eforged\u2028\u009b2J', response_status: 429, outcome: 'refused:rate_limit_requests' });
    assert.deepEqual(await sink.deliver([aRecord(1), strange, aRecord(3, { response_status: 502 })], never), { kind: 'delivered' });
    await until(() => messages.length === 3);
    assert.deepEqual(messages.map((message) => /^<\d+>/.exec(message)?.[0]), ['<134>', '<132>', '<131>']);
    assert.match(messages[1] as string, /^<132>1 2026-01-05T03:18:48\.576Z \S+ heimdall \d+ request \[origin software="express-heimdall" swVersion="[^"\s]+"\] \{[^\n]+\}$/);
    assert.deepEqual(pathsOf(messages), ['/v1/chat/completions', '/v1/ä\n<0>1 \u202eforged\u2028\u009b2J', '/v1/chat/completions']);
    assert.ok(!/[\p{Cc}\u202e\u2028]/u.test(messages.join('')));
    assert.ok(!/request_body|request_headers/.test(messages.join('')));
  });

  it('gets bodies where asked', async (t) => {
    const { port, messages } = await startReceiver(t);
    await sinkTo(t, `tcp://127.0.0.1:${port}`, { bodies: true, facility: 'auth' }).deliver([aRecord(1)], never);
    await until(() => messages.length === 1);
    assert.match(messages[0] as string, /^<38>1 .*"request_body":"\{\\"model/);
  });

  it('gets again what was sent last when the connection has broken', async (t) => {
    const { port, messages, sockets } = await startReceiver(t);
    const sink = sinkTo(t, `tcp://127.0.0.1:${port}`);
    const deliver = (id: number) => sink.deliver([aRecord(id, { request_path: `/${id}` })], never);
    await deliver(1);
    await deliver(2);
    await until(() => messages.length === 2);
    assert.equal(sockets.length, 1, 'over one connection');
    const client = sockets[0] as Socket;
    client.destroy();
    // Until its end has arrived, writing still succeeds: that is what is sent again.
    await until(async () => {
      await deliver(3);
      return sockets.length === 2;
    });
    await until(() => pathsOf(messages).includes('/3'));
    assert.deepEqual(pathsOf(messages).slice(0, 2), ['/1', '/2']);
  });

  it('is held while nobody listens, nobody reads, or it takes too long', async (t) => {
    const { port, server, sockets } = await startReceiver(t);
    const sink = sinkTo(t, `tcp://127.0.0.1:${port}`, { timeout: 200 });
    server.on('connection', (socket) => socket.pause());
    const huge = aRecord(1, { user_agent: 'x'.repeat(30_000_000) });
    assert.deepEqual(await sink.deliver([huge], never), { kind: 'held', reason: 'the receiver cannot be reached (TimeoutError)' });
    server.close();
    for (const socket of sockets) socket.destroy();
    await once(server, 'close');
    assert.deepEqual(await sink.deliver([aRecord(1)], never), { kind: 'held', reason: 'the receiver cannot be reached (ECONNREFUSED)' });
  });

  it('checks the certificate over TLS', { skip: noOpenssl }, async (t) => {
    const trusted = authority(t);
    const { port, messages } = await startReceiver(t, trusted.issue('DNS:localhost', 'IP:127.0.0.1'));
    assert.deepEqual(await sinkTo(t, `tls://127.0.0.1:${port}`, {}, trusted.ca).deliver([aRecord(1)], never), { kind: 'delivered' });
    await until(() => messages.length === 1);
    assert.match(JSON.stringify(await sinkTo(t, `tls://127.0.0.1:${port}`).deliver([aRecord(1)], never)), /held.*CERT|held.*SIGN|held.*VERIFY/i);
    assert.equal(messages.length, 1);
  });

  it('follows the journal of a gate', async (t) => {
    const { port, messages } = await startReceiver(t);
    const upstream = await startUpstream(t, (_, res) => void res.end('{}'));
    const { url } = await startGate(t, { newapi: { baseUrl: upstream.url }, audit: { syslog: { url: `tcp://127.0.0.1:${port}` } } });
    await request(`${url}/v1/models`, { headers: { authorization: 'Bearer sk-test-secret-value' } });
    await until(() => messages.length === 1);
    assert.deepEqual(pathsOf(messages), ['/v1/models']);
    assert.ok(!messages.join('').includes('secret-value'));
  });
});

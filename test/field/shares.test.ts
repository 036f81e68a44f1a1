import '../support/node.ts';
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { resolveConfig } from '../../lib/config/config.ts';
import type { ConfigInput } from '../../lib/index.ts';
import { Connections } from '../../lib/request/request.ts';
import { request, until, type Answer } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { handshake } from '../support/websocket.ts';

/** Addresses of this machine, each a caller of its own. */
const stranger = '127.0.0.66';
const other = '127.0.0.2';
const metrics = { token: 'shares-field-test-metrics-token' };
const bearer = 'Authorization: Bearer sk-a-token-that-nobody-has-seen';

interface Scene {
  /** Heads of the requests that reached the upstream. */
  readonly arrived: readonly string[];
  /** Bytes that reached the upstream behind its answers. */
  readonly behind: readonly Buffer[];
  /** Opens a connection from an address and writes to it. */
  open(from: string, bytes?: string | Buffer): Promise<Socket>;
  /** The status of the first answer on a connection of its own; null where it is closed without one. */
  ask(from: string, bytes: string): Promise<number | null>;
  scrape(name: string): Promise<number>;
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Access lines by now. */
  lines(): readonly { readonly status: number; readonly outcome: string; readonly path: string }[];
}

/** What an upstream sends for the head of a request; null for nothing at all. */
type React = (head: string) => string | null;

const switching = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
const silent: React = () => null;
/** Reads no more than the head. */
const deaf: React = () => 'deaf';
const upgrading: React = () => switching;

async function scene(t: TestContext, react: React, config: ConfigInput = {}): Promise<Scene> {
  const arrived: string[] = [];
  const behind: Buffer[] = [];
  const sockets = new Set<Socket>();
  const upstream = createServer((socket) => {
    sockets.add(socket);
    let answered = false;
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket)).on('data', (chunk) => {
      if (answered) return void behind.push(chunk);
      answered = true;
      arrived.push(chunk.toString('latin1'));
      const answer = react(chunk.toString('latin1'));
      if (answer === 'deaf') socket.pause();
      else if (answer !== null) socket.write(answer);
    });
  });
  await once(upstream.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    upstream.close();
    for (const socket of [...sockets, ...clients]) socket.destroy();
  });
  const clients = new Set<Socket>();
  const file = join(temporary(t), 'access.log');
  const { port, url } = await startGate(t, { newapi: { baseUrl: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` }, metrics, rateLimit: { address: { limit: 0 } }, ...config, logging: { file } });
  const open: Scene['open'] = async (from, bytes = '') => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from }).on('error', () => undefined);
    clients.add(socket);
    await once(socket, 'connect');
    if (bytes.length > 0) socket.write(bytes);
    return socket;
  };
  const get: Scene['get'] = (path, headers = {}) => request(`${url}${path}`, { headers });
  return {
    arrived, behind, open, get,
    async ask(from, bytes) {
      const socket = await open(from, bytes);
      const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'close')])) as [Buffer | boolean];
      return typeof chunk === 'boolean' ? null : Number(/^HTTP\/1\.1 (\d+)/.exec(chunk.toString('latin1'))?.[1]);
    },
    async scrape(name) {
      const { text } = await get('/metrics', { Authorization: `Bearer ${metrics.token}` });
      return Number(new RegExp(`^heimdall_${name} (\\S+)$`, 'm').exec(text)?.[1]);
    },
    lines: () => (existsSync(file) ? readFileSync(file, 'utf8') : '').split('\n').slice(0, -1).map((line) => JSON.parse(line) as ReturnType<Scene['lines']>[number]),
  };
}

/** Something a caller takes and holds, and what is left for others. */
interface Instance {
  readonly what: string;
  run(t: TestContext): Promise<void>;
}

const realtime = (head = bearer): string => handshake('/v1/realtime?model=m', head);
const early = Buffer.from([0x81, 3, 1, 2, 3]);

/** Upgrades with bytes behind their heads whose clients leave. */
const leavingEarly = (what: string, react: React, path: string, more: (socket: Socket) => void = () => undefined): Instance => ({
  what,
  async run(t) {
    const { open, ask, arrived, lines } = await scene(t, react, { queue: { websockets: 64 } });
    const crowd = await Promise.all(Array.from({ length: 8 }, () => open(stranger, Buffer.concat([Buffer.from(handshake(path, bearer)), early]))));
    await until(() => arrived.length === 8);
    for (const socket of crowd) more(socket);
    for (const socket of crowd) socket.destroy();
    await until(() => lines().length === 8);
    assert.equal(react === silent ? null : await ask(stranger, handshake(path, bearer)), react === silent ? null : 101);
    assert.equal((await open(other, realtime())).destroyed, false);
  },
});

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** What this process holds, client and gate together, bytes. */
function memory(): number {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** A body in chunks of one byte, of which so much memory may come. */
const crumbs = (what: string, target: string, react: React, config: ConfigInput, more = ''): Instance => ({
  what,
  async run(t) {
    const { open, scrape } = await scene(t, react, config);
    const socket = await open(stranger, `POST ${target} HTTP/1.1\r\nHost: a\r\n${bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n${more}\r\n`);
    await scrape('inflight_bytes');
    const before = memory();
    const count = 60_000;
    const some = Buffer.from('1\r\nx\r\n'.repeat(10_000));
    for (let sent = 0; sent < count && !socket.destroyed; sent += 10_000) if (!socket.write(some)) await Promise.race([once(socket, 'drain'), once(socket, 'close'), new Promise((resolve) => setTimeout(resolve, 1000))]);
    const { bufferBodyBytes } = resolveConfig(config).server;
    if (target.startsWith('/v1/chat')) await until(async () => (await scrape('inflight_bytes')) >= Math.min(count, bufferBodyBytes) - 256);
    const grown = memory() - before;
    assert.ok(grown < 12_000_000, `${Math.round(grown / 1e6)} MB`);
  },
});

/** More chunks of one byte than a body is worth: no more is read. */
const tooManyCrumbs = (what: string, target: string, config: ConfigInput = {}, credential = bearer): Instance => ({
  what,
  async run(t) {
    const { open, scrape, lines } = await scene(t, silent, config);
    const socket = await open(stranger, `POST ${target} HTTP/1.1\r\nHost: a\r\n${credential}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`);
    // Its answer may be lost while it still writes.
    socket.resume().on('error', () => undefined);
    const some = Buffer.from('1\r\nx\r\n'.repeat(10_000));
    for (let sent = 0; sent < 1_000_000 && !socket.destroyed; sent += 10_000) if (!socket.write(some)) await Promise.race([once(socket, 'drain'), once(socket, 'close'), new Promise((resolve) => setTimeout(resolve, 1000))]).catch(() => undefined);
    await until(() => socket.destroyed);
    await until(() => lines().length === 1);
    assert.equal(lines()[0]?.status, 413);
    await until(async () => (await scrape('inflight_bytes')) === 0);
  },
});

const gatewayKey = `sk-${'k'.repeat(48)}`;
const ingestToken = 'shares-field-test-ingest-token-0123456789';
const adminToken = 'shares-field-test-admin-token-0123456789';

/** What asks for a token, with the right one. */
const guarded: Readonly<Record<string, { readonly head: string; readonly right: string; readonly body?: string }>> = {
  metrics: { head: 'GET /metrics', right: metrics.token },
  admin: { head: 'GET /heimdall/api/keys', right: adminToken },
  log: { head: 'POST /api/log', right: ingestToken, body: '{"request_path":"/v1/chat/completions"}' },
  chat: { head: 'POST /v1/chat/completions', right: gatewayKey, body: '{"model":"m","messages":[]}' },
};

/** Wrong tokens for one of them, and then the right one for each. */
const guesses = (guessed: string): Instance => ({
  what: `guesses at ${guessed}`,
  async run(t) {
    const { ask } = await scene(t, () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}', {
      auth: { mode: 'keys', keys: [{ name: 'team', sha256: hash('sha256', gatewayKey), upstreamCredential: 'sk-ours' }] },
      admin: { token: adminToken }, audit: { ingest: { tokens: [ingestToken] } }, rateLimit: { address: { limit: 5 } },
    });
    const send = (name: string, token: string, forwarded = ''): Promise<number | null> => {
      const { head, body = '' } = guarded[name] as (typeof guarded)[string];
      return ask(other, `${head} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n${forwarded}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
    };
    const wrong: (number | null)[] = [];
    for (let nth = 0; nth < 7; nth++) wrong.push(await send(guessed, `wrong-${nth}-${'w'.repeat(40)}`, guessed === 'chat' ? '' : `X-Forwarded-For: 192.0.2.${nth}\r\n`));
    assert.deepEqual(wrong, [401, 401, 401, 401, 401, 429, 429]);
    for (const [name, { right }] of Object.entries(guarded)) assert.ok([200, 400, 422].includes((await send(name, right)) ?? 0), name);
  },
});

const instances: readonly Instance[] = [
  ...Object.keys(guarded).map(guesses),
  crumbs('a body of a model route in chunks of one byte', '/v1/chat/completions', silent, {}),
  crumbs('a body that streams to a model in chunks of one byte', '/v1/chat/completions', silent, { server: { bufferBodyBytes: '32KB' } }),
  crumbs('a carried body in chunks of one byte, which the upstream does not read', '/api/upload', deaf, {}),
  tooManyCrumbs('more chunks of one byte than a body of a model route is worth', '/v1/chat/completions'),
  tooManyCrumbs('more chunks of one byte than a body that streams to a model is worth', '/v1/chat/completions', { server: { bufferBodyBytes: '64KB' } }),
  tooManyCrumbs('more chunks of one byte than a carried body is worth', '/api/upload'),
  tooManyCrumbs('more chunks of one byte than a body of an own endpoint is worth', '/api/log', { audit: { ingest: { tokens: [ingestToken] } } }, `Authorization: Bearer ${ingestToken}`),
  ...[['/api/upload', {}], ['/v1/chat/completions', { server: { bufferBodyBytes: '64KB' } }]].map(([target, config]): Instance => ({
    what: `a body at ${String(target)} that the upstream does not read`,
    async run(t) {
      const { open } = await scene(t, deaf, config as ConfigInput);
      const size = 40_000_000;
      const socket = await open(stranger, `POST ${String(target)} HTTP/1.1\r\nHost: a\r\n${bearer}\r\nContent-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`);
      const before = memory();
      const chunk = Buffer.alloc(65_536, 'x');
      const drained = async (): Promise<boolean> => Promise.race([once(socket, 'drain').then(() => true), new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 1500))]);
      let sent = 0;
      while (sent + chunk.length <= size) {
        sent += chunk.length;
        if (!socket.write(chunk) && !(await drained())) break;
      }
      assert.ok(sent < 20_000_000, `${sent} bytes were taken`);
      assert.ok(memory() - before < 10_000_000);
    },
  })),
  leavingEarly('early bytes in the packet of the handshake, before a silent upstream', silent, '/v1/realtime?model=m'),
  leavingEarly('early bytes on a route without a credential', silent, '/ws'),
  leavingEarly('early bytes behind the handshake', silent, '/v1/realtime?model=m', (socket) => socket.write(early)),
  leavingEarly('early bytes before an upstream that upgrades', upgrading, '/v1/realtime?model=m'),
  {
    what: 'more early bytes than a handshake may have',
    async run(t) {
      const { open, lines } = await scene(t, silent);
      const socket = await open(stranger, realtime());
      socket.write(Buffer.alloc(100_000));
      await once(socket.resume(), 'close');
      await until(() => lines().length === 1);
    },
  },
  {
    what: 'early bytes reach the upstream behind its answer',
    async run(t) {
      const { open, behind } = await scene(t, upgrading);
      const socket = await open(stranger, Buffer.concat([Buffer.from(realtime()), early]));
      const [answer] = (await once(socket, 'data')) as [Buffer];
      assert.match(answer.toString('latin1'), /^HTTP\/1\.1 101/);
      await until(() => Buffer.concat(behind).equals(early));
    },
  },
  ...(['/api/pages', '/v1/models', '/v1/chat/completions'] as const).map((path): Instance => ({
    what: `a pipeline at ${path} whose answers nobody reads`,
    async run(t) {
      const { open, ask, arrived, lines } = await scene(t, silent);
      const socket = await open(stranger, `GET /api/first HTTP/1.1\r\nHost: a\r\n\r\n`);
      await until(() => arrived.length === 1);
      for (let round = 0; round < 20 && !socket.destroyed; round++) socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(1000));
      await new Promise((resolve) => void socket.resume().once('close', resolve));
      await until(() => lines().length >= 16);
      assert.ok(arrived.length <= 2, String(arrived.length));
      assert.equal(await ask(other, 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n'), 200);
    },
  })),
  {
    what: 'a long pipeline whose answers are read',
    async run(t) {
      const { open } = await scene(t, () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
      const socket = await open(stranger);
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      const padding = 'x'.repeat(2000);
      for (let nth = 0; nth < 300; nth++) socket.write(`GET /api/${nth} HTTP/1.1\r\nHost: a\r\nX-Padding: ${padding}\r\n\r\n`);
      await until(() => text.split('HTTP/1.1 200').length === 301);
    },
  },
  ...['/v1/realtime?model=m', '/ws'].map((path): Instance => ({
    what: `all WebSockets of one address at ${path}`,
    async run(t) {
      const { ask } = await scene(t, upgrading, { queue: { websockets: 40 } });
      const statuses: (number | null)[] = [];
      for (let nth = 0; nth < 8; nth++) statuses.push(await ask(stranger, handshake(path, bearer)));
      assert.deepEqual(statuses, [101, 101, 101, 101, 101, 503, 503, 503]);
      assert.equal(await ask(other, handshake(path, bearer)), 101);
    },
  })),
];

for (const { what, run } of instances) test(`nobody's share of another: ${what}`, run);

test('a packet of a thousand requests is not parsed to its end once its connection is closed', async (t) => {
  const { port, server } = await startGate(t, { newapi: { baseUrl: 'http://127.0.0.1:9' } });
  let parsed = 0;
  server.on('request', () => parsed++);
  const socket = connect({ port, host: '127.0.0.1' }).on('error', () => undefined);
  await once(socket, 'connect');
  socket.resume().write('GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1400));
  await once(socket, 'close');
  assert.ok(parsed > 16 && parsed < 200, String(parsed));
});

test('connections of one address, and so heads that are not read yet, have a bounded share without any configuration', () => {
  const { guard: { connectionsPerAddress }, trustProxy } = resolveConfig({});
  assert.equal(connectionsPerAddress, 1024);
  const connections = new Connections(connectionsPerAddress, trustProxy, false);
  const open = (remoteAddress: string, remotePort: number): { readonly over: boolean; close(): void } => {
    const socket = Object.assign(new EventEmitter(), { remoteAddress, remotePort, localAddress: '192.0.2.1', localPort: 8000 });
    return { over: connections.exceeds(socket as unknown as Socket), close: () => socket.emit('close') };
  };
  for (const [one, near, far] of [['198.51.100.7', '::ffff:198.51.100.7', '198.51.100.8'], ['2001:db8:1:100::1', '2001:db8:1:1ff::9', '2001:db8:1:200::1']] as const) {
    const held = Array.from({ length: connectionsPerAddress }, (_, n) => open(one, n + 1));
    assert.ok(held.every(({ over }) => !over), one);
    assert.equal(open(near, 5000).over, true);
    assert.equal(open(far, 5000).over, false);
    for (const each of held.slice(0, 2)) each.close();
    assert.equal(open(near, 5001).over, false);
  }
  assert.ok(Array.from({ length: 2000 }, (_, n) => open('127.0.0.1', n + 1)).every(({ over }) => !over), 'a trusted proxy is not counted');
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import express, { Router, type Express } from 'express';
import { WebSocketServer } from 'ws';
import { heimdall, type AttachOptions, type Gate } from '../../lib/index.ts';
import { request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder, temporary } from '../support/gate.ts';
import { dial, handshake, refused } from '../support/websocket.ts';

const ends: (() => unknown)[] = [];
const scope = { after: (end: () => unknown) => void ends.push(end) };
after(async () => {
  for (const end of ends.toReversed()) await end();
});
const clock = fakeClock();

function gateOf(): Gate {
  const gate = heimdall({ newapi: { baseUrl: 'http://127.0.0.1:1' }, logging: { file: false, level: 'silent' }, audit: { path: join(temporary(scope), 'a.db') }, llm: { healthCheck: { enabled: false } } }, { log: recorder(), clock });
  scope.after(() => gate.close({ timeout: 0 }));
  return gate;
}

const under = (path: string, inner: unknown): Router => Router().use(path, inner as never);

interface Mounting {
  /** The host's application with the gate in it. */
  readonly app: (gate: Gate) => RequestListener;
  /** The mount path as a client writes it. */
  readonly at: string;
  readonly options?: AttachOptions;
  /** A request passes the gate first, where the mount cannot be found. */
  readonly warm?: true;
}

const mountings: Readonly<Record<string, Mounting>> = {
  'an application': { app: (gate) => express().use('/llm', gate), at: '/llm' },
  'a path of two segments, in other letters': { app: (gate) => express().use('/a/LLM', gate), at: '/A/llm' },
  'a router': { app: (gate) => express().use('/a', under('/llm', gate)), at: '/a/llm' },
  'a router in a router': { app: (gate) => express().use('/a', under('/b', under('/llm', gate))), at: '/a/b/llm' },
  'a router without a path in a router': { app: (gate) => express().use(Router().use(under('/llm', gate))), at: '/llm' },
  'a path with a parameter': { app: (gate) => express().use('/:tenant/llm', gate), at: '/acme/llm' },
  'one of several paths': { app: (gate) => express().use(['/x', '/llm'], gate), at: '/llm' },
  'an application used by a router': { app: (gate) => express().use('/a', Router().use('/b', express().use('/llm', gate))), at: '/a/b/llm' },
  'an application in an application, after a request': { app: (gate) => express().use('/a', express().use('/llm', gate)), at: '/a/llm', warm: true },
  'an application in an application, named': { app: (gate) => express().use('/a', express().use('/llm', gate)), at: '/a/llm', options: { path: '/a/llm/' } },
  'a handler of the host\'s, after a request': { app: (gate) => express().use('/llm', (req, res, next) => gate(req, res, next)), at: '/llm', warm: true },
  'behind other middleware': { app: (gate) => express().use((_req, _res, next) => next()).get('/llm-but-not', (_req, res) => void res.end()).use('/llm', (_req, _res, next) => next(), gate), at: '/llm' },
};

/** A server with a foreign listener that answers below `/socket.io/` and leaves the rest. */
async function serverOf(handle: RequestListener, attach: (server: Server) => void): Promise<number> {
  const chat = new WebSocketServer({ noServer: true });
  const server = createServer(handle);
  server.on('upgrade', (req, socket, head) => {
    if (/socket\.io|hmr/.test(req.url ?? '')) chat.handleUpgrade(req, socket, head, (peer) => peer.send(`foreign ${req.url ?? ''}`));
  });
  attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** The status of an upgrade: 401 the gate's for a missing key, 502 its own for an upstream that is not there. */
const statusOf = async (port: number, path: string): Promise<number> => (await refused(port, handshake(path))).status;

async function foreign(port: number, path: string): Promise<void> {
  const peer = await dial(`http://127.0.0.1:${port}${path}`);
  assert.equal(await peer.message(0), `foreign ${path}`);
  peer.socket.terminate();
}

describe('below its mount the gate answers every upgrade, and a foreign listener all others', () => {
  for (const [name, { app, at, options, warm }] of Object.entries(mountings)) {
    it(name, async () => {
      const gate = gateOf();
      const port = await serverOf(app(gate), (server) => gate.attach(server, options));
      if (warm) await request(`http://127.0.0.1:${port}${at}/health`);
      for (const [path, status] of [['/v1/realtime?model=m', 401], ['/v1/responses', 401], ['/v1/chat/completions', 401], ['/live/socket.io/?x', 502], ['', 502], ['/', 502]] as const) {
        assert.equal(await statusOf(port, at + path), status, path);
      }
      for (const path of ['/socket.io/?EIO=4', `${at.slice(0, -1)}/socket.io/`, `${at}x/hmr`, '/?token=hmr']) await foreign(port, path);
    });
  }
});

describe('two gates on one server', () => {
  it('each answer below their own mount', async () => {
    const [one, two] = [gateOf(), gateOf()];
    const app = express().use('/one', one).use('/two', Router().use('/deep', two));
    const port = await serverOf(app, (server) => [one, two].forEach((gate) => gate.attach(server)));
    for (const path of ['/one/v1/responses', '/two/deep/v1/responses', '/two/deep/v1/realtime']) assert.equal(await statusOf(port, path), 401, path);
    for (const path of ['/one/x', '/two/deep/x']) assert.equal(await statusOf(port, path), 502, path);
    await foreign(port, '/two/socket.io/');
  });
});

describe('an upgrade that could be anybody\'s', () => {
  const shared: Readonly<Record<string, (gate: Gate) => Express>> = {
    'with a gate at the root': (gate) => express().use(gate),
    'with a gate in an application of an application, before any request': (gate) => express().use('/a', express().use('/llm', gate)),
  };
  for (const [name, app] of Object.entries(shared)) {
    it(`${name} is the foreign listener's, and is answered when that is silent`, async () => {
      const gate = gateOf();
      const port = await serverOf(app(gate), (server) => gate.attach(server));
      await foreign(port, '/socket.io/?EIO=4');
      await foreign(port, '/?hmr');
      const status = statusOf(port, '/elsewhere');
      await until(() => clock.armedBy('request/attach.ts') > 0);
      clock.tick(3000);
      assert.ok([404, 502].includes(await status));
      assert.equal(await statusOf(port, name.includes('root') ? '/v1/responses' : '/a/llm/v1/responses'), 401);
    });
  }
});

describe('alone on its server', () => {
  it('the gate lets no upgrade hang that no handler takes', async () => {
    const gate = gateOf();
    const server = createServer();
    gate.attach(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    scope.after(() => server.close());
    assert.equal(await statusOf((server.address() as AddressInfo).port, '/v1/responses'), 400);
  });
});

describe('listeners that end what is not theirs', () => {
  it('do not see what is the gate\'s', async () => {
    const gate = gateOf();
    const port = await serverOf(express().use('/llm', gate), (server) => {
      const chat = new WebSocketServer({ server, path: '/socket.io/' });
      scope.after(() => chat.close());
      gate.attach(server);
    });
    assert.equal(await statusOf(port, '/llm/v1/responses'), 401);
    assert.equal(await statusOf(port, '/elsewhere'), 400);
  });
});

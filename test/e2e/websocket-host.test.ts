import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import express, { type Express } from 'express';
import { WebSocketServer } from 'ws';
import { heimdall, keepRawBody, type Gate } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { recorder, temporary } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { dial, handshake, refused } from '../support/websocket.ts';

interface Host {
  readonly api: Newapi;
  readonly gate: Gate;
  readonly server: Server;
  readonly port: number;
  readonly url: string;
  readonly records: Records;
}

const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const path = '/v1/realtime?model=gpt-realtime';

/** An Express application with middleware of its own in front of the gate. */
async function host(t: TestContext, mount: string, arrange: (app: Express, server: Server) => void = () => undefined): Promise<Host> {
  const api = closing(t, await startNewapi());
  const records = accessRecords(t);
  const gate = heimdall({ newapi: { baseUrl: api.url }, llm: { priceSource: 'none', healthCheck: { enabled: false } }, logging: records.logging, audit: { path: `${temporary(t)}/a.db` } }, { log: recorder() });
  const app = express();
  const server = createServer(app);
  app.use(express.json({ verify: keepRawBody }));
  app.use((_req, res, next) => {
    res.setHeader('X-Host', 'yes');
    next();
  });
  arrange(app, server);
  app.use(mount, gate);
  app.use((_req, res) => void res.status(404).send('the host\'s 404'));
  gate.attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    await gate.close({ timeout: 0 });
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { api, gate, server, port, url: `http://127.0.0.1:${port}`, records };
}

for (const mount of ['/', '/gate', '/deep/er/gate']) {
  const at = mount === '/' ? '' : mount;
  test(`a realtime session through an application's gate at ${mount}`, async (t) => {
    const { api, url, port, records } = await host(t, mount);
    const peer = await dial(`${url}${at}${path}`, { headers, protocols: ['realtime', `openai-insecure-api-key.${DEMO_KEY}`] });
    assert.match(String(await peer.message(0)), /session\.created/);
    assert.equal(api.requests[0]?.url, path);
    peer.socket.send('{"type":"ping"}');
    assert.equal(await peer.message(1), '{"type":"ping"}');
    peer.socket.close(1000);
    assert.equal((await peer.closed).code, 1000);
    const answer = await refused(port, handshake(`${at}${path}`));
    assert.deepEqual([answer.status, answer.ended], [401, true]);
    const lines = await records.atLeast(2);
    assert.deepEqual(lines.map((line) => [line.path, line.status]), [[`${at}/v1/realtime?model`, 101], [`${at}/v1/realtime?model`, 401]]);
  });
}

test('an upgrade outside the gate\'s path is the host\'s to answer, and its connection ends', async (t) => {
  const { port, records } = await host(t, '/gate', (app) => app.get('/private', (_req, res) => void res.status(403).send('no')));
  const missing = await refused(port, handshake(path));
  assert.deepEqual([missing.status, missing.text, missing.ended], [404, 'the host\'s 404', true]);
  const forbidden = await refused(port, handshake('/private'));
  assert.deepEqual([forbidden.status, forbidden.headers['x-host'], forbidden.ended], [403, 'yes', true]);
  assert.deepEqual(records.all(), []);
});

test('middleware of the host applies to upgrades too', async (t) => {
  const guarded = (app: Express): unknown => app.use((req, res, next) => void (req.headers['x-pass'] === 'yes' ? next() : res.status(418).end()));
  const { url, port } = await host(t, '/', guarded);
  assert.equal((await refused(port, handshake(path, `Authorization: Bearer ${DEMO_KEY}`))).status, 418);
  const peer = await dial(url + path, { headers: { ...headers, 'X-Pass': 'yes' } });
  await peer.message(0);
  peer.socket.terminate();
});

for (const order of ['before', 'after'] as const) {
  test(`beside another upgrade listener, made ${order} the gate's, each serves its own sockets`, async (t) => {
    const chat = new WebSocketServer({ noServer: true });
    const listen = (server: Server): unknown => server.on('upgrade', (req, socket, head) => {
      if (req.url?.startsWith('/socket.io/')) chat.handleUpgrade(req, socket, head, (peer) => peer.on('message', (data) => peer.send(`chat: ${String(data)}`)));
    });
    const { url, server } = await host(t, '/gate', (_app, early) => void (order === 'before' && listen(early)));
    if (order === 'after') listen(server);
    const [own, ours] = await Promise.all([dial(`${url}/socket.io/?EIO=4`), dial(`${url}/gate${path}`, { headers })]);
    own.socket.send('hello');
    assert.equal(await own.message(0), 'chat: hello');
    assert.match(String(await ours.message(0)), /session\.created/);
    for (const peer of [own, ours]) peer.socket.close();
    await Promise.all([own.closed, ours.closed]);
  });
}

test('two gates on one server each take their own sockets', async (t) => {
  const other = closing(t, await startNewapi());
  const second = heimdall({ newapi: { baseUrl: other.url }, llm: { priceSource: 'none', healthCheck: { enabled: false } }, logging: { file: false, level: 'silent' }, audit: { path: `${temporary(t)}/a.db` } }, { log: recorder() });
  t.after(() => second.close({ timeout: 0 }));
  const { api, url } = await host(t, '/one', (app, server) => {
    app.use('/two', second);
    second.attach(server);
  });
  for (const [mount, upstream] of [['/one', api], ['/two', other]] as const) {
    const peer = await dial(`${url}${mount}${path}`, { headers });
    await peer.message(0);
    assert.equal(upstream.websockets, 1, mount);
    peer.socket.close();
    await peer.closed;
  }
  assert.deepEqual([api.requests.length, other.requests.length], [1, 1]);
});

test('closing the gate waits for its sockets and leaves the host\'s server alone', async (t) => {
  const { gate, url, api } = await host(t, '/gate');
  const peer = await dial(`${url}/gate${path}`, { headers });
  await peer.message(0);
  let over = false;
  const closed = gate.close({ timeout: 5000 }).then(() => {
    over = true;
  });
  peer.socket.send('still served');
  assert.equal(await peer.message(1), 'still served');
  assert.equal(over, false);
  peer.socket.close();
  await closed;
  await until(() => api.websockets === 0);
  assert.equal((await request(`${url}/elsewhere`)).status, 404);
});

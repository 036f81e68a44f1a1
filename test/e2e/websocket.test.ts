import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ConfigInput, GateOptions } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi, type NewapiOptions } from '../support/newapi.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { nowhere, startUpstream } from '../support/upstream.ts';
import { accepted, dial, handshake, refused, textFrame, vanish, type Peer } from '../support/websocket.ts';

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
  readonly records: Records;
  dial(protocols?: readonly string[], headers?: Record<string, string>): Promise<Peer>;
}

const path = '/v1/realtime?model=gpt-realtime';
const bearer = { Authorization: `Bearer ${DEMO_KEY}` };
const metrics = { token: 'a-token-for-metrics' };

async function start(t: TestContext, options: NewapiOptions = {}, config: ConfigInput = {}, over: GateOptions = {}): Promise<Scene> {
  const api = closing(t, await startNewapi(options));
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, metrics, ...config, newapi: { baseUrl: api.url }, logging: records.logging }, over);
  return { api, gate, records, dial: (protocols = [], headers = bearer) => dial(gate.url + path, { protocols, headers }) };
}

/** Requests in hand, the one that asks left out. */
async function inHand({ url }: RunningGate): Promise<number> {
  const { text } = await request(`${url}/metrics`, { headers: { Authorization: `Bearer ${metrics.token}` } });
  return Number(/^heimdall_active_requests (\d+)$/m.exec(text)?.[1]) - 1;
}

const socketsOf = async (records: Records, count: number): Promise<unknown[]> => {
  await until(() => records.all().filter(({ route }) => route !== '/metrics').length >= count);
  return records.all().filter(({ route }) => route !== '/metrics').map(({ status, outcome, route }) => [status, outcome, route]);
};

test('a realtime session opens, converses and closes, and leaves one record', async (t) => {
  const { api, gate, records, dial: call } = await start(t);
  const peer = await call();
  assert.match(String(await peer.message(0)), /"session\.created".*"model":"gpt-realtime"/);
  assert.match(String(peer.answer.headers['x-request-id']), /^[0-9a-f-]{36}$/);
  assert.ok(peer.answer.headers['x-oneapi-request-id']);
  peer.socket.send('{"type":"response.create"}');
  assert.match(String(await peer.message(2)), /"response\.done"/);
  assert.equal(await inHand(gate), 1);
  peer.socket.close(1000, 'thank you');
  assert.deepEqual(await peer.closed, { code: 1000, reason: 'thank you' });
  await until(async () => (await inHand(gate)) === 0);
  assert.deepEqual(await socketsOf(records, 1), [[101, 'served', '/v1/realtime']]);
  const [line] = records.all().filter(({ route }) => route === '/v1/realtime');
  assert.equal(line?.id, peer.answer.headers['x-request-id']);
  assert.equal(line?.path, '/v1/realtime?model');
  const [{ headers } = assert.fail()] = api.requests;
  assert.deepEqual([headers['x-forwarded-for'], headers['x-forwarded-proto'], headers['x-request-id']], ['127.0.0.1', 'http', line.id]);
});

test('every carrier of a credential that NewAPI reads opens a session', async (t) => {
  const { dial: call } = await start(t);
  const protocols = ['realtime', `openai-insecure-api-key.${DEMO_KEY}`, 'openai-beta.realtime-v1'];
  const browser = await call(protocols, {});
  assert.equal(browser.socket.protocol, 'realtime');
  const sdk = await call(['realtime'], bearer).catch((error: Error) => error);
  const midjourney = await call([], { 'mj-api-secret': DEMO_KEY });
  const plain = await call([], bearer);
  for (const peer of [browser, plain, midjourney]) assert.match(String(await peer.message(0)), /session\.created/);
  // NewAPI takes a list of protocols without a key for the key; the gate does not, and lets NewAPI say so.
  assert.ok(!(sdk instanceof Error));
  assert.match(String(await sdk.message(0)), /"error".*Invalid token/);
  assert.equal((await sdk.closed).code, 1008);
});

test('without a credential the handshake is refused and its connection ended', async (t) => {
  const { api, gate, records } = await start(t);
  for (const more of [[], ['Sec-WebSocket-Protocol: realtime'], ['Authorization: Bearer ']]) {
    const answer = await refused(gate.port, handshake(path, ...more));
    assert.deepEqual([answer.status, answer.ended], [401, true]);
    assert.equal(answer.headers.connection, 'close');
    assert.equal((JSON.parse(answer.text) as { error: { code: string } }).error.code, 'missing_credential');
  }
  assert.deepEqual(await socketsOf(records, 3), Array.from({ length: 3 }, () => [401, 'refused:missing_credential', '/v1/realtime']));
  assert.equal(await inHand(gate), 0, 'although the client has not closed its side');
  assert.equal(api.requests.length, 0);
});

test('a refusal ends its connection even when the client goes on sending', async (t) => {
  const { gate, records } = await start(t);
  const answer = await refused(gate.port, handshake(path) + 'frames '.repeat(5000));
  assert.ok(answer.status === 401 || answer.status === 0);
  assert.equal((await socketsOf(records, 1)).length, 1);
  await until(async () => (await inHand(gate)) === 0);
});

test('the upstream\'s own refusal passes on, with its body, and is recorded', async (t) => {
  const { gate, records } = await start(t, { realtimeRefusal: 'status' });
  const answer = await refused(gate.port, handshake(path, 'Authorization: Bearer sk-unknown'));
  assert.deepEqual([answer.status, answer.ended], [401, true]);
  assert.match(answer.text, /Invalid token/);
  assert.ok(answer.headers['x-request-id'] && answer.headers['x-oneapi-request-id']);
  assert.deepEqual(await socketsOf(records, 1), [[401, 'served', '/v1/realtime']]);
  await until(async () => (await inHand(gate)) === 0);
});

test('a refusal as an event passes on with its close code', async (t) => {
  const { dial: call } = await start(t);
  const peer = await call([], { Authorization: 'Bearer sk-unknown' });
  assert.match(String(await peer.message(0)), /"error".*Invalid token/);
  assert.equal((await peer.closed).code, 1008);
});

test('an upgrade on a path that has none gets the upstream\'s ordinary answer', async (t) => {
  const { gate, records } = await start(t);
  const page = await refused(gate.port, handshake('/somewhere'));
  assert.deepEqual([page.status, page.ended], [200, true]);
  assert.match(page.text, /NewAPI stand-in/);
  const missing = await refused(gate.port, handshake('/v1/nothing', `Authorization: Bearer ${DEMO_KEY}`));
  assert.deepEqual([missing.status, missing.ended], [404, true]);
  const own = await refused(gate.port, handshake('/health'));
  assert.deepEqual([own.status, own.ended], [200, true]);
  const models = await refused(gate.port, handshake('/v1/models', `Authorization: Bearer ${DEMO_KEY}`));
  assert.deepEqual([models.status, models.ended], [200, true]);
  assert.deepEqual(await socketsOf(records, 4), [[200, 'served', 'other'], [404, 'served', '/v1/*'], [200, 'served', '/health'], [200, 'served', '/v1/models']]);
});

test('with the upstream down the handshake is answered 502 and its connection ended', async (t) => {
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, metrics, newapi: { baseUrl: await nowhere() }, logging: records.logging });
  const answer = await refused(gate.port, handshake(path, `Authorization: Bearer ${DEMO_KEY}`));
  assert.deepEqual([answer.status, answer.ended], [502, true]);
  assert.ok(answer.headers['x-request-id']);
  assert.equal((JSON.parse(answer.text) as { error: { code: string } }).error.code, 'upstream_unreachable');
  assert.deepEqual(await socketsOf(records, 1), [[502, 'upstream_error', '/v1/realtime']]);
  await until(async () => (await inHand(gate)) === 0);
});

test('an upstream that leaves a handshake unanswered is given up with 504', async (t) => {
  const upstream = await startUpstream(t);
  let asked = 0;
  upstream.server.on('upgrade', () => asked++);
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, metrics, newapi: { baseUrl: upstream.url, timeout: '60ms' }, logging: records.logging });
  const answer = await refused(gate.port, handshake(path, `Authorization: Bearer ${DEMO_KEY}`));
  assert.deepEqual([answer.status, asked], [504, 1]);
  assert.deepEqual(await socketsOf(records, 1), [[504, 'upstream_error', '/v1/realtime']]);
});

test('a client that leaves within the handshake takes it upstream with it', async (t) => {
  const sockets: Socket[] = [];
  const upstream = await startUpstream(t);
  upstream.server.on('upgrade', (_req, socket: Socket) => void sockets.push(socket.on('error', () => undefined)));
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, metrics, newapi: { baseUrl: upstream.url }, logging: records.logging });
  for (const leave of ['end', 'resetAndDestroy'] as const) {
    const client = connect(gate.port, '127.0.0.1');
    client.write(handshake(path, `Authorization: Bearer ${DEMO_KEY}`));
    const reached = await until(() => sockets.pop());
    const left = once(reached.resume(), 'end');
    client[leave]();
    await left;
    await until(async () => (await inHand(gate)) === 0);
  }
  assert.deepEqual(await socketsOf(records, 2), [[499, 'aborted', '/v1/realtime'], [499, 'aborted', '/v1/realtime']]);
});

test('many messages pass in both directions at once, large ones too, in order', async (t) => {
  const { dial: call } = await start(t);
  const peer = await call();
  await peer.message(0);
  const megabytes = Array.from({ length: 4 }, () => randomBytes(1 << 20));
  for (let count = 0; count < 1000; count++) {
    peer.socket.send(String(count));
    if (count % 250 === 0) peer.socket.send(megabytes[count / 250] as Buffer);
  }
  await peer.message(1004);
  const binary = peer.messages.filter((message) => typeof message !== 'string');
  assert.deepEqual(binary.map((bytes, at) => (bytes as Buffer).equals(megabytes[at] as Buffer)), [true, true, true, true]);
  const numbers = peer.messages.slice(1).filter((message) => typeof message === 'string');
  assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, at) => String(at)));
  peer.socket.close();
  await peer.closed;
});

test('a frame sent together with the handshake is not lost', async (t) => {
  const { gate } = await start(t);
  const client = connect(gate.port, '127.0.0.1');
  t.after(() => client.destroy());
  client.write(Buffer.concat([Buffer.from(handshake(path, `Authorization: Bearer ${DEMO_KEY}`)), textFrame('first of all')]));
  let got = '';
  client.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1');
  });
  await until(() => got.includes('first of all'));
  assert.match(got, /^HTTP\/1.1 101 Switching Protocols\r\n/);
  assert.ok(got.includes(accepted));
});

test('close codes of the upstream pass through, and a connection it cuts is cut', async (t) => {
  const upstream = await startUpstream(t);
  const wss = new WebSocketServer({ server: upstream.server });
  const served: WebSocket[] = [];
  wss.on('connection', (socket) => void served.push(socket));
  const gate = await startGate(t, { audit: false, metrics, newapi: { baseUrl: upstream.url } });
  for (const code of [1000, 1001, 1011, 4001]) {
    const peer = await dial(gate.url + path, { headers: bearer });
    (await until(() => served.pop())).close(code, 'because');
    assert.deepEqual(await peer.closed, { code, reason: 'because' });
  }
  for (const cut of ['terminate', 'reset'] as const) {
    const peer = await dial(gate.url + path, { headers: bearer });
    const socket = await until(() => served.pop());
    if (cut === 'terminate') socket.terminate();
    else (socket as unknown as { _socket: Socket })._socket.resetAndDestroy();
    assert.equal((await peer.closed).code, 1006, cut);
  }
  await until(async () => (await inHand(gate)) === 0);
});

test('a client that vanishes is noticed upstream', async (t) => {
  const { api, gate, records, dial: call } = await start(t);
  for (const leave of ['terminate', 'vanish'] as const) {
    const peer = await call();
    await peer.message(0);
    await until(() => api.websockets === 1);
    if (leave === 'terminate') peer.socket.terminate();
    else vanish(peer);
    await until(() => api.websockets === 0, leave);
    await until(async () => (await inHand(gate)) === 0);
  }
  assert.deepEqual(await socketsOf(records, 2), [[101, 'served', '/v1/realtime'], [101, 'served', '/v1/realtime']]);
  await gate.gate.close({ timeout: 5000 });
});

test('a socket outlives every time limit of requests', async (t) => {
  const clock = fakeClock();
  const { gate, dial: call } = await start(t, {}, { server: { readTimeout: '40ms', writeTimeout: '40ms', idleTimeout: '40ms' } }, { clock });
  const upgraded = once(gate.server, 'upgrade') as Promise<[unknown, Socket]>;
  const peer = await call();
  await peer.message(0);
  clock.tick(60_000);
  const [, socket] = await upgraded;
  assert.equal(socket.timeout ?? 0, 0, 'Node would end it in its own time');
  peer.socket.send('still here');
  assert.equal(await peer.message(1), 'still here');
});

test('a gate that closes cuts the sockets left at its deadline on both sides, and records them', async (t) => {
  const { api, gate, records, dial: call } = await start(t);
  const peer = await call();
  await peer.message(0);
  await gate.gate.close({ timeout: 60 });
  assert.equal((await peer.closed).code, 1006);
  await until(() => api.websockets === 0 && api.open === 0);
  assert.deepEqual(await socketsOf(records, 1), [[101, 'served', '/v1/realtime']]);
});

test('only a GET with Upgrade: websocket is an upgrade', async (t) => {
  const { api, gate } = await start(t);
  const h2c = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__', ...bearer };
  const models = await request(`${gate.url}/v1/models`, { headers: h2c });
  assert.equal(models.status, 200);
  assert.equal((await request(`${gate.url}/api/status`, { headers: h2c })).status, 200);
  const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] };
  assert.equal((await request(`${gate.url}/v1/chat/completions`, { headers: h2c, body })).status, 200);
  const posted = await request(`${gate.url}/v1/chat/completions`, { headers: { ...bearer, Connection: 'Upgrade', Upgrade: 'websocket' }, body });
  assert.equal(posted.status, 200);
  for (const { headers } of api.requests) assert.deepEqual([headers.upgrade, headers['http2-settings']], [undefined, undefined]);
});

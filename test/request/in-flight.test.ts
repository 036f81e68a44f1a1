import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as open, type IncomingMessage, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { pour, settled, startUpstream } from '../support/upstream.ts';

const second = 1000;
const kilobyte = 1024;

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
  readonly clock: FakeClock;
}

async function start(t: TestContext, server: ConfigInput['server'] = {}): Promise<Scene> {
  const api = closing(t, await startNewapi());
  const clock = fakeClock();
  return { api, clock, gate: await startGate(t, { audit: false, newapi: { baseUrl: api.url }, server }, { clock }) };
}

/** Sends the head of a POST and leaves the body to the test. */
function begin(t: TestContext, gate: RunningGate, path: string, length: number): { readonly socket: Socket; text(): string } {
  const socket = connect(gate.port, '127.0.0.1').on('error', () => undefined);
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${DEMO_KEY}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`);
  return { socket, text: () => text };
}

for (const path of ['/v1/chat/completions', '/api/files']) {
  test(`a body that stops coming is given up after read_timeout: ${path}`, async (t) => {
    const { gate, clock, api } = await start(t);
    const { socket, text } = begin(t, gate, path, 1000);
    socket.write('{"model":');
    await until(() => clock.pending > 0);
    clock.tick(29 * second);
    assert.equal(text(), '');
    const closed = once(socket, 'close');
    clock.tick(2 * second);
    await closed;
    assert.match(text(), /^HTTP\/1.1 408 Request Timeout\r\n/);
    assert.match(text(), /connection: close/i);
    await until(() => api.requests.every(({ done }) => done));
  });
}

test('a body may take longer than read_timeout while it keeps its pace', async (t) => {
  let received = 0;
  const upstream = await startUpstream(t, (req, res) => {
    req.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    req.on('end', () => res.end('whole'));
  });
  const clock = fakeClock();
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } }, { clock });
  const { socket, text } = begin(t, gate, '/api/files', 20 * 256 * kilobyte);
  for (let sent = 1; sent <= 20; sent++) {
    socket.write(Buffer.alloc(256 * kilobyte));
    await until(() => received === sent * 256 * kilobyte);
    clock.tick(3 * second);
  }
  await until(() => text() !== '');
  assert.match(text(), /^HTTP\/1.1 200 /);
});

test('a body slower than its pace is given up', async (t) => {
  let received = 0;
  const upstream = await startUpstream(t, (req) => {
    req.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    req.on('error', () => undefined);
  });
  const clock = fakeClock();
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } }, { clock });
  const { socket, text } = begin(t, gate, '/api/files', 1e6);
  const closed = once(socket, 'close');
  for (let sent = 1; sent <= 10; sent++) {
    socket.write(Buffer.alloc(100));
    await until(() => received === sent * 100);
    assert.equal(text(), '');
    clock.tick(3 * second);
  }
  clock.tick(second);
  await closed;
  assert.match(text(), /^HTTP\/1.1 408 /);
});

test('a body that the upstream does not take is not its sender\'s fault', async (t) => {
  let take = (): void => undefined;
  let received = 0;
  const upstream = await startUpstream(t, (req, res) => {
    take = () => {
      req.on('end', () => res.end('whole')).on('data', (chunk: Buffer) => {
        received += chunk.length;
      });
    };
  });
  const clock = fakeClock();
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url, timeout: '10m' } }, { clock });
  const size = 48 * kilobyte * kilobyte;
  const { socket, text } = begin(t, gate, '/api/files', size + 1);
  let gone = false;
  socket.write(Buffer.alloc(size), () => {
    gone = true;
  });
  await settled(() => (socket as unknown as { _handle: { writeQueueSize: number } })._handle.writeQueueSize);
  clock.tick(20 * 60 * second);
  assert.equal(gone, false);
  take();
  await until(() => received === size);
  clock.tick(second);
  socket.write('!');
  await until(() => text() !== '');
  assert.match(text(), /^HTTP\/1.1 200 /);
});

test('a reader that takes nothing for write_timeout is cut; a slow one is not', async (t) => {
  let given = (): number => 0;
  const upstream = await startUpstream(t, (_req, res) => {
    given = pour(res);
  });
  const clock = fakeClock();
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url } }, { clock });
  const asked = open(`${gate.url}/api/export`, { agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  const cut = once(answer, 'error');
  for (let round = 0; round < 4; round++) {
    const before = await settled(given);
    while (given() < before + 8 * kilobyte * kilobyte) if (answer.read() === null) await once(answer, 'readable');
    clock.tick(20 * second);
  }
  await settled(given);
  clock.tick(44 * second);
  assert.equal(upstream.server.listening && (await connections(upstream.server)), 1, 'slow reading for more than a minute is no stall');
  clock.tick(2 * second);
  await until(async () => (await connections(upstream.server)) === 0);
  answer.resume();
  await cut;
});

const connections = (server: Server): Promise<number> => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));

test('an upload into an idle server and a long stream need no deadline of their own', async (t) => {
  const { gate, clock, api } = await start(t);
  api.set({ pace: 5 });
  const stream = request(`${gate.url}/v1/chat/completions`, { headers: { Authorization: `Bearer ${DEMO_KEY}` }, body: { model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'a b c d e f' }] } });
  await until(() => api.requests.length === 1);
  for (let minute = 0; minute < 4; minute++) clock.tick(60 * second);
  assert.match((await stream).text, /\[DONE\]/);
});

test('nothing is looked at while nothing is in hand', async (t) => {
  const { gate, clock } = await start(t);
  await request(`${gate.url}/health`);
  clock.tick(second);
  assert.equal(clock.pending, 0);
  await request(`${gate.url}/health`);
  assert.ok(clock.pending > 0);
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { WebSocketServer } from 'ws';
import { internalsOf } from '../../lib/gateway.ts';
import type { ConfigInput } from '../../lib/index.ts';
import { openStream, until, type Answer } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate } from '../support/gate.ts';
import { accessRecords, type AccessRecord } from '../support/records.ts';
import { startUpstream } from '../support/upstream.ts';
import { dial, handshake, refused } from '../support/websocket.ts';
import { bearer, behind, chat, codeOf } from './behind.ts';
import { metrics, path, scene } from './held.ts';

const queued = ({ headers, status }: Answer): unknown[] => [status, headers['x-queue-position'], headers['x-queue-wait']];

describe('queue', () => {
  it('tells every model answer its place and its wait; 0 for who runs at once', async (t) => {
    const { from, answer, waiting, held } = await scene(t, { concurrency: 1 });
    const first = from('192.0.2.1');
    await until(() => held.length === 1);
    const second = from('192.0.2.1');
    await waiting(1);
    const third = from('192.0.2.2');
    await waiting(2);
    for (let n = 0; n < 3; n++) await answer();
    assert.deepEqual(queued(await first), [200, '0', '0']);
    const [status, position, wait] = queued(await second);
    assert.deepEqual([status, position], [200, '1']);
    assert.match(String(wait), /^[1-9]\d*$/);
    assert.deepEqual(queued(await third).slice(0, 2), [200, '2']);
  });

  it('refuses in the dialect of the route and says when to come back', async (t) => {
    const { ask, from, gauge, held } = await scene(t, { concurrency: 1, initialSize: 0 });
    const running = from('192.0.2.1').catch(() => null);
    await until(() => held.length === 1);
    const openai = await ask(path, { body: chat, headers: bearer });
    assert.deepEqual([openai.status, codeOf(openai), openai.headers['x-should-retry']], [503, 'queue_full', undefined]);
    assert.match(String(openai.headers['retry-after']), /^[1-9]\d*$/);
    assert.equal(openai.headers['x-queue-position'], undefined);
    const claude = await ask('/v1/messages', { body: chat, headers: { ...bearer, 'x-api-key': 'x', 'anthropic-version': '2023-06-01' } });
    assert.deepEqual([claude.status, claude.json<{ type: string; error: { type: string } }>().error.type], [503, 'overloaded_error']);
    assert.equal(await gauge('queue_active'), 1);
    held[0]?.destroy();
    await running;
  });

  it('is for what costs a model something: lists of models, pages and tasks pass', async (t) => {
    const { ask, from, held } = await scene(t, { concurrency: 1, initialSize: 0 });
    const running = from('192.0.2.1').catch(() => null);
    await until(() => held.length === 1);
    for (const other of ['/v1/models', '/v1/models/gpt-4o', '/', '/api/status', '/mj/task/1/fetch']) {
      const asked = ask(other, { headers: bearer });
      await until(() => held.length === 2);
      held[1]?.end('fine');
      const answer = await asked;
      assert.deepEqual(queued(answer), [200, undefined, undefined], other);
    }
    held[0]?.destroy();
    await running;
  });

  for (const [how, config] of Object.entries({ 'queue.enabled': { queue: { enabled: false, concurrency: 1, initialSize: 0, websockets: 1 } }, 'the list of parts': { queue: { concurrency: 1, initialSize: 0 }, middleware: ['rate_limit', 'auth', 'logging'] as const } } satisfies Record<string, ConfigInput>)) {
    it(`is switched off by ${how}`, async (t) => {
      const { from, answer, held } = await scene(t, config.queue, 'middleware' in config ? { middleware: config.middleware } : {});
      const both = [from('192.0.2.1'), from('192.0.2.1')];
      await until(() => held.length === 2);
      await answer();
      await answer();
      for (const each of await Promise.all(both)) assert.deepEqual(queued(each), [200, undefined, undefined]);
    });
  }

  it('drops who leaves while waiting: status 499, no slot, nothing sent upstream', async (t) => {
    const records = accessRecords(t);
    const { from, answer, waiting, gauge, seen } = await scene(t, { concurrency: 1 }, { logging: records.logging });
    const first = from('192.0.2.1');
    await until(() => seen.length === 1);
    const gone = new AbortController();
    const leaving = from('192.0.2.2', gone.signal).catch(() => 'left');
    await waiting(1);
    gone.abort();
    assert.equal(await leaving, 'left');
    await waiting(0);
    await answer();
    await first;
    await until(async () => (await gauge('queue_active')) === 0);
    assert.equal(seen.length, 1);
    const linesHere = (): AccessRecord[] => records.all().filter(({ route }) => route === path);
    const lines = await until(() => (linesHere().length >= 2 ? linesHere() : undefined));
    assert.deepEqual(lines.map(({ status, outcome }) => [status, outcome]), [[499, 'aborted'], [200, 'served']]);
  });

  it('has slots back from clients that leave, upstreams that die and streams that end', async (t) => {
    const { from, held, gauge, url } = await scene(t, { concurrency: 2 });
    const gone = new AbortController();
    const leaving = from('192.0.2.1', gone.signal).catch(() => 'left');
    await until(() => held.length === 1);
    gone.abort();
    assert.equal(await leaving, 'left');
    await until(async () => (await gauge('queue_active')) === 0);
    const broken = from('192.0.2.1');
    await until(() => held.length === 1);
    held[0]?.destroy();
    assert.equal((await broken).status, 504);
    await until(async () => (await gauge('queue_active')) === 0);
    const streaming = openStream(url + path, { body: { ...chat, stream: true }, headers: bearer });
    const res = await until(() => held[0]);
    res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: {"choices":[]}\n\n');
    const stream = await streaming;
    assert.equal(stream.headers['x-queue-position'], '0');
    assert.equal(await gauge('queue_active'), 1);
    res.end('data: [DONE]\n\n');
    await stream.done;
    await until(async () => (await gauge('queue_active')) === 0);
    assert.equal(await gauge('inflight_bytes'), 0);
  });

  it('gives up who has waited for max_wait', async (t) => {
    const clock = fakeClock();
    const { from, seen, waiting, held } = await scene(t, { concurrency: 1, maxWait: '5s' }, {}, { clock });
    const running = from('192.0.2.1').catch(() => null);
    await until(() => seen.length === 1);
    const waiter = from('192.0.2.2');
    await waiting(1);
    clock.tick(5100);
    const answer = await waiter;
    assert.deepEqual([answer.status, codeOf(answer), answer.headers['x-queue-position']], [503, 'queue_timeout', '1']);
    assert.ok(Number(answer.headers['x-queue-wait']) >= 5000 && Number(answer.headers['retry-after']) >= 1);
    held[0]?.destroy();
    await running;
  });

  it('tells waiters of a shutdown when half of its time is over; who runs finishes', async (t) => {
    const { from, answer, waiting, gate, held } = await scene(t, { concurrency: 1 });
    const running = from('192.0.2.1');
    await until(() => held.length === 1);
    const waiter = from('192.0.2.2');
    await waiting(1);
    const closed = gate.close({ timeout: 1000 });
    const told = await waiter;
    assert.deepEqual([told.status, codeOf(told), told.headers.connection, told.headers['retry-after']], [503, 'shutting_down', 'close', '1']);
    await answer();
    assert.equal((await running).status, 200);
    await closed;
  });

  it('only notes in a gate that observes', async (t) => {
    const records = accessRecords(t);
    const { from, answer, held } = await scene(t, { concurrency: 1, initialSize: 0 }, { mode: 'observe', logging: records.logging });
    const all = [from('192.0.2.1'), from('192.0.2.2')];
    await until(() => held.length === 2);
    await answer();
    await answer();
    for (const each of await Promise.all(all)) assert.deepEqual(queued(each), [200, '0', '0']);
    const lines = (await records.atLeast(2)) as unknown as { would_refuse: string[] }[];
    assert.deepEqual(lines.map((line) => line.would_refuse).sort(), [[], ['queue']]);
  });
});

describe('websockets', () => {
  it('are counted apart, and those that need no credential for their caller alone', async (t) => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    t.after(() => server.close());
    const at = await behind(t, { newapi: { baseUrl: `http://127.0.0.1:${(server.address() as { port: number }).port}` }, queue: { websockets: 1, concurrency: 1 }, metrics });
    const active = async (): Promise<number> => Number(/^heimdall_websockets_active (\d+)$/m.exec((await at.ask('/metrics', { headers: { Authorization: `Bearer ${metrics.token}` } })).text)?.[1]);
    const first = await dial(`${at.url}/v1/realtime?model=m`, { headers: bearer });
    const second = await refused(at.port, handshake('/v1/realtime?model=m', `Authorization: ${bearer.Authorization}`));
    assert.deepEqual([second.status, second.ended], [503, true]);
    assert.match(second.text, /too_many_websockets/);
    assert.match(String(second.headers['retry-after']), /^[1-9]\d*$/);
    const page = await dial(`${at.url}/api/live`);
    assert.equal((await refused(at.port, handshake('/api/live', 'X: y'))).status, 503);
    assert.equal(await active(), 1);
    first.socket.close();
    await until(async () => (await active()) === 0);
    const third = await dial(`${at.url}/v1/realtime?model=m`, { headers: bearer });
    third.socket.terminate();
    page.socket.terminate();
    await until(async () => (await active()) === 0);
  });
});

describe('a websocket that one side has ended', () => {
  for (const side of ['client', 'upstream'] as const) {
    it(`is given back though the other does not care: ${side}`, async (t) => {
      const clock = fakeClock();
      const upstream = await startUpstream(t);
      const server = once(upstream.server, 'upgrade') as Promise<[unknown, Socket]>;
      const gate = await startGate(t, { newapi: { baseUrl: upstream.url } }, { clock });
      const { core } = internalsOf(gate.gate);
      const client = connect({ port: gate.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => undefined);
      t.after(() => client.destroy());
      client.write(handshake('/v1/realtime?model=m', `Authorization: ${bearer.Authorization}`));
      const [, socket] = await server;
      socket.on('error', () => undefined).write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
      await once(client, 'data');
      const ended = side === 'client' ? once(socket.resume(), 'end') : once(client.resume(), 'end');
      (side === 'client' ? client : socket).end();
      await ended;
      clock.tick(9000);
      assert.equal(core.inFlight.size, 1);
      clock.tick(1000);
      await until(() => core.inFlight.size === 0);
    });
  }
});

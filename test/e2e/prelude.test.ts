import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { ServerResponse } from 'node:http';
import type { LlmInput } from '../../lib/index.ts';
import { openStream, until, type LiveStream } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { startGate } from '../support/gate.ts';
import { KEY, startRing, type Ring } from '../support/ring.ts';
import { bearer, chat, servedBy } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

const streamed = { ...chat, stream: true };
const llm = { streamPreludeAfter: '15s', timeouts: { connect: '10m', firstByte: '60s', total: '5m' } } as const;

const started = (t: TestContext, size = 1, more: LlmInput = {}): Promise<Ring> => startRing(t, { size, llm: { ...llm, ...more }, retry: { maxRetries: 0, retryableErrors: ['rate_limit', 'server_error', 'timeout'] } });

/** Lets the first target hang until the prelude is out. */
async function waiting({ clock, gate, targets }: Ring, path = '/v1/chat/completions', headers: Readonly<Record<string, string>> = {}): Promise<LiveStream> {
  await targets[0]?.script([{ kind: 'hang', at: 'headers' }]);
  const before = targets[0]?.calls.length ?? 0;
  const opened = openStream(gate.url + path, { body: streamed, headers: { ...bearer(KEY), ...headers } });
  await until(() => targets[0]?.calls[before]?.received);
  clock.tick(14_900);
  assert.equal(await Promise.race([opened, new Promise((resolve) => setTimeout(resolve, 20, 'silence'))]), 'silence');
  clock.tick(200);
  const stream = await opened;
  await until(() => stream.events.length === 1);
  return stream;
}

test('a stream that waits begins with 200 and comments, one every ten seconds; then another target answers in it', async (t) => {
  const ring = await started(t, 2);
  const stream = await waiting(ring);
  assert.deepEqual([stream.status, stream.headers['content-type'], stream.headers['x-accel-buffering']], [200, 'text/event-stream', 'no']);
  ring.clock.tick(10_100);
  await until(() => stream.events.length === 2);
  ring.clock.tick(40_000);
  await stream.done;
  assert.deepEqual([stream.complete, servedBy(stream), stream.events.at(-1)?.data], [true, 't1', '[DONE]']);
  assert.ok(stream.events.slice(0, 2).every(({ comment }) => comment === 'waiting'));
  assert.equal(stream.events.filter(({ data }) => data === '[DONE]').length, 1);
});

test('nothing of the kind is sent when no stream was asked for', async (t) => {
  const ring = await started(t, 2);
  await ring.targets[0]?.script([{ kind: 'hang', at: 'headers' }]);
  const answer = ring.ask();
  await until(() => ring.targets[0]?.calls[0]?.received);
  ring.clock.tick(61_000);
  assert.deepEqual([servedBy(await answer), (await answer).headers['content-type']], ['t1', 'application/json']);
});

for (const [path, event, shape] of [
  ['/v1/chat/completions', undefined, /^\{"error":\{"message":"[^"]+","type":"server_error","param":null,"code":"upstream_timeout"\}\}$/],
  ['/v1/messages', 'error', /^\{"type":"error","error":\{"type":"timeout_error","message":"[^"]+"\},"request_id":"[^"]+"\}$/],
] as const) {
  test(`when nobody answers after it, ${path} ends with an error event in its shape and no [DONE]`, async (t) => {
    const ring = await started(t, 1, { provider: path === '/v1/messages' ? 'anthropic' : 'openai' });
    const stream = await waiting(ring, path);
    ring.clock.tick(50_000);
    await stream.done;
    const last = stream.events.at(-1);
    assert.deepEqual([stream.complete, last?.event], [true, event]);
    assert.match(String(last?.data), shape);
    assert.ok(!stream.text.includes('[DONE]'));
  });
}

test('an error, a page and a JSON answer that come after it become one event each', async (t) => {
  const ring = await started(t, 2);
  for (const [status, body, expected] of [
    [400, { error: { message: 'too long', code: 'x' } }, /^\{"error":\{"message":"too long","code":"x"\}\}$/],
    [404, '<html>\n<h1>Not Found</h1>\n</html>', /"code":"upstream_error"/],
    [422, { detail: 'no' }, /"code":"upstream_error"/],
    [200, { id: 'x', choices: [] }, /^\{"id":"x","choices":\[\]\}$/],
  ] as const) {
    const stream = await waiting(ring);
    await ring.targets[1]?.script([{ kind: 'status', status, body }]);
    ring.clock.tick(50_000);
    await stream.done;
    const events = stream.events.filter(({ data }) => data !== undefined);
    assert.deepEqual([stream.complete, events.length], [true, 1]);
    assert.match(String(events[0]?.data), expected);
  }
});

test('a stream that began as text goes on decoded when the upstream compresses unasked', async (t) => {
  const ring = await started(t, 2);
  const stream = await waiting(ring);
  await ring.targets[1]?.script([{ kind: 'encoded', encoding: 'gzip' }]);
  ring.clock.tick(50_000);
  await stream.done;
  const events = stream.events.filter(({ data }) => data !== undefined);
  assert.deepEqual([stream.complete, events.at(-1)?.data], [true, '[DONE]']);
  assert.ok(events.length > 2 && events.slice(0, -1).every(({ data }) => JSON.parse(String(data)) !== null));
});

test('a client that leaves during it ends everything', async (t) => {
  const ring = await started(t, 2);
  const stream = await waiting(ring);
  stream.abort();
  await until(() => ring.targets[0]?.calls[0]?.aborted);
  ring.clock.tick(100_000);
  assert.deepEqual([ring.calls(), ring.clock.armedBy('upstream/forward.ts')], [[1, 0], 0]);
});

/** A stream whose pieces the test sends one by one. */
async function piecewise(t: TestContext): Promise<{ clock: FakeClock; stream: LiveStream; send(piece: string): Promise<void>; end(): void }> {
  let upstream: ServerResponse | undefined;
  const { url } = await startUpstream(t, (_req, res) => {
    upstream = res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write('data: 1\n\n');
  });
  const clock = fakeClock();
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: url }, llm: { keepAliveComments: '15s' } }, { clock });
  const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: streamed, headers: bearer('sk-x') });
  await until(() => stream.text === 'data: 1\n\n');
  const send = async (piece: string): Promise<void> => {
    const before = stream.text;
    upstream?.write(piece);
    await until(() => stream.text === before + piece);
  };
  return { clock, stream, send, end: () => void upstream?.end() };
}

const comment = ': keep-alive\n\n';
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));

test('a stream whose upstream is silent gets a comment every so often, and none while it speaks', async (t) => {
  const { clock, stream, send } = await piecewise(t);
  clock.tick(14_800);
  await send('data: 2\n\n');
  clock.tick(14_800);
  await turn();
  assert.ok(!stream.text.includes(comment));
  for (const [ms, count] of [[300, 1], [15_100, 2], [15_100, 3]] as const) {
    clock.tick(ms);
    await until(() => stream.text.split(comment).length === count + 1);
  }
});

const within: readonly (readonly string[])[] = [
  ['data: {"a'], ['data: x'], ['data: x\n'], ['event: e\n', 'data: x\n'], ['data: x\r\n'], ['data: x', '\r\n'], ['data: x\r'], ['data: x\r', '\n'], ['id: 1\n'],
  ['data: x\n\ndata: y'], ['data: x\n\n', 'd'],
];
for (const pieces of within) {
  test(`no comment goes into an event: ${JSON.stringify(pieces)}`, async (t) => {
    const { clock, stream, send } = await piecewise(t);
    for (const piece of pieces) await send(piece);
    clock.tick(100_000);
    await turn();
    assert.ok(!stream.text.includes(comment));
  });
}

const between: readonly (readonly string[])[] = [['data: x\n\n'], ['data: x\n', '\n'], ['data: x', '\n\n'], ['data: x\r\n\r\n'], ['data: x\r\n', '\r\n'], ['data: x', '\r\n\r\n'], [': PING\n\n']];
for (const pieces of between) {
  test(`a comment may follow ${JSON.stringify(pieces)}`, async (t) => {
    const { clock, stream, send, end } = await piecewise(t);
    for (const piece of pieces) await send(piece);
    clock.tick(15_100);
    await until(() => stream.text.endsWith(comment));
    end();
    await stream.done;
    assert.equal(stream.complete, true);
  });
}

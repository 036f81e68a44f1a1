import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';

import { closing, openStream, sse, until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { fullBacklog, type Fault } from '../support/provider.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, CALLER, chat, startScene, type Scene, type SceneOptions } from '../support/scene.ts';
import { shared } from '../support/shared.ts';

const streamed = { ...chat, stream: true };

const speaking = {
  '/v1/chat/completions': shared((scope) => startScene(scope)),
  '/v1/messages': shared((scope) => startScene(scope, { target: { provider: 'anthropic' } })),
};

const deaths: Readonly<Record<string, Fault>> = {
  'is closed': { kind: 'reset', at: 'headers', after: 600, by: 'fin' },
  'is reset': { kind: 'reset', at: 'headers', after: 600, by: 'rst' },
  'falls silent': { kind: 'hang', at: 'middle' },
};

for (const [name, fault] of Object.entries(deaths)) {
  for (const [route, event, last] of [
    ['/v1/chat/completions', undefined, /^\{"error":\{"message":"[^"]+","type":"server_error","param":null,"code":"upstream_interrupted"\}\}$/],
    ['/v1/messages', 'error', /^\{"type":"error","error":\{"type":"api_error","message":"[^"]+"\},"request_id":"[^"]+"\}$/],
  ] as const) {
    test(`a stream of ${route} that ${name} under way ends with an error event, not with the backup or [DONE]`, async () => {
      const scene = await speaking[route]();
      await scene.verify();
      await scene.primary.script([fault]);
      const stream = await sse(scene.gate.url + route, { body: streamed, headers: bearer(CALLER) });
      assert.deepEqual([stream.status, stream.complete, scene.backup.connections], [200, true, 0]);
      assert.match(stream.text, /"primary\/gpt-4o-mini"/);
      assert.equal(stream.events.at(-1)?.event, event);
      assert.match(String(stream.events.at(-1)?.data), last);
      assert.ok(stream.text.endsWith('\n\n'));
      assert.ok(!/\[DONE\]|message_stop/.test(stream.text));
    });
  }
}

const lost: Readonly<Record<string, Fault>> = {
  'its last chunk': { kind: 'truncated', of: 'chunked' },
  'the end of the silence behind it': { kind: 'hang', at: 'after_done' },
  'bytes that it announced': { kind: 'short_length' },
};

for (const [name, fault] of Object.entries(lost)) {
  for (const [route, end] of [['/v1/chat/completions', /data: \[DONE\]\n\n$/], ['/v1/messages', /data: \{"type":"message_stop"\}\n\n$/], ['/v1/responses', /\}\n\n$/]] as const) {
    test(`a stream of ${route} that has said everything lacks nothing without ${name}`, async (t) => {
      const scene = await recorded(t);
      await scene.primary.script([fault]);
      const stream = await sse(scene.gate.url + route, { body: streamed, headers: bearer(CALLER) });
      assert.deepEqual([stream.status, stream.complete, stream.headers['content-length']], [200, true, undefined]);
      assert.match(stream.text, end);
      assert.doesNotMatch(stream.text, /upstream_interrupted|event: error/);
      assert.deepEqual(await scene.ends(), [[200, 'served']]);
    });
  }
}

test('a stream with a length that dies has room for the error event', async (t) => {
  const api = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: api.url } });
  const event = 'data: {"choices":[]}\n\n';
  api.on('POST /v1/chat/completions', (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Length': String(event.length + 20) }).write(event, () => res.destroy());
  });
  const stream = await sse(`${gate.url}/v1/chat/completions`, { body: streamed, headers: bearer(DEMO_KEY) });
  assert.deepEqual([stream.status, stream.complete, stream.error], [200, true, undefined]);
  assert.match(String(stream.events.at(-1)?.data), /upstream_interrupted/);
});

test('a stream that ends within an event is none that ended, whatever its framing says', async (t) => {
  const scene = await startScene(t);
  await scene.verify();
  await scene.primary.script([{ kind: 'short_length', by: -10 }]);
  const stream = await sse(`${scene.gate.url}/v1/chat/completions`, { body: streamed, headers: bearer(CALLER) });
  assert.deepEqual([stream.status, stream.complete], [200, true]);
  assert.match(String(stream.events.at(-1)?.data), /upstream_interrupted/);
});

const bytes: Readonly<Record<string, readonly [path: string, body: object, Fault]>> = {
  'bytes, closed': ['/v1/audio/speech', { model: 'tts-1', input: 'x' }, { kind: 'short_length' }],
  'bytes, reset': ['/v1/audio/speech', { model: 'tts-1', input: 'x' }, { kind: 'reset', at: 'headers', after: 2000, by: 'rst' }],
  'bytes, silent': ['/v1/audio/speech', { model: 'tts-1', input: 'x' }, { kind: 'hang', at: 'middle' }],
  'bytes, chunked': ['/v1/audio/speech', { model: 'tts-1', input: 'x' }, { kind: 'truncated', of: 'chunked' }],
  'JSON too large to hold back': ['/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'x'.repeat(400_000) }] }, { kind: 'truncated', of: 'chunked' }],
  'JSON too large to hold back, with a length': ['/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'x'.repeat(400_000) }] }, { kind: 'short_length' }],
};

for (const [name, [path, body, fault]] of Object.entries(bytes)) {
  test(`an answer that is no event stream never ends cleanly when it was cut: ${name}`, async () => {
    const scene = await speaking['/v1/chat/completions']();
    await scene.verify();
    await scene.primary.script([fault]);
    const answer = await openStream(scene.gate.url + path, { body, headers: bearer(CALLER) });
    await answer.done;
    assert.equal(answer.status, 200);
    assert.equal(answer.complete, false);
    assert.equal(scene.backup.connections, 0);
    assert.equal((await scene.ask()).status, 200);
  });
}

test('a compressed event stream that dies is destroyed: an error event would not be readable in it', async (t) => {
  const api = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: api.url } });
  api.on('POST /v1/chat/completions', (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Encoding': 'gzip' }).write(gzipSync('data: {}\n\n').subarray(0, 12));
  });
  const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: streamed, headers: bearer(DEMO_KEY) });
  await until(() => stream.chunks.length);
  await api.stop();
  await stream.done;
  assert.deepEqual([stream.status, stream.complete, Buffer.concat(stream.chunks).length], [200, false, 12]);
});

/** A scene that keeps its access log; closing the gate writes the rest of it. */
async function recorded(t: TestContext, config: SceneOptions = {}): Promise<Scene & { ends(): Promise<[number, string][]> }> {
  const records = accessRecords(t);
  const scene = await startScene(t, { ...config, logging: records.logging });
  const ends = async (): Promise<[number, string][]> => {
    await scene.gate.gate.close({ timeout: 1000 });
    return records.all().map(({ status, outcome }) => [status, outcome]);
  };
  return { ...scene, ends };
}

const long = { llm: { timeouts: { connect: 60_000, firstByte: 60_000, idle: 60_000 } } };

test('a client that leaves while it waits, or while it reads, ends the exchange upstream; its record says 499', async (t) => {
  const scene = await recorded(t, long);
  await scene.primary.script([{ kind: 'hang', at: 'headers' }, { kind: 'hang', at: 'first_event' }, { kind: 'hang', at: 'middle' }]);
  for (const n of [0, 1]) {
    const leave = new AbortController();
    const left = assert.rejects(scene.ask({ body: streamed, signal: leave.signal }));
    await until(() => scene.primary.calls[n]?.received);
    leave.abort();
    await left;
    await until(() => scene.primary.calls[n]?.aborted);
  }
  const stream = await openStream(`${scene.gate.url}/v1/chat/completions`, { body: streamed, headers: bearer(CALLER) });
  await until(() => stream.chunks.length > 0);
  stream.abort();
  await until(() => scene.primary.calls[2]?.aborted);
  assert.deepEqual(await scene.ends(), [[499, 'aborted'], [499, 'aborted'], [499, 'aborted']]);
  assert.equal(scene.backup.connections, 0);
  assert.deepEqual(scene.gate.log.events.filter(({ level }) => level !== 'info'), []);
});

test('a client that leaves while NewAPI is being connected to is recorded at once, and nothing is sent later', async (t) => {
  const nowhere = closing(t, await fullBacklog());
  const scene = await recorded(t, { llm: { ...long.llm, endpoint: `${nowhere.url}/v1` } });
  const leave = new AbortController();
  const arrived = once(scene.gate.server, 'request');
  const left = assert.rejects(scene.ask({ signal: leave.signal }));
  await arrived;
  leave.abort();
  await left;
  assert.deepEqual(await scene.ends(), [[499, 'aborted']]);
  assert.equal(scene.backup.connections, 0);
});

test('a client that leaves before its body is complete is recorded once and reaches nobody', async (t) => {
  const scene = await recorded(t);
  const leave = new AbortController();
  const headers = { ...bearer(CALLER), 'Content-Type': 'application/json', 'Content-Length': '1000' };
  const arrived = once(scene.gate.server, 'request');
  const left = assert.rejects(scene.ask({ headers, body: '{"model":', signal: leave.signal }));
  await arrived;
  leave.abort();
  await left;
  assert.deepEqual(await scene.ends(), [[499, 'aborted']]);
  assert.equal(scene.primary.connections, 0);
});

test('an interrupted stream is recorded as the upstream\'s error', async (t) => {
  const scene = await recorded(t);
  await scene.primary.script([{ kind: 'reset', at: 'headers', after: 600, by: 'fin' }]);
  await sse(`${scene.gate.url}/v1/chat/completions`, { body: streamed, headers: bearer(CALLER) });
  assert.deepEqual(await scene.ends(), [[200, 'upstream_error']]);
});

import assert from 'node:assert/strict';
import { Agent, request as open } from 'node:http';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';

import { closing, openStream, rawRequest, request, sse, until, type Answer } from './client.ts';
import { fullBacklog, startProvider, type Fault, type Provider, type ProviderOptions } from './provider.ts';

const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'one two three' }] };
const streamed = { ...body, stream: true };

const start = async (t: TestContext, options?: ProviderOptions): Promise<Provider> => closing(t, await startProvider(options));
const ask = (provider: Provider, sent: object = body): Promise<Answer> =>
  request(`${provider.endpoint}/chat/completions`, { body: sent });
const faulty = async (t: TestContext, fault: Fault): Promise<Provider> => {
  const provider = await start(t);
  await provider.script([fault]);
  return provider;
};

test('answers chat, messages, embeddings and models, and says who it is', async (t) => {
  const provider = await start(t, { name: 'north' });
  const chat = (await ask(provider)).json<{ model: string; system_fingerprint: string; choices: { message: { content: string } }[] }>();
  assert.equal(chat.model, 'north/gpt-4o-mini');
  assert.equal(chat.system_fingerprint, 'north');
  assert.equal(chat.choices[0]?.message.content, 'one two three');
  const message = await request(`${provider.endpoint}/messages`, { body });
  assert.match(message.text, /"output_tokens":4/);
  const vectors = await request(`${provider.endpoint}/embeddings`, { body: { model: 'm', input: ['a', 'b'] } });
  assert.equal(vectors.json<{ data: unknown[] }>().data.length, 2);
  assert.match((await request(`${provider.endpoint}/models`)).text, /gpt-4o-mini/);
  assert.equal((await request(`${provider.endpoint}/nothing`, { body })).status, 404);
  assert.equal(provider.calls.length, 5);
  assert.deepEqual(JSON.parse(String(provider.calls[0]?.body)), body);
});

test('streams one event at a time and ends with [DONE]', async (t) => {
  const provider = await start(t, { events: 5 });
  const stream = await sse(`${provider.endpoint}/chat/completions`, { body: { ...streamed, stream_options: { include_usage: true } } });
  assert.equal(stream.events.length, 1 + 5 + 1 + 1 + 1);
  assert.equal(stream.events.at(-1)?.data, '[DONE]');
  assert.match(String(stream.events.at(-2)?.data), /"total_tokens"/);
  assert.ok(stream.complete);
});

test('demands its key and keeps to itself what it was given', async (t) => {
  const provider = await start(t, { key: 'right' });
  const url = `${provider.endpoint}/chat/completions`;
  const wrong = await request(url, { body, headers: { Authorization: 'Bearer wrong' } });
  assert.equal(wrong.status, 401);
  assert.equal(wrong.json<{ error: { code: string } }>().error.code, 'invalid_api_key');
  assert.ok(!wrong.text.includes('wrong'));
  assert.equal((await request(url, { body, headers: { Authorization: 'Bearer right' } })).status, 200);
  provider.set({ key: 'other' });
  assert.equal((await request(url, { body, headers: { 'x-api-key': 'other' } })).status, 200);
});

test('reads chunked and pipelined requests', async (t) => {
  const provider = await start(t);
  const one = 'POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n';
  const two = 'POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]';
  const bytes = await rawRequest(provider.port, one + two, 'never', 100);
  assert.equal(bytes.toString().split('HTTP/1.1 200').length - 1, 2);
  assert.deepEqual(provider.calls.map((call) => [String(call.body), call.connection, call.place]), [['{}', 1, 1], ['[]', 1, 2]]);
});

test('a list of faults is used up by POST requests alone; one fault stays', async (t) => {
  const provider = await start(t);
  await provider.script([{ kind: 'status', status: 500 }, { kind: 'status', status: 503, headers: { 'Retry-After': '2' } }]);
  assert.equal((await request(`${provider.endpoint}/models`)).status, 200);
  assert.equal((await ask(provider)).status, 500);
  const second = await ask(provider);
  assert.deepEqual([second.status, second.headers['retry-after']], [503, '2']);
  assert.equal((await ask(provider)).status, 200);
  await provider.script({ kind: 'status', status: 429, body: 'slow down' });
  assert.equal((await ask(provider)).text, 'slow down');
  assert.equal((await ask(provider)).status, 429);
  await provider.script({ kind: 'status', status: 500 }, () => true);
  assert.equal((await request(`${provider.endpoint}/models`)).status, 500);
});

test('refuse, stop and restart: the port closes and comes back', async (t) => {
  const provider = await start(t);
  await provider.script({ kind: 'refuse' });
  await assert.rejects(ask(provider), { code: 'ECONNREFUSED' });
  await provider.script([{ kind: 'ok' }, { kind: 'refuse' }]);
  assert.equal((await ask(provider)).status, 200);
  await assert.rejects(ask(provider), { code: 'ECONNREFUSED' });
  await provider.script([]);
  assert.equal((await ask(provider)).status, 200);
  await provider.stop();
  await assert.rejects(ask(provider), { code: 'ECONNREFUSED' });
  await provider.restart();
  assert.equal((await ask(provider)).status, 200);
});

for (const at of ['accept', 'before', 'headers'] as const) {
  for (const by of ['fin', 'rst'] as const) {
    test(`reset ${at} by ${by}`, async (t) => {
      const provider = await faulty(t, { kind: 'reset', at, by, after: 5 });
      // Node tells a quiet end from a reset by these words.
      const words = at === 'headers' ? /aborted|ECONNRESET/ : by === 'fin' ? /socket hang up/ : /(read|connect) ECONNRESET/;
      await assert.rejects(ask(provider), words);
      assert.equal(provider.calls.length, at === 'accept' ? 0 : 1);
      assert.equal((await ask(provider)).status, 200);
    });
  }
}

const SILENCE: readonly (readonly ['first_event' | 'middle' | 'after_done', number])[] = [
  ['first_event', 0],
  ['middle', 3],
  ['after_done', 6],
];
for (const [at, events] of SILENCE) {
  test(`hang at ${at}: ${events} events, then silence until the client leaves`, async (t) => {
    const provider = await faulty(t, { kind: 'hang', at });
    const stream = await openStream(`${provider.endpoint}/chat/completions`, { body: streamed });
    await until(() => stream.events.length === events);
    assert.equal(stream.complete, false);
    stream.abort();
    await until(() => provider.calls[0]?.aborted);
  });
}

for (const at of ['accept', 'headers'] as const) {
  test(`hang at ${at}: no head`, async (t) => {
    const provider = await faulty(t, { kind: 'hang', at });
    const leave = new AbortController();
    const answer = request(`${provider.endpoint}/chat/completions`, { body, signal: leave.signal });
    await until(() => (at === 'accept' ? provider.connections === 1 : provider.calls[0]?.received));
    leave.abort();
    await assert.rejects(answer, { name: 'AbortError' });
  });
}

test('error_event: first or later, in three shapes', async (t) => {
  const provider = await start(t);
  await provider.script([
    { kind: 'error_event', shape: 'openai' },
    { kind: 'error_event', shape: 'claude', after: 2 },
    { kind: 'error_event', shape: 'responses' },
  ]);
  const url = `${provider.endpoint}/chat/completions`;
  const first = await sse(url, { body: streamed });
  assert.equal(first.events.length, 1);
  assert.match(String(first.events[0]?.data), /^\{"error":/);
  const later = await sse(url, { body: streamed });
  assert.deepEqual([later.events.length, later.events[2]?.event], [3, 'error']);
  assert.equal((await sse(url, { body: streamed })).events[0]?.event, 'error');
});

test('truncated, short_length, kill_at: the answer is cut', async (t) => {
  const provider = await start(t);
  await provider.script([{ kind: 'truncated', of: 'json' }]);
  const half = await ask(provider);
  assert.equal(half.status, 200);
  assert.throws(() => half.json());
  await provider.script([{ kind: 'truncated', of: 'chunked' }]);
  const cut = await sse(`${provider.endpoint}/chat/completions`, { body: streamed });
  assert.deepEqual([cut.complete, cut.events.at(-1)?.data], [false, '[DONE]']);
  await provider.script([{ kind: 'short_length' }, { kind: 'kill_at', byte: 120, by: 'fin' }, { kind: 'kill_at', byte: 3, by: 'rst' }]);
  for (let i = 0; i < 3; i++) await assert.rejects(ask(provider));
  await provider.script([{ kind: 'kill_at', byte: 20, by: 'fin' }]);
  assert.equal((await rawRequest(provider.port, post('{}'))).length, 20);
});

test('slow: late head, or late events', async (t) => {
  const provider = await start(t, { events: 1 });
  await provider.script([{ kind: 'slow', delay: 15 }, { kind: 'slow', delay: 5, at: 'events' }]);
  const from = performance.now();
  assert.equal((await ask(provider)).status, 200);
  assert.ok(performance.now() - from >= 14);
  const stream = await sse(`${provider.endpoint}/chat/completions`, { body: streamed });
  assert.ok(stream.complete && stream.chunks.length >= 3);
});

test('early_hints, duplicate_headers, redirect, big_head, http10, encoded: unusual and right', async (t) => {
  const provider = await start(t);
  await provider.script([{ kind: 'early_hints' }, { kind: 'early_hints' }]);
  assert.equal((await ask(provider)).status, 200);
  assert.match((await rawRequest(provider.port, post('{}'), '}}')).toString(), /^HTTP\/1.1 103 [^]*HTTP\/1.1 200 /);
  await provider.script([{ kind: 'duplicate_headers' }, { kind: 'redirect', location: 'http://127.0.0.1:1/' }]);
  assert.equal((await ask(provider)).headers['set-cookie']?.length, 2);
  const moved = await ask(provider);
  assert.deepEqual([moved.status, moved.headers.location], [307, 'http://127.0.0.1:1/']);
  await provider.script([{ kind: 'big_head', bytes: 20_000 }, { kind: 'http10' }, { kind: 'encoded', encoding: 'gzip' }]);
  await assert.rejects(ask(provider), { code: 'HPE_HEADER_OVERFLOW' });
  assert.match((await ask(provider)).text, /one two three/);
  assert.match(gunzipSync((await ask(provider)).body).toString(), /one two three/);
});

test('not_http, empty_stream, comments_only: nothing that is an answer', async (t) => {
  const provider = await start(t);
  await provider.script([
    { kind: 'not_http' },
    { kind: 'empty_stream' },
    { kind: 'comments_only', count: 3 },
    { kind: 'comments_only', every: 1 },
  ]);
  await assert.rejects(ask(provider), { code: /^HPE_/ });
  const empty = await ask(provider, streamed);
  assert.deepEqual([empty.status, empty.body.length], [200, 0]);
  const url = `${provider.endpoint}/chat/completions`;
  assert.deepEqual((await sse(url, { body: streamed })).events.map((event) => event.comment), ['waiting', 'waiting', 'waiting']);
  const endless = await openStream(url, { body: streamed });
  await until(() => endless.events.length > 5);
  endless.abort();
  await until(() => provider.calls[3]?.aborted);
});

for (const reuse of ['fin', 'rst'] as const) {
  test(`the second request on a connection meets ${reuse}`, async (t) => {
    const provider = await start(t, { reuse });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    await over(agent, provider.port);
    await assert.rejects(over(agent, provider.port), { code: 'ECONNRESET' });
    assert.deepEqual([provider.resets, provider.calls.length, provider.connections], [1, 1, 1]);
    await over(agent, provider.port);
    provider.set({ reuse: 'keep' });
    await over(agent, provider.port);
    assert.deepEqual(provider.calls.map((call) => [call.connection, call.place]), [[1, 1], [2, 1], [2, 2]]);
  });
}

test('a full backlog neither accepts nor refuses', async (t) => {
  const address = closing(t, await fullBacklog());
  const socket = connect(address.port, '127.0.0.1');
  t.after(() => socket.destroy());
  const outcome = await new Promise((resolve) => {
    for (const event of ['connect', 'error']) socket.once(event, () => resolve(event));
    setTimeout(resolve, 80, 'silence');
  });
  assert.equal(outcome, 'silence');
});

function post(text: string): string {
  return `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}

function over(agent: Agent, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = open({ port, host: '127.0.0.1', path: '/v1/embeddings', method: 'POST', agent }, (answer) => {
      answer.resume().on('end', resolve);
    });
    outgoing.on('error', reject).end('{}');
  });
}

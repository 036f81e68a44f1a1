import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import OpenAI, {
  APIConnectionError, APIUserAbortError, AuthenticationError, BadRequestError, InternalServerError, NotFoundError, PermissionDeniedError,
  RateLimitError, toFile,
} from 'openai';

import { closing, until } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, MODELS, startNewapi, type Newapi, type NewapiOptions } from '../support/newapi.ts';

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
  readonly client: OpenAI;
}

const model = 'gpt-4o-mini';
const said = 'hello there, gate';
const messages = [{ role: 'user' as const, content: said }];

async function start(t: TestContext, options: NewapiOptions = {}): Promise<Scene> {
  const api = closing(t, await startNewapi(options));
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: api.url } });
  return { api, gate, client: sdk(gate) };
}

const sdk = (gate: RunningGate, apiKey = DEMO_KEY, maxRetries = 0): OpenAI => new OpenAI({ baseURL: `${gate.url}/v1`, apiKey, maxRetries });

test('a chat, embeddings and the list of models come through', async (t) => {
  const { client, api } = await start(t);
  const chat = await client.chat.completions.create({ model, messages });
  assert.equal(chat.choices[0]?.message.content, said);
  const vectors = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'], encoding_format: 'float' });
  assert.deepEqual(vectors.data.map(({ embedding }) => embedding.length), [8, 8]);
  const models: string[] = [];
  for await (const each of client.models.list()) models.push(each.id);
  assert.deepEqual(models, MODELS);
  const [asked] = api.requests;
  assert.equal(asked?.headers.authorization, `Bearer ${DEMO_KEY}`);
  assert.equal(asked?.headers['x-stainless-lang'], 'js');
});

test('completions, responses, moderations and images come through', async (t) => {
  const { client } = await start(t);
  const response = await client.responses.create({ model, input: said });
  assert.equal(response.output_text, said);
  const completion = await client.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: said });
  assert.equal(completion.choices[0]?.text, said);
  assert.equal((await client.moderations.create({ input: said })).results[0]?.flagged, false);
  assert.ok((await client.images.generate({ model: 'dall-e-3', prompt: said })).data?.[0]?.b64_json);
});

test('a streamed chat arrives chunk by chunk, with its usage', async (t) => {
  const { client, api } = await start(t, { pace: 2, ping: true });
  const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
  let text = '';
  let usage = 0;
  let unfinished = 0;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage += chunk.usage?.total_tokens ?? 0;
    if (api.requests[0]?.done === false) unfinished++;
  }
  assert.equal(text, said);
  assert.ok(usage > 0);
  assert.ok(unfinished > 1, 'chunks arrive while the upstream still writes');
});

test('an aborted stream is aborted upstream at once', async (t) => {
  const { client, api, gate } = await start(t, { pace: 2, chunks: 3000 });
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const _chunk of stream) break;
  await until(() => api.requests[0]?.aborted);
  api.set({ delay: 60_000 });
  const leave = new AbortController();
  const waiting = client.chat.completions.create({ model, messages }, { signal: leave.signal });
  await until(() => api.requests.length === 2);
  leave.abort();
  await assert.rejects(waiting, APIUserAbortError);
  await until(() => api.requests[1]?.aborted);
  assert.deepEqual(gate.log.events.map(({ event }) => event), []);
});

test('every refusal raises the error class it raises without a gate', async (t) => {
  const { client, api, gate } = await start(t);
  const ask = (over: object = {}, by = client): Promise<unknown> => by.chat.completions.create({ model, messages, ...over });
  await assert.rejects(ask({}, sdk(gate, 'sk-nobody')), (error) => error instanceof AuthenticationError && error.status === 401);
  await assert.rejects(ask({ model: '' }), BadRequestError);
  await assert.rejects(ask({ model: 'gpt-none' }), (error) => error instanceof InternalServerError && error.code === 'model_not_found');
  await assert.rejects(client.get('/nothing'), NotFoundError);
  api.set({ keys: { [DEMO_KEY]: { user: 1, quota: 0 } } });
  await assert.rejects(ask(), (error) => error instanceof PermissionDeniedError && error.code === 'insufficient_user_quota');
  api.set({ keys: { [DEMO_KEY]: { user: 1, modelLimit: 0 } } });
  await assert.rejects(ask(), RateLimitError);
  api.set({ keys: { [DEMO_KEY]: { user: 1, allowIps: ['192.0.2.1'] } } });
  await assert.rejects(ask(), PermissionDeniedError);
});

test('the gate\'s own errors are API errors with a request id, never broken connections', async (t) => {
  const { client, api, gate } = await start(t);
  await api.stop();
  await assert.rejects(client.chat.completions.create({ model, messages }), (error) => {
    assert.ok(error instanceof InternalServerError && !(error instanceof APIConnectionError));
    assert.deepEqual([error.status, error.code, error.type], [502, 'upstream_unreachable', 'server_error']);
    assert.match(String(error.requestID), /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    assert.ok(!error.message.includes(String(api.port)));
    return true;
  });
  const none = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: 'unused', maxRetries: 2, defaultHeaders: { Authorization: null } });
  await assert.rejects(none.chat.completions.create({ model, messages }), (error) => {
    assert.ok(error instanceof AuthenticationError);
    assert.equal(error.code, 'missing_credential');
    assert.equal(error.headers.get('x-should-retry'), 'false');
    return true;
  });
});

test('a stream that dies under way raises an error instead of ending', async (t) => {
  const { client, api } = await start(t, { pace: 2, chunks: 3000 });
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  let chunks = 0;
  const reading = (async () => {
    for await (const _chunk of stream) if (++chunks === 3) await api.stop();
  })();
  await assert.rejects(reading, (error) => error instanceof OpenAI.APIError && error.code === 'upstream_interrupted');
  assert.ok(chunks >= 3);
});

test('a transcription\'s file arrives byte for byte, and speech comes back so', async (t) => {
  const { client, api } = await start(t);
  const audio = randomBytes(200_000);
  const { text } = await client.audio.transcriptions.create({ model: 'whisper-1', file: await toFile(audio, 'speech.wav') });
  const form = api.requests[0]?.body ?? Buffer.alloc(0);
  assert.ok(form.includes(audio));
  assert.equal(text, `sha256:${createHash('sha256').update(form).digest('hex')}`);
  const speech = Buffer.from(await (await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: said })).arrayBuffer());
  assert.deepEqual([...speech.subarray(0, 4)], [0xff, 0xf3, 0x84, 0xc4]);
  assert.equal(speech.length, 4 + 128 * 32);
});

test('a large file is uploaded through the passthrough', async (t) => {
  const { client, api } = await start(t);
  const file = randomBytes(12 << 20);
  api.on('POST /v1/files', (_req, res, body) => {
    const whole = body.includes(file);
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ id: 'file-1', object: 'file', bytes: whole ? file.length : -1 }));
  });
  const uploaded = await client.files.create({ purpose: 'batch', file: await toFile(file, 'batch.jsonl') });
  assert.equal(uploaded.bytes, file.length);
});

const claude = { model: 'claude-sonnet-4-5', max_tokens: 64, messages };
const claudeHeaders = { 'x-api-key': DEMO_KEY, 'anthropic-version': '2023-06-01', 'Content-Type': 'application/json' };

interface ClaudeError {
  readonly type: 'error';
  readonly error: { readonly type: string; readonly message: string };
  readonly request_id?: string;
}

const ask = (gate: RunningGate, body: unknown, headers: Record<string, string> = claudeHeaders): Promise<Response> =>
  fetch(`${gate.url}/v1/messages`, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });

test('Claude\'s messages come through, whole and streamed', async (t) => {
  const { gate, api } = await start(t);
  const whole = (await (await ask(gate, claude)).json()) as { type: string; content: { text: string }[] };
  assert.deepEqual([whole.type, whole.content[0]?.text], ['message', said]);
  assert.equal(api.requests[0]?.headers['anthropic-version'], '2023-06-01');
  const stream = await ask(gate, { ...claude, stream: true });
  assert.equal(stream.headers.get('content-type'), 'text/event-stream');
  const names = [...(await stream.text()).matchAll(/^event: (.+)$/gm)].map(([, name]) => name);
  assert.deepEqual([names[0], names.at(-1)], ['message_start', 'message_stop']);
});

test('the gate\'s errors on Claude\'s route are in Claude\'s shape', async (t) => {
  const { gate, api } = await start(t);
  const refused = async (answer: Response): Promise<[number, string]> => {
    const body = (await answer.json()) as ClaudeError;
    assert.equal(body.type, 'error');
    assert.equal(body.request_id, answer.headers.get('x-request-id'));
    assert.ok(body.error.message.length > 10);
    return [answer.status, body.error.type];
  };
  const { 'x-api-key': _key, ...anonymous } = claudeHeaders;
  assert.deepEqual(await refused(await ask(gate, claude, anonymous)), [401, 'authentication_error']);
  assert.deepEqual(await refused(await ask(gate, '{"model":')), [400, 'invalid_request_error']);
  assert.deepEqual(await refused(await ask(gate, claude, { ...claudeHeaders, 'Content-Type': 'text/plain' })), [415, 'invalid_request_error']);
  await api.stop();
  assert.deepEqual(await refused(await ask(gate, claude)), [502, 'api_error']);
});

test('NewAPI\'s own refusals on Claude\'s route pass as they are', async (t) => {
  const { gate, api } = await start(t);
  const unknown = await ask(gate, claude, { ...claudeHeaders, 'x-api-key': 'sk-nobody' });
  assert.deepEqual([unknown.status, ((await unknown.json()) as { error: { type: string } }).error.type], [401, 'new_api_error']);
  api.set({ keys: { [DEMO_KEY]: { user: 1, quota: 0 } } });
  const poor = await ask(gate, claude);
  assert.deepEqual([poor.status, ((await poor.json()) as ClaudeError).type], [403, 'error']);
});

test('a Claude stream that dies under way ends with an error event', async (t) => {
  const { gate, api } = await start(t, { pace: 2, chunks: 3000 });
  const stream = await ask(gate, { ...claude, stream: true });
  const reader = (stream.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value ?? '';
  await api.stop();
  for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
  assert.match(text, /event: error\ndata: \{"type":"error","error":\{"type":"api_error",[^\n]+\}\n\n$/);
  assert.ok(!text.includes('message_stop'));
});

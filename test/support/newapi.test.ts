import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { brotliCompressSync, gunzipSync, gzipSync } from 'node:zlib';

import WebSocket from 'ws';

import { closing, openStream, request, sse, until, type Answer, type SentHeaders } from './client.ts';
import { CHAT_ANSWER, CHAT_REQUEST, DEMO_KEY, OTHER_KEY, startNewapi, stripeSignature } from './newapi.ts';
import type { Newapi, NewapiOptions } from './newapi.ts';

const bearer = { Authorization: `Bearer ${DEMO_KEY}` };
const chat = { model: 'gpt-4o-mini', messages: [{ role: 'system', content: 'x' }, { role: 'user', content: 'hello there' }] };

const start = async (t: TestContext, options?: NewapiOptions): Promise<Newapi> => closing(t, await startNewapi(options));
const ask = (api: Newapi, body: unknown = chat, headers: SentHeaders = bearer): Promise<Answer> =>
  request(`${api.url}/v1/chat/completions`, { body, headers });

test('a chat is echoed with usage; every answer names its request and the version', async (t) => {
  const api = await start(t);
  const answer = await ask(api);
  const body = answer.json<{ id: string; choices: { message: { content: string } }[]; usage: { total_tokens: number } }>();
  assert.equal(body.choices[0]?.message.content, 'hello there');
  assert.equal(body.usage.total_tokens, 6);
  assert.match(String(answer.headers['x-oneapi-request-id']), /^\d{23}[0-9a-z]{8}$/);
  assert.equal(body.id, `chatcmpl-${String(answer.headers['x-oneapi-request-id'])}`);
  for (const path of ['/', '/api/status', '/api/nothing', '/v1/nothing', '/assets/app.js', '/v1/models']) {
    const { headers } = await request(api.url + path);
    assert.ok(headers['x-oneapi-request-id'] && headers['x-new-api-version'], path);
  }
  assert.deepEqual(JSON.parse(String(api.requests[0]?.body)), chat);
  assert.deepEqual([api.requests[0]?.status, api.requests[0]?.aborted, api.requests[0]?.done], [200, false, true]);
});

test('streams: headers, events, usage chunk, [DONE]; Claude, Responses and Gemini in their own shapes', async (t) => {
  const api = await start(t, { ping: true });
  const body = { ...chat, stream: true, stream_options: { include_usage: true } };
  const stream = await sse(`${api.url}/v1/chat/completions`, { body, headers: bearer });
  const { headers } = stream;
  assert.deepEqual(
    [headers['content-type'], headers['cache-control'], headers.connection, headers['x-accel-buffering']],
    ['text/event-stream', 'no-cache', 'keep-alive', 'no'],
  );
  assert.equal(stream.events[0]?.comment, 'PING');
  assert.match(String(stream.events.at(-2)?.data), /"choices":\[\],"usage":\{"prompt_tokens":3,"completion_tokens":3,/);
  assert.equal(stream.events.at(-1)?.data, '[DONE]');
  api.set({ ping: false, chunks: 4 });
  const claude = await sse(`${api.url}/v1/messages`, { body: { ...chat, stream: true }, headers: bearer });
  assert.deepEqual([claude.events[0]?.event, claude.events.at(-1)?.event, claude.events.length], ['message_start', 'message_stop', 10]);
  const response = await sse(`${api.url}/v1/responses`, { body: { model: 'gpt-4o', input: 'hi', stream: true }, headers: bearer });
  assert.match(String(response.events.at(-1)?.data), /^\{"type":"response.completed".*"usage":\{"input_tokens":1,/);
  const path = '/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse';
  const gemini = await sse(api.url + path, { body: { contents: [{ parts: [{ text: 'hi' }] }] }, headers: { 'x-goog-api-key': DEMO_KEY } });
  assert.deepEqual([gemini.events.length, gemini.text.includes('DONE')], [4, false]);
});

test('a client that leaves is noticed, and the stream stops', async (t) => {
  const api = await start(t, { chunks: 1000, pace: 1 });
  const stream = await openStream(`${api.url}/v1/chat/completions`, { body: { ...chat, stream: true }, headers: bearer });
  await until(() => stream.chunks.length > 2);
  stream.abort();
  await api.requests[0]?.finished;
  assert.equal(api.requests[0]?.aborted, true);
});

test('uploads are answered with the hash of what arrived; request bodies may be compressed', async (t) => {
  const api = await start(t, { maxBody: 10_000 });
  const file = Buffer.alloc(3_000_000, 'sound');
  const multipart = Buffer.concat([
    Buffer.from('--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'),
    Buffer.from('--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'),
    file,
    Buffer.from('\r\n--b--\r\n'),
  ]);
  const headers = { ...bearer, 'content-type': 'multipart/form-data; boundary=b' };
  const answer = await request(`${api.url}/v1/audio/transcriptions`, { body: multipart, headers });
  assert.equal(answer.json<{ text: string }>().text, `sha256:${createHash('sha256').update(multipart).digest('hex')}`);
  assert.deepEqual([api.requests[0]?.bytes, api.requests[0]?.body.length], [multipart.length, 1 << 20]);
  for (const [encoding, pack] of [['gzip', gzipSync], ['br', brotliCompressSync]] as const) {
    const sent = await ask(api, pack(JSON.stringify(chat)), { ...bearer, 'content-encoding': encoding });
    assert.equal(sent.status, 200, encoding);
  }
  assert.equal((await ask(api, gzipSync(Buffer.alloc(20_000)), { ...bearer, 'content-encoding': 'gzip' })).status, 413);
  assert.equal((await ask(api, 'not gzip', { ...bearer, 'content-encoding': 'gzip' })).status, 400);
});

test('the limiter: per first forwarded address, bare 429, a window by the clock', async (t) => {
  let now = 1_000_000;
  const api = await start(t, { apiLimit: { limit: 2, window: 500 }, now: () => now });
  const probe = (from?: string): Promise<Answer> => request(`${api.url}/api/status`, { headers: from ? { 'X-Forwarded-For': from } : {} });
  assert.deepEqual([(await probe('192.0.2.1, 10.0.0.1')).status, (await probe('192.0.2.1')).status], [200, 200]);
  const refused = await probe('192.0.2.1, 10.9.9.9');
  assert.deepEqual([refused.status, refused.body.length, refused.headers['retry-after']], [429, 0, undefined]);
  assert.equal((await probe('192.0.2.2')).status, 200);
  assert.equal((await probe()).status, 200);
  assert.equal((await ask(api)).status, 200);
  now += 500;
  assert.equal((await probe('192.0.2.1')).status, 200);
});

test('the dashboard: session cookie and New-Api-User, several cookies, gzip', async (t) => {
  const api = await start(t);
  const login = (password: string): Promise<Answer> => request(`${api.url}/api/user/login`, { body: { username: 'demo', password } });
  const wrong = await login('wrong');
  assert.deepEqual([wrong.status, wrong.json<{ success: boolean }>().success], [200, false]);
  const cookies = (await login('demo-password')).headers['set-cookie'] ?? [];
  assert.equal(cookies.length, 2);
  assert.match(String(cookies[0]), /^session=\S+; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Strict$/);
  const cookie = String(cookies[0]).split(';', 1)[0] ?? '';
  const self = (headers: Record<string, string>): Promise<Answer> => request(`${api.url}/api/user/self`, { headers });
  assert.equal((await self({ cookie })).status, 401);
  assert.equal((await self({ cookie, 'New-Api-User': '2' })).status, 401);
  assert.equal((await self({ cookie, 'New-Api-User': '1' })).status, 200);
  const play = await request(`${api.url}/pg/chat/completions`, { body: chat, headers: { cookie, 'New-Api-User': '1' } });
  assert.equal(play.status, 200);
  await request(`${api.url}/api/user/logout`, { headers: { cookie } });
  assert.equal((await self({ cookie, 'New-Api-User': '1' })).status, 401);
  const packed = await request(`${api.url}/api/status`, { headers: { 'Accept-Encoding': 'gzip, br' } });
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.match(gunzipSync(packed.body).toString(), /^\{"success":true,/);
});

test('usage log, billing, OAuth, webhooks, log receiver', async (t) => {
  const api = await start(t);
  await ask(api);
  const log = await request(`${api.url}/api/log/token?key=${DEMO_KEY}`);
  assert.match(log.text, /"prompt_tokens":3,"completion_tokens":3/);
  const usage = await request(`${api.url}/v1/dashboard/billing/usage`, { headers: bearer });
  assert.equal(usage.json<{ total_usage: number }>().total_usage, 6);
  assert.equal((await request(`${api.url}/dashboard/billing/subscription`, { headers: bearer })).status, 200);
  const oauth = await request(`${api.url}/api/oauth/linuxdo`, { headers: { Host: 'ai.example', 'X-Forwarded-Proto': 'https' } });
  assert.match(String(oauth.headers.location), /redirect_uri=https%3A%2F%2Fai.example%2Foauth/);
  const event = '{"type":"checkout.session.completed" }';
  const signed = { 'Stripe-Signature': stripeSignature(event, 'whsec_standin', 1_767_571_200) };
  const hook = (body: string): Promise<Answer> => request(`${api.url}/api/stripe/webhook`, { body, headers: signed });
  assert.deepEqual([(await hook(event)).status, (await hook(event.replace(' ', ''))).status], [200, 400]);
  const report = await request(`${api.url}/api/heimdall/log`, { body: { token_key: 'x' } });
  assert.equal(report.text, '{"success":true,"message":"Log received successfully"}');
  assert.deepEqual(api.received, [{ token_key: 'x' }]);
  assert.equal((await request(`${api.url}/api/heimdall/log`, { body: 'no' })).status, 400);
  api.set({ receiver: false });
  assert.equal((await request(`${api.url}/api/heimdall/log`, { body: {} })).status, 404);
});

test('CORS on the relay, none on the dashboard', async (t) => {
  const api = await start(t);
  const origin = { Origin: 'https://app.example' };
  const preflight = await request(`${api.url}/v1/chat/completions`, { method: 'OPTIONS', headers: origin });
  assert.deepEqual([preflight.status, preflight.headers['access-control-allow-methods']], [204, 'GET,POST,PUT,DELETE,OPTIONS']);
  const answer = await ask(api, chat, { ...bearer, ...origin });
  assert.deepEqual([answer.headers['access-control-allow-origin'], answer.headers['access-control-allow-credentials']], ['*', 'true']);
  assert.equal((await request(`${api.url}/api/status`, { headers: origin })).headers['access-control-allow-origin'], undefined);
});

test('the web UI: page, asset with cache, other paths get the page', async (t) => {
  const api = await start(t);
  assert.equal((await request(api.url)).headers['cache-control'], 'no-cache');
  const asset = await request(`${api.url}/assets/app.js`);
  assert.equal(asset.headers['cache-control'], 'max-age=604800');
  const again = await request(`${api.url}/assets/app.js`, { headers: { 'If-None-Match': String(asset.headers.etag) } });
  assert.equal(again.status, 304);
  assert.match((await request(`${api.url}/console/token`)).text, /<!doctype html>/);
  assert.equal((await request(`${api.url}/assets/gone.js`)).status, 404);
});

const RELAYS: readonly (readonly [path: string, body: object, expected: RegExp])[] = [
  ['/v1/completions', { model: 'gpt-3.5-turbo-instruct', prompt: 'again' }, /"text":"again"/],
  ['/v1/embeddings', { model: 'text-embedding-3-small', input: 'a' }, /"embedding":\[/],
  ['/v1/moderations', { input: 'a' }, /"flagged":false/],
  ['/v1/rerank', { model: 'rerank-multilingual-v3.0', query: 'a', documents: ['b'] }, /"relevance_score":1/],
  ['/v1/images/generations', { model: 'dall-e-3', prompt: 'a' }, /"b64_json"/],
  ['/v1/audio/speech', { model: 'tts-1', input: 'a' }, /./],
  ['/mj/submit/imagine', { prompt: 'a' }, /"description":"Submit success"/],
  ['/fast/mj/submit/imagine', { prompt: 'a' }, /"code":1/],
  ['/suno/submit/music', { prompt: 'a' }, /"code":"success"/],
  ['/v1/videos', { model: 'sora-2', prompt: 'a' }, /"status":"queued"/],
  ['/kling/v1/videos/text2video', { prompt: 'a' }, /"code":"success"/],
];

test('every other relay route answers', async (t) => {
  const api = await start(t);
  for (const [path, body, expected] of RELAYS) {
    const answer = await request(api.url + path, { body, headers: bearer });
    assert.equal(answer.status, 200, path);
    assert.match(answer.text, expected, path);
  }
  const image = await request(`${api.url}/mj/image/1`);
  assert.deepEqual([image.headers['content-type'], image.body.toString('latin1', 1, 4)], ['image/png', 'PNG']);
});

test('realtime: sub-protocol, echo, refusal as an event or as 401', async (t) => {
  const api = await start(t);
  const url = `${api.url.replace('http', 'ws')}/v1/realtime?model=gpt-realtime`;
  const peer = new WebSocket(url, ['realtime', `openai-insecure-api-key.${OTHER_KEY}`, 'openai-beta.realtime-v1']);
  const heard = listen(peer);
  await until(() => heard.length === 1);
  assert.deepEqual([peer.protocol, heard[0]?.type, api.websockets], ['realtime', 'session.created', 1]);
  peer.send('{"type":"response.create"}');
  await until(() => heard.length === 3);
  assert.deepEqual(heard.slice(1).map((event) => event.type), ['response.create', 'response.done']);
  peer.close();
  await api.requests[0]?.finished;
  assert.deepEqual([api.requests[0]?.status, api.requests[0]?.aborted], [101, false]);
  const stranger = listen(new WebSocket(url, ['realtime', 'openai-insecure-api-key.sk-bad']));
  await until(() => stranger.length === 1);
  assert.deepEqual([stranger[0]?.type, stranger[0]?.error?.type], ['error', 'new_api_error']);
  api.set({ realtimeRefusal: 'status' });
  const refused = new WebSocket(url, { headers: { authorization: 'bad' } });
  const error = await new Promise<Error>((resolve) => refused.on('error', resolve));
  assert.match(error.message, /401/);
  const other = await request(`${api.url}/v1/models`, { headers: { ...bearer, Connection: 'Upgrade', Upgrade: 'h2c' } });
  assert.equal(other.status, 200);
});

test('overrides, clear, stop and restart; quiet mode knows the benchmark\'s request', async (t) => {
  const api = await start(t);
  const off = api.on('POST /v1/chat/completions', (_req, res, body) => res.writeHead(500).end(`got ${body.length}`));
  const broken = await ask(api);
  assert.deepEqual([broken.status, Boolean(broken.headers['x-oneapi-request-id'])], [500, true]);
  off();
  assert.equal((await ask(api)).status, 200);
  api.clear();
  api.set({ record: false });
  assert.deepEqual((await ask(api, CHAT_REQUEST)).body, CHAT_ANSWER);
  assert.equal(api.requests.length, 0);
  await api.stop();
  await assert.rejects(ask(api), { code: 'ECONNREFUSED' });
  await api.restart();
  assert.equal((await ask(api)).status, 200);
});

function listen(peer: WebSocket): { type: string; error?: { type: string } }[] {
  const heard: { type: string; error?: { type: string } }[] = [];
  peer.on('message', (data: Buffer) => heard.push(JSON.parse(data.toString()) as { type: string }));
  return heard;
}

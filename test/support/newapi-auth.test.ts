import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';

import { closing, request, type Answer, type SentHeaders } from './client.ts';
import { DEMO_KEY, ROOT_KEY, startNewapi, type Newapi, type NewapiOptions } from './newapi.ts';

const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello there' }] };

interface ErrorBody {
  error: { message: string; type: string; code: string };
}

const start = async (t: TestContext, options?: NewapiOptions): Promise<Newapi> => closing(t, await startNewapi(options));
const ask = (api: Newapi, body: unknown, headers: SentHeaders): Promise<Answer> =>
  request(`${api.url}/v1/chat/completions`, { body, headers });

const bare = DEMO_KEY.slice(3);
const CARRIERS: readonly (readonly [what: string, method: string, path: string, headers: Record<string, string>, status: number])[] = [
  ['Bearer and sk-', 'GET', '/v1/models', { authorization: `Bearer ${DEMO_KEY}` }, 200],
  ['lower-case bearer', 'GET', '/v1/models', { authorization: `bearer ${DEMO_KEY}` }, 200],
  ['bare, without sk-', 'GET', '/v1/models', { authorization: bare }, 200],
  ['none', 'GET', '/v1/models', {}, 401],
  ['wrong', 'GET', '/v1/models', { authorization: 'Bearer sk-proj-abc' }, 401],
  ['x-api-key elsewhere', 'GET', '/v1/models', { 'x-api-key': DEMO_KEY }, 401],
  ['x-api-key on messages', 'POST', '/v1/messages', { 'x-api-key': DEMO_KEY }, 200],
  ['x-api-key over Authorization', 'POST', '/v1/messages', { 'x-api-key': 'bad', authorization: `Bearer ${DEMO_KEY}` }, 401],
  ['x-goog-api-key', 'GET', '/v1beta/models', { 'x-goog-api-key': DEMO_KEY }, 200],
  ['?key=', 'GET', `/v1beta/models?key=${DEMO_KEY}`, {}, 200],
  ['header over ?key=', 'GET', `/v1beta/models?key=${DEMO_KEY}`, { 'x-goog-api-key': 'bad' }, 401],
  ['?key= elsewhere', 'GET', `/suno/fetch/1?key=${DEMO_KEY}`, {}, 401],
  ['mj-api-secret', 'GET', '/mj/task/1/fetch', { 'mj-api-secret': DEMO_KEY }, 200],
  ['mj-api-secret behind midjourney-proxy', 'GET', '/mj/task/1/fetch', { authorization: 'midjourney-proxy', 'mj-api-secret': bare }, 200],
  ['Authorization over mj-api-secret', 'GET', '/mj/task/1/fetch', { authorization: 'bad', 'mj-api-secret': bare }, 401],
  ['sub-protocol', 'GET', '/v1/models', { 'sec-websocket-protocol': `realtime, openai-insecure-api-key.${DEMO_KEY}` }, 200],
  ['sub-protocol without key', 'GET', '/v1/models', { 'sec-websocket-protocol': 'realtime', authorization: bare }, 401],
  ['channel, ordinary user', 'GET', '/v1/models', { authorization: `Bearer ${DEMO_KEY}-7` }, 403],
  ['channel, administrator', 'GET', '/v1/models', { authorization: `Bearer ${ROOT_KEY}-7` }, 200],
  ['public image', 'GET', '/mj/image/1', {}, 200],
  ['public image below a mode', 'GET', '/fast/mj/image/1', {}, 200],
];

test('credentials: where each carrier counts, and which wins', async (t) => {
  const api = await start(t);
  for (const [what, method, path, headers, status] of CARRIERS) {
    const answer = await request(api.url, { method, target: path, headers, ...(method === 'POST' && { body: chat }) });
    assert.equal(answer.status, status, what);
  }
});

test('newer versions take x-api-key and x-goog-api-key on the model list, too', async (t) => {
  const api = await start(t, { recent: true });
  for (const name of ['x-api-key', 'x-goog-api-key']) {
    assert.equal((await request(`${api.url}/v1/models`, { headers: { [name]: DEMO_KEY } })).status, 200, name);
  }
});

test('refusals: OpenAI shape from the gate, the route\'s own from the relay', async (t) => {
  const keys = {
    limited: { user: 1, modelLimit: 1 },
    narrow: { user: 2, models: ['gpt-4o'] },
    poor: { user: 3, quota: 0 },
    homely: { user: 4, allowIps: ['192.0.2.1'] },
    full: { user: 5 },
  };
  const api = await start(t, { keys });
  const refused = async (key: string, body: unknown = chat, headers = {}): Promise<unknown[]> => {
    const answer = await ask(api, body, { authorization: key, ...headers });
    const { error } = answer.json<Partial<ErrorBody>>();
    if (error) assert.ok(error.message.includes(String(answer.headers['x-oneapi-request-id'])));
    return [answer.status, error?.type, error?.code];
  };
  assert.deepEqual(await refused('nobody'), [401, 'new_api_error', '']);
  assert.equal((await refused('limited'))[0], 200);
  assert.deepEqual(await refused('limited'), [429, 'new_api_error', '']);
  assert.deepEqual(await refused('narrow'), [403, 'new_api_error', 'access_denied']);
  assert.deepEqual(await refused('poor'), [403, 'new_api_error', 'insufficient_user_quota']);
  assert.deepEqual(await refused('homely'), [403, 'new_api_error', 'access_denied']);
  assert.equal((await refused('homely', chat, { 'x-forwarded-for': '192.0.2.1, 10.0.0.1' }))[0], 200);
  assert.deepEqual(await refused('full', { ...chat, model: 'none' }), [503, 'new_api_error', 'model_not_found']);
  assert.deepEqual(await refused('full', 'no json'), [400, 'new_api_error', 'invalid_request']);
  assert.equal((await refused('full', { Model: 'gpt-4o', messages: [] }))[0], 200);
  const claude = await request(`${api.url}/v1/messages`, { body: chat, headers: { 'x-api-key': 'poor' } });
  assert.equal(claude.json<{ type: string }>().type, 'error');
  const stub = await request(`${api.url}/v1/files`, { method: 'POST', headers: { authorization: 'full' } });
  assert.deepEqual([stub.status, stub.json<ErrorBody>().error.code], [501, 'api_not_implemented']);
  const lost = await request(`${api.url}/v1/nothing?x=1`);
  assert.deepEqual([lost.status, lost.json<ErrorBody>().error.message], [404, 'Invalid URL (GET /v1/nothing)']);
});

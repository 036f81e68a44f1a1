import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, type Answer } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
}

const origin = 'https://chat.example.com';
const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] };
const preflight = { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,content-type' };
const credential = { Origin: origin, Authorization: `Bearer ${DEMO_KEY}` };

async function start(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const api = closing(t, await startNewapi());
  return { api, gate: await startGate(t, { audit: false, ...config, newapi: { baseUrl: api.url } }) };
}

/** Every CORS line and every `Vary`, as they came. */
function lines({ rawHeaders }: Answer): string[] {
  const found: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    if (name === 'vary' || name.startsWith('access-control-')) found.push(`${name}: ${rawHeaders[at + 1]}`);
  }
  return found.sort();
}

test('without a section NewAPI\'s own CORS passes: the preflight, and the lines of every answer', async (t) => {
  const { api, gate } = await start(t);
  for (const path of ['/v1/chat/completions', '/v1/models', '/mj/submit/imagine', '/']) {
    const asked = { method: 'OPTIONS', headers: preflight };
    const [direct, through] = await Promise.all([request(api.url + path, asked), request(gate.url + path, asked)]);
    assert.equal(through.status, 204, path);
    assert.deepEqual(lines(through), lines(direct), path);
    assert.ok(lines(through).includes('access-control-allow-headers: *'), path);
  }
  const asked = { headers: credential, body: chat };
  const [direct, through] = await Promise.all([request(`${api.url}/v1/chat/completions`, asked), request(`${gate.url}/v1/chat/completions`, asked)]);
  assert.deepEqual(lines(through), lines(direct));
  assert.equal(lines(through).length, 2);
});

const listed = { allowOrigins: [origin, 'https://other.example.com'], allowHeaders: ['Authorization', 'Content-Type'], exposeHeaders: ['X-Request-Id'], credentials: true, maxAge: '10m' };

test('with a section preflights end at the gate', async (t) => {
  const { api, gate } = await start(t, { cors: listed });
  const answer = await request(`${gate.url}/v1/chat/completions`, { method: 'OPTIONS', headers: preflight });
  assert.deepEqual([answer.status, answer.body.length], [204, 0]);
  assert.deepEqual(lines(answer), [
    'access-control-allow-credentials: true', 'access-control-allow-headers: Authorization,Content-Type',
    'access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE', `access-control-allow-origin: ${origin}`,
    'access-control-expose-headers: X-Request-Id', 'access-control-max-age: 600', 'vary: Origin',
  ]);
  assert.equal(api.requests.length, 0);
});

test('with a section NewAPI\'s lines give way to the gate\'s, once each', async (t) => {
  const { gate } = await start(t, { cors: listed });
  const ours = ['access-control-allow-credentials: true', `access-control-allow-origin: ${origin}`, 'access-control-expose-headers: X-Request-Id', 'vary: Origin'];
  assert.deepEqual(lines(await request(`${gate.url}/v1/chat/completions`, { headers: credential, body: chat })), ours, 'a model route');
  assert.deepEqual(lines(await request(`${gate.url}/mj/task/1/fetch`, { headers: credential })), ours, 'a proxied route');
  assert.deepEqual(lines(await request(`${gate.url}/v1/chat/completions`, { headers: { Origin: origin }, body: chat })), ours, 'a refusal of ours');
});

test('an origin that is not listed gets no permission, and caches are told so', async (t) => {
  const { gate } = await start(t, { cors: { ...listed, exposeHeaders: [] } });
  const stranger = { ...credential, Origin: 'https://evil.example.com' };
  const answer = await request(`${gate.url}/v1/models`, { headers: stranger });
  assert.equal(answer.status, 200);
  assert.deepEqual(lines(answer), ['access-control-allow-credentials: true', 'vary: Origin']);
  const asked = await request(`${gate.url}/v1/models`, { method: 'OPTIONS', headers: { ...preflight, Origin: 'https://evil.example.com' } });
  assert.equal(asked.headers['access-control-allow-origin'], undefined);
});

test('any origin needs no Vary, and the headers a preflight asks for are granted', async (t) => {
  const { gate } = await start(t, { cors: { allowOrigins: ['*'] } });
  const answer = await request(`${gate.url}/v1/models`, { method: 'OPTIONS', headers: preflight });
  assert.deepEqual(lines(answer), [
    'access-control-allow-headers: authorization,content-type', 'access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE',
    'access-control-allow-origin: *', 'vary: Access-Control-Request-Headers',
  ]);
  assert.deepEqual(lines(await request(`${gate.url}/v1/models`, { headers: credential })), ['access-control-allow-origin: *']);
});

test('the upstream\'s Vary and ours become one that says each name once', async (t) => {
  const { api, gate } = await start(t, { cors: listed });
  const varies = ['Accept-Encoding, Origin', 'origin', 'Accept-Encoding', '*'];
  const expected = ['Accept-Encoding, Origin', 'origin', 'Accept-Encoding, Origin', '*'];
  for (const path of ['/mj/task/1/fetch', '/v1/models']) {
    const got: string[][] = [];
    for (const vary of varies) {
      const restore = api.on(`GET ${path}`, (_req, res) => void res.writeHead(200, { 'Content-Type': 'application/json', Vary: vary }).end('{}'));
      const answer = await request(gate.url + path, { headers: credential });
      got.push(lines(answer).filter((line) => line.startsWith('vary')));
      restore();
    }
    assert.deepEqual(got, expected.map((vary) => [`vary: ${vary}`]), path);
  }
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';

import { closing, rawRequest, request, until } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { accessRecords, type Records } from '../support/records.ts';

interface Scene {
  readonly newapi: Newapi;
  readonly gate: RunningGate;
  readonly records: Records;
}

async function start(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, logging: records.logging, ...config });
  return { newapi, gate, records };
}

const key = `Authorization: Bearer ${DEMO_KEY}\r\n`;
const hello = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}';
const post = (credential: string, body = hello): string =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n${credential}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const get = (credential = key, ending = ''): string => `GET /v1/models HTTP/1.1\r\nHost: x\r\n${credential}${ending}\r\n`;

const statuses = (bytes: Buffer): number[] => [...bytes.toString().matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

/** Nothing is left in hand, and the gate still serves. */
async function serves({ gate, records }: Scene, expected: readonly number[]): Promise<void> {
  assert.equal((await request(`${gate.url}/v1/models`, { headers: { Authorization: `Bearer ${DEMO_KEY}` } })).status, 200);
  await gate.gate.close();
  assert.deepEqual(records.all().map(({ status }) => status).toSorted(), [...expected, 200].toSorted());
  assert.equal(new Set(records.all().map(({ id }) => id)).size, expected.length + 1);
}

const spellings: readonly (readonly [method: string, target: string, shape: 'openai' | 'claude' | 'gemini'])[] = [
  ['POST', '/v1%2Fchat%2Fcompletions', 'openai'],
  ['POST', '/v1/%63hat/completions', 'openai'],
  ['POST', '/%76%31/chat/completions', 'openai'],
  ['POST', '/v1/./chat/./completions', 'openai'],
  ['POST', '/v1/chat/../chat/completions', 'openai'],
  ['POST', '/api/../v1/chat/completions', 'openai'],
  ['POST', '/api/%2e%2e/v1/chat/completions', 'openai'],
  ['POST', '/api/status/..%2f..%2fv1/chat/completions', 'openai'],
  ['POST', '/../../v1/chat/completions', 'openai'],
  ['POST', '//v1//chat///completions', 'openai'],
  ['POST', '/v1/chat/completions?x=/api/status', 'openai'],
  ['POST', '/v1/messages?', 'claude'],
  ['POST', '/V1/../v1/messages', 'claude'],
  ['GET', '/v1/models?key', 'openai'],
  ['GET', '/v1/models/%2e', 'openai'],
  ['GET', '/v1/models/', 'openai'],
  ['GET', '/v1beta%2fmodels', 'gemini'],
  ['GET', '/health/../v1beta/models', 'gemini'],
];

test('no spelling of a model route passes for something that needs no key', async (t) => {
  const scene = await start(t);
  for (const [method, target, shape] of spellings) {
    const answer = await request(scene.gate.url, { method, target, ...(method === 'POST' && { body: {} }) });
    assert.equal(answer.status, 401, target);
    const body = answer.json<{ type?: string; error: { code?: unknown; status?: string } }>();
    if (shape === 'openai') assert.equal(body.error.code, 'missing_credential', target);
    else assert.equal(shape === 'claude' ? body.type : body.error.status, shape === 'claude' ? 'error' : 'UNAUTHENTICATED', target);
  }
  assert.equal(scene.newapi.connections, 0);
  await serves(scene, spellings.map(() => 401));
});

test('requests in a row on one connection are answered in a row', async (t) => {
  const scene = await start(t);
  scene.newapi.set({ delay: 20 });
  const bytes = await rawRequest(scene.gate.port, post(key) + get() + get('') + get(key, 'Connection: close\r\n'));
  assert.deepEqual(statuses(bytes), [200, 200, 401, 200]);
  scene.newapi.set({ delay: 0 });
  await serves(scene, [200, 200, 401, 200]);
});

test('behind a refusal with its body unread nothing else on the connection is answered', async (t) => {
  const scene = await start(t);
  const bytes = await rawRequest(scene.gate.port, post('') + post(key));
  assert.deepEqual(statuses(bytes), [401]);
  assert.match(bytes.toString(), /\r\nConnection: close\r\n/);
  await scene.gate.gate.close();
  // What stood behind it was read, too, but its client is told that the connection is over.
  assert.deepEqual(scene.records.all().map(({ status }) => status), [401, 499]);
});

test('a refusal without a body keeps the connection', async (t) => {
  const scene = await start(t);
  const bytes = await rawRequest(scene.gate.port, get('') + get(key, 'Connection: close\r\n'));
  assert.deepEqual(statuses(bytes), [401, 200]);
  await serves(scene, [401, 200]);
});

for (const [name, credential, config, status] of [
  ['without a key', {}, {}, 401],
  ['beyond the limit', { Authorization: `Bearer ${DEMO_KEY}` }, { server: { maxBodyBytes: '1MB' } }, 413],
] as const) {
  for (const framing of ['with its length', 'chunked'] as const) {
    test(`a client that sends a large body ${name}, ${framing}, reads its ${status} instead of a broken connection`, async (t) => {
      const scene = await start(t, config);
      const body = JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'x'.repeat(6_000_000) }] });
      const headers = { 'Content-Type': 'application/json', ...(framing === 'chunked' && { 'Transfer-Encoding': 'chunked' }), ...credential };
      const expected: number[] = [];
      for (let n = 0; n < 5; n++) {
        const answer = await request(`${scene.gate.url}/v1/chat/completions`, { body, headers });
        assert.equal(answer.status, status);
        expected.push(status);
      }
      await serves(scene, expected);
    });
  }
}

/** A client that goes on sending chunks until it is stopped; resolves with what it was answered when its connection is over. */
function endless(port: number, head: string): Promise<string> {
  return new Promise((resolve) => {
    const chunk = `${(16_384).toString(16)}\r\n${'x'.repeat(16_384)}\r\n`;
    let answer = '';
    const send = (): void => {
      while (socket.writable && socket.write(chunk));
    };
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(head);
      send();
    });
    socket.on('drain', () => setImmediate(send));
    socket.on('data', (data) => (answer += String(data)));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

for (const [name, credential, status] of [['without a key', '', 401], ['beyond the limit', key, 413]] as const) {
  test(`a body without end ${name} is answered ${status} and its connection ended`, { timeout: 5000 }, async (t) => {
    const scene = await start(t, { server: { bufferBodyBytes: '32KB', maxBodyBytes: '64KB' } });
    const answer = await endless(scene.gate.port, `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n${credential}Transfer-Encoding: chunked\r\n\r\n`);
    assert.deepEqual(statuses(Buffer.from(answer)), [status]);
    await serves(scene, [status]);
  });
}

test('a body that only turns out too large never reaches NewAPI, not even on a connection that is ready', async (t) => {
  const scene = await start(t, { server: { maxBodyBytes: '2KB' } });
  const headers = { Authorization: `Bearer ${DEMO_KEY}`, 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' };
  assert.equal((await request(`${scene.gate.url}/v1/chat/completions`, { body: hello, headers })).status, 200);
  assert.equal((await request(`${scene.gate.url}/v1/chat/completions`, { body: hello.padEnd(9000), headers })).status, 413);
  assert.equal(scene.newapi.requests.length, 1);
  await serves(scene, [200, 413]);
});

test('a large body to a NewAPI that is down is answered 502, and the connection is not left hanging', async (t) => {
  const scene = await start(t, { server: { bufferBodyBytes: '32KB' } });
  await scene.newapi.stop();
  const answer = await endless(scene.gate.port, `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n${key}Transfer-Encoding: chunked\r\n\r\n`);
  assert.deepEqual(statuses(Buffer.from(answer)), [502]);
  await scene.newapi.restart();
  await serves(scene, [502]);
});

for (const [name, bytes] of [
  ['a body of which half came', post(key).slice(0, -10)],
  ['a chunked body of which half came', `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n${key}Transfer-Encoding: chunked\r\n\r\nff\r\n{"model"`],
  ['an upload of which half came', `POST /v1/files HTTP/1.1\r\nHost: x\r\n${key}Content-Length: 100\r\n\r\nhalf`],
] as const) {
  for (const leave of ['end', 'resetAndDestroy'] as const) {
    test(`${name} before the client ${leave === 'end' ? 'closed' : 'reset'} is one record and no request in hand`, async (t) => {
      const scene = await start(t);
      const arrived = once(scene.gate.server, 'request');
      const socket = connect(scene.gate.port, '127.0.0.1', () => socket.write(bytes));
      await arrived;
      const over = once(socket, 'close');
      socket[leave]();
      await over;
      await until(() => scene.newapi.requests.every(({ done }) => done));
      await serves(scene, [499]);
    });
  }
}

for (const [name, bytes] of [['half a head', 'GET /v1/models HTT'], ['a head without its end', 'GET /v1/models HTTP/1.1\r\nHost: x\r\n']] as const) {
  test(`a client that leaves behind ${name} breaks nothing`, async (t) => {
    const { gate } = await start(t);
    const socket = connect(gate.port, '127.0.0.1', () => socket.end(bytes));
    socket.resume();
    await once(socket, 'close');
    assert.equal((await request(`${gate.url}/health`)).status, 200);
  });
}

for (const path of ['/v1/videos', '/v1/chat/completions'] as const) {
  test(`chunks to ${path} that turn into something else are answered 400, and upstream is let go`, async (t) => {
    const scene = await start(t, { server: { bufferBodyBytes: '1KB' } });
    const begun = `POST ${path} HTTP/1.1\r\nHost: x\r\n${key}Transfer-Encoding: chunked\r\n\r\n800\r\n${'x'.repeat(2048)}\r\n`;
    const socket = connect(scene.gate.port, '127.0.0.1', () => socket.write(begun));
    let answer = '';
    socket.on('data', (data) => (answer += String(data)));
    await until(() => scene.newapi.requests.length === 1);
    socket.write('not a chunk\r\n');
    await once(socket, 'close');
    assert.deepEqual(statuses(Buffer.from(answer)), [400]);
    assert.match(answer, /"code":"malformed_request"/);
    await until(() => scene.newapi.requests[0]?.done);
    assert.equal(scene.newapi.requests[0]?.aborted, true);
    await serves(scene, [400]);
  });
}

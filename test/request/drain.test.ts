import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer as createHost, request as open, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import express from 'express';
import { heimdall, type Gate } from '../../lib/index.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { closing, openStream, request, until } from '../support/client.ts';
import { recorder, startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { startUpstream } from '../support/upstream.ts';

const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const chat = { model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'one two three four five six seven eight' }] };

interface Scene {
  readonly api: Newapi;
  readonly gate: RunningGate;
  readonly records: Records;
}

async function start(t: TestContext, pace = 0): Promise<Scene> {
  const api = closing(t, await startNewapi({ pace }));
  const records = accessRecords(t);
  return { api, records, gate: await startGate(t, { newapi: { baseUrl: api.url }, logging: records.logging }) };
}

/** A gate in somebody else's server, which stays up when the gate closes. */
async function host(t: TestContext, baseUrl: string): Promise<{ readonly url: string; readonly gate: Gate; readonly server: Server }> {
  const gate = heimdall({ newapi: { baseUrl }, logging: { file: false, level: 'silent' }, audit: { path: `${temporary(t)}/a.db` } }, { log: recorder() });
  const server = createHost(express().use(gate));
  gate.attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    await gate.close({ timeout: 0 });
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, gate, server };
}

test('readiness fails before anything else ends, and the process is still called alive', async (t) => {
  const held: ServerResponse[] = [];
  const upstream = await startUpstream(t, (req, res) => void (req.url === '/api/slow' ? held.push(res) : res.end()));
  const { url, gate } = await host(t, upstream.url);
  assert.equal((await request(`${url}/health/ready`)).status, 200);
  const slow = request(`${url}/api/slow`);
  const answer = await until(() => held[0]);
  const closed = gate.close({ timeout: 10_000 });
  assert.equal((await request(`${url}/health/ready`)).status, 503);
  assert.equal((await request(`${url}/health`)).status, 200);
  answer.end('done');
  assert.equal((await slow).text, 'done');
  await closed;
});

test('a stream in hand finishes; its connection and idle ones close; nobody new gets in', async (t) => {
  const { gate } = await start(t, 15);
  const idle = connect(gate.port, '127.0.0.1');
  idle.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(idle, 'data');
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const asked = open(`${gate.url}/v1/chat/completions`, { agent, method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' } });
  asked.end(JSON.stringify(chat));
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  const [, text] = await Promise.all([gate.gate.close({ timeout: 10_000 }), answer.toArray().then((chunks) => chunks.join('')), once(idle.resume(), 'close')]);
  assert.match(text, /data: \[DONE\]\n\n$/);
  await assert.rejects(request(`${gate.url}/health`), { code: 'ECONNREFUSED' });
});

test('an answer that begins while draining says that its connection closes', async (t) => {
  const held: ServerResponse[] = [];
  const upstream = await startUpstream(t, (_req, res) => void held.push(res));
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const asked = open(`${gate.url}/api/slow`, { agent }).end();
  const answer = await until(() => held[0]);
  const closed = gate.gate.close({ timeout: 10_000 });
  answer.end('done');
  const [got] = (await once(asked, 'response')) as [IncomingMessage];
  assert.equal(got.headers.connection, 'close');
  assert.equal((await got.toArray()).join(''), 'done');
  await closed;
});

test('the servers listen until what is in hand is done: a probe is told, and what still comes is served', async (t) => {
  const held: ServerResponse[] = [];
  const upstream = await startUpstream(t, (req, res) => void (req.url === '/api/slow' ? held.push(res) : res.end('served')));
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
  const slow = request(`${gate.url}/api/slow`);
  const answer = await until(() => held[0]);
  const closed = gate.gate.close({ timeout: 20_000 });
  for (let nth = 0; nth < 3; nth++) {
    const probe = await request(`${gate.url}/health/ready`);
    const late = await request(`${gate.url}/api/late`);
    assert.deepEqual([probe.status, late.status, late.text, late.headers.connection], [503, 200, 'served', 'close']);
  }
  answer.end('done');
  assert.equal((await slow).text, 'done');
  await closed;
  await assert.rejects(request(`${gate.url}/health/ready`), { code: 'ECONNREFUSED' });
});

test('a process that ends waits for what is on its way, on kept connections too', async (t) => {
  const { gate } = await start(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ask = async (): Promise<(number | string | undefined)[]> => {
    const asked = open(`${gate.url}/api/status`, { agent }).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    await once(answer.resume(), 'close');
    return [answer.statusCode, answer.headers.connection];
  };
  assert.deepEqual(await ask(), [200, 'keep-alive']);
  const ended = internalsOf(gate.gate).end(200);
  assert.deepEqual([await ask(), await ask()], [[200, 'close'], [200, 'close']]);
  await ended;
  await assert.rejects(ask(), { code: 'ECONNREFUSED' });
});

test('a process that ends waits until probes of a steady pace are told', async (t) => {
  const { gate } = await start(t);
  const { core, end } = internalsOf(gate.gate);
  const now = core.clock.monotonic();
  for (const at of [-1200, -800, -400, 0]) core.probes.note('127.0.0.1 kube-probe', now + at, false);
  const ended = end(1);
  await until(() => core.draining);
  await new Promise<void>((resolve) => core.clock.setTimeout(resolve, 300));
  assert.equal((await request(`${gate.url}/health/ready`, { headers: { 'User-Agent': 'kube-probe' } })).status, 503);
  await ended;
});

test('closing twice is closing once', async (t) => {
  const { gate } = await start(t);
  const first = gate.gate.close();
  assert.equal(gate.gate.close({ timeout: 1 }), first);
  await first;
  assert.equal(gate.gate.close(), first);
});

test('a gate that nobody asked anything closes at once', async () => {
  const gate = heimdall({ logging: { file: false, level: 'silent' } }, { log: recorder() });
  // Longer than a test may take.
  await gate.close({ timeout: 600_000 });
});

test('the deadline cuts what is left: who waits is told, who reads sees it, all are recorded', async (t) => {
  const { gate, records, api } = await start(t, 60_000);
  api.on('GET /api/begun', (_req, res) => void res.write('begun'));
  api.on('GET /api/waiting', () => undefined);
  const stream = openStream(`${gate.url}/v1/chat/completions`, { headers, body: chat });
  const download = await openStream(`${gate.url}/api/begun`);
  const waiting = request(`${gate.url}/api/waiting`);
  await until(() => api.requests.length === 3);
  await gate.gate.close({ timeout: 1 });
  const refused = await waiting;
  assert.deepEqual([refused.status, refused.headers.connection], [503, 'close']);
  assert.match(refused.text, /shutting down/);
  await download.done;
  assert.deepEqual([download.text, download.complete], ['begun', false]);
  const told = await stream;
  await told.done;
  assert.equal(told.status, 503);
  await until(() => api.requests.every(({ done }) => done));
  assert.equal(gate.log.named('drain.cut')[0]?.['requests'], 3);
  const lines = await records.atLeast(3);
  assert.deepEqual(lines.map(({ path, status, outcome }) => [path, status, outcome]).sort(), [
    ['/api/begun', 200, 'interrupted'], ['/api/waiting', 503, 'refused:shutting_down'], ['/v1/chat/completions', 503, 'refused:shutting_down'],
  ]);
});

test('a stream cut by the deadline ends with an error event and without a false end', async (t) => {
  const { gate, api } = await start(t);
  api.on('POST /v1/chat/completions', (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write('data: {"choices":[{"delta":{"content":"so far"}}]}\n\n');
  });
  const stream = await openStream(`${gate.url}/v1/chat/completions`, { headers, body: chat });
  await until(() => stream.events.length === 1);
  await gate.gate.close({ timeout: 1 });
  await stream.done;
  assert.match(stream.events.at(-1)?.data ?? '', /"code":"shutting_down"/);
  assert.doesNotMatch(stream.text, /\[DONE\]/);
});

test('in a server that stays up, a closed gate refuses instead of pretending', async (t) => {
  const api = closing(t, await startNewapi());
  const { url, gate } = await host(t, api.url);
  assert.equal((await request(`${url}/api/status`)).status, 200);
  await gate.close();
  for (const path of ['/api/status', '/v1/models', '/']) {
    const answer = await request(url + path, { headers });
    assert.deepEqual([answer.status, answer.headers.connection], [503, 'close'], path);
    assert.match(answer.text, /shutting down/);
  }
  assert.equal((await request(`${url}/health/ready`)).status, 503);
  assert.equal(api.requests.length, 1);
});

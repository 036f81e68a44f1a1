import '../support/node.ts';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { heimdall, type ConfigInput } from '../../lib/index.ts';
import { until } from '../support/client.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';

const adminToken = 'a'.repeat(40);
const metricsToken = 'm'.repeat(40);
const requests = 40;
const limit = 25;
const held = 6;

const yaml = `
server: { workers: 2 }
llm: { health_check: { enabled: false }, price_source: none }
admin: { token: ${adminToken}, listen: false }
metrics: { token: ${metricsToken} }
routes: [{ path: /stats, handler: metrics }]
rate_limit:
  policies:
    - { match: { model: counted }, requests: { limit: ${limit}, window: 600s } }
    - { match: { model: held }, concurrency: ${held} }
queue: { concurrency: ${held + 2}, initial_size: 100 }
`;

/** A chat request on a connection of its own. @returns the status; 0 where the connection broke. */
function chat(url: string, model: string): Promise<number> {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }] });
  return new Promise((resolve) => {
    const req = request(`${url}/v1/chat/completions`, { method: 'POST', agent: false, headers: { authorization: 'Bearer sk-workers', 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, (res) => {
      res.resume().on('end', () => resolve(res.statusCode ?? 0)).on('error', () => resolve(0));
    });
    req.on('error', () => resolve(0));
    req.end(body);
  });
}

const get = async (url: string, token: string): Promise<string> => await (await fetch(url, { headers: { authorization: `Bearer ${token}`, connection: 'close' } })).text();

describe('a gate with two workers', () => {
  let upstream: Server;
  let gate: Standalone;
  const waiting = new Set<ServerResponse>();
  const answer = (res: ServerResponse): void => void res.writeHead(200, { 'content-type': 'application/json' }).end('{"object":"chat.completion","choices":[]}');
  const fault = join(import.meta.dirname, '../support/worker-fault.ts');

  before(async () => {
    upstream = createServer((req, res) => {
      let text = '';
      req.on('data', (chunk: Buffer) => void (text += String(chunk))).on('end', () => {
        if (!text.includes('"held"')) return answer(res);
        waiting.add(res);
        res.on('close', () => waiting.delete(res));
      });
    });
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
    gate = await startStandalone(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, yaml, { execArgv: ['--import', fault], env: (dir) => ({ WORKER_FAULT: join(dir, 'fault') }) });
  });

  after(async () => {
    for (const res of waiting) res.destroy();
    await gate.stop();
    upstream.close();
  });

  it('counts limits over both, to the request', async () => {
    const found = await Promise.all(Array.from({ length: requests }, () => chat(gate.url, 'counted')));
    assert.equal(found.filter((status) => status === 200).length, limit);
    assert.equal(found.filter((status) => status === 429).length, requests - limit);
  });

  it('adds up the metrics of both, whichever is asked', async () => {
    const pages = await Promise.all(['/metrics', ...Array.from({ length: 6 }, () => '/stats')].map((path) => get(`${gate.url}${path}`, metricsToken)));
    for (const page of pages) {
      const counts = [...page.matchAll(/^heimdall_request_duration_seconds_count\{route="\/v1\/chat\/completions".*\} (\d+)$/gm)].map(([, count]) => Number(count));
      assert.equal(counts.reduce((sum, count) => sum + count, 0), requests);
      assert.equal(page.match(/^heimdall_process_start_time_seconds /gm)?.length, 1);
    }
  });

  it('answers the admin API from either with what all have', async () => {
    await until(async () => (JSON.parse(await get(`${gate.url}/heimdall/api/health`, adminToken)) as { journal: { last: number } }).journal.last >= requests, 'all records');
    for (let at = 0; at < 4; at++) assert.match(await get(`${gate.url}/heimdall/api/logs?model=counted&limit=1`, adminToken), /"model":"counted"/);
  });

  it('closes a connection whose body the main thread does not read', async () => {
    const { hostname, port } = new URL(gate.url);
    const socket = connect(Number(port), hostname).on('error', () => undefined);
    let answer = '';
    socket.on('data', (chunk: Buffer) => void (answer += chunk.toString('latin1')));
    socket.write('POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n');
    await until(() => socket.readableEnded || socket.destroyed, 'its end');
    socket.destroy();
    assert.match(answer, /^HTTP\/1\.1 401 [^]*\r\nConnection: close\r\n/i);
  });

  it('shows a reader of the live view the requests of both', async () => {
    let shown = '';
    const req = request(`${gate.url}/heimdall/api/events`, { agent: false, headers: { authorization: `Bearer ${adminToken}` } }, (res) => {
      res.on('data', (chunk: Buffer) => void (shown += String(chunk))).on('error', () => undefined);
    });
    req.on('error', () => undefined).end();
    await until(() => shown.includes('connected'), 'the stream');
    const seen = (): number => shown.split('"model":"seen"').length - 1;
    // The workers hear of the reader a moment after it has come.
    await until(async () => {
      await chat(gate.url, 'seen');
      return seen() > 0;
    }, 'a request');
    const before = seen();
    for (let at = 0; at < 8; at++) await chat(gate.url, 'seen');
    await until(() => seen() >= before + 8, 'all of them');
    req.destroy();
  });

  it('holds the queue over both, and lets the next go on when a slot is free', async () => {
    const slow = Array.from({ length: held }, () => chat(gate.url, 'held'));
    await until(() => waiting.size === held, 'all in hand');
    assert.equal(await chat(gate.url, 'held'), 429);
    await until(async () => (JSON.parse(await get(`${gate.url}/heimdall/api/health`, adminToken)) as { requests_in_hand: number }).requests_in_hand === held + 1, 'those in hand to be told');
    const others = Array.from({ length: 30 }, () => chat(gate.url, 'other'));
    assert.deepEqual([...new Set(await Promise.all(others))], [200]);
    for (const res of waiting) answer(res);
    assert.deepEqual(await Promise.all(slow), Array.from({ length: held }, () => 200));
  });

  it('replaces one that throws, and gives back what it held', async () => {
    const slow = Array.from({ length: held }, () => chat(gate.url, 'held'));
    await until(() => waiting.size === held, 'all in hand');
    writeFileSync(join(gate.path, '../fault'), 'throw');
    await until(() => gate.output().includes('worker.started'), 'another worker');
    for (const res of waiting) answer(res);
    const ended = await Promise.all(slow);
    assert.ok(ended.every((status) => status === 200 || status === 0), ended.join());
    const again = Array.from({ length: held }, () => chat(gate.url, 'held'));
    await until(() => waiting.size === held, 'as many in hand as before');
    for (const res of waiting) answer(res);
    assert.deepEqual(await Promise.all(again), Array.from({ length: held }, () => 200));
    const queue = (JSON.parse(await get(`${gate.url}/heimdall/api/health`, adminToken)) as { queue: { active: number; waiting: number } }).queue;
    assert.deepEqual([queue.active, queue.waiting], [0, 0]);
  });

  it('has a spare one ready, also after it has taken a place', { skip: process.platform !== 'linux' }, async () => {
    const tasks = `/proc/${gate.pid}/task`;
    // The system keeps 15 characters of a name.
    const isWorker = (task: string): boolean => existsSync(`${tasks}/${task}/comm`) && readFileSync(`${tasks}/${task}/comm`, 'utf8') === 'heimdall-worker\n';
    await until(() => readdirSync(tasks).filter(isWorker).length === 3, 'two and a spare one');
  });

  it('reloads also one that begins meanwhile', async () => {
    const file = join(gate.path, '../fault');
    const started = (): number => gate.output().split('"worker.started"').length;
    const before = started();
    writeFileSync(file, 'nap');
    await until(() => !existsSync(file), 'one that sleeps');
    writeFileSync(gate.path, yaml.replace('policies:', 'policies:\n    - { match: { model: late }, requests: { limit: 1, window: 600s } }'));
    process.kill(gate.pid, 'SIGHUP');
    writeFileSync(file, 'throw');
    await until(() => started() > before, 'another worker');
    await until(() => gate.output().includes('"config.reloaded"'), 'the reload');
    // A worker takes it over a moment after the main thread; one that never does lets every second request pass.
    let refused = 0;
    await until(async () => (refused = (await chat(gate.url, 'late')) === 429 ? refused + 1 : 0) === 12, 'twelve refused in a row');
  });
});

describe('server.workers', () => {
  const refused: Readonly<Record<string, ConfigInput>> = {
    'with a Unix socket': { server: { workers: 2, host: '/tmp/heimdall.sock' } },
    'with audit: false': { server: { workers: 2 }, audit: false },
    'with raw tokens of a sink': { server: { workers: 2 }, audit: { newapi: { enabled: true, token: 'raw' } } },
    'with policies by names of NewAPI': { server: { workers: 'auto' }, newapi: { accessToken: 'x'.repeat(32), userId: 1 }, rateLimit: { policies: [{ match: { newapiUser: 'alice' }, requests: { limit: 1 } }] } },
    'of another form': { server: { workers: 0 } },
  };
  for (const [what, input] of Object.entries(refused)) {
    it(`is refused by name ${what}`, () => {
      assert.throws(() => heimdall(input), ({ message }: Error) => /server\.workers: expected /.test(message));
    });
  }

  it('hold breakers together, and probe a target once for all', async (t) => {
    let [asked, probed] = [0, 0];
    const upstream = createServer((req, res) => {
      if (req.method === 'GET') return void res.end(`{"probe":${++probed}}`);
      asked++;
      res.destroy();
    });
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
    const most = 6;
    const gate = await startStandalone(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, `server: { workers: 2 }\ncircuit_breaker: { failure_threshold: ${most}, timeout: 10m }\nllm: { retry: { max_retries: 0 }, price_source: none }\n`);
    t.after(async () => {
      await gate.stop();
      upstream.close();
    });
    for (let left = 40; left > 0; left--) await chat(gate.url, 'dead');
    // A failure may be on its way to the other thread while that one asks.
    assert.ok(asked >= most && asked <= most + 2, `${asked} requests reached it`);
    assert.equal(probed, 1);
    await until(() => gate.output().includes('"target.open"'), 'the event');
    await until(async () => (await fetch(`${gate.url}/health/ready`)).status === 503, 'the main thread to have heard');
    assert.equal(gate.output().split('"event.action":"target.open"').length - 1, 1, gate.output());
  });

  it('count the connections of an address together', async (t) => {
    const most = 6;
    const gate = await startStandalone('http://127.0.0.1:1', `server: { workers: 2 }\ntrust_proxy: []\nguard: { connections_per_address: ${most} }\ncircuit_breaker: { failure_threshold: 1000 }\nllm: { health_check: { enabled: false }, price_source: none }\n`);
    const { hostname, port } = new URL(gate.url);
    const open = new Set<Socket>();
    let said = '';
    t.after(async () => {
      for (const socket of open) socket.destroy();
      await gate.stop();
    });
    const all = 12;
    for (let nth = 0; nth < all; nth++) {
      const socket = connect(Number(port), hostname).on('error', () => undefined).on('data', (chunk: Buffer) => void (said += chunk.toString()));
      socket.write('GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-workers\r\n\r\n');
      open.add(socket);
    }
    const count = (status: string): number => said.split(`HTTP/1.1 ${status}`).length - 1;
    await until(() => said.split('HTTP/1.1 ').length - 1 === all, 'all answers');
    assert.equal(count('502'), most, said.slice(0, 300));
  });

  it('hold max_connections together', async (t) => {
    const most = 4;
    const gate = await startStandalone('http://127.0.0.1:1', `server: { workers: 2, max_connections: ${most} }\nllm: { health_check: { enabled: false }, price_source: none }\n`);
    const { hostname, port } = new URL(gate.url);
    const open = new Set<Socket>();
    let ended = 0;
    t.after(async () => {
      for (const socket of open) socket.destroy();
      await gate.stop();
    });
    // Those beyond are closed unread, whichever of the two gets them.
    const all = 40;
    for (let nth = 0; nth < all; nth++) open.add(connect(Number(port), hostname).on('error', () => undefined).once('close', () => void ended++).resume());
    await until(() => ended === all - most, 'the others to be closed');
    let said = '';
    for (const socket of open) if (!socket.destroyed) socket.on('data', (chunk: Buffer) => void (said += String(chunk))).write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => said.split('HTTP/1.1 ').length - 1 === most, 'an answer on each of the rest');
    assert.equal(ended, all - most);
  });
});

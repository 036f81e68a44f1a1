import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';
import { until } from '../support/client.ts';
import { generator } from '../support/random.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';
import type { Finding } from './proof.ts';

const clients = 200;
const requestLimit = 1000;
const tokenLimit = 60_000;
const metricsToken = 'prove-limits-metrics-token';
const token = `sk-${'T0kenOfACaller16'.repeat(3)}`;
const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
/** Latency that a Redis that goes may add, milliseconds. */
const patience = 600;

interface Upstream {
  readonly url: string;
  readonly server: Server;
  /** Answers given, and the tokens that were in them. */
  readonly given: { answers: number; tokens: number };
}

/** Answers after a moment, and keeps its own account of what it used; streams tell only when asked. */
async function startUpstream(): Promise<Upstream> {
  const given = { answers: 0, tokens: 0 };
  const random = generator(7);
  const server = createServer((req, res) => void answer(req, res, given, random));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, given };
}

async function answer(req: IncomingMessage, res: ServerResponse, given: Upstream['given'], random: (bound: number) => number): Promise<void> {
  let text = '';
  for await (const chunk of req) text += String(chunk);
  if (req.method !== 'POST') return void res.end('{}');
  const { stream, max_tokens: most = 16, stream_options: options } = JSON.parse(text) as { stream?: boolean; max_tokens?: number; stream_options?: { include_usage?: boolean } };
  await pause(random(20));
  const usage = { prompt_tokens: 10 + random(20), completion_tokens: 1 + random(most), total_tokens: 0 };
  usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
  given.answers++;
  given.tokens += usage.total_tokens;
  if (!stream) return void res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end(JSON.stringify({ choices: [], usage }));
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Oneapi-Request-Id': 'r' });
  res.write('data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n');
  await pause(random(10));
  if (options?.include_usage) res.write(`data: ${JSON.stringify({ choices: [], usage })}\n\n`);
  res.end('data: [DONE]\n\n');
}

const yaml = (redis: string, limits: string): string => `
secret: an-install-secret-for-this-proof
metrics: { token: ${metricsToken} }
logging: { file: false, level: warn }
rate_limit:
  redis_url: ${redis}
  instances: 2
  ${limits}
`;

/** For an end that comes too early. */
const started = new Set<Standalone>();

async function start(newapi: string, config: string): Promise<Standalone> {
  const gate = await startStandalone(newapi, config);
  started.add(gate);
  return gate;
}

/** Two gates, and every client's way to either. */
class Pair {
  readonly gates: readonly Standalone[];
  readonly #pools: readonly Pool[];

  constructor(gates: readonly Standalone[]) {
    this.gates = gates;
    this.#pools = gates.map(({ url }) => new Pool(url, { connections: clients }));
  }

  static async start(upstream: string, config: string): Promise<Pair> {
    return new Pair(await Promise.all([start(upstream, config), start(upstream, config)]));
  }

  async ask(nth: number, body: object): Promise<number> {
    const pool = this.#pools[nth % this.#pools.length] as Pool;
    const { statusCode, body: answered } = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body: JSON.stringify(body) });
    await answered.text();
    return statusCode;
  }

  async sum(name: string): Promise<number> {
    const values = await Promise.all(this.gates.map(async ({ url }) => {
      const scraped = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } });
      return Number(new RegExp(`^heimdall_${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(await scraped.text())?.[1] ?? 0);
    }));
    return values.reduce((total, value) => total + value, 0);
  }

  async stop(): Promise<void> {
    for (const pool of this.#pools) await pool.destroy();
    for (const gate of this.gates) await gate.stop();
  }
}

type Tally = Record<number, number>;

/** So many requests, as many at once as there are clients. @returns how they ended. */
async function many(count: number, once: (nth: number) => Promise<number>): Promise<Tally> {
  const tally: Tally = {};
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) {
      const status = await once(next++);
      tally[status] = (tally[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return tally;
}

const chat = (over: object = {}): object => ({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'How are you?' }], ...over });

interface Row {
  readonly what: string;
  readonly expected: string;
  readonly found: string;
  readonly holds: string;
}

const row = (what: string, expected: string, found: string | number, holds: boolean): Row => ({ what, expected, found: String(found), holds: holds ? 'yes' : 'NO' });

async function exactRequests(upstream: Upstream, redis: TestRedis): Promise<Row[]> {
  const pair = await Pair.start(upstream.url, yaml(redis.url, `key: { requests: { limit: ${requestLimit}, window: 10m } }`));
  const before = upstream.given.answers;
  const tally = await many(4 * requestLimit, (nth) => pair.ask(nth, chat()));
  await pair.stop();
  const reached = upstream.given.answers - before;
  return [row(`${4 * requestLimit} requests of ${clients} clients over two processes, limit ${requestLimit}`, `${requestLimit} pass`, `${tally[200] ?? 0} pass, ${tally[429] ?? 0} are refused`, tally[200] === requestLimit && tally[429] === 3 * requestLimit && reached === requestLimit)];
}

async function settledTokens(upstream: Upstream, redis: TestRedis): Promise<Row[]> {
  const pair = await Pair.start(upstream.url, yaml(redis.url, `key: { tokens: { limit: ${tokenLimit}, window: 10m } }`));
  const before = upstream.given.tokens;
  const random = generator(11);
  const largest = 300;
  const tally = await many(6000, (nth) => pair.ask(nth, chat({ max_tokens: 1 + random(largest), ...(nth % 3 === 0 && { stream: true }) })));
  await until(async () => (await pair.sum('rate_limit_reserved{kind="tokens"}')) === 0, 'all reservations are settled');
  const settled = await pair.sum('rate_limit_tokens_total{kind="settled"}');
  const used = upstream.given.tokens - before;
  await pair.stop();
  const most = tokenLimit + largest + 100;
  return [
    row(`tokens of ${tally[200] ?? 0} answers, a third of them streams; limit ${tokenLimit}`, `at most ${most}`, settled, settled <= most && settled > tokenLimit * 0.9),
    row('the same by the upstream\'s own account', String(used), settled, settled === used),
  ];
}

/** Load of 20 clients while Redis is killed and started again; counts what passed in each phase. */
async function outage(upstream: Upstream, redis: TestRedis, onError: 'local' | 'open' | 'closed'): Promise<Row[]> {
  await redis.command('FLUSHALL');
  const limit = 100;
  const pair = await Pair.start(upstream.url, yaml(redis.url, `key: { requests: { limit: ${limit}, window: 10m } }\n  on_store_error: ${onError}`));
  const rows: Row[] = [];
  let slowest = 0;
  const timed = async (nth: number): Promise<number> => {
    const began = performance.now();
    const status = await pair.ask(nth, chat());
    slowest = Math.max(slowest, performance.now() - began);
    return status;
  };
  // The first request of a process waits for Redis's client to be loaded.
  for (const nth of [0, 1]) await pair.ask(nth, chat());
  const before = await many(48, timed);
  const usual = Math.round(slowest);
  const killing = redis.kill();
  await many(40, timed);
  await killing;
  const during = await many(400, timed);
  const passed = during[200] ?? 0;
  const expected = { local: `some pass, at most ${limit}: each instance its half`, open: 'all 400 pass', closed: 'none passes, 503' }[onError];
  const right = { local: passed > 0 && passed <= limit, open: passed === 400, closed: during[503] === 400 }[onError];
  rows.push(row(`on_store_error ${onError}: 400 requests while Redis is away`, expected, JSON.stringify(during), right && before[200] === 48));
  rows.push(row('the slowest of them, Redis being killed under load', `at most ${patience} ms more than before (${usual} ms)`, `${Math.round(slowest)} ms`, slowest <= usual + patience));
  await redis.restart();
  await until(() => pair.gates.every((gate) => gate.output().includes('limits.store_down')));
  await pause(1000);
  const after = await many(300, (nth) => pair.ask(nth, chat()));
  rows.push(row('after it is back, empty, without a restart of the gates', `${limit} of 300 pass`, JSON.stringify(after), after[200] === limit));
  await pair.stop();
  return rows;
}

/** What an instance held that dies comes back by itself. */
async function death(upstream: Upstream, redis: TestRedis): Promise<Row[]> {
  await redis.command('FLUSHALL');
  const pair = await Pair.start(upstream.url, yaml(redis.url, 'key: { concurrency: 5 }'));
  const [dying, other] = pair.gates as readonly [Standalone, Standalone];
  let held = 0;
  const slow = createServer((req) => {
    req.resume();
    if (req.method === 'POST') held++;
  });
  slow.listen(0, '127.0.0.1');
  await once(slow, 'listening');
  const holder = await start(`http://127.0.0.1:${(slow.address() as AddressInfo).port}`, yaml(redis.url, 'key: { concurrency: 5 }'));
  // The token is known to be good nowhere yet: it holds for its address, too, and for itself.
  for (let n = 0; n < 5; n++) fetch(`${holder.url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(chat()) }).catch(() => undefined);
  await until(() => held === 5, 'all places are taken');
  if ((await pair.ask(1, chat())) !== 429) throw new Error('Expected no place for a sixth request');
  await holder.kill();
  const died = performance.now();
  await until(async () => (await pair.ask(1, chat())) === 200, 'places come back');
  const seconds = (performance.now() - died) / 1000;
  slow.close();
  slow.closeAllConnections();
  await pair.stop();
  return [row('places of an instance that was killed', 'free within 31 s', `${seconds.toFixed(1)} s`, seconds <= 31 && dying.pid !== other.pid)];
}

/** Exactness, settlement, and what happens when Redis or an instance dies: two gates in processes of their own. */
export async function limits(report: (row: Row) => void = () => undefined): Promise<Finding> {
  if (withoutRedis) throw new Error(withoutRedis);
  const upstream = await startUpstream();
  const redis = await startRedis();
  const rows: Row[] = [];
  const add = (found: readonly Row[]): void => {
    rows.push(...found);
    found.forEach(report);
  };
  try {
    add(await exactRequests(upstream, redis));
    add(await settledTokens(upstream, redis));
    for (const onError of ['local', 'open', 'closed'] as const) add(await outage(upstream, redis, onError));
    add(await death(upstream, redis));
  } finally {
    await redis.close();
    upstream.server.close();
    upstream.server.closeAllConnections();
    await Promise.all([...started].map((gate) => gate.kill()));
  }
  return { rows: rows.map((each) => ({ ...each })), bar: 'every line holds', holds: rows.every(({ holds }) => holds === 'yes') };
}

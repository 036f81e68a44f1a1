import { once } from 'node:events';
import { Agent, createServer, request as open, type ClientRequest, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from '../support/client.ts';
import { generator } from '../support/random.ts';
import { METRICS_TOKEN, runGate, type RunningGate } from './gate.ts';
import type { Finding } from './proof.ts';

const requests = Number(process.env['PROVE_ABORTS'] ?? 50_000);
const atOnce = 200;
/** What must be zero when nothing is in hand; samples of one name are summed. */
const returning = ['queue_active', 'queue_waiting', 'inflight_bytes', 'websockets_active', 'rate_limit_reserved', 'upstream_active_requests'];

/** Every counter that can leak is in use: slots, places, bytes, each kind of limit. */
const yaml = `
secret: an-install-secret-for-this-proof
logging: { level: error, file: false }
server: { buffer_body_bytes: 64KB, max_inflight_bytes: 64MB }
queue: { concurrency: 60, initial_size: 90, max_wait: 2s }
circuit_breaker: { failure_threshold: 1000 }
rate_limit:
  address: { limit: 0 }
  key: { requests: { limit: 100000000 }, tokens: { limit: 1000000000000 }, concurrency: 27, budget: { day: 1000000 } }
`;

const phases = ['in the head', 'in the body', 'sent', 'at the head', 'in the stream', 'upgrading'] as const;
type Phase = (typeof phases)[number];

interface Tally {
  left: number;
  readonly statuses: Map<number, number>;
  cut: number;
}

/** Streams or answers after a moment, fails now and then, and breaks some answers off. */
async function startUpstream(random: (bound: number) => number): Promise<Server> {
  const server = createServer((req, res) => {
    req.resume().on('error', () => undefined);
    req.on('end', () => void setTimeout(() => answer(res, random), random(12)));
  });
  server.on('upgrade', (_req, socket) => {
    socket.on('error', () => undefined).on('end', () => socket.end()).resume();
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function answer(res: ServerResponse, random: (bound: number) => number): void {
  const fate = random(20);
  if (fate === 0) return void res.destroy();
  if (fate === 1) return void res.writeHead(500, { 'X-Oneapi-Request-Id': 'r', 'Content-Type': 'application/json' }).end('{"error":{"message":"no"}}');
  if (fate < 10) return void res.writeHead(200, { 'X-Oneapi-Request-Id': 'r', 'Content-Type': 'application/json' }).end('{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}');
  res.writeHead(200, { 'X-Oneapi-Request-Id': 'r', 'Content-Type': 'text/event-stream' });
  let left = 5;
  const more = (): void => {
    if (res.destroyed) return;
    if (left-- === 0) return void (fate === 19 ? res.destroy() : res.end('data: [DONE]\n\n'));
    res.write('data: {"choices":[{"delta":{"content":"word "}}]}\n\n');
    setTimeout(more, random(4));
  };
  more();
}

const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
const bodies = [200, 2000, 20_000, 100_000].map((size) => Buffer.from(JSON.stringify({ model: 'm', stream: true, max_tokens: 10, x: 'y'.repeat(size) })));

function begin(url: URL, nth: number, body: Buffer, upgrade: boolean): ClientRequest {
  const headers = { authorization: `Bearer sk-${nth % 7}`, 'x-forwarded-for': `192.0.2.${nth % 5}` };
  if (upgrade) {
    return open({ host: url.hostname, port: url.port, path: '/v1/realtime?model=m', agent: false, headers: { ...headers, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'c2l4dGVlbiBieXRlcyAuLg==' } });
  }
  const length = nth % 2 === 0 ? { 'content-length': body.length } : { 'transfer-encoding': 'chunked' };
  return open({ host: url.hostname, port: url.port, path: '/v1/chat/completions', method: 'POST', agent, headers: { ...headers, 'content-type': 'application/json', ...length } });
}

/** One request, left in that phase, or with null read to its end. */
function ask(url: URL, nth: number, leave: Phase | null, random: (bound: number) => number, tally: Tally): Promise<void> {
  const body = bodies[nth % 40 === 0 ? 3 : random(3)] as Buffer;
  const asked = begin(url, nth, body, leave === 'upgrading');
  return new Promise((resolve) => {
    const go = (): void => {
      tally.left++;
      asked.destroy();
    };
    asked.on('close', resolve).on('error', () => undefined);
    asked.on('upgrade', (_answer, socket) => {
      tally.left++;
      setTimeout(() => socket.destroy(), random(20));
    });
    asked.on('response', (answered) => {
      tally.statuses.set(answered.statusCode ?? 0, (tally.statuses.get(answered.statusCode ?? 0) ?? 0) + 1);
      answered.on('error', () => void tally.cut++);
      if (leave === 'at the head') go();
      else if (leave === 'in the stream') answered.once('data', () => void setTimeout(go, random(8)));
      answered.resume();
    });
    if (leave === 'in the head') return void asked.once('socket', () => (asked.flushHeaders(), setImmediate(go)));
    if (leave !== 'in the body') return void asked.end(body, () => (leave === 'sent' ? setTimeout(go, random(40)) : undefined));
    asked.write(body.subarray(0, body.length >> 1), () => void setTimeout(go, random(5)));
  });
}

/** The sum of a gauge's samples. */
async function gauge({ url }: RunningGate, name: string): Promise<number> {
  const answered = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  const text = await answered.text();
  return [...text.matchAll(new RegExp(`^heimdall_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce((sum, [, value]) => sum + Number(value), 0);
}

/** Many requests of which a third leave at random moments: whatever they had taken comes back. */
export async function aborts(): Promise<Finding> {
  const random = generator(4);
  const upstream = await startUpstream(random);
  const gate = await runGate(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, yaml);
  const tally: Tally = { left: 0, statuses: new Map(), cut: 0 };
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < requests) {
      const nth = next++;
      await ask(new URL(gate.url), nth, random(3) === 0 ? (phases[random(phases.length)] as Phase) : null, random, tally);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  await until(async () => (await gate.inHand()) === 0, 'the gate lets go of every request');
  const counters = await Promise.all(returning.map(async (name) => [name, await gauge(gate, name)] as const));
  const after = await fetch(`${gate.url}/v1/models`, { headers: { authorization: 'Bearer sk-0' } });
  await after.body?.cancel();
  await gate.stop();
  agent.destroy();
  upstream.close();
  upstream.closeAllConnections();
  const statuses = [...tally.statuses].toSorted(([a], [b]) => a - b).map(([status, count]) => `${count} × ${status}`).join(', ');
  const enough = tally.left > requests * 0.3 && [200, 429, 503].every((status) => (tally.statuses.get(status) ?? 0) > 0);
  return {
    rows: [{ what: 'requests', found: requests }, { what: 'left by the client', found: tally.left }, { what: 'answers', found: statuses }, { what: 'answers cut', found: tally.cut }, ...counters.map(([what, found]) => ({ what: `${what} at the end`, found }))],
    bar: 'slots, places, bytes, sockets and reservations are all back at zero, though every bound was met on the way',
    holds: enough && counters.every(([, found]) => found === 0),
  };
}

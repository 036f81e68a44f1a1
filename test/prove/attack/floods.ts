import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { quantile } from '../../bench/numbers.ts';
import type { Ledger } from './ledger.ts';
import { ATTACKER, head, keysYaml, METRICS_TOKEN, openScene, shown, VICTIM, type Scene } from './scene.ts';
import { tell, type React } from './stand-in.ts';
import { exchange } from './wire.ts';

/** Tries only those floods whose name matches. */
const only = new RegExp(process.env['PROVE_FLOODS'] ?? '');
const STRANGER = '127.0.0.66';
const CLIENT = '127.0.0.2';
/** Milliseconds a flood lasts that has no end of its own. */
const lasts = 3000;
/** Milliseconds after which one that has an end is broken off. */
const longest = 6000;
/** Above this the gate is ended before the machine is, MB. */
const tooMuch = 3000;

interface Flood {
  readonly name: string;
  /** MB the gate may grow by. */
  readonly grows: number;
  readonly yaml?: string;
  readonly react?: React;
  /** @returns what else is wrong, or null. `over` says when to stop. */
  readonly run: (scene: Scene, over: () => boolean) => Promise<string | null>;
}

const upgrade = (target: string, lines: readonly string[] = []): string => head('GET', target, ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyAuLg==', ...lines]);
const switching = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
const chatHead = (lines: readonly string[], key = ATTACKER.key): string => head('POST', '/v1/chat/completions', [`Authorization: Bearer ${key}`, 'Content-Type: application/json', ...lines]);

/** Upgrades, big answers and endless streams for those that ask. */
const react: React = (arrival, at, socket) => {
  if (arrival.headers.has('upgrade')) return at === 'head' && !arrival.target.includes('silent') ? { bytes: switching } : null;
  if (at !== 'end') return null;
  const body = arrival.body.length < 10_000 ? arrival.body.toString() : '';
  if (arrival.target.startsWith('/api/big')) return { bytes: big };
  if (body.includes('"endless"') || arrival.target.startsWith('/api/endless')) return endless(socket, Buffer.alloc(65_536, 'x').toString());
  if (body.includes('"crumbs"')) return crumbs(socket);
  if (body.includes('"line"')) return endless(socket, null);
  return tell(arrival);
};

const big = `HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n${'b'.repeat(65_536)}`;
const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Oneapi-Request-Id: r\r\nTransfer-Encoding: chunked\r\n\r\n';

/** Events without an end, or one line without an end. */
function endless(socket: Socket, text: string | null): null {
  const payload = text === null ? 'y'.repeat(65_536) : `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\n`;
  const chunk = `${payload.length.toString(16)}\r\n${payload}\r\n`;
  let left = 3000;
  const more = (): void => {
    while (!socket.destroyed && left-- > 0) if (!socket.write(chunk)) return void socket.once('drain', more);
    if (!socket.destroyed) socket.end('0\r\n\r\n');
  };
  socket.write(`${streamHead}${text === null ? '6\r\ndata: \r\n' : ''}`);
  more();
  return null;
}

/** Two megabytes of events in chunks of one byte. */
function crumbs(socket: Socket): null {
  const event = [...'data: {"choices":[{"delta":{"content":"w"}}]}\n\n'].map((byte) => `1\r\n${byte}\r\n`).join('');
  socket.write(streamHead);
  for (let left = 40_000; left > 0; left -= 400) socket.write(event.repeat(400));
  socket.end('0\r\n\r\n');
  return null;
}

/** A connection of the stranger's that nobody reads unless asked to. */
async function stranger(port: number, bytes: string | Buffer = '', read = false): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: STRANGER });
  socket.on('error', () => undefined);
  if (read) socket.resume();
  await happens(socket, 'connect', 3000);
  if (bytes.length > 0 && !socket.destroyed) socket.write(bytes);
  return socket;
}

async function crowd(port: number, count: number, bytes: (nth: number) => string | Buffer, read = false): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let at = 0; at < count; at += 50) sockets.push(...(await Promise.all(Array.from({ length: Math.min(50, count - at) }, (_, nth) => stranger(port, bytes(at + nth), read)))));
  return sockets;
}

const leave = (sockets: readonly Socket[]): void => sockets.forEach((socket) => socket.destroy());

/** Writes again and again as long as the peer takes it. */
async function pour(socket: Socket, chunk: Buffer, times: number, over: () => boolean): Promise<void> {
  for (let nth = 0; nth < times && !socket.destroyed && !over(); nth++) if (!socket.write(chunk)) await happens(socket, 'drain', 500);
}

/** Waits for an event or the end of the connection, so many milliseconds. */
function happens(socket: Socket, event: 'connect' | 'drain', ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      socket.off(event, done).off('close', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    socket.on(event, done).on('close', done);
  });
}

async function upgradeFor(scene: Scene, key: string): Promise<string | null> {
  for (let tries = 0; ; tries++) {
    const heard = await exchange(scene.port, [upgrade('/v1/realtime?model=m', [`Authorization: Bearer ${key}`])], { expected: 1, patience: 2000, from: CLIENT });
    if (heard.answers[0]?.status === 101) return null;
    if (tries === 8) return `another caller's WebSocket: ${shown(heard)} ${heard.answers[0]?.body.toString('latin1', 0, 120)}`;
    await pause(250);
  }
}

/** Holds these until it is over. */
async function held(sockets: readonly Socket[], over: () => boolean): Promise<void> {
  for (let left = lasts; left > 0 && !over(); left -= 100) await pause(100);
  leave(sockets);
}

/** How often a request of the stranger's reached the upstream. */
const reached = ({ upstream }: Scene, text: string): number => upstream.arrivals.filter(({ target }) => target.startsWith(text)).length;

const chunkOf = (count: number): Buffer => Buffer.from('1\r\nx\r\n'.repeat(count));

function upgrades(): Flood[] {
  const gone = (target: string): Flood['run'] => async (scene) => {
    for (let round = 0; round < 20; round++) {
      const sockets = await crowd(scene.port, 50, (nth) => Buffer.concat([Buffer.from(upgrade(target, [`User-Agent: gone-${round * 50 + nth}`])), Buffer.from([0x81, 3, 1, 2, 3])]));
      await pause(20);
      leave(sockets);
    }
    await pause(1000);
    const wrong = await upgradeFor(scene, VICTIM.key);
    const rows = await scene.rows("user_agent LIKE 'gone-%'");
    return wrong ?? (rows.length === 1000 ? null : `${rows.length} records of 1000 upgrades`);
  };
  return [
    { name: '1 000 upgrades with early bytes, then gone', grows: 200, run: gone('/ws') },
    { name: '1 000 upgrades with early bytes, then gone, before a silent upstream', grows: 200, run: gone('/ws/silent') },
    { name: '1 300 WebSockets of one address', grows: 250, run: async (scene) => {
      const sockets = await crowd(scene.port, 1300, () => upgrade('/ws'), true);
      const wrong = await upgradeFor(scene, VICTIM.key);
      leave(sockets);
      return wrong;
    } },
    { name: '12 realtime WebSockets full of empty frames', grows: 250, run: async (scene, over) => {
      // Masked frames without a payload, six bytes each.
      const frames = Buffer.alloc(60_000, Buffer.from([0x81, 0x80, 1, 2, 3, 4]));
      const sockets = await crowd(scene.port, 12, () => upgrade('/v1/realtime?model=m', [`Authorization: Bearer ${ATTACKER.key}`]), true);
      await Promise.all(sockets.map((socket) => pour(socket, frames, 250, over)));
      const wrong = await upgradeFor(scene, VICTIM.key);
      leave(sockets);
      return wrong;
    } },
    { name: '1 300 WebSockets that half-close', grows: 250, run: async (scene) => {
      const sockets = await crowd(scene.port, 1300, () => upgrade('/ws/silent'), true);
      for (const socket of sockets) socket.end();
      await pause(1000);
      const wrong = await upgradeFor(scene, VICTIM.key);
      leave(sockets);
      return wrong;
    } },
  ];
}

function bodies(): Flood[] {
  const json = '{"model":"m","messages":[{"role":"user","content":"';
  const crumbling = (name: string, start: string): Flood => ({ name, grows: 400, run: async (scene, over) => {
    const sockets = await crowd(scene.port, 4, () => start, true);
    await Promise.all(sockets.map((socket) => pour(socket, chunkOf(10_000), 650, over)));
    await pause(500);
    leave(sockets);
    return null;
  } });
  const bombs = (name: string, coding: string, packed: Buffer): Flood => ({ name, grows: 500, run: async (scene) => {
    await Promise.all(Array.from({ length: 8 }, () => exchange(scene.port, [Buffer.concat([Buffer.from(chatHead([`Content-Encoding: ${coding}`, `Content-Length: ${packed.length}`])), packed])], { expected: 1, patience: 8000, from: STRANGER })));
    return null;
  } });
  const whole = (name: string, body: () => string, type = 'application/json', path = '/v1/chat/completions'): Flood => ({ name, grows: 500, run: async (scene) => {
    const bytes = Buffer.from(body());
    const start = Buffer.from(head('POST', path, [`Authorization: Bearer ${ATTACKER.key}`, `Content-Type: ${type}`, `Content-Length: ${bytes.length}`]));
    await Promise.all(Array.from({ length: 6 }, () => exchange(scene.port, [Buffer.concat([start, bytes])], { expected: 1, patience: 10_000, from: STRANGER })));
    return null;
  } });
  const zeros = Buffer.alloc(300_000_000, ' ');
  return [
    crumbling('26 MB in chunks of one byte on a model route', `${chatHead(['Transfer-Encoding: chunked'])}${json.length.toString(16)}\r\n${json}\r\n`),
    crumbling('26 MB in chunks of one byte past the model routes', head('POST', '/api/upload', ['Transfer-Encoding: chunked'])),
    { name: '300 bodies that do not come', grows: 200, run: async (scene, over) => (await held(await crowd(scene.port, 300, () => `${chatHead(['Content-Length: 8000000'])}${json}`), over), null) },
    { name: '300 bodies that do not come, in chunks', grows: 200, run: async (scene, over) => (await held(await crowd(scene.port, 300, () => `${chatHead(['Transfer-Encoding: chunked'])}${json.length.toString(16)}\r\n${json}\r\n`), over), null) },
    { name: '100 uploads that stall', grows: 200, run: async (scene, over) => (await held(await crowd(scene.port, 100, () => `${head('POST', '/api/upload', ['Content-Length: 80000000'])}${'u'.repeat(50_000)}`), over), null) },
    bombs('gzip bombs', 'gzip', gzipSync(zeros)), bombs('br bombs', 'br', brotliCompressSync(zeros.subarray(0, 100_000_000))), bombs('deflate bombs', 'deflate', deflateSync(zeros.subarray(0, 100_000_000))), bombs('zstd bombs', 'zstd', zstdCompressSync(zeros)),
    whole('20 MB of opening brackets', () => `{"model":"m","messages":${'['.repeat(20_000_000)}`),
    whole('a million members', () => `{${Array.from({ length: 1_000_000 }, (_, nth) => `"k${nth}":1`).join(',')},"model":"m"}`),
    whole('20 MB of backslashes', () => `{"model":"m","x":"${'\\\\'.repeat(10_000_000)}"}`),
    whole('20 MB of quotes', () => `{"model":"m","x":[${'"",'.repeat(6_000_000)}""]}`),
    whole('a form of 300 000 parts', () => `${'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'.repeat(300_000)}--b--\r\n`, 'multipart/form-data; boundary=b', '/v1/images/edits'),
    whole('a form of delimiters almost', () => `--${'b'.repeat(60)}\r\n${`\r\n--${'b'.repeat(59)}`.repeat(300_000)}`, `multipart/form-data; boundary=${'b'.repeat(60)}`, '/v1/images/edits'),
  ];
}

function connections(): Flood[] {
  return [
    { name: '600 heads a byte at a time', grows: 150, run: async (scene, over) => {
      const sockets = await crowd(scene.port, 600, () => 'GET /api/slow HTTP/1.1\r\nHost: gate.example\r\nX-Slow: ', true);
      for (let left = lasts; left > 0 && !over(); left -= 250) {
        for (const socket of sockets) if (!socket.destroyed) socket.write('s');
        await pause(250);
      }
      leave(sockets);
      return null;
    } },
    { name: '3 000 connections that say nothing', grows: 150, run: async (scene, over) => (await held(await crowd(scene.port, 3000, () => ''), over), null) },
    { name: '150 heads of 900 KB without an end', grows: 250, run: async (scene, over) => (await held(await crowd(scene.port, 150, () => `GET /api/bomb HTTP/1.1\r\nHost: gate.example\r\n${Array.from({ length: 90 }, (_, nth) => `X-${nth}: ${'h'.repeat(10_000)}\r\n`).join('')}`, true), over), null) },
    { name: '100 heads of 900 KB with 20 000 lines', grows: 300, run: async (scene, over) => (await held(await crowd(scene.port, 100, () => `GET /api/bomb HTTP/1.1\r\nHost: gate.example\r\n${Array.from({ length: 20_000 }, (_, nth) => `X-${nth}: ${'h'.repeat(35)}\r\n`).join('')}\r\n`, true), over), null) },
    { name: '20 pipelines whose answers nobody reads', grows: 300, run: async (scene, over) => {
      const get = Buffer.from('GET /api/big HTTP/1.1\r\nHost: gate.example\r\n\r\n'.repeat(500));
      const sockets = await crowd(scene.port, 20, () => '');
      await Promise.all(sockets.map((socket) => pour(socket, get, 40, over)));
      await pause(1500);
      const count = reached(scene, '/api/big');
      leave(sockets);
      return count <= 20 * 400 ? null : `${count} requests reached the upstream`;
    } },
    { name: 'pipelines of refused requests that nobody reads', grows: 300, run: async (scene, over) => {
      const post = Buffer.from('GET /v1/models HTTP/1.1\r\nHost: gate.example\r\n\r\n'.repeat(500));
      const sockets = await crowd(scene.port, 20, () => '');
      await Promise.all(sockets.map((socket) => pour(socket, post, 40, over)));
      await pause(500);
      leave(sockets);
      return null;
    } },
    { name: '5 s of requests without a key', grows: 250, run: async (scene, over) => {
      const ends = performance.now() + lasts;
      await Promise.all(Array.from({ length: 16 }, async () => {
        while (performance.now() < ends && !over()) await exchange(scene.port, [head('GET', '/v1/models').repeat(10)], { expected: 10, patience: 1000, from: STRANGER });
      }));
      return null;
    } },
    { name: '2 000 chats that are left at once', grows: 200, run: async (scene, over) => {
      for (let round = 0; round < 40 && !over(); round++) {
        const sockets = await crowd(scene.port, 50, () => `${chatHead(['Content-Length: 12'])}{"model":"m"`);
        leave(sockets);
      }
      return null;
    } },
  ];
}

function answers(): Flood[] {
  const asking = (count: number, what: string, read: boolean): Flood['run'] => async (scene, over) => {
    const body = JSON.stringify({ model: 'm', stream: true, user: what });
    await held(await crowd(scene.port, count, () => chatHead([`Content-Length: ${body.length}`]) + body, read), over);
    return null;
  };
  return [
    { name: '200 streams that nobody reads', grows: 400, run: asking(200, 'endless', false) },
    { name: '200 downloads that nobody reads', grows: 400, run: async (scene, over) => {
      await held(await crowd(scene.port, 200, () => head('GET', '/api/endless', [`Authorization: Bearer ${ATTACKER.key}`]), false), over);
      return null;
    } },
    { name: '4 streams in chunks of one byte', grows: 300, run: asking(4, 'crumbs', true) },
    { name: '4 streams of one endless line', grows: 400, run: asking(4, 'line', true) },
    { name: '300 callers for five slots', grows: 200, yaml: 'queue: { concurrency: 5, initial_size: 40 }\n', react: slow, run: async (scene, over) => {
      const ends = performance.now() + lasts;
      const body = '{"model":"m","user":"slow"}';
      await Promise.all(Array.from({ length: 100 }, async () => {
        while (performance.now() < ends && !over()) await exchange(scene.port, [chatHead([`Content-Length: ${body.length}`]) + body], { expected: 1, patience: 2000, from: STRANGER });
      }));
      return null;
    } },
  ];
}

const slow: React = (arrival, at, socket) => {
  if (at === 'end' && !arrival.body.includes('"slow"')) return tell(arrival);
  if (at === 'end') setTimeout(() => socket.write(tell(arrival).bytes), 50);
  return null;
};

const yaml = `${keysYaml(', models: [m]')}metrics: { token: ${METRICS_TOKEN} }\nrate_limit: { address: { limit: 0 } }\n`;

/** Strangers that take as much as they can: what the gate grows by, and what another caller notices. */
export async function floods(ledger: Ledger): Promise<void> {
  for (const flood of [...upgrades(), ...connections(), ...bodies(), ...answers()]) {
    if (!only.test(flood.name) || ledger.skips('floods', 'direct', flood.name)) continue;
    const { expected, got } = await weather(flood);
    ledger.note({ group: 'floods', via: 'direct', vector: flood.name, expected, got });
  }
}

interface Call {
  readonly ms: number;
  readonly wrong: string | null;
}

async function weather(flood: Flood): Promise<{ readonly expected: string; readonly got: string | null }> {
  const scene = await openScene(yaml + (flood.yaml ?? ''), { react: flood.react ?? react });
  const prober = new Worker(new URL('./prober.ts', import.meta.url), { workerData: { port: scene.port, from: CLIENT } });
  const ask = async (): Promise<Call[]> => {
    prober.postMessage('calls');
    return (await once(prober, 'message'))[0] as Call[];
  };
  try {
    await pause(500);
    await ask();
    await pause(600);
    const quiet = p95(await ask());
    // The upstream of all callers runs on this thread, beside the flood.
    const own = monitorEventLoopDelay({ resolution: 5 });
    own.enable();
    const scheduled = schedule(scene.gate.pid);
    const before = scene.memory();
    let most = before;
    const watch = setInterval(() => void (most = Math.max(most, scene.memory())), 25);
    const ends = performance.now() + longest;
    const wrong = await flood.run(scene, () => !scene.alive() || most > tooMuch || performance.now() > ends);
    own.disable();
    const most95 = bound(quiet, stretch(scheduled, schedule(scene.gate.pid))) + 4 * (own.percentile(95) / 1e6);
    let calls = await ask();
    for (let tries = 0; tries < 60 && calls.length === 0; tries++) {
      await pause(100);
      calls = await ask();
    }
    clearInterval(watch);
    const problems = [wrong, scene.alive() ? null : 'the process ended', ...judged(calls, most95), most - before <= flood.grows ? null : `it grew by ${Math.round(most - before)} MB`, scene.alive() ? await calmed(scene) : null];
    return { expected: `at most ${flood.grows} MB and ${Math.round(most95)} ms for another (${Math.round(most - before)} MB, ${Math.round(p95(calls))} ms at p95, ${Math.round(quiet)} ms before)`, got: problems.filter((each) => each !== null).join('; ') || null };
  } finally {
    prober.postMessage('end');
    await prober.terminate();
    await scene.close();
  }
}

const p95 = (calls: readonly Call[]): number => (calls.length === 0 ? Infinity : quantile(calls.map(({ ms }) => ms), 0.95));
/** A busy machine is slow by itself, so what is asked for is by what it was before, and by how long the gate waited for a core. */
const bound = (quiet: number, stretched: number): number => Math.max(400 * stretched, quiet * 15);

interface Schedule {
  readonly ran: number;
  readonly waited: number;
}

/** How long the main thread of a process has run, and waited for a core while it could have run, nanoseconds; null where the system does not tell. */
function schedule(pid: number): Schedule | null {
  try {
    const [ran = 0, waited = 0] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ').map(Number);
    return { ran, waited };
  } catch {
    return null;
  }
}

/** How many times as long as on a machine of its own it took what it did meanwhile. */
function stretch(from: Schedule | null, to: Schedule | null): number {
  if (from === null || to === null || to.ran === from.ran) return 1;
  return 1 + (to.waited - from.waited) / (to.ran - from.ran);
}

/** @param allowed milliseconds at the 95th percentile. */
function judged(calls: readonly Call[], allowed: number): (string | null)[] {
  const failed = calls.filter(({ wrong }) => wrong !== null);
  return [
    failed.length === 0 ? null : `${failed.length} of ${calls.length} calls of another failed: ${failed[0]?.wrong}`,
    p95(calls) <= allowed ? null : `another's p95 is ${Math.round(p95(calls))} ms`,
  ];
}

/** Nothing stays taken. */
async function calmed(scene: Scene): Promise<string | null> {
  let left = '';
  for (let tries = 0; tries < 25; tries++) {
    const { answers } = await exchange(scene.port, [head('GET', '/metrics', [`Authorization: Bearer ${METRICS_TOKEN}`])], { expected: 1, patience: 1000, from: CLIENT });
    const text = answers[0]?.body.toString() ?? '';
    const held = ['queue_active', 'queue_waiting', 'inflight_bytes', 'websockets_active'].flatMap((name) => [...text.matchAll(new RegExp(`^heimdall_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].filter(([, value]) => Number(value) > limitOf(name)).map(([line]) => line));
    if (text !== '' && held.length === 0) return null;
    left = text === '' ? 'no metrics' : held.join(', ');
    await pause(200);
  }
  return `still held after 5 s: ${left}`;
}

/** The other caller's own request may be in hand. */
const limitOf = (name: string): number => (name === 'queue_active' ? 1 : name === 'inflight_bytes' ? 1000 : 0);

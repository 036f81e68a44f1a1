import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { adminToken } from '../support/browser.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';
import { callers, closedLoop, fault } from '../bench/load/closed.ts';
import { Connection } from '../bench/load/connection.ts';
import type { Endpoint } from '../bench/load/jobs.ts';
import { part, used, waitingOf } from './cores.ts';
import type { Answered, Asked, Shown } from './page-watchers.ts';
import type { Finding } from './proof.ts';

/** Browsers that watch, and rows a second that each is shown. */
const readers = 10;
const rows = 20;
/** Requests a second; windows of each kind, watched and not, in turns; and how long each is, milliseconds. */
const rate = Number(process.env['PAGE_LIVE_RATE'] ?? 400);
const windows = 8;
const measured = 2500;
/** Begun when watchers have come or gone; and before all, milliseconds. */
const settling = 1000;
const warming = 5000;
/** A request is left out where the load comes later with it, milliseconds: several at once would wait for each other. */
const mostLate = 2;
/** What watching may add to the slowest of a hundred. */
const mostAdded = 0.05;
/** A comparison that does not hold is made again, so many times in all. */
const mostTries = 3;

/** A window: latencies in milliseconds, ascending, less what the gate and the load waited for a core; and the milliseconds that threads of the gate worked. */
interface Window {
  readonly latencies: readonly number[];
  readonly work: number;
}

/** Of the calmer half of the windows, milliseconds, and microseconds of work for each request: what watching adds it adds to each of them, what else the machine does comes and goes. */
interface Calm {
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
}

/** Ten watchers of the live view: what they add to the gate's p99 and to its work, and what they are shown of as many requests as the gate can do. */
export async function pageLive(): Promise<Finding> {
  const ends: (() => unknown)[] = [];
  const upstream = await startUpstream({ after: (end: () => unknown): void => void ends.push(end) }, (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[]}')));
  const gate = await startStandalone(upstream.url, `admin: { token: "${adminToken}", listen: false }\nlogging: { console: false }\n`);
  part(gate.pid);
  const browsers = startBrowsers(gate);
  ends.push(browsers.end, gate.stop);
  try {
    const to = { port: Number(new URL(gate.url).port), headers: {}, bytes: undefined };
    const load = startLoad(to, waitingOf(gate.pid));
    await pause(warming);
    let tries = 0;
    let ratio = Infinity;
    const table: Record<string, string | number>[] = [];
    for (; tries < mostTries && ratio > 1 + mostAdded; tries++) {
      const { watched, alone } = await compare(gate, load, browsers);
      ratio = watched.p99 / alone.p99;
      for (const [what, value] of [['no watcher', (of) => alone[of]], [`${readers} watch`, (of) => watched[of]], ['watched : alone', (of) => watched[of] / alone[of]]] as const satisfies readonly (readonly [string, (of: keyof Calm) => number])[]) {
        table.push({ what: `${rate}/s, ${what}`, 'p50 ms': two(value('p50')), 'p99 ms': two(value('p99')), 'cpu µs a request': two(value('cpu')) });
      }
    }
    await load.end();
    await browsers.watch();
    const flood = await closedLoop({ kind: 'closed', to, connections: 32, requests: 10_000, limit: 30_000 });
    const shown = await browsers.leave();
    const all = shown.flatMap((each) => each.rows);
    const told = Math.max(...shown.flatMap(({ rates }) => rates));
    table.push({ what: `${Math.round(flood.done / flood.seconds)}/s, as many as it can: rows in a second of a watcher, most ${Math.max(...all)}, least ${Math.min(...all)}; rate told ${told}/s` });
    const holds = ratio <= 1 + mostAdded && Math.max(...all) <= rows && Math.min(...all) >= rows / 2;
    return { rows: table, bar: `p99 within ${mostAdded * 100} % while ${readers} watch, and at most ${rows} rows a second shown`, holds };
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** Windows with watchers and without, in turns, under requests that go on all the time. Each kind comes first as often as second. */
async function compare(gate: Standalone, load: ReturnType<typeof startLoad>, browsers: ReturnType<typeof startBrowsers>): Promise<Record<'watched' | 'alone', Calm>> {
  const seen: Record<'watched' | 'alone', Window[]> = { watched: [], alone: [] };
  for (let at = 0; at < 2 * windows; at++) {
    const isWatched = at % 4 === 1 || at % 4 === 2;
    if (at % 4 === 1) await browsers.watch();
    if (at % 4 === 3) await browsers.leave();
    if (at % 2 === 1) await pause(settling);
    const before = used(gate.pid);
    const latencies = await load.during(measured);
    seen[isWatched ? 'watched' : 'alone'].push({ latencies, work: used(gate.pid) - before });
    process.stderr.write(`${JSON.stringify({ isWatched, requests: latencies.length, p50: two(share(latencies, 0.5)), slowest: latencies.slice(-16).map(two) })}\n`);
  }
  return { watched: calmOf(seen.watched), alone: calmOf(seen.alone) };
}

function calmOf(all: readonly Window[]): Calm {
  const calm = [...all].sort((a, b) => share(a.latencies, 0.99) - share(b.latencies, 0.99)).slice(0, all.length / 2);
  const latencies = calm.flatMap((each) => each.latencies).sort((a, b) => a - b);
  return { p50: share(latencies, 0.5), p99: share(latencies, 0.99), cpu: (calm.reduce((sum, { work }) => sum + work, 0) / latencies.length) * 1000 };
}

/** Requests at fixed times, on connections of their own: none waits for another one's answer. */
function startLoad(to: Endpoint, waited: () => number): { during(time: number): Promise<number[]>; end(): Promise<unknown> } {
  const bytes = callers(to);
  const idle: Connection[] = [];
  const all: Connection[] = [];
  let latencies: number[] = [];
  let wrong: string | undefined;
  const add = (): Connection => {
    const connection = new Connection(to.port);
    all.push(connection);
    return connection;
  };
  const every = 1000 / rate;
  const start = performance.now();
  const ticker = new Worker(new URL('../bench/load/ticker.ts', import.meta.url), { workerData: { start: performance.timeOrigin + start, every, count: Infinity } });
  ticker.on('message', (index: number) => {
    if (performance.now() - start - index * every > mostLate) return;
    const connection = idle.pop() ?? add();
    const sent = performance.now() - waited();
    connection.send(bytes[index % bytes.length] as Buffer, {
      done: (exchange) => {
        latencies.push(exchange.ended - waited() - sent);
        wrong ??= fault(exchange, to.bytes);
        idle.push(connection);
      },
    });
  });
  return {
    async during(time) {
      latencies = [];
      await pause(time);
      if (wrong !== undefined) throw new Error(wrong);
      const seen = latencies;
      latencies = [];
      return seen.sort((a, b) => a - b);
    },
    async end() {
      for (const connection of all) connection.close();
      return ticker.terminate();
    },
  };
}

/** The browsers, in a process that takes the time that is left of the load's core. */
function startBrowsers({ url }: Standalone): { watch(): Promise<void>; leave(): Promise<readonly Shown[]>; end(): void } {
  const child = spawn('nice', ['-n', '19', process.execPath, new URL('./page-watchers.ts', import.meta.url).pathname], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const answerTo = async (asked: Asked): Promise<Answered> => {
    child.send(asked);
    const [answer] = (await once(child, 'message')) as [Answered];
    return answer;
  };
  return {
    watch: async () => void (await answerTo({ url, token: adminToken, readers })),
    leave: async () => (await answerTo('leave')) as readonly Shown[],
    end: () => void child.kill(),
  };
}

const two = (value: number): number => Math.round(value * 100) / 100;
const share = (ascending: readonly number[], part: number): number => ascending[Math.floor(ascending.length * part)] as number;

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request as send, type IncomingMessage } from 'node:http';
import { adminToken } from '../support/browser.ts';
import { startStandalone } from '../support/standalone.ts';
import { closedLoop } from '../bench/load/closed.ts';
import { openLoop } from '../bench/load/open.ts';
import type { Finding } from './proof.ts';

/** Browsers that watch, and rows a second that each is shown. */
const readers = 10;
const rows = 20;
/** Requests a second and of one window, and pairs of windows: one watched, one not, in turns. */
const rate = Number(process.env['PAGE_LIVE_RATE'] ?? 400);
const requests = rate * 3;
const pairs = 4;
/** What watching may add to the slowest of a hundred. */
const mostAdded = 0.05;
/** Clock ticks of /proc a second. */
const ticks = 100;

/** Ten watchers of the live view: what they add to the gate's p99 and to its work, and what they are shown of as many requests as the gate can do. */
export async function pageLive(): Promise<Finding> {
  const upstream = spawn(process.execPath, ['-e', "require('node:http').createServer((q, r) => q.resume().on('end', () => { r.setHeader('content-type', 'application/json'); r.end('{\"choices\":[]}'); })).listen(0, '127.0.0.1', function () { console.log(this.address().port); }); process.on('disconnect', () => process.exit())"], { stdio: ['ignore', 'pipe', 'ignore', 'ipc'] });
  const [port] = (await once(upstream.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const gate = await startStandalone(`http://127.0.0.1:${String(port).trim()}`, `admin: { token: "${adminToken}", listen: false }\nlogging: { console: false }\n`);
  try {
    const to = { port: Number(new URL(gate.url).port), headers: {}, bytes: undefined };
    await openLoop({ kind: 'open', to, rate, requests });
    const seen: Record<'watched' | 'alone', { p50: number; p99: number; cpu: number }[]> = { watched: [], alone: [] };
    for (let pair = 0; pair < pairs; pair++) {
      for (const kind of pair % 2 === 0 ? (['watched', 'alone'] as const) : (['alone', 'watched'] as const)) seen[kind].push(await windowOf(gate, to, kind === 'watched'));
    }
    const watchers = await Promise.all(Array.from({ length: readers }, () => watch(gate.url)));
    const flood = await closedLoop({ kind: 'closed', to, connections: 32, requests: 10_000, limit: 20_000 });
    const perSecond = watchers.map(({ most }) => most());
    const told = Math.max(...watchers.map(({ rates }) => Math.max(0, ...rates)));
    for (const { end } of watchers) end();
    const ratio = (of: 'p50' | 'p99' | 'cpu'): number => Math.round(median(seen.watched.map((each, at) => each[of] / (seen.alone[at]?.[of] ?? each[of]))) * 1000) / 1000;
    const table = [...(['alone', 'watched'] as const).map((what) => ({ what: `${rate}/s, ${what === 'alone' ? 'nobody watches' : `${readers} watch`}`, 'p50 ms': one(median(seen[what].map(({ p50 }) => p50))), 'p99 ms': one(median(seen[what].map(({ p99 }) => p99))), 'cpu µs a request': one(median(seen[what].map(({ cpu }) => cpu))) })), { what: 'watched : alone, median of pairs', 'p50 ms': ratio('p50'), 'p99 ms': ratio('p99'), 'cpu µs a request': ratio('cpu') }, { what: `${Math.round(flood.done / flood.seconds)}/s, as many as it can: most rows in a second of a watcher ${Math.max(...perSecond)}, least ${Math.min(...perSecond)}; rate told ${told}/s`, 'p50 ms': 0, 'p99 ms': 0, 'cpu µs a request': 0 }];
    const holds = ratio('p99') <= 1 + mostAdded && Math.max(...perSecond) <= rows + 1 && Math.min(...perSecond) >= rows / 2;
    return { rows: table, bar: `p99 within ${mostAdded * 100} % while ${readers} watch, and at most ${rows} rows a second shown`, holds };
  } finally {
    await gate.stop();
    upstream.kill('SIGKILL');
  }
}

async function windowOf(gate: { readonly url: string; readonly pid: number }, to: Parameters<typeof openLoop>[0]['to'], watched: boolean): Promise<{ p50: number; p99: number; cpu: number }> {
  const watchers = watched ? await Promise.all(Array.from({ length: readers }, () => watch(gate.url))) : [];
  const before = used(gate.pid);
  const { latencies, errors, firstError } = await openLoop({ kind: 'open', to, rate, requests });
  if (errors > 0) throw new Error(firstError);
  const cpu = ((used(gate.pid) - before) / ticks / requests) * 1e6;
  for (const { end } of watchers) end();
  latencies.sort((a, b) => a - b);
  process.stderr.write(`${JSON.stringify({ watched, p50: one(latencies[latencies.length >> 1] as number), slowest: latencies.slice(-12).map(one) })}\n`);
  return { p50: latencies[latencies.length >> 1] as number, p99: latencies[Math.floor(latencies.length * 0.99)] as number, cpu };
}

/** Reads the event stream as the page does. */
async function watch(url: string): Promise<{ most(): number; readonly rates: number[]; end(): void }> {
  const asked = send(`${url}/heimdall/api/events?rows=${rows}&own=false`, { headers: { authorization: `Bearer ${adminToken}` } }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`events: ${answer.statusCode}`);
  const shown: number[] = [];
  const rates: number[] = [];
  answer.on('error', () => undefined);
  answer.setEncoding('utf8').on('data', (text: string) => {
    for (const line of text.split('\n')) {
      const told = /^data: (\{.*"shown":.*\})$/.exec(line)?.[1];
      if (told === undefined) continue;
      const { requests: many, shown: few } = JSON.parse(told) as { requests: number; shown: number };
      rates.push(many);
      shown.push(few);
    }
  });
  return { most: () => Math.max(0, ...shown), rates, end: () => asked.destroy() };
}

/** Processor time of a process, in ticks. */
function used(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

const one = (value: number): number => Math.round(value * 100) / 100;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, optional } from '../../lib/chain.ts';
import type { Endpoint, Job, OpenResult, ProbeResult, RoundResult } from '../bench/load/jobs.ts';
import { chooseCores, describeMachine, settledUsage, usageOf, type Cores } from '../bench/machine.ts';
import { median, pairwise, quantile, show } from '../bench/numbers.ts';
import { killAll, launch, pause, type Child } from '../bench/processes.ts';
import { within } from '../support/client.ts';
import { sql } from '../support/journal.ts';
import type { Delay } from './event-loop.ts';
import type { Finding } from './proof.ts';

/** What a record may add, microseconds of the main thread a request. */
const mostCpu = 6;
/** What it may make of the 99th percentile of the event loop's delay: so many times as much, and so many milliseconds more. */
const mostTimes = 1.1;
const mostDelay = 1;

/** Two processes of one configuration may differ by some microseconds for as long as they live: pairs come of several. */
const generations = 3;
/** Rounds of a generation, in which every gate is loaded once; those on one core are for information. */
const placements = { free: { cpu: 4, steady: 6, delay: 8 }, pinned: { cpu: 2, steady: 3, delay: 1 } };
/** Requests a second, and how many: with as many for both, neither wakes its client and its upstream more often than the other. */
const steady = { rate: 3000, requests: 2400 };
const connections = 32;
const warmUp = 12_000;
/** Milliseconds a round of requests is to take, and those the event loop is watched. */
const loadFor = 600;
const watchFor = 1500;
const rate = 500;
/** Of the timer that measures the event loop's delay, milliseconds: every sample holds it. */
const interval = 1;
/** Milliseconds after which the connections of a load are open. */
const opened = 600;

const standalone = join(import.meta.dirname, '../../examples/standalone/server.ts');
const eventLoop = join(import.meta.dirname, 'event-loop.ts');
const bench = join(import.meta.dirname, '../bench');

/** Limits are high enough never to refuse, low enough to be counted. */
const everything = `
secret: an-install-secret-for-this-proof
metrics: { token: prove-metrics-token }
queue: { concurrency: 4000, initial_size: 4000 }
rate_limit:
  key: { requests: { limit: 1000000000, window: 60s }, tokens: { limit: 1000000000000, window: 60s }, concurrency: 4000 }
`;
/** Every part but the one that records, in the chain's order. */
const unrecorded = `middleware: [${chain.flatMap(({ name }) => (optional.has(name) && name !== 'logging' ? [name] : [])).join(', ')}]\n`;
const noLines = 'logging: { level: warn, file: false }\n';
const configurations = { on: everything, off: everything + unrecorded, 'on, no line': everything + noLines, 'off, no line': everything + unrecorded + noLines };
type Name = keyof typeof configurations;

interface Gate {
  readonly name: Name;
  readonly child: Child;
  readonly dir: string;
  readonly to: Endpoint;
  /** Requests it was sent. */
  sent: number;
}

interface Scene {
  readonly dir: string;
  readonly cores: Cores;
  readonly load: Child;
  readonly upstream: Child;
}

type Row = Record<string, string | number>;
type Placement = keyof typeof placements;

/** What recording costs the main thread and does to the event loop: gates that record beside gates that do not, loaded in turns. */
export async function record(): Promise<Finding> {
  const dir = mkdtempSync(join(tmpdir(), 'heimdall-prove-record-'));
  const series = { free: new Series(), pinned: new Series() };
  const kept = new Kept();
  try {
    const scene = await open(dir);
    for (let nth = 0; nth < generations; nth++) await generation(scene, nth, series, kept);
    const pinned = scene.cores.gate === undefined ? [{ placement: 'pinned', what: 'SKIPPED: no taskset, or one core' }] : rowsOf('pinned', series.pinned);
    const rows = [...rowsOf('free', series.free), ...pinned, ...kept.rows()];
    return {
      rows,
      bar: `free to use both cores, recording costs the main thread at most ${mostCpu} µs a request at ${steady.rate} requests/s, and p99 of the event loop's delay at ${rate} requests/s at most ${mostTimes} × and ${mostDelay} ms; that 200 000 requests have one record each is shown by journal. ${account}. ${describeMachine()}`,
      holds: rows.every((row) => row['holds'] !== 'NO'),
    };
  } finally {
    killAll();
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

const account = existsSync('/proc/self/schedstat') ? "CPU: the scheduler's account of each thread (/proc/PID/task/TID/schedstat)" : 'CPU: what each process says of itself, for lack of /proc/PID/task/TID/schedstat';

/** Load and upstream on one core, where that can be had. */
async function open(dir: string): Promise<Scene> {
  const cores = chooseCores();
  const helper = (name: string, file: string): Promise<Child> => launch({ name, command: process.execPath, args: [join(bench, file)], dir, core: cores.load });
  return { dir, cores, load: await helper('load', 'load/load.ts'), upstream: await helper('upstream', 'upstream.ts') };
}

/** Four fresh gates, alive at the same time, through every measurement. */
async function generation(scene: Scene, nth: number, series: Record<Placement, Series>, kept: Kept): Promise<void> {
  const { gate: core, load: other } = scene.cores;
  const gates: Gate[] = [];
  for (const name of turned(Object.keys(configurations) as Name[], nth)) gates.push(await start(scene, name, nth));
  const watched = gates.filter(({ name }) => name === 'on' || name === 'off');
  if (core !== undefined) bind(gates, [core, other as number]);
  let seconds = 0;
  for (const gate of gates) {
    seconds += await load(scene, gate, warmUp);
    await settledUsage(gate.child);
  }
  const requests = Math.round((warmUp * gates.length * loadFor) / 1000 / seconds);
  await costs(scene, gates, nth, requests, 'free', series.free);
  if (core !== undefined) {
    bind(gates, [core]);
    await costs(scene, gates, nth, requests, 'pinned', series.pinned);
    await steadily(scene, watched, nth, 'pinned', series.pinned);
    await delays(scene, watched, nth, 'pinned', series.pinned);
    bind(gates, [core, other as number]);
  }
  await steadily(scene, watched, nth, 'free', series.free);
  await delays(scene, watched, nth, 'free', series.free);
  for (const gate of gates) await kept.look(gate);
  for (const { child } of gates) await child.stop();
}

async function start({ dir: parent, upstream, load: from }: Scene, name: Name, nth: number): Promise<Gate> {
  const dir = join(parent, `${name} ${nth}`);
  mkdirSync(dir);
  const config = join(dir, 'heimdall.yaml');
  writeFileSync(config, configurations[name], { mode: 0o600 });
  const env = { NEWAPI_BASE_URL: `http://127.0.0.1:${upstream.port}`, HEIMDALL_HOST: '127.0.0.1', HEIMDALL_PORT: '0', HEIMDALL_CONFIG: config };
  const child = await launch({ name, command: process.execPath, args: ['--import', eventLoop, standalone], dir, env });
  const to = { port: child.port, headers: {}, bytes: undefined };
  const { bytes } = await run<ProbeResult>(from, { kind: 'probe', to });
  return { name, child, dir, to: { ...to, bytes }, sent: 1 };
}

/** Binds every thread of the gates to these cores; threads they start later go with them. */
function bind(gates: readonly Gate[], cores: readonly number[]): void {
  for (const { child } of gates) execFileSync('taskset', ['-a', '-c', '-p', cores.join(','), String(child.pid)], { stdio: 'ignore' });
}

const run = <T>(load: Child, job: Job): Promise<T> => load.ask<T>('run', job, 90_000);

/** So many requests, the next when the one before is answered. @returns seconds. */
async function load({ load: from }: Scene, gate: Gate, requests: number): Promise<number> {
  const result = await run<RoundResult>(from, { kind: 'closed', to: gate.to, connections, requests, limit: 60_000 });
  count(gate, requests, result);
  return result.seconds;
}

/** @throws Error when one was not answered as it should be: what follows would be the price of something else. */
function count(gate: Gate, requests: number, { errors, firstError }: Pick<RoundResult, 'errors' | 'firstError'>): void {
  if (errors > 0) throw new Error(`${gate.name}: ${errors} of ${requests} requests went wrong, first: ${firstError}`);
  gate.sent += requests;
}

/** Values of the rounds, by gate. */
class Series {
  readonly #values = new Map<string, number[]>();

  add(name: Name, what: string, value: number): void {
    const at = `${name}: ${what}`;
    const values = this.#values.get(at) ?? [];
    this.#values.set(at, values);
    values.push(value);
  }

  of(name: Name, what: string): readonly number[] {
    return this.#values.get(`${name}: ${what}`) ?? [];
  }
}

async function costs(scene: Scene, gates: readonly Gate[], nth: number, requests: number, placement: Placement, series: Series): Promise<void> {
  const { cpu } = placements[placement];
  for (let round = nth * cpu; round < (nth + 1) * cpu; round++) for (const gate of turned(gates, round)) await cost(gate, requests, 'full load', series, () => load(scene, gate, requests));
}

async function steadily(scene: Scene, gates: readonly Gate[], nth: number, placement: Placement, series: Series): Promise<void> {
  const { steady: times } = placements[placement];
  const { rate: each, requests } = steady;
  const ask = async (gate: Gate): Promise<void> => count(gate, requests, await run<OpenResult>(scene.load, { kind: 'open', to: gate.to, rate: each, requests }));
  for (let round = nth * times; round < (nth + 1) * times; round++) for (const gate of turned(gates, round)) await cost(gate, requests, 'steady', series, () => ask(gate));
}

async function delays(scene: Scene, gates: readonly Gate[], nth: number, placement: Placement, series: Series): Promise<void> {
  const { delay: times } = placements[placement];
  for (let round = nth * times; round < (nth + 1) * times; round++) for (const gate of turned(gates, round)) await delay(scene, gate, series);
}

/** Everyone has the same neighbours, now before and now behind him. */
const turned = <T>(list: readonly T[], round: number): readonly T[] => (round % 2 === 0 ? list : list.toReversed());

/** CPU from the first request to the last record written. */
async function cost(gate: Gate, requests: number, how: string, series: Series, ask: () => Promise<unknown>): Promise<void> {
  const before = await usageOf(gate.child);
  await ask();
  const after = await settledUsage(gate.child);
  series.add(gate.name, `main thread, ${how}`, ((after.main ?? NaN) - (before.main ?? NaN)) / requests);
  series.add(gate.name, `all threads, ${how}`, (after.total - before.total) / requests);
}

/** Delay of the event loop while requests come at their times, whoever is late. */
async function delay(scene: Scene, gate: Gate, series: Series): Promise<void> {
  const requests = (rate * (watchFor + opened)) / 1000;
  const watch = async (): Promise<Delay> => {
    await pause(opened);
    await gate.child.ask('watch', interval);
    await pause(watchFor);
    return gate.child.ask<Delay>('delay');
  };
  const [result, { p50, p99 }] = await Promise.all([run<OpenResult>(scene.load, { kind: 'open', to: gate.to, rate, requests }), watch()]);
  count(gate, requests, result);
  series.add(gate.name, 'p50', p50);
  series.add(gate.name, 'p99', p99);
}

const minus = (a: number, b: number): number => a - b;
const over = (a: number, b: number): number => a / b;
const without = (a: number, b: number): number => (a - interval) / (b - interval);

function rowsOf(placement: Placement, series: Series): Row[] {
  const row = (what: string, of: string, a: Name, b: Name, combine: typeof minus, most?: number): Row => compared({ placement, what, gates: `${a} : ${b}` }, series.of(a, of), series.of(b, of), combine, placement === 'free' ? most : undefined);
  const cpu = (of: string, a: Name, b: Name, most?: number): Row => row(`${of}, CPU µs a request`, of, a, b, minus, most);
  return [
    cpu('main thread, steady', 'on', 'off', mostCpu),
    cpu('all threads, steady', 'on', 'off'),
    cpu('main thread, full load', 'on', 'off'),
    cpu('all threads, full load', 'on', 'off'),
    cpu('main thread, full load', 'on, no line', 'off, no line'),
    cpu('all threads, full load', 'on, no line', 'off, no line'),
    // Nothing differs here: how far this is from 0 is how far the others are to be believed.
    cpu('main thread, full load', 'off, no line', 'off'),
    row('event-loop delay p99, ms', 'p99', 'on', 'off', minus, mostDelay),
    row('event-loop delay p99, ×', 'p99', 'on', 'off', over, mostTimes),
    row(`the same, each less ${interval} ms of timer, ×`, 'p99', 'on', 'off', without),
    row('event-loop delay p50, ms', 'p50', 'on', 'off', minus),
  ];
}

/** Two gates, round by round. @param most what the middle of the differences may be; undefined for what is information. */
function compared(about: Row, first: readonly number[], second: readonly number[], combine: typeof minus, most: number | undefined): Row {
  const { median: middle, min, max, values } = pairwise(first, second, combine);
  return {
    ...about,
    medians: `${show(median(first))} : ${show(median(second))}`,
    'of the pairs': show(middle),
    'middle half': `${show(quantile(values, 0.25))} to ${show(quantile(values, 0.75))}`,
    extremes: `${show(min)} to ${show(max)}`,
    pairs: values.length,
    bar: most === undefined ? '' : `≤ ${most}`,
    holds: most === undefined ? '' : middle <= most ? 'yes' : 'NO',
  };
}

/** Whether those that record have recorded all they were sent, and the others nothing: that `on` was on and `off` was off. */
class Kept {
  readonly #counts = new Map<Name, { sent: number; records: number }>();

  async look({ name, dir, sent }: Gate): Promise<void> {
    const records = (): number => Number(sql(join(dir, 'data/heimdall.db'), 'SELECT count(DISTINCT request_id) AS n FROM heimdall_logs')[0]?.['n']);
    if (name.startsWith('on')) await within(10_000, () => records() >= sent);
    const before = this.#counts.get(name) ?? { sent: 0, records: 0 };
    this.#counts.set(name, { sent: before.sent + sent, records: before.records + records() });
  }

  rows(): Row[] {
    return [...this.#counts].map(([name, { sent, records }]) => {
      const expected = name.startsWith('on') ? sent : 0;
      return { placement: 'both', what: `records of ${sent} requests`, gates: name, medians: String(records), bar: `= ${expected}`, holds: records === expected ? 'yes' : 'NO' };
    });
  }
}

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectionsFor, weights, type Bench } from '../bench.ts';
import type { Name } from '../contestants.ts';
import type { RoundResult } from '../load/jobs.ts';
import { settledUsage } from '../machine.ts';
import { table } from '../numbers.ts';

/** The part of V8's CPU profile format that is read here. */
interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  /** Microseconds of the machine's monotonic clock, the one `process.hrtime` reads. */
  readonly startTime: number;
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface Window {
  readonly from: number;
  readonly to: number;
}

/** Microseconds by function and by module. */
interface SelfTimes {
  readonly functions: Map<string, number>;
  readonly modules: Map<string, number>;
}

const TOP = 25;
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Runs one contestant under V8's sampling profiler and tells where its threads spent their own time. */
export async function profile(bench: Bench, name: Name): Promise<string> {
  const flags = ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${bench.dir}`];
  const contestant = await bench.start(name, { nodeFlags: flags });
  if (contestant?.child === undefined) return bench.left.get(name) ?? `${name}: no process to profile`;
  const { child, to } = contestant;
  const { load, quick } = bench.options;
  const requests = Math.ceil((quick ? 10_000 : 40_000) / weights[load.body]);
  await bench.warm([contestant]);
  const from = monotonic();
  const result = await bench.run<RoundResult>({ kind: 'closed', to, connections: connectionsFor(load), requests, limit: 80_000, load });
  await settledUsage(child);
  const window = { from, to: monotonic() };
  await child.stop();
  const files = readdirSync(bench.dir).filter((file) => file.endsWith('.cpuprofile') && file.split('.').includes(String(child.pid)));
  if (files.length === 0) return `${name}: wrote no profile (only contestants of our own do)`;
  const head = `${name}: ${requests} requests, ${result.errors} errors; self time in µs a request, warm, without idle\n${bench.describePinning()}`;
  const threads = files.toSorted().map((file) => describe(file, requests, selfTimes(parse(join(bench.dir, file)), window)));
  return [head, ...threads].join('\n\n');
}

function parse(path: string): CpuProfile {
  return JSON.parse(readFileSync(path, 'utf8')) as CpuProfile;
}

function monotonic(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

function describe(file: string, requests: number, { functions, modules }: SelfTimes): string {
  // CPU.<date>.<time>.<pid>.<thread>.<sequence>.cpuprofile
  const thread = Number(file.split('.').at(-3));
  return `${thread === 0 ? 'Main thread' : `Worker ${thread}`}, by function

${ranking('function', functions, requests, TOP)}

by module

${ranking('module', modules, requests, TOP)}`;
}

function selfTimes({ nodes, startTime, samples, timeDeltas }: CpuProfile, { from, to }: Window): SelfTimes {
  const frames = new Map(nodes.map((node) => [node.id, node.callFrame]));
  const functions = new Map<string, number>();
  const modules = new Map<string, number>();
  let now = startTime;
  samples.forEach((id, index) => {
    now += timeDeltas[index] ?? 0;
    if (now < from || now > to) return;
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === '(idle)') return;
    // The time until the next sample was spent in this one.
    const time = timeDeltas[index + 1] ?? 0;
    add(functions, label(frame), time);
    add(modules, moduleOf(frame), time);
  });
  return { functions, modules };
}

function add(map: Map<string, number>, key: string, value: number): void {
  map.set(key, (map.get(key) ?? 0) + value);
}

function label({ functionName, url, lineNumber }: CallFrame): string {
  const place = url === '' ? '' : `  ${shorten(url)}:${lineNumber + 1}`;
  return `${functionName === '' ? '(anonymous)' : functionName}${place}`;
}

function shorten(url: string): string {
  const path = url.startsWith('file://') ? fileURLToPath(url) : url;
  return path.startsWith(ROOT) ? path.slice(ROOT.length).replace(/^node_modules\//, '') : path;
}

/** A package, one of our files, a part of Node, or the engine. */
function moduleOf({ functionName, url }: CallFrame): string {
  if (url === '') return functionName === '(garbage collector)' ? 'garbage collector' : 'native and engine';
  const inPackage = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (inPackage !== undefined) return inPackage;
  return shorten(url);
}

function ranking(title: string, times: ReadonlyMap<string, number>, requests: number, top: number): string {
  const sum = [...times.values()].reduce((a, b) => a + b, 0);
  const rows = [...times].toSorted((a, b) => b[1] - a[1]).slice(0, top);
  const cells = rows.map(([key, time]) => [key.slice(0, 80), (time / requests).toFixed(2), `${((100 * time) / sum).toFixed(1)}%`]);
  return table([[title, 'µs/request', 'share'], ...cells, ['all', (sum / requests).toFixed(2), '100%']]);
}

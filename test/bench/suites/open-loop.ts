import { rotated, type Bench, type SuiteResult, type Verdict } from '../bench.ts';
import type { Contestant } from '../contestants.ts';
import type { OpenResult } from '../load/jobs.ts';
import { pairwise, quantile, show, showSpread, table, type Spread } from '../numbers.ts';

/** Per segment p50 and p99 in milliseconds, and all latencies together for the pooled tail. */
interface Lane {
  readonly contestant: Contestant;
  readonly p50: number[];
  readonly p99: number[];
  readonly all: number[];
}

const RATE = 500;

/** 500 requests/s at fixed times, whoever is late: what a contestant adds to the direct way, segment by segment. */
export async function openLoop(bench: Bench): Promise<SuiteResult> {
  const { rounds, quick, progress } = bench.options;
  const contestants = await bench.startAll(['direct', 'heimdall', 'hpm', 'pipe']);
  const lanes = contestants.map((contestant): Lane => ({ contestant, p50: [], p99: [], all: [] }));
  const requests = RATE * (quick ? 1 : 2);
  try {
    await bench.warm(contestants);
    for (const { contestant } of lanes) await segment(bench, contestant, requests);
    for (let round = 0; round < rounds; round++) {
      for (const lane of rotated(lanes, round)) {
        const { name } = lane.contestant;
        if (bench.left.has(name)) continue;
        progress(`open loop ${round + 1}/${rounds} ${name}`);
        const latencies = await segment(bench, lane.contestant, requests);
        lane.p50.push(quantile(latencies, 0.5));
        lane.p99.push(quantile(latencies, 0.99));
        lane.all.push(...latencies);
      }
    }
  } finally {
    await Promise.all(contestants.map(({ child }) => child?.stop()));
  }
  return report(lanes.filter(({ contestant }) => !bench.left.has(contestant.name)));
}

async function segment(bench: Bench, { to, name }: Contestant, requests: number): Promise<number[]> {
  const result = await bench.run<OpenResult>({ kind: 'open', to, rate: RATE, requests });
  if (result.errors > 0) bench.left.set(name, `invalid: ${result.errors} wrong answers, first: ${result.firstError}`);
  return result.latencies;
}

function report(lanes: readonly Lane[]): SuiteResult {
  const direct = lanes.find(({ contestant }) => contestant.name === 'direct');
  const rows = lanes.map((lane) => [
    lane.contestant.name,
    show(quantile(lane.all, 0.5)),
    show(quantile(lane.all, 0.99)),
    showSpread(added(lane.p50, direct?.p50)),
    showSpread(added(lane.p99, direct?.p99)),
  ]);
  const head = ['contestant', 'p50 ms', 'p99 ms', 'p50 added', 'p99 added'];
  const text = `Open loop: ${RATE} requests/s at fixed times, latency from the scheduled time; p50 and p99 of all
requests together, then what is added to direct, paired by segment: median (min–max).

${table([head, ...rows])}`;
  const data = lanes.map(({ contestant, p50, p99, all }) => ({ name: contestant.name, p50, p99, requests: all.length }));
  return { name: 'open-loop', text, verdicts: verdicts(lanes, direct), data };
}

function added(own: readonly number[], direct: readonly number[] | undefined): Spread | undefined {
  return direct === undefined ? undefined : pairwise(own, direct, (a, b) => a - b);
}

function verdicts(lanes: readonly Lane[], direct: Lane | undefined): Verdict[] {
  const find = (name: string): Lane | undefined => lanes.find(({ contestant }) => contestant.name === name);
  const own = find('heimdall');
  const hpm = find('hpm');
  const middle = own === undefined ? undefined : added(own.p50, direct?.p50);
  const tail = own === undefined ? undefined : quantile(own.all, 0.99);
  const theirs = hpm === undefined ? undefined : quantile(hpm.all, 0.99);
  return [
    {
      bar: `added at ${RATE}/s: p50 ≤ 0.3 ms (ms)`,
      measured: showSpread(middle),
      reached: middle === undefined ? undefined : middle.median <= 0.3,
    },
    {
      bar: `at ${RATE}/s: p99 ≤ hpm's in the same run (ms)`,
      measured: `${show(tail)} to ${show(theirs)}`,
      reached: tail === undefined || theirs === undefined ? undefined : tail <= theirs,
    },
  ];
}

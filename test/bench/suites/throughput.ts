import { connectionsFor, rotated, weights, type Bench, type SuiteResult, type Verdict } from '../bench.ts';
import type { Contestant, Name } from '../contestants.ts';
import type { Load, RoundResult } from '../load/jobs.ts';
import { settledUsage, usageOf } from '../machine.ts';
import { pairwise, show, showSpread, spread, table, type Spread } from '../numbers.ts';

/** One contestant's rounds; CPU in microseconds a request. */
interface Lane {
  readonly contestant: Contestant;
  requests: number;
  readonly rate: number[];
  readonly total: number[];
  readonly main: number[];
  rss: number;
}

const NAMES: readonly Name[] = ['heimdall', 'turn', 'before', 'hpm', 'assembled', 'pipe', 'portkey', 'litellm', 'newapi', 'nginx'];
/** Above this share of its core a contestant was the slow side, and its rate is its own. */
const SATURATED = 0.9;

/** Closed loop of one kind of request: requests a second and CPU a request, interleaved rounds. */
export async function throughput(bench: Bench): Promise<SuiteResult> {
  const { rounds, quick, progress } = bench.options;
  const contestants = await bench.startAll(NAMES);
  const lanes = contestants.map((contestant): Lane => ({ contestant, requests: 0, rate: [], total: [], main: [], rss: 0 }));
  const seconds = quick ? 1 : 2;
  try {
    for (const lane of lanes) {
      progress(`warm-up ${lane.contestant.name}`);
      await warmUp(bench, lane, seconds);
    }
    for (let round = 0; round < rounds; round++) {
      for (const lane of rotated(lanes, round)) {
        progress(`round ${round + 1}/${rounds} ${lane.contestant.name}`);
        if (!bench.left.has(lane.contestant.name)) await measure(bench, lane, seconds);
      }
    }
  } finally {
    await Promise.all(contestants.map(({ child }) => child?.stop()));
  }
  return report(bench, lanes);
}

/**
 * Passes until the optimising compiler has settled, which takes a gate half a minute: it costs a tenth of its requests' time until
 * then. Each tells how many requests make the next, and at last a round.
 */
async function warmUp(bench: Bench, lane: Lane, seconds: number): Promise<void> {
  lane.requests = Math.ceil(500 / Math.sqrt(weights[bench.options.load.body]));
  for (const share of bench.options.quick ? [0.5, 2, 1] : [0.5, 2, 4, 4, 4, 1]) {
    const rate = await drive(bench, lane, seconds);
    if (bench.left.has(lane.contestant.name)) return;
    lane.requests = Math.max(8, Math.round(rate * seconds * share));
  }
}

async function drive(bench: Bench, lane: Lane, seconds: number): Promise<number> {
  const { to, name } = lane.contestant;
  const limit = seconds * 15_000 + 5000;
  const result = await bench.run<RoundResult>({ kind: 'closed', to, connections: connectionsFor(bench.options.load), requests: lane.requests, limit, load: bench.options.load });
  if (result.errors > 0) bench.left.set(name, `invalid: ${result.errors} wrong answers, first: ${result.firstError}`);
  return result.done / result.seconds;
}

async function measure(bench: Bench, lane: Lane, seconds: number): Promise<void> {
  const { child } = lane.contestant;
  if (child === undefined) return;
  const before = await usageOf(child);
  lane.rate.push(await drive(bench, lane, seconds));
  const after = await settledUsage(child);
  lane.total.push((after.total - before.total) / lane.requests);
  if (before.main !== undefined && after.main !== undefined) lane.main.push((after.main - before.main) / lane.requests);
  lane.rss = after.rss;
}

function report(bench: Bench, lanes: readonly Lane[]): SuiteResult {
  const valid = lanes.filter(({ contestant }) => !bench.left.has(contestant.name));
  const find = (name: Name): Lane | undefined => valid.find(({ contestant }) => contestant.name === name);
  const hpm = find('hpm');
  const rows = valid.map((lane) => row(lane, hpm));
  const head = ['contestant', 'requests/s', 'CPU µs/request', 'main thread', '× hpm', 'main ×', 'busy', 'RSS MB'];
  const text = `Throughput: closed loop, ${connectionsFor(bench.options.load)} connections, ${describeLoad(bench.options.load)}, ${bench.options.rounds} interleaved rounds,
median (min–max); × hpm: how many times less CPU than hpm, round by round.

${table([head, ...rows])}

busy: share of its core; below ${SATURATED * 100} % the load side was the slower one, and only the CPU columns compare.`;
  return { name: 'throughput', text, verdicts: verdicts(bench.options.load, find), data: valid.map(raw) };
}

const sizes = { small: '600-byte chat', agent: '66 KB agent request', conversation: '1 MB conversation', picture: '8 MB picture' } as const;

const describeLoad = ({ body, pace }: Load): string => `${sizes[body]}, ${pace === undefined ? 'JSON answer' : `SSE answer of ${pace.chunks} events`}`;

function row(lane: Lane, hpm: Lane | undefined): string[] {
  const busy = spread(lane.rate.map((rate, round) => (rate * (lane.total[round] ?? 0)) / 1e4)).median;
  return [
    lane.contestant.name,
    showSpread(spread(lane.rate)),
    showSpread(spread(lane.total)),
    show(spread(lane.main).median),
    show(over(hpm?.total, lane.total)?.median),
    show(over(hpm?.main, lane.main)?.median),
    show(Math.min(busy, 100), '%'),
    show(lane.rss / 2 ** 20),
  ];
}

/** How many times less CPU the second one takes. */
function over(other: readonly number[] | undefined, own: readonly number[] | undefined): Spread | undefined {
  if (other === undefined || own === undefined || other.length === 0 || own.length === 0) return undefined;
  return pairwise(other, own, (a, b) => a / b);
}

/** The least ratios to hpm by kind of body: all threads, main thread. */
const leastOf = { small: [1.25, 1.5], agent: [0.7, 1], conversation: [0.7, 1], picture: [0.83, 0.83] } as const;

function verdicts({ body }: Load, find: (name: Name) => Lane | undefined): Verdict[] {
  const own = find('heimdall');
  const bar = (text: string, ratio: Spread | undefined, least: number, binding = false): Verdict => ({
    bar: `heimdall ≥ ${least} × ${text}`,
    measured: showSpread(ratio),
    reached: ratio === undefined ? undefined : ratio.median >= least,
    binding,
  });
  const [total, main] = leastOf[body];
  return [
    bar('hpm, total CPU, all threads on one core', over(find('hpm')?.total, own?.total), total, true),
    bar('hpm, main-thread CPU', over(find('hpm')?.main, own?.main), main),
    ...(find('turn') === undefined ? [] : [{ ...bar('hpm, total CPU', over(find('hpm')?.total, find('turn')?.total), body === 'small' ? total : 0.95), bar: `turn ≥ ${body === 'small' ? total : 0.95} × hpm, total CPU` }]),
    bar('assembled, total CPU', over(find('assembled')?.total, own?.total), 3),
    bar('portkey, total CPU', over(find('portkey')?.total, own?.total), 10),
    ...(find('before') === undefined ? [] : [bar('before, total CPU', over(find('before')?.total, own?.total), 0.97), bar('before, main-thread CPU', over(find('before')?.main, own?.main), 0.97)]),
  ];
}

function raw({ contestant, requests, rate, total, main, rss }: Lane): object {
  return { name: contestant.name, requestsPerRound: requests, requestsPerSecond: rate, totalMicros: total, mainMicros: main, rss };
}

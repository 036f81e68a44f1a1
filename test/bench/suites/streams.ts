import { rotated, type Bench, type SuiteResult, type Verdict } from '../bench.ts';
import type { Contestant, Name } from '../contestants.ts';
import type { FirstTokenResult, HoldResult, RoundResult } from '../load/jobs.ts';
import { settledUsage, usageOf } from '../machine.ts';
import { median, pairwise, quantile, show, showSpread, spread, table, type Spread } from '../numbers.ts';
import { pause } from '../processes.ts';

interface Lane {
  readonly contestant: Contestant;
  /** Events a second and CPU microseconds an event, by round. */
  readonly rate: number[];
  readonly cpu: number[];
}

type ByName = Map<string, number[]>;

const CONCURRENCY = 64;
const CHUNKS = 200;
const LIVE = 1000;
/** One event a second, until the stream is released. */
const LIVE_PACE = { chunks: 1_000_000, every: 1000 };

/** Streaming: how many events a second, how late the first one, how much memory a live one takes. */
export async function streams(bench: Bench): Promise<SuiteResult> {
  const flow = await measureFlow(bench);
  const first = await measureFirstToken(bench);
  const memory = await measureMemory(bench);
  const text = [flowText(flow), firstText(first), memoryText(memory)].join('\n\n');
  const verdicts = [flowVerdict(flow), firstVerdict(first), memoryVerdict(memory)];
  const data = {
    flow: flow.map(({ contestant, rate, cpu }) => ({ name: contestant.name, eventsPerSecond: rate, microsPerEvent: cpu })),
    firstToken: Object.fromEntries(first),
    bytesPerStream: Object.fromEntries(memory),
  };
  return { name: 'streams', text, verdicts, data };
}

async function measureFlow(bench: Bench): Promise<Lane[]> {
  const { rounds, quick, progress } = bench.options;
  const contestants = await bench.startAll(['heimdall', 'hpm', 'pipe']);
  const lanes = contestants.map((contestant): Lane => ({ contestant, rate: [], cpu: [] }));
  const count = quick ? 256 : 768;
  try {
    for (const lane of lanes) await flow(bench, lane.contestant, count);
    for (let round = 0; round < rounds; round++) {
      for (const { contestant, rate, cpu } of rotated(lanes, round)) {
        const { child, name } = contestant;
        if (child === undefined || bench.left.has(name)) continue;
        progress(`streams ${round + 1}/${rounds} ${name}`);
        const before = await usageOf(child);
        const result = await flow(bench, contestant, count);
        const after = await settledUsage(child);
        rate.push(result.events / result.seconds);
        cpu.push((after.total - before.total) / result.events);
      }
    }
  } finally {
    await Promise.all(contestants.map(({ child }) => child?.stop()));
  }
  return lanes.filter(({ contestant }) => !bench.left.has(contestant.name));
}

async function flow(bench: Bench, { to, name }: Contestant, count: number): Promise<RoundResult> {
  const pace = { chunks: CHUNKS, every: 0 };
  const result = await bench.run<RoundResult>({ kind: 'streams', to, concurrency: CONCURRENCY, streams: count, pace });
  if (result.errors > 0) bench.left.set(name, `invalid: ${result.errors} wrong streams, first: ${result.firstError}`);
  return result;
}

function flowText(lanes: readonly Lane[]): string {
  const pipe = lanes.find(({ contestant }) => contestant.name === 'pipe');
  const rows = lanes.map(({ contestant, rate, cpu }) => [
    contestant.name,
    showSpread(spread(rate)),
    showSpread(spread(cpu)),
    pipe === undefined ? '–' : show(share(rate, pipe.rate).median),
    show(Math.min(100, spread(rate.map((value, round) => (value * (cpu[round] ?? 0)) / 1e4)).median), '%'),
  ]);
  const head = ['contestant', 'chunks/s', 'CPU µs/chunk', 'rate ÷ pipe', 'busy'];
  return `Streams: ${CONCURRENCY} at a time, ${CHUNKS} chunks each, as fast as possible, ${lanes[0]?.rate.length ?? 0} interleaved rounds.\n
${table([head, ...rows])}`;
}

function share(a: readonly number[], b: readonly number[]): Spread {
  return pairwise(a, b, (x, y) => x / y);
}

function flowVerdict(lanes: readonly Lane[]): Verdict {
  const find = (name: Name): Lane | undefined => lanes.find(({ contestant }) => contestant.name === name);
  const own = find('heimdall');
  const pipe = find('pipe');
  const ratio = own === undefined || pipe === undefined ? undefined : share(own.rate, pipe.rate);
  return {
    bar: 'chunks/s ≥ 0.9 × pipe',
    measured: showSpread(ratio),
    reached: ratio === undefined ? undefined : ratio.median >= 0.9,
  };
}

/** Milliseconds added to `direct`, sample by sample. */
async function measureFirstToken(bench: Bench): Promise<ByName> {
  bench.options.progress('first token');
  const contestants = await bench.startAll(['direct', 'heimdall', 'hpm', 'pipe']);
  try {
    await bench.warm(contestants);
    for (const contestant of contestants) await flow(bench, contestant, 64);
    const samples = bench.options.quick ? 200 : 800;
    const to = contestants.map((contestant) => contestant.to);
    const result = await bench.run<FirstTokenResult>({ kind: 'first-token', to, samples });
    const times = new Map(contestants.map(({ name }, index) => [name, result.samples[index] ?? []]));
    const direct = times.get('direct');
    times.delete('direct');
    if (direct === undefined) return new Map();
    return new Map([...times].map(([name, own]) => [name, [...pairwise(own, direct, (a, b) => a - b).values]]));
  } finally {
    await Promise.all(contestants.map(({ child }) => child?.stop()));
  }
}

function firstText(added: ByName): string {
  const rows = [...added].map(([name, times]) => [name, show(median(times)), show(quantile(times, 0.9)), show(quantile(times, 0.99))]);
  return `First token, ms added to direct, one stream at a time, paired.\n\n${table([['contestant', 'p50', 'p90', 'p99'], ...rows])}`;
}

function firstVerdict(added: ByName): Verdict {
  const own = added.get('heimdall');
  const middle = own === undefined ? undefined : median(own);
  return {
    bar: 'first token + ≤ 0.5 ms (p50, paired with direct)',
    measured: show(middle, ' ms'),
    reached: middle === undefined ? undefined : middle <= 0.5,
  };
}

/** Resident bytes a live stream adds; a fresh, warmed process for each reading. */
async function measureMemory(bench: Bench): Promise<ByName> {
  const memory: ByName = new Map();
  for (let turn = 0; turn < (bench.options.quick ? 1 : 3); turn++) {
    for (const name of rotated(['heimdall', 'pipe', 'hpm'] as const, turn)) {
      bench.options.progress(`memory ${turn + 1} ${name}`);
      const contestant = await bench.start(name);
      if (contestant === undefined) continue;
      try {
        const bytes = await bytesPerStream(bench, contestant);
        memory.set(name, [...(memory.get(name) ?? []), bytes]);
      } catch (error) {
        bench.left.set(name, `invalid: ${(error as Error).message}`);
      } finally {
        await contestant.child?.stop();
      }
    }
  }
  return memory;
}

async function bytesPerStream(bench: Bench, contestant: Contestant): Promise<number> {
  const { child, to } = contestant;
  if (child === undefined) throw new Error('no process to measure');
  await bench.warm([contestant]);
  await flow(bench, contestant, 128);
  await pause(500);
  const before = (await settledUsage(child)).rss;
  const { live, firstError } = await bench.run<HoldResult>({ kind: 'hold', to, streams: LIVE, pace: LIVE_PACE });
  try {
    if (live < LIVE) throw new Error(`${live} of ${LIVE} streams live: ${firstError ?? 'no first byte'}`);
    await pause(2500);
    return ((await usageOf(child)).rss - before) / LIVE;
  } finally {
    await bench.run({ kind: 'release' });
    // The upstream notices at its next write; the next reading must not share it with the dead.
    await pause(1200);
  }
}

function memoryText(memory: ByName): string {
  const rows = [...memory].map(([name, bytes]) => [name, showSpread(spread(bytes.map((value) => value / 1024)))]);
  return `Memory: ${LIVE} live streams, resident KB added by each, fresh process, no forced collection.\n
${table([['contestant', 'KB/stream'], ...rows])}`;
}

function memoryVerdict(memory: ByName): Verdict {
  const own = memory.get('heimdall');
  const pipe = memory.get('pipe');
  const ratio = own === undefined || pipe === undefined ? undefined : median(own) / median(pipe);
  return {
    bar: `${LIVE} live streams ≤ 1.5 × the pipe's memory`,
    measured: show(ratio),
    reached: ratio === undefined ? undefined : ratio <= 1.5,
  };
}

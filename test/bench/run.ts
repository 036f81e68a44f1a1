import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench, type Options, type SuiteResult, type Verdict } from './bench.ts';
import { BODIES, isBodyKind, type BodyKind } from './bodies.ts';
import { CONTESTANTS, isName, type Name } from './contestants.ts';
import { describeHops, measureHops } from './hops.ts';
import { describeMachine } from './machine.ts';
import { killAll } from './processes.ts';
import { failover } from './suites/failover.ts';
import { openLoop } from './suites/open-loop.ts';
import { profile } from './suites/profile.ts';
import { streams } from './suites/streams.ts';
import { throughput } from './suites/throughput.ts';
import type { Pace } from './wire.ts';

const USAGE = `npm run bench -- [options]

  (nothing)         throughput: closed loop, all contestants
  --streams         chunks/s, first token, memory of 1 000 live streams
  --open-loop       500 requests/s at fixed times, latency added to direct
  --failover        time from a refused first target to the second
  --all             throughput and the three above
  --hops            files and functions of lib/ that one warm chat passes, then the two totals
  --profile NAME    one round under the CPU profiler, self time by function
  --body KIND       what throughput and profile send: ${BODIES.join(', ')} (600 bytes, 66 KB, 1 MB, 8 MB)
  --answer KIND     json or sse (300 events)
  --rounds N        rounds (7; with --quick 3)
  --before DIR      another checkout of this repository with its packages, side by side as "before"
  --only a,b        of ${Object.keys(CONTESTANTS).join(', ')}
  --quick           short rounds, below a minute
  --json FILE       raw numbers of every round

Exit code 1 when heimdall does not reach 1.25 × hpm by total CPU, 2 when the benchmark itself failed.`;

/** Suites a flag asks for, in the order they run. */
const SUITES = { throughput, streams, 'open-loop': openLoop, failover } as const;
type SuiteName = keyof typeof SUITES;

const LIMIT = 15 * 60_000;
const root = fileURLToPath(new URL('../..', import.meta.url));

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    only: { type: 'string' },
    profile: { type: 'string' },
    json: { type: 'string' },
    before: { type: 'string' },
    body: { type: 'string', default: 'small' },
    answer: { type: 'string', default: 'json' },
    quick: { type: 'boolean', default: false },
    streams: { type: 'boolean', default: false },
    'open-loop': { type: 'boolean', default: false },
    failover: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    hops: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) console.log(USAGE);
else if (values.hops) console.log(describeHops(await measureHops()));
else process.exitCode = await main();

async function main(): Promise<number> {
  const bench = new Bench(options());
  const abandon = (reason: string): void => {
    console.error(reason);
    killAll();
    bench.remove();
    process.exit(2);
  };
  process.once('SIGINT', () => abandon('interrupted'));
  process.once('SIGTERM', () => abandon('terminated'));
  process.once('exit', killAll);
  const watchdog = setTimeout(() => abandon(`longer than ${LIMIT / 60_000} minutes: given up`), LIMIT);
  try {
    const { before } = bench.options;
    for (const checkout of before === undefined ? [root] : [root, before]) build(bench, checkout);
    await bench.open();
    if (values.profile !== undefined) return await profileOne(bench, values.profile);
    return await suites(bench);
  } catch (error) {
    console.error(error);
    return 2;
  } finally {
    clearTimeout(watchdog);
    await bench.close();
  }
}

/**
 * Compiles a checkout: measured is the package as it is installed. Run from its sources it would hold, for as long as it runs, 40 MB
 * that Node needs to take the types out.
 */
function build(bench: Bench, checkout: string): void {
  bench.options.progress(`compile ${checkout}`);
  const { status, stdout } = spawnSync(process.execPath, [join(checkout, 'node_modules/typescript/bin/tsc'), '-p', checkout], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${checkout} cannot be compiled: ${stdout.slice(0, 1000)}`);
}

function options(): Options {
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 7));
  if (!Number.isInteger(rounds) || rounds < 1) throw new TypeError(`--rounds: expected a whole number above 0, got "${values.rounds}"`);
  return {
    rounds,
    quick: values.quick,
    before: values.before === undefined ? undefined : resolve(values.before),
    load: { body: bodyKind(values.body), pace: answerPace(values.answer) },
    only: values.only?.split(',').map(contestantName),
    progress: (text) => {
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
    },
  };
}

function bodyKind(text: string): BodyKind {
  if (isBodyKind(text)) return text;
  throw new TypeError(`--body: expected one of ${BODIES.join(', ')}, got "${text}"`);
}

function answerPace(text: string): Pace | undefined {
  if (text === 'json') return undefined;
  if (text === 'sse') return { chunks: 300, every: 0 };
  throw new TypeError(`--answer: expected json or sse, got "${text}"`);
}

function contestantName(text: string): Name {
  if (isName(text)) return text;
  throw new TypeError(`expected one of ${Object.keys(CONTESTANTS).join(', ')}, got "${text}"`);
}

async function profileOne(bench: Bench, text: string): Promise<number> {
  const found = await profile(bench, contestantName(text));
  bench.options.progress('');
  console.log(`${describeMachine()}\n${found}`);
  return 0;
}

async function suites(bench: Bench): Promise<number> {
  const chosen = (Object.keys(SUITES) as SuiteName[]).filter((name) => values.all || (name !== 'throughput' && values[name]));
  const results: SuiteResult[] = [];
  console.log(describeMachine());
  for (const name of chosen.length === 0 ? (['throughput'] as const) : chosen) {
    const result = await SUITES[name](bench);
    bench.options.progress('');
    results.push(result);
    console.log(`\n${result.text}`);
  }
  console.log(`\n${bench.describePinning()}`);
  for (const [name, reason] of bench.left) console.log(`${name}: ${reason}`);
  const verdicts = results.flatMap((result) => result.verdicts);
  console.log(`\nBars\n${verdicts.map(verdictLine).join('\n')}`);
  if (values.json !== undefined) writeJson(values.json, bench, results);
  return verdicts.some((verdict) => verdict.binding && fails(verdict, bench)) ? 1 : 0;
}

function verdictLine({ bar, measured, reached }: Verdict): string {
  const state = reached === undefined ? 'not measured' : reached ? 'reached' : 'MISSED';
  return `  ${state.padEnd(12)}  ${bar.padEnd(62)}  ${measured}`;
}

/** A gate that could not be measured although it was asked for has not reached its bar. */
function fails({ reached }: Verdict, bench: Bench): boolean {
  return reached === false || (reached === undefined && bench.left.has('heimdall'));
}

function writeJson(path: string, bench: Bench, results: readonly SuiteResult[]): void {
  const skipped = Object.fromEntries(bench.left);
  const document = { machine: describeMachine(), pinning: bench.describePinning(), skipped, results };
  writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
}

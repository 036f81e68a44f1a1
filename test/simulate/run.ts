// Simulates people and attackers in front of a gate, and prints what the watch finds. `npm run simulate -- --help`
import { parseArgs } from 'node:util';
import { judgeSeed, type Report } from './judge.ts';
import { replay } from './replay.ts';
import { tableOf } from './table.ts';

const help = `npm run simulate -- [options]

  --seed N      seed of the random numbers                 default 1
  --seeds N,N   several seeds, added up
  --keys K      keys                                       default 5000
  --days D      counted days                               default 7
  --replay FILE judges the records of FILE, as heimdall logs --format jsonl prints them
  --json        one line of JSON for each seed
  --markdown    tables of all seeds together, with 95 % intervals

Example: npm run simulate -- --seed 7 --keys 300 --days 7 --json`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' }, seeds: { type: 'string' }, keys: { type: 'string', default: '5000' }, days: { type: 'string', default: '7' },
    replay: { type: 'string' }, json: { type: 'boolean', default: false }, markdown: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  },
});

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: expected a whole number above 0, got ${JSON.stringify(text)}. Example: --${name} 300`);
  return value;
}

if (values.help) console.log(help);
else if (values.replay !== undefined) {
  const judged = await replay(values.replay);
  console.log(values.json ? JSON.stringify(judged) : `${judged.records} records, ${judged.findings.length} findings\n${JSON.stringify(judged.findings, null, 2)}`);
} else {
  const keys = whole('keys', values.keys);
  const days = whole('days', values.days);
  const seeds = (values.seeds ?? values.seed).split(',').map((text) => whole('seed', text));
  const reports: Report[] = [];
  for (const seed of seeds) {
    const began = performance.now();
    const report = judgeSeed(seed, keys, days);
    reports.push(report);
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    if (values.json) console.log(JSON.stringify({ ...report, alarms: undefined, missed: undefined, seconds }));
    else if (!values.markdown) print(report, seconds);
  }
  if (values.markdown) console.log(tableOf(reports));
}

function print(report: Report, seconds: number): void {
  console.log(`seed ${report.seed}: ${report.keys} keys, ${report.days} days, ${report.key_days} key-days, ${seconds} s`);
  console.log(`false alarms ${report.false_alarms} = ${((report.false_alarms / report.key_days) * 1000).toFixed(3)} per 1000 key-days`);
  for (const [kind, { cases, found, median_requests: median }] of Object.entries(report.attacks)) console.log(`  ${kind.padEnd(20)} ${found}/${cases}  median requests ${median}`);
  for (const [kind, { keys, actions }] of Object.entries(report.innocent)) console.log(`  ${kind.padEnd(20)} ${keys} keys, ${actions} actions`);
  for (const { threshold, recall, per_1000_key_days: alarms } of report.curve) console.log(`  from ${threshold}: recall ${recall.toFixed(3)}, ${alarms.toFixed(3)} false alarms per 1000 key-days`);
  for (const line of report.alarms) console.log(`  false: ${line}`);
  for (const line of report.missed) console.log(`  missed: ${line}`);
}

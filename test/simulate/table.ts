import type { Report } from './judge.ts';

const z = 1.96;

/** 95 % interval of a share, by Wilson. */
function shareInterval(found: number, of: number): readonly [number, number] {
  const share = found / of;
  const middle = (share + (z * z) / (2 * of)) / (1 + (z * z) / of);
  const half = (z / (1 + (z * z) / of)) * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** 95 % interval of a count, by Byar's approximation of Poisson's. */
function countInterval(count: number): readonly [number, number] {
  const low = count === 0 ? 0 : count * (1 - 1 / (9 * count) - z / (3 * Math.sqrt(count))) ** 3;
  const more = count + 1;
  return [low, more * (1 - 1 / (9 * more) + z / (3 * Math.sqrt(more))) ** 3];
}

/** The reports of several seeds together as Markdown, with 95 % intervals. */
export function tableOf(reports: readonly Report[]): string {
  const sum = (of: (report: Report) => number): number => reports.reduce((all, report) => all + of(report), 0);
  const keyDays = sum(({ key_days: days }) => days);
  const share = (found: number, of: number): string => `${(found / of).toFixed(3)} (${shareInterval(found, of).map((value) => value.toFixed(3)).join('–')})`;
  const rate = (count: number): string => `${((count / keyDays) * 1000).toFixed(3)} (${countInterval(count).map((value) => ((value / keyDays) * 1000).toFixed(3)).join('–')})`;
  const [{ attacks, innocent, curve, keys, days }] = reports as readonly [Report, ...Report[]];
  const kinds = Object.keys(attacks).map((kind) => {
    const [cases, found] = [sum((report) => report.attacks[kind]?.cases ?? 0), sum((report) => report.attacks[kind]?.found ?? 0)];
    const medians = reports.flatMap((report) => report.attacks[kind]?.median_requests ?? []).sort((one, other) => one - other);
    return `| ${kind} | ${found} of ${cases} | ${share(found, cases)} | ${medians[Math.floor((medians.length - 1) / 2)] ?? '–'} |`;
  });
  const kindsOfInnocents = Object.keys(innocent).map((kind) => `| ${kind} | ${sum((report) => report.innocent[kind]?.keys ?? 0)} | ${sum((report) => report.innocent[kind]?.actions ?? 0)} |`);
  const cases = (report: Report): number => Object.values(report.attacks).reduce((all, each) => all + each.cases, 0);
  const points = curve.map(({ threshold }, at) => {
    const found = Math.round(sum((report) => (report.curve[at]?.recall ?? 0) * cases(report)));
    const alarms = Math.round(sum((report) => ((report.curve[at]?.per_1000_key_days ?? 0) * report.key_days) / 1000));
    return `| ${threshold} | ${share(found, sum(cases))} | ${alarms} | ${rate(alarms)} |`;
  });
  return [
    `Seeds ${reports.map(({ seed }) => seed).join(', ')}, ${keys} keys × ${days} days each: ${keyDays} key-days, ${sum(({ false_alarms: alarms }) => alarms)} false alarms, ${rate(sum(({ false_alarms: alarms }) => alarms))} per 1 000 keys a day.`,
    '', '| attack | found | recall (95 %) | median requests |', '|---|---|---|---|', ...kinds,
    '', '| innocent | keys | actions |', '|---|---|---|', ...kindsOfInnocents,
    '', '| from score | recall (95 %) | false alarms | per 1 000 keys a day (95 %) |', '|---|---|---|---|', ...points, '',
  ].join('\n');
}

import type { SqlRow } from '../../types/journal.d.ts';
import type { Question } from '../../types/reader.d.ts';
import { momentOf, seriesOf, spendOf, totalsOf } from '../journal/journal.ts';
import { invalid } from '../registry/registry.ts';
import { packageVersion } from '../platform/platform.ts';
import { type AdminServices, type Method, parametersOf, word } from './call.ts';
import { namedFinding } from './findings.ts';
import { iso } from './fields.ts';
import { foundOf, readable, recordsJson } from './found.ts';
import { conditionOf, problemsOf, queueJson, targetJson } from './status.ts';
import { inHandOf } from './hub.ts';

const seconds = { minute: 60, hour: 3600, day: 86_400 } as const;
/** Values of a series at most: a range is refused that has more. */
const mostValues = 3000;
/** Longest range for which minutes are the default, and hours, seconds. */
const inMinutes = 6 * 3600;
const inHours = 31 * 86_400;
const week = 7 * 86_400;

/** `GET series?from&to&step`: sums of requests by minute, hour or day, from what the journal's worker has added up. */
export const showSeries: Method = async (call, services) => {
  const asked = parametersOf(call, ['from', 'to', 'step']);
  const now = services.core.clock.now();
  const [from, to] = [timeOf(asked, 'from', now - 86_400_000, now), timeOf(asked, 'to', now, now)];
  if (to <= from) throw invalid('from', 'a time before to', iso(from * 1000) ?? '', '24h');
  const usual = to - from <= inMinutes ? 'minute' : to - from <= inHours ? 'hour' : 'day';
  const step = word(asked, 'step', ['minute', 'hour', 'day'] as const, usual);
  if ((to - from) / seconds[step] > mostValues) throw invalid('step', `at most ${mostValues} of them from from to to`, step, usual);
  await services.records.sum();
  return { status: 200, body: await seriesBody(services, step, from, to) };
};

function timeOf(asked: ReadonlyMap<string, string>, name: string, fallback: number, now: number): number {
  const text = asked.get(name);
  const at = text === undefined ? fallback : momentOf(text, now);
  if (at === null) throw invalid(name, 'a date, a date and time, or a duration back from now', JSON.stringify(text?.slice(0, 40)), '24h');
  return Math.floor(at / 1000);
}

async function seriesBody(services: AdminServices, step: keyof typeof seconds, from: number, to: number): Promise<object> {
  const width = seconds[step];
  const first = Math.floor(from / width) * width;
  const rows = await services.records.ask(seriesOf(step, first, to));
  const known = new Map(rows.map((row) => [Number(row['time']), row]));
  const times = Array.from({ length: Math.ceil((to - first) / width) }, (_, at) => first + at * width);
  const all = (read: (row: SqlRow) => number | null, empty: number | null): (number | null)[] => times.map((time) => {
    const row = known.get(time);
    return row === undefined ? empty : read(row);
  });
  const sum = (name: string): (number | null)[] => all((row) => Number(row[name]), 0);
  const mean = (name: string, by: string): (number | null)[] => all((row) => meanOf(row, name, by), null);
  return {
    step, from: iso(first * 1000), to: iso(to * 1000), times, requests: sum('requests'), errors: sum('errors'), refused: sum('refused'), cost: sum('cost'), prompt_tokens: sum('prompt'), completion_tokens: sum('completion'),
    overhead: mean('overhead', 'overheads'), duration: mean('duration', 'requests'), first_byte: mean('first_byte', 'first_bytes'),
  };
}

const meanOf = (row: SqlRow, name: string, by: string): number | null => (Number(row[by] ?? 0) === 0 ? null : Math.round((Number(row[name]) / Number(row[by])) * 1000) / 1000);

/** `GET overview`: whether anything is wrong, and the last hour beside the same hour a week before. */
export const showOverview: Method = async (call, services) => {
  const { core, targets, queue } = services;
  const now = core.clock.now();
  const [figures, { found }] = await Promise.all([readable(figuresOf(services, Math.floor(now / 1000))), foundOf(services)]);
  const open = found.filter(({ finding: { state } }) => state === 'open');
  const views = targets();
  return {
    status: 200,
    body: {
      time: iso(now), status: conditionOf(services, views), version: await packageVersion(), mode: core.config.mode, access: call.caller.access, instance_only: core.config.rateLimit.redisUrl === null, read_from: core.config.admin.readFrom,
      records: recordsJson(figures), problems: [...problemsOf(services, views), ...(figures.problem === null ? [] : [{ code: 'records', subject: null, detail: figures.problem }])],
      ...(figures.value ?? noFigures),
      findings: { open: open.length, latest: open.slice(0, 5).map((found) => namedFinding(found, services)) },
      targets: views.map(targetJson), queue: queueJson(queue.view()), in_hand: inHandOf(core),
    },
  };
};

const unknown = { hour: null, last_week: null } as const;
const noFigures = { requests: unknown, errors: unknown, refused: unknown, overhead: unknown, spend: { today: null, last_week: null, month: null }, series: null } as const;

async function figuresOf(services: AdminServices, now: number): Promise<object> {
  await services.records.sum();
  const minute = Math.floor(now / 60) * 60 + 60;
  const hour = Math.floor(now / 3600) * 3600 + 3600;
  const day = new Date(now * 1000);
  const today = Date.UTC(day.getUTCFullYear(), day.getUTCMonth(), day.getUTCDate()) / 1000;
  const month = Date.UTC(day.getUTCFullYear(), day.getUTCMonth(), 1) / 1000;
  const one = async (question: Question): Promise<SqlRow> => (await services.records.ask(question))[0] ?? {};
  const [last, before, spentToday, spentBefore, spentMonth, series] = await Promise.all([
    one(totalsOf(minute - 3600, minute)), one(totalsOf(minute - 3600 - week, minute - week)),
    one(spendOf(today, hour)), one(totalsOf(today - week, minute - week)), one(spendOf(month, hour)),
    seriesBody(services, 'minute', minute - 3600, minute),
  ]);
  const pair = (name: string): object => ({ hour: Number(last[name] ?? 0), last_week: Number(before[name] ?? 0) });
  return {
    requests: pair('requests'), errors: pair('errors'), refused: pair('refused'),
    overhead: { hour: meanOf(last, 'overhead', 'overheads'), last_week: meanOf(before, 'overhead', 'overheads') },
    spend: { today: Number(spentToday['cost'] ?? 0), last_week: Number(spentBefore['cost'] ?? 0), month: Number(spentMonth['cost'] ?? 0) },
    series,
  };
}

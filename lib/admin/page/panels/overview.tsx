import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { useAsk } from '../ask.ts';
import { Chart } from '../chart.tsx';
import { curlOf } from '../api.ts';
import { command, counted } from '../cli.ts';
import { FindingTable } from '../finding.tsx';
import { QueueBar, TargetTable } from '../parts.tsx';
import { go, hrefOf, type PanelName } from '../route.ts';
import type { Compared, Overview, Series } from '../shapes.ts';
import { count, money, none, share, short, t, took } from '../text.ts';
import { Badge, Choice, Num, Panel, Part, Problem, Shown, type Tone, Txt } from '../ui.tsx';

const statusTones: Readonly<Record<Overview['status'], Tone>> = { healthy: 'good', degraded: 'warn', unavailable: 'bad', draining: 'warn' };
/** Where a problem is looked into. */
const placesOf: Readonly<Record<string, PanelName>> = { target_down: 'targets', breaker_open: 'targets' };
const refreshed = 30_000;
const events = /^(?:finding|target|breaker|ban|queue|journal|sink)\b/;

export default function OverviewPanel(): JSX.Element {
  const asked = useAsk<Overview>('overview', { every: refreshed, after: events });
  const texts = t().overview;
  return (
    <Panel title={texts.title} line={curlOf('overview')}>
      <Shown asked={asked}>{(value) => (
        <>
          <Verdict of={value} />
          <Figures of={value} />
          {value.series === null ? null : <Course hour={value.series} />}
          <Part title={texts.latest} note={<Num to={hrefOf('findings', { state: 'open' })} line={command('findings list', [], { state: 'open' })}>{count(value.findings.open)}</Num>}>
            <FindingTable caption={texts.latest} findings={value.findings.latest} changed={asked.again} empty={texts.nothingFound} />
          </Part>
          <div class="columns">
            <Part title={t().targets.title}><TargetTable targets={value.targets} /></Part>
            <Part title={t().targets.queue}><QueueBar queue={value.queue} /></Part>
          </div>
        </>
      )}</Shown>
    </Panel>
  );
}

/** Whether anything is wrong, and what. */
function Verdict({ of: { status, problems, mode, findings, records, read_from: source } }: { readonly of: Overview }): JSX.Element {
  const texts = t().overview;
  const well = status === 'healthy' && problems.length === 0 && findings.open === 0;
  return (
    <div class={`verdict ${well ? 'good' : status === 'unavailable' ? 'bad' : 'warn'}`}>
      <p><Badge tone={statusTones[status]}>{texts.status[status]}</Badge> <strong>{well ? texts.nothingWrong : texts.toLookAt(problems.length, findings.open)}</strong></p>
      {problems.length === 0 ? null : (
        <ul>{problems.map(({ code, subject, detail }) => (
          <li><a href={hrefOf(placesOf[code] ?? 'health')}>{(texts.problem as Readonly<Record<string, string>>)[code] ?? code}</a>{subject === null ? null : <> · <Txt of={subject} /></>}{detail === null ? null : <> · <Txt of={detail} /></>}</li>
        ))}</ul>
      )}
      {mode === 'observe' ? <p>{texts.observes}</p> : null}
      <p class="quiet">{records.available ? (source === 'postgres' ? texts.allInstances : texts.thisInstance) : t().noRecords}</p>
    </div>
  );
}

function Figures({ of }: { readonly of: Overview }): JSX.Element {
  const texts = t().overview;
  const hour = { from: '1h' };
  const line = (filters: Readonly<Record<string, string>>): string => counted({ ...filters, source: 'gate', without_own: 'true' });
  // Days of spend are those of UTC, as those of budgets.
  const today = of.time.slice(0, 10);
  return (
    <ul class="figures">
      <Figure label={texts.requests} value={short(of.requests.hour)} than={of.requests} to={hrefOf('requests', hour)} line={line(hour)} />
      <Figure label={texts.errors} value={short(of.errors.hour)} than={of.errors} to={hrefOf('requests', { ...hour, outcome: 'failed' })} line={line({ ...hour, outcome: 'failed' })} less />
      <Figure label={texts.refused} value={short(of.refused.hour)} than={of.refused} to={hrefOf('requests', { ...hour, outcome: 'refused' })} line={line({ ...hour, outcome: 'refused' })} less />
      <Figure label={texts.overhead} value={took(of.overhead.hour)} than={of.overhead} to={hrefOf('requests', hour)} line={curlOf('overview')} less />
      <Figure label={texts.spend} value={money(of.spend.today)} than={{ hour: of.spend.today, last_week: of.spend.last_week }} to={hrefOf('callers')} line={line({ from: today })} note={of.spend.month === null ? undefined : texts.thisMonth(money(of.spend.month))} />
      <Figure label={texts.open} value={count(of.findings.open)} than={null} to={hrefOf('findings', { state: 'open' })} line={command('findings list', [], { state: 'open' })} />
      <Figure label={texts.inHand} value={count(of.in_hand)} than={null} to={hrefOf('targets')} line={curlOf('overview')} note={texts.waiting(count(of.queue.waiting))} />
    </ul>
  );
}

/** A number with its change since last week. @param less fewer are better. */
function Figure({ label, value, than, to, line, note, less }: { readonly label: string; readonly value: string; readonly than: Compared | null; readonly to: string; readonly line: string; readonly note?: string | undefined; readonly less?: boolean }): JSX.Element {
  const change = than === null || than.hour === null || than.last_week === null ? null : <Change hour={than.hour} before={than.last_week} less={less === true} />;
  return (
    <li class="figure">
      <span>{label}</span>
      <Num to={to} line={line}>{value}</Num>
      <small>{change}{note === undefined ? null : <span>{note}</span>}</small>
    </li>
  );
}

function Change({ hour, before, less }: { readonly hour: number; readonly before: number; readonly less: boolean }): JSX.Element {
  const texts = t().overview;
  if (before === 0) return <span class="quiet">{hour === 0 ? texts.asLastWeek : texts.noneLastWeek}</span>;
  const by = (hour - before) / before;
  if (Math.abs(by) < 0.05) return <span class="quiet">{texts.asLastWeek}</span>;
  const tone = less && by > 0.2 ? 'bad' : 'quiet';
  return <span class={tone}>{by > 0 ? '▲' : '▼'} {texts.onLastWeek(by > 9.99 ? `× ${count(hour / before)}` : share(Math.abs(by)))}</span>;
}

const ranges = ['1h', '24h', '7d', '30d'] as const;

/** Requests, latency and spend over time. */
function Course({ hour }: { readonly hour: Series }): JSX.Element {
  const [range, setRange] = useState<string>('1h');
  const asked = useAsk<Series>(range === '1h' ? null : 'series', { query: { from: range } });
  const series = range === '1h' ? hour : asked.value;
  const texts = t().overview;
  return (
    <Part title={texts.course} note={<Choice label={texts.range} value={range} onChange={setRange} choices={ranges.map((each) => [each, texts.ranges[each]] as const)} />}>
      {range === '1h' || asked.error === null ? null : <Problem error={asked.error} again={asked.again} />}
      {series !== null ? <Charts of={series} /> : asked.error === null ? <p class="empty" aria-busy="true">{t().loading}</p> : null}
    </Part>
  );
}

function Charts({ of }: { readonly of: Series }): JSX.Element {
  const texts = t().overview;
  const choose = (from: number, to: number): void => go('requests', { from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString() });
  const per = texts.per[of.step];
  const amount = (value: number | null): string => (value === null ? none : short(value));
  return (
    <div class="charts">
      <Chart title={`${texts.requests} ${per}`} times={of.times} format={amount} onRange={choose} lines={[{ label: texts.all, values: of.requests, colour: 'ink-1' }, { label: texts.errors, values: of.errors, colour: 'ink-2' }, { label: texts.refused, values: of.refused, colour: 'ink-3' }]} />
      <Chart title={texts.latency} times={of.times} format={took} onRange={choose} lines={[{ label: texts.toFirstByte, values: of.first_byte, colour: 'ink-1' }, { label: texts.added, values: of.overhead, colour: 'ink-2' }]} />
      <Chart title={`${texts.cost} ${per}`} times={of.times} format={money} onRange={choose} lines={[{ label: texts.dollars, values: of.cost, colour: 'ink-1' }]} />
    </div>
  );
}

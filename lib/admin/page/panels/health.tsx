import type { ComponentChildren, JSX } from 'preact';
import { useAsk } from '../ask.ts';
import { curlOf } from '../api.ts';
import { logs } from '../cli.ts';
import { JournalJobs } from '../jobs.tsx';
import { hrefOf } from '../route.ts';
import type { Health } from '../shapes.ts';
import { bytes, count, share, t, took } from '../text.ts';
import { Badge, Bar, Facts, Num, Panel, Part, Shown, Table, type Tone, Txt, When } from '../ui.tsx';

const refreshed = 15_000;
const journalTones: Readonly<Record<string, Tone>> = { open: 'good', idle: 'good', memory: 'warn', full: 'bad', failed: 'bad' };
const sinkTones: Readonly<Record<string, Tone>> = { working: 'good', standby: 'calm', held: 'warn', off: 'bad' };

export default function HealthPanel(): JSX.Element {
  const asked = useAsk<Health>('health', { every: refreshed });
  const texts = t().health;
  return (
    <Panel title={texts.title} line={curlOf('health')}>
      <Shown asked={asked}>{(value) => (
        <>
          <Summary of={value} />
          <div class="columns">
            <Part title={texts.journal}><Journal of={value} /></Part>
            <Part title={texts.resources}><Resources of={value} /></Part>
          </div>
          <Part title={texts.sinks}><Sinks of={value} /></Part>
          {value.certificates.length === 0 ? null : <Part title={texts.certificates}><Certificates of={value} /></Part>}
          {value.routes.length === 0 ? null : <Part title={texts.routes}><Routes of={value} /></Part>}
        </>
      )}</Shown>
      <Part title={t().jobs.title} note={t().jobs.hint}><JournalJobs /></Part>
    </Panel>
  );
}

function Summary({ of }: { readonly of: Health }): JSX.Element {
  const texts = t().health;
  const { redis } = of;
  return (
    <Facts of={[
      [texts.status, <Badge tone={of.status === 'healthy' ? 'good' : of.status === 'unavailable' ? 'bad' : 'warn'}>{t().overview.status[of.status]}</Badge>],
      [texts.version, <Txt of={of.version} />], [texts.uptime, took(of.uptime * 1000)], [texts.mode, texts.modes[of.mode as 'enforce' | 'observe'] ?? of.mode],
      [texts.inHand, <Num to={hrefOf('requests', { live: 'true' })} line={curlOf('health')}>{count(of.requests_in_hand)}</Num>],
      [texts.memory, bytes(of.memory['rss'])], [texts.registry, of.registry.available ? <Badge tone="good">{texts.works}</Badge> : <Badge tone="bad">{texts.unreadable}</Badge>],
      [texts.redis, redis.used ? <Badge tone={redis.state === 'up' ? 'good' : 'bad'}>{redis.state === 'up' ? texts.works : texts.away}</Badge> : texts.notUsed],
      [texts.watch, <>{texts.watchModes[of.anomaly.mode as 'off' | 'shadow' | 'enforce'] ?? of.anomaly.mode} · {texts.watched(count(of.anomaly.callers))}{of.anomaly.lag > 0 ? ` · ${texts.behind(count(of.anomaly.lag))}` : ''}</>],
      [texts.readers, count(of.event_readers)],
    ]} />
  );
}

function Journal({ of: { journal } }: { readonly of: Health }): JSX.Element {
  const texts = t().health;
  const dropped = Object.entries(journal.dropped).filter(([, records]) => records > 0);
  return (
    <Facts of={[
      [texts.state, <><Badge tone={journalTones[journal.state] ?? 'warn'}>{(texts.journalStates as Readonly<Record<string, string>>)[journal.state] ?? journal.state}</Badge>{journal.reason === null ? null : <> <Txt of={journal.reason} /></>}{journal.since === null ? null : <> <When at={journal.since} distance /></>}</>],
      [texts.records, <Num to={hrefOf('requests', { own: 'true' })} line={curlOf('health')}>{count(journal.last)}</Num>], [texts.written, count(journal.written)],
      [texts.waiting, <>{count(journal.waiting)} ({bytes(journal.waiting_bytes)})</>], [texts.size, bytes(journal.bytes)],
      [texts.dropped, dropped.length === 0 ? count(0) : dropped.map(([why, records]) => <span class="pair bad"><Txt of={why} /> {count(records)} </span>)],
    ]} />
  );
}

function Resources({ of: { resources } }: { readonly of: Health }): JSX.Element {
  const texts = t().health;
  if (resources.length === 0) return <p class="empty">{texts.notMeasured}</p>;
  const shown = (resource: string, value: number | null): ComponentChildren => (resource === 'latency' ? took(value) : share(value));
  return (
    <dl class="bars">{resources.map(({ resource, value, threshold, short }) => (
      <div><dt>{(texts.resource as Readonly<Record<string, string>>)[resource] ?? resource}</dt><dd><Bar part={value ?? 0} whole={threshold} tone={short ? 'bad' : 'calm'} text={<>{shown(resource, value)} <small>{texts.ofThreshold} {shown(resource, threshold)}</small></>} /></dd></div>
    ))}</dl>
  );
}

function Sinks({ of: { sinks } }: { readonly of: Health }): JSX.Element {
  const texts = t().health;
  return (
    <Table caption={texts.sinks} rows={sinks} keyOf={({ name }) => name} empty={texts.noSinks} columns={[
      { title: texts.sink, cell: ({ name }) => <Txt of={name} /> },
      { title: texts.state, cell: ({ state, reason }) => <><Badge tone={sinkTones[state] ?? 'warn'}>{(texts.sinkStates as Readonly<Record<string, string>>)[state] ?? state}</Badge>{reason === null ? null : <> <Txt of={reason} /></>}</> },
      { title: texts.lag, number: true, cell: ({ lag, lagging }) => <span class={lagging ? 'bad' : undefined}>{count(lag)}</span> },
      { title: texts.delivered, number: true, cell: ({ delivered }) => count(delivered) },
      { title: texts.refusedBySink, number: true, minor: true, cell: ({ refused }) => count(refused) },
      { title: texts.failures, number: true, minor: true, cell: ({ errors }) => count(errors) },
    ]} />
  );
}

function Certificates({ of: { certificates } }: { readonly of: Health }): JSX.Element {
  const texts = t().health;
  return (
    <Table caption={texts.certificates} rows={certificates} keyOf={({ name }) => name} empty="" columns={[
      { title: texts.certificate, cell: ({ name }) => <Txt of={name} /> },
      { title: texts.expires, cell: ({ expires, ending }) => <span class={ending ? 'bad' : undefined}><When at={expires} distance /></span> },
    ]} />
  );
}

function Routes({ of: { routes } }: { readonly of: Health }): JSX.Element {
  const texts = t().health;
  return (
    <Table caption={texts.routes} rows={routes} keyOf={({ path }) => path} empty="" columns={[
      { title: texts.route, cell: ({ path }) => <Num to={hrefOf('requests', { route: path })} line={logs({ route: path })}><Txt of={path} mono /></Num> },
      { title: texts.state, cell: ({ status }) => <Badge tone={status === 'healthy' ? 'good' : status === 'degraded' ? 'warn' : 'bad'}>{(texts.routeStates as Readonly<Record<string, string>>)[status] ?? status}</Badge> },
      { title: texts.checks, minor: true, cell: ({ checks }) => <Txt of={Object.entries(checks).map(([name, passed]) => `${name} ${passed ? '✓' : '✗'}`).join(', ')} /> },
    ]} />
  );
}

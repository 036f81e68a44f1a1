import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { change, curlOf } from '../api.ts';
import { type Asked, useAsk } from '../ask.ts';
import { counted, logs } from '../cli.ts';
import { FindingTable } from '../finding.tsx';
import { limitText } from '../limit.ts';
import { More, useMore } from '../more.tsx';
import { CallerName } from '../parts.tsx';
import { go, hrefOf, place } from '../route.ts';
import type { Caller, CallerRow, Seen } from '../shapes.ts';
import { count, dateTime, dayOf, money, short, t } from '../text.ts';
import { Change, Choice, Facts, Field, Form, Num, Panel, Part, say, Shown, Table, Txt, When } from '../ui.tsx';

const pageSize = '50';

/** A caller's numbers count what it asked of the gate itself too. */
const all = (wanted: Readonly<Record<string, string>>): Readonly<Record<string, string>> => ({ ...wanted, own: 'true' });
const pathOf = (id: string): string => `callers/${id.split('/').map(encodeURIComponent).join('/')}`;

export default function CallersPanel(): JSX.Element {
  const { id } = place.value.query;
  return id === undefined ? <List /> : <One id={id} />;
}

interface Callers {
  readonly callers: readonly CallerRow[];
  readonly next: string | null;
}

function List(): JSX.Element {
  const query = { limit: pageSize };
  const asked = useAsk<Callers>('callers', { query });
  const more = useMore<Callers, CallerRow>('callers', query, asked, ({ callers }) => callers);
  const texts = t().callers;
  return (
    <Panel title={texts.title} line={logs({ by: 'key', sort: 'last_seen' })} actions={<Find />}>
      <Shown asked={asked}>{() => (
        <>
          <Table caption={texts.title} rows={more.rows} keyOf={({ kind, id }) => `${kind} ${id}`} empty={texts.none} onOpen={({ id }) => go('callers', { id })} columns={[
            { title: texts.caller, cell: ({ id, kind, newapi }) => <CallerName id={id} kind={kind} newapi={newapi} /> },
            { title: texts.identity, minor: true, cell: ({ id, newapi }) => (newapi == null ? <Txt of={null} /> : <><Txt of={id} mono /> {newapi.group === null ? null : <small>{newapi.group}</small>}</>) },
            { title: texts.requests, number: true, cell: ({ id, requests }) => <Num to={hrefOf('requests', all({ key: id }))} line={counted({ key: id })}>{count(requests)}</Num> },
            { title: texts.tokens, number: true, minor: true, cell: ({ id, prompt_tokens: read, completion_tokens: written }) => (read === undefined ? <Txt of={null} /> : <Num to={hrefOf('requests', all({ key: id }))} line={counted({ key: id })}>{short(read)} / {short(written)}</Num>) },
            { title: texts.spend, number: true, minor: true, cell: ({ id, cost }) => <Num to={hrefOf('callers', { id })} line={counted({ key: id })}>{money(cost)}</Num> },
            { title: texts.last, cell: ({ last }) => <When at={last} distance /> },
          ]} />
          <More of={more} />
        </>
      )}</Shown>
    </Panel>
  );
}

/** A caller by its name or identity. */
function Find(): JSX.Element {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const id = String(new FormData(event.target as HTMLFormElement).get('id')).trim();
    if (id !== '') go('callers', { id });
  };
  return <form role="search" class="inline" onSubmit={submit}><input type="search" name="id" aria-label={t().callers.find} placeholder={t().callers.find} /></form>;
}

function One({ id }: { readonly id: string }): JSX.Element {
  const asked = useAsk<Caller>(pathOf(id));
  const texts = t().callers;
  const { newapi } = asked.value ?? {};
  const title = newapi == null ? id : `${newapi.username}${newapi.token_name ? ` / ${newapi.token_name}` : ''}`;
  return (
    <Panel title={`${texts.caller}: ${title.slice(0, 60)}`} line={logs(id.includes('/') ? { address: id, by: 'model' } : { key: id, by: 'model' })} actions={<><a class="button" href={hrefOf('callers')}>{texts.all}</a>{asked.value === null ? null : <Bans of={asked.value} />}</>}>
      <Shown asked={asked}>{(value) => <Details of={value} asked={asked} />}</Shown>
    </Panel>
  );
}

function Bans({ of: { caller: { kind, id } } }: { readonly of: Caller }): JSX.Element {
  const [open, setOpen] = useState(false);
  const texts = t().findings;
  const { title, hint, button } = texts.doing.ban;
  const act = async ({ reason = '', expires = '' }: Readonly<Record<string, string>>): Promise<void> => {
    await change('POST', 'bans', { value: id, kind: kind === 'network' ? 'address' : kind, reason, expires: expires === '' ? null : expires });
    say(texts.isDone(button));
    setOpen(false);
  };
  return (
    <>
      <Change tone="bad" onClick={() => setOpen(true)}>{texts.ban}</Change>
      {open ? (
        <Form title={title} done={button} tone="bad" onClose={() => setOpen(false)} act={act}>
          <p>{hint}</p>
          <p><Txt of={id} mono /></p>
          <Field label={texts.end}><Choice name="expires" value="24h" choices={(['1h', '24h', '7d', '30d', ''] as const).map((each) => [each, t().ends[each]] as const)} /></Field>
          <Field label={texts.reason} hint={texts.reasonHint}><input name="reason" maxLength={500} /></Field>
        </Form>
      ) : null}
    </>
  );
}

function Details({ of, asked }: { readonly of: Caller; readonly asked: Asked<Caller> }): JSX.Element {
  const texts = t().callers;
  const { caller: { kind, id } } = of;
  const wanted = kind === 'network' ? { address: id } : { key: id };
  const lists: readonly (readonly [string, readonly Seen[], string])[] = [
    [texts.models, of.models, 'model'], [texts.networks, of.networks, 'address'], [texts.clients, of.clients, 'client'], [texts.devices, of.devices, 'device_id'], [texts.sessions, of.sessions, 'session_id'], [texts.homes, of.homes, 'home_id'],
  ];
  return (
    <>
      <Facts of={[
        [texts.identity, <><small>{texts.kinds[kind]}</small> <Txt of={id} mono={kind !== 'key'} /></>],
        ...(of.newapi == null ? [] : [[texts.newapi, <Txt of={`${of.newapi.username} (${of.newapi.user_id})${of.newapi.token_name ? ` · ${of.newapi.token_name}` : ''}${of.newapi.group ? ` · ${of.newapi.group}` : ''}`} />] as const]),
        [texts.requests, <Num to={hrefOf('requests', all(wanted))} line={counted(wanted)}>{count(of.requests)}</Num>],
        [texts.spend, <Num to={hrefOf('requests', all(wanted))} line={counted(wanted)}>{money(of.cost)}</Num>],
        ...(of.spend === null ? [] : [[texts.spendNow, <Num line={curlOf(pathOf(id))}>{texts.dayAndMonth(money(of.spend.day), money(of.spend.month))}</Num>] as const]),
        [texts.since, <><When at={of.first} /> – <When at={of.last} /></>],
      ]} />
      <Timeline hours={of.hours} wanted={wanted} />
      {of.limits.length === 0 ? null : (
        <Part title={texts.limits}><Table caption={texts.limits} rows={of.limits} keyOf={({ rule }) => rule} empty="" columns={[
          { title: texts.rule, cell: ({ rule }) => <Txt of={rule} /> },
          { title: texts.limit, number: true, cell: (limit) => limitText(limit) },
          { title: texts.remaining, number: true, cell: ({ rule, remaining }) => (remaining !== null && /budget/.test(rule) ? money(remaining) : count(remaining)) },
        ]} /></Part>
      )}
      <Part title={t().findings.title}><FindingTable caption={t().findings.title} findings={of.findings} changed={asked.again} empty={t().findings.none} /></Part>
      <div class="columns three">{lists.map(([title, rows, filter]) => <Part title={title} note={count(rows.length)}><SeenTable title={title} rows={rows} filter={filter} wanted={wanted} /></Part>)}</div>
    </>
  );
}

function SeenTable({ title, rows, filter, wanted }: { readonly title: string; readonly rows: readonly Seen[]; readonly filter: string; readonly wanted: Readonly<Record<string, string>> }): JSX.Element {
  const texts = t().callers;
  return (
    <Table caption={title} rows={rows} keyOf={({ id }) => id} empty={texts.nothing} columns={[
      { title, cell: ({ id }) => <Txt of={/^[0-9a-f]{16,}$/.test(id) ? id.slice(0, 12) : id} mono={filter !== 'model'} /> },
      { title: texts.requests, number: true, cell: ({ id, requests }) => <Num to={hrefOf('requests', all({ ...wanted, [filter]: id }))} line={counted({ ...wanted, [filter]: id })}>{count(requests)}</Num> },
      { title: texts.last, cell: ({ last }) => <When at={last} distance /> },
    ]} />
  );
}

const hour = 3_600_000;
/** Hours that the timeline shows: a week, in parts that are wide enough to be clicked. */
const shownHours = 168;
const hoursOfPart = 24;

/** Requests of each hour of a week, the highest as high as the box; a click shows those of a day. */
function Timeline({ hours, wanted }: { readonly hours: Caller['hours']; readonly wanted: Readonly<Record<string, string>> }): JSX.Element {
  const texts = t().callers;
  const known = new Map(hours.map(({ hour: at, requests }) => [Date.parse(at), requests]));
  const now = Math.floor(Date.now() / hour) * hour;
  const week = Array.from({ length: shownHours }, (_none, at) => now - (shownHours - 1 - at) * hour);
  const most = Math.max(1, ...week.map((at) => known.get(at) ?? 0));
  const sum = week.reduce((total, at) => total + (known.get(at) ?? 0), 0);
  return (
    <Part title={texts.timeline} note={texts.thisWeek(count(sum), count(most))}>
      <div class="timeline">{Array.from({ length: shownHours / hoursOfPart }, (_none, part) => {
        const hoursOf = week.slice(part * hoursOfPart, (part + 1) * hoursOfPart);
        const [begin, end] = [hoursOf[0] as number, (hoursOf.at(-1) as number) + hour];
        const range = { from: new Date(begin).toISOString(), to: new Date(end).toISOString() };
        const requests = hoursOf.reduce((total, at) => total + (known.get(at) ?? 0), 0);
        const bars = hoursOf.map((at) => <i key={at} title={`${dateTime(at)}: ${count(known.get(at) ?? 0)}`} style={{ height: known.has(at) ? `${Math.max(4, ((known.get(at) ?? 0) / most) * 100)}%` : '0' }} />);
        if (requests === 0) return <span key={begin}>{bars}</span>;
        return <a key={begin} href={hrefOf('requests', all({ ...wanted, ...range }))} data-line={counted({ ...wanted, ...range })} aria-label={`${dateTime(begin)} – ${dateTime(end)}: ${count(requests)}`}>{bars}</a>;
      })}</div>
      <div class="days" aria-hidden="true">{Array.from({ length: shownHours / hoursOfPart }, (_none, part) => <small key={part}>{dayOf(week[part * hoursOfPart] as number)}</small>)}</div>
    </Part>
  );
}

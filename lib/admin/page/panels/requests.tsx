import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useAsk } from '../ask.ts';
import { logs } from '../cli.ts';
import { Export } from '../jobs.tsx';
import { More, useMore } from '../more.tsx';
import { CallerName, Outcome } from '../parts.tsx';
import { RecordWindow } from '../record.tsx';
import { go, hrefOf, place, refine } from '../route.ts';
import type { LogRow, Logs } from '../shapes.ts';
import { listen, live, liveFilters, type RateEvent, type RequestEvent } from '../stream.ts';
import { count, money, short, t, took } from '../text.ts';
import { Badge, Choice, Field, Num, Panel, Shown, Table, Txt, When } from '../ui.tsx';

const pageSize = '100';
/** Rows of the live view that are kept. */
const mostLive = 200;

/** Filters in sight, and those that unfold. */
const usual = ['key', 'username', 'address', 'model', 'status', 'outcome', 'target'] as const;
const further = ['token_name', 'client', 'route', 'device', 'session', 'device_id', 'session_id', 'home_id', 'content', 'user', 'source', 'request_id', 'upstream_request_id'] as const;
const filterNames = ['from', 'to', ...usual, ...further] as const;

const spans = ['', '15m', '1h', '24h', '7d', '30d'] as const;

/** The parameters of the view that are filters. */
function filtersOf(query: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(filterNames.flatMap((name) => (query[name] ? [[name, query[name]] as const] : [])));
}

/** The page's own requests are most of the records of a quiet gate: they are left out but where they are asked for. */
const ownOf = (query: Readonly<Record<string, string>>): '' | 'false' => (query['own'] === 'true' || query['route'] ? '' : 'false');

export default function RequestsPanel(): JSX.Element {
  const { query } = place.value;
  const texts = t().requests;
  const filters = filtersOf(query);
  const { grep = '', order = '', show, live: tail } = query;
  const [exporting, setExporting] = useState(false);
  const own = ownOf(query);
  const left = { without_own: own === '' ? null : 'true' };
  const line = logs({ ...filters, grep, ...left, oldest: order === 'oldest' && tail !== 'true' ? 'true' : null, follow: tail === 'true' ? 'true' : null });
  return (
    <Panel title={texts.title} line={line} actions={(
      <>
        <button type="button" onClick={() => setExporting(true)}>{texts.export}</button>
        <button type="button" aria-pressed={tail === 'true'} onClick={() => refine({ live: tail === 'true' ? null : 'true' })}>{texts.live}</button>
      </>
    )}>
      <Filters query={query} />
      {tail === 'true' ? <Live filters={filters} own={own} /> : <Found filters={filters} grep={grep} order={order} own={own} />}
      {show === undefined ? null : <RecordWindow id={show} onClose={() => refine({ show: null })} />}
      {exporting ? <Export filters={{ ...filters, ...(grep === '' ? {} : { grep }), ...(own === '' ? {} : { own }) }} line={(file) => logs({ ...filters, grep, ...left, export: file })} onClose={() => setExporting(false)} /> : null}
    </Panel>
  );
}

function Filters({ query }: { readonly query: Readonly<Record<string, string>> }): JSX.Element {
  const texts = t().requests;
  const [from, setFrom] = useState(query['from'] ?? '');
  useEffect(() => setFrom(query['from'] ?? ''), [query['from']]);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const fields = Object.fromEntries([...new FormData(event.target as HTMLFormElement)].map(([name, value]) => [name, String(value).trim()]));
    go('requests', { ...fields, live: query['live'] });
  };
  const opened = further.some((name) => query[name]) || Boolean(query['to']);
  const chips = [...filterNames, 'grep', 'own'] as const;
  const set = chips.filter((name) => query[name]);
  return (
    <form class="filters" role="search" aria-label={texts.search} onSubmit={submit} key={JSON.stringify(query)}>
      <div class="grid">
        <Field label={texts.filters.from}><input name="from" list="spans" value={from} placeholder="24h" onInput={(event) => setFrom(event.currentTarget.value)} /></Field>
        <datalist id="spans">{spans.map((span) => <option value={span} />)}</datalist>
        {usual.map((name) => <Filter name={name} value={query[name]} />)}
        <Field label={texts.filters.grep}><input type="search" name="grep" value={query['grep']} placeholder={texts.grepHint} /></Field>
      </div>
      <details open={opened}>
        <summary>{texts.further}</summary>
        <div class="grid">
          <Field label={texts.filters.to}><input name="to" value={query['to']} placeholder="2026-11-30T12:00:00Z" /></Field>
          {further.map((name) => <Filter name={name} value={query[name]} />)}
          <Field label={texts.own}><Choice name="own" value={query['own'] ?? ''} choices={[['', texts.ownLeftOut], ['true', texts.ownShown]]} /></Field>
          <Field label={texts.order}><Choice name="order" value={query['order'] ?? ''} choices={[['', texts.newest], ['oldest', texts.oldest]]} /></Field>
        </div>
      </details>
      <div class="buttons">
        <button type="submit" class="main">{texts.search}</button>
        {set.length === 0 ? null : <a class="button" href={hrefOf('requests', { live: query['live'] })}>{texts.clear}</a>}
        {set.map((name) => <a class="chip" href={hrefOf('requests', { ...query, [name]: null, show: null })}>{name === 'own' ? texts.ownShown : <>{texts.filters[name]}: <Txt of={name === 'outcome' ? outcomeText(query[name]) : query[name]} /></>} <span aria-hidden="true">✕</span><span class="aside">{texts.without}</span></a>)}
      </div>
    </form>
  );
}

const examples: Readonly<Partial<Record<(typeof filterNames)[number], string>>> = { status: '429, 5xx', address: '203.0.113.7', model: 'gpt-5*', client: 'openai-python', route: '/v1/chat/completions', user: '17', source: 'gate' };
/** An outcome of the filter in the language; one with a code as it is. */
const outcomeText = (of = ''): string => (t().requests.outcomes as Readonly<Record<string, string>>)[of] ?? of;
const outcomes = ['served', 'refused', 'failed', 'upstream_error', 'aborted', 'interrupted'] as const;

function Filter({ name, value = '' }: { readonly name: (typeof usual)[number] | (typeof further)[number]; readonly value?: string | undefined }): JSX.Element {
  const texts = t().requests;
  if (name !== 'outcome') return <Field label={texts.filters[name]}><input name={name} value={value} placeholder={examples[name]} spellcheck={false} autocomplete="off" /></Field>;
  const others = value === '' || (outcomes as readonly string[]).includes(value) ? [] : [[value, value] as const];
  return <Field label={texts.filters.outcome}><Choice name="outcome" value={value} choices={[['', texts.any], ...outcomes.map((each) => [each, texts.outcomes[each]] as const), ...others]} /></Field>;
}

function Found({ filters, grep, order, own }: { readonly filters: Readonly<Record<string, string>>; readonly grep: string; readonly order: string; readonly own: string }): JSX.Element {
  const query = { ...filters, grep, order, own, limit: pageSize };
  const asked = useAsk<Logs>('logs', { query });
  const more = useMore<Logs, LogRow>('logs', query, asked, ({ logs: found }) => found);
  const texts = t().requests;
  return <Shown asked={asked}>{() => <div aria-busy={asked.busy}><Rows rows={more.rows} empty={more.stopped ? t().stopped : texts.none} /><More of={more} /></div>}</Shown>;
}

function Rows({ rows, empty }: { readonly rows: readonly LogRow[]; readonly empty: string }): JSX.Element {
  const texts = t().requests;
  const open = (row: LogRow): void => refine({ show: row.request_id });
  return (
    <Table caption={texts.title} rows={rows} keyOf={({ id }) => id} empty={empty} onOpen={open} columns={[
      { title: texts.time, cell: (row) => <a href={hrefOf('requests', { ...place.value.query, show: row.request_id })} data-line={`heimdall logs show ${row.request_id}`}><When at={row.time} /></a> },
      { title: texts.status, number: true, cell: ({ response_status: status }) => <b class={status >= 500 || status === 0 ? 'bad' : status >= 400 ? 'warn' : undefined}>{status}</b> },
      { title: texts.outcome, cell: ({ outcome }) => <Outcome of={outcome} /> },
      { title: texts.took, number: true, cell: ({ response_time: time }) => took(time) },
      { title: texts.caller, cell: (row) => <Who row={row} /> },
      { title: texts.address, minor: true, cell: ({ real_ip: ip }) => <Num to={hrefOf('requests', { address: ip })} line={logs({ address: ip })}><Txt of={ip} mono /></Num> },
      { title: texts.model, minor: true, cell: ({ model }) => <Txt of={model} /> },
      { title: texts.target, minor: true, cell: ({ target, attempts }) => <><Txt of={target} />{attempts > 1 ? <small> ×{attempts}</small> : null}</> },
      { title: texts.tokens, number: true, minor: true, cell: (row) => (row.prompt_tokens === null && row.completion_tokens === null ? <Txt of={null} /> : <>{short(row.prompt_tokens)} / {short(row.completion_tokens)}</>) },
      { title: texts.cost, number: true, minor: true, cell: ({ charged, cost }) => money(charged ?? cost) },
      { title: texts.path, wide: true, minor: true, cell: (row) => <Txt of={`${row.request_method} ${row.request_path}`} mono /> },
    ]} />
  );
}

function Who({ row: { key_id: key, token_id: token, token_key: mask, username, token_name: tokenName } }: { readonly row: LogRow }): JSX.Element {
  if (key === null && token === null) return <Txt of={null} />;
  const name = username ? `${username}${tokenName ? ` / ${tokenName}` : ''}` : key ?? mask;
  return <CallerName id={(key ?? token) as string} kind={key === null ? 'token' : 'key'} name={name} />;
}

/** What ends now. */
function Live({ filters, own }: { readonly filters: Readonly<Record<string, string>>; readonly own: string }): JSX.Element {
  const texts = t().requests;
  const [rows, setRows] = useState<readonly RequestEvent[]>([]);
  const [rate, setRate] = useState<RateEvent | null>(null);
  const carried = Object.fromEntries(Object.entries(filters).filter(([name]) => liveFilters.includes(name)));
  const others = Object.keys(filters).filter((name) => !liveFilters.includes(name));
  const text = JSON.stringify([carried, own]);
  useEffect(() => {
    setRows([]);
    setRate(null);
    const ends = [listen('request', (row) => setRows((before) => [row, ...before].slice(0, mostLive))), listen('rate', setRate)];
    return () => { for (const end of ends) end(); };
  }, [text]);
  return (
    <>
      <p class="rate"><Badge tone={live.value ? 'good' : 'warn'}>{live.value ? texts.listening : t().notConnected}</Badge>{rate === null ? null : <> {texts.rate(count(rate.requests), count(rate.shown), count(rate.in_hand), count(rate.waiting))}</>}</p>
      {others.length === 0 ? null : <p class="quiet">{texts.notLive(others.map((name) => (texts.filters as Readonly<Record<string, string>>)[name] ?? name).join(', '))}</p>}
      <Table caption={texts.live} rows={rows} keyOf={({ id }) => id} empty={texts.waitingForRequests} onOpen={({ id }) => refine({ show: id })} columns={[
        { title: texts.time, cell: ({ id, time }) => <a href={hrefOf('requests', { ...place.value.query, show: id })}><When at={time} /></a> },
        { title: texts.status, number: true, cell: ({ status }) => <b class={status >= 500 || status === 0 ? 'bad' : status >= 400 ? 'warn' : undefined}>{status}</b> },
        { title: texts.outcome, cell: ({ outcome }) => <Outcome of={outcome} /> },
        { title: texts.took, number: true, cell: ({ duration }) => took(duration) },
        { title: texts.caller, cell: ({ key, token, token_mask: mask }) => (key ?? token) === null ? <Txt of={null} /> : <CallerName id={(key ?? token) as string} kind={key === null ? 'token' : 'key'} name={key ?? mask} /> },
        { title: texts.address, minor: true, cell: ({ ip }) => <Txt of={ip} mono /> },
        { title: texts.model, minor: true, cell: ({ model }) => <Txt of={model} /> },
        { title: texts.target, minor: true, cell: ({ target }) => <Txt of={target} /> },
        { title: texts.tokens, number: true, minor: true, cell: (row) => <>{short(row.prompt_tokens)} / {short(row.completion_tokens)}</> },
        { title: texts.path, wide: true, minor: true, cell: ({ method, route }) => <Txt of={`${method ?? ''} ${route}`} mono /> },
      ]} />
    </>
  );
}

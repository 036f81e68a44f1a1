// What a caller may see of itself, by its own credential, which is kept for this tab alone.

import { type JSX, render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Failure } from './failure.ts';
import { limitText } from './limit.ts';
import type { Limit } from './shapes.ts';
import { count, language, money, short, speak, t, took } from './text.ts';
import { Badge, Part, problemText, Table, Txt, When } from './ui.tsx';

const keptAs = 'heimdall.me';

interface Me {
  readonly caller: string | { readonly id: string } | null;
  readonly records: { readonly available: boolean };
  readonly spend: { readonly day: number | null; readonly month: number | null };
  readonly limits: readonly Limit[];
  readonly requests: readonly MyRequest[];
  readonly findings: readonly { readonly sentence: string | { readonly en: string; readonly 'zh-CN': string }; readonly state: string; readonly action: string; readonly since: string }[];
}

interface MyRequest {
  readonly request_id: string;
  readonly timestamp: number;
  readonly response_status: number;
  readonly response_time: number;
  readonly outcome: string;
  readonly model: string | null;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  readonly cost: number | null;
  readonly charged?: number | null;
}

async function ask(key: string): Promise<Me> {
  const answer = await fetch('api/me', { headers: { Authorization: `Bearer ${key}` }, cache: 'no-store', credentials: 'omit', redirect: 'error' }).catch((error: Error) => { throw new Failure(0, { code: 'unreachable', message: error.message }); });
  if (answer.ok) return answer.json() as Promise<Me>;
  const { error = {} } = await answer.json().catch(() => ({})) as { error?: { message?: string; code?: string } };
  throw new Failure(answer.status, error, answer.headers);
}

function Page(): JSX.Element {
  const [me, setMe] = useState<Me | null>(null);
  const [error, setError] = useState<Failure | null>(null);
  const texts = t().me;
  const load = async (key: string): Promise<void> => {
    try {
      setMe(await ask(key));
      setError(null);
      sessionStorage.setItem(keptAs, key);
    } catch (failure) {
      sessionStorage.removeItem(keptAs);
      setError(failure as Failure);
    }
  };
  useEffect(() => {
    document.title = texts.title;
    const kept = sessionStorage.getItem(keptAs);
    if (kept !== null) void load(kept);
  }, []);
  if (me === null) return <Enter error={error} load={load} />;
  const forget = (): void => { sessionStorage.removeItem(keptAs); setMe(null); };
  return (
    <main class="me">
      <header class="head"><h1>{texts.title}: <Txt of={typeof me.caller === 'string' ? me.caller : me.caller?.id} mono /></h1><div class="actions"><button type="button" onClick={forget}>{texts.forget}</button></div></header>
      <Own of={me} />
    </main>
  );
}

function Enter({ error, load }: { readonly error: Failure | null; readonly load: (key: string) => Promise<void> }): JSX.Element {
  const texts = t().me;
  const [busy, setBusy] = useState(false);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    setBusy(true);
    void load(String(new FormData(event.target as HTMLFormElement).get('key')).trim()).finally(() => setBusy(false));
  };
  return (
    <main class="login">
      <form onSubmit={submit}>
        <h1>{texts.title}</h1>
        <label class="field"><span>{texts.enter}</span><input type="password" name="key" required autofocus autocomplete="off" spellcheck={false} /><small>{texts.hint}</small></label>
        {error === null ? null : <p class="problem" role="alert">{error.status === 401 ? texts.wrong : problemText(error)}</p>}
        <button type="submit" class="main" disabled={busy} aria-busy={busy}>{texts.show}</button>
      </form>
    </main>
  );
}

function Own({ of: { records, spend, limits, requests, findings } }: { readonly of: Me }): JSX.Element {
  const texts = t().me;
  const columns = t().requests;
  return (
    <>
      {records.available ? null : <p class="problem" role="status">{texts.noRecords}</p>}
      <ul class="figures"><li class="figure"><span>{texts.spend}, {texts.today}</span><b class="num">{money(spend.day)}</b></li><li class="figure"><span>{texts.spend}, {texts.month}</span><b class="num">{money(spend.month)}</b></li></ul>
      <Part title={texts.limits}><Table caption={texts.limits} rows={limits} keyOf={({ rule }) => rule} empty={texts.noLimits} columns={[
        { title: texts.rule, cell: ({ rule }) => <Txt of={rule} /> }, { title: texts.limit, number: true, cell: (limit) => limitText(limit) },
        { title: texts.remaining, number: true, cell: ({ rule, remaining }) => (remaining !== null && /budget/.test(rule) ? money(remaining) : count(remaining)) },
      ]} /></Part>
      <Part title={texts.findings}>{findings.length === 0 ? <p class="empty">{texts.noFindings}</p> : (
        <ul class="problems">{findings.map(({ sentence, state, action, since }) => <li><Txt of={typeof sentence === 'string' ? sentence : sentence[language.value]} /> <small>{(t().findings.states as Readonly<Record<string, string>>)[state] ?? state}, {texts.since} <When at={since} /></small> <strong>{(texts.actions as Readonly<Record<string, string>>)[action] ?? ''}</strong></li>)}</ul>
      )}</Part>
      <Part title={texts.requests}><Table caption={texts.requests} rows={requests} keyOf={({ request_id: id }) => id} empty={texts.noRequests} columns={[
        { title: columns.time, cell: ({ timestamp }) => <When at={timestamp} /> }, { title: columns.status, number: true, cell: ({ response_status: status }) => status },
        { title: columns.outcome, cell: ({ outcome }) => <Badge tone={outcome === 'served' ? 'good' : 'warn'}>{(columns.outcomes as Readonly<Record<string, string>>)[outcome.split(':')[0] ?? ''] ?? outcome}</Badge> },
        { title: columns.took, number: true, cell: ({ response_time: time }) => took(time) }, { title: columns.model, cell: ({ model }) => <Txt of={model} /> },
        { title: columns.tokens, number: true, minor: true, cell: (row) => <>{short(row.prompt_tokens)} / {short(row.completion_tokens)}</> }, { title: columns.cost, number: true, minor: true, cell: ({ charged, cost }) => money(charged ?? cost) },
      ]} /></Part>
    </>
  );
}

await speak();
render(<Page />, document.querySelector('#page') as HTMLElement);

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { change } from '../api.ts';
import { useAsk } from '../ask.ts';
import { command, logs } from '../cli.ts';
import { hrefOf } from '../route.ts';
import type { Key, Keys } from '../shapes.ts';
import { count, money, t } from '../text.ts';
import { Badge, Change, Choice, Copy, Field, Form, Num, Panel, say, Shown, Table, type Tone, Txt, When, Window } from '../ui.tsx';

const changes = /^(?:admin|key)/;

type Doing = { readonly what: 'create' } | { readonly what: 'edit' | 'rotate' | 'disable' | 'enable' | 'revoke'; readonly key: Key };

export default function KeysPanel(): JSX.Element {
  const asked = useAsk<Keys>('keys', { after: changes });
  const [doing, setDoing] = useState<Doing | null>(null);
  const [issued, setIssued] = useState<{ readonly name: string; readonly key: string } | null>(null);
  const texts = t().keys;
  return (
    <Panel title={texts.title} line={command('keys list')} actions={<Change tone="main" onClick={() => setDoing({ what: 'create' })}>{texts.create}</Change>}>
      <Shown asked={asked}>{({ keys, accepted, available }) => (
        <>
          {available ? null : <p class="problem" role="status">{texts.lastKnown}</p>}
          {accepted ? null : <p class="hint">{texts.notAccepted}</p>}
          <KeyTable keys={keys} act={setDoing} />
        </>
      )}</Shown>
      {doing === null ? null : <Act {...doing} onClose={() => setDoing(null)} done={(made) => { setDoing(null); setIssued(made); asked.again(); }} />}
      {issued === null ? null : <Issued {...issued} onClose={() => setIssued(null)} />}
    </Panel>
  );
}

/** The state of a key, and how it looks. */
function stateOf({ disabled, expires, previous_until: overlap }: Key): readonly [Tone, keyof ReturnType<typeof t>['keys']['states']] {
  if (disabled) return ['quiet', 'disabled'];
  if (expires !== null && Date.parse(expires) <= Date.now()) return ['quiet', 'expired'];
  return overlap !== null && Date.parse(overlap) > Date.now() ? ['warn', 'rotating'] : ['good', 'active'];
}

function KeyTable({ keys, act }: { readonly keys: readonly Key[]; readonly act: (doing: Doing) => void }): JSX.Element {
  const texts = t().keys;
  return (
    <Table caption={texts.title} rows={keys} keyOf={({ name }) => name} empty={texts.none} columns={[
      { title: texts.name, cell: ({ name }) => <Num to={hrefOf('callers', { id: name })} line={logs({ key: name })}><Txt of={name} /></Num> },
      { title: texts.state, cell: (key) => { const [tone, state] = stateOf(key); return <Badge tone={tone}>{texts.states[state]}</Badge>; } },
      { title: texts.limits, cell: (key) => <Limits of={key} /> },
      { title: texts.models, minor: true, cell: ({ models }) => (models.length === 0 ? texts.every : <Txt of={models.join(', ')} />) },
      { title: texts.cidrs, minor: true, cell: ({ cidrs }) => (cidrs.length === 0 ? texts.every : <Txt of={cidrs.join(', ')} mono />) },
      { title: texts.expires, minor: true, cell: ({ expires }) => (expires === null ? texts.never : <When at={expires} distance />) },
      { title: texts.digest, minor: true, cell: ({ digest }) => <Txt of={digest} mono /> },
      { title: texts.does, cell: (key) => (key.source === 'config' ? <small>{texts.configured}</small> : <Doings of={key} act={act} />) },
    ]} />
  );
}

function Limits({ of: { requests, tokens, concurrency, budget, name } }: { readonly of: Key }): JSX.Element {
  const texts = t().keys;
  const parts = [
    requests && texts.perWindow(count(requests.limit), requests.window), tokens && texts.tokensPerWindow(count(tokens.limit), tokens.window), concurrency && texts.atOnce(count(concurrency)),
    budget?.day != null && texts.aDay(money(budget.day)), budget?.month != null && texts.aMonth(money(budget.month)),
  ].filter(Boolean);
  return <Num line={command('keys list', [], { json: 'true' })} to={hrefOf('callers', { id: name })}>{parts.length === 0 ? texts.unlimited : parts.join(' · ')}</Num>;
}

function Doings({ of: key, act }: { readonly of: Key; readonly act: (doing: Doing) => void }): JSX.Element {
  const texts = t().keys;
  const named = (what: Exclude<Doing['what'], 'create'>): JSX.Element => <Change label={`${texts.doing[what].button}: ${key.name}`} {...(what === 'revoke' ? { tone: 'bad' } : {})} onClick={() => act({ what, key })}>{texts.doing[what].button}</Change>;
  return <span class="buttons tight">{named('edit')}{named('rotate')}{named(key.disabled ? 'enable' : 'disable')}{named('revoke')}</span>;
}

/** The forms of what can be done with a key. */
function Act({ onClose, done, ...doing }: Doing & { readonly onClose: () => void; readonly done: (issued: { readonly name: string; readonly key: string } | null) => void }): JSX.Element {
  const texts = t().keys;
  const { title, hint, button } = texts.doing[doing.what];
  const key = doing.what === 'create' ? null : doing.key;
  const path = key === null ? 'keys' : `keys/${encodeURIComponent(key.name)}`;
  const act = async (fields: Readonly<Record<string, string>>): Promise<void> => {
    let issued: { readonly name: string; readonly key: string } | null = null;
    if (doing.what === 'create') issued = await change('POST', path, { name: fields['name'], ...given(restrictions(fields)), ...(fields['upstream_credential'] ? { upstream_credential: fields['upstream_credential'] } : {}) });
    else if (doing.what === 'edit') await change('PATCH', path, restrictions(fields));
    else if (doing.what === 'rotate') issued = await change('POST', `${path}/rotate`, { overlap: fields['overlap'] || '0' });
    else if (doing.what === 'revoke') await change('DELETE', path);
    else await change('PATCH', path, { disabled: doing.what === 'disable' });
    say(t().findings.isDone(button));
    done(issued);
  };
  return (
    <Form title={key === null ? title : `${title}: ${key.name}`} done={button} tone={doing.what === 'revoke' ? 'bad' : 'main'} onClose={onClose} act={act}>
      <p>{hint}</p>
      {doing.what === 'create' ? <Field label={texts.name} hint={texts.nameHint}><input name="name" required autofocus spellcheck={false} autocomplete="off" /></Field> : null}
      {doing.what === 'create' ? <Restrictions /> : null}
      {doing.what === 'edit' ? <Restrictions of={doing.key} /> : null}
      {doing.what === 'create' ? <Field label={texts.upstream} hint={texts.upstreamHint}><input name="upstream_credential" type="password" autocomplete="off" /></Field> : null}
      {doing.what === 'rotate' ? <Field label={texts.overlap} hint={texts.overlapHint}><Choice name="overlap" value="24h" choices={(['0', '1h', '24h', '7d'] as const).map((each) => [each, texts.overlaps[each]] as const)} /></Field> : null}
    </Form>
  );
}

/** What a key may do, as fields. */
function Restrictions({ of }: { readonly of?: Key }): JSX.Element {
  const texts = t().keys;
  const windowed = (limit: Key['requests'] | undefined): string => (limit == null ? '' : `${limit.limit}/${limit.window}`);
  return (
    <div class="grid">
      <Field label={texts.expires} hint={texts.expiresHint}><input name="expires" value={of?.expires ?? ''} placeholder="30d" /></Field>
      <Field label={texts.models} hint={texts.listHint}><input name="models" value={of?.models.join(', ')} placeholder="gpt-4o, gpt-4o-mini" /></Field>
      <Field label={texts.cidrs} hint={texts.listHint}><input name="cidrs" value={of?.cidrs.join(', ')} placeholder="203.0.113.0/24" /></Field>
      <Field label={texts.requests} hint={texts.windowHint}><input name="requests" value={windowed(of?.requests)} pattern="\d+\/\d+[a-z]+" placeholder="60/1m" /></Field>
      <Field label={texts.tokens} hint={texts.windowHint}><input name="tokens" value={windowed(of?.tokens)} pattern="\d+\/\d+[a-z]+" placeholder="100000/1m" /></Field>
      <Field label={texts.concurrency}><input name="concurrency" value={of?.concurrency ?? ''} type="number" min={1} /></Field>
      <Field label={texts.budgetDay}><input name="budget_day" value={of?.budget?.day ?? ''} type="number" min={0} step="any" /></Field>
      <Field label={texts.budgetMonth}><input name="budget_month" value={of?.budget?.month ?? ''} type="number" min={0} step="any" /></Field>
    </div>
  );
}

/** The restrictions, null and empty where there are none. */
function restrictions(fields: Readonly<Record<string, string>>): object {
  const list = (text = ''): string[] => text.split(/[,\s]+/).filter(Boolean);
  const [day, month] = [numberOf(fields['budget_day']), numberOf(fields['budget_month'])];
  return {
    expires: fields['expires'] || null, models: list(fields['models']), cidrs: list(fields['cidrs']), requests: windowOf(fields['requests']), tokens: windowOf(fields['tokens']),
    concurrency: numberOf(fields['concurrency']), budget: day === null && month === null ? null : { ...(day === null ? {} : { day }), ...(month === null ? {} : { month }) },
  };
}

/** Those that restrict something. */
const given = (all: object): object => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0)));

const numberOf = (text = ''): number | null => (text === '' ? null : Number(text));

function windowOf(text = ''): object | null {
  const [limit = '', window = ''] = text.split('/');
  return limit === '' ? null : { limit: Number(limit), window };
}

/** The one time a key is shown. */
function Issued({ name, key, onClose }: { readonly name: string; readonly key: string; readonly onClose: () => void }): JSX.Element {
  const texts = t().keys;
  return (
    <Window title={texts.issued(name)} onClose={onClose}>
      <p>{texts.shownOnce}</p>
      <p class="secret"><code>{key}</code> <Copy text={key} label={texts.copyKey} /></p>
      <div class="buttons"><button type="button" class="main" onClick={onClose}>{texts.kept}</button></div>
    </Window>
  );
}

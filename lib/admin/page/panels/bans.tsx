import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { change } from '../api.ts';
import { useAsk } from '../ask.ts';
import { command, logs } from '../cli.ts';
import { hrefOf } from '../route.ts';
import type { Ban } from '../shapes.ts';
import { t } from '../text.ts';
import { Change, Choice, Field, Form, Num, Panel, say, Shown, Table, Txt, When } from '../ui.tsx';

const changes = /^(?:admin|ban)/;
const ends = ['1h', '24h', '7d', '30d', ''] as const;

interface Bans {
  readonly bans: readonly Ban[];
  readonly holds: 'all' | 'this';
  /** Whether the store can be read; else these are the bans known last. */
  readonly available: boolean;
}

export default function BansPanel(): JSX.Element {
  const asked = useAsk<Bans>('bans', { after: changes });
  const [adding, setAdding] = useState(false);
  const [lifting, setLifting] = useState<Ban | null>(null);
  const texts = t().bans;
  const lift = async (): Promise<void> => {
    await change('DELETE', `bans/${encodeURIComponent(lifting?.id ?? '')}`);
    say(texts.lifted);
    setLifting(null);
    asked.again();
  };
  return (
    <Panel title={texts.title} line={command('bans')} actions={<Change tone="main" onClick={() => setAdding(true)}>{texts.add}</Change>}>
      <Shown asked={asked}>{({ bans, holds, available }) => (
        <>
          {available ? null : <p class="problem" role="status">{t().keys.lastKnown}</p>}
          {holds === 'this' ? <p class="hint">{texts.hereAlone}</p> : null}
          <Table caption={texts.title} rows={bans} keyOf={({ id }) => id} empty={texts.none} columns={[
            { title: texts.value, cell: (ban) => <Value of={ban} /> },
            { title: texts.kind, minor: true, cell: ({ kind }) => texts.kinds[kind] },
            { title: texts.reason, prose: true, cell: ({ reason }) => <Txt of={reason} /> },
            { title: texts.created, minor: true, cell: ({ created }) => <When at={created} distance /> },
            { title: texts.expires, cell: ({ expires }) => (expires === null ? texts.never : <When at={expires} distance />) },
            { title: t().findings.does, cell: (ban) => <Change label={`${texts.lift}: ${ban.value}`} onClick={() => setLifting(ban)}>{texts.lift}</Change> },
          ]} />
        </>
      )}</Shown>
      {adding ? <Add onClose={() => setAdding(false)} done={() => { setAdding(false); asked.again(); }} /> : null}
      {lifting === null ? null : <Form title={texts.lift} done={texts.lift} onClose={() => setLifting(null)} act={lift}><p>{texts.liftHint}</p><p><Txt of={lifting.value} mono /></p></Form>}
    </Panel>
  );
}

function Value({ of: { kind, value } }: { readonly of: Ban }): JSX.Element {
  const wanted = kind === 'address' ? { address: value } : { key: value };
  return <Num to={hrefOf('requests', wanted)} line={logs(wanted)}><Txt of={value} mono /></Num>;
}

function Add({ onClose, done }: { readonly onClose: () => void; readonly done: () => void }): JSX.Element {
  const texts = t().bans;
  const act = async ({ value = '', kind = '', expires = '', reason = '', force = '' }: Readonly<Record<string, string>>): Promise<void> => {
    await change('POST', 'bans', { value, kind: kind === '' ? null : kind, reason, expires: expires === '' ? null : expires, ...(force === '' ? {} : { force: true }) });
    say(texts.added);
    done();
  };
  return (
    <Form title={texts.add} done={texts.add} tone="bad" onClose={onClose} act={act}>
      <Field label={texts.value} hint={texts.valueHint}><input name="value" required autofocus spellcheck={false} autocomplete="off" /></Field>
      <Field label={texts.kind} hint={texts.kindHint}><Choice name="kind" value="" choices={[['', texts.byForm], ...(['address', 'key', 'token'] as const).map((each) => [each, texts.kinds[each]] as const)]} /></Field>
      <Field label={t().findings.end}><Choice name="expires" value="24h" choices={ends.map((each) => [each, t().ends[each]] as const)} /></Field>
      <Field label={texts.reason} hint={t().findings.reasonHint}><input name="reason" maxLength={500} /></Field>
      <label class="check"><input type="checkbox" name="force" /> <span>{texts.force}</span></label>
    </Form>
  );
}

// A finding: its row with what can be done about it, and its evidence.

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { change } from './api.ts';
import { command } from './cli.ts';
import { CallerName } from './parts.tsx';
import { hrefOf } from './route.ts';
import type { Finding } from './shapes.ts';
import { count, language, t } from './text.ts';
import { Badge, Change, Choice, Facts, Field, Form, Num, say, Table, type Tone, Txt, When, Window } from './ui.tsx';

const stateTones: Readonly<Record<Finding['state'], Tone>> = { open: 'bad', acknowledged: 'warn', undone: 'quiet', false_positive: 'quiet', over: 'quiet' };
const actionTones: Readonly<Record<Finding['action'], Tone>> = { none: 'quiet', flag: 'calm', slow: 'warn', limit: 'warn', freeze: 'bad' };

/** Ends that a form offers; the API takes any duration. */
const ends = ['15m', '1h', '4h', '24h'] as const;
const banEnds = ['1h', '24h', '7d', '30d', ''] as const;

type Doing = 'undo' | 'act' | 'false-positive' | 'acknowledge' | 'ban';

/** What a table of findings shows. */
export interface FindingTableProps {
  readonly caption: string;
  readonly findings: readonly Finding[];
  /** Something was done about one. */
  readonly changed: () => void;
  readonly empty: string;
}

/** Findings, with what can be done in each row. */
export function FindingTable({ caption, findings, changed, empty }: FindingTableProps): JSX.Element {
  const texts = t().findings;
  const [shown, setShown] = useState<Finding | null>(null);
  const [doing, setDoing] = useState<{ readonly what: Doing; readonly finding: Finding } | null>(null);
  const act = (what: Doing, finding: Finding) => (): void => setDoing({ what, finding });
  return (
    <>
      <Table caption={caption} rows={findings} keyOf={({ id }) => id} empty={empty} onOpen={setShown} columns={[
        { title: texts.rule, cell: (finding) => <button type="button" class="link" data-line={command('findings show', [finding.id])} onClick={() => setShown(finding)} aria-label={`${texts.evidence}: ${ruleText(finding.rule)} ${finding.caller.id}`}>{ruleText(finding.rule)}</button> },
        { title: texts.caller, cell: ({ caller: { id, kind, newapi } }) => <CallerName id={id} kind={kind} newapi={newapi} /> },
        { title: texts.score, number: true, minor: true, cell: ({ id, score }) => <Num line={command('findings show', [id])}>{count(score)}</Num> },
        { title: texts.since, minor: true, cell: ({ since }) => <When at={since} distance /> },
        { title: texts.state, cell: (finding) => <State of={finding} /> },
        { title: texts.does, cell: (finding) => <Doings of={finding} act={act} /> },
      ]} />
      {shown === null ? null : <Evidence finding={shown} onClose={() => setShown(null)} act={act} />}
      {doing === null ? null : <Act {...doing} onClose={() => setDoing(null)} done={() => { setDoing(null); setShown(null); changed(); }} />}
    </>
  );
}

/** The rule's name in the language; that of a rule the page does not know, as it is. */
export const ruleText = (rule: string): string => (t().findings.rules as Readonly<Record<string, string>>)[rule] ?? rule;

function State({ of: { state, action, would, expires } }: { readonly of: Finding }): JSX.Element {
  const texts = t().findings;
  return (
    <>
      <Badge tone={stateTones[state]}>{texts.states[state]}</Badge>
      {action === 'none' ? null : <> <Badge tone={actionTones[action]}>{texts.actions[action]}</Badge>{expires === null ? null : <> <small>{texts.until} <When at={expires} /></small></>}</>}
      {would === null || would === 'none' ? null : <> <small>{texts.would(texts.actions[would])}</small></>}
    </>
  );
}

function Doings({ of: finding, act }: { readonly of: Finding; readonly act: (what: Doing, finding: Finding) => () => void }): JSX.Element {
  const texts = t().findings;
  const rests = finding.state === 'undone' || finding.state === 'false_positive';
  const can = finding.caller.kind !== 'content';
  const { instance = null } = finding;
  if (instance !== null) return <small>{texts.elsewhere} <Txt of={instance} mono /></small>;
  return (
    <span class="buttons tight">
      <Change onClick={act('undo', finding)} disabled={rests}>{texts.undo}</Change>
      <Change onClick={act('act', finding)}>{texts.act}</Change>
      <Change onClick={act('false-positive', finding)} disabled={finding.state === 'false_positive'}>{texts.falsePositive}</Change>
      {can ? <Change onClick={act('ban', finding)} tone="bad">{texts.ban}</Change> : null}
    </span>
  );
}

/** Everything about a finding, with the requests that are its evidence. */
function Evidence({ finding, onClose, act }: { readonly finding: Finding; readonly onClose: () => void; readonly act: (what: Doing, finding: Finding) => () => void }): JSX.Element {
  const texts = t().findings;
  const { evidence } = finding;
  const baseline = Object.entries(finding.baseline);
  return (
    <Window side title={ruleText(finding.rule)} onClose={onClose}>
      <p>{finding.sentence[language.value]}</p>
      <Facts of={[
        [texts.caller, <CallerName id={finding.caller.id} kind={finding.caller.kind} newapi={finding.caller.newapi} />],
        [texts.state, <State of={finding} />],
        [texts.score, <>{count(finding.score)} <small>{texts.because} <Txt of={finding.part} mono /></small></>],
        [texts.since, <><When at={finding.since} /> – <When at={finding.last} /></>],
        [texts.seen, texts.counts(count(evidence.requests), count(evidence.devices), count(evidence.networks), count(evidence.sessions))],
        ...(baseline.length === 0 ? [] : [[texts.baseline, baseline.map(([name, value]) => <span class="pair">{count(value)} {(texts.baselines as Readonly<Record<string, string>>)[name] ?? <Txt of={name.replaceAll('_', ' ')} />} </span>)] as const]),
        ...(finding.note === '' ? [] : [[texts.note, <Txt of={finding.note} />] as const]),
        ...(finding.rests_until === null ? [] : [[texts.rests, <When at={finding.rests_until} />] as const]),
      ]} />
      <div class="buttons tight">{(finding.instance ?? null) === null ? <Change onClick={act('acknowledge', finding)} disabled={finding.state !== 'open'}>{texts.acknowledge}</Change> : null}<Doings of={finding} act={act} /></div>
      <h3>{texts.evidence}</h3>
      <ol class="ids">{evidence.records.map((id) => <li><a class="mono" href={hrefOf('requests', { show: id })} data-line={command('logs show', [id])} onClick={onClose}>{id}</a></li>)}</ol>
    </Window>
  );
}

/** The form for one thing that can be done about a finding. */
function Act({ what, finding, onClose, done }: { readonly what: Doing; readonly finding: Finding; readonly onClose: () => void; readonly done: () => void }): JSX.Element {
  const texts = t().findings;
  const { title, hint, button } = texts.doing[what];
  const send = async ({ reason = '', expires = '', action = '' }: Readonly<Record<string, string>>): Promise<void> => {
    if (what === 'ban') await change('POST', 'bans', { value: finding.caller.id, kind: kindOf(finding), reason, expires: expires === '' ? null : expires });
    else await change('POST', `findings/${encodeURIComponent(finding.id)}/${what}`, what === 'act' ? { action, reason, expires: expires === '' ? null : expires } : { reason });
    say(texts.isDone(button));
    done();
  };
  return (
    <Form title={title} done={button} tone={what === 'ban' || what === 'act' ? 'bad' : 'main'} onClose={onClose} act={send}>
      <p>{hint}</p>
      <p>{ruleText(finding.rule)}: <Txt of={finding.caller.newapi?.username ?? finding.caller.id} mono /></p>
      {what === 'act' ? <Field label={texts.action}><Choice name="action" value="slow" choices={(['none', 'flag', 'slow', 'limit', 'freeze'] as const).map((each) => [each, texts.actions[each]] as const)} /></Field> : null}
      {what === 'act' || what === 'ban' ? <Field label={texts.end}><Choice name="expires" value={what === 'act' ? '1h' : '24h'} choices={(what === 'act' ? ends : banEnds).map((each) => [each, t().ends[each]] as const)} /></Field> : null}
      <Field label={texts.reason} hint={texts.reasonHint}><input name="reason" maxLength={500} autofocus /></Field>
    </Form>
  );
}

const kindOf = ({ caller: { kind } }: Finding): string => (kind === 'network' ? 'address' : kind);

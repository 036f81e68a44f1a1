// What several panels show: targets, the queue, a caller, evidence.

import type { JSX } from 'preact';
import { curlOf } from './api.ts';
import { logs } from './cli.ts';
import { hrefOf } from './route.ts';
import type { Breaker, Named, Queue, Target } from './shapes.ts';
import { count, none, t, took } from './text.ts';
import { Badge, Bar, Num, Table, type Tone, Txt, When } from './ui.tsx';

const breakerTones: Readonly<Record<Breaker['state'], Tone>> = { up: 'good', resting: 'warn', probing: 'warn', open: 'bad' };

/** The state of a breaker, why, and until when. */
export function BreakerState({ of: { state, by, until } }: { readonly of: Breaker }): JSX.Element {
  const texts = t().targets;
  return <><Badge tone={breakerTones[state]}>{texts.states[state]}</Badge>{by === null ? null : <> {texts.by[by]}</>}{until === null ? null : <> {texts.next} <When at={until} distance /></>}</>;
}

/** Targets with their state. @param whole what they are, too. */
export function TargetTable({ targets, whole = false }: { readonly targets: readonly Target[]; readonly whole?: boolean }): JSX.Element {
  const texts = t().targets;
  return (
    <Table caption={texts.title} rows={targets} keyOf={({ name }) => name} empty={texts.none} columns={[
      { title: texts.target, cell: ({ name }) => <Num to={hrefOf('requests', { target: name, from: '24h' })} line={logs({ target: name, from: '24h' })}><Txt of={name} /></Num> },
      { title: texts.state, cell: (target) => <BreakerState of={target} /> },
      { title: texts.inHand, number: true, cell: ({ in_hand: inHand, name }) => <Num to={hrefOf('requests', { target: name, live: 'true' })} line={logs({ target: name, follow: 'true' })}>{count(inHand)}</Num> },
      { title: texts.lastProbe, minor: true, cell: ({ last_probe: probe }) => (probe === null ? none : <>{probe.alive ? texts.alive : <Badge tone="bad">{texts.dead}</Badge>} {probe.status ?? ''} · {took(probe.duration)} · <When at={probe.time} distance /></>) },
      ...(whole ? [
        { title: texts.provider, minor: true, cell: ({ provider, host }: Target) => <>{provider} · <Txt of={host} mono /></> },
        { title: texts.credential, minor: true, cell: ({ credential }: Target) => texts.credentials[credential] },
        { title: texts.weight, number: true, minor: true, cell: ({ weight }: Target) => count(weight) },
      ] : []),
    ]} />
  );
}

/** How full the queue is. */
export function QueueBar({ queue: { enabled, active, concurrency, waiting, places, service_time: time, lanes, websockets } }: { readonly queue: Queue }): JSX.Element {
  const texts = t().targets;
  if (!enabled) return <p class="empty">{texts.queueOff}</p>;
  return (
    <dl class="bars" data-line={curlOf('queue')}>
      <div><dt>{texts.running}</dt><dd><Bar part={active} whole={concurrency} text={<>{count(active)} / {count(concurrency)}</>} tone={active >= concurrency ? 'warn' : 'calm'} /></dd></div>
      <div><dt>{texts.waiting}</dt><dd><Bar part={waiting} whole={places} text={<>{count(waiting)} / {count(places)} {waiting > 0 ? texts.ofCallers(lanes) : ''}</>} tone={waiting > 0 ? 'warn' : 'calm'} /></dd></div>
      <div><dt>{texts.websockets}</dt><dd><Bar part={websockets.active} whole={websockets.limit} text={<>{count(websockets.active)} / {count(websockets.limit)}</>} /></dd></div>
      <div><dt>{texts.serviceTime}</dt><dd>{took(time)}</dd></div>
    </dl>
  );
}

/** A caller by the name people know, with a link to what is known of it. */
export function CallerName({ id, kind, newapi, name }: { readonly id: string; readonly kind: string; readonly newapi?: Named | null | undefined; readonly name?: string | null | undefined }): JSX.Element {
  const texts = t().callers;
  const known = newapi == null ? name : `${newapi.username}${newapi.token_name ? ` / ${newapi.token_name}` : ''}`;
  if (kind === 'content') return <><small>{texts.kinds.content}</small> <Num to={hrefOf('requests', { content: id })} line={logs({ content: id })}><Txt of={id.slice(0, 12)} mono /></Num></>;
  return (
    <>
      {known == null ? <><small>{(texts.kinds as Readonly<Record<string, string>>)[kind] ?? kind}</small> </> : null}
      <Num to={hrefOf('callers', { id })} line={logs(kind === 'network' ? { address: id } : { key: id })}>{known == null ? <Txt of={id} mono={kind !== 'key'} /> : <Txt of={known} />}</Num>
    </>
  );
}

const outcomeTone = (outcome: string): Tone => (outcome === 'served' ? 'good' : outcome === 'upstream_error' ? 'bad' : outcome.startsWith('refused') ? 'warn' : 'quiet');

/** An outcome in the language, with the code of a refusal. */
export function Outcome({ of }: { readonly of: string }): JSX.Element {
  const [kind = '', code] = of.split(':');
  const texts = t().requests.outcomes as Readonly<Record<string, string>>;
  return <Badge tone={outcomeTone(of)}>{texts[kind] ?? kind}{code === undefined ? null : <> <Txt of={code} /></>}</Badge>;
}

// One record, whole.

import type { ComponentChildren, JSX } from 'preact';
import { useAsk } from './ask.ts';
import { command } from './cli.ts';
import { CallerName, Outcome } from './parts.tsx';
import { hrefOf } from './route.ts';
import type { LogRecord } from './shapes.ts';
import { bytes, count, money, plain, t, took } from './text.ts';
import { Copy, Facts, Num, Shown, Txt, When, Window } from './ui.tsx';
import { logs } from './cli.ts';

/** The window with one record. */
export function RecordWindow({ id, onClose }: { readonly id: string; readonly onClose: () => void }): JSX.Element {
  const asked = useAsk<LogRecord>(`logs/${encodeURIComponent(id)}`);
  return (
    <Window side title={t().record.title} onClose={onClose}>
      <p class="mono" data-line={command('logs show', [id])}><Txt of={id} /> <Copy text={id} /></p>
      <Shown asked={asked}>{(record) => <Whole of={record} />}</Shown>
    </Window>
  );
}

type Fact = readonly [string, ComponentChildren];

/** A value with a link to the records that share it. */
const alike = (name: string, value: string | null): JSX.Element => (value === null || value === '' ? <Txt of={null} /> : <Num to={hrefOf('requests', { [name]: value })} line={logs({ [name]: value })}><Txt of={value} mono /></Num>);

function Whole({ of }: { readonly of: LogRecord }): JSX.Element {
  const texts = t().record;
  const shown: readonly (readonly [string, readonly Fact[]])[] = [
    [texts.outcome, outcomeOf(of)], [texts.caller, callerOf(of)], [texts.request, requestOf(of)], [texts.times, timesOf(of)], [texts.usage, usageOf(of)],
  ];
  return (
    <>
      {shown.map(([title, facts]) => <section><h3>{title}</h3><Facts of={facts} /></section>)}
      {of.would_refuse.length === 0 ? null : <section><h3>{texts.wouldRefuse}</h3><p><Txt of={of.would_refuse.join(', ')} /></p></section>}
      {of.learnt === undefined ? null : <Content title={texts.learnt} text={JSON.stringify(of.learnt)} />}
      <Content title={texts.headers} text={of.request_headers} />
      <Content title={texts.cookies} text={of.cookies} />
      <Content title={texts.body} text={of.request_body} />
      <Content title={texts.answer} text={of.response_body} />
    </>
  );
}

function outcomeOf(of: LogRecord): Fact[] {
  const texts = t().record;
  return [[texts.status, alike('status', String(of.response_status))], [texts.ended, <Num to={hrefOf('requests', { outcome: of.outcome })} line={logs({ outcome: of.outcome })}><Outcome of={of.outcome} /></Num>], [texts.target, alike('target', of.target)], [texts.attempts, count(of.attempts)], [texts.upstreamId, alike('upstream_request_id', of.upstream_request_id)]];
}

function callerOf(of: LogRecord): Fact[] {
  const texts = t().record;
  const id = of.key_id ?? of.token_id;
  return [
    [texts.caller, id === null ? <Txt of={null} /> : <CallerName id={id} kind={of.key_id === null ? 'token' : 'key'} name={of.key_id ?? of.token_key} />],
    ...(of.username ? [[texts.username, <>{alike('username', of.username)} {of.token_name ? alike('token_name', of.token_name) : null}</>] as const] : []),
    [texts.address, <>{alike('address', of.real_ip)}{of.country ? <> <Txt of={of.country} /></> : null}</>], [texts.chain, <Txt of={of.forwarded_for} mono />],
    [texts.client, alike('client', of.client)], [texts.userAgent, <Txt of={of.user_agent} />], [texts.device, alike('device', of.device_fingerprint)], [texts.session, alike('session', of.session)],
    [texts.deviceId, alike('device_id', of.device_id)], [texts.sessionId, alike('session_id', of.session_id)], [texts.homeId, alike('home_id', of.home_id)], [texts.ja4, <Txt of={of.ja4} mono />],
  ];
}

function requestOf(of: LogRecord): Fact[] {
  const texts = t().record;
  return [
    [texts.path, <Txt of={`${of.request_method} ${of.request_path}`} mono />], [texts.query, <Txt of={of.query} mono />], [texts.route, alike('route', of.route)], [texts.model, alike('model', of.model)],
    [texts.stream, of.stream ? t().yes : t().no], [texts.content, alike('content', of.content_fingerprint)], [texts.source, alike('source', of.source)],
  ];
}

function timesOf(of: LogRecord): Fact[] {
  const texts = t().record;
  return [[texts.arrived, <When at={of.timestamp} />], [texts.took, took(of.response_time)], [texts.queued, took(of.queue_wait)], [texts.firstByte, took(of.first_byte)], [texts.added, took(of.overhead)]];
}

function usageOf(of: LogRecord): Fact[] {
  const texts = t().record;
  return [
    [texts.tokens, <>{count(of.prompt_tokens)} / {count(of.completion_tokens)}</>], [texts.cost, money(of.cost)], ...(of.charged == null ? [] : [[texts.charged, money(of.charged)] as const]),
    [texts.bytes, <>{bytes(of.bytes_in)} / {bytes(of.bytes_out)}</>],
    ...(of.tokens_reserved === null ? [] : [[texts.reserved, <>{count(of.tokens_reserved)} / {count(of.tokens_settled)} / {count(of.tokens_released)}</>] as const]),
  ];
}

/** Kept content as text; JSON is indented. */
function Content({ title, text }: { readonly title: string; readonly text: string | null }): JSX.Element | null {
  if (text === null) return null;
  return <section><h3>{title} <Copy text={text} /></h3><pre tabIndex={0} role="region" aria-label={title}><bdi>{plain(indented(text))}</bdi></pre></section>;
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

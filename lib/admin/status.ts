import { z } from 'zod';
import type { JournalStats } from '../../types/journal.d.ts';
import type { QueueView } from '../../types/queue.d.ts';
import type { SinkView } from '../../types/sink.d.ts';
import type { TargetStatus } from '../../types/target.d.ts';
import { checkText, integer, printable, required, text } from '../config/config.ts';
import { ConfigError, HeimdallError } from '../errors.ts';
import { packageVersion } from '../platform/platform.ts';
import { changed, fieldsOf, type AdminServices, type Method } from './call.ts';
import { iso, strictly } from './fields.ts';
import { inHandOf } from './hub.ts';

/** Largest accepted concurrency. */
const mostAtOnce = 1_000_000;

export const showTargets: Method = (_call, { targets }) => ({ status: 200, body: { targets: targets().map(targetJson) } });

export const showQueue: Method = (_call, { queue }) => ({ status: 200, body: queueJson(queue.view()) });

export const resizeQueue: Method = async (call, { queue }) => {
  const { concurrency } = await fieldsOf(call, capacity);
  const before = queue.view();
  if (!before.enabled) throw new HeimdallError('conflict', { message: 'The queue is switched off (queue.enabled, or the list of middleware), so nothing bounds the requests at a time.' });
  queue.resize(concurrency);
  changed(call, 'queue.resize', 'queue', { concurrency: before.concurrency }, { concurrency });
  return { status: 200, body: queueJson(queue.view()) };
};

/** `GET session`: how the caller has logged in, and what it may do. */
export const showSession: Method = ({ caller }, { core }) => ({ status: 200, body: { auth: core.config.admin.auth, access: caller.access, expires: iso(caller.expires), user: caller.user } });

/** `POST logout`: ends the login of the page. */
export const logOut: Method = ({ caller }) => ({ status: 204, head: caller.leave?.() ?? [] });

/** The effective configuration in the form of a file, secrets masked. */
export const showConfig: Method = (_call, { core }) => ({ status: 200, body: printable(core.config) });

const pasted = { ...strictly(text('a configuration in YAML, as text', 'newapi: {base_url: "http://localhost:3000"}', /^[^]*$/), 'string'), unit: 'secret' } as const;
const toCheck = z.strictObject({ yaml: required(pasted, 'The configuration to check') });

/** `POST config/check`: what `heimdall check` says of a text by itself; see {@link checkText}. Changes nothing. */
export const checkConfig: Method = async (call) => {
  const { problems, warnings, config } = checkText((await fieldsOf(call, toCheck)).yaml);
  return { status: 200, body: { ok: problems.length === 0, problems, warnings, config } };
};

/** `POST reload`: reads the configuration again and puts it in force; see `gate.reload`. */
export const reloadConfig: Method = async (call, { reload }) => {
  try {
    const { changed: keys, restart } = await reload();
    changed(call, 'config.reload', 'config', {}, { changed: keys, restart });
    return { status: 200, body: { changed: keys, restart } };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [first] = error.problems;
    throw new HeimdallError('invalid_config', { message: error.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'), ...(first !== undefined && { field: first.path }) });
  }
};

/** `GET health`: a summary of the gate's state. */
export const showHealth: Method = async (_call, services) => {
  const { core, registry, targets, queue, hub, resources, routes, journal, sinks } = services;
  const views = targets();
  const { rss, heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
  const uptime = Math.round(process.uptime() * 10) / 10;
  const body = {
    status: conditionOf(services, views),
    service: 'Heimdall Security Gateway',
    version: await packageVersion(),
    time: iso(core.clock.now()),
    uptime,
    mode: core.config.mode,
    draining: core.draining,
    requests_in_hand: inHandOf(core),
    event_readers: hub.readers,
    targets: views.map(targetJson),
    queue: queueJson(queue.view()),
    registry: { available: registry.problem === null },
    redis: redisJson(services),
    certificates: services.certificates().map(({ path, ends, isEnding }) => ({ name: path, expires: iso(ends), ending: isEnding })),
    resources: resources.usage(),
    routes: routes.shown(),
    journal: journalJson(journal()),
    sinks: sinks().map(sinkJson),
    anomaly: { mode: core.config.anomaly.mode, ...services.watch() },
    memory: { rss, heap_used: heapUsed, heap_total: heapTotal, external, array_buffers: arrayBuffers },
  };
  return { status: 200, body };
};

/** Redis is read every second, for keys and bans. */
const redisJson = ({ core, registry }: AdminServices): object => (core.config.rateLimit.redisUrl === null ? { used: false, state: null } : { used: true, state: registry.problem === null ? 'up' : 'down' });

/** `draining`; `unavailable`: no target takes requests; `degraded`: a resource is exhausted or a part has a problem; else `healthy`. */
export function conditionOf({ core, registry, resources, routes, journal, sinks }: AdminServices, targets: readonly TargetStatus[]): string {
  if (core.draining) return 'draining';
  const usable = targets.filter(({ state }) => state === 'up' || state === 'probing');
  if (usable.length === 0) return 'unavailable';
  const well = targets.every(({ state, models }) => state === 'up' && models.length === 0) && routes.shown().every(({ status }) => status === 'healthy') && !resources.usage().some(({ short }) => short);
  const { kind } = journal().state;
  const followed = (kind === 'open' || kind === 'idle' || kind === 'off') && sinks().every(({ state, lagging }) => state.kind !== 'off' && !lagging);
  return well && followed && registry.problem === null ? 'healthy' : 'degraded';
}

/** What is wrong, each with its subject: for people, and for the page to explain. */
export function problemsOf({ core, registry, resources, routes, journal, sinks, certificates }: AdminServices, targets: readonly TargetStatus[]): object[] {
  const { state } = journal();
  return [
    ...(core.draining ? [{ code: 'draining', subject: null, detail: null }] : []),
    ...targets.flatMap(({ name, state: is, by, models }) => [...(is === 'up' ? [] : [{ code: is === 'open' ? 'breaker_open' : 'target_down', subject: name, detail: by }]), ...models.map(({ model, state: its }) => ({ code: its === 'open' ? 'breaker_open' : 'target_down', subject: `${name} ${model}`, detail: its }))]),
    ...(state.kind === 'open' || state.kind === 'idle' ? [] : [{ code: 'journal', subject: state.kind, detail: 'reason' in state ? state.reason : null }]),
    ...sinks().filter(({ state: is, lagging }) => is.kind === 'off' || lagging).map(({ name, state: is }) => ({ code: 'sink', subject: name, detail: 'reason' in is ? is.reason : 'lagging' })),
    ...(registry.problem === null ? [] : [{ code: 'registry', subject: null, detail: registry.problem }]),
    ...resources.usage().filter(({ short }) => short).map(({ resource }) => ({ code: 'resource', subject: resource, detail: null })),
    ...certificates().filter(({ isEnding }) => isEnding).map(({ path, ends }) => ({ code: 'certificate', subject: path, detail: iso(ends) })),
    ...routes.shown().filter(({ status }) => status !== 'healthy').map(({ path, status }) => ({ code: 'route', subject: path, detail: status })),
  ];
}

/** A target as JSON. */
export function targetJson({ inHand, lastProbe, until, models, ...rest }: TargetStatus): object {
  return {
    ...rest,
    until: iso(until),
    in_hand: inHand,
    last_probe: lastProbe && { ...lastProbe, time: iso(lastProbe.time) },
    models: models.map((model) => ({ ...model, until: iso(model.until) })),
  };
}

function journalJson({ state, lastId, written, dropped, waiting, waitingBytes, bytes }: JournalStats): object {
  const since = state.kind === 'full' ? iso(state.since) : null;
  return { state: state.kind, reason: 'reason' in state ? state.reason : null, since, last: lastId, written, dropped, waiting, waiting_bytes: waitingBytes, bytes };
}

function sinkJson({ state, ...rest }: SinkView): object {
  return { ...rest, state: state.kind, reason: 'reason' in state ? state.reason : null, since: state.kind === 'held' ? iso(state.since) : null };
}

/** The queue as JSON. */
export const queueJson = ({ serviceTime, ...rest }: QueueView): object => ({ ...rest, service_time: serviceTime });

const capacity = z.strictObject({ concurrency: required(strictly(integer(200, 1, mostAtOnce), 'number'), 'Model requests at a time') });

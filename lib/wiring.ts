import type { Config } from '../types/config.d.ts';
import type { TokenIdentity } from '../types/context.d.ts';
import type { Journal } from '../types/journal.d.ts';
import type { InterruptedRequest } from '../types/queue.d.ts';
import type { NewRecord } from '../types/record.d.ts';
import type { Sink, SinkView } from '../types/sink.d.ts';
import type { Usage } from '../types/usage.d.ts';
import { type Admin, adminOf, type Hub } from './admin/admin.ts';
import type { Context, Core, Finisher, Tap } from './request/request.ts';
import { installSecret, tokenIdentifier } from './identity/identity.ts';
import { BodyInspector } from './http/http.ts';
import { GatewayKeys, VerifiedTokens } from './keys/keys.ts';
import { Limits } from './limits/limits.ts';
import { type Metrics, metricsOf, Resources } from './telemetry/telemetry.ts';
import type { Deps } from './middlewares/middlewares.ts';
import { admission } from './queue/queue.ts';
import { accessLog } from './access-log/access-log.ts';
import { ingestion, type Ingestion, recordColumns, recorder, recordOf } from './record/record.ts';
import { type JournalDeps, journalSeries, WorkerJournal } from './journal/journal.ts';
import { Followers, RawTokens, sinkSeries, sinksOf } from './sinks/sinks.ts';
import { redisOf } from './platform/platform.ts';
import { KeyRegistry } from './registry/registry.ts';
import { forwarder, prober, proxy, routeHealth, routeTable, type Target, targetModel, targetStatuses, targetsOf } from './upstream/upstream.ts';
import { type CostOf, costs, estimateTokens } from './usage/usage.ts';

export type Closer = () => Promise<void> | void;

/** What the parts need, and what ends it: the last made first. */
export interface Wired {
  readonly deps: Deps;
  readonly admin: Admin;
  readonly closers: readonly Closer[];
}

/**
 * Makes what the parts need, each group from those above it; nothing here opens a file or a connection yet.
 * @param sinks that a program brought.
 */
export function wire(core: Core, hub: Hub, sinks: readonly Sink[]): Wired {
  const { config, clock } = core;
  const metrics = metricsOf(core);
  const upstream = upstreamOf(core, metrics);
  const callers = callersOf(core);
  const { identify, verified, keys, redis, registry } = callers;
  const { queue, bytes, series } = admission(core, (token) => verified.has(token));
  metrics.expose(series);
  const resources = new Resources(core);
  metrics.watchResources(() => resources.usage());
  const lines = accessLog(core, isVerbose(config) ? process.stdout : null);
  const recorded = recording(core, metrics, { secret: callers.secret, routeOf: upstream.routeOf, accessLog: lines, identify, interrupted: () => queue.interrupted(), sinks });
  const limits = new Limits(core, { redis, identify, appraiser: { tokens: estimateTokens, worth: upstream.worth } });
  metrics.expose(limits.series());
  const admin = adminOf({
    core, hub, registry, queue, identify, resources,
    routes: upstream.routeHealth,
    sinks: recorded.sinks,
    journal: () => recorded.journal.stats(),
    targets: () => targetStatuses(upstream.targets, clock.now()),
    logs: { columns: recordColumns, recordOf, query: (sql, values) => recorded.journal.query(sql, values) },
  });
  const ready = async (): Promise<boolean> => {
    resources.start();
    upstream.routeHealth.start();
    queue.open();
    limits.start();
    recorded.start();
    await registry.ready();
    return (await upstream.health.ready()) && (core.observe || resources.short.length === 0) && !recorded.isRefusing();
  };
  const deps: Deps = {
    routeOf: upstream.routeOf, rows: upstream.rows, routeHealth: upstream.routeHealth, carry: upstream.carry, price: upstream.price,
    forward: recorded.admit(upstream.forward),
    identify, keys, verified, registry, redis, limits, queue, bytes, resources, metrics, ready,
    inspector: new BodyInspector(config.server.bufferBodyBytes),
    admin: admin.paths,
    record: recorded.record, tap: recorded.tap, journal: recorded.journal, ingestion: recorded.ingestion,
  };
  const closers: Closer[] = [
    () => lines.close(), () => recorded.close(), () => admin.close(), () => redis?.close(), () => limits.close(), () => queue.close(),
    () => registry.close(), () => resources.close(), ...upstream.closers,
  ];
  return { deps, admin, closers };
}

/** Who answers: targets, what is known of their health, and what an answer costs. */
function upstreamOf(core: Core, metrics: Metrics) {
  const targets = targetsOf(core);
  const carrier = proxy(core);
  const { routeOf, rows } = routeTable(core.config.routes);
  const routes = routeHealth(core, rows, targets);
  const health = prober(core, targets);
  metrics.watch(targets);
  metrics.watchRoutes(() => routes.shown());
  const forward = forwarder(core, targets, metrics, health.start);
  const costOf = costs(core.config.llm.prices);
  const closers: Closer[] = [() => health.close(), () => routes.close(), () => carrier.close(), ...targets.map(({ pool }) => () => pool.destroy())];
  return {
    targets, routeOf, rows, routeHealth: routes, health, closers, forward,
    carry: (context: Context): void => carrier.carry(context),
    price: (context: Context): void => price(context, targets, costOf),
    worth: (model: string, usage: Usage): number | null => worth(model, usage, targets[0] as Target, costOf),
  };
}

/** Who asks: identities, keys and what instances know of them together. */
function callersOf(core: Core) {
  const { config, clock } = core;
  // Made when first asked for: the secret may have to be written.
  let known: string | null = null;
  const secret = (): string => (known ??= installSecret(config, core.log));
  const keys = new GatewayKeys(clock, config.auth.keys);
  const redis = redisOf(config, core.log);
  const registry = new KeyRegistry({ core, redis, keys, secrets: () => [secret(), ...config.previousSecrets] });
  let identifier: Deps['identify'] | null = null;
  const identify: Deps['identify'] = (credential) => (identifier ??= tokenIdentifier(secret(), config.previousSecrets))(credential);
  return { secret, identify, keys, redis, registry, verified: new VerifiedTokens(clock, config.auth.verifiedTtl) };
}

/** What a request may cost: by the first target's price, which most are answered at. */
function worth(model: string, usage: Usage, target: Target, costOf: CostOf): number | null {
  return costOf(targetModel(target, { model }) ?? model, target.provider.name, usage);
}

/** What an answer cost, once its tokens are known. */
function price(context: Context, targets: readonly Target[], costOf: CostOf): void {
  const { usage, servedModel, target } = context;
  const provider = targets.find(({ name }) => name === target)?.provider.name;
  if (usage !== null && servedModel !== null && provider !== undefined) context.cost = costOf(servedModel, provider, usage);
}

/** Access lines are of level `info`: a quieter gate keeps them out of the console, not out of the file. */
const isVerbose = ({ logging: { level } }: Config): boolean => level === 'info' || level === 'debug' || level === 'trace';

/** What a recording needs of the gate. */
interface RecordingDeps extends Omit<JournalDeps, 'sinks'> {
  readonly identify: (credential: string) => TokenIdentity;
  /** Requests that were in hand when the process before this one ended, as far as the queue had saved them. */
  readonly interrupted: () => readonly InterruptedRequest[];
  /** Sinks a program brought. */
  readonly sinks: readonly Sink[];
}

/** What a gate needs to record its requests. */
interface Recording {
  readonly journal: Journal;
  /** Model routes must not be served now: their requests could not be recorded. */
  readonly isRefusing: () => boolean;
  readonly record: Finisher;
  readonly tap: (context: Context) => Tap | null;
  /** Puts the commit of the intent before a forwarding, where `audit.durability` asks for it. */
  readonly admit: (forward: (context: Context) => void) => (context: Context) => void;
  /** Takes records that others hand in. */
  readonly ingestion: Ingestion;
  /** What follows the journal, in numbers. */
  readonly sinks: () => readonly SinkView[];
  /** Opens the journal, and what follows it goes on where it was left. */
  start(): void;
  /** The sinks end before the journal they follow. */
  close(): Promise<void>;
}

/** The journal, what feeds it and what follows it. Without the part `logging` no request is recorded. */
function recording(core: Core, metrics: Metrics, deps: RecordingDeps): Recording {
  const { audit, middleware } = core.config;
  const raw = audit.newapi.enabled && audit.newapi.token === 'raw' ? new RawTokens() : null;
  const sinks = sinksOf({ core, rawToken: raw && ((tokenId) => raw.of(tokenId)) }, deps.sinks);
  const journal = new WorkerJournal(core, { ...deps, sinks: sinks.map(({ name }) => name) });
  const followers = new Followers(core, journal, sinks);
  const taking = ingestion(core, journal, deps.identify);
  metrics.expose([...journalSeries(journal), ...sinkSeries(() => followers.views())]);
  const { record, tap, admit } = recorder(core, journal, deps.accessLog.isRead);
  const isOn = middleware === null || middleware.includes('logging');
  let begun: Promise<void> | null = null;
  const begin = async (): Promise<void> => {
    await journal.open();
    const lost = isOn ? deps.interrupted() : [];
    if (lost.length > 0) await journal.append(lost.map(recordOfLost));
  };
  return {
    journal,
    isRefusing: () => isOn && journal.refusing,
    record: raw === null ? record : (context) => {
      raw.hear(context);
      record(context);
    },
    tap: isOn ? tap : () => null,
    admit: isOn ? admit : (forward) => forward,
    ingestion: taking,
    sinks: () => followers.views(),
    start() {
      begun ??= begin().catch(() => undefined);
      followers.start();
    },
    async close() {
      taking.close();
      await followers.close();
      raw?.clear();
      await journal.close();
    },
  };
}

/** All that is known of it; one that has a record already, as every one has with `strict`, keeps that. */
function recordOfLost({ id, time, fairnessKey }: InterruptedRequest): NewRecord {
  const [, kind = '', value = ''] = /^(key|token|address):(.*)$/s.exec(fairnessKey) ?? [];
  return {
    request_id: id, time, request_method: '', request_path: '', real_ip: kind === 'address' ? value : '', response_status: 0, response_time: 0, source: 'gate', outcome: 'interrupted', device_fingerprint: '',
    key_id: kind === 'key' ? value : null, token_id: kind === 'token' ? value : null,
  };
}

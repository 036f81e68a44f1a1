import type { Server } from 'node:http';
import { Router } from 'express';
import type { Clock } from '../types/clock.d.ts';
import type { Config, ConfigInput } from '../types/config.d.ts';
import type { Journal } from '../types/journal.d.ts';
import type { Logger } from '../types/logger.d.ts';
import type { Usage } from '../types/usage.d.ts';
import type { Sink } from '../types/sink.d.ts';
import { adminOf, type Admin } from './admin/admin.ts';
import { Hub } from './admin/hub.ts';
import { alertsOf } from './alerts.ts';
import { chain, ordered } from './chain.ts';
import { systemClock } from './clock.ts';
import { resolveConfig, warningsOf } from './config/load.ts';
import { Connections } from './connections.ts';
import type { Context } from './context.ts';
import { stages, type Core } from './core.ts';
import { eventLog, tee, type Listener } from './events.ts';
import { installSecret } from './identity/secret.ts';
import { tokenIdentifier } from './identity/token.ts';
import { GatewayKeys } from './keys/store.ts';
import { VerifiedTokens } from './keys/verified.ts';
import { Inspector } from './inspect.ts';
import { Limits } from './limits/limits.ts';
import { Live } from './live.ts';
import { onRoutes } from './on-routes.ts';
import { metricsOf } from './metrics.ts';
import type { Deps, ErrorHandler, Handler, Next, Part } from './part.ts';
import { admission } from './queue/admission.ts';
import { accessLog } from './record/access-log.ts';
import { recordColumns, recordOf } from './record/table.ts';
import { recording } from './record/recording.ts';
import { redisOf } from './redis.ts';
import { KeyRegistry } from './registry/registry.ts';
import { attach } from './attach.ts';
import { drained } from './drain.ts';
import { forwarder } from './upstream/forward.ts';
import { proxy } from './upstream/passthrough.ts';
import { costs, type CostOf } from './upstream/prices.ts';
import { prober } from './upstream/probe.ts';
import { routeHealth } from './upstream/route-health.ts';
import { routeTable } from './upstream/routes.ts';
import { targetModel, targetsOf, type Target } from './upstream/targets.ts';
import { statusOf } from './upstream/view.ts';
import { estimateTokens } from './upstream/usage-estimate.ts';
import { Resources } from './resources.ts';
import { Watch } from './watch.ts';

/** What a program may bring of its own. */
export interface GateOptions {
  /** Event log; default: JSON lines on standard output at `logging.level`, in the names of the Elastic Common Schema. */
  readonly log?: Logger;
  /** Time source; tests bring a fake one. */
  readonly clock?: Clock;
  /** What follows the journal beside the sinks of the configuration. */
  readonly sinks?: readonly Sink[];
}

/** An Express router with a lifecycle. */
export interface Gate extends Router {
  /** The complete configuration in force. Holds secrets: do not print it. */
  readonly config: Config;
  /**
   * The admin API, for an application of your own: mount it below any path, behind your login. Demands `admin.token`, or with
   * `admin.auth: 'host'` nothing more than your application does; without either it has no paths.
   */
  readonly admin: Router;
  /**
   * Resolves when the first look at the upstream is done, whatever it found, and the journal is open. Rejects when
   * `audit.durability: strict` or `audit.on_full: refuse` cannot have its file.
   */
  readonly ready: Promise<void>;
  /** Sends WebSocket upgrades, half-sent requests and malformed ones of a server through the gate. */
  attach(server: Server): void;
  /**
   * Drains: readiness fails, requests in hand finish, then everything is closed. Servers made by `createServer` stop
   * listening first.
   * @param options.timeout milliseconds after which the rest is cut; default `server.shutdown_timeout`.
   */
  close(options?: { timeout?: number }): Promise<void>;
}

/**
 * The gate: one ordered Express router between clients and models. Opens and starts nothing before its first request or a
 * look at `ready`.
 * @param input options in camelCase, a configuration from `loadConfig`, or nothing to read file and environment.
 * @throws ConfigError naming every problem.
 */
export function heimdall(input?: ConfigInput | Config, options: GateOptions = {}): Gate {
  const config = resolveConfig(input);
  const clock = options.clock ?? systemClock;
  const hub = new Hub(clock.now());
  const listeners: Listener[] = hub.listeners(clock.now, config);
  const log = tee(options.log ?? eventLog(config.logging), listeners);
  const alerts = alertsOf(config.audit.alerts, clock, log);
  if (alerts !== null) listeners.push(alerts.hear);
  const core = {
    config, log, clock, observe: config.mode === 'observe', draining: false, closed: false, live: new Live(),
    heads: { every: [], own: [], proxied: [] }, finishers: [],
  } as Omit<Core, 'watch' | 'connections'> as Core;
  const { connectionsPerAddress } = config.guard;
  Object.assign(core, { watch: new Watch(core), connections: connectionsPerAddress === null ? null : new Connections(core, connectionsPerAddress) });
  for (const warning of warningsOf(config)) log.warn({ warning }, 'config.warning');
  const wired = wire(core, hub, options.sinks ?? []);
  const router = assemble(core, wired.deps);
  core.finishers.push((context) => hub.request(context));
  return lifecycle(core, router.gate, [() => alerts?.close(), ...wired.closers, ...router.closers], wired);
}

type Closer = () => Promise<void> | void;

interface Wired {
  readonly deps: Deps;
  readonly admin: Admin;
  readonly closers: Closer[];
}

/** Makes what the parts need and hands it to them; nothing here opens a file or a connection yet. */
function wire(core: Core, hub: Hub, sinks: readonly Sink[]): Wired {
  const { config, clock } = core;
  const targets = targetsOf(core);
  const carrier = proxy(core);
  const routing = routingOf(core, targets);
  const health = prober(core, targets);
  const metrics = metricsOf(core);
  metrics.watch(targets);
  metrics.watchRoutes(() => routing.routeHealth.shown());
  const forward = forwarder(core, targets, metrics);
  const verified = new VerifiedTokens(clock, config.auth.verifiedTtl);
  const { queue, bytes, series } = admission(core, (token) => verified.has(token));
  metrics.expose(series);
  const resources = new Resources(core);
  metrics.watchResources(() => resources.usage());
  const costOf = costs(config.llm.prices);
  const lines = accessLog(core, isVerbose(config) ? process.stdout : null);
  let secret: string | null = null;
  const installed = (): string => (secret ??= installSecret(config, core.log));
  const keys = new GatewayKeys(clock, config.auth.keys);
  const redis = redisOf(core);
  const registry = new KeyRegistry({ core, redis, keys, secrets: () => [installed(), ...config.previousSecrets] });
  const identify = identifierOf(() => tokenIdentifier(installed(), config.previousSecrets));
  const recorded = recording(core, metrics, { secret: installed, routeOf: routing.routeOf, identify, interrupted: () => queue.interrupted(), sinks });
  const limits = new Limits(core, { redis, identify, appraiser: { tokens: estimateTokens, worth: (model, usage) => worth(model, usage, targets[0] as Target, costOf) } });
  metrics.expose(limits.series());
  const admin = adminOf({ core, hub, registry, queue, identify, resources, routes: routing.routeHealth, sinks: recorded.sinks, journal: () => recorded.journal.stats(), targets: () => statusOf(targets, clock.now()), logs: { columns: recordColumns, recordOf, query: (sql, values) => recorded.journal.query(sql, values) } });
  const deps: Deps = {
    ...routing,
    forward: recorded.admit((context) => {
      health.start();
      forward(context);
    }),
    carry: (context) => carrier.carry(context),
    resources,
    ready: async () => {
      resources.start();
      routing.routeHealth.start();
      queue.open();
      limits.start();
      recorded.start();
      await registry.ready();
      return (await health.ready()) && (core.observe || resources.short.length === 0) && !recorded.isRefusing();
    },
    identify,
    redis, limits, keys,
    registry,
    verified,
    queue,
    bytes,
    inspector: new Inspector(core),
    metrics,
    admin: admin.paths,
    price: (context) => price(context, targets, costOf),
    writeAccessLine: (context) => lines.write(context),
    record: recorded.record, tap: recorded.tap, journal: recorded.journal, ingestion: recorded.ingestion,
  };
  return { deps, admin, closers: [() => recorded.close(), () => admin.close(), () => lines.close(), () => redis?.close(), () => limits.close(), () => queue.close(), () => registry.close(), () => resources.close(), () => health.close(), () => routing.routeHealth.close(), () => carrier.close(), ...targets.map(({ pool }) => () => pool.destroy())] };
}

/** The routes of this gate and what is known of their health. */
function routingOf(core: Core, targets: readonly Target[]): Pick<Deps, 'routeOf' | 'rows' | 'routeHealth'> {
  const { routeOf, rows } = routeTable(core.config.routes);
  return { routeOf, rows, routeHealth: routeHealth(core, rows, targets) };
}

/** Makes identities from the first time on that one is asked for: the secret may have to be written first. */
function identifierOf(make: () => Deps['identify']): Deps['identify'] {
  let identify: Deps['identify'] | null = null;
  return (credential) => (identify ??= make())(credential);
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

/** Puts the parts into a router in their order, and their other contributions where those belong. */
function assemble(core: Core, deps: Deps): { gate: Router; closers: Closer[] } {
  const gate = Router();
  const parts = onRoutes(chain, ordered(core.config.middleware), deps.rows).map((middleware): Part => middleware.create(core, deps));
  gate.use(inOrder(parts.flatMap((part) => part.handle ?? [])) as never);
  for (const part of parts) {
    if (part.catch) gate.use(part.catch as ErrorHandler as never);
    if (part.every) core.heads.every.push(part.every);
    if (part.own) core.heads.own.push(part.own);
    if (part.proxied) core.heads.proxied.push(part.proxied);
  }
  const upstream = (context: Context): void => context.exchange?.abort();
  const metrics = (context: Context): void => deps.metrics.add(context);
  for (const stage of stages) {
    if (stage === 'upstream') core.finishers.push(upstream);
    if (stage === 'settle') core.finishers.push(deps.price);
    if (stage === 'metrics' && core.config.metrics.enabled) core.finishers.push(metrics);
    for (const { finish } of parts) if (finish?.[stage]) core.finishers.push(finish[stage]);
  }
  return { gate, closers: parts.flatMap((part) => (part.close ? [part.close] : [])) };
}

/** The handlers as one layer of the router: a layer each would cost a request some three microseconds more. */
function inOrder(handlers: readonly Handler[]): Handler {
  return function chainHandler(req, res, done) {
    let at = 0;
    const next: Next = (error) => {
      if (error !== undefined) return done(error);
      // Answered, cut off or left while a part was waiting: nothing more may be taken for it.
      if (at > 0 && (res.writableEnded || res.destroyed)) return;
      const handler = handlers[at++];
      if (handler === undefined) return done();
      try {
        handler(req, res, next);
      } catch (thrown) {
        done(thrown);
      }
    };
    next();
  };
}

function lifecycle(core: Core, router: Router, closers: readonly Closer[], { deps, admin }: Wired): Gate {
  let ready: Promise<void> | null = null;
  let closed: Promise<void> | null = null;
  const servers = new Set<Server>();
  const close = async (timeout: number): Promise<void> => {
    core.draining = true;
    deps.queue.drain();
    await drained(core, servers, timeout);
    core.closed = true;
    for (const closer of [...closers].reverse()) await closer();
  };
  const gate = Object.assign(router, {
    config: core.config,
    admin: admin.router,
    attach: (server: Server) => attach(core, server),
    close: (options: { timeout?: number } = {}) => (closed ??= close(options.timeout ?? core.config.server.shutdownTimeout)),
  });
  Object.defineProperty(gate, 'ready', { get: () => (ready ??= begun(deps)) });
  insides.set(gate as unknown as Gate, { core, servers, admin, answered: deps.ready, journal: deps.journal });
  return gate as unknown as Gate;
}

/** The first look at the upstream is done and the journal open. Nobody has to listen to why it could not be. */
function begun({ ready, journal }: Deps): Promise<void> {
  const both = Promise.all([ready(), journal.open()]).then(() => undefined);
  both.catch(() => undefined);
  return both;
}

interface Insides {
  readonly core: Core;
  /** Servers the gate may close. */
  readonly servers: Set<Server>;
  readonly admin: Admin;
  /** Whether some target can be expected to answer. */
  readonly answered: () => Promise<boolean>;
  readonly journal: Journal;
}

const insides = new WeakMap<Gate, Insides>();

/** For `createServer`, which belongs to the gate as an embedded host's server does not. */
export const insidesOf = (gate: Gate): Insides => insides.get(gate) as Insides;

import type { Server, ServerResponse } from 'node:http';
import { Router } from 'express';
import type { HostHandler, HostOptions } from '../types/caller.d.ts';
import type { Clock } from '../types/clock.d.ts';
import type { Config, ConfigInput } from '../types/config.d.ts';
import type { Journal } from '../types/journal.d.ts';
import type { Logger } from '../types/logger.d.ts';
import type { Sink } from '../types/sink.d.ts';
import { type Admin, Hub } from './admin/admin.ts';
import { alertsOf, eventLog, type Listener, tee } from './telemetry/telemetry.ts';
import { chain, ordered } from './chain.ts';
import { describe, guard, guardedClock, OutboundProxy, Rounds, systemClock, withMonotonic } from './platform/platform.ts';
import { hostWarnings, loadSettings, proxyEnvironment, proxyWarnings, resolveConfig, secretsOf, warningsOf } from './config/config.ts';
import { cleanFields, secretScrubber } from './redaction/redaction.ts';
import { attach, Connections, Context, type Core, drained, type ErrorHandler, type GateRequest, guarded, InFlight, isMadeUp, Mount, Probes, type Next, type RequestHandler, stages } from './request/request.ts';
import { type Deps, onRoutes, type Part } from './middlewares/middlewares.ts';
import { wire, type Closer, type Wired } from './wiring.ts';

/** What a program may pass beside the configuration. */
export interface GateOptions extends HostOptions {
  /**
   * Event log; default: JSON lines at `logging.level`, in the names of the Elastic Common Schema, on standard error, or on standard
   * output with `logging.console`.
   */
  readonly log?: Logger;
  /** Time source; tests pass a fake one. Without `monotonic` its `now` counts for both. */
  readonly clock?: Omit<Clock, 'monotonic'> & Partial<Clock>;
  /** Sinks that follow the journal beside those of the configuration. */
  readonly sinks?: readonly Sink[];
  /** The process belongs to the gate, as with `serve`. Decides what `proxy` is when the configuration leaves it out. Default: false. */
  readonly standalone?: boolean;
  /**
   * Reads the file of `HEIMDALL_CONFIG`, the environment variables and a `.env` file too, as `loadConfig` does; the options take
   * precedence. Default: false, except with `standalone`.
   */
  readonly environment?: boolean;
}

/** What a host may say of its server. */
export interface AttachOptions {
  /**
   * The full path below which the gate is mounted, without parameters: `/llm`. Default: found in the server's Express application,
   * its routers included, or learnt from the first request; needed where an application is mounted in another and upgrades come
   * before any request.
   */
  readonly path?: string;
}

/** An Express router with a lifecycle. Its type fits `app.use` of Express 4 and 5. */
export interface Gate extends HostHandler {
  /** The complete configuration in force. Holds secrets: do not print it. */
  readonly config: Config;
  /**
   * The admin API, for an application of your own: mount it below any path, behind your login. It asks for `admin.token`; with
   * `admin.auth: 'host'` it relies on your application. Without either it has no paths.
   */
  readonly admin: HostHandler;
  /**
   * Resolves when the first look at the upstream is done, whatever it found, and the journal is open. Rejects when the journal
   * file cannot be opened and `audit.durability: strict` or `audit.on_full: refuse` needs it.
   */
  readonly ready: Promise<void>;
  /**
   * Sends WebSocket upgrades, half-sent requests and malformed ones of a server through the gate. Beside other `upgrade`
   * listeners it takes the upgrades below its mount.
   */
  attach(server: Server, options?: AttachOptions): void;
  /**
   * Drains: readiness fails, answers close their connections, requests in hand finish, then everything is closed. Servers made by
   * `createServer` listen until then. In the second half of the time requests that wait for a slot are refused.
   * @param options.timeout milliseconds after which the remaining requests are cut off; default `server.shutdown_timeout`.
   */
  close(options?: { timeout?: number }): Promise<void>;
}

/**
 * Makes a gate: one ordered Express router between clients and models. It opens and starts nothing before its first request
 * or the first read of `ready`.
 * @param input options in camelCase, a configuration from `loadConfig`, or nothing to read the file of `HEIMDALL_CONFIG`. Nothing
 * else of the environment counts, unless `options.environment` says so.
 * @throws ConfigError that names every problem of the configuration.
 */
export function heimdall(input?: ConfigInput | Config, options: GateOptions = {}): Gate {
  const { standalone = false, environment = standalone } = options;
  const config = environment ? loadSettings({ code: input }) : resolveConfig(input);
  const time = options.clock === undefined ? systemClock : withMonotonic(options.clock);
  const hub = new Hub(time.now());
  const listeners: Listener[] = hub.listeners(time.now, config);
  const hidden = secretsOf(config);
  const scrub = secretScrubber(hidden);
  const log = tee(options.log ?? eventLog(config.logging, config.logging.console ?? standalone), listeners, (fields) => cleanFields(fields, scrub));
  const clock = guardedClock(time, log);
  const proxied = proxyEnvironment(config, standalone, environment ? undefined : process.env);
  const proxies = proxied === null ? null : new OutboundProxy(proxied);
  const alerts = alertsOf(config.audit.alerts, clock, log, proxies);
  if (alerts !== null) listeners.push(alerts.listener);
  const { connectionsPerAddress } = config.guard;
  const observe = config.mode === 'observe';
  const core: Core = {
    config, log, clock, observe, hidden, draining: false, closed: false,
    inFlight: new InFlight(config, clock),
    connections: connectionsPerAddress === null ? null : new Connections(connectionsPerAddress, config.trustProxy, observe),
    mount: new Mount(),
    probes: new Probes(),
    heads: { every: [], own: [], proxied: [] }, finishers: [],
  };
  const warnings = [...warningsOf(config), ...hostWarnings(config, options), ...(proxies === null ? [] : proxyWarnings(config, (url) => proxies.hopTo(url) === null))];
  for (const warning of warnings) log.warn({ warning }, 'config.warning');
  const wired = wire(core, hub, options, proxies);
  const { router, closers } = assemble(core, wired.deps);
  return lifecycle(core, router, [() => alerts?.close(), ...wired.closers, ...closers], wired);
}

/** Makes the parts of the chain, in their order, and registers what each contributes: handler, head fields, finishers, end. */
function assemble(core: Core, deps: Deps): { router: Router; closers: Closer[] } {
  const parts = onRoutes(chain, ordered(core.config.middleware), deps.rows).map((middleware): Part => middleware.create(core, deps));
  const router = Router();
  router.use(inOrder(core, parts) as never);
  for (const part of parts) {
    if (part.catch) router.use(part.catch as ErrorHandler as never);
    if (part.every) core.heads.every.push(part.every);
    if (part.own) core.heads.own.push(part.own);
    if (part.proxied) core.heads.proxied.push(part.proxied);
  }
  core.finishers.push(deps.price);
  for (const stage of stages) for (const { finish } of parts) if (finish?.[stage]) core.finishers.push(finish[stage]);
  if (core.config.metrics.enabled) core.finishers.push((context) => deps.metrics.add(context));
  return { router, closers: parts.flatMap((part) => (part.close ? [part.close] : [])) };
}

const madeUp = 'heimdall: expected a request of node:http, with rawHeaders and a socket, got one with headers only, as some adapters of serverless platforms make it. The gate needs a server: http.createServer(app).listen(8000)';

/** Pipelined requests that are served in one round of the event loop: Node has the next one of a connection ready as soon as one is answered. */
const turnsEach = 8;

/**
 * Runs the handlers as one layer of the router: a layer for each costs a request some three microseconds more. The first
 * handler, that of `fingerprint`, finds the route; from then on only handlers that serve its kind are called.
 */
function inOrder(core: Core, parts: readonly Part[]): RequestHandler {
  const handlersFor = (kind: Part['serves']) => parts.flatMap(({ handle, serves }) => (handle && (serves === undefined || serves === kind) ? [handle] : []));
  const forModels = handlersFor('models');
  const forOthers = handlersFor('others');
  const turns = new Rounds(turnsEach);
  const later = guard(core.log, 'pipeline', (req: GateRequest, res: ServerResponse, done: Next) => {
    core.inFlight.begin(res);
    chainHandler(req, res, done);
  }, (req) => req.socket.destroy());
  return chainHandler;

  function chainHandler(req: GateRequest, res: ServerResponse, done: Next): void {
    if (isMadeUp(req)) return done(new TypeError(madeUp));
    // Cut off already: what is still parsed of a connection with too many requests goes no further.
    if (req.socket.destroyed) return;
    if (core.inFlight.isFar(res)) return void res.once('socket', () => turns.add(() => later(req, res, done)));
    if (req.baseUrl !== core.mount.newest) core.mount.learn(req.baseUrl ?? '');
    const context = new Context(core, req, res);
    req.heimdall = context;
    let at = 0;
    const next: Next = (error) => {
      if (error !== undefined) return done(error);
      // Answered, cut off or left by the client while a part was waiting: no later part may take anything for it.
      if (at > 0 && (res.writableEnded || res.destroyed)) return;
      // Its turn comes when all before it on its connection are answered: a client that reads no answers has one request served.
      if (at === 1 && context.isPipelined && res.socket === null) return void res.once('socket', guarded(context, () => turns.add(guarded(context, () => next()))));
      const handlers = at > 0 && context.route.class === 'model' ? forModels : forOthers;
      const handle = handlers[at++];
      if (handle === undefined) return done();
      try {
        handle(context, next);
      } catch (thrown) {
        done(thrown);
      }
    };
    next();
  }
}

function lifecycle(core: Core, router: Router, closers: readonly Closer[], { deps, admin, certificates }: Wired): Gate {
  let ready: Promise<void> | null = null;
  let closed: Promise<void> | null = null;
  const servers = new Set<Server>();
  deps.metrics.expose([{ name: 'tls_certificate_not_after_seconds', values: () => [...certificates].flatMap(({ all }) => all).map(({ path, ends }) => ({ labels: { certificate: path }, value: ends / 1000 })) }]);
  const close = async (timeout: number, quiet?: number): Promise<void> => {
    core.draining = true;
    await drained({ core, servers, refuse: () => deps.queue.drain() }, timeout, quiet);
    core.closed = true;
    for (const closer of [...closers].reverse()) await settled(core.log, closer);
  };
  const serves = servesOf(deps);
  const gate = Object.assign(router, {
    config: core.config,
    admin: admin.router,
    attach: (server: Server, { path }: AttachOptions = {}) => attach(core, server, { gate, serves, path }),
    close: ({ timeout = core.config.server.shutdownTimeout }: { timeout?: number } = {}) => (closed ??= close(timeout)),
  });
  Object.defineProperty(gate, 'ready', { get: () => (ready ??= started(deps)) });
  const end = (quiet: number): Promise<void> => (closed ??= close(core.config.server.shutdownTimeout, quiet));
  internals.set(gate as unknown as Gate, { core, end, servers, admin, serves, hasTarget: deps.ready, journal: deps.journal, certificates });
  return gate as unknown as Gate;
}

/** Runs a closer. One that fails keeps no other from running. */
async function settled(log: Logger, closer: Closer): Promise<void> {
  try {
    await closer();
  } catch (error) {
    log.error({ in: 'close', error: describe(error) }, 'callback.failed');
  }
}

/** What only an LLM API serves needs a credential; the gate's other paths could be a host's. */
const servesOf = ({ routeOf }: Deps) => (path: string): boolean => routeOf('GET', path).credential;

/** Resolves after the first look at the upstream, with the journal open. A rejection that is not awaited ends no process. */
function started({ ready, journal }: Deps): Promise<void> {
  const both = Promise.all([ready(), journal.open()]).then(() => undefined);
  both.catch(() => undefined);
  return both;
}

/** What a gate shows to `createServer` and `serve` alone. */
interface Internals {
  readonly core: Core;
  /** Closes the gate as `close` does, when nothing has come for so long: milliseconds. */
  readonly end: (quiet: number) => Promise<void>;
  /** Servers that `gate.close()` closes. */
  readonly servers: Set<Server>;
  readonly admin: Admin;
  /** Whether a path belongs to an LLM API. */
  readonly serves: (path: string) => boolean;
  /** Whether some target can be expected to answer. */
  readonly hasTarget: () => Promise<boolean>;
  readonly journal: Journal;
  /** The certificates that its servers serve. */
  readonly certificates: Wired['certificates'];
}

const internals = new WeakMap<Gate, Internals>();

/** For `createServer`: its server belongs to the gate, that of an embedding host does not. */
export const internalsOf = (gate: Gate): Internals => internals.get(gate) as Internals;

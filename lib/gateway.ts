import type { Server } from 'node:http';
import { Router } from 'express';
import type { Clock } from '../types/clock.d.ts';
import type { Config, ConfigInput } from '../types/config.d.ts';
import type { Journal } from '../types/journal.d.ts';
import type { Logger } from '../types/logger.d.ts';
import type { Sink } from '../types/sink.d.ts';
import { type Admin, Hub } from './admin/admin.ts';
import { alertsOf, eventLog, type Listener, tee } from './telemetry/telemetry.ts';
import { chain, ordered } from './chain.ts';
import { systemClock } from './platform/platform.ts';
import { resolveConfig, warningsOf } from './config/config.ts';
import { attach, Connections, type Context, type Core, drained, type ErrorHandler, type Handler, InFlight, type Next, stages, Deadlines } from './request/request.ts';
import { type Deps, onRoutes, type Part } from './middlewares/middlewares.ts';
import { wire, type Closer, type Wired } from './wiring.ts';

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
  if (alerts !== null) listeners.push(alerts.listener);
  const inFlight = new InFlight<Context>();
  const { connectionsPerAddress } = config.guard;
  const observe = config.mode === 'observe';
  const core: Core = {
    config, log, clock, observe, draining: false, closed: false, inFlight,
    deadlines: new Deadlines({ config, clock, inFlight }),
    connections: connectionsPerAddress === null ? null : new Connections(connectionsPerAddress, config.trustProxy, observe),
    heads: { every: [], own: [], proxied: [] }, finishers: [],
  };
  for (const warning of warningsOf(config)) log.warn({ warning }, 'config.warning');
  const wired = wire(core, hub, options.sinks ?? []);
  const router = assemble(core, wired.deps);
  core.finishers.push((context) => hub.request(context));
  return lifecycle(core, router.gate, [() => alerts?.close(), ...wired.closers, ...router.closers], wired);
}

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

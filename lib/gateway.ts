import type { Server } from 'node:http';
import { Router } from 'express';
import { pino } from 'pino';
import type { Clock } from '../types/clock.d.ts';
import type { Config, ConfigInput } from '../types/config.d.ts';
import type { Logger } from '../types/logger.d.ts';
import type { TokenIdentity } from '../types/context.d.ts';
import { ordered } from './chain.ts';
import { resolveConfig, warningsOf } from './config/load.ts';
import { stages, type Context, type Core } from './context.ts';
import { installSecret } from './identity/secret.ts';
import { tokenIdentifier } from './identity/token.ts';
import { GatewayKeys } from './keys/store.ts';
import { VerifiedTokens } from './keys/verified.ts';
import { Live } from './live.ts';
import { metricsOf } from './metrics.ts';
import type { Deps, ErrorHandler, Handler, Next, Part } from './part.ts';
import { accessLog } from './record/access-log.ts';
import { attach } from './attach.ts';
import { drained } from './drain.ts';
import { forwarder } from './upstream/forward.ts';
import { proxy } from './upstream/passthrough.ts';
import { costs, type CostOf } from './upstream/prices.ts';
import { prober } from './upstream/probe.ts';
import { routeOf } from './upstream/routes.ts';
import { targetsOf, type Target } from './upstream/targets.ts';
import { Watch } from './watch.ts';

/** What a program may bring of its own. */
export interface GateOptions {
  /** Event log; default: pino on standard output at `logging.level`. */
  readonly log?: Logger;
  /** Time source; tests bring a fake one. */
  readonly clock?: Clock;
}

/** An Express router with a lifecycle. */
export interface Gate extends Router {
  /** The complete configuration in force. Holds secrets: do not print it. */
  readonly config: Config;
  /** Resolves when the first look at the upstream is done, whatever it found. */
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

const systemClock: Clock = {
  now: Date.now,
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/**
 * The gate: one ordered Express router between clients and models. Opens and starts nothing before its first request or a
 * look at `ready`.
 * @param input options in camelCase, a configuration from `loadConfig`, or nothing to read file and environment.
 * @throws ConfigError naming every problem.
 */
export function heimdall(input?: ConfigInput | Config, options: GateOptions = {}): Gate {
  const config = resolveConfig(input);
  const log = options.log ?? pino({ level: config.logging.level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
  const core = {
    config, log, clock: options.clock ?? systemClock, observe: config.mode === 'observe', draining: false, closed: false, live: new Live(),
    heads: { every: [], own: [], proxied: [] }, finishers: [],
  } as Omit<Core, 'watch'> as Core;
  Object.assign(core, { watch: new Watch(core) });
  for (const warning of warningsOf(config)) log.warn({ warning }, 'config.warning');
  const wired = wire(core);
  const router = assemble(core, wired.deps);
  return lifecycle(core, router.gate, [...wired.closers, ...router.closers], wired.deps);
}

type Closer = () => Promise<void> | void;

/** Makes what the parts need and hands it to them; nothing here opens a file or a connection yet. */
function wire(core: Core): { deps: Deps; closers: Closer[] } {
  const { config, clock } = core;
  const targets = targetsOf(core);
  const carrier = proxy(core);
  const health = prober(core, targets);
  const metrics = metricsOf(core);
  metrics.watch(targets);
  const forward = forwarder(core, targets, metrics);
  const costOf = costs(config.llm.prices);
  const lines = accessLog(core, isVerbose(config) ? process.stdout : null);
  let identify: ((credential: string) => TokenIdentity) | null = null;
  const deps: Deps = {
    routeOf,
    forward: (context) => {
      health.start();
      forward(context);
    },
    carry: (context) => carrier.carry(context),
    ready: () => health.ready(),
    identify: (credential) => (identify ??= tokenIdentifier(installSecret(config, core.log)))(credential),
    keys: new GatewayKeys(clock, config.auth.keys),
    verified: new VerifiedTokens(clock, config.auth.verifiedTtl),
    metrics,
    price: (context) => price(context, targets, costOf),
    writeAccessLine: (context) => lines.write(context),
  };
  return { deps, closers: [() => lines.close(), () => health.close(), () => carrier.close(), ...targets.map(({ pool }) => () => pool.destroy())] };
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
  const parts = ordered(core.config.middleware).map((middleware): Part => middleware.create(core, deps));
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
      const handler = handlers[at++];
      if (error !== undefined || handler === undefined) return done(error);
      try {
        handler(req, res, next);
      } catch (thrown) {
        done(thrown);
      }
    };
    next();
  };
}

function lifecycle(core: Core, router: Router, closers: readonly Closer[], deps: Deps): Gate {
  let ready: Promise<void> | null = null;
  let closed: Promise<void> | null = null;
  const servers = new Set<Server>();
  const close = async (timeout: number): Promise<void> => {
    core.draining = true;
    await drained(core, servers, timeout);
    core.closed = true;
    for (const closer of [...closers].reverse()) await closer();
  };
  const gate = Object.assign(router, {
    config: core.config,
    attach: (server: Server) => attach(core, server),
    close: (options: { timeout?: number } = {}) => (closed ??= close(options.timeout ?? core.config.server.shutdownTimeout)),
  });
  Object.defineProperty(gate, 'ready', { get: () => (ready ??= deps.ready().then(() => undefined)) });
  insides.set(gate as unknown as Gate, { core, servers, answered: deps.ready });
  return gate as unknown as Gate;
}

interface Insides {
  readonly core: Core;
  /** Servers the gate may close. */
  readonly servers: Set<Server>;
  /** Whether some target can be expected to answer. */
  readonly answered: () => Promise<boolean>;
}

const insides = new WeakMap<Gate, Insides>();

/** For `createServer`, which belongs to the gate as an embedded host's server does not. */
export const insidesOf = (gate: Gate): Insides => insides.get(gate) as Insides;

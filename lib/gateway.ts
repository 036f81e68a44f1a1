import type { Server, ServerResponse } from 'node:http';
import { Router } from 'express';
import type { HostHandler, HostOptions } from '../types/caller.d.ts';
import type { Clock, Timer } from '../types/clock.d.ts';
import type { Config, ConfigInput } from '../types/config.d.ts';
import type { Journal } from '../types/journal.d.ts';
import type { Logger } from '../types/logger.d.ts';
import type { Sink } from '../types/sink.d.ts';
import { type Admin, Hub } from './admin/admin.ts';
import { alertsOf, EventLog, type Listener, tee } from './telemetry/telemetry.ts';
import { chain, ordered } from './chain.ts';
import { ConfigError } from './errors.ts';
import { type Crew, guard, guardedClock, inBackground, OutboundProxy, Rounds, systemClock, withMonotonic } from './platform/platform.ts';
import { hostWarnings, loadSettings, proxyEnvironment, proxyWarnings, readAgain, resolveConfig, secretsOf, succeed, warningsOf } from './config/config.ts';
import { cleanFields, secretScrubber } from './redaction/redaction.ts';
import { attach, Connections, Context, type Core, drained, type ErrorHandler, type GateRequest, guarded, InFlight, isMadeUp, Mount, Probes, relimit, type Next, type RequestHandler, stages } from './request/request.ts';
import { type Deps, type Handler, onRoutes, type Part } from './middlewares/middlewares.ts';
import { closed, type Closer, lasting, type Lasting, reconfigure, wire, type Wired } from './wiring.ts';

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

/** What a reload has done, by keys as a file names them. */
export interface Reloaded {
  readonly changed: readonly string[];
  /** Those that take effect with the next start. */
  readonly restart: readonly string[];
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
   * Takes over another configuration while the gate runs: requests in hand live on with the one before, and limits, breakers, the
   * queue and verified tokens keep their state. Without an argument the file and the environment are read again.
   * @returns the keys that have changed, and those of them that take effect with the next start.
   * @throws ConfigError that names every problem; then nothing has changed.
   */
  reload(config?: ConfigInput | Config): Promise<Reloaded>;
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
export const heimdall = (input?: ConfigInput | Config, options: GateOptions = {}): Gate => gateOf(input, options, null);

/** The same for one of the threads of a gate with several workers. @param crew the others; null where there is one thread. */
export function gateOf(input: ConfigInput | Config | undefined, options: GateOptions, crew: Crew | null): Gate {
  const { standalone = false, environment = standalone } = options;
  const read = (from?: ConfigInput | Config): Config => (environment ? loadSettings({ code: from }) : resolveConfig(from));
  const config = read(input);
  const time = options.clock === undefined ? systemClock : withMonotonic(options.clock);
  const hub = new Hub(time.now(), crew);
  const listeners: Listener[] = hub.listeners(time.now, config);
  const hidden = secretsOf(config);
  const scrub = secretScrubber(hidden);
  const lines = options.log ?? new EventLog(config.logging, standalone);
  const log = tee(lines, listeners, (fields) => cleanFields(fields, scrub));
  const clock = guardedClock(time, log);
  const proxied = proxyEnvironment(config, standalone, environment ? undefined : process.env);
  const proxies = proxied === null ? null : new OutboundProxy(proxied);
  // Of a gate with several workers the main thread says what all of them say.
  const isWorker = crew?.isWorker === true;
  if (crew !== null) crew.log = log;
  const alerts = isWorker ? null : alertsOf(config.audit.alerts, clock, log, proxies);
  if (alerts !== null) listeners.push(alerts.listener);
  const follow: Follower = (next) => ({
    enter: () => {
      if (lines instanceof EventLog) lines.configure(next.logging);
      alerts?.configure(next.audit.alerts);
    },
  });
  const { connectionsPerAddress } = config.guard;
  const observe = config.mode === 'observe';
  const core: Core = {
    config, log, clock, observe, hidden, crew, draining: false, closed: false,
    inFlight: new InFlight(config, clock),
    connections: connectionsPerAddress === null ? null : new Connections(connectionsPerAddress, config.trustProxy, observe, crew),
    mount: new Mount(), alternative: null,
    probes: new Probes(),
    guesses: new Map(),
    heads: { every: [], own: [], proxied: [] }, finishers: [],
  };
  const warnings = (of: Config): readonly string[] => [...warningsOf(of), ...(crew === null && !standalone && of.server.workers !== 1 ? ['server.workers: takes effect in a process of its own alone, by serve or heimdall start'] : []), ...hostWarnings(of, options), ...(proxies === null ? [] : proxyWarnings(of, (url) => proxies.hopTo(url) === null))];
  if (!isWorker) for (const warning of warnings(config)) log.warn({ warning }, 'config.warning');
  const live = new Live(core, (now) => lasting(core, hub, options, proxies, now), warnings);
  live.followers.add(follow);
  return lifecycle(core, live, read, () => alerts?.close());
}

/** What has been made ready for another configuration. */
export interface Prepared {
  /** Puts it in force. */
  readonly enter: () => void;
  /** Takes it back: the configuration is refused elsewhere. */
  readonly leave?: () => void;
}

/** Takes part in a reload. Throws or rejects where it cannot have the configuration; until it is entered, nothing changes. */
export type Follower = (next: Config) => Promise<Prepared> | Prepared;

/** Whether a configuration that is ready comes into force. */
type Decide = () => Promise<boolean>;

/** The gate under one configuration. */
interface Generation {
  readonly core: Core;
  readonly wired: Wired;
  readonly parts: ReadonlyMap<string, Part>;
  readonly forModels: readonly Handler[];
  readonly forOthers: readonly Handler[];
}

const ending = (): Error => new Error('the gate is shutting down');

/** How often it is looked whether the requests of an earlier configuration have ended, milliseconds. */
const retireEvery = 1000;

/**
 * The gate under the configuration in force, and those before it that requests in hand live on with. A reload makes the parts
 * anew from the new configuration, hands what counts and remembers on to them, and takes the place of the old ones in one
 * assignment.
 */
class Live {
  /** Its configuration is always the one in force. */
  readonly core: Core;
  readonly lasts: Lasting;
  readonly followers = new Set<Follower>();
  /** Servers of the host whose time limits follow the configuration. */
  readonly guarded = new WeakSet<Server>();
  /** Called before the configuration is read again. */
  readonly readings = new Set<() => void>();
  now: Generation;
  /** What came before the configuration in force and is not closed yet, the oldest first, each with what came next. */
  readonly #earlier = new Map<Generation, Generation>();
  #timer: Timer | null = null;
  readonly #warnings: (of: Config) => readonly string[];
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(core: Core, lasts: (now: () => Wired) => Lasting, warnings: (of: Config) => readonly string[]) {
    this.core = core;
    this.#warnings = warnings;
    this.lasts = lasts(() => this.now.wired);
    this.followers.add((next) => this.lasts.recorded.prepare(next));
    this.now = this.#make(core.config, null);
    this.#enter(this.now, true);
  }

  /**
   * Puts a configuration in force, after the reloads before it. A wrong one changes nothing.
   * @param read reads it. @param by what asks for it, for the event log. @param decide called when it is ready: whether it comes into force.
   * @throws ConfigError that names every problem.
   */
  reload(read: () => Config, by: string, decide: Decide | null = null): Promise<Reloaded> {
    const reloading = this.#reloading.then(async () => {
      try {
        return await this.#reload(read(), by, decide);
      } catch (error) {
        const problems = error instanceof ConfigError ? error.problems.map(({ path, message }) => `${path}: ${message}`) : [error instanceof Error ? error.message : String(error)];
        this.core.log.error({ by, problems, effect: 'nothing has changed' }, 'config.refused');
        throw error;
      }
    });
    this.#reloading = reloading.catch(() => undefined);
    return reloading;
  }

  /** Reads the file and the environment again. See {@link reload}. */
  readAgain(by: string): Promise<Reloaded> {
    return this.reload(() => {
      for (const told of this.readings) told();
      return readAgain(this.core.config);
    }, by);
  }

  async #reload(wanted: Config, by: string, decide: Decide | null): Promise<Reloaded> {
    const { core, now: before } = this;
    const isWorker = core.crew?.isWorker === true;
    const { config, changed, restart } = succeed(core.config, wanted);
    if (core.draining) throw ending();
    const next = this.#make(config, before);
    const asked = await Promise.allSettled([...this.followers].map(async (follower) => await follower(config)));
    const prepared = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const refused = asked.find((each) => each.status === 'rejected');
    const isTaken = refused === undefined && (decide === null || (await decide()));
    if (!isTaken || core.draining) {
      for (const { leave } of prepared) leave?.();
      await this.#end(next, before);
      throw refused !== undefined ? refused.reason : isTaken ? ending() : new Error('the configuration was refused elsewhere');
    }
    this.#enter(next);
    reconfigure(core, this.lasts);
    for (const { enter } of prepared) enter();
    this.#retire(before, next);
    inBackground(core.log, 'reload', next.wired.deps.ready());
    if (isWorker) return { changed, restart };
    core.log.info({ by, changed, restart }, 'config.reloaded');
    for (const warning of this.#warnings(wanted)) core.log.warn({ warning }, 'config.warning');
    return { changed, restart };
  }

  #enter(next: Generation, isFirst = false): void {
    const { config, observe, heads, finishers } = next.core;
    const { targets } = next.wired.upstream;
    Object.assign(this.core, { config, observe, heads, finishers });
    this.now = next;
    for (const { state } of targets) {
      state.configure(config.circuitBreaker);
      // Without probes what they have closed would stay closed.
      if (!config.llm.healthCheck.enabled) state.base.probe(true, 1);
    }
    this.lasts.hub.enter(this.core);
    this.lasts.metrics.watch(targets);
    next.wired.upstream.share(isFirst);
    for (const part of next.parts.values()) part.enter?.();
  }

  /** Makes the parts of the chain, in their order, and registers what each contributes: handler, head fields, finishers, end. */
  #make(config: Config, before: Generation | null): Generation {
    const core: Core = Object.assign(Object.create(this.core) as Core, { config, observe: config.mode === 'observe', heads: { every: [], own: [], proxied: [] }, finishers: [] });
    const wired = wire(core, this.lasts, before?.wired ?? null, () => this.readAgain('admin'));
    const { deps } = wired;
    const made = partsOf(core, deps, before?.parts ?? null);
    const parts = [...made.values()];
    for (const part of parts) {
      if (part.every) core.heads.every.push(part.every);
      if (part.own) core.heads.own.push(part.own);
      if (part.proxied) core.heads.proxied.push(part.proxied);
    }
    core.finishers.push(deps.price);
    for (const stage of stages) for (const { finish } of parts) if (finish?.[stage]) core.finishers.push(finish[stage]);
    if (config.metrics.enabled) core.finishers.push((context) => deps.metrics.add(context));
    const handlersFor = (kind: Part['serves']): Handler[] => parts.flatMap(({ handle, serves }) => (handle && (serves === undefined || serves === kind) ? [handle] : []));
    return { core, wired, parts: made, forModels: handlersFor('models'), forOthers: handlersFor('others') };
  }

  /** Lets an earlier configuration end: its probes stop, and the rest is closed once its requests have ended. */
  #retire(generation: Generation, next: Generation): void {
    generation.wired.stop();
    this.#earlier.set(generation, next);
    if (this.#timer === null) this.#closeEarlier();
  }

  /**
   * Closes what earlier configurations have opened once none of their requests is in hand, in their order: a later one may have
   * taken over a target on which a request of an earlier one still runs.
   */
  #closeEarlier(): void {
    const { clock, log, inFlight } = this.core;
    this.#timer = null;
    for (const [generation, next] of this.#earlier) {
      if ([...inFlight].some((context) => context.core === generation.core)) {
        this.#timer = clock.setTimeout(() => this.#closeEarlier(), retireEvery);
        return void this.#timer.unref();
      }
      this.#earlier.delete(generation);
      inBackground(log, 'reload', this.#end(generation, next));
    }
  }

  async #end({ parts, wired }: Generation, next: Generation | null): Promise<void> {
    for (const { close } of [...parts.values()].reverse()) if (close) await closed(this.core.log, close);
    wired.stop();
    await wired.close(next?.wired ?? null);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) this.core.clock.clearTimeout(this.#timer);
    for (const [generation, next] of this.#earlier) await this.#end(generation, next);
    await this.#end(this.now, null);
    for (const closer of [...this.lasts.closers].reverse()) await closed(this.core.log, closer);
  }
}

/** Makes the parts of the chain. A function of its own: the callbacks of a generation would keep the one before in memory, and that its own. */
function partsOf(core: Core, deps: Deps, before: Generation['parts'] | null): Map<string, Part> {
  return new Map(onRoutes(chain, ordered(core.config.middleware), deps.rows).map(({ name, create }) => [name, create(core, deps, before?.get(name)?.state)]));
}

const madeUp = 'heimdall: expected a request of node:http, with rawHeaders and a socket, got one with headers only, as some adapters of serverless platforms make it. The gate needs a server: http.createServer(app).listen(8000)';

/** Pipelined requests that are served in one round of the event loop: Node has the next one of a connection ready as soon as one is answered. */
const turnsEach = 8;

/**
 * Runs the handlers as one layer of the router: a layer for each costs a request some three microseconds more. The first
 * handler, that of `fingerprint`, finds the route; from then on only handlers that serve its kind are called.
 */
function inOrder(live: Live): RequestHandler {
  const { log, inFlight, mount } = live.core;
  const turns = new Rounds(turnsEach);
  const later = guard(log, 'pipeline', (req: GateRequest, res: ServerResponse, done: Next) => {
    inFlight.begin(res);
    chainHandler(req, res, done);
  }, (req) => req.socket.destroy());
  return chainHandler;

  function chainHandler(req: GateRequest, res: ServerResponse, done: Next): void {
    if (isMadeUp(req)) return done(new TypeError(madeUp));
    // Cut off already: what is still parsed of a connection with too many requests goes no further.
    if (req.socket.destroyed) return;
    if (inFlight.isFar(res)) return void res.once('socket', () => turns.add(() => later(req, res, done)));
    if (req.baseUrl !== mount.newest) mount.learn(req.baseUrl ?? '');
    const { core, forModels, forOthers } = live.now;
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

/** The one error handler, that of the configuration in force. */
const caught = (live: Live): ErrorHandler => (error, req, res, next) => {
  for (const { catch: recover } of live.now.parts.values()) if (recover) return recover(error, req, res, next);
  next(error);
};

function lifecycle(core: Core, live: Live, read: (from?: ConfigInput | Config) => Config, last: Closer): Gate {
  const { metrics, queue, recorded, certificates } = live.lasts;
  const router = Router();
  router.use(inOrder(live) as never);
  router.use(caught(live) as never);
  let ready: Promise<void> | null = null;
  let over: Promise<void> | null = null;
  const servers = new Set<Server>();
  metrics.expose([{ name: 'tls_certificate_not_after_seconds', values: () => [...certificates].flatMap(({ all }) => all).map(({ path, ends }) => ({ labels: { certificate: path }, value: ends / 1000 })) }]);
  const close = async (timeout: number, quiet?: number): Promise<void> => {
    core.draining = true;
    const { crew } = core;
    if (crew?.drain) await crew.drain(timeout, quiet ?? 0);
    await drained({ core, servers, refuse: () => queue.drain() }, timeout, crew?.drain ? 0 : quiet);
    core.closed = true;
    core.inFlight.close();
    await live.close();
    await closed(core.log, last);
  };
  const serves = servesOf(live);
  const gate = Object.assign(router, {
    admin: ((req, res, next) => live.now.wired.admin.router(req, res, next)) as HostHandler,
    attach: (server: Server, { path }: AttachOptions = {}) => {
      attach(core, server, { gate, serves, path });
      followWith(server, live);
    },
    reload: (next?: ConfigInput | Config) => (next === undefined ? live.readAgain('program') : live.reload(() => read(next), 'program')),
    close: ({ timeout = core.config.server.shutdownTimeout }: { timeout?: number } = {}) => (over ??= close(timeout)),
  });
  Object.defineProperty(gate, 'config', { get: () => core.config, enumerable: true });
  Object.defineProperty(gate, 'ready', { get: () => (ready ??= started(live.now.wired.deps)) });
  const admin: Internals['admin'] = { alone: (host) => live.now.wired.admin.alone(host) };
  const hasTarget = (): Promise<boolean> => live.now.wired.deps.ready();
  const end = (quiet: number): Promise<void> => (over ??= close(core.config.server.shutdownTimeout, quiet));
  internals.set(gate as unknown as Gate, { core, end, servers, admin, serves, hasTarget, secret: live.lasts.callers.secret, journal: recorded.journal, certificates, followers: live.followers, readings: live.readings, reload: (by, config, decide) => (config === undefined ? live.readAgain(by) : live.reload(() => config, by, decide)) });
  return gate as unknown as Gate;
}

/** Has the time limits of a host's server follow the configuration, once for each of its gates. */
function followWith(server: Server, { core, followers, guarded: known }: Live): void {
  if (known.has(server)) return;
  known.add(server);
  const follow: Follower = (next) => ({ enter: () => relimit(server, before, (before = next.server)) });
  let before = core.config.server;
  followers.add(follow);
  server.once('close', () => void followers.delete(follow));
  server.once('close', () => void known.delete(server));
}

/** What only an LLM API serves needs a credential; the gate's other paths could be a host's. */
const servesOf = (live: Live) => (path: string): boolean => live.now.wired.deps.routeOf('GET', path).credential;

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
  readonly admin: Pick<Admin, 'alone'>;
  /** Whether a path belongs to an LLM API. */
  readonly serves: (path: string) => boolean;
  /** Whether some target can be expected to answer. */
  readonly hasTarget: () => Promise<boolean>;
  /** The install secret. */
  readonly secret: () => string;
  readonly journal: Journal;
  /** The certificates that its servers serve. */
  readonly certificates: Lasting['certificates'];
  /** What takes part in a reload. */
  readonly followers: Set<Follower>;
  /** Called before the configuration is read again. */
  readonly readings: Set<() => void>;
  /** Reads the configuration again. @param by what asks for it, for the event log. @param config one that was read elsewhere. @param decide called when it is ready: whether it comes into force. */
  readonly reload: (by: string, config?: Config, decide?: Decide) => Promise<Reloaded>;
}

const internals = new WeakMap<Gate, Internals>();

/** For `createServer`: its server belongs to the gate, that of an embedding host does not. */
export const internalsOf = (gate: Gate): Internals => internals.get(gate) as Internals;

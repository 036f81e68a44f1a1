import { hostname } from 'node:os';
import { extname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { HostOptions } from '../types/caller.d.ts';
import type { Timer } from '../types/clock.d.ts';
import type { Config } from '../types/config.d.ts';
import type { TokenIdentity } from '../types/context.d.ts';
import type { Place } from '../types/finding.d.ts';
import type { Forgetting } from '../types/journal.d.ts';
import type { InterruptedRequest } from '../types/queue.d.ts';
import type { RecordReader } from '../types/reader.d.ts';
import type { NewRecord } from '../types/record.d.ts';
import type { Sink, SinkView } from '../types/sink.d.ts';
import type { Usage } from '../types/usage.d.ts';
import { ConfigError, expectation } from './errors.ts';
import { type Admin, adminOf, type AdminServices, type Hub, Jobs, OriginalApi } from './admin/admin.ts';
import { secretsOf } from './config/config.ts';
import { Exchange, Findings, forgetFindings, type FromObserver, observerModule, type ObserverOptions, type PlacesOf } from './anomaly/anomaly.ts';
import type { Context, Core, Finisher, Tap } from './request/request.ts';
import { installSecret, tokenIdentifier } from './identity/identity.ts';
import { BodyInspector } from './http/http.ts';
import { CallerFinder, GatewayKeys, Host, type JwtVerifier, jwtVerifierOf, VerifiedTokens } from './keys/keys.ts';
import { Limits } from './limits/limits.ts';
import { type Metrics, metricsOf, type MetricValues, Resources } from './telemetry/telemetry.ts';
import type { Deps } from './middlewares/middlewares.ts';
import { admission } from './queue/queue.ts';
import { accessLog } from './access-log/access-log.ts';
import { type Filling, ingestion, type Ingestion, recorder } from './record/record.ts';
import { erasedOf, type JournalDeps, journalReader, journalSeries, namesOf as subjectNames, WorkerJournal } from './journal/journal.ts';
import { FindingsTable, postgresReader } from './postgres/postgres.ts';
import { Followers, NewapiNames, RawTokens, type SinkNeeds, sinkSeries, sinksOf, type WantedSink } from './sinks/sinks.ts';
import { codeOf, type Crew, type PairInUse, describe, inBackground, Repeated, type Redis, redisOf, type OutboundProxy } from './platform/platform.ts';
import { KeyRegistry } from './registry/registry.ts';
import { Affinity, conversations, forwarder, hearBreakers, NewapiClient, PriceFeed, prober, proxy, RetryBudget, routeHealth, routeTable, shareProbes, type Spend, type Target, targetModel, targetStatuses, targetsOf, UnreadAnswers } from './upstream/upstream.ts';
import { budgetsOf, costs, estimateTokens, type NewapiPrices, pricing, unpricedBudgets } from './usage/usage.ts';

/** Ends something that the gate has opened. */
export type Closer = () => Promise<void> | void;

/** What the parts of the chain need under one configuration. */
export interface Wired {
  readonly deps: Deps;
  readonly admin: Admin;
  readonly upstream: Upstream;
  readonly jwt: JwtVerifier | null;
  readonly records: Records;
  /** The gate under it. */
  readonly core: Core;
  /** Ends what has no part in requests in hand, such as probes. */
  stop(): void;
  /** Ends the rest, when none is in hand. @param next the configuration after it, whose targets may be the same; null without one. */
  close(next: Wired | null): Promise<void>;
}

/** The certificates of one server. */
interface Certificates {
  readonly all: readonly Renewable[];
}

/** A certificate that is read again when its files change. */
interface Renewable {
  readonly path: string;
  /** When it ends, Unix milliseconds. */
  readonly ends: number;
  /** It is time for another one. */
  readonly isEnding: boolean;
  /** Reads its files now. */
  renew(): void;
}

/** What lives as long as the gate: what counts, remembers and records, with the connections, threads and files of that. */
export type Lasting = ReturnType<typeof lasting>;

/** What a program passes beside the configuration, as far as parts use it. */
interface Passed extends HostOptions {
  readonly sinks?: readonly Sink[];
  readonly standalone?: boolean;
}

/**
 * Makes what lives as long as the gate. Opens no file and no connection yet.
 * @param core its configuration is always the one in force.
 * @param passed what the program passes beside the configuration.
 * @param proxies proxies for connections to upstreams.
 * @param now what is wired under the configuration in force.
 */
export function lasting(core: Core, hub: Hub, passed: Passed, proxies: OutboundProxy | null, now: () => Wired) {
  const { sinks = [], standalone = false, ...host } = passed;
  const metrics = metricsOf(core);
  const callers = callersOf(core);
  const { identify, verified, redis, registry } = callers;
  const { queue, bodies, series } = admission(core, verified);
  metrics.expose(series);
  const resources = new Resources(core);
  metrics.watchResources(() => resources.usage());
  metrics.watchRoutes(() => now().upstream.routeHealth.shown());
  const lines = accessLog(core, process.stdout, standalone);
  const recorded = recording(core, metrics, { secret: callers.secret, routeOf: (method, path) => now().upstream.routeOf(method, path), accessLog: lines, identify, interrupted: () => queue.interrupted(), sinks, proxies, nameOf: (kind, id) => names.nameOf(kind, id) });
  registry.watch(() => hideCredentials(core, registry, recorded.journal));
  const names: NewapiNames = namesOf(core, recorded.journal, (path, headers) => now().upstream.newapi.get(path, headers));
  const findings = new Findings(core, registry);
  const copied = copiedFindings(core, registry);
  const watch = new WatchReports(core, recorded.journal, findings, redis);
  metrics.expose([{ name: 'watch_refused_messages_total', values: () => [{ labels: {}, value: watch.refused }] }]);
  const limits = new Limits(core, { redis, identify, costs: { tokens: estimateTokens, price: (model, usage) => now().upstream.worth(model, usage) }, hasUsers: host.identify !== undefined, names });
  const certificates = new Set<Certificates>();
  metrics.expose(limits.series());
  if (core.crew !== null) {
    shareMetrics(core.crew, metrics);
    shareCertificates(core.crew);
  }
  const jobs = new Jobs();
  const honey = honeyReports(core, findings);
  const closers: Closer[] = [
    () => jobs.close(), () => copied.close(), () => lines.close(), () => recorded.close(), () => names.close(), () => redis?.close(), () => watch.close(), () => limits.close(), () => queue.close(),
    () => registry.close(), () => resources.close(), () => findings.close(), () => honey.close(),
  ];
  return { hub, host, proxies, metrics, callers, queue, bodies, resources, recorded, names, findings, copied, watch, limits, certificates, jobs, affinity: new Affinity(core.crew), retryBudget: new RetryBudget(), honeyUsed: honey.used, closers };
}

/** The page of metrics of all threads: the main thread, which makes it, asks the workers. */
function shareMetrics(crew: Crew, metrics: Metrics): void {
  if (crew.isWorker) crew.answer('metrics', () => metrics.values());
  else metrics.others = () => Promise.all([...crew.links].map((link) => Promise.race([link.ask('metrics', null), patience(scrapeTimeout)]).catch(() => null))).then((found) => found.filter((each) => each !== null) as MetricValues[]);
}

/** One that begins serves the certificates that the others serve, where their files cannot be used by then. */
function shareCertificates(crew: Crew): void {
  const hear = (word: unknown): void => {
    const [path, pair] = word as [string, PairInUse];
    crew.certificates.set(path, pair);
  };
  crew.subscribe('certificate', { hear, known: () => crew.certificates });
}

/** A worker that is stuck is missing on the page of metrics after this time, milliseconds. */
const scrapeTimeout = 1000;
const patience = (ms: number): Promise<null> => new Promise((resolve) => void setTimeout(resolve, ms, null).unref());

/** Takes over what can change of what lasts; the configuration of its core has changed. */
export function reconfigure(core: Core, { callers: { keys, verified, registry }, queue, bodies, limits, watch, copied, recorded: { journal } }: Lasting): void {
  const { auth, trustProxy } = core.config;
  hide(core, journal, secretsOf(core.config));
  core.inFlight.configure(core.config);
  core.connections?.configure(trustProxy, core.observe);
  keys.configure(auth.keys);
  verified.configure(auth.verifiedTtl);
  registry.configure();
  queue.configure();
  bodies.configure();
  limits.configure();
  watch.configure();
  copied.configure();
}

/**
 * Makes what the parts need under one configuration, each group from the groups above it, and hands rooms to each other that may
 * not import one another. Opens no file and no connection yet.
 * @param core the gate under this configuration.
 * @param before what is wired under the configuration before, from which targets and their states are taken over; null at the start.
 * @param reload reads the configuration again.
 * @throws ConfigError for what only the parts can judge.
 */
export function wire(core: Core, lasts: Lasting, before: Wired | null, reload: AdminServices['reload']): Wired {
  const { config, clock } = core;
  const { callers, hub, metrics, queue, bodies, resources, recorded, names, findings, watch, limits, certificates, jobs, proxies } = lasts;
  const { identify, secret, verified, keys, redis, registry } = callers;
  const upstream = upstreamOf(core, lasts, before?.upstream ?? null, (context, refused) => {
    upstream.price(context);
    limits.spend(context, refused);
  });
  const isSameIssuer = before !== null && isDeepStrictEqual([before.core.config.auth.mode, before.core.config.auth.jwt], [config.auth.mode, config.auth.jwt]);
  const jwt = isSameIssuer ? before.jwt : jwtVerifierOf(config, clock, core.log, proxies);
  const finder = new CallerFinder(core, { keys, jwt, verified, identify, ask: (context) => upstream.newapi.knows(context), accepted: (credential, id) => registry.sawToken(credential, id) });
  const records = recordsOf(core, recorded, before?.records ?? null);
  const services: AdminServices = {
    nameOf: (kind, id) => names.nameOf(kind, id), named: (username, tokenName) => names.callersNamed(username, tokenName), newapi: { get: (path, headers) => upstream.newapi.get(path, headers) },
    callers: { find: (context, mayAsk) => finder.find(context, mayAsk), limits: (context) => limits.shown(context), limitsOf: (subject) => limits.shownOf(subject, registry.keys().find(({ name }) => name === subject.id) ?? null) },
    certificates: () => [...certificates].flatMap(({ all }) => all),
    core, hub, registry, queue, identify, resources, reload, findings, watch: () => watch.state(), work: { work: (work, told) => recorded.journal.work(work, told), forget: (what) => forgetEverywhere(what, [secret(), ...config.previousSecrets], recorded.journal, registry) }, jobs,
    routes: upstream.routeHealth, sinks: recorded.sinks, journal: () => recorded.journal.stats(),
    targets: () => targetStatuses(upstream.targets, clock.monotonic()),
    logs: { placesOf: async (addresses) => new Map(((await recorded.journal.askObserver({ addresses } satisfies PlacesOf)) ?? []) as [string, Place][]), query: (sql, values) => recorded.journal.query(sql, values) },
    records: records.reader,
  };
  const admin = adminOf(services, before?.admin ?? null);
  const ready = async (): Promise<boolean> => {
    resources.start();
    upstream.routeHealth.start();
    upstream.askPrices();
    queue.open();
    limits.start();
    recorded.start();
    await registry.ready();
    return (await upstream.health.ready()) && (core.observe || resources.short.length === 0) && !recorded.isRefusing();
  };
  const { record, tap, admit, ingestion: taking } = recorded.under(core);
  const deps: Deps = {
    routeOf: upstream.routeOf, routes: upstream.routes, rows: upstream.rows, routeHealth: upstream.routeHealth, carry: upstream.carry, price: upstream.price,
    honeyUsed: lasts.honeyUsed,
    forward: admit(upstream.forward),
    host: new Host(core, lasts.host),
    identify, secret, keys, jwt, verified, registry, redis, limits, queue, bodies, resources, metrics, ready,
    needsBody: (context) => config.audit.durability === 'strict' || context.trapped || lasts.host.skip !== undefined || upstream.needsBody(context) || limits.needsBody(context),
    asksForModel: () => upstream.targets.some(({ state }) => state.asksForModel),
    inspector: new BodyInspector(config.server.bufferBodyBytes, upstream.targets.some(({ credential }) => credential === 'own')),
    admin: admin.paths, original: config.anomaly.api ? new OriginalApi(services) : null,
    record, tap, journal: recorded.journal, ingestion: taking,
  };
  const close = async (next: Wired | null): Promise<void> => {
    await upstream.close(next?.upstream ?? null);
    if (next?.records !== records) await closed(core.log, () => records.close());
  };
  return { core, deps, admin, upstream, jwt, records, stop: upstream.stop, close };
}

/** What the admin API reads records with, and the database that it is; null for the journal of this instance. */
interface Records {
  readonly reader: RecordReader;
  readonly url: string | null;
  readonly close: Closer;
}

/** Reads records for the admin API, by `admin.read_from`. @param before that of the configuration before, which may go on. */
function recordsOf({ config: { admin, audit: { postgres } } }: Core, { journal, sinks }: Pick<Recording, 'journal' | 'sinks'>, before: Records | null): Records {
  const url = admin.readFrom === 'postgres' ? (postgres.readUrl ?? postgres.url) : null;
  if (before !== null && before.url === url) return before;
  if (url !== null) {
    const reader = postgresReader(url, () => sinks().every(({ name, delivered }) => name !== 'postgres' || delivered === 0));
    return { reader, url, close: () => reader.close() };
  }
  return { reader: journalReader(journal), url, close: () => undefined };
}

/** The names that NewAPI has for callers, those of earlier runs once the journal is open. */
function namesOf(core: Core, journal: WorkerJournal, get: AdminServices['newapi']['get']): NewapiNames {
  const names = new NewapiNames(core, journal, get);
  journal.onOpened(() => names.restore());
  return names;
}

/** How often changed findings are written where all instances read them, milliseconds. */
const copyEvery = 2000;

/** Keeps the findings of this instance in `audit.postgres`, where there is one, for the pages of others. What cannot be written is tried again. */
function copiedFindings(core: Core, registry: KeyRegistry): { configure(): void; close(): Promise<void> } {
  if (core.crew?.isWorker === true) return { configure: () => undefined, close: async () => undefined };
  let known: { readonly url: string; readonly table: FindingsTable } | null = null;
  let isNew = false;
  const copying = new Repeated(core, 'findings', copyEvery, async () => {
    const { url } = core.config.audit.postgres;
    if (known !== null && known.url !== url) {
      await known.table.close();
      known = null;
    }
    if (!isNew || url === null) return;
    isNew = false;
    const { table } = (known ??= { url, table: new FindingsTable(url, hostname()) });
    await table.write(registry.findings()).catch((error: unknown) => {
      isNew = true;
      core.log.debug({ error: codeOf(error) }, 'finding.not_copied');
    });
  });
  const configure = (): void => {
    isNew = true;
    if (core.config.audit.postgres.url !== null) copying.start();
  };
  registry.watch(configure);
  return {
    configure,
    close: async () => {
      copying.stop();
      await known?.table.close();
    },
  };
}

/** Hears what the watch reports from the journal's thread, and carries news between instances. */
class WatchReports {
  readonly #core: Core;
  readonly #journal: WorkerJournal;
  readonly #redis: Redis | null;
  readonly #findings: Findings;
  /** Null while the watch is off, and without Redis. */
  #exchange: Exchange | null = null;
  /** Messages that earlier exchanges have refused. */
  #refused = 0;
  #position = { record: 0, callers: 0 };
  #isOpen = false;

  constructor(core: Core, journal: WorkerJournal, findings: Findings, redis: Redis | null) {
    this.#core = core;
    this.#journal = journal;
    this.#findings = findings;
    this.#redis = redis;
    const { log } = core;
    if (!this.#isOff && redis === null && core.config.rateLimit.instances > 1) log.warn({ effect: 'the watch of each instance sees its own part', fix: 'rate_limit.redis_url' }, 'watch.alone');
    journal.onOpened(() => {
      this.#isOpen = true;
      this.configure();
    });
    journal.onCheckpoint(() => inBackground(log, 'findings', findings.tidy()));
    journal.onObserved((told) => this.#hear(told as FromObserver));
  }

  get #isOff(): boolean {
    const { anomaly, audit } = this.#core.config;
    return anomaly.mode === 'off' || !audit.enabled;
  }

  /** Messages of other instances that were refused. */
  get refused(): number {
    return this.#refused + (this.#exchange?.refused ?? 0);
  }

  state(): { callers: number; lag: number } {
    return { callers: this.#isOff ? 0 : this.#position.callers, lag: this.#isOff ? 0 : Math.max(0, this.#journal.stats().lastId - this.#position.record) };
  }

  /** Takes the configuration in force. */
  configure(): void {
    if (this.#isOff) return this.close();
    if (this.#redis === null || !this.#isOpen || this.#exchange !== null) return;
    this.#exchange = new Exchange(this.#core, this.#redis, (signals) => this.#journal.tellObserver(signals));
    this.#exchange.start();
  }

  close(): void {
    this.#exchange?.stop();
    this.#refused = this.refused;
    this.#exchange = null;
  }

  #hear(told: FromObserver): void {
    const { config, log } = this.#core;
    switch (told.kind) {
      case 'sighting':
        return this.#findings.reportSoon(told.sighting);
      case 'news':
        return this.#exchange?.send(told.signals);
      case 'mmdb':
        if (told.problem === null) log.info({ file: config.anomaly.mmdb, state: 'in use again' }, 'watch.mmdb');
        else log.warn({ file: config.anomaly.mmdb, problem: told.problem, effect: 'the watch goes on without places, or with those of the earlier file' }, 'watch.mmdb');
        return;
      case 'position':
        this.#position = told;
        this.#journal.advance('watch', told.record);
    }
  }
}

/** Erases records, and findings and noted tokens of their subject. @returns the number of records. */
async function forgetEverywhere(what: Forgetting, secrets: readonly string[], journal: WorkerJournal, registry: KeyRegistry): Promise<number> {
  const erased = await journal.forget(what);
  const { sql, values } = erasedOf([...registry.findings().values()].flatMap(({ evidence }) => evidence.records));
  const gone = new Set((await journal.query(sql, values)).map((row) => String(row['request_id'])));
  await forgetFindings(registry, { ...what, ids: subjectNames(what, secrets), erasedAmong: (ids) => new Set(ids.filter((id) => gone.has(id))) });
  return erased;
}

/** Uses of one honey key are reported at once, then at most this often, milliseconds: each is a commit. */
const honeyEvery = 15_000;

/** Reports uses of honey keys as findings. */
function honeyReports({ clock, log }: Core, findings: Findings) {
  const uses = new Map<string, { at: number; requests: number; records: string[]; time: number; timer: Timer | null }>();
  const send = async (name: string): Promise<void> => {
    const known = uses.get(name);
    if (known === undefined || known.requests === 0) return;
    const { requests, records, time } = known;
    Object.assign(known, { requests: 0, records: [] });
    await findings.reportHoney(name, records, requests, time).catch((error: unknown) => log.error({ error: describe(error), rule: 'honey_key' }, 'finding.lost'));
  };
  return {
    used(name: string, { id, time, at: now }: Context): void {
      const known = uses.get(name) ?? { at: Number.NEGATIVE_INFINITY, requests: 0, records: [], time, timer: null };
      known.requests++;
      known.records = [...known.records, id].slice(-20);
      uses.set(name, known);
      if (now - known.at < honeyEvery) return;
      Object.assign(known, { at: now, time });
      void send(name);
      if (known.timer !== null) clock.clearTimeout(known.timer);
      known.timer = clock.setTimeout(() => send(name), honeyEvery);
      known.timer.unref();
    },
    /** Reports what waits. */
    async close(): Promise<void> {
      for (const { timer } of uses.values()) if (timer !== null) clock.clearTimeout(timer);
      await Promise.all([...uses.keys()].map(send));
    },
  };
}

/** Targets and their health, the two ways to an upstream, and prices. */
type Upstream = ReturnType<typeof upstreamOf>;

/** @param before that of the configuration before. @param spend counts what the answers on a WebSocket use. */
function upstreamOf(core: Core, { metrics, proxies, affinity, retryBudget }: Lasting, before: { readonly targets: readonly Target[]; readonly feed: PriceFeed } | null, spend: Spend) {
  const targets = targetsOf(core, proxies, before?.targets);
  const renames = targets.some(({ model, models }) => model !== null || Object.keys(models).length > 0);
  const unread = new UnreadAnswers(core.config, core.crew?.workers);
  const carrier = proxy(core, unread, spend, proxies);
  const { routeOf, routes, rows } = routeTable(core.config.routes);
  const checked = routeHealth(core, rows, targets, proxies);
  const health = prober(core, targets);
  const feed = new PriceFeed(core, targets, before?.feed);
  const newapi = new NewapiClient(core, proxies);
  let isAsked = false;
  const askPrices = (): void => {
    if (isAsked) return;
    isAsked = true;
    inBackground(core.log, 'prices', feed.start().then(() => reportUnpriced(core, feed.lists.get(first.name) ?? null)));
  };
  const { prices, priceSource } = core.config.llm;
  const costOf = costs(prices, { newapi: feed.lists, ...(priceSource === 'none' && { load: null }) });
  const priced = new Map(targets.map(({ name, provider }) => [name, { name, provider: provider.name }]));
  const first = targets[0] as Target;
  return {
    targets, routeOf, routes, rows, routeHealth: checked, health, feed,
    /** Holds breakers and probes together with the other threads of the gate, from now on. */
    share(isFirst: boolean): void {
      hearBreakers(core, targets);
      shareProbes(core, targets, health, isFirst);
      checked.share();
    },
    stop(): void {
      health.close();
      feed.close();
      checked.stop();
    },
    async close(next: { readonly targets: readonly Target[] } | null): Promise<void> {
      const left = targets.filter((each) => next === null || !next.targets.includes(each));
      const closers: Closer[] = [...left.map(({ pool }) => () => pool.destroy()), () => carrier.close(), () => checked.close(), () => newapi.close()];
      for (const closer of closers) await closed(core.log, closer);
    },
    forward: forwarder(core, targets, { metrics, unread, affinity, budget: retryBudget }, () => {
      health.start();
      askPrices();
    }),
    /** Whether it needs the body of a request to choose a target or to ask it. */
    needsBody: ({ route }: Context): boolean => core.config.llm.streamPreludeAfter !== null || renames || (targets.length > 1 && route.api === conversations),
    askPrices, newapi,
    carry: carrier.carry,
    price: pricing(priced, costOf),
    // By the price of the first target, which answers most requests.
    worth: (model: string, usage: Usage): number | null => costOf(targetModel(first, { model }) ?? model, { name: first.name, provider: first.provider.name }, usage),
  };
}

/** Runs a closer. One that fails keeps no other from running. */
export async function closed(log: Core['log'], closer: Closer): Promise<void> {
  try {
    await closer();
  } catch (error) {
    log.error({ in: 'close', error: describe(error) }, 'callback.failed');
  }
}

/** Says which models the budgets of the configuration do not limit, since nothing tells their price. */
async function reportUnpriced({ config, log }: Core, list: NewapiPrices | null): Promise<void> {
  for (const warning of await unpricedBudgets(config, budgetsOf(config), list)) log.warn({ warning }, 'budget.unpriced');
}

/** An upstream may quote the credential of a key that was made while the gate runs. */
const hideCredentials = (core: Core, registry: KeyRegistry, journal: WorkerJournal): void => hide(core, journal, registry.upstreamCredentials);

/** Masks further secrets in all text that leaves the process. */
function hide({ hidden }: Core, journal: WorkerJournal, secrets: readonly string[]): void {
  const found = secrets.filter((secret) => !hidden.includes(secret));
  if (found.length === 0) return;
  hidden.push(...found);
  journal.hide(found);
}

const silent: Core['log'] = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Identities, keys, bans, and the connection by which instances share them. */
function callersOf(core: Core) {
  const { config, clock } = core;
  // Read at the first use: the secret may have to be written to its file.
  let known: string | null = null;
  const secret = (): string => (known ??= installSecret(config, core.log));
  const keys = new GatewayKeys(clock, config.auth.keys);
  const redis = redisOf(config, core.log);
  // What a worker finds in it the main thread finds too, and says.
  const quiet = core.crew?.isWorker === true ? (Object.assign(Object.create(core) as Core, { log: silent }) satisfies Core) : core;
  const registry = new KeyRegistry({ core: quiet, redis, keys, secrets: () => [secret(), ...config.previousSecrets] });
  return {
    secret, keys, redis, registry,
    identify: tokenIdentifier(secret, config.previousSecrets),
    verified: new VerifiedTokens(clock, config.auth.verifiedTtl, core.crew),
  };
}

/** What the recording of requests needs. */
interface RecordingDeps extends Omit<JournalDeps, 'sinks'> {
  readonly identify: (credential: string) => TokenIdentity;
  /** Requests in hand when the process before this one ended, as far as the queue had saved them. */
  readonly interrupted: () => readonly InterruptedRequest[];
  /** Sinks passed by the program. */
  readonly sinks: readonly Sink[];
  readonly proxies: OutboundProxy | null;
  /** What NewAPI calls a caller. */
  readonly nameOf: AdminServices['nameOf'];
}

/** The recording of requests, as the parts of one configuration use it. */
interface RecordingParts {
  readonly record: Finisher;
  readonly tap: (context: Context) => Tap | null;
  /** Wraps what forwards a request: with `audit.durability: strict` its intent is committed first. */
  readonly admit: (forward: (context: Context) => void) => (context: Context) => void;
  /** Receives records from other programs. */
  readonly ingestion: Ingestion;
}

/** The recording of requests. */
interface Recording {
  readonly journal: WorkerJournal;
  /** True while model routes must not be served, since their requests could not be recorded. */
  readonly isRefusing: () => boolean;
  /** What the parts need under one configuration. */
  readonly under: (core: Core) => RecordingParts;
  /** The state of each sink. */
  readonly sinks: () => readonly SinkView[];
  /** Makes ready what it takes over of another configuration. @throws where that cannot be had. */
  readonly prepare: (config: Config) => { readonly enter: () => void };
  /** Opens the journal; sinks go on at their cursors. */
  start(): void;
  /** Closes the sinks before the journal they follow. */
  close(): Promise<void>;
}

/** The journal, its sources and its sinks. Without the part `logging` no request is recorded. */
function recording(core: Core, metrics: Metrics, deps: RecordingDeps): Recording {
  const { audit } = core.config;
  if (!audit.enabled && deps.sinks.length > 0) throw new ConfigError([{ path: 'audit', message: expectation('a journal, since sinks follow it', 'false', '{ path: data/heimdall.db }') }]);
  const raw = new RawTokens();
  const isRaw = ({ audit: { newapi } }: Config): boolean => newapi.enabled && newapi.token === 'raw';
  // What follows the journal follows it in the main thread alone.
  const isWorker = core.crew?.isWorker === true;
  const needs: SinkNeeds = { core, rawToken: (tokenId) => raw.of(tokenId), proxies: deps.proxies, nameOf: deps.nameOf, pack: (first, last, packing) => journal.pack(first, last, packing) };
  const wanted = (config: Config): readonly WantedSink[] => (isWorker ? [] : sinksOf(config, needs, deps.sinks));
  const journal: WorkerJournal = new WorkerJournal(core, {
    ...deps, sinks: () => followers.names,
    observer: isWorker ? null : observerModule(extname(import.meta.url)),
    observerShares: core.config.rateLimit.redisUrl !== null,
    observerOptions: () => ({ mmdb: core.config.anomaly.mmdb === null ? null : resolve(core.config.anomaly.mmdb) }) satisfies ObserverOptions,
  });
  const followers: Followers = new Followers(core, journal, wanted(core.config));
  metrics.expose([...journalSeries(journal), ...sinkSeries(() => followers.views())]);
  const isOn = ({ config: { middleware } } = core): boolean => audit.enabled && (middleware?.includes('logging') ?? true);
  const rates = new Map<string, Filling>();
  let begun: Promise<void> | null = null;
  const begin = async (): Promise<void> => {
    await journal.open();
    const lost = isOn() ? deps.interrupted() : [];
    if (lost.length > 0) await journal.append(lost.map(recordOfLost));
  };
  return {
    journal,
    isRefusing: () => isOn() && journal.refusing,
    under(one) {
      const { record, tap, admit } = recorder(one, journal, () => deps.accessLog.isRead);
      const remembering: Finisher = (context) => {
        raw.remember(context);
        record(context);
      };
      return { record: isRaw(one.config) ? remembering : record, tap: isOn(one) ? tap : () => null, admit: isOn(one) ? admit : (forward) => forward, ingestion: ingestion(one, journal, deps.identify, rates) };
    },
    sinks: () => followers.views(),
    prepare(config) {
      const sinks = wanted(config);
      return {
        enter: () => {
          followers.configure(sinks);
          journal.configure();
          if (!isRaw(config)) raw.clear();
        },
      };
    },
    start() {
      if (audit.enabled) begun ??= begin().catch(() => undefined);
      followers.start();
    },
    async close() {
      await followers.close();
      raw.clear();
      await journal.close();
    },
  };
}

/** The record of a request that a crash interrupted. A record already in the journal, as with `audit.durability: strict`, is kept. */
function recordOfLost({ id, time, fairnessKey }: InterruptedRequest): NewRecord {
  const [, kind = '', value = ''] = /^(key|token|address):(.*)$/s.exec(fairnessKey) ?? [];
  return {
    request_id: id, time, request_method: '', request_path: '', real_ip: kind === 'address' ? value : '', response_status: 0, response_time: 0, source: 'gate', outcome: 'interrupted', device_fingerprint: '',
    key_id: kind === 'key' ? value : null, token_id: kind === 'token' ? value : null,
  };
}

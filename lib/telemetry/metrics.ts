import { AggregatorRegistry, collectDefaultMetrics, Registry, type Histogram, type Metric, type MetricObjectWithValues, type MetricValue } from 'prom-client';
import type { Config, MetricsConfig } from '../../types/config.d.ts';
import type { CheckedRoute } from '../../types/route.d.ts';
import type { Context, Core } from '../request/request.ts';
import { errors } from '../errors.ts';
import { rowOf, type SeriesName } from '../config/config.ts';
import { GenAiSeries, knownModels, RequestSeries, type Sample } from './request-series.ts';

export type { Sample } from './request-series.ts';

const tokenKinds = ['prompt', 'completion', 'cached', 'reasoning'] as const;

const breakerStates = { up: 0, resting: 0, probing: 1, open: 2 } as const;

const failureKinds = ['unreachable', 'stale', 'reset', 'timeout', 'not_http', 'cut', 'malformed', 'reply', 'error_event'] as const;

/** How an exchange with a target failed. */
export type FailureKind = (typeof failureKinds)[number];

const guardReasons = ['deny', 'allow', 'connections', 'ban_address', 'ban_token', 'ban_key', 'resources'] as const;

/** Why the guard refused a request. */
export type GuardReason = (typeof guardReasons)[number];

/** The state of a target that a scrape shows. */
export interface TargetView {
  readonly name: string;
  readonly provider: { readonly name: string };
  readonly state: { worst(): keyof typeof breakerStates };
  readonly inHand: number;
}

/** The state of a monitored resource that a scrape shows. */
export interface ResourceView {
  readonly resource: string;
  /** A share, or milliseconds of latency; null when it could not be measured. */
  readonly value: number | null;
  readonly threshold: number;
  readonly short: boolean;
}

/** A metric whose values another part keeps. */
export interface Exposed {
  readonly name: SeriesName;
  values(): Sample[];
}

/** The metrics of one thread, in a form that can be sent to another one. */
export type MetricValues = readonly MetricObjectWithValues<MetricValue<string>>[];

/** Default metrics of prom-client that are left out: gauges with the suffix of a counter, and gauges whose labels appear and disappear. */
const unwanted = ['handles', 'requests', 'resources'].flatMap((what) => [`nodejs_active_${what}`, `nodejs_active_${what}_total`]);
const collections = ['major', 'minor', 'incremental', 'weakcb'];

/** A counter for each kind. Every kind is exposed from the start, so that its first increase is visible. */
class Counts<Kind extends string> {
  readonly #counts: Map<Kind, number>;

  constructor(kinds: readonly Kind[]) {
    this.#counts = new Map(kinds.map((kind) => [kind, 0]));
  }

  add(kind: Kind, value = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + value);
  }

  samples(label: string, labels: Sample['labels'] = {}): Sample[] {
    return [...this.#counts].map(([kind, value]) => ({ labels: { ...labels, [label]: kind }, value }));
  }
}

/** Counters of one target. */
class TargetCounts {
  attempts = 0;
  cost = 0;
  readonly tokens = new Float64Array(tokenKinds.length);
  readonly failures = new Counts<FailureKind>(failureKinds);
}

/** The gate's metrics: plain counters on the request path, converted to the types and the text format of prom-client at a scrape. */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #requests = new RequestSeries();
  readonly #genAi: GenAiSeries;
  readonly #errors = new Counts(Object.keys(errors));
  readonly #guarded = new Counts<GuardReason>(guardReasons);
  readonly #targets = new Map<string, TargetCounts>();
  readonly #config: MetricsConfig;
  /** Of a gate with several workers, the metrics of its other threads. */
  others: (() => Promise<readonly MetricValues[]>) | null = null;
  #watched: readonly TargetView[] | null = null;
  #defaults = false;

  /** @param inFlight requests in flight. */
  constructor(config: Config, inFlight: { readonly size: number }) {
    this.#config = config.metrics;
    this.#genAi = new GenAiSeries(knownModels(config));
    this.#exposeRequests(inFlight);
    this.#exposeGenAi();
    this.#exposeTargets();
  }

  /** Counts a request that the guard refused. */
  refusedByGuard(reason: GuardReason): void {
    this.#guarded.add(reason);
  }

  /** Counts an attempt at a target. */
  attempted(target: string): void {
    (this.#targets.get(target) ?? this.#addTarget(target)).attempts++;
  }

  /** Counts an attempt that failed before the client got anything. */
  failed(target: string, kind: FailureKind): void {
    (this.#targets.get(target) ?? this.#addTarget(target)).failures.add(kind);
  }

  /** Counts a finished request; called once for each. */
  add(context: Context): void {
    this.#requests.add(context);
    this.#genAi.add(context);
    const { errorCode, usage, cost, target } = context;
    if (errorCode !== null) this.#errors.add(errorCode);
    if (target === null || (usage === null && cost === null)) return;
    const counts = this.#targets.get(target) ?? this.#addTarget(target);
    if (cost !== null) counts.cost += cost;
    if (usage === null) return;
    const { tokens } = counts;
    tokens[0] = (tokens[0] as number) + usage.prompt;
    tokens[1] = (tokens[1] as number) + usage.completion;
    tokens[2] = (tokens[2] as number) + usage.cached;
    tokens[3] = (tokens[3] as number) + usage.reasoning;
  }

  /** Exposes the state of targets, in place of those before. @param targets read at each scrape. */
  watch(targets: readonly TargetView[]): void {
    const isFirst = this.#watched === null;
    this.#watched = targets;
    for (const { name, provider } of targets) {
      this.#genAi.provides(name, provider.name);
      if (!this.#targets.has(name)) this.#addTarget(name);
    }
    if (!isFirst) return;
    const watched = (): readonly TargetView[] => this.#watched ?? [];
    this.#register('circuit_breaker_state', () => watched().map(({ name, state }) => ({ labels: { target: name }, value: breakerStates[state.worst()] })));
    this.#register('upstream_active_requests', () => watched().map(({ name, inHand }) => ({ labels: { target: name }, value: inHand })));
  }

  /** Exposes the health of checked routes. @param checked called at each scrape. */
  watchRoutes(checked: () => readonly CheckedRoute[]): void {
    this.#register('route_health', () => checked().flatMap(({ path, checks }) => Object.entries(checks).map(([check, passes]) => ({ labels: { route: path, check }, value: Number(passes) }))));
  }

  /** Exposes the use of resources. @param usage called at each scrape. */
  watchResources(usage: () => readonly ResourceView[]): void {
    this.#register('resource_usage_ratio', () =>
      usage().flatMap(({ resource, value, threshold }) => (value === null ? [] : { labels: { resource }, value: resource === 'latency' ? value / threshold : value })),
    );
    this.#register('resource_short', () => usage().map(({ resource, short }) => ({ labels: { resource }, value: Number(short) })));
  }

  /** Exposes metrics whose values other parts keep. */
  expose(metrics: readonly Exposed[]): void {
    for (const { name, values } of metrics) this.#register(name, values);
  }

  /** All metrics in the text format of Prometheus. */
  async exposition(): Promise<string> {
    this.#ensureDefaults();
    if (this.others === null) return this.#registry.metrics();
    // First those of this thread: what is the process's counts once.
    const own = (await this.#registry.getMetricsAsJSON()) as unknown as MetricValues;
    const all = [own.map((metric) => (this.#isOfProcess(metric) ? { ...metric, aggregator: 'first' as const } : metric)), ...(await this.others())];
    return AggregatorRegistry.aggregate(all as unknown as object[]).metrics();
  }

  /** All metrics of this thread that are not the process's. */
  async values(): Promise<MetricValues> {
    this.#ensureDefaults();
    const values = (await this.#registry.getMetricsAsJSON()) as unknown as MetricValues;
    return values.filter((metric) => !this.#isOfProcess(metric));
  }

  #isOfProcess({ name }: { readonly name: string }): boolean {
    return name.startsWith(`${this.#config.prefix}process_`) || name === `${this.#config.prefix}nodejs_version_info`;
  }

  #ensureDefaults(): void {
    if (!this.#defaults && this.#config.series === null) this.#collectDefaults();
    this.#defaults = true;
  }

  #exposeRequests(inFlight: { readonly size: number }): void {
    const requests = this.#requests;
    this.#register('request_duration_seconds', (name) => requests.durations(name));
    this.#register('request_size_bytes', (name) => requests.byRoute(name, 'request'));
    this.#register('response_size_bytes', (name) => requests.byRoute(name, 'response'));
    this.#register('overhead_seconds', (name) => requests.byRoute(name, 'overhead'));
    this.#register('active_requests', () => [{ labels: {}, value: inFlight.size }]);
    this.#register('error_total', () => this.#errors.samples('type'));
    this.#register('guard_refused_total', () => this.#guarded.samples('reason'));
  }

  #exposeGenAi(): void {
    const genAi = this.#genAi;
    this.#register('gen_ai_server_request_duration_seconds', (name) => genAi.durations(name));
    this.#register('gen_ai_server_time_to_first_token_seconds', (name) => genAi.firstTokens(name));
    this.#register('gen_ai_server_time_per_output_token_seconds', (name) => genAi.perToken(name));
    this.#register('gen_ai_client_token_usage', (name) => genAi.tokens(name));
  }

  #exposeTargets(): void {
    const each = (samples: (counts: TargetCounts, labels: { target: string }) => Sample | Sample[]): Sample[] => [...this.#targets].flatMap(([target, counts]) => samples(counts, { target }));
    this.#register('upstream_attempts_total', () => each(({ attempts }, labels) => ({ labels, value: attempts })));
    this.#register('upstream_failures_total', () => each(({ failures }, labels) => failures.samples('kind', labels)));
    this.#register('tokens_total', () => each(({ tokens }, labels) => tokenKinds.map((kind, at) => ({ labels: { ...labels, kind }, value: tokens[at] as number }))));
    this.#register('cost_usd_total', () => each(({ cost }, labels) => ({ labels, value: cost })));
  }

  #addTarget(target: string): TargetCounts {
    const counts = new TargetCounts();
    this.#targets.set(target, counts);
    return counts;
  }

  #collectDefaults(): void {
    const { prefix } = this.#config;
    collectDefaultMetrics({ register: this.#registry, prefix });
    for (const name of unwanted) this.#registry.removeSingleMetric(prefix + name);
    const collected = this.#registry.getSingleMetric(`${prefix}nodejs_gc_duration_seconds`) as Histogram<'kind'> | undefined;
    for (const kind of collections) collected?.zero({ kind });
  }

  /** prom-client reads a metric through its `get`, so returning the counters there is all that a scrape needs. */
  #register(name: SeriesName, values: (name: string) => Sample[]): void {
    const { series, prefix } = this.#config;
    if (series !== null && !series.includes(name)) return;
    const { type, help, otel, across = 'sum' } = rowOf(name);
    const before = otel ? '' : prefix;
    const named = (sample: Sample): Sample => (sample.metricName === undefined ? sample : { ...sample, metricName: before + sample.metricName });
    const whole = { name: before + name, help, type, aggregator: across };
    this.#registry.registerMetric({ ...whole, get: async () => ({ ...whole, values: values(name).map(named) }) } as unknown as Metric);
  }
}

/** The metrics of one gate. */
export const metricsOf = ({ config, inFlight }: Core): Metrics => new Metrics(config, inFlight);

import { collectDefaultMetrics, Registry, type Metric } from 'prom-client';
import type { MetricsConfig } from '../types/config.d.ts';
import type { Usage } from '../types/usage.d.ts';
import type { Context, Core } from './context.ts';

/** Upper bounds in seconds; the long end is where streams live. */
const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const overheads = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const sizes = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/** Every metric: name, type, help, and what one finished request adds to it. Labels are bounded by the route table. */
const table = [
  { name: 'request_duration_seconds', type: 'histogram', help: 'Time from arrival to the end of the answer.', bounds: durations, value: (context: Context) => context.duration / 1000 },
  { name: 'request_size_bytes', type: 'histogram', help: 'Size of request bodies on model routes.', bounds: sizes, value: (context: Context) => (context.body === null ? null : context.bytesIn) },
  { name: 'response_size_bytes', type: 'histogram', help: 'Size of answers\' bodies.', bounds: sizes, value: (context: Context) => context.bytesOut },
  { name: 'overhead_seconds', type: 'histogram', help: 'Time the gate itself added until the head of an upstream\'s answer went out.', bounds: overheads, value: overhead },
] as const;

/** Time between two of our own doings; waiting for the caller's body or for the upstream is nobody's overhead. */
function overhead(context: Context): number | null {
  const { sentAt, answeredAt, headAt, bodyWait } = context;
  if (sentAt === null || answeredAt === null || headAt === null) return null;
  return (sentAt - bodyWait + (headAt - answeredAt)) / 1000;
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const statusClasses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];

interface Labels {
  readonly route: string;
  readonly method: string;
  readonly status: string;
}

/** One label set's histograms: plain bucket counts, since prom-client's `observe` costs a microsecond each. */
class Series {
  readonly labels: Labels;
  readonly counts = table.map(({ bounds }) => new Float64Array(bounds.length + 1));
  readonly sums = new Float64Array(table.length);

  constructor(labels: Labels) {
    this.labels = labels;
  }

  add(context: Context): void {
    for (let at = 0; at < table.length; at++) {
      const row = table[at] as (typeof table)[number];
      const value = row.value(context);
      if (value === null) continue;
      const { bounds } = row;
      let bucket = 0;
      while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
      const counts = this.counts[at] as Float64Array;
      counts[bucket] = (counts[bucket] as number) + 1;
      this.sums[at] = (this.sums[at] as number) + value;
    }
  }
}

interface Sample {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

const tokenKinds = ['prompt', 'completion', 'cached', 'reasoning'] as const;

const breakerStates = { up: 0, resting: 0, probing: 1, open: 2 } as const;

/** What a scrape asks of a target. */
export interface TargetView {
  readonly name: string;
  readonly state: { worst(): keyof typeof breakerStates };
}

const add = (counts: Map<string, number>, key: string, value: number): void => void counts.set(key, (counts.get(key) ?? 0) + value);

/** @param names of the labels whose values make up a key, parted by a space. */
function labelled(counts: ReadonlyMap<string, number>, ...names: readonly string[]): Sample[] {
  return [...counts].map(([key, value]) => {
    const values = key.split(' ');
    return { labels: Object.fromEntries(names.map((name, at) => [name, values[at] as string])), value };
  });
}

/** The gate's metrics: fed by plain counters on the hot path, put into prom-client's registry and text form at a scrape. */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #series = new Map<string, Map<number, Series>>();
  readonly #errors = new Map<string, number>();
  readonly #attempts = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  readonly #tokens = new Map<string, Float64Array>();
  readonly #costs = new Map<string, number>();
  readonly #config: MetricsConfig;
  #defaults = false;

  /** @param live the requests in hand. */
  constructor(config: MetricsConfig, live: { readonly size: number }) {
    this.#config = config;
    for (const [at, { name, help }] of table.entries()) this.#register(name, 'histogram', help, () => this.#histogram(at, this.#named(name)));
    this.#register('active_requests', 'gauge', 'Requests in hand.', () => [{ labels: {}, value: live.size }]);
    this.#register('error_total', 'counter', 'Requests the gate itself answered with an error, by its code.', () =>
      [...this.#errors].map(([type, value]) => ({ labels: { type }, value })),
    );
    this.#register('upstream_attempts_total', 'counter', 'Exchanges with a target.', () => labelled(this.#attempts, 'target'));
    this.#register('upstream_failures_total', 'counter', 'Exchanges that gave the client nothing, by how they failed.', () => labelled(this.#failures, 'target', 'kind'));
    this.#register('tokens_total', 'counter', 'Tokens of answers, by kind; cached is part of prompt, reasoning part of completion.', () =>
      [...this.#tokens].flatMap(([target, counts]) => tokenKinds.map((kind, at) => ({ labels: { target, kind }, value: counts[at] as number }))),
    );
    this.#register('cost_usd_total', 'counter', 'US dollars, where a price is known.', () => labelled(this.#costs, 'target'));
  }

  /** One more exchange with a target. */
  attempted(target: string): void {
    add(this.#attempts, target, 1);
  }

  /** An exchange that gave the client nothing. @param kind how it failed. */
  failed(target: string, kind: string): void {
    add(this.#failures, `${target} ${kind}`, 1);
  }

  /** @param targets what {@link State} each has is asked for at a scrape. */
  watch(targets: readonly TargetView[]): void {
    this.#register('circuit_breaker_state', 'gauge', 'What a target is expected to do: 0 closed, 1 half-open, 2 open.', () =>
      targets.map(({ name, state }) => ({ labels: { target: name }, value: breakerStates[state.worst()] })),
    );
  }

  /** Called once for every finished request. */
  add(context: Context): void {
    this.#seriesOf(context).add(context);
    const { errorCode, usage, cost, target } = context;
    if (errorCode !== null) add(this.#errors, errorCode, 1);
    if (usage !== null && target !== null) this.#count(target, usage);
    if (cost !== null && target !== null) add(this.#costs, target, cost);
  }

  #count(target: string, usage: Usage): void {
    let counts = this.#tokens.get(target);
    if (!counts) this.#tokens.set(target, (counts = new Float64Array(tokenKinds.length)));
    for (let at = 0; at < tokenKinds.length; at++) counts[at] = (counts[at] as number) + usage[tokenKinds[at] as (typeof tokenKinds)[number]];
  }

  /** Prometheus' text format. */
  exposition(): Promise<string> {
    if (!this.#defaults && this.#config.series === null) collectDefaultMetrics({ register: this.#registry, prefix: this.#config.prefix });
    this.#defaults = true;
    return this.#registry.metrics();
  }

  #seriesOf({ route, req, status }: Context): Series {
    let byCode = this.#series.get(route.template);
    if (!byCode) this.#series.set(route.template, (byCode = new Map()));
    const method = methods.indexOf(req.method ?? '');
    const statusClass = Math.min(5, Math.trunc(status / 100));
    const code = (method + 1) * 8 + statusClass;
    let series = byCode.get(code);
    if (!series) {
      series = new Series({ route: route.template, method: methods[method] ?? 'other', status: statusClasses[statusClass] as string });
      byCode.set(code, series);
    }
    return series;
  }

  #named(name: string): string {
    return this.#config.prefix + name;
  }

  /** prom-client reads a metric by its `get`; giving it our counts there is all a scrape needs. */
  #register(name: string, type: 'histogram' | 'gauge' | 'counter', help: string, values: () => Sample[]): void {
    const { series } = this.#config;
    if (series !== null && !(series as readonly string[]).includes(name)) return;
    const metric = { name: this.#named(name), help, type, aggregator: 'sum', get: async () => ({ name: this.#named(name), help, type, aggregator: 'sum', values: values() }) };
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  #histogram(at: number, name: string): Sample[] {
    const samples: Sample[] = [];
    for (const byCode of this.#series.values()) for (const { labels, counts, sums } of byCode.values()) {
      let total = 0;
      for (const [bucket, count] of (counts[at] as Float64Array).entries()) {
        total += count;
        samples.push({ metricName: `${name}_bucket`, labels: { le: table[at]?.bounds[bucket] ?? '+Inf', ...labels }, value: total });
      }
      samples.push({ metricName: `${name}_sum`, labels: { ...labels }, value: sums[at] as number });
      samples.push({ metricName: `${name}_count`, labels: { ...labels }, value: total });
    }
    return samples;
  }
}

/** The metrics of one gate. */
export const metricsOf = (core: Core): Metrics => new Metrics(core.config.metrics, core.live);

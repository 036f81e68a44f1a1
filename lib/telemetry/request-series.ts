import type { Config } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';

/** A value and its labels, as a scrape returns it. */
export interface Sample {
  /** Name of a part of a histogram, without the prefix; absent for the metric itself. */
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Plain bucket counts, since `observe` of prom-client costs a microsecond a call. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  /** @param bounds upper bounds, rising; the last bucket, `+Inf`, is added. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }

  /** @param name of the metric, without the prefix. */
  samples(name: string, labels: Sample['labels']): Sample[] {
    const samples: Sample[] = [];
    let total = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      total += count;
      samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le: this.#bounds[bucket] ?? '+Inf' }, value: total });
    }
    return [...samples, { metricName: `${name}_sum`, labels, value: this.#sum }, { metricName: `${name}_count`, labels, value: total }];
  }
}

/** Upper bounds in seconds. The long ones are for streams. */
const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const overheads = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const sizes = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const statusClasses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];

/** The histograms of one route. */
class RouteSeries {
  readonly request = new Histogram(sizes);
  readonly response = new Histogram(sizes);
  readonly overhead = new Histogram(overheads);
  /** Durations by method and class of status, in order of appearance. */
  readonly durations: { readonly method: string; readonly status: string; readonly times: Histogram }[] = [];
  readonly byCode: (Histogram | undefined)[] = new Array<Histogram | undefined>((methods.length + 1) * statusClasses.length).fill(undefined);

  addDuration(code: number, method: string | undefined): Histogram {
    const times = new Histogram(durations);
    this.byCode[code] = times;
    this.durations.push({ method: method ?? 'other', status: statusClasses[code % statusClasses.length] as string, times });
    return times;
  }
}

/** Durations and sizes of finished requests, by route template, so that the number of labels is bounded. */
export class RequestSeries {
  readonly #routes = new Map<string, RouteSeries>();

  add(context: Context): void {
    const { route: { template }, duration, overhead, req, status } = context;
    let series = this.#routes.get(template);
    if (series === undefined) this.#routes.set(template, (series = new RouteSeries()));
    const method = methods.indexOf(req.method ?? '');
    const code = (method + 1) * statusClasses.length + Math.min(5, Math.trunc(status / 100));
    (series.byCode[code] ?? series.addDuration(code, methods[method])).observe(duration / 1000);
    if (context.body !== null) series.request.observe(context.bytesIn);
    series.response.observe(context.bytesOut);
    if (overhead !== null) series.overhead.observe(overhead / 1000);
  }

  durations(name: string): Sample[] {
    return [...this.#routes].flatMap(([route, series]) => series.durations.flatMap(({ method, status, times }) => times.samples(name, { route, method, status })));
  }

  byRoute(name: string, of: 'request' | 'response' | 'overhead'): Sample[] {
    return [...this.#routes].flatMap(([route, series]) => series[of].samples(name, { route }));
  }
}

/** Bounds recommended by OpenTelemetry's semantic conventions for generative AI; seconds, and tokens. */
const modelDurations = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const firstTokens = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const perToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const tokens = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/** `gen_ai.operation.name` by route. An operation without a name in the conventions has that of its path. Other routes do not run a model. */
const operations: ReadonlyMap<string, string> = new Map([
  ['/v1/chat/completions', 'chat'],
  ['/v1/responses', 'chat'],
  ['/v1/messages', 'chat'],
  ['/v1beta/models/*', 'generate_content'],
  ['/v1/models/*', 'generate_content'],
  ['/v1/completions', 'text_completion'],
  ['/v1/embeddings', 'embeddings'],
  ['/v1/moderations', 'moderations'],
  ['/v1/rerank', 'rerank'],
  ['/v1/images/generations', 'images'],
  ['/v1/images/*', 'images'],
  ['/v1/audio/speech', 'audio'],
  ['/v1/audio/*', 'audio'],
]);

/** Every model that the configuration names without a wildcard. Callers may send any name, so others get no label of their own. */
export function knownModels({ llm, auth, rateLimit }: Config): ReadonlySet<string> {
  const targets = [llm, ...llm.backupProviders].flatMap(({ model, models }) => [model, ...Object.keys(models), ...Object.values(models)]);
  const keys = auth.keys.flatMap(({ models }) => models ?? []);
  const policies = rateLimit.policies.map(({ match }) => match.model);
  const all = [...targets, ...Object.keys(llm.prices), ...keys, ...policies];
  return new Set(all.filter((name) => name !== null && !name.includes('*')) as string[]);
}

type Labels = Readonly<Record<'gen_ai_operation_name' | 'gen_ai_provider_name' | 'gen_ai_request_model', string>>;

/** The histograms of one operation, provider and model. */
class ModelSeries {
  readonly labels: Labels;
  readonly served = new Histogram(modelDurations);
  /** Durations of failures by `error.type`: the gate's own code, `aborted`, or the class of the upstream's status. */
  readonly failed = new Map<string, Histogram>();
  readonly firstToken = new Histogram(firstTokens);
  readonly perToken = new Histogram(perToken);
  readonly input = new Histogram(tokens);
  readonly output = new Histogram(tokens);

  constructor(labels: Labels) {
    this.labels = labels;
  }

  failedBy(error: string): Histogram {
    let histogram = this.failed.get(error);
    if (histogram === undefined) this.failed.set(error, (histogram = new Histogram(modelDurations)));
    return histogram;
  }
}

/** Model requests under the names of OpenTelemetry's conventions. Models that the configuration does not name are `other`. */
export class GenAiSeries {
  readonly #models: ReadonlySet<string>;
  readonly #providers = new Map<string, string>();
  /** By operation, target, model. */
  readonly #series = new Map<string, Map<string, Map<string, ModelSeries>>>();
  /** By operation, provider, model: targets of one provider share a series. */
  readonly #all = new Map<string, ModelSeries>();

  /** @param models the models with labels of their own. */
  constructor(models: ReadonlySet<string>) {
    this.#models = models;
  }

  /** Sets the provider of a target; without it a target's name is the provider. */
  provides(target: string, provider: string): void {
    this.#providers.set(target, provider);
  }

  /** Counts a finished request that was sent to a target. */
  add(context: Context): void {
    const { target, route, usage, duration, outcome, status, errorCode, answeredAt } = context;
    if (target === null || route.class !== 'model') return;
    const operation = operations.get(route.api);
    if (operation === undefined) return;
    const model = context.model !== null && this.#models.has(context.model) ? context.model : 'other';
    const series = this.#series.get(operation)?.get(target)?.get(model) ?? this.#create(operation, target, model);
    const counted = usage !== null && !usage.estimated ? usage : null;
    if (counted !== null) {
      series.input.observe(counted.prompt);
      series.output.observe(counted.completion);
    }
    const error = errorCode ?? (outcome === 'aborted' ? 'aborted' : status < 400 ? null : status < 500 ? '4xx' : '5xx');
    if (error !== null) return series.failedBy(error).observe(duration / 1000);
    series.served.observe(duration / 1000);
    if (!context.eventStream || answeredAt === null) return;
    // A stream commits at its first event, which stands for the first token.
    series.firstToken.observe(answeredAt / 1000);
    if (counted !== null && counted.completion > 1) series.perToken.observe((duration - answeredAt) / 1000 / (counted.completion - 1));
  }

  durations(name: string): Sample[] {
    return this.#each(({ labels, served, failed }) => [...served.samples(name, labels), ...[...failed].flatMap(([error, times]) => times.samples(name, { ...labels, error_type: error }))]);
  }

  firstTokens(name: string): Sample[] {
    return this.#each(({ labels, firstToken }) => firstToken.samples(name, labels));
  }

  perToken(name: string): Sample[] {
    return this.#each(({ labels, perToken: times }) => times.samples(name, labels));
  }

  tokens(name: string): Sample[] {
    return this.#each(({ labels, input, output }) => [...input.samples(name, { ...labels, gen_ai_token_type: 'input' }), ...output.samples(name, { ...labels, gen_ai_token_type: 'output' })]);
  }

  #create(operation: string, target: string, model: string): ModelSeries {
    const provider = this.#providers.get(target) ?? target;
    const key = [operation, provider, model].join('\n');
    let series = this.#all.get(key);
    if (series === undefined) this.#all.set(key, (series = new ModelSeries({ gen_ai_operation_name: operation, gen_ai_provider_name: provider, gen_ai_request_model: model })));
    let targets = this.#series.get(operation);
    if (targets === undefined) this.#series.set(operation, (targets = new Map()));
    let models = targets.get(target);
    if (models === undefined) targets.set(target, (models = new Map()));
    models.set(model, series);
    return series;
  }

  #each(samples: (series: ModelSeries) => Sample[]): Sample[] {
    return [...this.#all.values()].flatMap(samples);
  }
}

import type { Config } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';
import { Histogram, type Sample } from './histogram.ts';

/** Bounds as the semantic conventions for generative AI metrics advise them; seconds, and tokens. */
const durations = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const firstTokens = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const perToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const tokens = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/** `gen_ai.operation.name` of a model route; what the conventions have no name for is called as its path. Others do no work of a model. */
const operations: ReadonlyMap<string, string> = new Map([
  ['/v1/chat/completions', 'chat'],
  ['/v1/responses', 'chat'],
  ['/v1/messages', 'chat'],
  ['/v1/completions', 'text_completion'],
  ['/v1/embeddings', 'embeddings'],
  ['/v1/moderations', 'moderations'],
  ['/v1/rerank', 'rerank'],
  ['/v1/images/generations', 'images'],
  ['/v1/images/*', 'images'],
  ['/v1/audio/speech', 'audio'],
  ['/v1/audio/*', 'audio'],
]);

/** Every model the configuration names, exactly: a caller may name any. */
export function knownModels({ llm, auth, rateLimit }: Config): ReadonlySet<string> {
  const targets = [llm, ...llm.backupProviders].flatMap(({ model, models }) => [model, ...Object.keys(models), ...Object.values(models)]);
  const keys = auth.keys.flatMap(({ models }) => models ?? []);
  const policies = rateLimit.policies.map(({ match }) => match.model);
  const all = [...targets, ...Object.keys(llm.prices), ...keys, ...policies];
  return new Set(all.filter((name) => name !== null && !name.includes('*')) as string[]);
}

type Labels = Readonly<Record<'gen_ai_operation_name' | 'gen_ai_provider_name' | 'gen_ai_request_model', string>>;

/** The requests of one operation, provider and model. */
class ModelSeries {
  readonly labels: Labels;
  readonly served = new Histogram(durations);
  /** By the error's code, or the class of an upstream's status. */
  readonly failed = new Map<string, Histogram>();
  readonly firstToken = new Histogram(firstTokens);
  readonly perToken = new Histogram(perToken);
  readonly input = new Histogram(tokens);
  readonly output = new Histogram(tokens);

  constructor(labels: Labels) {
    this.labels = labels;
  }

  add(context: Context): void {
    const { usage, duration } = context;
    const error = errorOf(context);
    if (error === null) this.served.observe(duration / 1000);
    else this.#failedBy(error).observe(duration / 1000);
    if (usage !== null && !usage.estimated) {
      this.input.observe(usage.prompt);
      this.output.observe(usage.completion);
    }
    if (error === null && context.eventStream && context.answeredAt !== null) this.#streamed(context, context.answeredAt);
  }

  /** A stream commits at its first event: that is as good as its first token. */
  #streamed({ usage, duration }: Context, first: number): void {
    this.firstToken.observe(first / 1000);
    if (usage !== null && !usage.estimated && usage.completion > 1) this.perToken.observe((duration - first) / 1000 / (usage.completion - 1));
  }

  #failedBy(error: string): Histogram {
    let histogram = this.failed.get(error);
    if (histogram === undefined) this.failed.set(error, (histogram = new Histogram(durations)));
    return histogram;
  }
}

/** `error.type`: our own code, `aborted`, or the class of an upstream's status; null for what was served. */
function errorOf({ outcome, status, errorCode }: Context): string | null {
  if (errorCode !== null) return errorCode;
  if (outcome === 'aborted') return 'aborted';
  return status < 400 ? null : status < 500 ? '4xx' : '5xx';
}

/** Model requests in the names of OpenTelemetry's conventions. Models that the configuration does not name are `other`. */
export class GenAiSeries {
  readonly #models: ReadonlySet<string>;
  readonly #providers = new Map<string, string>();
  /** By operation, target, model. */
  readonly #series = new Map<string, Map<string, Map<string, ModelSeries>>>();
  /** Targets of one provider share theirs. */
  readonly #all = new Map<string, ModelSeries>();

  constructor(models: ReadonlySet<string>) {
    this.#models = models;
  }

  /** @param target its name; others are their own provider. */
  provides(target: string, provider: string): void {
    this.#providers.set(target, provider);
  }

  /** Counts a request that a target answered, or failed to answer. */
  add(context: Context): void {
    const { target, route, model } = context;
    if (target === null || route.class !== 'model') return;
    const operation = operations.get(route.api);
    if (operation === undefined) return;
    this.#of(operation, target, model !== null && this.#models.has(model) ? model : 'other').add(context);
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

  #of(operation: string, target: string, model: string): ModelSeries {
    let targets = this.#series.get(operation);
    if (targets === undefined) this.#series.set(operation, (targets = new Map()));
    let models = targets.get(target);
    if (models === undefined) targets.set(target, (models = new Map()));
    let series = models.get(model);
    if (series === undefined) models.set(model, (series = this.#shared(operation, this.#providers.get(target) ?? target, model)));
    return series;
  }

  #shared(operation: string, provider: string, model: string): ModelSeries {
    const key = [operation, provider, model].join('\n');
    let series = this.#all.get(key);
    if (series === undefined) this.#all.set(key, (series = new ModelSeries({ gen_ai_operation_name: operation, gen_ai_provider_name: provider, gen_ai_request_model: model })));
    return series;
  }

  #each(samples: (series: ModelSeries) => Sample[]): Sample[] {
    return [...this.#all.values()].flatMap(samples);
  }
}

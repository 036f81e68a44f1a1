import { Client, Pool, type Dispatcher } from 'undici';
import type { LlmTarget } from '../../types/config.d.ts';
import type { Provider } from '../../types/provider.d.ts';
import type { Route } from '../../types/route.d.ts';
import type { Context, Core } from '../context.ts';
import { providerOf } from '../providers/index.ts';
import { anonymousQuery, callerHeaders, ownHeaders } from './hygiene.ts';
import { TargetState } from './state.ts';

/** One place an attempt can go to. */
export interface Target {
  /** Unique among a gate's targets, for records and metrics: the provider, numbered when it stands twice. */
  readonly name: string;
  readonly provider: Provider;
  /** `caller`: asked with the caller's credential. `own`: asked with ours, or with none; never sees the caller's. */
  readonly credential: 'caller' | 'own';
  readonly pool: Pool;
  /** What follows `/v1` in a route is appended. */
  readonly base: string;
  readonly host: string;
  readonly key: string | null;
  readonly model: string | null;
  readonly models: Readonly<Record<string, string>>;
  readonly weight: number;
  readonly state: TargetState;
  /** Requests it is working on. */
  inHand: number;
}

/** A handler that is told the connection its request is put on. */
export interface ConnectionAware {
  connection: Connection | null;
}

/**
 * A keep-alive socket the upstream closes just as we write looks like any reset. Counting what the socket has served
 * tells them apart; undici's errors do not.
 */
export class Connection extends Client {
  #served = 0;

  constructor(origin: URL, options: Client.Options) {
    super(origin, options);
    this.on('connect', () => {
      this.#served = 0;
    });
  }

  /**
   * Called as a request goes out; when it was dispatched, the socket it would go out on was not yet certain.
   * @returns whether the socket has served before.
   */
  serve(): boolean {
    return this.#served++ > 0;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler & Partial<ConnectionAware>): boolean {
    handler.connection = this;
    return super.dispatch(options, handler);
  }
}

/** Heads above this end an attempt; undici's own 16 KB is less than some providers' cookies. */
const maxAnswerHead = 131_072;

/**
 * No cap of connections, which would be a second, hidden queue; no HTTP/2, where one lost packet stalls every stream of a
 * target; timers are ours, undici's are coarse.
 */
function pool(endpoint: URL, connect: number): Pool {
  return new Pool(endpoint.origin, {
    allowH2: false,
    connections: null,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: maxAnswerHead,
    connect: { timeout: connect },
    factory: (origin, options) => new Connection(origin, options as Client.Options),
  });
}

function target({ config, clock, log }: Core, from: LlmTarget, taken: Set<string>): Target {
  const provider = providerOf(from.provider);
  const caller = from.provider === 'newapi' && from.apiKey === null;
  const endpoint = new URL(from.endpoint ?? provider.endpoint ?? `${config.newapi.baseUrl}/v1`);
  let name = provider.name;
  for (let n = 2; taken.has(name); n++) name = `${provider.name}-${n}`;
  taken.add(name);
  return {
    name,
    provider,
    credential: caller ? 'caller' : 'own',
    pool: pool(endpoint, config.llm.timeouts.connect),
    base: endpoint.pathname.replace(/\/+$/, ''),
    host: endpoint.host,
    key: from.apiKey,
    model: from.model,
    models: from.models,
    weight: from.weight,
    state: new TargetState(config.circuitBreaker, () => clock.now(), !caller, (state, model) => log.warn({ target: name, model, state }, `target.${state}`)),
    inHand: 0,
  };
}

/** The targets of a configuration in order of preference; opens no connection. */
export function targetsOf(core: Core): readonly Target[] {
  const taken = new Set<string>();
  const { llm } = core.config;
  return [llm, ...llm.backupProviders].map((from) => target(core, from, taken));
}

/**
 * SECURITY: a gateway key is never shown to NewAPI: it needs an `upstream_credential`. An `own` target spends our money:
 * only a verified caller reaches it, and only by routes its provider speaks.
 */
export function eligible(target: Target, context: Context): boolean {
  if (target.credential === 'caller') return context.key === null || context.upstreamCredential !== null;
  return context.verified && speaks(target.provider, context.route) && (targetModel(target, context) === context.model || context.modelSpan !== null);
}

function speaks(provider: Provider, route: Route): boolean {
  if (provider.name === 'newapi') return true;
  return route.providers.includes(provider.name) || (!known.has(provider.name) && route.providers.includes('openai'));
}

const known: ReadonlySet<string> = new Set(['openai', 'anthropic', 'ollama']);

/** The model this target is asked for. */
export function targetModel(target: Target, context: Context): string | null {
  const { model } = context;
  if (model === null) return null;
  const mapped = Object.hasOwn(target.models, model) ? target.models[model] : undefined;
  return mapped ?? target.model ?? model;
}

/** Everything the wire needs to ask a target. */
export function requestFor(target: Target, context: Context): Dispatcher.DispatchOptions {
  const caller = target.credential === 'caller';
  const headers = caller ? callerHeaders(context) : ownHeaders(context, target.host, credentialFor(target, context));
  const length = context.req.headers['content-length'];
  if (context.bodyStream !== null && length !== undefined) headers.push('Content-Length', length);
  return {
    path: target.base + (caller ? rawPath(context) : plainPath(context)),
    method: (context.req.method ?? 'GET') as Dispatcher.HttpMethod,
    headers,
    body: context.bodyStream ?? bodyFor(target, context),
  };
}

const credentialFor = ({ key, provider }: Target, context: Context): readonly string[] => (key === null ? [] : provider.credential(key, context.route.template));

/** NewAPI gets path and query as the caller wrote them, since it reads credentials there by its own rules. */
function rawPath(context: Context): string {
  const { path, query, upstreamCredential } = context;
  const raw = context.req.url ?? '';
  const version = raw.startsWith('/v1/') ? raw.slice(3, raw.length - query.length) : encoded(path);
  return version + (upstreamCredential === null ? query : anonymousQuery(query));
}

const plainPath = ({ path, query }: Context): string => encoded(path) + anonymousQuery(query);

/** What follows `/v1` in a canonical path, segment by segment, so that a decoded `?` or `#` stays part of it. */
const encoded = (path: string): string => path.slice(3).split('/').map(encodeURIComponent).join('/');

/** The caller's bytes; when this target knows the model by another name, only those of the name differ. */
function bodyFor(target: Target, context: Context): Buffer | null {
  const { body, modelSpan } = context;
  const model = targetModel(target, context);
  if (body === null || modelSpan === null || model === context.model) return body;
  return Buffer.concat([body.subarray(0, modelSpan[0]), Buffer.from(JSON.stringify(model)), body.subarray(modelSpan[1])]);
}

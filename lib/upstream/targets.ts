import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { type buildConnector, Client, Pool, type Dispatcher } from 'undici';
import type { LlmTarget } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import type { ProbeView } from '../../types/target.d.ts';
import type { Context, Core } from '../request/request.ts';
import { show } from '../values/values.ts';
import { ConfigError, expectation } from '../errors.ts';
import { withoutField, type BodyReader } from '../http/http.ts';
import { describe, type OutboundProxy } from '../platform/platform.ts';
import { providerOf, type WholeProvider } from '../providers/providers.ts';
import { callerHeaders, outgoingCredential, ownHeaders, ownQuery, queryFor } from './headers.ts';
import { connectorOf, peerOf, type Peer } from './peer.ts';
import { routes } from './routes.ts';
import { withUsage } from '../usage/usage.ts';
import { BodyReplay } from './body-replay.ts';
import { type BreakerNews, TargetState } from './breaker.ts';

/** One place an attempt can go to. */
export interface Target {
  /** Unique among a gate's targets, for records and metrics: the provider, numbered from the second of the same provider on. */
  readonly name: string;
  readonly provider: WholeProvider;
  /** `caller`: asked with the caller's credential. `own`: asked with ours or with none, never with the caller's. */
  readonly credential: 'caller' | 'own';
  readonly pool: Pool;
  /** Path of the endpoint; what follows `/v1` in a route is appended. */
  readonly base: string;
  readonly host: string;
  /** `Host` that is sent; null for the client's. */
  readonly sentHost: string | null;
  readonly key: string | null;
  readonly model: string | null;
  readonly models: Readonly<Record<string, string>>;
  readonly weight: number;
  readonly state: TargetState;
  /** Requests that it is working on. */
  inHand: number;
  /** The finding of its last probe; null before the first. */
  lastProbe: ProbeView | null;
}

/** A handler that is told the connection on which its request goes out. */
export interface ConnectionAware {
  connection: Connection | null;
}

/** A larger head ends an answer, bytes. The defaults of undici and Node, 16 KB, are less than the cookies of some providers. */
export const maxAnswerHead = 131_072;

/** Offset of the status in a head: behind `HTTP/1.1 `. */
const statusAt = 9;
const digitOne = 0x31;
const endOfHead = '\r\n\r\n';
/** A longer interim head goes to the parser, bytes. */
const maxInterimHead = 16_384;

/**
 * Reads the bytes of a connection before undici's parser does and takes interim answers out (RFC 9110 §15.2: a client must be able
 * to parse them, even unasked). undici ends a connection at a `100 Continue` that it has not asked for.
 */
class Wire {
  /** Bytes have come back since the last request went out. */
  begun = false;
  /** The next bytes begin a head. */
  #expecting = false;
  /** The beginning of a head that is not complete. */
  #held: Buffer | null = null;
  #socket: Socket | null = null;

  /** A request goes out: its answer follows. */
  expect(): void {
    this.begun = false;
    this.#expecting = true;
    this.#held = null;
  }

  /** The same connector; its sockets are read through this. */
  connector(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) => connect(options, (...result) => {
      const [, socket] = result;
      // undici leaves the socket out where its types say null.
      if (socket) this.#readThrough(socket);
      callback(...result);
    });
  }

  /** The system has taken all bytes that were written to the connection, or will take no more. */
  get isFlushed(): boolean {
    return this.#socket === null || this.#socket.destroyed || this.#socket.writableLength === 0;
  }

  #readThrough(socket: Socket): void {
    this.#socket = socket;
    const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
    socket.read = (size) => {
      for (;;) {
        const chunk = read(size);
        if (chunk === null || !this.#expecting) return chunk;
        const rest = this.#answer(chunk);
        if (rest !== null) return rest;
      }
    };
  }

  /** @returns what remains without interim answers, or null when more bytes are needed to tell. */
  #answer(chunk: Buffer): Buffer | null {
    this.begun = true;
    let bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = null;
    for (;;) {
      const isInterim = bytes.length <= statusAt ? 'HTTP/1.1 '.startsWith(bytes.toString('latin1')) : bytes[statusAt] === digitOne && bytes.toString('latin1', 0, 7) === 'HTTP/1.';
      const end = isInterim ? bytes.indexOf(endOfHead) : -1;
      if (!isInterim || (end === -1 && bytes.length > maxInterimHead) || bytes.toString('latin1', statusAt, statusAt + 3) === '101') {
        this.#expecting = false;
        return bytes;
      }
      if (end === -1) {
        this.#held = bytes;
        return null;
      }
      bytes = bytes.subarray(end + endOfHead.length);
    }
  }
}

/**
 * A keep-alive socket that the upstream closes while we write looks like any reset. The number of requests that the socket
 * has served tells them apart; undici's errors do not.
 */
export class Connection extends Client implements BodyReader {
  readonly #wire: Wire;
  #served = 0;
  readonly #peer: Peer;

  constructor(origin: URL, options: Client.Options, peer: Peer) {
    const wire = new Wire();
    super(origin, { ...options, connect: wire.connector(options.connect as buildConnector.connector) });
    this.#wire = wire;
    this.#peer = peer;
    this.on('connect', () => {
      this.#served = 0;
    });
  }

  /**
   * Called when a request goes out: at its dispatch the socket is not yet known.
   * @returns whether the socket has served a request before.
   */
  serve(): boolean {
    this.#wire.expect();
    return this.#served++ > 0;
  }

  /** Bytes have come back since the last request went out. */
  get begun(): boolean {
    return this.#wire.begun;
  }

  /** See {@link BodyReader}. */
  get isFlushed(): boolean {
    return this.#wire.isFlushed;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler & Partial<ConnectionAware>): boolean {
    handler.connection = this;
    const { tls, forwarded } = this.#peer;
    // Without it undici takes the server name from the `Host` header, and connects again when that changes.
    if (tls !== null) (options as Named).servername = tls.name;
    if (forwarded !== null) {
      options.path = forwarded.origin + options.path;
      if (forwarded.authorization !== null) (options.headers as string[]).push('Proxy-Authorization', forwarded.authorization);
    }
    return super.dispatch(options, handler);
  }
}

/** An option of undici's requests that its types leave out. */
interface Named extends Dispatcher.DispatchOptions {
  servername?: string;
}

/**
 * No limit of connections, which would be a second, hidden queue. No HTTP/2, where one lost packet stalls every stream of a
 * target. No timers: undici's are coarse, so the gate uses its own.
 * @param timeout of connecting, milliseconds.
 */
export function poolOf(peer: Peer, timeout: number): Pool {
  return new Pool(peer.url.origin, {
    allowH2: false,
    connections: null,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: maxAnswerHead,
    connect: connectorOf(peer, timeout),
    factory: (origin, options) => new Connection(origin, options as Client.Options, peer),
  });
}

/** What a thread tells of a breaker: its target, its model, what it has shown. */
type BreakerWord = readonly [target: string, model: string | null, news: BreakerNews];

/** Hears what targets show in other threads of the gate, which hold their breakers together. */
export function hearBreakers({ crew, clock }: Core, targets: readonly Target[]): void {
  crew?.subscribe('breaker', {
    hear: (word) => {
      const [name, model, news] = word as BreakerWord;
      targets.find((each) => each.name === name)?.state.hear(model, news, clock.monotonic());
    },
    known: () => targets.flatMap(({ name, state }) => state.known(clock.monotonic()).map(([model, news]) => [name, model, news] satisfies BreakerWord)),
  });
}

/** What a target was made from, to find out whether another configuration has the same. */
const madeFrom = new WeakMap<Target, object>();

/** @param before the targets of the configuration before: one with the same settings stays, one at the same place keeps its state. */
function target({ config, clock, log, crew }: Core, from: LlmTarget, taken: Set<string>, proxies: OutboundProxy | null, before: readonly Target[]): Target {
  const provider = providerOf(from.provider);
  const caller = from.provider === 'newapi' && from.apiKey === null;
  const endpoint = new URL(from.endpoint ?? provider.endpoint ?? `${config.newapi.baseUrl}/v1`);
  const peer = peerOf(endpoint, from, proxies);
  let name = provider.name;
  for (let n = 2; taken.has(name); n++) name = `${provider.name}-${n}`;
  taken.add(name);
  // With the files of its certificates as they are now.
  const settings = { from, endpoint: endpoint.href, connect: config.llm.timeouts.connect, tls: peer.tls };
  const known = before.find((each) => each.name === name);
  if (known !== undefined && isDeepStrictEqual(madeFrom.get(known), settings)) return known;
  const isSamePlace = known?.host === endpoint.host && known.base === endpoint.pathname.replace(/\/+$/, '') && known.credential === (caller ? 'caller' : 'own');
  const made: Target = {
    name,
    provider,
    credential: caller ? 'caller' : 'own',
    pool: poolOf(peer, config.llm.timeouts.connect),
    base: endpoint.pathname.replace(/\/+$/, ''),
    host: endpoint.host,
    sentHost: peer.host,
    key: from.apiKey,
    model: from.model,
    models: from.models,
    weight: from.weight,
    state: isSamePlace ? known.state : new TargetState(config.circuitBreaker, () => clock.monotonic(), !caller, (state, model) => {
      // Workers hear all that the main thread does, and say it.
      if (crew?.isWorker !== false) log.warn({ target: name, model, state }, `target.${state}`);
    }, crew?.isWorker === true ? (model, news) => crew.publish('breaker', [name, model, news] satisfies BreakerWord) : null),
    inHand: 0,
    lastProbe: isSamePlace ? known.lastProbe : null,
  };
  madeFrom.set(made, settings);
  return made;
}

/**
 * The targets of a configuration in order of preference; opens no connection.
 * @param before those of the configuration before: a target whose settings are the same stays, connections included.
 * @throws ConfigError naming every unknown route in a provider's `speaks`.
 */
export function targetsOf(core: Core, proxies: OutboundProxy | null = null, before: readonly Target[] = []): readonly Target[] {
  const taken = new Set<string>();
  const { llm } = core.config;
  const configured = [llm, ...llm.backupProviders];
  const problems = configured.flatMap(({ provider }, at) => unknownRoutes(providerOf(provider), at === 0 ? 'llm' : `llm.backupProviders[${at - 1}]`));
  if (problems.length > 0) throw new ConfigError(problems);
  return configured.map((from) => target(core, from, taken, proxies, before));
}

const known: readonly string[] = routes.filter(({ class: kind }) => kind === 'model').map(({ api }) => api);

function unknownRoutes({ speaks }: WholeProvider, place: string): { path: string; message: string }[] {
  const given = speaks === 'all' ? [] : speaks;
  return given.flatMap((template, at) =>
    known.includes(template) ? [] : [{ path: `${place}.provider.speaks[${at}]`, message: expectation(`one of ${known.join(', ')}`, show(template), known[0]) }],
  );
}

/** SECURITY: only targets for which {@link outgoingCredential} has a credential, and of ours those that speak the route. */
export function eligible(target: Target, context: Context): boolean {
  if (target.credential === 'caller') return outgoingCredential(context, 'newapi') !== 'never';
  return outgoingCredential(context, 'own') === 'ours' && speaks(target, context.route) && (targetModel(target, context) === context.model || context.modelSpan !== null);
}

/** Whether a target's provider answers a route. */
export function speaks({ provider }: Pick<Target, 'provider'>, { api }: Route): boolean {
  return provider.speaks === 'all' || provider.speaks.includes(api);
}

/** The model for which this target is asked. */
export function targetModel(target: Target, context: Pick<Context, 'model'>): string | null {
  const { model } = context;
  if (model === null) return null;
  const mapped = Object.hasOwn(target.models, model) ? target.models[model] : undefined;
  return mapped ?? target.model ?? model;
}

/**
 * The request that asks a target, with the path by which it was judged. NewAPI gets the query as the caller wrote it, since it
 * reads credentials there by rules of its own.
 */
export function requestFor(target: Target, context: Context): Dispatcher.DispatchOptions {
  const caller = target.credential === 'caller';
  const { req, wirePath, query, bodyStream } = context;
  const headers = caller ? callerHeaders(context, target.sentHost) : ownHeaders(context, target.sentHost ?? req.headers.host ?? target.host, credentialFor(target, context));
  const decoded = context.decodedBody !== null && needsDecoded(target, context) ? context.decodedBody : null;
  if (decoded !== null) withoutField(headers, 'content-encoding');
  const body = bodyStream ?? bodyFor(target, context, decoded);
  const length = body instanceof BodyReplay ? String(body.size) : bodyStream === null ? undefined : req.headers['content-length'];
  if (length !== undefined) headers.push('Content-Length', length);
  return {
    // The endpoint ends with the version, so the path's own is left out.
    path: target.base + wirePath.slice(3) + (caller ? queryFor(context) : ownQuery(context.withheldQuery ?? query)),
    method: (req.method ?? 'GET') as Dispatcher.HttpMethod,
    headers,
    body: body as Buffer | Readable | null,
  };
}

/** A provider whose function fails here is asked without a key; its refusal is judged like any other. */
function credentialFor({ name, key, provider }: Target, { core, route }: Context): readonly string[] {
  if (key === null) return [];
  try {
    return provider.credential(key, route.api);
  } catch (error) {
    core.log.error({ target: name, function: 'credential', error: describe(error) }, 'provider.failed');
    return [];
  }
}

/**
 * The caller's bytes, with two exceptions: the name of the model where this target knows it by another name, and a request for
 * usage where limits count it and the caller has not asked for it.
 */
function bodyFor(target: Target, context: Context, decoded: Buffer | null): Buffer | BodyReplay | null {
  const { body, modelSpan } = context;
  const model = targetModel(target, context);
  const isRenamed = modelSpan !== null && model !== context.model;
  context.usageAdded = false;
  if (body === null) return null;
  if (decoded === null && !isRenamed && !asksForUsage(context)) return body.isArriving || body.pieces.length > 1 ? new BodyReplay(body) : body.whole();
  let bytes = decoded ?? body.whole();
  if (isRenamed) bytes = Buffer.concat([bytes.subarray(0, modelSpan[0]), Buffer.from(JSON.stringify(model)), bytes.subarray(modelSpan[1])]);
  const asking = asksForUsage(context) ? withUsage(bytes) : null;
  context.usageAdded = asking !== null;
  return asking ?? bytes;
}

/** Whether a target gets the decoded body: it does not read the coding, or the body is changed for it. */
function needsDecoded(target: Target, context: Context): boolean {
  return context.sendsDecoded || target.credential === 'own' || targetModel(target, context) !== context.model || asksForUsage(context);
}

const asksForUsage = ({ measured, usageRefused, stream, route }: Context): boolean => measured && !usageRefused && stream && reports.has(route.api);

/** Routes whose streams report usage only when asked. */
const reports: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions']);

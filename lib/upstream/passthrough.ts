import { EventEmitter } from 'node:events';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createProxyMiddleware, type Options, type Plugin, type RequestHandler } from 'http-proxy-middleware';
import type { Usage } from '../../types/usage.d.ts';
import { contain, guarded, isConversation, type Context, type Core, type Exchange, type GateRequest } from '../request/request.ts';
import { describe, type OutboundProxy } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { CompactBody, codingsOf, eventStream, headerOf, mediaTypeOf, RequestBody } from '../http/http.ts';
import { isMetered, meterFor, type UsageMeter } from '../usage/usage.ts';
import { answerHead, asLive, outgoingCredential, proxyHeaders, queryFor } from './headers.ts';
import { MeteredSocket, type Spend } from './metered-socket.ts';
import { agentsOf, peerOf, type Peer, type PeerAgents } from './peer.ts';
import { crumbBytes, Crumbs } from './crumbs.ts';
import { Outflow } from './outflow.ts';
import { asDecoded, MaskedBody, maskedHead, maskMessages } from './quoted.ts';
import { longestRefusal, refusalsOf } from './refusals.ts';
import type { UnreadAnswer, UnreadAnswers } from './unread-answers.ts';
import { maxAnswerHead } from './targets.ts';

const nothing = Buffer.alloc(0);
/** A longer body may come in so many chunks that they must be joined, bytes. */
const compacted = 16_384;

/** How long one side of a WebSocket may continue after the other has ended, milliseconds. */
const goodbye = 10_000;

/** Forwards all routes but model routes to NewAPI. */
export interface Proxy {
  /** Streams a request and its answer; on an upgrade, joins the two sockets. */
  carry(context: Context): void;
  close(): void;
}

/**
 * The proxy to NewAPI. http-proxy-middleware moves the bytes; headers, errors and answers are handled here. SECURITY: `ws: true`
 * is never set: upgrades would bypass the chain.
 * @param unread places for answers whose client has left.
 * @param spend counts what the answers on a WebSocket use.
 */
export function proxy(core: Core, unread: UnreadAnswers, spend: Spend, proxies: OutboundProxy | null = null): Proxy {
  const { newapi } = core.config;
  const { baseUrl, timeout } = newapi;
  const peer = peerOf(new URL(baseUrl), newapi, proxies);
  const { protocol, hostname, port, pathname } = peer.url;
  const target = { protocol, hostname: hostname.replace(/^\[|\]$/g, ''), port };
  const prefix = pathname.replace(/\/+$/, '');
  const agents = agentsOf(peer, timeout);
  const handler = createProxyMiddleware<GateRequest, ServerResponse>({
    target: baseUrl,
    ignorePath: true,
    agent: agents.requests,
    changeOrigin: false,
    xfwd: false,
    proxyTimeout: timeout,
    selfHandleResponse: true,
    ejectPlugins: true,
    plugins: [answers(core, unread, spend, carry) as Plugin<GateRequest, ServerResponse>],
    router: ((req, _res, options) => destination(target, agents, req.heimdall as Context, options)) as Router as never,
  });
  function carry(context: Context): void {
    if (context.trapped) return refusalsOf(core).answer(context);
    prepare(context, peer, prefix);
    if (context.req.heimdallUpgrade) upgrade(context, handler);
    else web(context, handler, unread);
  }
  return {
    carry,
    close() {
      agents.requests.destroy();
      agents.upgrades.destroy();
    },
  };
}

type RequestOptions = Options & { buffer?: Readable };
type Router = (req: GateRequest, res: ServerResponse | undefined, options: RequestOptions) => object;

/**
 * The destination of one request. An upgrade and a repetition get a connection of their own, and a body that has been read already is sent from
 * memory. The path is set here as it came: the proxy would parse it (`//x:y` is a bad port to it) and join it (`/` would lose its
 * slash behind a prefix).
 * @param options of this request alone; the proxy hands `ssl` to Node as the options of its request, whatever the protocol.
 */
function destination(target: object, agents: PeerAgents, context: Context, options: RequestOptions): object {
  const { forwardPath, req } = context;
  const body = bodyOf(context);
  // The proxy reads its memory for as long as it needs to.
  if (body) body.isOwn = false;
  options.ssl = { maxHeaderSize: maxAnswerHead } as object;
  if (req.heimdallUpgrade || repeated.has(context)) options.agent = agents.upgrades;
  if (body) options.buffer = Readable.from(body.pieces);
  else if (req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > compacted) options.buffer = new CompactBody(req, (error) => context.fail(error));
  return { ...target, pathname: forwardPath };
}

/** The body that is sent from memory, where there is one: decoded where NewAPI does not read its coding. */
const bodyOf = ({ sendsDecoded, decodedBody, body }: Context): RequestBody | null => (sendsDecoded && decodedBody !== null ? RequestBody.of(decodedBody) : body);

function web(context: Context, handler: RequestHandler<GateRequest, ServerResponse>, places: UnreadAnswers): void {
  context.sentAt = context.elapsed();
  const output = places.possible && isMetered(context) ? (new Output(context) as unknown as ServerResponse) : context.res;
  handler(context.req, output, (error) => contain(context, error)).catch((error: unknown) => contain(context, error));
}

function upgrade(context: Context, handler: RequestHandler<GateRequest, ServerResponse>): void {
  const { socket } = context.req.heimdallUpgrade as NonNullable<GateRequest['heimdallUpgrade']>;
  context.sentAt = context.elapsed();
  Promise.resolve(handler.upgrade(context.req, socket as Socket, nothing)).catch((error: unknown) => contain(context, error));
}

/** Puts the outgoing headers and URL on the request, from which the proxy copies them; {@link restore} removes them again. */
function prepare(context: Context, { host, forwarded }: Peer, prefix: string): void {
  const { req, query, wirePath } = context;
  const url = req.url ?? '/';
  context.forwardPath = prefix + wirePath + (query === '' ? '' : queryFor(context));
  const received = { url, headers: req.headers };
  context.restore = () => void Object.assign(req, received);
  req.url = '/';
  const body = bodyOf(context);
  req.headers = proxyHeaders(context, body?.size ? body.size : null, host);
  if (context.sendsDecoded) delete req.headers['content-encoding'];
  if (forwarded !== null && !req.heimdallUpgrade) {
    context.forwardPath = forwarded.origin + context.forwardPath;
    if (forwarded.authorization !== null) req.headers['proxy-authorization'] = forwarded.authorization;
  }
  context.exchange = null;
}

/** SECURITY: a host's own logger, which reads the request at its end, must find the caller's headers and no `upstream_credential`. */
function restore({ heimdall }: GateRequest): void {
  heimdall?.restore?.();
}

function answers(core: Core, unread: UnreadAnswers, spend: Spend, again: (context: Context) => void): Plugin {
  return (server) => {
    // Emitted just before the proxy copies, in the same turn of the event loop.
    server.on('start', ((req: GateRequest) => queueMicrotask(guarded(req.heimdall as Context, () => restore(req)))) as never);
    server.on('proxyReq', contained((request: ClientRequest, context) => follow(core, request, context, unread)) as never);
    server.on('proxyRes', contained((answer: IncomingMessage, context) => relay(core, answer, context)) as never);
    server.on('proxyReqWs', contained((request: ClientRequest, context) => watchUpgrade(core, request, context, spend)) as never);
    server.on('error', contained((error: Error, context) => (isStale(error, context) ? again(context) : failed(core, error, context))) as never);
    server.on('econnreset', (() => undefined) as never);
  };
}

/** A listener of the proxy; what it throws ends its request alone. */
function contained<Subject>(listener: (subject: Subject, context: Context) => void): (subject: Subject, req: GateRequest) => void {
  return (subject, req) => {
    const context = req.heimdall as Context;
    try {
      listener(subject, context);
    } catch (error) {
      contain(context, error, 'upstream_invalid');
    }
  };
}

function follow(core: Core, request: ClientRequest, context: Context, unread: UnreadAnswers): void {
  context.exchange = new CarriedExchange(context, request, unread);
  // A 101 to a request that asked for no upgrade. Without a listener Node ends its connection and tells nothing.
  request.once('upgrade', guarded(context, (answer: IncomingMessage, upstream: Socket) => {
    upstream.destroy();
    unreadable(core, answer, context);
  }));
}

/**
 * The exchange of a request that is carried. When the gate answers itself, the upstream must not wait for the rest of a body. Its
 * answer, once there is one, is metered where it costs tokens.
 */
class CarriedExchange implements Exchange {
  readonly #context: Context;
  readonly #request: ClientRequest;
  readonly #places: UnreadAnswers;
  #answer: IncomingMessage | null = null;
  /** Null before the answer, and again when its usage is known. */
  #meter: UsageMeter | null = null;
  /** The client has left, and the answer is read without it. */
  #unread: UnreadAnswer | null = null;
  #closed = false;

  constructor(context: Context, request: ClientRequest, places: UnreadAnswers) {
    this.#context = context;
    this.#request = request;
    this.#places = places;
    if (!places.possible || !isMetered(context)) return;
    request.once('close', guarded(context, () => {
      this.#closed = true;
      if (this.#unread !== null) context.finish();
    }));
  }

  /** The client has left, and the exchange goes on. */
  get readsOn(): boolean {
    return this.#unread !== null;
  }

  /** The upstream closed a kept connection before it answered: it may not have seen the request. */
  get isStale(): boolean {
    return this.#answer === null && this.#request.reusedSocket;
  }

  /** The answer has said its last event. */
  get isOver(): boolean {
    return this.#meter?.over ?? false;
  }

  /** @param head of the answer. */
  begin(answer: IncomingMessage, head: readonly string[]): void {
    this.#answer = answer;
    const meter = meterFor(this.#context, answer.statusCode ?? 502, head);
    if (meter === null) return;
    this.#meter = meter;
    this.#context.servedModel = this.#context.model;
    answer.on('data', guarded(this.#context, (chunk: Buffer) => this.#read(meter, answer, chunk)));
  }

  outlives(): boolean {
    if (this.#unread === null && this.#canReadOn()) {
      this.#unread = this.#places.admit(this.#context);
      if (this.#unread !== null) this.#answer?.resume();
    }
    if (this.#unread !== null && !this.#closed) return true;
    this.#unread?.release();
    return this.#measures();
  }

  abort(): void {
    this.#closed = true;
    if (this.#meter !== null) this.#know(this.#meter.stop());
    this.#request.destroy();
  }

  look(now: number): void {
    if (this.#unread?.isLate(now)) this.#request.destroy();
  }

  #canReadOn(): boolean {
    const isOpen = !this.#closed && this.#context.req.complete && (this.#answer === null || (this.#meter !== null && !this.#answer.complete));
    return isOpen && this.#places.possible && isMetered(this.#context);
  }

  #read(meter: UsageMeter, answer: IncomingMessage, chunk: Buffer): void {
    meter.push(chunk);
    if (this.#unread !== null && !this.#unread.take(chunk.length)) return void this.#request.destroy();
    if (!meter.behind) return;
    answer.pause();
    meter.whenCaughtUp(guarded(this.#context, () => answer.resume()));
  }

  /** Ends the meter. @returns whether the usage is known later. */
  #measures(): boolean {
    const meter = this.#meter;
    if (meter === null) return false;
    let waits = false;
    meter.end((this.#answer?.complete ?? false) || meter.over, (usage) => {
      this.#know(usage);
      if (waits) this.#context.finish();
    });
    waits = this.#meter !== null;
    return waits;
  }

  #know(usage: Usage | null): void {
    this.#meter = null;
    this.#context.usage = usage;
  }
}

/**
 * The proxy's view of the response: the proxy ends the upstream's request when it closes, which it does not while the answer is
 * read without a client.
 */
class Output extends EventEmitter {
  readonly #context: Context;

  constructor(context: Context) {
    super();
    this.#context = context;
    context.res.once('close', guarded(context, () => {
      const { exchange } = context;
      if (!(exchange instanceof CarriedExchange && exchange.readsOn)) this.emit('close');
    }));
  }

  get writableFinished(): boolean {
    return this.#context.res.writableFinished;
  }

  get headersSent(): boolean {
    return this.#context.res.headersSent;
  }

  get finished(): boolean {
    return this.#context.res.writableEnded;
  }

  get destroyed(): boolean {
    return this.#context.res.destroyed;
  }

  destroy(error?: Error): void {
    this.#context.res.destroy(error);
  }
}

function relay(core: Core, answer: IncomingMessage, context: Context): void {
  const status = answer.statusCode ?? 0;
  if (status < 200) return unreadable(core, answer, context);
  const ours = grantedTo(context);
  const head = answerHead(ours === null ? answer.rawHeaders : maskedHead(answer.rawHeaders, ours), false);
  const { exchange } = context;
  note(context, status, head);
  if (mediaTypeOf(head) === eventStream) asLive(head, context.res);
  if (exchange instanceof CarriedExchange) {
    exchange.begin(answer, head);
    if (exchange.readsOn) return void answer.on('error', () => undefined).resume();
  }
  if (context.newapiVerdict === 'refused') noteRefusal(core, answer, context, [...head]);
  const outflow = new Outflow(context, answer);
  const pass = (bytes: Buffer): void => {
    if (context.res.destroyed || context.res.writableEnded || (exchange instanceof CarriedExchange && exchange.readsOn)) return;
    context.bytesOut += bytes.length;
    outflow.write(bytes);
  };
  const crumbs = new Crumbs(context, pass);
  const send = guarded(context, (bytes: Buffer) => {
    if (bytes.length < crumbBytes) return crumbs.push(bytes);
    crumbs.flush();
    pass(bytes);
  });
  const body = ours === null ? null : new MaskedBody(ours, codingsOf(head), send);
  if (body !== null) asDecoded(head);
  context.writeProxied(status, head);
  answer.once('aborted', guarded(context, () => {
    crumbs.flush();
    if (exchange instanceof CarriedExchange && exchange.isOver) complete(context, answer, body, crumbs);
  }));
  // Runs before the proxy's own listener, which would take it for a client that left.
  answer.on('error', guarded(context, (error: Error) => interrupted(core, error, context)));
  if (body !== null) return pour(context, answer, body, crumbs);
  answer.on('data', send).once('end', guarded(context, () => {
    crumbs.flush();
    context.res.end();
  }));
}

/** Remembers how NewAPI refuses a token. */
function noteRefusal(core: Core, answer: IncomingMessage, context: Context, head: readonly string[]): void {
  const chunks: Buffer[] = [];
  let size = 0;
  answer.on('data', guarded(context, (chunk: Buffer) => {
    size += chunk.length;
    if (size <= longestRefusal) chunks.push(chunk);
  }));
  answer.once('end', guarded(context, () => {
    if (size <= longestRefusal) refusalsOf(core).note(context, 401, head, Buffer.concat(chunks));
  }));
}

/** The credential of ours that the request is sent with, which its answer may quote; null when it is sent with the caller's. */
const grantedTo = (context: Context): string | null => (outgoingCredential(context, 'newapi') === 'granted' ? context.upstreamCredential : null);

/** Passes an answer on without the credential that it may quote. */
function pour(context: Context, answer: IncomingMessage, body: MaskedBody, crumbs: Crumbs): void {
  const { res } = context;
  answer.on('data', guarded(context, (chunk: Buffer) => {
    if (res.destroyed) return;
    body.push(chunk);
    if (body.failed) return void answer.destroy(new Error('unreadable content coding'));
    if (!body.behind) return;
    answer.pause();
    body.whenCaughtUp(guarded(context, () => answer.resume()));
  }));
  answer.once('end', guarded(context, () => body.end((isWhole) => {
    if (res.destroyed) return;
    crumbs.flush();
    if (isWhole) res.end();
    else context.fail(new HeimdallError('upstream_interrupted'));
  })));
  res.once('close', guarded(context, () => body.stop()));
}

/** An answer whose status no client can read, such as 099, or 101 to a request that is no upgrade. */
function unreadable(core: Core, answer: IncomingMessage, context: Context): void {
  core.log.warn({ requestId: context.id, target: 'newapi', failure: 'upstream_invalid', status: answer.statusCode ?? null }, 'upstream.failed');
  answer.on('error', () => undefined).destroy();
  context.fail(new HeimdallError('upstream_invalid'));
}

/** The answer broke off behind its own last event: nothing is missing. The proxy's listeners would break off the client's too. */
function complete(context: Context, answer: IncomingMessage, body: MaskedBody | null, crumbs: Crumbs): void {
  answer.removeAllListeners().on('error', () => undefined);
  const end = (): void => {
    crumbs.flush();
    context.res.end();
  };
  if (body === null) end();
  else body.end(end);
}

function interrupted(core: Core, error: Error, context: Context): void {
  if (context.finished || context.res.destroyed) return;
  core.log.warn({ requestId: context.id, target: 'newapi', failure: 'upstream_interrupted', cause: describe(error) }, 'upstream.failed');
  context.fail(new HeimdallError('upstream_interrupted', { cause: error }));
}

function note(context: Context, status: number, head: readonly string[]): void {
  context.answeredAt = context.elapsed();
  context.target = 'newapi';
  context.upstreamRequestId = headerOf(head, 'x-oneapi-request-id');
  if (status === 401 && context.route.credential && context.upstreamCredential === null) context.newapiVerdict = 'refused';
}

/**
 * Ends both sockets of an upgrade when one of them ends, in every phase: the proxy joins them and closes neither. Until the
 * upstream answers, the gate can still answer itself.
 */
function watchUpgrade(core: Core, request: ClientRequest, context: Context, spend: Spend): void {
  restore(context.req);
  const handshake = context.req.heimdallUpgrade as NonNullable<GateRequest['heimdallUpgrade']>;
  const socket = handshake.socket as Socket;
  const ours = grantedTo(context);
  const leave = (): void => {
    socket.destroy();
    request.destroy();
  };
  const answered = (answer: IncomingMessage): void => {
    note(context, answer.statusCode ?? 502, answer.rawHeaders);
    context.status = answer.statusCode ?? 502;
    context.headAt = context.elapsed();
    answer.headers['x-request-id'] = context.id;
    socket.off('end', leave);
    handshake.release();
    context.handOver(socket);
  };
  socket.once('end', leave).once('close', leave);
  if (handshake.ended) leave();
  request.setTimeout(core.config.newapi.timeout, () => request.destroy());
  request.once('upgrade', guarded(context, (answer: IncomingMessage, upstream: Socket) => {
    if (ours !== null) {
      maskHandshake(answer, ours);
      maskMessages(context, upstream, ours);
    }
    answered(answer);
    const metered = isConversation(context) ? new MeteredSocket(context, socket, upstream, ours === null, spend) : null;
    context.exchange = metered;
    const close = (): void => closeSoon(core, socket);
    socket.once('close', () => upstream.destroy());
    upstream.once('close', guarded(context, () => (metered?.isTold ? close() : socket.destroySoon())));
    socket.once('end', close);
    upstream.once('end', close);
  }));
  request.once('response', guarded(context, (answer: IncomingMessage) => {
    if ((answer.statusCode ?? 0) < 200) {
      // The proxy writes the answer of an upstream that has not upgraded to the socket.
      Object.assign(answer, { upgrade: true });
      return unreadable(core, answer, context);
    }
    answered(answer);
    // Discards what the client sends, so that its end is noticed.
    socket.resume().once('finish', () => socket.destroy());
  }));
  // The proxy listens by then.
  queueMicrotask(guarded(context, () => {
    joinWebSocketsOnly(core, request, context);
    // SECURITY: the proxy would write a refusal with whatever it quotes.
    if (ours !== null) request.removeAllListeners('response').once('response', guarded(context, (answer: IncomingMessage) => relay(core, answer, context)));
  }));
}

type UpgradeListener = (answer: IncomingMessage, upstream: Socket, head: Buffer) => void;

/** A 101 to another protocol than the client has asked for (RFC 9110 §7.8) is no answer that it could read. */
function joinWebSocketsOnly(core: Core, request: ClientRequest, context: Context): void {
  const joining = request.listeners('upgrade') as UpgradeListener[];
  request.removeAllListeners('upgrade').once('upgrade', guarded(context, (answer: IncomingMessage, upstream: Socket, head: Buffer) => {
    const isAnswered = context.res.headersSent;
    if (!isAnswered && answer.headers.upgrade?.toLowerCase() === 'websocket') return joining.forEach((join) => join.call(request, answer, upstream, head));
    upstream.destroy();
    if (!isAnswered) unreadable(core, answer, context);
  }));
}

/** The proxy writes the head of a handshake by its `headers`. */
function maskHandshake(answer: IncomingMessage, ours: string): void {
  const { headers } = answer;
  answer.rawHeaders = maskedHead(answer.rawHeaders, ours);
  for (const [name, value = ''] of Object.entries(headers)) headers[name] = typeof value === 'string' ? maskedHead([value], ours)[0] : maskedHead(value, ours);
}

/** One side has ended; the other must end within {@link goodbye}, or its socket would be held for ever. */
function closeSoon(core: Core, socket: Socket): void {
  const timer = core.clock.setTimeout(() => socket.destroy(), goodbye);
  timer.unref();
  socket.once('close', () => core.clock.clearTimeout(timer));
}

/** Requests that have been sent once more. */
const repeated = new WeakSet<Context>();

/** Whether a failed request is sent once more: RFC 9110 §9.2.2 allows it for safe methods whose connection closed unanswered. */
function isStale(error: NodeJS.ErrnoException, context: Context): boolean {
  const { req, res, exchange } = context;
  const { method, headers } = req;
  const isSafe = (method === 'GET' || method === 'HEAD') && Number(headers['content-length'] ?? 0) === 0 && headers['transfer-encoding'] === undefined;
  const isClosed = error.code === 'ECONNRESET' || error.code === 'EPIPE';
  if (!isSafe || !isClosed || req.heimdallUpgrade || context.finished || res.headersSent || req.socket.destroyed) return false;
  if (!(exchange instanceof CarriedExchange) || !exchange.isStale || repeated.has(context)) return false;
  repeated.add(context);
  return true;
}

/** An error of a request or of an upgrade: the proxy emits both on one event. */
function failed(core: Core, error: Error, context: Context): void {
  // An answer that has begun says itself that it broke off.
  if (context.finished || context.res.headersSent || context.req.socket.destroyed) return;
  const timeout = (error as NodeJS.ErrnoException).code === 'ECONNRESET' && context.elapsed() - (context.sentAt ?? 0) >= core.config.newapi.timeout;
  const unreachable = new HeimdallError(timeout ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
  core.log.warn({ requestId: context.id, target: 'newapi', failure: unreachable.code, cause: describe(error) }, 'upstream.failed');
  if (!context.handedOver) context.fail(unreachable);
}


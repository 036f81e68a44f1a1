import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createProxyMiddleware, type Options, type Plugin, type RequestHandler } from 'http-proxy-middleware';
import type { Context, Core, GateRequest } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../http/http.ts';
import { carriedTap } from '../usage/usage.ts';
import { answerHead, proxyHeaders, queryFor } from './headers.ts';

/** How long one side of a WebSocket may go on when the other has ended its own, milliseconds. */
const goodbye = 10_000;

/** Carries everything but model routes to NewAPI. */
export interface Proxy {
  /** Streams a request and its answer; on an upgrade, hands the socket over. */
  carry(context: Context): void;
  close(): void;
}

/**
 * http-proxy-middleware moves the bytes; what it would do to headers, errors and answers is done here. `ws: true` is never
 * set: it would let sockets past every part of the chain.
 */
export function proxy(core: Core): Proxy {
  const { baseUrl, timeout } = core.config.newapi;
  const { protocol, hostname, port, pathname } = new URL(baseUrl);
  const target = { protocol, hostname: hostname.replace(/^\[|\]$/g, ''), port };
  const prefix = pathname.replace(/\/+$/, '');
  const agent = new (baseUrl.startsWith('https:') ? SecureAgent : Agent)({ keepAlive: true, maxFreeSockets: 256, timeout });
  const handler = createProxyMiddleware<GateRequest, ServerResponse>({
    target: baseUrl,
    ignorePath: true,
    agent,
    changeOrigin: false,
    xfwd: false,
    proxyTimeout: timeout,
    selfHandleResponse: true,
    ejectPlugins: true,
    plugins: [answers(core) as Plugin<GateRequest, ServerResponse>],
    router: ((req, _res, options) => destination(target, req.heimdall as Context, options)) as Router as never,
  });
  return {
    carry(context) {
      prepare(context, prefix);
      if (context.req.heimdallUpgrade) upgrade(context, handler);
      else web(context, handler);
    },
    close: () => agent.destroy(),
  };
}

type Router = (req: GateRequest, res: ServerResponse | undefined, options: Options & { buffer?: Readable }) => object;

/**
 * Where one request goes. The copy of the options made for it may name another source of the body, one the host has read
 * already; and the target takes the path as it came, which the proxy itself would parse (`//x:y` is a bad port to it) and
 * join (`/` would lose its slash behind a prefix).
 */
function destination(target: object, { body, forwardPath }: Context, options: Options & { buffer?: Readable }): object {
  if (body) options.buffer = Readable.from([body]);
  return { ...target, pathname: forwardPath };
}

function web(context: Context, handler: RequestHandler<GateRequest, ServerResponse>): void {
  context.sentAt = context.elapsed();
  void handler(context.req, context.res, (error) => context.fail(new HeimdallError('internal_error', { cause: error })));
}

function upgrade(context: Context, handler: RequestHandler<GateRequest, ServerResponse>): void {
  const { socket, head } = context.req.heimdallUpgrade as NonNullable<GateRequest['heimdallUpgrade']>;
  context.sentAt = context.elapsed();
  handler.upgrade(context.req, socket as Socket, head);
}

/** The proxy copies headers and URL from the request; {@link restore} takes ours away again. */
function prepare(context: Context, prefix: string): void {
  const { req, query } = context;
  const url = req.url ?? '/';
  const { upstream } = context.route;
  const sent = upstream === null ? url : upstream + query;
  const own = query === '' ? sent : sent.slice(0, -query.length) + queryFor(context);
  context.forwardPath = prefix + own;
  const received = { url, headers: req.headers };
  context.restore = () => void Object.assign(req, received);
  req.url = '/';
  req.headers = proxyHeaders(context, context.body?.length ? context.body.length : null);
  context.exchange = null;
}

/** SECURITY: a host's own logger, which reads the request at its end, must find what came and no `upstream_credential`. */
function restore({ heimdall }: GateRequest): void {
  heimdall?.restore?.();
}

/** The proxy emits errors of both kinds of exchange on one event; a socket stands where the response does. */
type Failed = (error: Error, req: GateRequest, output: ServerResponse | Socket) => void;

function answers(core: Core): Plugin {
  return (server) => {
    // Emitted just before the copy is made, in the same turn.
    server.on('start', ((req: GateRequest) => queueMicrotask(() => restore(req))) as never);
    server.on('proxyReq', ((request: ClientRequest, req: GateRequest) => follow(request, req.heimdall as Context)) as never);
    server.on('proxyRes', ((answer: IncomingMessage, req: GateRequest) => relay(core, answer, req.heimdall as Context)) as never);
    server.on('proxyReqWs', ((request: ClientRequest, req: GateRequest) => watchUpgrade(core, request, req.heimdall as Context)) as never);
    server.on('error', ((error, req) => failed(core, error, req)) as Failed as never);
    server.on('econnreset', (() => undefined) as never);
  };
}

/** An answer of the gate's own would leave the upstream waiting for the rest of a body. */
function follow(request: ClientRequest, context: Context): void {
  context.exchange = { abort: () => void request.destroy(), look: () => undefined };
}

function relay(core: Core, answer: IncomingMessage, context: Context): void {
  const head = answerHead(answer.rawHeaders, false);
  note(context, answer.statusCode ?? 502, head);
  if (headerOf(head, 'content-type')?.startsWith('text/event-stream') && headerOf(head, 'x-accel-buffering') === null) head.push('X-Accel-Buffering', 'no');
  measure(context, answer, head);
  context.writeProxied(answer.statusCode ?? 502, head);
  answer.on('data', (chunk: Buffer) => {
    context.bytesOut += chunk.length;
  });
  // Ahead of the proxy's own listener, which would pass it off as a client that left.
  answer.on('error', (error) => interrupted(core, error, context));
  answer.pipe(context.res);
}

/** What it used is known when it ends, however it does. */
function measure(context: Context, answer: IncomingMessage, head: readonly string[]): void {
  const tap = carriedTap(context, answer.statusCode ?? 502, head);
  if (tap === null) return;
  const { exchange } = context;
  context.servedModel = context.model;
  answer.on('data', (chunk: Buffer) => tap.push(chunk));
  context.exchange = {
    abort() {
      context.usage ??= tap.end(answer.complete);
      exchange?.abort();
    },
    look: () => undefined,
  };
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
  if (status === 401 && context.route.credential && context.upstreamCredential === null) context.vouched = 'refused';
}

/**
 * The proxy joins two sockets and lets go of neither: here each takes the other with it, whichever leaves, in every phase.
 * Until the upstream answers, the gate can still answer itself.
 */
function watchUpgrade(core: Core, request: ClientRequest, context: Context): void {
  restore(context.req);
  const socket = context.req.heimdallUpgrade?.socket as Socket;
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
    context.handOver(socket);
  };
  socket.once('end', leave).once('close', leave);
  request.setTimeout(core.config.newapi.timeout, () => request.destroy());
  request.once('upgrade', (answer: IncomingMessage, upstream: Socket) => {
    answered(answer);
    socket.once('close', () => upstream.destroy());
    upstream.once('close', () => socket.destroySoon());
    const part = (): void => partSoon(core, socket);
    socket.once('end', part);
    upstream.once('end', part);
  });
  request.once('response', (answer: IncomingMessage) => {
    answered(answer);
    socket.once('finish', () => socket.destroy());
  });
}

/** One side has said all it had to say; what the other still has must come soon, or the socket would be held for ever. */
function partSoon(core: Core, socket: Socket): void {
  const timer = core.clock.setTimeout(() => socket.destroy(), goodbye);
  timer.unref();
  socket.once('close', () => core.clock.clearTimeout(timer));
}

function failed(core: Core, error: Error, req: GateRequest): void {
  const context = req.heimdall as Context;
  if (context.finished || context.res.writableEnded || req.socket.destroyed) return;
  const timeout = (error as NodeJS.ErrnoException).code === 'ECONNRESET' && context.elapsed() - (context.sentAt ?? 0) >= core.config.newapi.timeout;
  const unreachable = new HeimdallError(timeout ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
  core.log.warn({ requestId: context.id, target: 'newapi', failure: unreachable.code, cause: describe(error) }, 'upstream.failed');
  if (!context.handedOver) context.fail(unreachable);
}


import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createProxyMiddleware, type Options, type Plugin, type RequestHandler } from 'http-proxy-middleware';
import { describe, type Context, type Core, type GateRequest } from '../context.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../head.ts';
import { answerHead, anonymousQuery, proxyHeaders } from './hygiene.ts';

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
  const { origin, pathname } = new URL(baseUrl);
  const prefix = pathname.replace(/\/+$/, '');
  const agent = new (baseUrl.startsWith('https:') ? SecureAgent : Agent)({ keepAlive: true, maxFreeSockets: 256, timeout });
  const handler = createProxyMiddleware<GateRequest, ServerResponse>({
    target: origin,
    agent,
    changeOrigin: false,
    xfwd: false,
    proxyTimeout: timeout,
    selfHandleResponse: true,
    ejectPlugins: true,
    plugins: [answers(core) as Plugin<GateRequest, ServerResponse>],
    router: withBody as unknown as NonNullable<Options<GateRequest, ServerResponse>['router']>,
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

/** The copy of the options made for one request may name another source of the body: one the host has read already. */
function withBody(req: GateRequest, _res: ServerResponse | undefined, options: Options & { buffer?: Readable }): undefined {
  const body = req.heimdall?.body;
  if (body) options.buffer = Readable.from([body]);
}

function web(context: Context, handler: RequestHandler<GateRequest, ServerResponse>): void {
  context.sentAt = context.elapsed();
  void handler(context.req, context.res, (error) => context.fail(new HeimdallError('internal_error', { cause: error })));
}

function upgrade(context: Context, handler: RequestHandler<GateRequest, ServerResponse>): void {
  const { socket, head } = context.req.heimdallUpgrade as NonNullable<GateRequest['heimdallUpgrade']>;
  context.sentAt = context.elapsed();
  context.handOver(socket);
  handler.upgrade(context.req, socket as Socket, head);
}

/** The proxy reads headers and URL from the request, and nothing reads them after it. Left to it, `/` would lose its slash behind a prefix. */
function prepare(context: Context, prefix: string): void {
  const { req, upstreamCredential, query } = context;
  if (upstreamCredential !== null && query !== '') req.url = (req.url ?? '').slice(0, -query.length) + anonymousQuery(query);
  if (prefix !== '') req.url = prefix + (req.url ?? '');
  req.headers = proxyHeaders(context, context.body === null ? null : context.body.length);
  context.exchange = null;
}

/** The proxy emits errors of both kinds of exchange on one event; a socket stands where the response does. */
type Failed = (error: Error, req: GateRequest, output: ServerResponse | Socket) => void;

function answers(core: Core): Plugin {
  return (server) => {
    server.on('proxyRes', ((answer: IncomingMessage, req: GateRequest) => relay(answer, req.heimdall as Context)) as never);
    server.on('proxyReqWs', ((request: ClientRequest, req: GateRequest) => watchUpgrade(request, req.heimdall as Context)) as never);
    server.on('error', ((error, req) => failed(core, error, req)) as Failed as never);
    server.on('econnreset', (() => undefined) as never);
  };
}

function relay(answer: IncomingMessage, context: Context): void {
  const head = answerHead(context, answer.rawHeaders, false);
  note(context, answer.statusCode ?? 502, head);
  if (headerOf(head, 'content-type')?.startsWith('text/event-stream') && headerOf(head, 'x-accel-buffering') === null) head.push('X-Accel-Buffering', 'no');
  context.writeProxied(answer.statusCode ?? 502, head);
  answer.on('data', (chunk: Buffer) => {
    context.bytesOut += chunk.length;
  });
  answer.pipe(context.res);
}

function note(context: Context, status: number, head: readonly string[]): void {
  context.answeredAt = context.elapsed();
  context.target = 'newapi';
  context.upstreamRequestId = headerOf(head, 'x-oneapi-request-id');
  if (status === 401 && context.route.credential && context.upstreamCredential === null) context.vouched = 'refused';
}

function watchUpgrade(request: ClientRequest, context: Context): void {
  const answered = (answer: IncomingMessage): void => {
    note(context, answer.statusCode ?? 502, answer.rawHeaders);
    context.status = answer.statusCode ?? 502;
    context.headAt = context.elapsed();
    answer.headers['x-request-id'] = context.id;
  };
  request.once('upgrade', answered);
  request.once('response', answered);
}

function failed(core: Core, error: Error, req: GateRequest): void {
  const context = req.heimdall as Context;
  if (context.finished || req.socket.destroyed) return;
  const timeout = (error as NodeJS.ErrnoException).code === 'ECONNRESET' && context.elapsed() - (context.sentAt ?? 0) >= core.config.newapi.timeout;
  const unreachable = new HeimdallError(timeout ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
  core.log.warn({ requestId: context.id, target: 'newapi', failure: unreachable.code, cause: describe(error) }, 'upstream.failed');
  if (req.heimdallUpgrade) return refuseSocket(context, unreachable);
  context.fail(unreachable);
}

/** After the hand-over only the bare socket is left to answer on. */
function refuseSocket(context: Context, error: HeimdallError): void {
  if (context.status !== 0) return;
  context.status = error.status;
  context.outcome = 'upstream_error';
  context.errorCode = error.code;
  context.req.heimdallUpgrade?.socket.end(`HTTP/1.1 ${error.status} Bad Gateway\r\nX-Request-Id: ${context.id}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
}

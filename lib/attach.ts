import { IncomingMessage, maxHeaderSize, ServerResponse, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { Context, type Core, type GateRequest } from './context.ts';
import { HeimdallError, type ErrorCode } from './errors.ts';
import { ownRoute } from './own-route.ts';

/**
 * Sends through the gate what a server does not emit as a request: WebSocket upgrades, `Expect: 100-continue` and
 * malformed requests. Upgrades become requests on a response of their own, so that the host's middleware, the mount path
 * and the whole chain apply to them.
 * @param ours the server was made by `createServer`: what only a constructor can set is set.
 */
export function attach(core: Core, server: Server, ours = false): void {
  const { config, log } = core;
  // Node 24.9 and later read it at every request; their types know it as an option only.
  Object.assign(server, { shouldUpgradeCallback: isWebSocket });
  server.on('upgrade', (req: GateRequest, socket: Duplex, head: Buffer) => {
    if (server.listenerCount('upgrade') === 1 || isRealtime(req)) asRequest(server, req, socket, head);
  });
  if (server.listenerCount('checkContinue') === 0) server.on('checkContinue', (req: GateRequest, res: ServerResponse) => expecting(server, req, res));
  if (server.listenerCount('clientError') === 0) server.on('clientError', (error: Error, socket: Socket) => malformed(core, error, socket));
  if (ours) return;
  server.keepAliveTimeout = config.server.idleTimeout;
  server.headersTimeout = config.server.readTimeout;
  if (config.server.maxHeaderBytes !== maxHeaderSize) {
    log.warn({ setting: 'server.max_header_bytes', effect: 'only a server\'s constructor can set it', fix: 'createServer(gate), or http.createServer({ maxHeaderSize })' }, 'attach.limited');
  }
}

/** Only this is an upgrade: `Upgrade: h2c` on a POST is a request like any other (RFC 9110 §7.8 lets a server ignore it). */
const isWebSocket = (req: IncomingMessage): boolean => req.headers.upgrade?.toLowerCase() === 'websocket';

/** Beside other listeners (socket.io and its like) the gate takes only what is certainly its own. */
const isRealtime = (req: IncomingMessage): boolean => /\/v1\/realtime\/?(?:\?|$)/.test(req.url ?? '');

function asRequest(server: Server, req: GateRequest, socket: Duplex, head: Buffer): void {
  const res = new ServerResponse(req);
  req.heimdallUpgrade = { socket, head };
  socket.on('error', () => socket.destroy());
  res.shouldKeepAlive = false;
  res.assignSocket(socket as Socket);
  res.on('finish', () => socket.end());
  server.emit('request', req, res);
}

/** The gate asks for the body when it wants it; a host's own route that has not answered yet gets its go-ahead now. */
function expecting(server: Server, req: GateRequest, res: ServerResponse): void {
  server.emit('request', req, res);
  if (req.heimdall === undefined && !res.writableEnded) res.writeContinue();
}

const malformedCodes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

/** Answers and records what the parser refused. A socket with an answer under way cannot take another. */
function malformed(core: Core, error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const req = new IncomingMessage(socket) as GateRequest;
  const res = new ServerResponse(req);
  try {
    res.assignSocket(socket);
  } catch {
    return void socket.destroy();
  }
  const context = new Context(core, req, res);
  context.ip = socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  context.route = ownRoute('malformed');
  req.heimdall = context;
  res.shouldKeepAlive = false;
  res.on('finish', () => socket.destroySoon());
  context.fail(new HeimdallError(malformedCodes[error.code ?? ''] ?? 'malformed_request'));
}

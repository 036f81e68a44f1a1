import { IncomingMessage, maxHeaderSize, ServerResponse, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { Context } from './context.ts';
import type { Core, GateRequest, Upgrade } from './context.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import { ownRoute } from './own-route.ts';

/** Two gates may guard one server: what it emits goes through its request listeners to the right one, once. */
const attached = new WeakSet<Server>();

/**
 * Sends through the gate what a server does not emit as a request: WebSocket upgrades, `Expect: 100-continue` and
 * malformed requests. Upgrades become requests on a response of their own, so that the host's middleware, the mount path
 * and the whole chain apply to them.
 * @param ours the server was made by `createServer`: what only a constructor can set is set.
 */
export function attach(core: Core, server: Server, ours = false): void {
  if (!attached.has(server)) listen(core, server);
  attached.add(server);
  core.connections?.watch(server);
  if (!ours) limit(core, server);
}

function listen(core: Core, server: Server): void {
  // Node 24.9 and later read it at every request; their types know it as an option only.
  Object.assign(server, { shouldUpgradeCallback: isWebSocket });
  server.on('upgrade', (req: GateRequest, socket: Duplex, head: Buffer) => {
    if (server.listenerCount('upgrade') === 1 || isRealtime(req)) asRequest(server, req, socket, head);
  });
  if (server.listenerCount('checkContinue') === 0) server.on('checkContinue', (req: GateRequest, res: ServerResponse) => expecting(server, req, res));
  if (server.listenerCount('checkExpectation') === 0) server.on('checkExpectation', (req: GateRequest, res: ServerResponse) => unexpected(server, req, res));
  // Nothing is tunnelled; without a listener Node would drop the connection past the record.
  if (server.listenerCount('connect') === 0) server.on('connect', (req: GateRequest, socket: Duplex) => tunnel(core, req, socket as Socket));
  if (server.listenerCount('clientError') === 0) server.on('clientError', (error: Error, socket: Socket) => malformed(core, error, socket));
}

function limit({ config, log }: Core, server: Server): void {
  server.keepAliveTimeout = config.server.idleTimeout;
  server.headersTimeout = config.server.readTimeout;
  if (config.server.maxHeaderBytes !== maxHeaderSize) {
    log.warn({ setting: 'server.max_header_bytes', effect: 'only a server\'s constructor can set it', fix: 'createServer(gate), or http.createServer({ maxHeaderSize })' }, 'attach.limited');
  }
  const { token, listen } = config.admin;
  if (token !== null && typeof listen === 'string') log.warn({ setting: 'admin.listen', effect: 'only a server made by createServer brings it', fix: 'createServer(gate), or mount gate.admin' }, 'attach.limited');
}

/** Only this is an upgrade (RFC 6455 §4.1): `Upgrade: h2c` is a request like any other (RFC 9110 §7.8 lets a server ignore it). */
const isWebSocket = (req: IncomingMessage): boolean => req.method === 'GET' && req.headers.upgrade?.toLowerCase() === 'websocket';

/** Beside other listeners (socket.io and its like) the gate takes only what is certainly its own. */
const isRealtime = (req: IncomingMessage): boolean => /\/v1\/realtime\/?(?:\?|$)/.test(req.url ?? '');

function asRequest(server: Server, req: GateRequest, socket: Duplex, head: Buffer): void {
  const res = new ServerResponse(req);
  socket.on('error', () => socket.destroy());
  req.heimdallUpgrade = new PendingUpgrade(socket, head);
  res.shouldKeepAlive = false;
  res.assignSocket(socket as Socket);
  // A client that keeps its side open after a refusal would stay for ever: no timeout of the server applies to it any more.
  res.on('finish', () => (socket as Socket).destroySoon());
  server.emit('request', req, res);
}

/** Most bytes that a client may send before its handshake is answered; RFC 6455 §4.1 allows none. */
const mostEarly = 16_384;

/**
 * Reads the socket of a handshake while it is answered: behind unread bytes Node does not report that the client is gone, and
 * what the request holds would not be given back.
 */
class PendingUpgrade implements Upgrade {
  readonly socket: Duplex;
  ended = false;
  #early: Buffer;

  constructor(socket: Duplex, head: Buffer) {
    this.socket = socket;
    this.#early = head;
    socket.on('data', this.#read).once('end', this.#end);
  }

  release(): void {
    const { socket } = this;
    socket.off('data', this.#read).off('end', this.#end).pause();
    if (this.#early.length > 0 && !this.ended) socket.unshift(this.#early);
  }

  readonly #read = (chunk: Buffer): void => {
    this.#early = Buffer.concat([this.#early, chunk]);
    if (this.#early.length > mostEarly) this.socket.destroy();
  };

  readonly #end = (): void => {
    this.ended = true;
  };
}

/** The gate asks for the body when it wants it; a host's own route that has not answered yet gets its go-ahead now. */
function expecting(server: Server, req: GateRequest, res: ServerResponse): void {
  server.emit('request', req, res);
  if (req.heimdall === undefined && !res.writableEnded) res.writeContinue();
}

/** Expectations other than 100-continue are ignored, as RFC 9110 §10.1.1 allows. */
function unexpected(server: Server, req: GateRequest, res: ServerResponse): void {
  delete req.headers.expect;
  server.emit('request', req, res);
}

const malformedCodes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

/** Answers and records what the parser refused. */
function malformed(core: Core, error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const req = new IncomingMessage(socket) as GateRequest;
  const res = new ServerResponse(req);
  try {
    res.assignSocket(socket);
  } catch {
    return breakOff(core, error, socket);
  }
  res.on('finish', () => socket.destroySoon());
  refuse(core, req, res, malformedCodes[error.code ?? ''] ?? 'malformed_request');
}

function tunnel(core: Core, req: GateRequest, socket: Socket): void {
  const res = new ServerResponse(req);
  socket.on('error', () => socket.destroy());
  res.assignSocket(socket);
  res.on('finish', () => socket.destroySoon());
  refuse(core, req, res, 'invalid_target');
}

/** Answers and records what no router takes, and ends its connection. */
export function refuse(core: Core, req: GateRequest, res: ServerResponse, code: ErrorCode): void {
  const context = new Context(core, req, res);
  context.ip = req.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  context.route = ownRoute('malformed');
  req.heimdall = context;
  res.shouldKeepAlive = false;
  context.fail(new HeimdallError(code));
}

/** A body that cannot be read ends the request it belongs to. A socket with an answer under way cannot take another. */
function breakOff(core: Core, error: NodeJS.ErrnoException, socket: Socket): void {
  const inHand = [...core.inFlight].find(({ req, res }) => req.socket === socket && !req.complete && !res.headersSent);
  if (inHand === undefined || error.code === 'HPE_INVALID_EOF_STATE') return void socket.destroy();
  inHand.exchange?.abort();
  inHand.res.shouldKeepAlive = false;
  inHand.fail(new HeimdallError('malformed_request'));
}

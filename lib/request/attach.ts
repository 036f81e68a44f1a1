import { IncomingMessage, maxHeaderSize, ServerResponse, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { Context } from './context.ts';
import type { Core, GateRequest, Upgrade } from './context.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import { ownRoute } from './own-route.ts';

/** Servers with the listeners below. Where two gates guard one server, its request listeners find the right one. */
const attached = new WeakSet<Server>();

/**
 * Sends through the gate what a server does not emit as a request: WebSocket upgrades, expectations, tunnels and malformed bytes.
 * An upgrade becomes a request with a response of its own, so that the host's middleware, the mount path and the whole chain apply
 * to it.
 * @param ours the server was made by `createServer`, which has set the options of its constructor.
 */
export function attach(core: Core, server: Server, ours = false): void {
  if (!attached.has(server)) listen(core, server, ours);
  attached.add(server);
  core.connections?.watch(server);
  if (!ours) limit(core, server);
}

function listen(core: Core, server: Server, ours: boolean): void {
  const latest = new WeakMap<Socket, ServerResponse>();
  // A request of a host's may not have reached the gate yet when the bytes behind it turn out to be malformed.
  if (!ours) server.prependListener('request', (req, res) => latest.set(req.socket, res));
  // Node reads it at every request; its types know it only as an option.
  Object.assign(server, { shouldUpgradeCallback: isWebSocket });
  server.on('upgrade', (req: GateRequest, socket: Duplex, head: Buffer) => {
    if (server.listenerCount('upgrade') === 1 || isSession(req)) asRequest(server, req, socket, head);
  });
  if (server.listenerCount('checkContinue') === 0) server.on('checkContinue', (req: GateRequest, res: ServerResponse) => expecting(server, req, res));
  // The chain answers expectations that it does not know.
  if (server.listenerCount('checkExpectation') === 0) server.on('checkExpectation', (req: GateRequest, res: ServerResponse) => server.emit('request', req, res));
  // The gate has no tunnels. Without a listener Node would drop the connection without a record.
  if (server.listenerCount('connect') === 0) server.on('connect', (req: GateRequest, socket: Duplex) => tunnel(core, req, socket as Socket));
  if (server.listenerCount('clientError') === 0) server.on('clientError', (error: ParseError, socket: Socket) => malformed(core, error, socket, latest));
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

/** The only upgrade (RFC 6455 §4.1). `Upgrade: h2c` is an ordinary request: a server may ignore it (RFC 9110 §7.8). */
const isWebSocket = (req: IncomingMessage): boolean => req.method === 'GET' && req.headers.upgrade?.toLowerCase() === 'websocket';

/** Beside other `upgrade` listeners, of socket.io for instance, the gate takes only the WebSocket sessions of LLM APIs. */
const isSession = (req: IncomingMessage): boolean => /\/v1\/(?:realtime|responses)\/?(?:\?|$)/.test(req.url ?? '');

function asRequest(server: Server, req: GateRequest, socket: Duplex, head: Buffer): void {
  const res = new ServerResponse(req);
  socket.on('error', () => socket.destroy());
  req.heimdallUpgrade = new PendingUpgrade(socket, head);
  res.shouldKeepAlive = false;
  res.assignSocket(socket as Socket);
  // After a refusal no timeout of the server applies to the connection any more, and the client may never close it.
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

/** The gate asks for the body when it needs it. A route of the host that has not answered yet gets its go-ahead now. */
function expecting(server: Server, req: GateRequest, res: ServerResponse): void {
  server.emit('request', req, res);
  if (req.heimdall === undefined && !res.writableEnded) res.writeContinue();
}

const malformedCodes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

/** What llhttp reports: `reason` tells its errors of one code apart. */
type ParseError = NodeJS.ErrnoException & { readonly reason?: string };

/** A coding beside a length is malformed; alone it is one that is not supported. */
function codeOf({ code = '', reason = '' }: ParseError): ErrorCode {
  if (code === 'HPE_INVALID_TRANSFER_ENCODING' && !reason.includes('Content-Length')) return 'unsupported_transfer_coding';
  return malformedCodes[code] ?? 'malformed_request';
}

/** Connections whose parser has failed. It reports every further chunk as another error. */
const failedConnections = new WeakSet<Socket>();

/**
 * Answers and records bytes that the parser refuses. Complete requests before them on the connection are answered first.
 * @param latest the newest response on each connection of a host's server.
 */
function malformed(core: Core, error: ParseError, socket: Socket, latest: WeakMap<Socket, ServerResponse>): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  if (failedConnections.has(socket)) return;
  failedConnections.add(socket);
  const context = newest(core, socket);
  const before = context?.res ?? latest.get(socket);
  if (before === undefined || before.writableFinished) return refuseBytes(core, error, socket);
  if (before.req.complete || before.writableEnded) return void before.once('close', () => refuseBytes(core, error, socket));
  if (context === null || before.headersSent || error.code === 'HPE_INVALID_EOF_STATE') return void socket.destroy();
  // The bytes are the body of this request.
  context.exchange?.abort();
  before.shouldKeepAlive = false;
  context.fail(new HeimdallError(codeOf(error)));
}

function newest({ inFlight }: Core, socket: Socket): Context | null {
  let found: Context | null = null;
  for (const context of inFlight) if (context.req.socket === socket && (found === null || context.startedAt >= found.startedAt)) found = context;
  return found;
}

function refuseBytes(core: Core, error: ParseError, socket: Socket): void {
  if (!socket.writable) return void socket.destroy();
  const req = new IncomingMessage(socket) as GateRequest;
  const res = new ServerResponse(req);
  try {
    res.assignSocket(socket);
  } catch {
    // Another response of the host's is under way.
    return void socket.destroy();
  }
  res.on('finish', () => socket.destroySoon());
  refuse(core, req, res, codeOf(error));
}

function tunnel(core: Core, req: GateRequest, socket: Socket): void {
  const res = new ServerResponse(req);
  socket.on('error', () => socket.destroy());
  res.assignSocket(socket);
  res.on('finish', () => socket.destroySoon());
  refuse(core, req, res, 'invalid_target');
}

/** Answers and records a request that no router takes, and ends its connection. */
export function refuse(core: Core, req: GateRequest, res: ServerResponse, code: ErrorCode): void {
  const context = new Context(core, req, res);
  if (req.rawHeaders.length === 0) context.device = '';
  context.ip = req.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  context.route = ownRoute('malformed');
  req.heimdall = context;
  res.shouldKeepAlive = false;
  context.fail(new HeimdallError(code));
}

import { IncomingMessage, maxHeaderSize, ServerResponse, type RequestListener, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { Context } from './context.ts';
import type { Core, GateRequest, Upgrade } from './context.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import { strongest, type Claim, type Mounted } from './mount.ts';
import { ownRoute } from './own-route.ts';
import { guard } from '../platform/platform.ts';

/** A gate that guards a server. */
interface Guarding extends Mounted {
  readonly core: Core;
}

/** The gates of a server with the listeners below. Its request listeners find the right one. */
const attached = new WeakMap<Server, Guarding[]>();

/** The listener that only takes down the newest response of each connection, on servers of hosts. */
const noted = new WeakMap<Server, RequestListener>();

/** The newest response on each connection of a host's server. */
type LatestResponses = WeakMap<Socket, ServerResponse>;

/** What the gate is, for {@link attach}. */
export interface AttachOptions extends Mounted {
  /** The server was made by `createServer`, which has set the options of its constructor. */
  readonly ours?: boolean;
}

/**
 * Sends through the gate what a server does not emit as a request: WebSocket upgrades, expectations, tunnels and malformed bytes.
 * An upgrade becomes a request with a response of its own, so that the host's middleware, the mount path and the whole chain apply
 * to it.
 */
export function attach(core: Core, server: Server, { gate, serves, path, ours = false }: AttachOptions): void {
  const gates = attached.get(server);
  if (gates === undefined) listen(server, [{ core, gate, serves, path }], ours);
  else if (!gates.some((one) => one.core === core)) gates.push({ core, gate, serves, path });
  core.connections?.watch(server, core.log);
  if (!ours) limit(core, server);
}

function listen(server: Server, gates: [Guarding, ...Guarding[]], ours: boolean): void {
  const latest: LatestResponses = new WeakMap();
  const [{ core }] = gates;
  attached.set(server, gates);
  // A request of a host's may not have reached the gate yet when the bytes behind it turn out to be malformed.
  if (!ours) {
    const note: RequestListener = (req, res) => void latest.set(req.socket, res);
    noted.set(server, note);
    server.prependListener('request', note);
  }
  listenToUpgrades(server, gates, latest, ours);
  const on = (event: string, listener: (req: GateRequest, res: ServerResponse) => void): void => {
    if (server.listenerCount(event) === 0) server.on(event, guard(core.log, event, listener, (req) => req.socket.destroy()));
  };
  on('checkContinue', (req, res) => expecting(server, req, res));
  // The chain answers expectations that it does not know.
  on('checkExpectation', (req, res) => server.emit('request', req, res));
  // The gate has no tunnels. Without a listener Node would drop the connection without a record.
  on('connect', (req) => tunnel(core, req));
  if (server.listenerCount('clientError') === 0) server.on('clientError', guard(core.log, 'clientError', (error: ParseError, socket: Duplex) => malformed(gates, error, socket as Socket, latest), (_error, socket) => socket.destroy()));
}

/**
 * Beside other listeners the gate takes the upgrades below its mount and leaves the others to them. They do not see what it
 * takes: some end every upgrade that is not theirs, at once (`ws` with a path) or when it is not answered within a second
 * (socket.io). An upgrade that may be another listener's is offered to them first.
 */
function listenToUpgrades(server: Server, gates: readonly [Guarding, ...Guarding[]], latest: LatestResponses, ours: boolean): void {
  const [{ core }] = gates;
  // Node has the callback as a property of each server from 24.9 on, which its types know only as an option.
  const { emit, shouldUpgradeCallback: byHost } = server as Server & { shouldUpgradeCallback?: (req: IncomingMessage) => boolean };
  const claimOf = (req: IncomingMessage): Claim => {
    try {
      const path = pathOf(req.url ?? '/');
      return strongest(gates.map((each) => each.core.mount.claim(server, path, each)));
    } catch {
      // Something of the host's among its routers.
      return 'shared';
    }
  };
  const isAlone = (): boolean => server.listenerCount('upgrade') === 1;
  const onUpgrade = guard(core.log, 'upgrade', (req: GateRequest, socket: Duplex, head: Buffer, claim: Claim) => {
    if (claim === 'ours') asRequest(core, server, req, socket, head);
    else if (claim === 'shared') offer(core, server, req, socket, head);
  }, (_req, socket) => socket.destroy());
  server.on('upgrade', (req: GateRequest, socket: Duplex, head: Buffer) => onUpgrade(req, socket, head, isAlone() ? 'ours' : claimOf(req)));
  // Behind a request that is not answered yet a handshake is an ordinary request, which waits for its turn.
  const isUpgrade = (req: IncomingMessage): boolean => (isWebSocket(req) && !isAnswering(gates, req.socket, latest)) || (!isAlone() && claimOf(req) === 'foreign' && (byHost === undefined || byHost.call(server, req)));
  if (readsCallback) Object.assign(server, { shouldUpgradeCallback: isUpgrade });
  else watchUpgrades(server, core.log, isUpgrade);
  if (ours) return;
  Object.assign(server, {
    emit: (event: string, ...rest: unknown[]): boolean => {
      if (event !== 'upgrade' || isAlone() || claimOf(rest[0] as GateRequest) !== 'ours') return Reflect.apply(emit, server, [event, ...rest]);
      onUpgrade(rest[0] as GateRequest, rest[1] as Duplex, rest[2] as Buffer, 'ours');
      return true;
    },
  });
}

const pathOf = (url: string): string => (/^[a-z][a-z\d+.-]*:\/\/[^/?#]*(.*)$/is.exec(url)?.[1] ?? url).replace(/[?#].*/s, '') || '/';

/** How long other listeners may take to begin an answer to an upgrade that may be theirs, milliseconds. */
const patience = 3000;

/** Takes an upgrade that no other listener has answered. */
function offer(core: Core, server: Server, req: GateRequest, socket: Duplex, head: Buffer): void {
  const { bytesWritten } = socket as Socket;
  const listens = (): boolean => socket.listenerCount('data') > 0 || socket.listenerCount('readable') > 0;
  if (socket.destroyed || listens()) return;
  socket.on('error', () => undefined);
  const timer = core.clock.setTimeout(guard(core.log, 'upgrade', () => {
    if (!socket.destroyed && (socket as Socket).bytesWritten === bytesWritten && !listens()) asRequest(core, server, req, socket, head);
  }, () => socket.destroy()), patience);
  timer.unref();
  socket.once('close', () => core.clock.clearTimeout(timer));
}

/**
 * Time limits of a host's server under another configuration. What the host has set itself since then stays.
 * @param before those under the configuration before.
 */
export function relimit(server: Server, before: Core['config']['server'], { idleTimeout, readTimeout }: Core['config']['server']): void {
  if (server.keepAliveTimeout === before.idleTimeout) server.keepAliveTimeout = idleTimeout;
  if (server.headersTimeout === before.readTimeout) server.headersTimeout = readTimeout;
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

/** The only upgrade (RFC 6455 §4.1). `Upgrade: h2c` is an ordinary request: a server may ignore it, and ignores that of HTTP/1.0 (RFC 9110 §7.8). */
const isWebSocket = (req: IncomingMessage): boolean => req.method === 'GET' && req.httpVersionMinor > 0 && req.headers.upgrade?.toLowerCase() === 'websocket';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const readsCallback = major > 24 || (major === 24 && minor >= 9);

/** A connection of Node's HTTP server before 24.9, as far as its parser tells of requests. */
interface Parsed {
  readonly parser?: { onIncoming?: ((req: IncomingMessage, keepAlive: boolean) => unknown) | null } | null;
}

/**
 * Before 24.9 Node takes every `Upgrade` for one as soon as a server has a listener for upgrades. It asks `req.upgrade` for each
 * request whose head is complete: one that is none by our rule is told so, as on a server without such a listener.
 */
export function watchUpgrades(server: Server, log: Core['log'], isUpgrade: (req: IncomingMessage) => boolean): void {
  server.on(isSecure(server) ? 'secureConnection' : 'connection', guard(log, 'connection', ({ parser }: Parsed) => {
    const take = parser?.onIncoming;
    if (!parser || !take) return;
    parser.onIncoming = (req, keepAlive) => {
      const asked = req as IncomingMessage & { upgrade?: boolean | null };
      if (asked.upgrade && req.method !== 'CONNECT' && !isUpgrade(req)) asked.upgrade = false;
      return take(req, keepAlive);
    };
  }));
}

const isSecure = (server: Server): boolean => 'setSecureContext' in server;

function asRequest(core: Core, server: Server, req: GateRequest, socket: Duplex, head: Buffer): void {
  const res = new ServerResponse(req);
  socket.on('error', () => socket.destroy());
  req.heimdallUpgrade = new PendingUpgrade(socket, head);
  res.shouldKeepAlive = false;
  res.assignSocket(socket as Socket);
  // After a refusal no timeout of the server applies to the connection any more, and the client may never close it.
  res.on('finish', () => (socket as Socket).destroySoon());
  if (server.listeners('request').every((listener) => listener === noted.get(server))) refuse(core, req, res, 'invalid_target');
  else server.emit('request', req, res);
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
 * @param gates the first answers where no gate has seen the request.
 */
function malformed(gates: readonly [Guarding, ...Guarding[]], error: ParseError, socket: Socket, latest: LatestResponses): void {
  if (error.code === 'ECONNRESET') return void socket.destroy();
  if (failedConnections.has(socket)) return;
  failedConnections.add(socket);
  refuseInTurn(gates, { req: new IncomingMessage(socket) as GateRequest, code: codeOf(error), isCut: error.code === 'HPE_INVALID_EOF_STATE' }, latest);
}

/** What no router takes. */
interface Refused {
  readonly req: GateRequest;
  readonly code: ErrorCode;
  /** The connection ended within it. */
  readonly isCut: boolean;
}

/** The response to the last request before these bytes that is not sent yet. */
function unsent(gates: readonly Guarding[], socket: Socket, latest: LatestResponses): ServerResponse | null {
  const before = farthest(gates, socket) ?? newest(gates, socket)?.res ?? latest.get(socket);
  return before === undefined || before.writableFinished ? null : before;
}

/** Whether a request on this connection waits for its answer. */
const isAnswering = (gates: readonly Guarding[], socket: Socket, latest: LatestResponses): boolean => unsent(gates, socket, latest) !== null;

function refuseInTurn(gates: readonly [Guarding, ...Guarding[]], refused: Refused, latest: LatestResponses): void {
  const { req, code, isCut } = refused;
  const { socket } = req;
  if (!socket.writable) return void socket.destroy();
  const [{ core }] = gates;
  const before = unsent(gates, socket, latest);
  if (before === null) return refuseLast(core, req, code);
  if (before.req.complete || before.writableEnded) return void before.once('close', guard(core.log, 'clientError', () => refuseInTurn(gates, refused, latest), () => socket.destroy()));
  const context = newest(gates, socket);
  if (before !== context?.res || before.headersSent || isCut) return void socket.destroy();
  // The bytes are the body of this request.
  context.exchange?.abort();
  before.shouldKeepAlive = false;
  context.fail(new HeimdallError(code));
}

function farthest(gates: readonly Guarding[], socket: Socket): ServerResponse | null {
  for (const { core: { inFlight } } of gates) {
    const found = inFlight.farthest(socket);
    if (found !== null) return found;
  }
  return null;
}

function newest(gates: readonly Guarding[], socket: Socket): Context | null {
  let found: Context | null = null;
  for (const context of contextsOn(gates, socket)) if (found === null || context.startedAt >= found.startedAt) found = context;
  return found;
}

const contextsOn = (gates: readonly Guarding[], socket: Socket): Context[] => gates.flatMap(({ core: { inFlight } }) => [...inFlight].filter(({ req }) => req.socket === socket));

function refuseLast(core: Core, req: GateRequest, code: ErrorCode): void {
  const { socket } = req;
  const res = new ServerResponse(req);
  try {
    res.assignSocket(socket);
  } catch {
    // Another response is under way.
    return void socket.destroy();
  }
  res.on('finish', () => socket.destroySoon());
  refuse(core, req, res, code);
}

/** Behind a request that is not answered yet it ends the connection: Node would not tell the answer when there is room for more of it. */
function tunnel(core: Core, req: GateRequest): void {
  req.socket.on('error', () => req.socket.destroy());
  refuseLast(core, req, 'invalid_target');
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

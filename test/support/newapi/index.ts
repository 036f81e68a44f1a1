import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { dashboardRoutes, playgroundRoutes } from './dashboard.ts';
import { preflight, readBody, requestId, sendJson } from './exchange.ts';
import { createRealtime, isRealtime, type Realtime } from './realtime.ts';
import { finishWithAnswer, finishWithSocket, see } from './record.ts';
import { relayRoutes } from './relay.ts';
import { createRouter } from './router.ts';
import { change, createState } from './state.ts';
import type { Asked, Behaviour, Exchange, NewapiOptions, Seen, SeenRequest, State } from './state.ts';
import { taskRoutes } from './tasks.ts';
import { fallback, webRoutes } from './web.ts';

/** Answers a route in the stand-in's place; the request's id and version headers are already set. */
export type Override = (req: IncomingMessage, res: ServerResponse, body: Buffer) => void;

/** A running stand-in for NewAPI. */
export interface Newapi {
  readonly url: string;
  readonly port: number;
  readonly server: Server;
  /** The newest 10 000 requests, oldest first. */
  readonly requests: readonly SeenRequest[];
  /** What `/api/heimdall/log` was sent, the newest 10 000. */
  readonly received: readonly unknown[];
  /** Connections open now, WebSockets included. */
  readonly open: number;
  /** Connections accepted so far. */
  readonly connections: number;
  /** Live WebSockets. */
  readonly websockets: number;
  set(behaviour: Behaviour): void;
  /** Answers `METHOD /path` by `override` until the returned function is called. */
  on(route: string, override: Override): () => void;
  /** Forgets requests, reports, usage and limits; keys and sessions stay. */
  clear(): void;
  /** Closes the port and every connection: connect() is refused. */
  stop(): Promise<void>;
  /** Opens the same port again. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

const KEPT_REQUESTS = 10_000;
const MAX_HEADER = 1 << 20;
const NOTHING = Buffer.alloc(0);

// Relay routes judge the token before they read the body; the others have it read.
const relay = createRouter([...relayRoutes, ...taskRoutes, ...playgroundRoutes]);
const others = createRouter([...dashboardRoutes, ...webRoutes]);

/** What a running stand-in holds. */
interface Running {
  readonly state: State;
  readonly requests: Seen[];
  readonly overrides: Map<string, Override>;
  readonly sockets: Set<Socket>;
  connections: number;
  realtime: Realtime;
}

/** Starts the stand-in. */
export async function startNewapi(options: NewapiOptions = {}): Promise<Newapi> {
  const state = createState(options);
  const running: Running = {
    state,
    requests: [],
    overrides: new Map(),
    sockets: new Set(),
    connections: 0,
    realtime: createRealtime(),
  };
  const server = createFront(running, options.keepAlive ?? 0);
  const host = options.host ?? '127.0.0.1';
  const port = await listen(server, options.port ?? 0, host);
  const stop = (): Promise<void> => halt(server, running);
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    server,
    requests: running.requests,
    received: state.received,
    get open() {
      return running.sockets.size;
    },
    get connections() {
      return running.connections;
    },
    get websockets() {
      return running.realtime.live;
    },
    set: (behaviour) => change(state, behaviour),
    on(route, override) {
      running.overrides.set(route, override);
      return () => {
        if (running.overrides.get(route) === override) running.overrides.delete(route);
      };
    },
    clear() {
      for (const list of [running.requests, state.received, state.usage]) list.length = 0;
      state.windows.clear();
    },
    stop,
    restart: async () => {
      if (!server.listening) await listen(server, port, host);
    },
    close: stop,
  };
}

function createFront(running: Running, keepAliveTimeout: number): Server {
  const timeouts = { keepAliveTimeout, requestTimeout: 0, headersTimeout: 0 };
  const server = createServer({ maxHeaderSize: MAX_HEADER, shouldUpgradeCallback: isRealtime, ...timeouts });
  server.on('request', (req, res) => {
    const x: Exchange = { ...asked(running, req), res, body: NOTHING };
    if (x.seen) finishWithAnswer(x.seen, res);
    const override = running.overrides.size > 0 ? running.overrides.get(`${x.method} ${x.path}`) : undefined;
    answer(x, override).catch((error: unknown) => panic(x, error));
  });
  server.on('upgrade', (req, socket, head) => {
    const x = asked(running, req);
    if (x.seen) finishWithSocket(x.seen, req.socket);
    running.realtime.upgrade(x, socket, head);
  });
  server.on('connection', (socket) => {
    running.connections++;
    running.sockets.add(socket);
    socket.on('close', () => running.sockets.delete(socket));
  });
  return server;
}

function asked({ state, requests }: Running, req: IncomingMessage): Asked {
  const url = req.url ?? '/';
  const cut = url.indexOf('?');
  const seen = state.settings.record ? see(req) : undefined;
  if (seen && requests.push(seen) > KEPT_REQUESTS) requests.shift();
  return {
    req,
    method: req.method ?? 'GET',
    path: cut < 0 ? url : url.slice(0, cut),
    query: cut < 0 ? '' : url.slice(cut + 1),
    id: requestId(state),
    state,
    seen,
  };
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  server.listen(port, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function halt(server: Server, running: Running): Promise<void> {
  const closed = server.listening ? once(server, 'close') : undefined;
  if (closed) server.close();
  running.realtime.close();
  running.realtime = createRealtime();
  for (const socket of running.sockets) socket.destroy();
  await closed;
}

async function answer(x: Exchange, override: Override | undefined): Promise<void> {
  if (override) {
    const body = await readBody(x);
    x.res.setHeader('X-New-Api-Version', x.state.settings.version);
    x.res.setHeader('X-Oneapi-Request-Id', x.id);
    return override(x.req, x.res, body);
  }
  if (preflight(x)) return;
  const known = relay(x.method, x.path);
  if (known) return known.handler(x, known.groups);
  if (hasBody(x.req)) await readBody(x);
  const found = others(x.method, x.path);
  return found ? found.handler(x, found.groups) : fallback(x);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** NewAPI's answer to its own mistakes; a client that left is none. */
function panic(x: Exchange, error: unknown): void {
  if (x.res.headersSent || x.res.destroyed) return void x.res.destroy();
  const message = `Panic detected, error: ${error instanceof Error ? error.message : String(error)}`;
  sendJson(x, 500, { error: { message, type: 'new_api_panic' } });
}

import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

import type { Manner } from './provider/answer.ts';
import { serveConnection, type Shared } from './provider/connection.ts';
import type { Call, Cut, Fault } from './provider/fault.ts';

export { fullBacklog, type FullBacklog } from './provider/backlog.ts';
export type { Call, Cut, Fault } from './provider/fault.ts';

/** How a provider is set up; everything but `port` can be changed later by `set`. */
export interface ProviderOptions {
  /** Default 0: any free port. */
  readonly port?: number;
  /** Stands in `model` (`name/requested`) and `system_fingerprint` of every answer. Default `provider`. */
  readonly name?: string;
  /** Demanded as `Authorization: Bearer <key>` (or `x-api-key`); without it any caller is served. */
  readonly key?: string;
  readonly models?: readonly string[];
  /** Content events of a stream; default one a word. */
  readonly events?: number;
  /** What a second request on a connection meets: an answer, or the end of the connection. Default `keep`. */
  readonly reuse?: 'keep' | Cut;
  readonly now?: () => number;
  /** Told of a request from whose answer nothing more is to be expected, though it goes on. */
  readonly silent?: (call: Call) => void;
}

/** A provider that can be made to fail in every way a network knows. */
export interface Provider {
  /** Origin, without `/v1`. */
  readonly url: string;
  /** What a gateway is configured with: origin and `/v1`. */
  readonly endpoint: string;
  readonly port: number;
  /** The newest 10 000 requests, oldest first; those cut by `reuse` or at `accept` are not among them. */
  readonly calls: readonly Call[];
  /** Connections accepted so far. */
  readonly connections: number;
  /** Connections open now. */
  readonly open: number;
  /** Second requests met by the end of their connection. */
  readonly resets: number;
  /** Scripted faults not yet used. */
  readonly remaining: number;
  /**
   * One fault: every request meets it until the next call. A list: one request each, then all is well again.
   * Only POST requests use it, so that health probes do not, unless `filter` says otherwise; `accept` and
   * `refuse` come before any request and ignore the filter.
   */
  script(fault: Fault | readonly Fault[], filter?: (head: { method: string; path: string }) => boolean): Promise<void>;
  set(options: Omit<ProviderOptions, 'port'>): void;
  /** Forgets the calls. */
  clear(): void;
  /** Closes the port and every connection: connect() is refused. */
  stop(): Promise<void>;
  /** Opens the same port again. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

const OK: Fault = { kind: 'ok' };

/** Starts a provider on 127.0.0.1. */
export async function startProvider(options: ProviderOptions = {}): Promise<Provider> {
  const script = createScript();
  const port = createPort(options.port ?? 0);
  const shared: Shared = {
    manner: manner(options),
    reuse: options.reuse ?? 'keep',
    calls: [],
    connections: 0,
    resets: 0,
    silent: options.silent ?? (() => undefined),
    takeAccept: script.accept,
    takeFault: (head) => script.request(head, port.drain),
    draining: port.draining,
  };
  const number = await port.start((socket) => serveConnection(socket, shared));
  return {
    url: `http://127.0.0.1:${number}`,
    endpoint: `http://127.0.0.1:${number}/v1`,
    port: number,
    calls: shared.calls,
    get connections() {
      return shared.connections;
    },
    get open() {
      return port.open();
    },
    get resets() {
      return shared.resets;
    },
    get remaining() {
      return script.remaining();
    },
    script: async (faults, filter) => {
      script.load(faults, filter);
      await (script.refuses() ? port.stop() : port.listen());
    },
    set: (changed) => {
      shared.manner = { ...shared.manner, ...changed };
      shared.reuse = changed.reuse ?? shared.reuse;
    },
    clear: () => void (shared.calls.length = 0),
    stop: port.stop,
    restart: port.listen,
    close: port.stop,
  };
}

/** The listening side: opens, closes, and opens again under the same number. */
function createPort(wanted: number) {
  const sockets = new Map<Socket, () => boolean>();
  const server = createServer({ noDelay: true });
  let number = wanted;
  const listen = async (): Promise<void> => {
    if (server.listening) return;
    server.listen(number, '127.0.0.1');
    await once(server, 'listening');
    number = (server.address() as AddressInfo).port;
  };
  return {
    listen,
    async start(serve: (socket: Socket) => () => boolean): Promise<number> {
      server.on('connection', (socket) => {
        sockets.set(socket, serve(socket));
        socket.on('close', () => sockets.delete(socket));
      });
      await listen();
      return number;
    },
    async stop(): Promise<void> {
      const closed = server.listening ? once(server, 'close') : undefined;
      if (closed) server.close();
      for (const socket of sockets.keys()) socket.destroy();
      await closed;
    },
    /** Closes the port at once and each connection when its answer is out. */
    drain(): void {
      if (server.listening) server.close();
      for (const [socket, idle] of sockets) if (idle()) socket.destroy();
    },
    draining: () => !server.listening,
    open: () => sockets.size,
  };
}

function manner(options: ProviderOptions): Manner {
  return {
    name: options.name ?? 'provider',
    models: options.models ?? ['gpt-4o-mini', 'gpt-4o', 'text-embedding-3-small'],
    events: options.events,
    key: options.key,
    now: options.now ?? Date.now,
  };
}

/** The faults to come. */
function createScript() {
  let always: Fault = OK;
  let queue: Fault[] = [];
  let filter = (head: { method: string; path: string }): boolean => head.method === 'POST';
  const current = (): Fault => queue[0] ?? always;
  return {
    load(faults: Fault | readonly Fault[], only?: typeof filter): void {
      always = 'kind' in faults ? faults : OK;
      queue = 'kind' in faults ? [] : [...faults];
      filter = only ?? ((head) => head.method === 'POST');
    },
    refuses: (): boolean => current().kind === 'refuse',
    remaining: (): number => queue.length,
    accept(): Fault | undefined {
      const fault = current();
      if (!('at' in fault) || fault.at !== 'accept') return undefined;
      queue.shift();
      return fault;
    },
    request(head: { method: string; path: string }, drain: () => void): Fault {
      if (!filter(head)) return OK;
      const fault = current();
      queue.shift();
      // What follows is a closed port: it closes while this answer is still on its way.
      if (current().kind === 'refuse') queueMicrotask(drain);
      return fault;
    },
  };
}

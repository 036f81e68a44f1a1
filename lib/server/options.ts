import type { Server, ServerOptions } from 'node:http';
import type { Socket } from 'node:net';
import type { ServerConfig } from '../../types/config.d.ts';
import { guard, own, shared } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';

/** What a server of the gate is made with. */
export const optionsOf = ({ maxHeaderBytes, readTimeout, idleTimeout }: ServerConfig): ServerOptions => ({
  maxHeaderSize: maxHeaderBytes,
  // Node would answer a request without `Host` itself, and leave no record.
  requireHostHeader: false,
  // A body has to keep a pace and has no deadline: `InFlight` checks it.
  requestTimeout: 0,
  headersTimeout: readTimeout,
  keepAliveTimeout: idleTimeout,
  connectionsCheckingInterval: Math.max(50, Math.min(5000, readTimeout / 4)),
  noDelay: true,
});

/** What can change while a server listens. */
export function limit(server: Server, { readTimeout, idleTimeout, maxConnections }: ServerConfig): void {
  server.headersTimeout = readTimeout;
  server.keepAliveTimeout = idleTimeout;
  server.maxConnections = maxConnections ?? Number.POSITIVE_INFINITY;
}

/** Counts the connections of all workers together: beyond `server.max_connections` further ones are closed before they are read. */
export function countTogether(server: Server, core: Core): void {
  const { crew } = core;
  if (crew === null || crew.main === null) return;
  const { counts, main: { place } } = crew;
  const mine = shared.perWorker + place * own.size + own.connections;
  const most = (): number => core.config.server.maxConnections ?? Number.POSITIVE_INFINITY;
  // Node asks for it at each connection. What it is set to would be the limit of this listener.
  Object.defineProperty(server, 'maxConnections', { get: () => (Atomics.load(counts, shared.connections) < most() ? null : 0), set() {} });
  const left = guard(core.log, 'connection', () => {
    Atomics.sub(counts, mine, 1);
    Atomics.sub(counts, shared.connections, 1);
  });
  server.on('connection', guard(core.log, 'connection', (socket: Socket) => {
    Atomics.add(counts, mine, 1);
    const before = Atomics.add(counts, shared.connections, 1);
    socket.once('close', left);
    // Another worker has taken the last place in the same moment.
    if (before >= most()) socket.destroy();
  }));
}

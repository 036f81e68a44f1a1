import type { Server, ServerOptions } from 'node:http';
import type { ServerConfig } from '../../types/config.d.ts';

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

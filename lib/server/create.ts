import { createServer as createHttp, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { attach, refuse } from '../attach.ts';
import { insidesOf, type Gate } from '../gateway.ts';
import { tlsOptions } from './tls.ts';

/**
 * The server the standalone runs: HTTP, or HTTPS when `server.tls` is set, with every limit of the `server` section.
 * `gate.close()` closes it.
 * @throws when the certificate or its key cannot be used.
 */
export function createServer(gate: Gate): Server {
  const { core, servers } = insidesOf(gate);
  const { server: limits } = core.config;
  const options: ServerOptions = {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.readTimeout,
    // Node would answer without a host by itself, past the record.
    requireHostHeader: false,
    // Bodies have a pace instead of a deadline; `attach` watches it.
    requestTimeout: 0,
    keepAliveTimeout: limits.idleTimeout,
    connectionsCheckingInterval: Math.max(50, Math.min(5000, limits.readTimeout / 4)),
    noDelay: true,
  };
  // Express passes by a target in which it finds no path, `x://y`.
  const handler = (req: IncomingMessage, res: ServerResponse): void => (gate as unknown as Handler)(req, res, () => refuse(core, req, res, 'invalid_target'));
  const server = limits.tls === null ? createHttp(options, handler) : createHttps({ ...options, ...tlsOptions(limits.tls) }, handler);
  if (limits.maxConnections !== null) server.maxConnections = limits.maxConnections;
  attach(core, server, true);
  servers.add(server);
  server.once('close', () => servers.delete(server));
  return server;
}

type Handler = (req: IncomingMessage, res: ServerResponse, next: () => void) => void;

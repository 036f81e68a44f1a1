import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { attach, refuse } from '../request/request.ts';
import { type Follower, internalsOf, type Gate } from '../gateway.ts';
import { AddressSet } from '../identity/identity.ts';
import { openConfigured } from './admin.ts';
import { watchHandshakes } from './handshake.ts';
import { protocols, speakHttp2 } from './http2.ts';
import { countTogether, limit, optionsOf } from './options.ts';
import { expectPreambles } from './proxy-protocol.ts';
import { StreamConnection } from './stream-connection.ts';
import { ServedCertificates } from './tls.ts';

/**
 * Makes the server of the standalone: HTTP, or HTTPS with `server.tls`, with every limit of the `server` section. `gate.close()`
 * closes it. When it listens, the address of `admin.listen` opens too; if that fails, the server emits an `error`.
 * @throws when the certificate or its key cannot be used.
 */
export function createServer(gate: Gate): Server {
  const { core, servers, serves, certificates, followers } = internalsOf(gate);
  const { server: limits } = core.config;
  const options = optionsOf(limits);
  // Express has no route for a target in which it finds no path, `x://y`.
  const handler = (req: IncomingMessage, res: ServerResponse): void => {
    // Cut off already: what is still parsed of a connection with too many requests goes no further.
    if (req.socket.destroyed) return;
    // As it is told. How a request is framed is said by its major and minor version, which stay those of HTTP/1.1.
    if ((req.socket as Duplex) instanceof StreamConnection) req.httpVersion = '2.0';
    (gate as unknown as Handler)(req, res, () => refuse(core, req, res, 'invalid_target'));
  };
  const served = limits.tls === null ? null : new ServedCertificates(core, limits.tls);
  const server = served === null ? createHttp(options, handler) : createHttps({ ...options, handshakeTimeout: limits.readTimeout, ALPNProtocols: [...(limits.http2 ? protocols.both : protocols.old)], ...served.options }, handler);
  if (served !== null) {
    // Before others listen for its connections.
    if (limits.http2) speakHttp2(server, core);
    served.follow(server);
    if (core.crew === null || core.crew.main?.place === 0) served.warn(server);
    certificates.add(served);
    server.once('close', () => certificates.delete(served));
    watchHandshakes(server, limits.readTimeout, core.log);
  }
  let trust = new AddressSet(core.config.trustProxy);
  const follow: Follower = ({ server: next, trustProxy }) => {
    const certificates = served !== null && next.tls !== null ? served.prepare(next.tls) : null;
    return {
      enter: () => {
        certificates?.enter();
        limit(server, next);
        trust = new AddressSet(trustProxy);
      },
    };
  };
  followers.add(follow);
  server.once('close', () => followers.delete(follow));
  limit(server, limits);
  attach(core, server, { gate, serves, path: '/', ours: true });
  // Behind all that listens for connections: they get one after its preamble.
  if (limits.proxyProtocol) expectPreambles(server, () => trust, limits.readTimeout, core.log);
  countTogether(server, core);
  // A worker's admin API is that of the main thread.
  if (core.crew?.isWorker !== true) server.once('listening', () => void openConfigured(gate).catch((error: Error) => server.emit('error', error)));
  servers.add(server);
  server.once('close', () => servers.delete(server));
  return server;
}

type Handler = (req: IncomingMessage, res: ServerResponse, next: () => void) => void;

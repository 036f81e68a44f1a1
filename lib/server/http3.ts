import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIP, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import type { Gate } from '../gateway.ts';
import { internalsOf } from '../gateway.ts';
import { guard } from '../platform/platform.ts';
import { attach, type Core, refuse } from '../request/request.ts';
import { Engine } from './engine.ts';
import { listening } from './listening.ts';
import { optionsOf } from './options.ts';
import { ServedCertificates } from './tls.ts';

/** Names the client of a request that the engine hands over: address, port and protocol. It replaces what a client sends under this name. */
const clientField = 'heimdall-client';
/** How long a client may remember that HTTP/3 is there, seconds. */
const remembered = 86_400;

/**
 * Starts Caddy for HTTP/3, where it is on, and hands what it brings to the gate: over a Unix socket that only this user can open, on a
 * connection for each request, whose other end is the client that the engine names. TCP listeners announce it while it is up.
 * It ends with the gate.
 */
export async function startHttp3(gate: Gate): Promise<void> {
  const { core, servers, serves, certificates } = internalsOf(gate);
  const { http3, tls } = core.config.server;
  if (!http3.enabled) return;
  // Those of the TCP port, which its server follows, or one of its own.
  const shared = http3.tlsCertFile === null ? [...certificates].find((each) => each instanceof ServedCertificates) : undefined;
  const served = shared ?? new ServedCertificates(core, { certPath: http3.tlsCertFile ?? tls?.certPath ?? '', keyPath: http3.tlsKeyFile ?? tls?.keyPath ?? '', minVersion: '1.3', serverName: null, others: [] });
  const announce = (isUp: boolean): void => {
    core.alternative = isUp && !core.draining ? `h3=":${http3.port}"; ma=${remembered}` : 'clear';
  };
  const offer = await offerCertificates(core, served);
  const engine = new Engine({ core, program: http3.engine, changed: announce, configuration: (directory) => configurationOf(core.config, directory, offer.url) });
  announce(false);
  const server = createServer(optionsOf(core.config.server), (req: IncomingMessage, res: ServerResponse) => {
    if (!req.socket.destroyed) (gate as unknown as Handler)(req, res, () => refuse(core, req, res, 'invalid_target'));
  });
  for (const event of ['request', 'checkContinue', 'checkExpectation', 'connect']) server.prependListener(event, guard(core.log, 'http3', adopt, (req: IncomingMessage) => req.socket.destroy()));
  attach(core, server, { gate, serves, path: '/', ours: true });
  await listening(server, core, { path: join(engine.directory, 'gate') });
  if (shared === undefined) {
    served.follow(Object.assign(server, { setSecureContext: () => undefined }));
    served.warn(server);
    certificates.add(served);
  }
  servers.add(server);
  server.on('draining', guard(core.log, 'http3', () => announce(false)));
  server.once('close', guard(core.log, 'http3', () => {
    if (shared === undefined) certificates.delete(served);
    servers.delete(server);
    engine.close();
    offer.server.close();
    offer.server.closeAllConnections();
  }));
  engine.start();
}

type Handler = (req: IncomingMessage, res: ServerResponse, next: () => void) => void;

/**
 * Serves certificates with their keys to the engine, which asks at each handshake: so a renewed one is in force at once, and no
 * connection ends for it, as all do where Caddy gets another configuration.
 *
 * SECURITY: on this machine alone, below a secret path that only the engine is told.
 */
async function offerCertificates(core: Core, served: ServedCertificates): Promise<{ readonly server: Server; readonly url: string }> {
  const path = Buffer.from(`/${randomBytes(32).toString('base64url')}`);
  const server = createServer(guard(core.log, 'http3', (req: IncomingMessage, res: ServerResponse) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    const asked = Buffer.from(pathname);
    const isEngine = asked.length === path.length && timingSafeEqual(asked, path);
    const pair = isEngine ? served.pairFor(searchParams.get('server_name') ?? '') : null;
    // Without a certificate the handshake fails.
    if (pair === null) return void res.writeHead(isEngine ? 204 : 404).end();
    res.writeHead(200, { 'Content-Type': 'application/x-pem-file' }).end(`${String(pair.cert)}\n${String(pair.key)}`);
  }, (_req: IncomingMessage, res: ServerResponse) => res.destroy()));
  await listening(server, core, { port: 0, host: '127.0.0.1' });
  return { server: server.unref(), url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path.toString()}` };
}

let adopted = 0;

/** Puts the client in the place of the engine at the other end of a request's connection. */
function adopt(req: IncomingMessage): void {
  const socket = req.socket as Socket & { readonly place?: number };
  if (socket.place !== undefined) return;
  const [address = '', port = '', protocol = ''] = String(req.headers[clientField] ?? '').split(' ');
  // SECURITY: what does not come from the engine has no address that could be trusted.
  if (isIP(address) === 0) return void socket.destroy();
  const family = isIP(address) === 6 ? 'IPv6' : 'IPv4';
  const own = { remoteAddress: address, remotePort: Number(port), remoteFamily: family, encrypted: true, place: ++adopted };
  Object.defineProperties(socket, Object.fromEntries(Object.entries(own).map(([name, value]) => [name, { value }])));
  delete req.headers[clientField];
  req.rawHeaders = req.rawHeaders.filter((_, at, all) => (all[at - (at % 2)] as string).toLowerCase() !== clientField);
  // As it is told. How a request is framed is said by its major and minor version.
  req.httpVersion = /^HTTP\/([\d.]+)$/.exec(protocol)?.[1] ?? req.httpVersion;
}

/**
 * What Caddy is told: QUIC on the port, TLS 1.3, no sessions to resume, so no early data; each request to the socket, as it comes.
 * @param certificates where it asks for a certificate at each handshake.
 */
export function configurationOf({ server: { host, http3: { port }, maxHeaderBytes, readTimeout } }: Config, directory: string, certificates: string): object {
  const address = host.startsWith('/') ? '' : host.includes(':') ? `[${host}]` : host;
  const forwarded = ['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host'];
  return {
    admin: { listen: `unix/${join(directory, 'engine')}`, origins: ['heimdall'], config: { persist: false } },
    logging: { logs: { default: { level: 'ERROR' } } },
    storage: { module: 'file_system', root: directory },
    apps: {
      http: {
        // Streams of an engine that is told to end have as long as those of the gate.
        grace_period: '1s',
        servers: {
          http3: {
            listen: [`${address}:${port}`], protocols: ['h3'], automatic_https: { disable: true }, max_header_bytes: maxHeaderBytes, read_header_timeout: `${readTimeout}ms`,
            tls_connection_policies: [{ protocol_min: 'tls1.3' }],
            routes: [{
              handle: [{
                handler: 'reverse_proxy', flush_interval: -1,
                upstreams: [{ dial: `unix/${join(directory, 'gate')}` }],
                transport: { protocol: 'http', keep_alive: { enabled: false }, compression: false },
                headers: { request: { set: { [clientField]: ['{http.request.remote.host} {http.request.remote.port} {http.request.proto}'] }, delete: forwarded } },
              }],
            }],
          },
        },
      },
      tls: { automation: { policies: [{ get_certificate: [{ via: 'http', url: certificates }] }] }, session_tickets: { disabled: true } },
    },
  };
}

import { readFileSync } from 'node:fs';
import { Agent, type AgentOptions, type ClientRequest } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { buildConnector } from 'undici';
import type { NewapiConfig } from '../../types/config.d.ts';
import { openTunnel, type OutboundProxy, type ProxyHop } from '../platform/platform.ts';

/** Connection keys of a target or of NewAPI. */
export type PeerOptions = Pick<NewapiConfig, 'host' | 'caPath' | 'certPath' | 'keyPath' | 'serverName'>;

/**
 * An upstream as the other end of a connection. SECURITY: the name in SNI and in the check of the certificate comes from the
 * configuration alone. Both engines would take it from the client's `Host` header otherwise.
 */
export interface Peer {
  readonly url: URL;
  /** `Host` that is sent; null for the client's. */
  readonly host: string | null;
  /** Null for plain HTTP. */
  readonly tls: PeerTls | null;
  /** Null for a direct connection. */
  readonly proxy: ProxyHop | null;
  /** Sent in absolute form to a proxy that forwards plain HTTP; null otherwise. */
  readonly forwarded: Forwarded | null;
}

interface PeerTls {
  /** The name, constant for all requests. An IP address is a name here, and no SNI is sent for it (RFC 6066 §3). */
  readonly name: string;
  readonly options: Pick<ConnectionOptions, 'servername' | 'ca' | 'cert' | 'key'>;
}

interface Forwarded {
  /** Scheme, host and port: what precedes the path in an absolute form (RFC 9112 §3.2.2). */
  readonly origin: string;
  /** `Proxy-Authorization`, or null. */
  readonly authorization: string | null;
}

/**
 * The peer at a URL.
 * @throws when a file of a certificate or key cannot be read.
 */
export function peerOf(url: URL, { host, caPath, certPath, keyPath, serverName }: PeerOptions, proxies: OutboundProxy | null): Peer {
  const secure = url.protocol === 'https:';
  const name = serverName ?? unbracketed(url.hostname);
  const file = (path: string | null, key: 'ca' | 'cert' | 'key') => (path === null ? {} : { [key]: readFileSync(path) });
  const proxy = proxies?.hopTo(url) ?? null;
  return {
    url,
    host: host === 'target' ? url.host : null,
    tls: secure ? { name, options: { servername: isIP(name) === 0 ? name : '', ...file(caPath, 'ca'), ...file(certPath, 'cert'), ...file(keyPath, 'key') } } : null,
    proxy,
    forwarded: proxy === null || secure ? null : { origin: url.origin, authorization: proxy.authorization },
  };
}

const unbracketed = (name: string): string => name.replace(/^\[(.+)\]$/, '$1');

const portOf = ({ protocol, port }: URL): number => (port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port));

const authorityOf = (url: URL): string => `${url.hostname}:${portOf(url)}`;

/** Opens undici's connections to a peer. @param timeout milliseconds for TCP, TLS and the proxy, each. */
export function connectorOf({ url, tls, proxy, forwarded }: Peer, timeout: number): buildConnector.connector {
  const connect = buildConnector({ timeout, allowH2: false, ...tls?.options });
  if (proxy !== null && forwarded !== null) {
    const { protocol, host, hostname, port } = proxy.url;
    return (_options, done) => connect({ protocol, host, hostname: unbracketed(hostname), port }, done);
  }
  if (tls === null) return connect;
  const servername = tls.options.servername === '' ? undefined : tls.name;
  const named = (options: buildConnector.Options): buildConnector.Options => {
    const { servername: _, ...rest } = options;
    return servername === undefined ? rest : { ...rest, servername };
  };
  if (proxy === null) return (options, done) => connect(named(options), done);
  return (options, done) => openTunnel(proxy, authorityOf(url), timeout, (error, socket) => (socket === null ? done(error as Error, null) : connect({ ...named(options), httpSocket: socket }, done)));
}

/** Node's agents for a peer: one for requests, and one for upgrades, whose connections are never used again. */
export interface PeerAgents {
  readonly requests: Agent;
  readonly upgrades: Agent;
}

/** Makes the agents of a peer. @param timeout milliseconds for connecting, and of silence. */
export function agentsOf(peer: Peer, timeout: number): PeerAgents {
  return { requests: agent(peer, { keepAlive: true, maxFreeSockets: 256, timeout }, false), upgrades: agent(peer, { keepAlive: false, timeout }, true) };
}

type Connected = (error: Error | null, socket?: Socket) => void;

/** @param tunnels whether plain HTTP goes through a tunnel too: a proxy that forwards requests does not forward upgrades. */
function agent({ url, tls, proxy, forwarded }: Peer, options: AgentOptions, tunnels: boolean): Agent {
  const made = withWholeHeads(tls === null ? new Agent(options) : new SecureAgent({ ...options, ...tls.options }));
  if (proxy === null) return made;
  const connect = forwarded !== null && !tunnels
    ? (_options: ConnectionOptions, done: Connected) => done(null, connectToProxy(proxy))
    : (given: ConnectionOptions, done: Connected) => openTunnel(proxy, authorityOf(url), options.timeout as number, (error, socket) => {
      if (socket === null) return done(error);
      done(null, tls === null ? socket : connectTls({ ...given, ...tls.options, host: unbracketed(url.hostname), socket }));
    });
  return Object.assign(made, { createConnection: connect });
}

/** Node drops the fields of an answer behind the first thousand. Its head is bounded in bytes anyway. */
function withWholeHeads<Made extends Agent>(made: Made): Made {
  const { addRequest } = made as unknown as Asked;
  const whole: Asked = {
    addRequest(request, options) {
      request.maxHeadersCount = 0;
      addRequest.call(made, request, options);
    },
  };
  return Object.assign(made, whole);
}

/** What Node calls of an agent; its types leave it out. */
interface Asked {
  addRequest(request: ClientRequest, options: object): void;
}

function connectToProxy({ url }: ProxyHop): Socket {
  const [host, port] = [unbracketed(url.hostname), portOf(url)];
  if (url.protocol === 'http:') return connectTcp({ host, port });
  return connectTls({ host, port, servername: isIP(host) === 0 ? host : '' });
}

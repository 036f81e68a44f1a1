import { readFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Config } from '../../types/config.d.ts';
import { ConfigError, expectation } from '../errors.ts';
import { type Follower, internalsOf, type Gate, type Prepared } from '../gateway.ts';
import { codeOf } from '../platform/platform.ts';
import { AddressSet } from '../identity/identity.ts';
import { listening } from './listening.ts';
import { ServedCertificates } from './tls.ts';
import type { Core } from '../request/request.ts';

const loopback = new AddressSet(['loopback']);
const maxConnections = 256;
/** Time for the headers and body of a request, milliseconds. */
const patience = 30_000;

/** The listener of a gate's admin API. */
interface Opened {
  /** Its address as configured. */
  readonly at: string;
  readonly server: Server;
  readonly url: string;
}

/** What is known of the address of a gate's admin API. */
interface Place {
  /** The gate's own port, for the address beside it; null where the gate does not listen by itself. */
  port: number | null;
  opened: Promise<Opened | null>;
}

const places = new WeakMap<Gate, Place>();

/**
 * Opens the admin API at `admin.listen`, once. The gate's own port then answers admin paths only to callers on this machine.
 * `gate.close()` closes it. When the configuration changes, the new address is opened before the old one is closed.
 * @returns the API's URL, or null when no address or no token is configured.
 * @throws ConfigError when the address cannot be listened on.
 */
export async function openConfigured(gate: Gate): Promise<string | null> {
  let place = places.get(gate);
  if (place === undefined) {
    place = { port: null, opened: first(gate, null) };
    places.set(gate, place);
    internalsOf(gate).followers.add((next) => moved(gate, place as Place, next));
  }
  return (await place.opened)?.url ?? null;
}

/**
 * Opens the admin API on this machine at the port after the gate's, unless `admin.listen` says otherwise.
 * @returns the API's URL. Null without a token, with an `admin.listen`, or when the port cannot be opened, which is logged.
 */
export async function openBeside(gate: Gate, gatePort: number): Promise<string | null> {
  await openConfigured(gate);
  const place = places.get(gate) as Place;
  place.port = gatePort;
  if (gate.config.admin.listen !== null) return null;
  place.opened = first(gate, gatePort);
  return (await place.opened)?.url ?? null;
}

/** Opens the address that the gate starts with. @param port the gate's own. */
function first(gate: Gate, port: number | null): Promise<Opened | null> {
  const address = addressFor(gate.config, port);
  // SECURITY: called before the address is opened: where the API has an address of its own it must not be public, even if that fails.
  if (address !== null) internalsOf(gate).admin.alone(address.host);
  return opened(gate, gate.config, port);
}

/** Opens the address of another configuration, which takes the place of the one before. @throws ConfigError when it cannot be opened. */
async function moved(gate: Gate, place: Place, next: Config): Promise<Prepared> {
  const before = await place.opened.catch(() => null);
  const address = addressFor(next, place.port);
  if (before !== null && address?.at === before.at) return { enter: () => undefined };
  const after = await opened(gate, next, place.port);
  const close = (one: Opened | null): void => {
    one?.server.close();
    one?.server.closeIdleConnections();
  };
  return {
    enter: () => {
      place.opened = Promise.resolve(after);
      // SECURITY: the API of the new configuration learns that it has an address of its own before a request comes.
      if (address !== null) internalsOf(gate).admin.alone(address.host);
      close(before);
    },
    leave: () => close(after),
  };
}

/** @param port the gate's own. */
async function opened(gate: Gate, config: Config, port: number | null): Promise<Opened | null> {
  const { log } = internalsOf(gate).core;
  const address = addressFor(config, port);
  if (address === null) return null;
  try {
    return { at: address.at, ...(await open(gate, config, address)) };
  } catch (error) {
    const code = codeOf(error);
    const { listen, path } = config.admin;
    if (typeof listen === 'string') throw new ConfigError([{ path: 'admin.listen', message: expectation('an address of this machine with a free port', `${listen} (${code})`, '127.0.0.1:8001') }]);
    log.warn({ address: address.at, code, effect: `${path}/api is on the gateway's own port, for callers on this machine alone`, fix: 'set admin.listen' }, 'admin.not_listening');
    return null;
  }
}

async function open(gate: Gate, config: Config, address: Address): Promise<{ server: Server; url: string }> {
  const { core, servers, admin, followers } = internalsOf(gate);
  const handle: RequestListener = (req, res) => (admin.alone(address.host) as RequestListener)(req, res);
  const { server, served } = serverFor(core, config, address.host, handle);
  const follow: Follower = ({ server: { tls } }) => (served !== null && tls !== null ? served.prepare(tls) : { enter: () => undefined });
  if (address.port > 65_535) throw Object.assign(new Error('no such port'), { code: 'ERANGE' });
  await listening(server, core, { port: address.port, host: address.host });
  servers.add(server);
  followers.add(follow);
  server.once('close', () => servers.delete(server));
  server.once('close', () => followers.delete(follow));
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return { server, url: `${served === null ? 'http' : 'https'}://${host}:${port}${config.admin.path}/api` };
}

interface Address {
  /** As configured. */
  readonly at: string;
  readonly host: string;
  readonly port: number;
}

/** Where a configuration wants the admin API; null where it has no address of its own. */
function addressFor({ admin: { token, listen, auth } }: Config, gatePort: number | null): Address | null {
  if ((token === null && auth !== 'newapi') || listen === false) return null;
  if (listen !== null) return addressOf(listen);
  // NewAPI's login is that of a browser at the gate's own address.
  return gatePort === null || auth === 'newapi' ? null : { at: `127.0.0.1:${gatePort + 1}`, host: '127.0.0.1', port: gatePort + 1 };
}

function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { at: text, host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** TLS where there is a certificate, so that the token does not cross a network in clear; for loopback addresses only where clients need a certificate. */
function serverFor(core: Core, config: Config, host: string, handle: RequestListener): { server: Server; served: ServedCertificates | null } {
  const { server: { tls, maxHeaderBytes, readTimeout }, admin: { clientCaPath } } = config;
  const options = { maxHeaderSize: Math.min(maxHeaderBytes, 65_536), headersTimeout: Math.min(readTimeout, patience), requestTimeout: patience };
  const isHere = host === 'localhost' || loopback.has(host);
  const served = tls !== null && (clientCaPath !== null || !isHere) ? new ServedCertificates(core, tls, clientCaPath === null ? null : readFileSync(clientCaPath)) : null;
  const server = served === null ? createHttp(options, handle) : createHttps({ ...options, ...served.options }, handle);
  served?.follow(server);
  server.maxConnections = maxConnections;
  // The token is checked before the body is asked for.
  server.on('checkContinue', handle);
  return { server, served };
}

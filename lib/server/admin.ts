import { readFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { internalsOf, type Gate } from '../gateway.ts';
import { AddressSet } from '../identity/identity.ts';
import { ServedCertificates } from './tls.ts';
import type { Core } from '../request/request.ts';

const loopback = new AddressSet(['loopback']);
const maxConnections = 256;
/** Time for the headers and body of a request, milliseconds. */
const patience = 30_000;

const configured = new WeakMap<Gate, Promise<string | null>>();

/**
 * Opens the admin API at `admin.listen`, once. The gate's own port then answers admin paths only to callers on this machine.
 * `gate.close()` closes it.
 * @returns the API's URL, or null when no address or no token is configured.
 * @throws when the address cannot be listened on.
 */
export function openConfigured(gate: Gate): Promise<string | null> {
  const { token, listen, auth } = gate.config.admin;
  if ((token === null && auth !== 'newapi') || listen === null || listen === false) return Promise.resolve(null);
  let opening = configured.get(gate);
  if (opening === undefined) {
    opening = open(gate, addressOf(listen)).catch((error: NodeJS.ErrnoException) => {
      throw new Error(`admin.listen: expected an address of this machine with a free port, got ${listen} (${error.code ?? error.message}). Example: 127.0.0.1:8001`, { cause: error });
    });
    configured.set(gate, opening);
  }
  return opening;
}

/**
 * Opens the admin API on this machine at the port after the gate's, unless `admin.listen` says otherwise.
 * @returns the API's URL. Null without a token, with an `admin.listen`, or when the port cannot be opened, which is logged.
 */
export async function openBeside(gate: Gate, gatePort: number): Promise<string | null> {
  const { core } = internalsOf(gate);
  const { token, listen, path, auth } = core.config.admin;
  // NewAPI's login is that of a browser at the gate's own address.
  if (token === null || auth === 'newapi' || listen !== null) return null;
  const address = { host: '127.0.0.1', port: gatePort + 1 };
  try {
    return await open(gate, address);
  } catch (error) {
    const { code = 'ERR' } = error as NodeJS.ErrnoException;
    core.log.warn({ address: `${address.host}:${address.port}`, code, effect: `${path}/api is on the gateway's own port, for callers on this machine alone`, fix: 'set admin.listen' }, 'admin.not_listening');
    return null;
  }
}

async function open(gate: Gate, address: Address): Promise<string> {
  const { core, servers, admin } = internalsOf(gate);
  // SECURITY: called before the address is opened: where the API has an address of its own it must not be public, even if that fails.
  const { server, scheme } = serverFor(core, address.host, admin.alone(address.host) as RequestListener);
  await listening(server, address);
  servers.add(server);
  server.once('close', () => servers.delete(server));
  const { port } = server.address() as AddressInfo;
  return `${scheme}://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}${core.config.admin.path}/api`;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** TLS where there is a certificate, so that the token does not cross a network in clear; for loopback addresses only where clients need a certificate. */
function serverFor(core: Core, host: string, handle: RequestListener): { server: Server; scheme: string } {
  const { server: { tls, maxHeaderBytes, readTimeout }, admin: { clientCaPath } } = core.config;
  const options = { maxHeaderSize: Math.min(maxHeaderBytes, 65_536), headersTimeout: Math.min(readTimeout, patience), requestTimeout: patience };
  const isHere = host === 'localhost' || loopback.has(host);
  const certificate = tls !== null && (clientCaPath !== null || !isHere) ? new ServedCertificates(core, tls, clientCaPath === null ? null : readFileSync(clientCaPath)) : null;
  const server = certificate === null ? createHttp(options, handle) : createHttps({ ...options, ...certificate.options }, handle);
  certificate?.follow(server);
  server.maxConnections = maxConnections;
  // The token is checked before the body is asked for.
  server.on('checkContinue', handle);
  return { server, scheme: certificate === null ? 'http' : 'https' };
}

function listening(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    if (port > 65_535) return reject(Object.assign(new Error('no such port'), { code: 'ERANGE' }));
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

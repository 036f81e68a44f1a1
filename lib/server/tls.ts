import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { createSecureContext, type TlsOptions } from 'node:tls';
import type { TlsConfig } from '../../types/config.d.ts';
import type { Timer } from '../../types/clock.d.ts';
import type { Core } from '../request/request.ts';

/**
 * TLS as configured. With `server_name` a client that asks for another name is refused during the handshake
 * (RFC 6066 §3); one that names none is served.
 */
export function tlsOptions(config: TlsConfig): TlsOptions {
  const pair = { cert: readFileSync(config.certPath), key: readFileSync(config.keyPath), minVersion: `TLSv${config.minVersion}` as const };
  if (config.serverName === null) return pair;
  const { serverName } = config;
  const context = createSecureContext(pair);
  return {
    ...pair,
    SNICallback: (name, done) => (name.toLowerCase() === serverName.toLowerCase() ? done(null, context) : done(new Error('unrecognized_name'))),
  };
}

const day = 86_400_000;
/** A certificate that ends within this time should be renewed, milliseconds. */
const soon = 14 * day;

/** Logs once a day that the certificate ends within two weeks, until the server closes. */
export function watchCertificate({ clock, log }: Core, { certPath }: TlsConfig, server: Server): void {
  let timer: Timer;
  const look = (): void => {
    const ends = endOf(certPath);
    if (ends !== null && ends - clock.now() < soon) log.warn({ certificate: certPath, ends: new Date(ends).toISOString() }, 'certificate.expiring');
    timer = clock.setTimeout(look, day);
    timer.unref();
  };
  look();
  server.once('close', () => clock.clearTimeout(timer));
}

/** Null for a file that is being replaced at the moment; the server itself reads it only at its start. */
function endOf(certPath: string): number | null {
  try {
    return Date.parse(new X509Certificate(readFileSync(certPath)).validTo);
  } catch {
    return null;
  }
}

import { readFileSync } from 'node:fs';
import { createSecureContext, type TlsOptions } from 'node:tls';
import type { TlsConfig } from '../../types/config.d.ts';

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

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkCertificatePair } from './peer-rules.ts';
import type { ParsedConfig } from './schema.ts';
import type { Sources } from './sources.ts';
import { type Path, writeDuration, writeSize } from '../values/values.ts';

const megabyte = 1_048_576;

type Http3 = ParsedConfig['server']['http3'];

/** What the QUIC of Caddy does, whatever it is told. */
const engineValues: readonly (readonly [key: keyof Http3, value: number, text: string])[] = [
  ['idleTimeout', 30_000, writeDuration(30_000)],
  ['maxBiStreamsConcurrent', 100, '100'],
  ['maxUniStreamsConcurrent', 100, '100'],
  ['maxStreamReceiveWindow', 6 * megabyte, writeSize(6 * megabyte)],
  ['maxConnectionReceiveWindow', 15 * megabyte, writeSize(15 * megabyte)],
];

/** Checks the section against what Caddy can do, the certificate, and the other port. */
export function checkHttp3({ server: { http3: wanted, tls, port } }: ParsedConfig, sources: Sources): void {
  if (!wanted.enabled) return;
  const at = (name: keyof Http3): Path => ['server', 'http3', name];
  for (const [name, value, shown] of engineValues) if (wanted[name] !== value) sources.refuse(at(name), { expected: `${shown}, which Caddy has fixed`, example: shown });
  const largest = Math.max(2 * megabyte, kernelDefault());
  if (wanted.udpReceiveBufferSize > largest) sources.refuse(at('udpReceiveBufferSize'), { expected: `at most ${writeSize(largest)}: Caddy asks for 2MB, or keeps net.core.rmem_default (sysctl) where that is larger`, example: '2MB' });
  if (wanted.enable0rtt) sources.refuse(at('enable0rtt'), { expected: 'false: Caddy does not tell which requests came as early data, so that a replayed one could not be refused (RFC 8470)', example: false });
  if (wanted.allow0rttReplay) sources.refuse(at('allow0rttReplay'), { expected: 'false: a chat that is replayed is charged twice', example: false });
  if (wanted.port === port) sources.refuse(at('port'), { expected: 'another port than server.port, since Caddy opens the TCP port of this number too', example: port === 443 ? 8443 : 443 });
  if ((wanted.tlsCertFile === null) !== (wanted.tlsKeyFile === null)) {
    const missing = wanted.tlsCertFile === null ? 'tlsCertFile' : 'tlsKeyFile';
    sources.refuse(at(missing), { expected: 'certificate and key together', example: missing === 'tlsCertFile' ? '/certs/server.crt' : '/certs/server.key' }, 'nothing');
  } else if (wanted.tlsCertFile === null && (tls === null || tls.certPath === null)) {
    sources.refuse(at('tlsCertFile'), { expected: 'a certificate, here or in server.tls: QUIC has none but TLS 1.3', example: '/certs/server.crt' }, 'nothing');
  } else if (wanted.tlsCertFile !== null) checkCertificatePair(['server', 'http3'], wanted.tlsCertFile, wanted.tlsKeyFile, sources, ['tlsCertFile', 'tlsKeyFile']);
  if (sources.readsFiles && !isProgram(wanted.engine)) sources.warn(at('engine'), `${wanted.engine} is not there, so that there is no HTTP/3 while TCP goes on; install Caddy, or name it. Example: /usr/bin/caddy`);
  if (!sources.standalone) sources.warn(['server', 'http3', 'enabled'], 'has no effect in an application of your own: only the standalone starts Caddy');
}

const isProgram = (name: string): boolean => (name.includes('/') ? existsSync(name) : (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(join(directory, name))));

/** Bytes of a receive buffer that no program has asked for; 0 where the kernel does not tell. */
function kernelDefault(): number {
  try {
    return Number(readFileSync('/proc/sys/net/core/rmem_default', 'latin1'));
  } catch {
    return 0;
  }
}

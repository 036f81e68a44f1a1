import { key, section } from './fields.ts';
import { duration, flag, integer, orNull, size, text } from './value-types.ts';

const path = (example: string) => orNull(text('a path', example));
const fixed = 'Caddy has it fixed, so another value is refused';

/** The section `server.http3`. */
export const http3 = section('Http3Config', 'HTTP/3 of the standalone: it starts and supervises Caddy, which speaks QUIC with TLS 1.3 and hands each request to it over a Unix socket. While Caddy is down, clients use the TCP port', {
  enabled: key(flag(), false, 'Serves HTTP/3'),
  port: key(integer(443, 1, 65_535), 443, 'UDP port. Caddy opens the TCP port of this number too, so server.port is another one'),
  tlsCertFile: key(path('/certs/server.crt'), null, 'PEM file of the certificate and its chain', 'the certificate of server.tls'),
  tlsKeyFile: key(path('/certs/server.key'), null, 'PEM file of the private key', 'the key of server.tls'),
  idleTimeout: key(duration('30s'), '30s', `Longest idle time of a connection. ${fixed}`),
  maxBiStreamsConcurrent: key(integer(100, 1), 100, `Requests at a time on a connection. ${fixed}`),
  maxUniStreamsConcurrent: key(integer(100, 1), 100, `Streams in one direction on a connection. ${fixed}`),
  maxStreamReceiveWindow: key(size('6MB'), '6MB', `Bytes of a body that a client may send ahead. ${fixed}`),
  maxConnectionReceiveWindow: key(size('15MB'), '15MB', `Bytes of all bodies of a connection that a client may send ahead. ${fixed}`),
  udpReceiveBufferSize: key(size('2MB'), '2MB', 'Receive buffer of the UDP port. Caddy asks for 2MB; a larger one takes net.core.rmem_default of that size'),
  enable0rtt: key(flag(), false, 'Requests in the first flight of a connection. Refused: Caddy does not tell which these are, so that a replayed one could not be told from the first (RFC 8470)'),
  max0rttSize: key(size('16KB', 0), '16KB', 'Largest request that a trusted peer in front may mark with Early-Data, head and body; a larger one gets 425'),
  allow0rttReplay: key(flag(), false, 'Serves replayable requests that are not safe to repeat. Refused: a chat that is replayed is charged twice'),
  engine: key(text('a path or the name of a program', '/usr/bin/caddy'), 'caddy', 'Caddy: its path, or its name on the PATH'),
});

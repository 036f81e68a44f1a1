import type { z } from 'zod';
import { key, list, listOrNull, required, section, sectionOrNull, sections } from './fields.ts';
import {
  choice,
  credential,
  date,
  duration,
  flag,
  integer,
  network,
  orFalse,
  orNull,
  secret,
  seconds,
  size,
  text,
  url,
} from './value-types.ts';
import { audit } from './audit.ts';
import { anomaly } from './anomaly.ts';
import { admin, guard, jwt, queue } from './gate.ts';
import { serverHealth } from './health.ts';
import { http3 } from './http3.ts';
import { keyLimits, rateLimit } from './limits.ts';
import { circuitBreaker, llm, modelName } from './llm.ts';
import { newapiConnection } from './peer.ts';
import { sinks } from './sinks.ts';
import { routes } from './routes.ts';
import { seriesNames } from './series.ts';

/** The optional parts of the chain. The default order is that of the chain, not of this list. */
export const PARTS = ['request_timer', 'security_headers', 'cors', 'rate_limit', 'key_limit', 'queue', 'auth', 'logging'] as const;
/** A part that is accepted anywhere in the list. It always runs last. */
export const ALWAYS_LAST = 'panic_recovery';

/** Metrics that `metrics.series` can name. */
export const SERIES = seriesNames;

/** Names of address groups in `trust_proxy`. */
export const TRUST_PRESETS = ['loopback', 'private', 'cloudflare', 'unix'] as const;

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
const METHODS = ['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE'] as const;

const file = (example: string) => text('a path', example);
const ownPath = (example: string) => text('a path that starts with / and does not end with one', example, /^(\/[^\s/?#]+)+$/);
const header = text('the name of a header', 'cf-connecting-ip', /^[\w!#$%&'*+.^`|~-]+$/, (name) => name.toLowerCase());
const origin = text('an origin or *', 'https://app.example.com', /^(\*|null|[a-z][a-z0-9+.-]*:\/\/[^\s/?#]+)$/i);
const token = (expected: string, example: string) => text(expected, example, /^(\*|[\w!#$%&'*+.^`|~-]+)$/);

const part = {
  ...choice([...PARTS, ALWAYS_LAST], 'MiddlewareName', (name) => name.replaceAll('-', '_')),
  expected: `one of ${PARTS.join(', ')}`,
  example: 'rate_limit',
  input: 'MiddlewareName | (string & {})',
  output: PARTS.map((name) => `'${name}'`).join(' | '),
  json: { enum: [...PARTS, ALWAYS_LAST].flatMap((name) => [...new Set([name, name.replaceAll('_', '-')])]) },
};

const series = {
  ...choice(SERIES, 'SeriesName', (name) => name.replace(/\{.*\}$/, '')),
  input: 'SeriesName | (string & {})',
  json: { type: 'string', pattern: `^(${SERIES.join('|')})(\\{.*\\})?$` },
};

/** What a certificate is served for. */
const handshake = {
  minVersion: key({ ...choice(['1.2', '1.3']), json: { enum: ['1.2', '1.3', 1.2, 1.3] } }, '1.2', 'Lowest accepted TLS version'),
  serverName: key(
    orNull(text('a host name', 'api.example.com', /^[^\s*]+$/, (name) => name.toLowerCase())),
    null,
    'The only host name (SNI) that gets this certificate. A handshake for a name that no certificate answers to is refused',
    'the names in the certificate; any name for the first',
  ),
};

/** Threads that serve. */
const workers = {
  ...integer(4, 1, 1024),
  expected: 'auto or a whole number from 1 to 1024',
  input: "number | 'auto'",
  output: "number | 'auto'",
  read: (value: unknown) => (value === 'auto' ? value : integer(4, 1, 1024).read(value)),
  json: { anyOf: [{ const: 'auto' }, { type: 'integer', minimum: 1, maximum: 1024 }] },
};

const server = section('ServerConfig', 'Listener, timeouts and bounds of the standalone server', {
  host: key(text('an address or host name', '127.0.0.1'), '0.0.0.0', 'Address or host name to listen on, or the absolute path of a Unix socket, which has no port'),
  port: key(integer(8000, 0, 65535), 8000, 'Port to listen on. 0 takes a free port'),
  tls: sectionOrNull('TlsConfig', 'TLS of the server. Without a certificate and a key the server uses HTTP. A list in place of the section gives several certificates; a client that names no host gets the first', {
    certPath: key(
      { ...orNull(file('/certs/server.crt')), output: 'string' },
      null,
      'PEM file of the certificate and its chain',
    ),
    keyPath: key({ ...orNull(file('/certs/server.key')), output: 'string' }, null, 'PEM file of the private key'),
    ...handshake,
    others: sections('OtherTlsConfig', 'A further certificate', 'Further certificates: the rest of a list in place of the section', {
      certPath: required(file('/certs/other.crt'), 'PEM file of the certificate and its chain'),
      keyPath: required(file('/certs/other.key'), 'PEM file of the private key'),
      ...handshake,
    }),
  }),
  http2: key(flag(), true, 'Offers HTTP/2 to the clients of server.tls, beside HTTP/1.1. Without TLS it has no effect'),
  http3,
  workers: key(workers, 1, 'Number of threads that serve requests, each with a listener of its own at the same address; auto: one for each core. Limits, budgets, the queue, keys, bans and max_inflight_bytes count over all of them; the part of max_inflight_bytes that one caller may have holds for each'),
  proxyProtocol: key(
    flag(),
    false,
    'Expects the PROXY protocol, version 1 or 2, at the beginning of every connection of a peer in trust_proxy, before TLS, and takes the client that it names for the peer. Such a connection without it is closed. Connections of other peers are taken as they are',
  ),
  watch: key(flag(), false, 'Reads the configuration file again when it changes, and puts it in force. A file that cannot be used changes nothing'),
  readTimeout: key(duration(), '30s', 'Longest time to receive the headers of a request. A body may take longer while data keeps arriving'),
  writeTimeout: key(duration('45s'), '45s', 'Longest stall of a write. Does not limit the length of a stream'),
  idleTimeout: key(duration('72s'), '72s', 'Longest idle time of a connection between two requests'),
  maxHeaderBytes: key(size('1MB', 1024), '1MB', 'Largest size of the headers of a request'),
  bufferBodyBytes: key(
    { ...orNull(size('32MB', 1024)), output: 'number' },
    null,
    'Largest body that is buffered for failover. A larger body streams to the first target without failover. At most max_body_bytes',
    '32MB',
  ),
  maxBodyBytes: key(size('128MB', 1024), '128MB', 'Largest accepted body'),
  maxInflightBytes: key(size('512MB', 1024), '512MB', 'Highest total size of buffered bodies. A key or an address may hold an eighth of it'),
  maxConnections: key(orNull(integer(10_000, 1)), null, 'Highest number of open connections, over all workers'),
  healthCheck: serverHealth,
  shutdownTimeout: key(duration(), '30s', 'Time for running requests to finish when the server stops'),
});

const sha256 = {
  ...text('the SHA-256 of the key in 64 hex digits', 'the output of: printf %s "$KEY" | sha256sum', /^[0-9a-fA-F]{64}$/, (hex) =>
    hex.toLowerCase(),
  ),
  unit: 'secret' as const,
};

const gatewayKey = {
  name: required(text('a name that does not begin with jwt: or user:', 'team-a', /^(?!jwt:|user:)/), 'Unique name of the key in records and metrics'),
  sha256: required(sha256, 'SHA-256 in hex of the key exactly as clients send it, including sk-'),
  expires: key(orNull(date('2027-01-31')), null, 'Time at which the key expires. A date without a time means 00:00 UTC'),
  disabled: key(flag(), false, 'Refuses the key and keeps its entry'),
  models: list(modelName, [], 'Models that the key may use. Empty allows all'),
  cidrs: list(network('10.0.0.0/8'), [], 'Client addresses that may use the key. Empty allows all'),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token that replaces the key on routes that only NewAPI answers'),
  ...keyLimits,
};

const auth = section('AuthConfig', 'Authentication of callers', {
  mode: key(
    {
      ...orNull(choice(['passthrough', 'keys', 'jwt'])),
      output: "'passthrough' | 'keys' | 'jwt'",
    },
    null,
    'passthrough lets NewAPI check its own tokens. keys accepts the keys of this list and of `heimdall keys`. jwt accepts these keys and the tokens of an issuer',
    "passthrough when llm uses the caller's token, else keys",
  ),
  verifiedTtl: key(duration('1h'), '1h', 'Time for which a token that NewAPI accepted counts as verified'),
  keys: sections('GatewayKey', 'A gateway key', 'Gateway keys', gatewayKey),
  jwt,
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token sent for users that `identify` of an embedding program names and gives no token of their own'),
});

const cors = sectionOrNull('CorsConfig', "CORS answers of the gateway. Without this section, NewAPI's CORS headers pass unchanged", {
  allowOrigins: list(origin, [], 'Origins that may call from a browser. * allows all'),
  allowMethods: list(token('an HTTP method', 'POST'), METHODS, 'Allowed methods'),
  allowHeaders: listOrNull(
    token('the name of a header', 'authorization'),
    'Allowed request headers',
    'those that the preflight requests',
  ),
  exposeHeaders: list(token('the name of a header', 'x-request-id'), [], 'Response headers that a page may read'),
  credentials: key(flag(), false, 'Allows cookies. Not allowed together with the origin *'),
  maxAge: key(orNull(seconds('600s')), null, 'Time for which browsers may cache a preflight answer, in seconds'),
});

const logging = section('LoggingConfig', 'Event log and access log', {
  level: key(choice(LEVELS), 'info', 'Lowest level of logged events'),
  console: key(
    { ...orNull(flag()) },
    null,
    'Writes the access log and the event log to standard output. Without it the event log goes to standard error',
    'true in the standalone, else false',
  ),
  format: key(choice(['json', 'combined']), 'json', 'Format of the access log'),
  file: key(orNull(orFalse(file('heimdall.log'))), null, 'File of the access log, in addition to the console. false writes no file', 'heimdall.log in the standalone, else false'),
  maxSize: key(size('100MB', 1024), '100MB', 'Size at which the file is rotated'),
  maxFiles: key(integer(7, 1), 7, 'Number of rotated files to keep. heimdall.1.log is the latest'),
  queryAllow: list(
    text('the name of a query parameter', 'page'),
    [],
    'Query parameters that are logged with their values. Other parameters are logged by name only',
  ),
});

const metrics = section('MetricsConfig', 'Prometheus metrics. A list of names in place of the section sets series', {
  enabled: key(flag(), true, 'Collects metrics'),
  prefix: key(
    text('a prefix of letters, digits, _ and :', 'heimdall_', /^[a-zA-Z_:][\w:]*$/),
    'heimdall_',
    'Prefix of every metric name, except those of OpenTelemetry',
  ),
  token: key(orNull(credential()), null, 'Bearer token of the metrics endpoint. Without a token the endpoint does not exist'),
  series: listOrNull(series, 'Metrics to expose', 'all'),
});

/**
 * The schema of the configuration: every key that takes effect, with its type, default, bounds and description.
 * `llm.ts` holds the sections about targets, `rules.ts` the checks over several keys.
 */
export const schema = section('Config', 'Configuration of the gateway', {
  mode: key(choice(['enforce', 'observe']), 'enforce', 'enforce applies every decision. observe decides and records, but refuses no request by a rule'),
  newapi: section('NewapiConfig', 'The NewAPI behind the gateway', {
    baseUrl: key(url('http://localhost:3000'), 'http://localhost:3000', 'Base URL of NewAPI'),
    timeout: key(duration('300s'), '300s', 'Longest silence of NewAPI'),
    accessToken: key(orNull(credential()), null, "Access token of an administrator of NewAPI, by which the gateway learns users' and tokens' names and charges. Needs user_id"),
    userId: key(orNull(integer(1, 1)), null, 'Id of the user that access_token belongs to'),
    ...newapiConnection,
  }),
  secret: key(
    orNull(secret(16)),
    null,
    'Install secret, the key of the hashes of tokens and cookies',
    'generated in the directory of audit.path',
  ),
  previousSecrets: list(secret(16), [], 'Earlier install secrets. Hashes made with them are still found'),
  middleware: listOrNull(part, 'Optional parts of the chain, in order', 'all, in the order of the chain'),
  endpoints: section('EndpointsConfig', 'Paths that the gateway answers itself', {
    health: key(orFalse(ownPath('/health')), '/health', 'Path of the health checks. false turns them off'),
    metrics: key(orFalse(ownPath('/metrics')), '/metrics', 'Path of the Prometheus metrics. false turns it off'),
    log: key(orFalse(ownPath('/api/log')), '/api/log', 'Path of the record ingestion. false turns it off'),
  }),
  proxy: key(
    { ...orNull(choice(['environment', 'off'])) },
    null,
    'Proxy for connections to upstreams: environment uses HTTP_PROXY, HTTPS_PROXY and NO_PROXY, off connects directly',
    'environment in the standalone, else off',
  ),
  server,
  trustProxy: list(network('10.0.0.0/8', TRUST_PRESETS), ['loopback'], 'Peers whose forwarding headers are trusted for the client address. unix is the peer of every connection over a Unix socket'),
  clientIpHeader: key(orNull(header), null, 'Header with the client address from a trusted peer. Takes precedence over X-Forwarded-For'),
  ja4Header: key(orNull(header), null, "Header with the client's JA4 fingerprint from a trusted peer"),
  guard,
  llm,
  circuitBreaker,
  queue,
  auth,
  cors,
  rateLimit,
  logging,
  audit: section('AuditConfig', 'Journal of requests, its sinks, ingestion and alerts', {
    ...audit,
    ...sinks,
  }),
  metrics,
  routes: routes(part),
  anomaly,
  admin,
});

/** A tree that the schema accepted, before `derive` computes the values that depend on several keys. */
export type ParsedConfig = z.output<typeof schema>;

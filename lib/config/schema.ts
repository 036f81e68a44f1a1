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
import { admin, guard, jwt, queue } from './gate.ts';
import { serverHealth } from './health.ts';
import { keyLimits, rateLimit } from './limits.ts';
import { circuitBreaker, llm, modelName } from './llm.ts';
import { sinks } from './sinks.ts';
import { routes } from './routes.ts';
import { seriesNames } from './series.ts';

/** The optional parts of the chain. Without a list they run in the order of the chain, which is not this one. */
export const PARTS = ['request_timer', 'security_headers', 'cors', 'rate_limit', 'key_limit', 'queue', 'auth', 'logging'] as const;
/** Accepted anywhere in a list: it always runs, as the last. */
export const ALWAYS_LAST = 'panic_recovery';

/** Series `metrics` can switch on by name. */
export const SERIES = seriesNames;

/** Names for groups of addresses in `trust_proxy`. */
export const TRUST_PRESETS = ['loopback', 'private', 'cloudflare'] as const;

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
const METHODS = ['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE'] as const;

const file = (example: string) => text('a path', example);
const ownPath = (example: string) => text('a path that starts with / and does not end with one', example, /^(\/[^\s/?#]+)+$/);
const header = text('the name of a header', 'cf-connecting-ip', /^[\w!#$%&'*+.^`|~-]+$/, (name) => name.toLowerCase());
const origin = text('an origin or *', 'https://app.example.com', /^(\*|null|[a-z][a-z0-9+.-]*:\/\/[^\s/?#]+)$/i);
const token = (what: string, example: string) => text(what, example, /^(\*|[\w!#$%&'*+.^`|~-]+)$/);

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

const server = section('ServerConfig', 'The listener of the standalone server, its timeouts and its bounds', {
  host: key(text('an address or host name', '127.0.0.1'), '0.0.0.0', 'Address to listen on'),
  port: key(integer(8000, 0, 65535), 8000, 'Port to listen on; 0 takes any free one'),
  tls: sectionOrNull('TlsConfig', 'Certificate to serve HTTPS with; without both paths the server speaks HTTP', {
    certPath: key(
      { ...orNull(file('/certs/server.crt')), output: 'string' },
      null,
      'PEM file with the certificate and its chain',
    ),
    keyPath: key({ ...orNull(file('/certs/server.key')), output: 'string' }, null, 'PEM file with the private key'),
    minVersion: key(
      { ...choice(['1.2', '1.3']), json: { enum: ['1.2', '1.3', 1.2, 1.3] } },
      '1.2',
      'Oldest TLS version accepted',
    ),
    serverName: key(
      orNull(text('a host name', 'api.example.com')),
      null,
      'Only host name served; handshakes for others are refused',
    ),
  }),
  readTimeout: key(duration(), '30s', "How long a request's headers may take; a body may take longer while it keeps coming"),
  writeTimeout: key(duration('45s'), '45s', 'Longest stall of a write; a stream that moves may last any time'),
  idleTimeout: key(duration('72s'), '72s', 'How long a connection may idle between two requests'),
  maxHeaderBytes: key(size('1MB', 1024), '1MB', 'Largest head of a request'),
  bufferBodyBytes: key(
    { ...orNull(size('32MB', 1024)), output: 'number' },
    null,
    'Largest body kept for failover; a larger one streams to the first target; never above max_body_bytes',
    '32MB',
  ),
  maxBodyBytes: key(size('128MB', 1024), '128MB', 'Largest body accepted'),
  maxInflightBytes: key(size('512MB', 1024), '512MB', 'Bodies in hand at a time; a key or an address may hold an eighth of it'),
  maxConnections: key(orNull(integer(10_000, 1)), null, 'Most connections open at a time'),
  healthCheck: serverHealth,
  shutdownTimeout: key(duration(), '30s', 'How long requests may take to finish when the server stops'),
});

const sha256 = {
  ...text('the SHA-256 of the key in 64 hex digits', 'the output of: printf %s "$KEY" | sha256sum', /^[0-9a-fA-F]{64}$/, (hex) =>
    hex.toLowerCase(),
  ),
  unit: 'secret' as const,
};

const gatewayKey = {
  name: required(text('a name that does not begin with jwt:', 'team-a', /^(?!jwt:)/), 'Unique name of the key in records and metrics'),
  sha256: required(sha256, 'Hex SHA-256 of the key exactly as clients send it, sk- included'),
  expires: key(orNull(date('2027-01-31')), null, 'When the key ends; a bare date at its first moment in UTC'),
  disabled: key(flag(), false, 'Refuses the key without forgetting it'),
  models: list(modelName, [], 'Models the key may use; empty means all'),
  cidrs: list(network('10.0.0.0/8'), [], 'Addresses the key may come from; empty means all'),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token sent in place of the key to routes only NewAPI answers'),
  ...keyLimits,
};

const auth = section('AuthConfig', 'Who may call', {
  mode: key(
    {
      ...orNull(choice(['passthrough', 'keys', 'jwt'])),
      output: "'passthrough' | 'keys' | 'jwt'",
    },
    null,
    'passthrough lets NewAPI judge its own tokens; keys accepts the keys listed here and those made by `heimdall keys`; jwt accepts those and the tokens of an issuer',
    "passthrough while llm uses the caller's token, else keys",
  ),
  verifiedTtl: key(duration('1h'), '1h', 'How long a token NewAPI accepted counts as verified'),
  keys: sections('GatewayKey', 'A key the gateway accepts', 'Keys the gateway accepts', gatewayKey),
  jwt,
});

const cors = sectionOrNull('CorsConfig', "The gateway's own CORS answers; left out, those of NewAPI pass", {
  allowOrigins: list(origin, [], 'Origins that may call from a browser; * means any'),
  allowMethods: list(token('an HTTP method', 'POST'), METHODS, 'Methods they may use'),
  allowHeaders: listOrNull(
    token('the name of a header', 'authorization'),
    'Request headers they may send',
    'those the preflight asks for',
  ),
  exposeHeaders: list(token('the name of a header', 'x-request-id'), [], 'Answer headers they may read'),
  credentials: key(flag(), false, 'Lets them send cookies; not together with the origin *'),
  maxAge: key(orNull(seconds('600s')), null, "How long browsers may keep a preflight's answer, in seconds"),
});

const logging = section('LoggingConfig', 'The event log and the access log', {
  level: key(choice(LEVELS), 'info', 'Least severe event that is logged'),
  format: key(choice(['json', 'combined']), 'json', 'Form of an access line'),
  file: key(orFalse(file('heimdall.log')), 'heimdall.log', 'File of the access log, beside the console; false for none'),
  maxSize: key(size('100MB', 1024), '100MB', 'Size at which the file is rotated'),
  maxFiles: key(integer(7, 1), 7, 'Rotated files kept: heimdall.1.log is the latest'),
  queryAllow: list(
    text('the name of a query parameter', 'page'),
    [],
    'Query parameters whose values may be logged; of others only the name is',
  ),
});

const metrics = section('MetricsConfig', 'Prometheus metrics; a list of names switches those on', {
  enabled: key(flag(), true, 'Whether anything is measured'),
  prefix: key(
    text('a prefix of letters, digits, _ and :', 'heimdall_', /^[a-zA-Z_:][\w:]*$/),
    'heimdall_',
    'What every name begins with',
  ),
  token: key(orNull(credential()), null, 'Bearer token that may read the metrics; without one their path does not exist'),
  series: listOrNull(series, 'Series that are exposed', 'all'),
});

/**
 * The configuration: every key that takes effect, with its kind, default, bounds and description.
 * `llm.ts` has what is about targets, `later.ts` the known keys of later releases. What one key alone cannot say is in `rules.ts`.
 */
export const schema = section('Config', 'Configuration of the gateway', {
  mode: key(choice(['enforce', 'observe']), 'enforce', 'observe decides and records everything but refuses nothing'),
  newapi: section('NewapiConfig', 'The NewAPI behind the gate', {
    baseUrl: key(url('http://localhost:3000'), 'http://localhost:3000', 'Where NewAPI answers'),
    timeout: key(duration('300s'), '300s', 'How long NewAPI may be silent'),
  }),
  secret: key(
    orNull(secret(16)),
    null,
    'Install secret of the keyed hashes that stand for tokens and cookies',
    'generated beside audit.path',
  ),
  previousSecrets: list(secret(16), [], 'Install secrets of before, under which hashes made then are still known'),
  middleware: listOrNull(part, 'Optional parts of the chain, in order', "all, in the chain's order"),
  endpoints: section('EndpointsConfig', 'Paths the gateway answers itself', {
    health: key(orFalse(ownPath('/health')), '/health', 'Path of the health checks; false for none'),
    metrics: key(orFalse(ownPath('/metrics')), '/metrics', 'Path of the Prometheus metrics; false for none'),
    log: key(orFalse(ownPath('/api/log')), '/api/log', 'Path at which records are handed in; false for none'),
  }),
  server,
  trustProxy: list(network('10.0.0.0/8', TRUST_PRESETS), ['loopback'], "Peers whose forwarded headers tell the client's address"),
  clientIpHeader: key(orNull(header), null, 'Header in which a trusted peer names the client, looked at before X-Forwarded-For'),
  ja4Header: key(orNull(header), null, "Header in which a trusted peer names the client's JA4 fingerprint"),
  guard,
  llm,
  circuitBreaker,
  queue,
  auth,
  cors,
  rateLimit,
  logging,
  audit: section('AuditConfig', 'The journal of requests', {
    ...audit,
    ...sinks,
  }),
  metrics,
  routes: routes(part),
  admin,
});

/** A tree the schema accepted, before `complete` works out what depends on several keys. */
export type Draft = z.output<typeof schema>;

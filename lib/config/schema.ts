import type { z } from 'zod';
import { key, list, listOrNull, required, section, sectionOrNull, sections } from './fields.ts';
import {
  choice,
  credential,
  date,
  duration,
  flag,
  integer,
  isNetwork,
  network,
  orFalse,
  orNull,
  secret,
  seconds,
  size,
  text,
  url,
} from './kinds.ts';
import { circuitBreaker, llm, modelName } from './llm.ts';

/** The optional parts of the chain. Without a list they run in the order of the chain, which is not this one. */
export const PARTS = ['request_timer', 'security_headers', 'cors', 'rate_limit', 'auth', 'logging'] as const;
/** Optional parts a list may name already; they take effect in a later release. */
export const LATER_PARTS = ['key_limit', 'queue'] as const;
/** Accepted anywhere in a list: it always runs, as the last. */
export const ALWAYS_LAST = 'panic_recovery';

/** Series `metrics` can switch on by name. */
export const SERIES = [
  'request_duration_seconds',
  'request_size_bytes',
  'response_size_bytes',
  'active_requests',
  'error_total',
  'overhead_seconds',
  'circuit_breaker_state',
  'upstream_attempts_total',
  'upstream_failures_total',
  'tokens_total',
  'cost_usd_total',
] as const;

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
  ...choice([...PARTS, ...LATER_PARTS, ALWAYS_LAST], 'MiddlewareName', (name) => name.replaceAll('-', '_')),
  expected: `one of ${PARTS.join(', ')}`,
  example: 'rate_limit',
  input: 'MiddlewareName | (string & {})',
  output: PARTS.map((name) => `'${name}'`).join(' | '),
  json: { enum: [...PARTS, ...LATER_PARTS, ALWAYS_LAST].flatMap((name) => [...new Set([name, name.replaceAll('_', '-')])]) },
};

const series = {
  ...choice(SERIES, 'SeriesName', (name) => name.replace(/\{.*\}$/, '')),
  input: 'SeriesName | (string & {})',
  json: { type: 'string', pattern: `^(${SERIES.join('|')})(\\{.*\\})?$` },
};

/** A network where it looks like one; anything else is a key's name and stays as it is. */
const exemption = {
  ...text('an IP address, a CIDR or the name of a key', '10.0.0.0/8'),
  read: (value: unknown) => (typeof value === 'string' && (isNetwork(value) || /^[^/:]+$/.test(value)) ? value : undefined),
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
  maxConnections: key(orNull(integer(10_000, 1)), null, 'Most connections open at a time'),
  shutdownTimeout: key(duration(), '30s', 'How long requests may take to finish when the server stops'),
});

const sha256 = {
  ...text('the SHA-256 of the key in 64 hex digits', 'the output of: printf %s "$KEY" | sha256sum', /^[0-9a-fA-F]{64}$/, (hex) =>
    hex.toLowerCase(),
  ),
  unit: 'secret' as const,
};

const gatewayKey = {
  name: required(text('a name', 'team-a'), 'Unique name of the key in records and metrics'),
  sha256: required(sha256, 'Hex SHA-256 of the key exactly as clients send it, sk- included'),
  expires: key(orNull(date('2027-01-31')), null, 'When the key ends; a bare date at its first moment in UTC'),
  disabled: key(flag(), false, 'Refuses the key without forgetting it'),
  models: list(modelName, [], 'Models the key may use; empty means all'),
  cidrs: list(network('10.0.0.0/8'), [], 'Addresses the key may come from; empty means all'),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token sent in place of the key to routes only NewAPI answers'),
};

const auth = section('AuthConfig', 'Who may call', {
  mode: key(
    {
      ...orNull(choice(['passthrough', 'keys'])),
      expectedOf: (value) =>
        value === 'jwt' ? 'passthrough or keys (jwt takes effect in a later release)' : 'passthrough or keys',
      output: "'passthrough' | 'keys'",
    },
    null,
    'passthrough lets NewAPI judge its own tokens; keys accepts the keys listed here',
    "passthrough while llm uses the caller's token, else keys",
  ),
  verifiedTtl: key(duration('1h'), '1h', 'How long a token NewAPI accepted counts as verified'),
  keys: sections('GatewayKey', 'A key the gateway accepts', 'Keys the gateway accepts', gatewayKey),
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

const rateLimit = section('RateLimitConfig', 'Limits that need no key', {
  address: section('AddressLimit', 'Limit per client address, IPv6 by its /56', {
    limit: key(integer(60, 0), 60, 'Requests a window; 0 switches the limit off'),
    window: key(duration('60s'), '60s', 'Length of the window'),
    count: key(
      choice(['failed', 'all']),
      'failed',
      'failed counts refused credentials alone, all counts every request but UI, assets, webhooks and polling',
    ),
  }),
  exempt: list(exemption, [], 'Addresses, CIDRs and names of keys that are not limited'),
});

const logging = section('LoggingConfig', 'The event log and the access log', {
  level: key(choice(LEVELS), 'info', 'Least severe event that is logged'),
  format: key(choice(['json', 'combined']), 'json', 'Form of an access line'),
  file: key(orFalse(file('heimdall.log')), 'heimdall.log', 'File of the access log, beside the console; false for none'),
  maxSize: key(size('100MB', 1024), '100MB', 'Size at which the file is rotated'),
  maxFiles: key(integer(7, 1), 7, 'Rotated files kept'),
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
  middleware: listOrNull(part, 'Optional parts of the chain, in order', "all, in the chain's order"),
  endpoints: section('EndpointsConfig', 'Paths the gateway answers itself', {
    health: key(orFalse(ownPath('/health')), '/health', 'Path of the health checks; false for none'),
    metrics: key(orFalse(ownPath('/metrics')), '/metrics', 'Path of the Prometheus metrics; false for none'),
  }),
  server,
  trustProxy: list(network('10.0.0.0/8', TRUST_PRESETS), ['loopback'], "Peers whose forwarded headers tell the client's address"),
  clientIpHeader: key(orNull(header), null, 'Header in which a trusted peer names the client, looked at before X-Forwarded-For'),
  llm,
  circuitBreaker,
  auth,
  cors,
  rateLimit,
  logging,
  audit: section('AuditConfig', 'The journal of requests', {
    path: key(file('data/heimdall.db'), 'data/heimdall.db', 'Database file; the generated install secret lies beside it'),
  }),
  metrics,
});

/** A tree the schema accepted, before `complete` works out what depends on several keys. */
export type Draft = z.output<typeof schema>;

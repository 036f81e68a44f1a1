import { key, list, section, sectionOrNull } from './fields.ts';
import { choice, credential, duration, flag, integer, network, orFalse, orNull, secret, text } from './value-types.ts';

const file = (example: string) => text('a path', example);

/** Who may connect at all. */
export const guard = section('GuardConfig', 'Who may connect at all', {
  allow: list(network('10.0.0.0/8'), [], 'Addresses that may call; empty means all'),
  deny: list(network('203.0.113.0/24'), [], 'Addresses that may not; stronger than allow'),
  connectionsPerAddress: key(orNull(integer(200, 1)), null, 'Connections an address may hold open; a trusted proxy is not counted'),
  maxRequestsPerSocket: key(orNull(integer(1000, 1)), null, 'Requests after which a connection is closed'),
});

/** How many model requests run at a time, and how long others wait for their turn. */
export const queue = section('QueueConfig', 'How many model requests run at a time, and who waits for a turn', {
  enabled: key(flag(), true, 'Whether the number of model requests at a time is bounded'),
  concurrency: key(integer(1000, 1), 1000, 'Model requests at a time; can be changed while the gateway runs'),
  initialSize: key(integer(1000, 0), 1000, 'Places to wait for a turn; 0 refuses whatever cannot run at once'),
  maxWait: key(duration(), '30s', 'Longest wait for a turn'),
  statePath: key(
    orNull(file('/var/lib/heimdall/queue.json')),
    null,
    'File, or directory, that keeps what a restart should know; none keeps nothing',
  ),
  saveInterval: key(duration('30s', 100), '30s', 'Time between two saves'),
  websockets: key(integer(1000, 1), 1000, 'WebSockets open at a time, counted apart'),
});

/** Verifies the callers' tokens of another issuer. */
export const jwt = sectionOrNull('JwtConfig', 'Tokens of an identity provider, for mode jwt', {
  issuer: key(orNull(text('an issuer', 'https://login.example.com/')), null, 'Issuer (iss) every token must name'),
  audience: key(orNull(text('an audience', 'heimdall')), null, 'Audience (aud) every token must name'),
  jwksUri: key(
    orNull(text('an https URL, or http on loopback', 'https://login.example.com/.well-known/jwks.json', /^https:\/\/\S+$|^http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/]\S*$/)),
    null,
    "Where the issuer's keys are",
  ),
  algorithms: list(
    choice(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']),
    ['RS256', 'PS256', 'ES256', 'EdDSA'],
    'Signature algorithms accepted',
  ),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token sent for such callers to routes only NewAPI answers; without one those routes are closed to them'),
});

/** The dashboard's and API's own door. */
export const admin = section('AdminConfig', 'The admin API', {
  token: key(orNull(secret(32)), null, 'Bearer token of the admin API; also HEIMDALL_ADMIN_TOKEN; without one its paths do not exist'),
  path: key(text('a path that starts with / and does not end with one', '/heimdall', /^(\/[^\s/?#]+)+$/), '/heimdall', 'Path below which the admin API lies'),
  listen: key(
    orNull(orFalse(text('host:port', '127.0.0.1:8001', /^(\[[0-9a-fA-F:]+\]|[^\s:[\]]+):(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])$/))),
    null,
    'Address of its own; the gateway then answers admin paths to callers on this machine alone; false for none',
    "in the standalone 127.0.0.1 and the port after the gateway's",
  ),
  auth: key(choice(['token', 'host']), 'token', 'host leaves it to the application that mounts gate.admin to know who calls'),
});

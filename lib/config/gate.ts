import { key, list, section, sectionOrNull } from './fields.ts';
import { choice, credential, duration, flag, integer, network, orFalse, orNull, secret, text, type ValueType } from './value-types.ts';

const roles = integer(10, 10, 100);
const role: ValueType<number> = {
  ...roles,
  expected: '10 or 100',
  read: (value) => {
    const read = roles.read(value);
    return read === 10 || read === 100 ? read : undefined;
  },
};
const file = (example: string) => text('a path', example);

/** The section `guard`: address lists and connection limits. */
export const guard = section('GuardConfig', 'Address lists and connection limits, checked first', {
  allow: list(network('10.0.0.0/8'), [], 'Client addresses that may call. Empty allows all'),
  deny: list(network('203.0.113.0/24'), [], 'Client addresses that may not call. deny wins over allow'),
  connectionsPerAddress: key(orNull(integer(200, 1)), 1024, 'Highest number of open connections per address (IPv6 /56), and so of unread heads: a share that an office behind one address does not use up. null: none. Trusted proxies are not counted'),
  maxRequestsPerSocket: key(orNull(integer(1000, 1)), null, 'Number of requests after which a connection is closed'),
});

/** The section `queue`: how many model requests run at a time, and how long others wait. */
export const queue = section('QueueConfig', 'Admission queue of model requests', {
  enabled: key(flag(), true, 'Limits the number of concurrent model requests'),
  concurrency: key(integer(1000, 1), 1000, 'Highest number of concurrent model requests. Can be changed while the gateway runs'),
  initialSize: key(integer(1000, 0), 1000, 'Highest number of waiting requests. 0 refuses a request that cannot run at once'),
  maxWait: key(duration(), '30s', 'Longest wait in the queue'),
  statePath: key(
    orNull(file('/var/lib/heimdall/queue.json')),
    null,
    'File or directory that keeps the state of the queue over a restart. Without a path no state is kept',
  ),
  saveInterval: key(duration('30s', 100), '30s', 'Time between two saves of the state'),
  websockets: key(integer(1000, 1), 1000, 'Highest number of open WebSockets. Counted apart from concurrency. A key or an address may hold an eighth of it'),
});

/** The section `auth.jwt`: verification of tokens from an identity provider. */
export const jwt = sectionOrNull('JwtConfig', 'Verification of tokens from an identity provider, for auth.mode jwt', {
  issuer: key(orNull(text('an issuer', 'https://login.example.com/')), null, 'Issuer (iss) that a token must name'),
  audience: key(orNull(text('an audience', 'heimdall')), null, 'Audience (aud) that a token must name'),
  jwksUri: key(
    orNull(text('an https URL, or http on loopback', 'https://login.example.com/.well-known/jwks.json', /^https:\/\/\S+$|^http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/]\S*$/)),
    null,
    "URL of the issuer's key set (JWKS)",
  ),
  algorithms: list(
    choice(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']),
    ['RS256', 'PS256', 'ES256', 'EdDSA'],
    'Accepted signature algorithms',
  ),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token sent to routes that only NewAPI answers. Without a token these routes are refused to JWT callers'),
});

/** The section `admin`: the admin API and its address. */
export const admin = section('AdminConfig', 'The admin API', {
  token: key(orNull(secret(32)), null, 'Bearer token of the admin API. Also set by HEIMDALL_ADMIN_TOKEN. Without a token the admin API does not exist'),
  readToken: key(orNull(secret(32)), null, 'Bearer token that may read everything in the admin API and change nothing'),
  path: key(text('a path that starts with / and does not end with one', '/heimdall', /^(\/[^\s/?#]+)+$/), '/heimdall', 'Base path of the admin API'),
  listen: key(
    orNull(orFalse(text('host:port', '127.0.0.1:8001', /^(\[[0-9a-fA-F:]+\]|[^\s:[\]]+):(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])$/))),
    null,
    'Separate address of the admin API. The main port then answers admin paths only to callers on this machine. false opens no separate address',
    'in the standalone 127.0.0.1 and server.port + 1',
  ),
  clientCaPath: key(orNull(file('/certs/admins.crt')), null, 'PEM file of the authorities whose client certificates the separate address demands, beside the token. The main port then has no admin API. Needs server.tls'),
  auth: key(choice(['token', 'host', 'newapi']), 'token', "token demands admin.token. host relies on the login of the application that mounts gate.admin. newapi relies on NewAPI's own login: its session, or an access token, of a user with newapi_role"),
  readFrom: key(choice(['journal', 'postgres']), 'journal', 'Where lists, charts, callers and findings are read: in the journal of this instance, or in audit.postgres, which has those of all'),
  newapiRole: key(role, 10, 'Role that admin.auth: newapi demands: 10 administrators, 100 the owner. They read the prompts of all users'),
});

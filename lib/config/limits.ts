import { key, list, required, section, sectionOrNull, sections } from './fields.ts';
import { choice, duration, integer, network, number, orNull, plain, rate, secretUrl, text, type ValueType } from './value-types.ts';
import { isNetwork } from '../values/values.ts';

/** Stores of the counters. */
export const STORES = ['memory', 'redis'] as const;
/** What happens to limited requests while the store is not available. */
export const ON_STORE_ERROR = ['local', 'open', 'closed'] as const;

const window = duration('60s', 1_000);
const pattern = (expected: string, example: string) => text(`${expected}, which may end in *`, example, /^[^*]+\*?$|^\*$/);

/** Limits of a key, a policy or all keys. Each limit is independent. The default is no limit. */
export const keyLimits = {
  requests: sectionOrNull('RequestLimit', 'Limit of requests in a sliding window', {
    limit: required(integer(60, 1), 'Highest number of requests in a window'),
    window: key(window, '60s', 'Length of the window'),
  }),
  tokens: sectionOrNull('TokenLimit', 'Limit of tokens, prompt and completion together, in a sliding window', {
    limit: required(integer(100_000, 1), 'Highest number of tokens in a window'),
    window: key(window, '60s', 'Length of the window'),
  }),
  concurrency: key(orNull(integer(10, 1)), null, 'Highest number of concurrent requests'),
  budget: sectionOrNull('Budget', 'Limit of cost in US dollars. A request without a known price counts as 0', {
    day: key(orNull(number(5, 0)), null, 'Highest cost in US dollars per day (UTC)'),
    month: key(orNull(number(100, 0)), null, 'Highest cost in US dollars per calendar month (UTC)'),
  }),
};

/** The fields of a set of limits that decide whether it limits anything. */
export interface LimitSet {
  readonly requests: object | null;
  readonly tokens: object | null;
  readonly concurrency: number | null;
  readonly budget: { readonly day: number | null; readonly month: number | null } | null;
}

/** Whether a set of limits limits anything. */
export function hasLimits({ requests, tokens, concurrency, budget }: LimitSet): boolean {
  return requests !== null || tokens !== null || concurrency !== null || (budget?.day ?? budget?.month ?? null) !== null;
}

/** SECURITY: the value may be a whole NewAPI token. A value that may be a token is masked when it is printed. */
const tokenPattern = { ...orNull(pattern('the name of a key, the 16 hex digits of a token identity, or a NewAPI token', 'team-a')), unit: 'token' as const };

const mode = key(choice(['enforce', 'observe']), 'enforce', 'enforce refuses requests above a limit. observe counts and records them, and refuses none');

const policy = {
  match: section('PolicyMatch', 'Requests that the policy applies to. Every given field must match', {
    token: key(tokenPattern, null, 'Name of a gateway key, identity of a NewAPI token as records show it, or the token itself, which is compared by its hash'),
    model: key(orNull(pattern('the name of a model', 'gpt-5*')), null, 'Model as the caller names it'),
    client: key(orNull(pattern('the name of a client', 'claude-cli')), null, 'Client as records show it, or the family before the /'),
    route: key(orNull(pattern('a path', '/v1/images/*')), null, 'Template or path of the route'),
    group: key(orNull(pattern('the name of a group', 'staff')), null, 'Group that `identify` of an embedding program gave'),
    user: key(orNull(pattern('the id of a user', '42')), null, 'Id that `identify` of an embedding program gave'),
    newapiUser: key(orNull(pattern('the id or name of a user of NewAPI', 'alice')), null, "User of NewAPI, by id or name; its tokens count together. Names are learnt with newapi.access_token seconds after a token's first request: until then nothing is refused by them, and what was used counts afterwards. While they cannot be learnt, a caller without a name is held to every policy by names"),
    newapiToken: key(orNull(pattern('the name of a token of NewAPI', 'alice-laptop')), null, 'Name of a token of NewAPI, learnt in the same way'),
    newapiGroup: key(orNull(pattern('the name of a group of NewAPI', 'vip')), null, 'Group of NewAPI, learnt in the same way; each of its users counts alone'),
  }),
  ...keyLimits,
  cidrs: list(network('10.0.0.0/8'), [], 'Client addresses allowed for matching requests. Empty allows all'),
  mode,
};

/** A network, or the name of a key as it stands. */
const exemption = {
  ...text('an IP address, a CIDR, the name of a key or user: and an id', '10.0.0.0/8'),
  read: (value: unknown) => (typeof value === 'string' && (isNetwork(value) || /^[^/:]+$|^user:[^/]+$/.test(value)) ? value : undefined),
};

const oneUrl = secretUrl(['redis', 'rediss'], 'redis://127.0.0.1:6379');

/** The URL of a server, or of several servers that are a cluster or Sentinels. */
const redisUrl = {
  ...oneUrl,
  expected: 'a URL that begins with redis:// or rediss://, redis+cluster:// or redis+sentinel://',
  read: (value: unknown) => {
    const [, scheme, user = '', hosts = '', rest = ''] = /^(rediss?)\+(?:cluster|sentinel):\/\/([^/?#]*@)?([^/?#]+)(\/[^\s#]*)?$/.exec(plain(value)) ?? [];
    if (scheme === undefined) return oneUrl.read(value);
    return hosts.split(',').every((host) => host !== '' && oneUrl.read(`${scheme}://${user}${host}${rest}`) !== undefined) ? plain(value) : undefined;
  },
  json: { type: 'string', pattern: String.raw`^rediss?(\+cluster|\+sentinel)?://\S+$` },
};

const blocksRate = rate('1000/s');

/** A rate, or whether there is one. */
const blocks: ValueType<number | false> = {
  ...blocksRate,
  expected: 'false, true or a rate above 0',
  read: (value) => (plain(value) === 'true' ? 1000 : plain(value) === 'false' ? false : blocksRate.read(value)),
  input: 'boolean | number | string',
  output: 'number | false',
  json: { anyOf: [{ type: 'boolean' }, blocksRate.json] },
};

/** The section `rate_limit`: limits of addresses, keys and policies. */
export const rateLimit = section('RateLimitConfig', 'Limits per address, per key and per policy', {
  address: section('AddressLimit', 'Limit per client address. IPv6 addresses count by their /56', {
    limit: key(integer(60, 0), 60, 'Highest number of requests in a window. 0 turns the limit off'),
    window: key(duration('60s'), '60s', 'Length of the window'),
    count: key(
      choice(['failed', 'all']),
      'failed',
      'failed counts only requests with a refused credential. all counts every request except UI, assets, webhooks and task polling',
    ),
  }),
  key: section('KeyLimits', "Limits of every key, including NewAPI's tokens. A limit of the key itself takes precedence", { ...keyLimits, mode }),
  policies: sections('Policy', 'Limits of the matching requests, counted per key', 'Additional limits. Every matching policy applies', policy),
  exempt: list(exemption, [], 'Addresses, CIDRs, key names, token identities and users (user:ID) without limits'),
  store: key(
    { ...orNull(choice(STORES)), output: "'memory' | 'redis'" },
    null,
    'Store of the counters: memory counts per instance, redis counts over all instances',
    'redis with redis_url, else memory',
  ),
  redisUrl: key(
    orNull(redisUrl),
    null,
    'URL of the Redis that the instances share. redis+cluster://host,host is a cluster, redis+sentinel://host,host/master/database the master that Sentinels name; rediss is TLS. Also set by REDIS_URL',
  ),
  redisCaPath: key(orNull(text('a path', '/certs/redis-ca.crt')), null, 'PEM file of the authorities that sign the certificate of Redis', 'those of Node'),
  instances: key(integer(2, 1, 10_000), 1, 'Number of instances behind one load balancer. Without Redis each instance enforces its share of every limit'),
  redisBlocks: key(
    blocks,
    false,
    'Rate of a caller over all instances above which its limits of requests and tokens are taken from Redis in blocks, a hundredth of a limit at a time, instead of one round trip a request. More than a limit does not pass, but for a block of an instance that is killed; `instances` blocks may be refused too early. true is 1000/s',
  ),
  onStoreError: key(
    choice(ON_STORE_ERROR),
    'local',
    "What happens while Redis is not available: local enforces this instance's share, open accepts, closed refuses with 503",
  ),
});

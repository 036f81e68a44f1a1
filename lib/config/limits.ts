import { key, list, required, section, sectionOrNull, sections } from './fields.ts';
import { choice, duration, integer, isNetwork, network, number, orNull, secretUrl, text } from './value-types.ts';

/** Where counters live. */
export const STORES = ['memory', 'redis'] as const;
/** What happens to limited requests while the store cannot be asked. */
export const ON_STORE_ERROR = ['local', 'open', 'closed'] as const;

const window = duration('60s', 1_000);
const pattern = (what: string, example: string) => text(`${what}, which may end in *`, example, /^[^*]+\*?$|^\*$/);

/** What a key, a policy or everybody may use; each limit on its own, none unless given. */
export const keyLimits = {
  requests: sectionOrNull('RequestLimit', 'Requests within a sliding window', {
    limit: required(integer(60, 1), 'Requests a window'),
    window: key(window, '60s', 'Length of the window'),
  }),
  tokens: sectionOrNull('TokenLimit', 'Tokens, prompt and completion together, within a sliding window', {
    limit: required(integer(100_000, 1), 'Tokens a window'),
    window: key(window, '60s', 'Length of the window'),
  }),
  concurrency: key(orNull(integer(10, 1)), null, 'Requests in hand at a time'),
  budget: sectionOrNull('Budget', 'US dollars by the prices known; a request without a known price is counted as 0', {
    day: key(orNull(number(5, 0)), null, 'US dollars a day in UTC'),
    month: key(orNull(number(100, 0)), null, 'US dollars a calendar month in UTC'),
  }),
};

/** Limits of a key, a policy or everybody, as far as it matters whether there are any. */
export interface Limiting {
  readonly requests: object | null;
  readonly tokens: object | null;
  readonly concurrency: number | null;
  readonly budget: { readonly day: number | null; readonly month: number | null } | null;
}

/** Whether anything is limited. */
export function hasLimits({ requests, tokens, concurrency, budget }: Limiting): boolean {
  return requests !== null || tokens !== null || concurrency !== null || (budget?.day ?? budget?.month ?? null) !== null;
}

/** SECURITY: whole NewAPI tokens may stand here, so it is shown like a secret when it may be one. */
const whose = { ...orNull(pattern('the name of a key, the 16 hex digits of a token identity, or a NewAPI token', 'team-a')), unit: 'token' as const };

const mode = key(choice(['enforce', 'observe']), 'enforce', 'observe counts and records what it would refuse, and refuses nothing');

const policy = {
  match: section('PolicyMatch', 'Which requests the policy is for; all that is given must fit', {
    token: key(whose, null, 'Name of a gateway key, identity of a NewAPI token as records show it, or the token itself, which is compared by its hash'),
    model: key(orNull(pattern('the name of a model', 'gpt-5*')), null, 'Model as the caller names it'),
    client: key(orNull(pattern('the name of a client', 'claude-cli')), null, 'Client as records show it, or its family: what stands before the /'),
    route: key(orNull(pattern('a path', '/v1/images/*')), null, "Route's template, or path"),
  }),
  ...keyLimits,
  cidrs: list(network('10.0.0.0/8'), [], 'Addresses such requests may come from; empty means all'),
  mode,
};

/** A network where it looks like one; anything else is a key's name and stays as it is. */
const exemption = {
  ...text('an IP address, a CIDR or the name of a key', '10.0.0.0/8'),
  read: (value: unknown) => (typeof value === 'string' && (isNetwork(value) || /^[^/:]+$/.test(value)) ? value : undefined),
};

/** What callers may use. */
export const rateLimit = section('RateLimitConfig', 'Limits of addresses, keys and whatever policies match', {
  address: section('AddressLimit', 'Limit per client address, IPv6 by its /56', {
    limit: key(integer(60, 0), 60, 'Requests a window; 0 switches the limit off'),
    window: key(duration('60s'), '60s', 'Length of the window'),
    count: key(
      choice(['failed', 'all']),
      'failed',
      'failed counts refused credentials alone, all counts every request but UI, assets, webhooks and polling',
    ),
  }),
  key: section('KeyLimits', "Limits of every key, NewAPI's tokens included; what a key limits itself goes first", { ...keyLimits, mode }),
  policies: sections('Policy', 'Limits for the requests it matches, counted per key', 'Further limits; every policy that matches holds', policy),
  exempt: list(exemption, [], 'Addresses, CIDRs, names of keys and identities of tokens that are not limited'),
  store: key(
    { ...orNull(choice(STORES)), output: "'memory' | 'redis'" },
    null,
    'Where counters live: memory counts for this instance alone, redis for all together',
    'redis with a redis_url, else memory',
  ),
  redisUrl: key(orNull(secretUrl(['redis', 'rediss'], 'redis://127.0.0.1:6379')), null, 'Redis that instances share; also from REDIS_URL'),
  instances: key(integer(2, 1, 10_000), 1, 'Instances behind one balancer; without Redis each enforces its share of every limit'),
  onStoreError: key(
    choice(ON_STORE_ERROR),
    'local',
    "While Redis cannot be asked: local enforces this instance's share, open lets pass, closed refuses",
  ),
});

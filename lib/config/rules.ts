import { BUFFER_BODY_BYTES, hasNewapi, INFLIGHT_SHARES, isOwn } from './derive.ts';
import { CHECKS } from './health.ts';
import { checkHttp3 } from './http3-rules.ts';
import { hasLimits } from './limits.ts';
import { checkPeers, readCertificates } from './peer-rules.ts';
import { valueAt } from './paths.ts';
import { checkBareDurations, checkBaseUrls, checkCredentials, checkPackages, checkPatterns, checkRedisAuthorities, checkServerCertificate, checkWideTrust } from './pitfalls.ts';
import { type Path, show, writeDuration, writeSize } from '../values/values.ts';
import { checkProvider, providerName, PROVIDERS } from './provider.ts';
import { checkRoutes } from './route-rules.ts';
import type { ParsedConfig } from './schema.ts';
import type { Sources } from './sources.ts';

/** A check over several keys, or against the machine. It runs only when none of the values it reads has a problem. */
interface Rule {
  /** Paths of the values that the check reads. */
  readonly reads: readonly string[];
  readonly check: (parsed: ParsedConfig, sources: Sources) => void;
}

/** All rules, in the order of their checks. */
const RULES: readonly Rule[] = [
  { reads: ['server.workers', 'server.host'], check: listenersCanShare },
  { reads: ['server.workers', 'server.http3', 'audit', 'rateLimit.redisUrl', 'rateLimit.policies'], check: workersHaveOneOfEach },
  { reads: ['server.tls'], check: bothTlsPaths },
  { reads: ['server.tls'], check: checkServerCertificate },
  { reads: ['server.tls', 'server.http3', 'server.port'], check: checkHttp3 },
  { reads: ['server.bufferBodyBytes', 'server.maxBodyBytes'], check: bufferWithinBody },
  { reads: ['server.bufferBodyBytes', 'server.maxBodyBytes', 'server.maxInflightBytes'], check: bodyWithinShare },
  { reads: ['endpoints'], check: differentEndpoints },
  { reads: ['llm.provider', 'llm.endpoint', 'llm.backupProviders'], check: knownProviders },
  { reads: ['routes', 'endpoints', 'admin', 'metrics'], check: checkRoutes },
  { reads: ['newapi', 'llm'], check: checkPeers },
  { reads: ['llm.prices'], check: validPriceNames },
  { reads: ['llm.retry.initialDelay', 'llm.retry.maxDelay'], check: initialDelayBelowMax },
  { reads: ['llm.retry.retryableErrors'], check: errorsOnce },
  { reads: ['auth.mode', 'llm.provider', 'llm.apiKey'], check: noOpenRelay },
  { reads: ['auth.keys'], check: uniqueKeys },
  { reads: ['auth.mode', 'auth.jwt'], check: completeJwt },
  { reads: ['auth', 'llm'], check: jwtHasTarget },
  { reads: ['secret', 'rateLimit.redisUrl', 'audit.postgres.url'], check: sharedSecret },
  { reads: ['audit.otlp'], check: otlpHasEffect },
  { reads: ['audit.syslog'], check: syslogHasEffect },
  { reads: ['rateLimit.store', 'rateLimit.redisUrl'], check: redisHasUrl },
  { reads: ['audit.alerts'], check: telegramNamesChat },
  { reads: ['admin', 'endpoints'], check: adminPathSeparate },
  { reads: ['admin', 'server.tls'], check: adminAddress },
  { reads: ['admin', 'server.tls'], check: adminCertificates },
  { reads: ['admin', 'newapi'], check: adminTokens },
  { reads: ['admin', 'audit'], check: readsFromPostgres },
  { reads: ['metrics', 'audit'], check: longTokens },
  { reads: ['rateLimit', 'newapi', 'audit'], check: policiesByNames },
  { reads: ['server.healthCheck.checks'], check: knownChecks },
  { reads: ['cors'], check: noWildcardCredentials },
  { reads: ['middleware'], check: partsOnce },
  { reads: ['middleware', 'llm'], check: authWhereNeeded },
  { reads: ['middleware'], check: safeOrder },
  { reads: ['middleware', 'audit.durability', 'audit.onFull'], check: recordsAreWritten },
  { reads: ['audit', 'anomaly.mode'], check: journalIsThere },
  { reads: ['middleware', 'routes', 'rateLimit', 'auth.keys'], check: limitsAreChecked },
  { reads: ['rateLimit.policies'], check: policiesHaveEffect },
  { reads: ['rateLimit', 'auth.keys', 'llm'], check: pricesFitBudgets },
  { reads: ['newapi', 'llm', 'audit.newapi', 'server.host', 'server.port', 'admin'], check: checkBaseUrls },
  { reads: ['llm'], check: checkCredentials },
  { reads: [], check: checkBareDurations },
  { reads: ['trustProxy', 'clientIpHeader', 'rateLimit.exempt', 'guard'], check: checkWideTrust },
  { reads: ['cors', 'auth.keys', 'llm', 'guard'], check: checkPatterns },
  { reads: ['rateLimit.redisUrl', 'rateLimit.redisCaPath'], check: checkRedisAuthorities },
  { reads: ['rateLimit', 'audit.postgres.url', 'auth.mode'], check: (parsed, sources) => checkPackages(parsed, sources) },
];

/** Checks every rule whose values could be read. */
export function checkRules(parsed: ParsedConfig, sources: Sources): void {
  if (!sources.report.complete) return;
  for (const { reads, check } of RULES) {
    if (reads.every((place) => sources.report.isValid(place.split('.')))) check(parsed, sources);
  }
}

/** Systems whose listeners may share a port, so that the kernel spreads connections over them. */
const sharing: ReadonlySet<string> = new Set(['linux', 'freebsd', 'dragonfly', 'sunos', 'aix']);

function listenersCanShare({ server: { workers, host } }: ParsedConfig, sources: Sources): void {
  if (workers === 1) return;
  if (host.startsWith('/')) sources.refuse(['server', 'workers'], { expected: '1 with a Unix socket in server.host, which one listener alone can have', example: 1 });
  else if (!sharing.has(process.platform)) sources.refuse(['server', 'workers'], { expected: `1 on ${process.platform}, where listeners cannot share a port`, example: 1 });
}

/** What would be each worker's own is refused. */
function workersHaveOneOfEach({ server: { workers, http3: { enabled } }, audit, rateLimit }: ParsedConfig, sources: Sources): void {
  if (workers === 1) return;
  if (enabled) sources.refuse(['server', 'workers'], { expected: '1 with server.http3, whose requests would all reach one thread', example: 1 });
  if (!audit.enabled && rateLimit.redisUrl === null) sources.refuse(['server', 'workers'], { expected: '1 with audit: false, since keys and bans are shared through a file beside the journal', example: 1 });
  if (audit.newapi.enabled && audit.newapi.token === 'raw') sources.refuse(['server', 'workers'], { expected: '1 with audit.newapi.token: raw, whose keys one thread alone keeps in its memory', example: 1 });
  if (rateLimit.policies.some(({ match }) => match.newapiUser !== null || match.newapiToken !== null || match.newapiGroup !== null)) sources.refuse(['server', 'workers'], { expected: '1 with policies by names of NewAPI, which one thread alone learns', example: 1 });
}

function bothTlsPaths({ server: { tls } }: ParsedConfig, sources: Sources): void {
  if (!tls || ((tls.certPath === null) === (tls.keyPath === null) && (tls.certPath !== null || tls.others.length === 0))) return;
  if (tls.certPath === null && tls.keyPath === null) return sources.refuse(['server', 'tls', 'certPath'], { expected: 'a certificate before the others', example: '/certs/server.crt' }, 'nothing');
  const [given, missing, example] =
    tls.keyPath === null
      ? ['certPath', 'key_path (or TLS_KEY_PATH)', '/certs/server.key']
      : ['keyPath', 'cert_path (or TLS_CERT_PATH)', '/certs/server.crt'];
  sources.refuse(['server', 'tls', given], { expected: `${missing} as well`, example }, 'nothing');
}

function bufferWithinBody({ server: { bufferBodyBytes, maxBodyBytes } }: ParsedConfig, sources: Sources): void {
  if (bufferBodyBytes === null || bufferBodyBytes <= maxBodyBytes) return;
  sources.refuse(['server', 'bufferBodyBytes'], { expected: `at most max_body_bytes (${writeSize(maxBodyBytes)})` });
}

function bodyWithinShare({ server: { bufferBodyBytes, maxBodyBytes, maxInflightBytes } }: ParsedConfig, sources: Sources): void {
  const largest = Math.min(bufferBodyBytes ?? BUFFER_BODY_BYTES, maxBodyBytes);
  const share = Math.floor(maxInflightBytes / INFLIGHT_SHARES);
  if (largest <= share) return;
  sources.warn(['server', 'maxInflightBytes'], `a body above ${writeSize(share)}, the share of one caller, is refused, although buffer_body_bytes allows ${writeSize(largest)}`);
}

function differentEndpoints({ endpoints }: ParsedConfig, sources: Sources): void {
  const names = ['health', 'metrics', 'log'] as const;
  for (const [at, name] of names.entries()) {
    const first = names.slice(0, at).find((other) => endpoints[other] !== false && endpoints[other] === endpoints[name]);
    if (first !== undefined) sources.refuse(['endpoints', name], { expected: `another path than ${first}`, example: name === 'log' ? '/api/log' : '/metrics' });
  }
}

function knownProviders({ llm }: ParsedConfig, sources: Sources): void {
  for (const [at, { provider, endpoint }] of targets(llm)) {
    checkProvider(provider, [...at, 'provider'], sources);
    const its = typeof provider === 'string' ? null : (provider.endpoint ?? null);
    if (endpoint !== null || its !== null || (PROVIDERS as readonly unknown[]).includes(provider)) continue;
    if (typeof provider !== 'string') {
      if (provider.endpoint !== undefined || sources.isCode([...at, 'provider'])) sources.refuse([...at, 'endpoint'], { expected: 'the base URL of its API, here or in the provider', example: 'https://api.openai.com/v1' });
      continue;
    }
    const expected = `${PROVIDERS.join(', ')}, or any name together with an endpoint`;
    sources.refuse([...at, 'provider'], { expected, example: 'openai', words: PROVIDERS });
  }
}

function validPriceNames({ llm: { prices } }: ParsedConfig, sources: Sources): void {
  for (const name of Object.keys(prices)) {
    if (/^[^*]*[^]$/.test(name)) continue;
    const expected = 'the name of a model, or a prefix with one * at the end';
    sources.refuse(['llm', 'prices', name], { expected, example: 'gpt-5*' }, show(name));
  }
}

function initialDelayBelowMax({ llm: { retry } }: ParsedConfig, sources: Sources): void {
  const { initialDelay, maxDelay } = retry;
  const at = ['llm', 'retry', 'initialDelay'];
  if (initialDelay <= maxDelay || valueAt(sources.tree, at) === undefined) return;
  sources.warn(at, `is limited by max_delay (${writeDuration(maxDelay)})`);
}

function errorsOnce({ llm: { retry } }: ParsedConfig, sources: Sources): void {
  once(retry.retryableErrors, 'error', ['llm', 'retry', 'retryableErrors'], sources);
}

function noOpenRelay({ auth, llm }: ParsedConfig, sources: Sources): void {
  if (auth.mode !== 'passthrough' || !isOwn(llm)) return;
  const at = ['llm', llm.provider === 'newapi' ? 'apiKey' : 'provider'];
  const why = `${sources.name(at)} is ${llm.provider === 'newapi' ? 'set' : providerName(llm.provider)}`;
  const expected = `keys, because ${why} and every caller could use that credential`;
  sources.refuse(['auth', 'mode'], { expected, example: 'keys' });
}

function uniqueKeys({ auth: { keys } }: ParsedConfig, sources: Sources): void {
  for (const field of ['name', 'sha256'] as const) {
    keys.forEach((key, index) => {
      const first = keys.findIndex((other) => other[field] === key[field]);
      if (first < index)
        sources.refuse(['auth', 'keys', index, field], { expected: `another ${field} than key ${first}` }, 'the same one');
    });
  }
}

function completeJwt({ auth: { mode, jwt } }: ParsedConfig, sources: Sources): void {
  if (mode !== 'jwt') return;
  const missing = (['issuer', 'audience', 'jwksUri'] as const).filter((field) => (jwt?.[field] ?? null) === null);
  for (const field of missing) sources.refuse(['auth', 'jwt', field], { expected: 'a value while auth.mode is jwt', example: examples[field] }, 'nothing');
}

/** NewAPI does not accept tokens of another issuer, so a JWT caller needs a credential for some target. */
function jwtHasTarget({ auth: { mode, jwt }, llm }: ParsedConfig, sources: Sources): void {
  if (mode !== 'jwt' || jwt === null || jwt.upstreamCredential !== null || targets(llm).some(([, target]) => isOwn(target))) return;
  sources.warn(['auth', 'jwt'], 'JWT callers reach no target; set upstream_credential, a token of NewAPI, or an api_key of llm');
}

const examples = { issuer: 'https://login.example.com/', audience: 'heimdall', jwksUri: 'https://login.example.com/.well-known/jwks.json' };

/** Without a configured secret each instance would generate its own, and token identities would differ between instances. */
function sharedSecret({ secret, rateLimit: { redisUrl }, audit: { postgres } }: ParsedConfig, sources: Sources): void {
  const shared = redisUrl !== null ? ['rateLimit', 'redisUrl'] : postgres.url !== null ? ['audit', 'postgres', 'url'] : null;
  if (shared === null || secret !== null) return;
  sources.refuse(['secret'], { expected: `the same text on every instance while ${sources.name(shared)} is set`, example: '${HEIMDALL_SECRET}' }, 'nothing');
}

function redisHasUrl({ rateLimit: { store, redisUrl } }: ParsedConfig, sources: Sources): void {
  if (store !== 'redis' || redisUrl !== null) return;
  sources.refuse(['rateLimit', 'redisUrl'], { expected: 'a URL while rate_limit.store is redis', example: 'redis://127.0.0.1:6379' }, 'nothing');
}

function telegramNamesChat({ audit: { alerts: { webhook, format } } }: ParsedConfig, sources: Sources): void {
  if (format !== 'telegram' || webhook === null || new URL(webhook).searchParams.has('chat_id')) return;
  sources.refuse(['audit', 'alerts', 'webhook'], { expected: 'a URL with the query chat_id while audit.alerts.format is telegram', example: 'https://api.telegram.org/bot<token>/sendMessage?chat_id=-100123' }, 'a URL without it');
}

function adminPathSeparate({ admin, endpoints: { health, metrics, log } }: ParsedConfig, sources: Sources): void {
  const other = [health, metrics, log].find((path) => path !== false && (path === admin.path || path.startsWith(`${admin.path}/`)));
  if (other === undefined) return;
  sources.refuse(['admin', 'path'], { expected: `a path that does not hold ${String(other)}`, example: '/heimdall' });
}

/** Names of NewAPI's users are learnt from its log, joined to the journal. */
function policiesByNames({ rateLimit: { policies }, newapi: { accessToken }, audit }: ParsedConfig, sources: Sources): void {
  for (const [at, { match }] of policies.entries()) {
    const name = (['newapiUser', 'newapiToken', 'newapiGroup'] as const).find((each) => match[each] !== null);
    if (name === undefined || (accessToken !== null && audit.enabled)) continue;
    sources.refuse(['rateLimit', 'policies', at, 'match', name], { expected: `${accessToken === null ? 'newapi.access_token and newapi.user_id' : 'a journal (audit.enabled)'}, by which names are learnt, beside it`, example: 'newapi: {access_token: "${NEWAPI_ACCESS_TOKEN}", user_id: 1}' }, 'none');
  }
}

function adminTokens({ admin: { token, readToken }, newapi: { accessToken, userId } }: ParsedConfig, sources: Sources): void {
  if (accessToken !== null && userId === null) sources.refuse(['newapi', 'userId'], { expected: 'the id of the user that newapi.access_token belongs to', example: '1' }, 'nothing');
  if (readToken === null) return;
  if (token === null) return sources.warn(['admin', 'readToken'], 'has no effect without admin.token');
  if (token === readToken) sources.refuse(['admin', 'readToken'], { expected: 'another text than admin.token', example: '${HEIMDALL_READ_TOKEN}' }, 'the same');
}

function readsFromPostgres({ admin: { readFrom }, audit: { postgres } }: ParsedConfig, sources: Sources): void {
  if (readFrom === 'postgres' && postgres.url === null) sources.refuse(['admin', 'readFrom'], { expected: 'audit.postgres.url, where the records of all instances are, beside postgres', example: 'audit: { postgres: { url: "${DATABASE_URL}" } }' }, 'none');
  else if (readFrom === 'journal' && postgres.readUrl !== null) sources.warn(['audit', 'postgres', 'readUrl'], 'has no effect without admin.read_from: postgres');
}

/** Characters of a token that cannot be guessed. */
const longToken = 16;

/** A shorter one is let pass for the sake of who has it in use. */
function longTokens({ metrics, audit: { ingest } }: ParsedConfig, sources: Sources): void {
  const tokens: [Path, string | null][] = [[['metrics', 'token'], metrics.token], ...ingest.tokens.map((token, at): [Path, string] => [['audit', 'ingest', 'tokens', at], token])];
  for (const [at, token] of tokens) if (token !== null && token.length < longToken) sources.warn(at, `has ${token.length} characters and can be guessed; take ${longToken} or more. Example: openssl rand -hex 24`);
}

function adminAddress({ admin: { token, listen, auth }, server: { tls } }: ParsedConfig, sources: Sources): void {
  if (listen === null || listen === false) return;
  if (token === null && auth !== 'newapi') return sources.warn(['admin', 'listen'], 'has no effect without admin.token');
  if (tls !== null || /^(?:127\.|localhost:|\[::1\]:)/.test(listen)) return;
  sources.warn(['admin', 'listen'], 'the admin token crosses the network in clear text; set server.tls, or listen on 127.0.0.1');
}

function adminCertificates({ admin: { clientCaPath, listen }, server: { tls } }: ParsedConfig, sources: Sources): void {
  const at = ['admin', 'clientCaPath'];
  if (clientCaPath === null) return;
  readCertificates(at, clientCaPath, sources);
  if (tls === null) sources.refuse(at, { expected: 'server.tls as well, because only TLS has client certificates', example: 'server: { tls: { cert_path: /certs/server.crt, key_path: /certs/server.key } }' });
  else if (listen === false) sources.refuse(at, { expected: 'a separate address in admin.listen', example: '127.0.0.1:8001' }, 'admin.listen: false');
}

function knownChecks({ server: { healthCheck } }: ParsedConfig, sources: Sources): void {
  for (const name of Object.keys(healthCheck?.checks ?? {})) {
    if ((CHECKS as readonly string[]).includes(name)) continue;
    sources.refuse(['server', 'healthCheck', 'checks', name], { expected: `one of ${CHECKS.join(', ')}`, example: 'memory: system', words: CHECKS }, show(name));
  }
}

function noWildcardCredentials({ cors }: ParsedConfig, sources: Sources): void {
  if (!cors?.credentials || !cors.allowOrigins.includes('*')) return;
  const expected = 'false while allow_origins holds *, because browsers refuse the combination';
  sources.refuse(['cors', 'credentials'], { expected, example: 'allow_origins: ["https://app.example.com"]' });
}

function partsOnce({ middleware }: ParsedConfig, sources: Sources): void {
  once(middleware ?? [], 'part', ['middleware'], sources);
}

function once(names: readonly string[], what: string, at: Path, sources: Sources): void {
  names.forEach((name, index) => {
    if (names.indexOf(name) === index) return;
    sources.refuse([...at, index], { expected: `each ${what} once` }, `${show(name)} again`);
  });
}

function authWhereNeeded({ middleware, llm }: ParsedConfig, sources: Sources): void {
  if (!middleware || middleware.includes('auth')) return;
  const [at] = targets(llm).find(([, target]) => isOwn(target)) ?? [];
  if (!at) {
    sources.warn(['middleware'], 'auth is left out, so only NewAPI checks keys, and requests with a wrong key reach it');
    return;
  }
  const expected = `auth among the parts, because ${sources.name(at)} is reached with the gateway's own credential`;
  sources.refuse(['middleware'], { expected, example: [...middleware, 'auth'] }, middleware.join(', ') || 'an empty list');
}

function recordsAreWritten({ middleware, audit }: ParsedConfig, sources: Sources): void {
  if (!middleware || middleware.includes('logging')) return;
  const asked = audit.durability === 'strict' ? 'durability' : audit.onFull === 'refuse' ? 'onFull' : null;
  if (asked !== null) sources.warn(['middleware'], `logging is left out, so no request is recorded and ${sources.name(['audit', asked])} has no effect`);
}

/** What needs records is refused where there is no journal. */
function journalIsThere({ audit, anomaly }: ParsedConfig, sources: Sources): void {
  if (audit.enabled) return;
  const needs: readonly (readonly [isOn: boolean, at: Path])[] = [
    [audit.postgres.url !== null, ['audit', 'postgres', 'url']], [audit.otlp.endpoint !== null, ['audit', 'otlp', 'endpoint']], [audit.syslog.url !== null, ['audit', 'syslog', 'url']], [audit.newapi.enabled, ['audit', 'newapi', 'enabled']], [audit.ingest.tokens.length > 0, ['audit', 'ingest', 'tokens']],
    [audit.durability === 'strict', ['audit', 'durability']], [audit.onFull === 'refuse', ['audit', 'onFull']],
  ];
  for (const [, at] of needs.filter(([isOn]) => isOn)) sources.refuse(['audit', 'enabled'], { expected: `true, since ${sources.name(at)} needs the journal`, example: true }, 'false');
  if (anomaly.mode === 'enforce') sources.warn(['anomaly', 'mode'], 'judges nothing, since it follows the journal, which is switched off');
}

/** Keys of the OTLP sink that change nothing are said, and its authorities are read. */
function otlpHasEffect({ audit: { otlp } }: ParsedConfig, sources: Sources): void {
  const at = ['audit', 'otlp'];
  const { endpoint, caPath, headers, traces, logs } = otlp;
  if (endpoint === null) {
    for (const [key, isGiven] of Object.entries({ caPath: caPath !== null, headers: headers !== null, logs })) if (isGiven) sources.warn([...at, key], 'has no effect without audit.otlp.endpoint');
    return;
  }
  if (!traces && !logs) sources.refuse([...at, 'endpoint'], { expected: 'traces or logs to be exported beside it', example: 'audit: { otlp: { endpoint: "http://127.0.0.1:4318", traces: true } }' }, 'neither');
  checkAuthorities(at, caPath, endpoint, sources);
}

function syslogHasEffect({ audit: { syslog: { url, caPath } } }: ParsedConfig, sources: Sources): void {
  const at = ['audit', 'syslog'];
  if (url !== null) checkAuthorities(at, caPath, url, sources);
  else if (caPath !== null) sources.warn([...at, 'caPath'], 'has no effect without audit.syslog.url');
}

/** The certificate authorities of a receiver. */
function checkAuthorities(at: Path, caPath: string | null, endpoint: string, sources: Sources): void {
  if (caPath === null) return;
  readCertificates([...at, 'caPath'], caPath, sources);
  if (!/^(?:https|tls):/.test(endpoint)) sources.warn([...at, 'caPath'], 'has no effect, because the receiver is reached without TLS');
}

function safeOrder({ middleware }: ParsedConfig, sources: Sources): void {
  if (!middleware?.includes('auth')) return;
  const auth = middleware.indexOf('auth');
  const rateLimit = middleware.indexOf('rate_limit');
  if (rateLimit < 0) sources.warn(['middleware'], 'rate_limit is left out, so guessing keys is not limited');
  if (rateLimit > auth)
    sources.warn(['middleware'], 'auth stands before rate_limit, so guessing keys is not limited; put rate_limit first');
  if (middleware.indexOf('cors') > auth)
    sources.warn(['middleware'], 'cors stands after auth, so preflights, which carry no key, are refused; put cors first');
}

function limitsAreChecked({ middleware, routes, rateLimit, auth }: ParsedConfig, sources: Sources): void {
  if (middleware?.includes('key_limit') !== false || routes.some((route) => (route.middleware as readonly string[]).includes('key_limit'))) return;
  if (!hasLimits(rateLimit.key) && rateLimit.policies.length === 0 && !auth.keys.some(hasLimits)) return;
  sources.warn(['middleware'], 'key_limit is left out, so the limits of keys and policies have no effect');
}

function policiesHaveEffect({ rateLimit: { policies } }: ParsedConfig, sources: Sources): void {
  policies.forEach((policy, at) => {
    if (!hasLimits(policy) && policy.cidrs.length === 0) sources.warn(['rateLimit', 'policies', at], 'has neither a limit nor cidrs, so it has no effect');
  });
}

/** The gate does not know the groups of callers at NewAPI, so their budgets are counted with the ratio of one of them. */
function pricesFitBudgets({ llm, rateLimit: { key, policies }, auth: { keys } }: ParsedConfig, sources: Sources): void {
  if (![key, ...policies, ...keys].some(({ budget }) => (budget?.day ?? budget?.month ?? null) !== null)) return;
  if ((llm.priceSource ?? 'newapi') === 'newapi' && hasNewapi(llm)) sources.warn(['llm', 'priceSource'], "budgets count NewAPI's prices with the ratio of its group default, also for callers of other groups, unless identify gives a caller's group and upstreamCredential");
  if (llm.priceSource === 'none' && Object.keys(llm.prices).length === 0) sources.warn(['llm', 'priceSource'], 'no model has a price, so budgets have no effect');
}

type Target = ParsedConfig['llm']['backupProviders'][number];

/** Every target with its path, the primary first. */
function targets(llm: ParsedConfig['llm']): [Path, Target][] {
  return [
    [['llm'], llm],
    ...llm.backupProviders.map((target, index): [Path, Target] => [['llm', 'backupProviders', index], target]),
  ];
}

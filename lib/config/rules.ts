import { readFileSync } from 'node:fs';
import { isOwn } from './complete.ts';
import { LATER_NOTE } from './keys.ts';
import { PROVIDERS } from './llm.ts';
import { valueAt } from './paths.ts';
import { show, whyUnreadable } from './problems.ts';
import type { Path } from './problems.ts';
import { LATER_PARTS } from './schema.ts';
import type { Draft } from './schema.ts';
import type { Sources } from './sources.ts';
import { writeDuration, writeSize } from './units.ts';

/** What one key alone cannot say. It is asked only when nothing it reads is in doubt. */
interface Rule {
  readonly reads: readonly string[];
  readonly check: (draft: Draft, sources: Sources) => void;
}

/** Everything that several keys, or the machine, must agree on. */
const RULES: readonly Rule[] = [
  { reads: ['server.tls'], check: bothTlsPaths },
  { reads: ['server.tls'], check: readableTlsFiles },
  { reads: ['server.bufferBodyBytes', 'server.maxBodyBytes'], check: bufferWithinBody },
  { reads: ['endpoints'], check: differentEndpoints },
  { reads: ['llm.provider', 'llm.endpoint', 'llm.backupProviders'], check: knownProviders },
  { reads: ['llm.prices'], check: namesOfPrices },
  { reads: ['llm.retry.initialDelay', 'llm.retry.maxDelay'], check: growingDelay },
  { reads: ['llm.retry.retryableErrors'], check: errorsOnce },
  { reads: ['auth.mode', 'llm.provider', 'llm.apiKey'], check: noOpenRelay },
  { reads: ['auth.keys'], check: uniqueKeys },
  { reads: ['auth.keys', 'auth.mode', 'llm'], check: someKeys },
  { reads: ['cors'], check: noWildcardCredentials },
  { reads: ['middleware'], check: partsOnce },
  { reads: ['middleware'], check: laterParts },
  { reads: ['middleware', 'llm'], check: authWhereNeeded },
  { reads: ['middleware'], check: harmlessOrder },
];

/** Applies every rule whose keys could be read. */
export function checkRules(draft: Draft, sources: Sources): void {
  if (!sources.report.whole) return;
  for (const { reads, check } of RULES) {
    if (reads.every((place) => sources.report.sound(place.split('.')))) check(draft, sources);
  }
}

function bothTlsPaths({ server: { tls } }: Draft, sources: Sources): void {
  if (!tls || (tls.certPath === null) === (tls.keyPath === null)) return;
  const [given, missing, example] =
    tls.keyPath === null
      ? ['certPath', 'key_path (or TLS_KEY_PATH)', '/certs/server.key']
      : ['keyPath', 'cert_path (or TLS_CERT_PATH)', '/certs/server.crt'];
  sources.refuse(['server', 'tls', given], { expected: `${missing} beside it`, example }, 'nothing');
}

function readableTlsFiles({ server: { tls } }: Draft, sources: Sources): void {
  for (const at of ['certPath', 'keyPath'] as const) {
    const path = tls?.[at] ?? null;
    const why = path === null ? null : whyNot(path);
    const place = ['server', 'tls', at];
    if (why !== null) sources.refuse(place, { expected: 'a readable file' }, `${sources.got(place)} (${why})`);
  }
}

function whyNot(path: string): string | null {
  try {
    readFileSync(path);
    return null;
  } catch (error) {
    return whyUnreadable(error);
  }
}

function bufferWithinBody({ server: { bufferBodyBytes, maxBodyBytes } }: Draft, sources: Sources): void {
  if (bufferBodyBytes === null || bufferBodyBytes <= maxBodyBytes) return;
  sources.refuse(['server', 'bufferBodyBytes'], { expected: `at most max_body_bytes (${writeSize(maxBodyBytes)})` });
}

function differentEndpoints({ endpoints: { health, metrics } }: Draft, sources: Sources): void {
  if (metrics === false || metrics !== health) return;
  sources.refuse(['endpoints', 'metrics'], { expected: 'another path than health', example: '/metrics' });
}

function knownProviders({ llm }: Draft, sources: Sources): void {
  for (const [at, { provider, endpoint }] of targets(llm)) {
    if (endpoint !== null || (PROVIDERS as readonly string[]).includes(provider)) continue;
    const expected = `${PROVIDERS.join(', ')}, or any name together with an endpoint`;
    sources.refuse([...at, 'provider'], { expected, example: 'openai', words: PROVIDERS });
  }
}

function namesOfPrices({ llm: { prices } }: Draft, sources: Sources): void {
  for (const name of Object.keys(prices)) {
    if (/^[^*]*[^]$/.test(name)) continue;
    const expected = 'the name of a model, or what names begin with and one * at the end';
    sources.refuse(['llm', 'prices', name], { expected, example: 'gpt-5*' }, show(name));
  }
}

function growingDelay({ llm: { retry } }: Draft, sources: Sources): void {
  const { initialDelay, maxDelay } = retry;
  const at = ['llm', 'retry', 'initialDelay'];
  if (initialDelay <= maxDelay || valueAt(sources.tree, at) === undefined) return;
  sources.warn(at, `no wait is longer than max_delay (${writeDuration(maxDelay)}), the first included`);
}

function errorsOnce({ llm: { retry } }: Draft, sources: Sources): void {
  once(retry.retryableErrors, 'error', ['llm', 'retry', 'retryableErrors'], sources);
}

function noOpenRelay({ auth, llm }: Draft, sources: Sources): void {
  if (auth.mode !== 'passthrough' || !isOwn(llm)) return;
  const at = ['llm', llm.provider === 'newapi' ? 'apiKey' : 'provider'];
  const why = `${sources.name(at)} is ${llm.provider === 'newapi' ? 'set' : llm.provider}`;
  const expected = `keys, since ${why} and anyone would be let in to spend that credential`;
  sources.refuse(['auth', 'mode'], { expected, example: 'keys' });
}

function uniqueKeys({ auth: { keys } }: Draft, sources: Sources): void {
  for (const field of ['name', 'sha256'] as const) {
    keys.forEach((key, index) => {
      const first = keys.findIndex((other) => other[field] === key[field]);
      if (first < index)
        sources.refuse(['auth', 'keys', index, field], { expected: `another ${field} than key ${first}` }, 'the same one');
    });
  }
}

function someKeys({ auth: { keys, mode }, llm }: Draft, sources: Sources): void {
  const wanted = mode === 'keys' || (mode === null && isOwn(llm));
  if (wanted && keys.length === 0) {
    sources.warn(['auth', 'keys'], 'there are none yet, so every request that needs a key is answered with 401');
  }
}

function noWildcardCredentials({ cors }: Draft, sources: Sources): void {
  if (!cors?.credentials || !cors.allowOrigins.includes('*')) return;
  const expected = 'false while allow_origins holds *, which browsers refuse together';
  sources.refuse(['cors', 'credentials'], { expected, example: 'allow_origins: ["https://app.example.com"]' });
}

function partsOnce({ middleware }: Draft, sources: Sources): void {
  once(middleware ?? [], 'part', ['middleware'], sources);
}

function once(names: readonly string[], what: string, at: Path, sources: Sources): void {
  names.forEach((name, index) => {
    if (names.indexOf(name) === index) return;
    sources.refuse([...at, index], { expected: `each ${what} once` }, `${show(name)} again`);
  });
}

function laterParts({ middleware }: Draft, sources: Sources): void {
  for (const name of LATER_PARTS) {
    if (middleware?.includes(name)) sources.warn(['middleware', middleware.indexOf(name)], `${name}: ${LATER_NOTE}`);
  }
}

function authWhereNeeded({ middleware, llm }: Draft, sources: Sources): void {
  if (!middleware || middleware.includes('auth')) return;
  const [at] = targets(llm).find(([, target]) => isOwn(target)) ?? [];
  if (!at) {
    sources.warn(['middleware'], 'auth is left out, so only NewAPI asks for a key; refused keys still cost it the work');
    return;
  }
  const expected = `auth among the parts, since ${sources.name(at)} is reached with the gateway's own credential`;
  sources.refuse(['middleware'], { expected, example: [...middleware, 'auth'] }, middleware.join(', ') || 'an empty list');
}

function harmlessOrder({ middleware }: Draft, sources: Sources): void {
  if (!middleware?.includes('auth')) return;
  const auth = middleware.indexOf('auth');
  const rateLimit = middleware.indexOf('rate_limit');
  if (rateLimit < 0) sources.warn(['middleware'], 'rate_limit is left out, so guessing keys is not limited');
  if (rateLimit > auth)
    sources.warn(['middleware'], 'auth stands before rate_limit, so guessing keys is not limited; put rate_limit first');
  if (middleware.indexOf('cors') > auth)
    sources.warn(['middleware'], 'cors stands after auth, but preflights carry no key and would be refused; put cors first');
}

type Target = Draft['llm']['backupProviders'][number];

/** Every target and its place, the primary first. */
function targets(llm: Draft['llm']): [Path, Target][] {
  return [
    [['llm'], llm],
    ...llm.backupProviders.map((target, index): [Path, Target] => [['llm', 'backupProviders', index], target]),
  ];
}

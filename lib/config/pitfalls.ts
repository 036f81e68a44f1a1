import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { isOwn } from './derive.ts';
import { checkCertificatePair, readCertificates } from './peer-rules.ts';
import type { Path } from '../values/values.ts';
import { providerName } from './provider.ts';
import type { ParsedConfig } from './schema.ts';
import { isSection, type SchemaNode, SCHEMA_TREE } from './schema-tree.ts';
import type { Sources } from './sources.ts';

type Target = ParsedConfig['llm']['backupProviders'][number];

/** Last segments of the routes that a base URL may hold by mistake. */
const routeEnd = /\/(?:chat\/completions|completions|embeddings|responses|messages|moderations|rerank|models|images\/\w+|audio\/\w+|files|batches|realtime)$/i;

/** Checks base URLs against what is appended to them, and against the address of the gate itself. */
export function checkBaseUrls({ newapi, llm, audit, server, admin }: ParsedConfig, sources: Sources): void {
  const targets: [Path, Target][] = [[['llm'], llm], ...llm.backupProviders.map((target, index): [Path, Target] => [['llm', 'backupProviders', index], target])];
  const bases: [Path, string][] = [[['newapi', 'baseUrl'], newapi.baseUrl]];
  if (audit.newapi.url !== null) bases.push([['audit', 'newapi', 'url'], audit.newapi.url]);
  for (const [at, base] of bases) {
    const version = /^(.+?)\/v1(?:beta)?$/i.exec(base)?.[1];
    if (refuseRoute(at, base, sources) || version === undefined) continue;
    sources.warn(at, `ends in ${base.slice(version.length)}, which the requests bring themselves: they would go to ${base}/v1/…; write ${version}`);
  }
  const endpoints = targets.flatMap(([at, { endpoint }]): [Path, string][] => (endpoint === null ? [] : [[[...at, 'endpoint'], endpoint]]));
  for (const [at, endpoint] of endpoints) {
    if (!refuseRoute(at, endpoint, sources) && new URL(endpoint).pathname === '/') sources.warn(at, `has no version, so a chat goes to ${endpoint}/chat/completions; write ${endpoint}/v1`);
  }
  if (!sources.standalone) return;
  const names = ownNames(server, sources);
  for (const [at, text] of [...bases, ...endpoints]) {
    const { hostname: host } = new URL(text);
    if (isOwnPort(text, { server, admin }) && (isHere(host, server.host) || names.some((each) => each.checkHost(host, { wildcards: false }) !== undefined))) sources.warn(at, itself(server.port));
  }
}

/** What is wrong with a URL that is the gate itself. */
export const itself = (port: number): string => `is the address of the gate itself, so every request would come back to it; give the address of the upstream, or another server.port than ${port}`;

/** Whether the port of a URL is one on which the gate listens. */
export function isOwnPort(text: string, { server, admin }: { readonly server: Pick<ParsedConfig['server'], 'port'>; readonly admin: Pick<ParsedConfig['admin'], 'token' | 'listen'> }): boolean {
  const url = new URL(text);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return server.port !== 0 && (port === server.port || (admin.token !== null && port === portOf(admin.listen, server.port + 1)));
}

/** The certificates of the gate, as far as they can be read. */
function ownNames({ tls }: ParsedConfig['server'], sources: Sources): readonly X509Certificate[] {
  if (!tls || !sources.readsFiles) return [];
  return [tls, ...tls.others].flatMap(({ certPath }) => {
    try {
      return [new X509Certificate(readFileSync(certPath ?? ''))];
    } catch {
      return [];
    }
  });
}

function refuseRoute(at: Path, base: string, sources: Sources): boolean {
  const route = routeEnd.exec(base);
  if (route === null) return false;
  const root = base.slice(0, route.index);
  sources.refuse(at, { expected: `a base URL without the route ${route[0]}, which the requests bring themselves`, example: at[0] === 'llm' ? root : root.replace(/\/v1(?:beta)?$/i, '') });
  return true;
}

const portOf = (listen: string | false | null, otherwise: number): number => (listen === null || listen === false ? otherwise : Number(listen.slice(listen.lastIndexOf(':') + 1)));

/** Whether a host name of a URL is this machine, at an address on which the server listens. */
export function isHere(name: string, listensOn: string): boolean {
  const host = name.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === listensOn.toLowerCase()) return true;
  const isLoopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  if (listensOn !== '0.0.0.0' && listensOn !== '::') return isLoopback && /^(?:localhost|127\.|::1$)/.test(listensOn);
  return isLoopback || host === '0.0.0.0' || host === '::' || host === hostname().toLowerCase() || Object.values(networkInterfaces()).flat().some((each) => each?.address === host);
}

/** Warns about targets that are asked without a credential although their provider wants one. */
export function checkCredentials({ llm }: ParsedConfig, sources: Sources): void {
  for (const [at, target] of [[['llm'], llm], ...llm.backupProviders.map((each, index) => [['llm', 'backupProviders', index], each] as const)] as [Path, Target][]) {
    const name = providerName(target.provider);
    const url = URL.parse(target.endpoint ?? '');
    const isLocal = url !== null && /^(?:localhost|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|\[)|^[^.]+$|\.(?:local|internal|lan)$/.test(url.hostname);
    if (!isOwn(target) || target.apiKey !== null || name === 'ollama' || isLocal || typeof target.provider !== 'string') continue;
    sources.warn([...at, 'provider'], `${name} is asked without a key, and never gets the caller's; set api_key. Example: api_key: \${${name.toUpperCase().replaceAll(/\W/g, '_')}_API_KEY}`);
  }
}

/** Warns about durations of a file below a second that are written without a unit: a bare number counts milliseconds. */
export function checkBareDurations(_parsed: ParsedConfig, sources: Sources): void {
  walk(sources.tree, SCHEMA_TREE, []);

  function walk(value: unknown, shape: SchemaNode, at: Path): void {
    if (shape.kind === 'list' && Array.isArray(value)) value.forEach((item: unknown, index) => walk(item, shape.item, [...at, index]));
    else if (shape.kind === 'section' && isSection(value)) for (const { camel, shape: inner } of shape.keys) walk(value[camel], inner, [...at, camel]);
    else if (shape.kind === 'map' && isSection(value)) for (const [name, item] of Object.entries(value)) walk(item, shape.item, [...at, name]);
    else if (shape.kind === 'value' && shape.meta?.unit === 'duration' && (typeof value === 'string' || typeof value === 'number') && /^0*[1-9]\d{0,2}(?:\.\d+)?$/.test(String(value)) && !sources.isCode(at)) {
      sources.warn(at, `${value} without a unit is ${value} milliseconds; write ${value}s for seconds, or ${value}ms`);
    }
  }
}

/** Shortest prefixes of a network that is no mistake, IPv4 and IPv6, in bits. */
const shortest = { 4: 8, 6: 16 } as const;
/** Bits before an IPv4 address in `::ffff:0:0/96`. */
const mappedBits = 96;

/** Warns about lists that name nearly every address. */
export function checkWideTrust({ trustProxy, clientIpHeader, rateLimit, guard }: ParsedConfig, sources: Sources): void {
  const effects: [Path, readonly string[], string][] = [
    [['trustProxy'], trustProxy, 'any client there can claim any address, and pass limits and bans by it; name your proxies. Example: [loopback, 10.0.0.5]'],
    [['rateLimit', 'exempt'], rateLimit.exempt, 'no limit applies to anybody there. Example: [10.0.0.5]'],
    [['guard', 'deny'], guard.deny, 'nobody there may call. Example: [203.0.113.0/24]'],
  ];
  for (const [at, entries, effect] of effects) {
    entries.forEach((entry, index) => {
      const [address = '', prefix] = entry.split('/');
      // A network of IPv4 addresses as IPv6 shows them.
      const mapped = /^(?:0*:)+ffff:/i.test(address) && Number(prefix) >= mappedBits;
      const bits = Number(prefix) - (mapped ? mappedBits : 0);
      if (prefix !== undefined && bits < shortest[address.includes(':') && !mapped ? 6 : 4]) sources.warn([...at, index], `${entry} is a great part of the Internet: ${effect}`);
    });
  }
  if (trustProxy.length === 0 && clientIpHeader !== null) sources.warn(['clientIpHeader'], `${clientIpHeader} is never read, because trust_proxy names no peer. Example: trust_proxy: [loopback]`);
}

/** Warns about names, patterns and origins that no request can match. */
export function checkPatterns({ cors, auth, llm, guard }: ParsedConfig, sources: Sources): void {
  cors?.allowOrigins.forEach((written, index) => {
    const url = URL.parse(written);
    if (written === '*' || written === 'null' || url === null || url.origin === 'null' || url.origin === written) return;
    sources.warn(['cors', 'allowOrigins', index], `matches nothing, because browsers send this origin as ${url.origin}`);
  });
  auth.keys.forEach(({ models }, index) => models.forEach((model, each) => {
    if (model.includes('*')) sources.warn(['auth', 'keys', index, 'models', each], 'matches nothing, because names of models are compared as a whole here. Example: gpt-4o-mini');
  }));
  const renames: [Path, Readonly<Record<string, string>>][] = [[['llm', 'models'], llm.models], ...llm.backupProviders.map(({ models }, index): [Path, typeof models] => [['llm', 'backupProviders', index, 'models'], models])];
  for (const [at, models] of renames) {
    for (const name of Object.keys(models)) if (name.includes('*')) sources.warn([...at, name], 'matches nothing, because names of models are compared as a whole here; model renames every model');
  }
  guard.allow.forEach((entry, index) => {
    if (guard.deny.includes(entry)) sources.warn(['guard', 'allow', index], `${entry} is denied by guard.deny, which wins`);
  });
}

/** Packages that a configuration needs and the package manager does not install by itself. */
const optional: readonly (readonly [name: string, at: Path, isNeeded: (parsed: ParsedConfig) => boolean])[] = [
  ['redis', ['rateLimit', 'redisUrl'], ({ rateLimit }) => rateLimit.redisUrl !== null],
  ['rate-limit-redis', ['rateLimit', 'redisUrl'], ({ rateLimit }) => rateLimit.redisUrl !== null && rateLimit.address.limit > 0],
  ['pg', ['audit', 'postgres', 'url'], ({ audit }) => audit.postgres.url !== null],
  ['jose', ['auth', 'mode'], ({ auth }) => auth.mode === 'jwt'],
];

/** Warns about optional packages that the configuration needs. @param isInstalled tests pass another. */
export function checkPackages(parsed: ParsedConfig, sources: Sources, isInstalled = resolves): void {
  const missing = optional.filter(([name, , isNeeded]) => isNeeded(parsed) && !isInstalled(name));
  for (const [name, at] of missing) sources.warn(at, `needs the package ${name}, which is not installed beside this one. Example: npm install ${name}`);
}

function resolves(name: string): boolean {
  try {
    return import.meta.resolve(name) !== '';
  } catch {
    return false;
  }
}

/** Checks certificate and key of the server: readable, of one pair, not swapped, valid now, for the name that is served. */
export function checkServerCertificate({ server: { tls } }: ParsedConfig, sources: Sources): void {
  if (!tls || tls.certPath === null || tls.keyPath === null) return;
  const at = ['server', 'tls'];
  const entries: [Path, Pick<typeof tls, 'certPath' | 'keyPath' | 'serverName'>][] = [[at, tls], ...tls.others.map((other, index): [Path, typeof other] => [[...at, 'others', index], other])];
  for (const [place, { certPath, keyPath, serverName }] of entries) {
    const [certificate] = checkCertificatePair(place, certPath, keyPath, sources);
    if (certificate === undefined || serverName === null || certificate.checkHost(serverName) !== undefined) continue;
    sources.warn([...place, 'serverName'], `${serverName} is no name of the certificate (${certificate.subjectAltName ?? 'which has none'}), so clients that check it refuse it`);
  }
}

/** Checks the file of the authorities of Redis. */
export function checkRedisAuthorities({ rateLimit: { redisUrl, redisCaPath } }: ParsedConfig, sources: Sources): void {
  if (redisCaPath === null) return;
  readCertificates(['rateLimit', 'redisCaPath'], redisCaPath, sources);
  if (redisUrl !== null && !redisUrl.startsWith('rediss')) sources.warn(['rateLimit', 'redisCaPath'], 'has no effect, because Redis is reached without TLS; the URL of TLS begins with rediss://');
}

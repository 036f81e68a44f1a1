import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isOwn } from './derive.ts';
import { type Path, whyUnreadable } from '../values/values.ts';
import type { ParsedConfig } from './schema.ts';
import type { Sources } from './sources.ts';
import { systemClock } from '../platform/platform.ts';

type Target = ParsedConfig['llm']['backupProviders'][number];

/** An upstream in the configuration: its section, its connection keys and its URL, null when a provider decides it. */
interface Upstream {
  readonly at: Path;
  readonly keys: Pick<Target, 'host' | 'caPath' | 'certPath' | 'keyPath' | 'serverName'>;
  readonly url: URL | null;
}

/** Checks the names, certificates and keys with which upstreams are connected to. */
export function checkPeers({ newapi, llm }: ParsedConfig, sources: Sources): void {
  const targets: [Path, Target][] = [[['llm'], llm], ...llm.backupProviders.map((target, index): [Path, Target] => [['llm', 'backupProviders', index], target])];
  checkPeer({ at: ['newapi'], keys: newapi, url: new URL(newapi.baseUrl) }, sources);
  for (const [at, target] of targets) {
    const inherits = target.provider === 'newapi' && target.endpoint === null;
    const host = target.host ?? (isOwn(target) ? 'target' : inherits ? null : 'client');
    checkPeer({ at, keys: { ...target, host }, url: urlOf(target, newapi.baseUrl) }, sources);
  }
}

function urlOf({ provider, endpoint }: Target, baseUrl: string): URL | null {
  const preset = typeof provider === 'string' ? (provider === 'newapi' ? baseUrl : null) : provider.endpoint;
  return URL.parse(endpoint ?? preset ?? '');
}

function checkPeer(peer: Upstream, sources: Sources): void {
  const { at, keys: { host, caPath, certPath, keyPath, serverName }, url } = peer;
  if (caPath !== null) readCertificates([...at, 'caPath'], caPath, sources);
  checkClientCertificate(at, certPath, keyPath, sources);
  if (url === null) return;
  if (url.protocol === 'http:') {
    const unused = Object.entries({ caPath, certPath, keyPath, serverName }).filter(([, value]) => value !== null);
    for (const [key] of unused) sources.warn([...at, key], `has no effect, because ${url.host} is reached over http`);
    return;
  }
  if (host === 'client') {
    sources.warn([...at, 'host'], `the client's Host is sent to ${url.host} over TLS, where it can select another virtual host than the certificate names; set host: target, unless the server accepts every Host`);
  } else if (host === 'target' && serverName !== null && serverName !== url.hostname.toLowerCase()) {
    sources.warn([...at, 'serverName'], `the Host header names ${url.host} and TLS names ${serverName}; some servers refuse different names`);
  }
}

function checkClientCertificate(at: Path, certPath: string | null, keyPath: string | null, sources: Sources): void {
  if ((certPath === null) !== (keyPath === null)) {
    const [given, missing, example] = certPath === null ? ['keyPath', 'cert_path', '/certs/client.crt'] : ['certPath', 'key_path', '/certs/client.key'];
    sources.refuse([...at, given], { expected: `${missing} as well`, example }, 'nothing');
  }
  checkCertificatePair(at, certPath, keyPath, sources);
}

/**
 * Checks that a certificate and a key can be read and belong together.
 * @param names those of the two keys.
 * @returns the certificates, that of the pair first.
 */
export function checkCertificatePair(at: Path, certPath: string | null, keyPath: string | null, sources: Sources, [cert, own]: readonly [cert: string, key: string] = ['certPath', 'keyPath']): readonly X509Certificate[] {
  const certificates = certPath === null ? [] : readCertificates([...at, cert], certPath, sources);
  const key = keyPath === null ? null : read([...at, own], keyPath, 'a PEM file of a private key without a passphrase', sources, createPrivateKey);
  if (certificates.length === 0 || key === null) return certificates;
  const place = [...at, own];
  // Two keys of one pair have one public key.
  const mine = spki(createPublicKey(key));
  const its = certificates.findIndex(({ publicKey }) => spki(publicKey).equals(mine));
  if (its === -1) sources.refuse(place, { expected: 'the private key of the certificate in cert_path' }, `${sources.got(place)}, which belongs to another certificate`);
  else if (its > 0) sources.refuse([...at, cert], { expected: 'the certificate of the key first, and then those that signed it' }, `${sources.got([...at, cert])}, where it is number ${its + 1}`);
  return certificates;
}

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

/** The certificates of a PEM file; empty when there is a problem. One that is not valid now is worth a warning. */
export function readCertificates(at: Path, path: string, sources: Sources): readonly X509Certificate[] {
  const certificates = read(at, path, 'a PEM file of certificates', sources, (text) => {
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) throw new Error('no certificate in it');
    return blocks.map((block) => new X509Certificate(block));
  }) ?? [];
  const now = systemClock.now();
  const expired = certificates.find(({ validToDate }) => validToDate.getTime() < now);
  const early = certificates.find(({ validFromDate }) => validFromDate.getTime() > now);
  if (expired !== undefined) sources.warn(at, `holds a certificate that expired at ${expired.validToDate.toISOString()}`);
  if (early !== undefined) sources.warn(at, `holds a certificate that is not valid before ${early.validFromDate.toISOString()}`);
  return certificates;
}

/** SECURITY: an error of a parser is not quoted, because it may contain a part of a private key. */
function read<T>(at: Path, path: string, expected: string, sources: Sources, parse: (text: string) => T): T | null {
  if (!sources.readsFiles) return null;
  // The gate follows the files of its own certificates by itself, both of a pair together.
  if (at[0] !== 'server') sources.report.files.add(path);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    sources.refuse(at, { expected: 'a readable file' }, `${sources.got(at)} (${whyUnreadable(error)})`);
    return null;
  }
  try {
    return parse(text);
  } catch {
    sources.refuse(at, { expected }, `${sources.got(at)}, which holds ${contentOf(text, at.at(-1) !== 'caPath')}`);
    return null;
  }
}

/** What a PEM file holds in place of what was expected. */
function contentOf(text: string, isPair: boolean): string {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(text)) return 'a key with a passphrase';
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return `a private key${isPair ? ': are cert_path and key_path swapped?' : ''}`;
  if (text.includes('-----BEGIN CERTIFICATE-----')) return 'a certificate: are cert_path and key_path swapped?';
  return text.includes('-----BEGIN ') ? 'none that can be read' : 'none';
}

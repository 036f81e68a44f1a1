import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CryptoKey, FlattenedJWSInput, JWSHeaderParameters, JWTPayload, JWTVerifyOptions } from 'jose';
import type { Clock } from '../../types/clock.d.ts';
import type { Config, JwtConfig } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { ConfigError, expectation } from '../errors.ts';
import { IssuerKeys, KeysUnavailable } from './jwks.ts';
import { type Calendar, calendarOf, type OutboundProxy } from '../platform/platform.ts';

/** The result of verifying a token. SECURITY: callers never learn the reason of a refusal. */
export type JwtVerdict =
  | { readonly kind: 'caller'; readonly name: string }
  | { readonly kind: 'refused'; readonly reason: string }
  /** The issuer's keys cannot be fetched. */
  | { readonly kind: 'unavailable' };

/** Most verified tokens that are cached; the least recently used are dropped first. */
const maxCached = 10_000;
/** Longest accepted token in bytes; identity providers issue shorter ones. */
const maxToken = 16_384;
/** Accepted difference of clocks, seconds. */
const tolerance = 5;
/** A subject is printable ASCII, since it becomes a caller's name in records, limits and the queue. */
const subject = /^[\x20-\x7e]{1,255}$/;
const compact = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/** Whether a credential has the form of a JWT (RFC 7515 §7.1), good or not. */
export const looksLikeJwt = (credential: string): boolean => compact.test(credential);

type Jose = typeof import('jose');

/**
 * Verifies tokens of the configured issuer: signature by a pinned algorithm and the issuer's keys, issuer, audience, expiry.
 * A verified token is cached under its SHA-256 until it expires or the issuer's keys change.
 */
export class JwtVerifier {
  readonly #calendar: Calendar;
  readonly #keys: IssuerKeys;
  readonly #options: JWTVerifyOptions;
  readonly #known = new LRUCache<string, { readonly name: string; readonly until: number }>({ max: maxCached });
  readonly #asked = new Map<string, Promise<JwtVerdict>>();

  constructor(clock: Clock, log: Logger, config: JwtConfig, proxies: OutboundProxy | null = null) {
    const { issuer, audience, jwksUri, algorithms } = config;
    this.#calendar = calendarOf(clock);
    this.#keys = new IssuerKeys({ clock, log, proxies }, jwksUri as string, () => this.#known.clear());
    this.#options = { issuer: issuer as string, audience: audience as string, algorithms: [...algorithms], clockTolerance: tolerance, requiredClaims: ['exp', 'sub'] };
  }

  /** The name of a caller whose token was verified before and is still valid. */
  known(token: string): string | null {
    if (this.#known.size === 0 || token.length > maxToken) return null;
    this.#keys.refresh();
    const found = this.#known.get(digest(token));
    return found !== undefined && found.until > this.#calendar.now() ? found.name : null;
  }

  /** Never rejects. Concurrent calls with one token share one verification. */
  verify(token: string): Promise<JwtVerdict> {
    if (token.length > maxToken) return Promise.resolve(refused('too_large'));
    const id = digest(token);
    const asked = this.#asked.get(id);
    if (asked !== undefined) return asked;
    const verdict = this.#verify(token, id).finally(() => this.#asked.delete(id));
    this.#asked.set(id, verdict);
    return verdict;
  }

  async #verify(token: string, id: string): Promise<JwtVerdict> {
    try {
      const { sub = '', exp = 0 } = await this.#claims(token, await import('jose'));
      if (typeof sub !== 'string' || !subject.test(sub)) return refused('subject');
      const name = `jwt:${sub}`;
      this.#known.set(id, { name, until: (exp + tolerance) * 1000 });
      return { kind: 'caller', name };
    } catch (error) {
      return error instanceof KeysUnavailable ? { kind: 'unavailable' } : refused(reasonOf(error));
    }
  }

  async #claims(token: string, jose: Jose): Promise<JWTPayload> {
    const options = { ...this.#options, currentDate: new Date(this.#calendar.now()) };
    const find = (header: JWSHeaderParameters, jws: FlattenedJWSInput): Promise<CryptoKey> => this.#keys.find(jose.createLocalJWKSet, header, jws);
    try {
      return (await jose.jwtVerify(token, find, options)).payload;
    } catch (error) {
      if (!(error instanceof jose.errors.JWKSMultipleMatchingKeys)) throw error;
      return this.#byAny(token, error, options, jose);
    }
  }

  /** For a token that names no key while the issuer has several: one of them must verify it. */
  async #byAny(token: string, candidates: AsyncIterable<CryptoKey>, options: JWTVerifyOptions, { jwtVerify, errors }: Jose): Promise<JWTPayload> {
    for await (const key of candidates) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

const digest = (token: string): string => hash('sha256', token);
const refused = (reason: string): JwtVerdict => ({ kind: 'refused', reason });

/** The error code of jose for the log, without the value of the claim. */
function reasonOf(error: unknown): string {
  const { code, claim } = error as { code?: unknown; claim?: unknown };
  const named = typeof code === 'string' ? code.replace(/^ERR_/, '').toLowerCase() : 'malformed';
  return typeof claim === 'string' && /^\w{1,16}$/.test(claim) ? `${named}:${claim}` : named;
}

/**
 * The verifier of a configuration; null in other modes.
 * @throws ConfigError when the optional package jose is missing.
 */
export function jwtVerifierOf({ auth: { mode, jwt } }: Config, clock: Clock, log: Logger, proxies: OutboundProxy | null = null): JwtVerifier | null {
  if (mode !== 'jwt' || jwt === null) return null;
  try {
    import.meta.resolve('jose');
  } catch {
    throw new ConfigError([{ path: 'auth.mode', message: expectation('the package jose beside this one', 'nothing', 'npm install jose') }]);
  }
  return new JwtVerifier(clock, log, jwt, proxies);
}

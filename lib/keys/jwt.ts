import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CryptoKey, FlattenedJWSInput, JWSHeaderParameters, JWTPayload, JWTVerifyOptions } from 'jose';
import type { Clock } from '../../types/clock.d.ts';
import type { Config, JwtConfig } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { ConfigError, expectation } from '../errors.ts';
import { IssuerKeys, KeysUnavailable } from './jwks.ts';

/** What is to be thought of a token. Strangers are told none of the reasons. */
export type JwtVerdict =
  | { readonly kind: 'caller'; readonly name: string }
  | { readonly kind: 'refused'; readonly reason: string }
  /** The issuer's keys cannot be had. */
  | { readonly kind: 'unavailable' };

/** Tokens verified and not forgotten; the least recently used go first. */
const remembered = 10_000;
/** Longer ones no identity provider gives out, bytes. */
const longest = 16_384;
/** Clocks differ, seconds. */
const tolerance = 5;
/** Visible ASCII: a subject is a name in records and fairness keys. */
const subject = /^[\x20-\x7e]{1,255}$/;
const compact = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/** Whether a credential has the form of a JWT (RFC 7515 §7.1), good or not. */
export const looksLikeJwt = (credential: string): boolean => compact.test(credential);

type Jose = typeof import('jose');

/**
 * Verifies tokens of the configured issuer: signature by a pinned algorithm and the issuer's keys, issuer, audience, expiry.
 * A token is verified once and known by its SHA-256 until it expires or the issuer's keys change.
 */
export class JwtVerifier {
  readonly #clock: Clock;
  readonly #keys: IssuerKeys;
  readonly #options: JWTVerifyOptions;
  readonly #known = new LRUCache<string, { readonly name: string; readonly until: number }>({ max: remembered });
  readonly #asked = new Map<string, Promise<JwtVerdict>>();

  constructor(clock: Clock, log: Logger, config: JwtConfig) {
    const { issuer, audience, jwksUri, algorithms } = config;
    this.#clock = clock;
    this.#keys = new IssuerKeys(clock, log, jwksUri as string, () => this.#known.clear());
    this.#options = { issuer: issuer as string, audience: audience as string, algorithms: [...algorithms], clockTolerance: tolerance, requiredClaims: ['exp', 'sub'] };
  }

  /** The name of a caller whose token was verified before and still holds. */
  known(token: string): string | null {
    if (this.#known.size === 0 || token.length > longest) return null;
    this.#keys.refresh();
    const found = this.#known.get(digest(token));
    return found !== undefined && found.until > this.#clock.now() ? found.name : null;
  }

  /** Never rejects. Who asks about a token that is being verified gets the same answer. */
  verify(token: string): Promise<JwtVerdict> {
    if (token.length > longest) return Promise.resolve(refused('too_large'));
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
      if (!subject.test(sub)) return refused('subject');
      const name = `jwt:${sub}`;
      this.#known.set(id, { name, until: (exp + tolerance) * 1000 });
      return { kind: 'caller', name };
    } catch (error) {
      return error instanceof KeysUnavailable ? { kind: 'unavailable' } : refused(reasonOf(error));
    }
  }

  async #claims(token: string, jose: Jose): Promise<JWTPayload> {
    const options = { ...this.#options, currentDate: new Date(this.#clock.now()) };
    const find = (header: JWSHeaderParameters, jws: FlattenedJWSInput): Promise<CryptoKey> => this.#keys.find(jose.createLocalJWKSet, header, jws);
    try {
      return (await jose.jwtVerify(token, find, options)).payload;
    } catch (error) {
      if (!(error instanceof jose.errors.JWKSMultipleMatchingKeys)) throw error;
      return this.#byAny(token, error, options, jose);
    }
  }

  /** A token that names no key, of an issuer with several: one of them must fit. */
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

/** jose's code, for the log; what a claim held is not said. */
function reasonOf(error: unknown): string {
  const { code, claim } = error as { code?: unknown; claim?: unknown };
  const named = typeof code === 'string' ? code.replace(/^ERR_/, '').toLowerCase() : 'malformed';
  return typeof claim === 'string' && /^\w{1,16}$/.test(claim) ? `${named}:${claim}` : named;
}

/**
 * The verifier of a configuration; null in other modes.
 * @throws ConfigError when the optional package jose is missing.
 */
export function jwtVerifierOf({ auth: { mode, jwt } }: Config, clock: Clock, log: Logger): JwtVerifier | null {
  if (mode !== 'jwt' || jwt === null) return null;
  try {
    import.meta.resolve('jose');
  } catch {
    throw new ConfigError([{ path: 'auth.mode', message: expectation('the package jose beside this one', 'nothing', 'npm install jose') }]);
  }
  return new JwtVerifier(clock, log, jwt);
}

import type { CryptoKey, FlattenedJWSInput, JSONWebKeySet, JWSHeaderParameters, LocalJWKSet } from 'jose';
import type { Clock } from '../../types/clock.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { describe } from '../platform/platform.ts';

/** Keys are looked at again this often, milliseconds: one that its issuer took back must not stay good. */
const renewEvery = 600_000;
/** An unknown key's name asks the issuer no more often than this, milliseconds, whoever makes names up. */
const pause = 30_000;
/** The same while the issuer does not answer. */
const pauseAfterFailure = 5_000;
/** A request may wait for the answer, milliseconds. */
const patience = 5_000;
/** Bytes of an answer that is read. */
const longest = 1_048_576;

/** The issuer cannot be asked for a key that is not known yet: nobody can tell whether the token is good. */
export class KeysUnavailable extends Error {}

/** Makes a resolver of keys; jose's own. */
export type MakeKeySet = (keys: JSONWebKeySet) => LocalJWKSet;

/**
 * The public keys of an issuer (RFC 7517 §5), fetched when first needed and again for a key nobody knows or every ten
 * minutes. While the issuer is away the keys known stay good.
 */
export class IssuerKeys {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #uri: string;
  readonly #changed: () => void;
  #make: MakeKeySet | null = null;
  #keys: LocalJWKSet | null = null;
  #text = '';
  #triedAt = Number.NEGATIVE_INFINITY;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #failed = false;
  #fetching: Promise<void> | null = null;

  /** @param changed called when the issuer's keys are others than before. */
  constructor(clock: Clock, log: Logger, uri: string, changed: () => void) {
    this.#clock = clock;
    this.#log = log;
    this.#uri = uri;
    this.#changed = changed;
  }

  /** Renews what is old, in the background. */
  refresh(): void {
    if (this.#make !== null && this.#isOld()) void this.#fetch(this.#make);
  }

  /**
   * The key that a token's header names.
   * @throws KeysUnavailable, or jose's error for a key the issuer does not have.
   */
  async find(make: MakeKeySet, header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    this.#make = make;
    if (this.#keys === null) await this.#fetch(make);
    else this.refresh();
    if (this.#keys === null) throw new KeysUnavailable();
    try {
      return await this.#keys(header, token);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error;
      await this.#fetch(make);
      if (this.#failed) throw new KeysUnavailable();
      return this.#keys(header, token);
    }
  }

  #isOld(): boolean {
    return this.#clock.now() - this.#fetchedAt >= renewEvery;
  }

  /** Asks the issuer, unless it was asked just now. Never rejects. */
  #fetch(make: MakeKeySet): Promise<void> {
    if (this.#fetching !== null) return this.#fetching;
    if (this.#clock.now() - this.#triedAt < (this.#failed ? pauseAfterFailure : pause)) return Promise.resolve();
    this.#triedAt = this.#clock.now();
    this.#fetching = this.#load(make).finally(() => {
      this.#fetching = null;
    });
    return this.#fetching;
  }

  async #load(make: MakeKeySet): Promise<void> {
    try {
      const text = await download(this.#uri);
      if (text !== this.#text) this.#replace(make(JSON.parse(text) as JSONWebKeySet), text);
      this.#fetchedAt = this.#clock.now();
      if (this.#failed) this.#log.info({}, 'auth.jwks_back');
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#log.error({ error: describe(error), effect: this.#keys === null ? 'no token can be verified' : 'keys known go on, new ones are refused' }, 'auth.jwks_unavailable');
      this.#failed = true;
    }
  }

  #replace(keys: LocalJWKSet, text: string): void {
    const isFirst = this.#keys === null;
    this.#keys = keys;
    this.#text = text;
    if (isFirst) return;
    this.#log.info({ keys: keys.jwks().keys.map(({ kid }) => kid ?? null).slice(0, 20) }, 'auth.jwks_rotated');
    this.#changed();
  }
}

/** SECURITY: no redirect is followed, and no more is read than a key set can be. */
async function download(uri: string): Promise<string> {
  const answer = await fetch(uri, { redirect: 'error', headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(patience) });
  if (!answer.ok || answer.body === null) throw new Error(`expected a key set, got status ${answer.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > longest) throw new Error(`expected a key set of at most ${longest} bytes`);
  }
  return Buffer.concat(chunks).toString();
}

import type { CryptoKey, FlattenedJWSInput, JSONWebKeySet, JWSHeaderParameters, LocalJWKSet } from 'jose';
import type { Clock } from '../../types/clock.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { describe, inBackground, type OutboundProxy, type ProxyHop } from '../platform/platform.ts';

/** Interval between two fetches of the keys, milliseconds: a key that its issuer has withdrawn must not stay valid. */
const renewEvery = 600_000;
/** Shortest time between two fetches caused by unknown key names, milliseconds. Callers can invent such names. */
const pause = 30_000;
/** The same while the issuer does not answer, milliseconds. */
const pauseAfterFailure = 5_000;
/** Time limit of a fetch, milliseconds: requests wait for it. */
const fetchTimeout = 5_000;
/** Longest accepted key set, bytes. */
const maxKeySet = 1_048_576;

/** An unknown key cannot be fetched from the issuer, so the token can be neither accepted nor refused. */
export class KeysUnavailable extends Error {}

/** `createLocalJWKSet` of jose. */
export type MakeKeySet = (keys: JSONWebKeySet) => LocalJWKSet;

/** What the keys of an issuer need of the gate. */
export interface IssuerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Proxies for connections to the outside. */
  readonly proxies: OutboundProxy | null;
}

/**
 * The public keys of an issuer (RFC 7517 §5), fetched at the first token, then every ten minutes and for an unknown key name.
 * While the issuer does not answer, the known keys stay valid.
 */
export class IssuerKeys {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #uri: string;
  readonly #proxy: ProxyHop | null;
  readonly #changed: () => void;
  #make: MakeKeySet | null = null;
  #keys: LocalJWKSet | null = null;
  #text = '';
  #triedAt = Number.NEGATIVE_INFINITY;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #failed = false;
  #fetching: Promise<void> | null = null;

  /** @param changed called when the issuer has replaced its keys. */
  constructor({ clock, log, proxies }: IssuerDeps, uri: string, changed: () => void) {
    this.#clock = clock;
    this.#log = log;
    this.#uri = uri;
    this.#proxy = proxies?.hopTo(new URL(uri)) ?? null;
    this.#changed = changed;
  }

  /** Fetches outdated keys again, in the background. */
  refresh(): void {
    if (this.#make !== null && this.#isOld()) inBackground(this.#log, 'jwks', this.#fetch(this.#make));
  }

  /**
   * The key that a token's header names.
   * @throws KeysUnavailable, or the error of jose for a key that the issuer does not have.
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
    return this.#clock.monotonic() - this.#fetchedAt >= renewEvery;
  }

  /** Fetches the keys, unless that was done a moment ago. Never rejects. */
  #fetch(make: MakeKeySet): Promise<void> {
    if (this.#fetching !== null) return this.#fetching;
    if (this.#clock.monotonic() - this.#triedAt < (this.#failed ? pauseAfterFailure : pause)) return Promise.resolve();
    this.#triedAt = this.#clock.monotonic();
    this.#fetching = this.#load(make).finally(() => {
      this.#fetching = null;
    });
    return this.#fetching;
  }

  async #load(make: MakeKeySet): Promise<void> {
    try {
      const text = await download(this.#uri, this.#proxy);
      if (text !== this.#text) this.#replace(make(JSON.parse(text) as JSONWebKeySet), text);
      this.#fetchedAt = this.#clock.monotonic();
      if (this.#failed) this.#log.info({}, 'auth.jwks_back');
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#log.error({ error: describe(error), effect: this.#keys === null ? 'no token can be verified' : 'known keys stay valid, tokens with new keys are refused' }, 'auth.jwks_unavailable');
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

/** SECURITY: redirects are not followed, and the length is bounded. */
async function download(uri: string, proxy: ProxyHop | null): Promise<string> {
  const options = { redirect: 'error', headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(fetchTimeout) } as const;
  if (proxy === null) return textOf(await fetch(uri, options));
  // Loaded where it is used: the journal's thread reads this file too.
  const undici = await import('undici');
  const dispatcher = new undici.ProxyAgent({ uri: proxy.url.origin, ...(proxy.authorization !== null && { token: proxy.authorization }) });
  try {
    return await textOf(await undici.fetch(uri, { ...options, dispatcher }));
  } finally {
    await dispatcher.destroy();
  }
}

async function textOf(answer: { readonly ok: boolean; readonly status: number; readonly body: AsyncIterable<Uint8Array> | null }): Promise<string> {
  if (!answer.ok || answer.body === null) throw new Error(`expected a key set, got status ${answer.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxKeySet) throw new Error(`expected a key set of at most ${maxKeySet} bytes`);
  }
  return Buffer.concat(chunks).toString();
}

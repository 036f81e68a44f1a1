import { hash } from 'node:crypto';
import type { Clock } from '../../types/clock.d.ts';
import type { GatewayKey } from '../../types/config.d.ts';
import { AddressSet } from '../identity/identity.ts';
import { LRUCache } from 'lru-cache';
import { type Calendar, calendarOf, type Crew } from '../platform/platform.ts';

interface Entry {
  readonly key: GatewayKey;
  readonly from: AddressSet | null;
  readonly models: ReadonlySet<string> | null;
}

/** Why a key is not accepted. SECURITY: callers never learn it. */
export type KeyProblem = 'unknown' | 'disabled' | 'expired' | 'address';

/** Keys by digest and by name. */
class KeyTable {
  readonly byDigest = new Map<string, Entry>();
  readonly byName = new Map<string, Entry>();

  constructor(keys: readonly GatewayKey[]) {
    for (const key of keys) {
      const entry = { key, from: key.cidrs.length ? new AddressSet(key.cidrs) : null, models: key.models.length ? new Set(key.models) : null };
      this.byDigest.set(key.sha256, entry);
      this.byName.set(key.name, entry);
    }
  }
}

/**
 * The gateway keys of the configuration and of the registry, looked up by the SHA-256 of what the caller sent. So no
 * comparison takes a time that depends on a secret.
 */
export class GatewayKeys {
  #configured: KeyTable;
  #registered = new KeyTable([]);
  readonly #calendar: Calendar;
  /** Keys of both kinds. */
  size: number;

  constructor(clock: Clock, keys: readonly GatewayKey[]) {
    this.#calendar = calendarOf(clock);
    this.#configured = new KeyTable(keys);
    this.size = this.#configured.byDigest.size;
  }

  /** Replaces all configured keys. */
  configure(keys: readonly GatewayKey[]): void {
    this.#configured = new KeyTable(keys);
    this.size = this.#configured.byDigest.size + this.#registered.byDigest.size;
  }

  /** Replaces all registered keys. Configured keys stay, and are found first. */
  register(keys: readonly GatewayKey[]): void {
    this.#registered = new KeyTable(keys);
    this.size = this.#configured.byDigest.size + this.#registered.byDigest.size;
  }

  /**
   * @param credential exactly as sent, `sk-` included, without `Bearer `.
   * @param ip the verified client address.
   */
  find(credential: string, ip: string): GatewayKey | KeyProblem {
    const entry = this.#withDigest(hash('sha256', credential));
    if (!entry) return 'unknown';
    const { key, from } = entry;
    return this.#over(key) ?? (from === null || from.has(ip) ? key : 'address');
  }

  /** Why a key that was accepted before is no longer; null while it is valid. */
  problemOf({ sha256 }: GatewayKey): KeyProblem | null {
    const entry = this.#withDigest(sha256);
    return entry === undefined ? 'unknown' : this.#over(entry.key);
  }

  /** @returns the name of a gateway key, disabled and expired ones included; null for any other credential. */
  nameOf(credential: string): string | null {
    return this.#withDigest(hash('sha256', credential))?.key.name ?? null;
  }

  /** Whether a key may use a model. A key with a list of models refuses a request whose model is unknown. */
  allows(name: string, model: string | null): boolean {
    const models = (this.#configured.byName.get(name) ?? this.#registered.byName.get(name))?.models ?? null;
    return models === null || (model !== null && models.has(model));
  }

  #withDigest(digest: string): Entry | undefined {
    return this.#configured.byDigest.get(digest) ?? this.#registered.byDigest.get(digest);
  }

  #over({ disabled, expires }: GatewayKey): KeyProblem | null {
    if (disabled) return 'disabled';
    return expires !== null && expires <= this.#calendar.now() ? 'expired' : null;
  }
}

/** Most verified tokens; the least recently used are dropped first. By size, since `max` would allocate its memory, and take 10 ms, at the start. */
const capacity = { maxSize: 100_000, sizeCalculation: () => 1 };

/** Tokens, and how long they count from now on, milliseconds. */
type Accepted = readonly (readonly [id: string, left: number])[];

/** Identities of tokens that NewAPI has accepted within `auth.verified_ttl`. */
export class VerifiedTokens {
  readonly #until = new LRUCache<string, number>(capacity);
  readonly #clock: Clock;
  #ttl: number;

  readonly #crew: Crew | null;

  /** @param ttl milliseconds. @param crew other threads that accept tokens; null without any. */
  constructor(clock: Clock, ttl: number, crew: Crew | null = null) {
    this.#clock = clock;
    this.#ttl = ttl;
    this.#crew = crew;
    crew?.subscribe('tokens.accepted', {
      hear: (accepted) => {
        const now = clock.monotonic();
        for (const [id, left] of accepted as Accepted) this.#until.set(id, now + left);
      },
      known: () => [this.#accepted()],
    });
    crew?.subscribe('tokens.refused', { hear: (id) => void this.#until.delete(id as string), known: () => [] });
  }

  /** Changes the time for tokens that are accepted from now on, milliseconds. */
  configure(ttl: number): void {
    this.#ttl = ttl;
  }

  has(id: string): boolean {
    const until = this.#until.get(id);
    return until !== undefined && until > this.#clock.monotonic();
  }

  /**
   * Marks a token as accepted. Renewed only in the second half of its time, since a busy token is accepted thousands of times a second.
   * @returns whether it is new, or was renewed.
   */
  accept(id: string): boolean {
    const now = this.#clock.monotonic();
    if ((this.#until.get(id) ?? 0) >= now + this.#ttl / 2) return false;
    this.#until.set(id, now + this.#ttl);
    this.#crew?.publish('tokens.accepted', [[id, this.#ttl]] satisfies Accepted);
    return true;
  }

  /** All of them, the least recently used first. */
  #accepted(): Accepted {
    const now = this.#clock.monotonic();
    const accepted: [string, number][] = [];
    for (const [id, until] of [...this.#until.entries()].reverse()) if (until > now) accepted.push([id, until - now]);
    return accepted;
  }

  /**
   * Forgets a token that NewAPI has refused with 401. An answer to a request that is older than the token's last acceptance says
   * nothing about it.
   * @param since when the refused request began, monotonic milliseconds.
   */
  drop(id: string, since: number): void {
    if ((this.#until.get(id) ?? 0) - this.#ttl > since || !this.#until.delete(id)) return;
    this.#crew?.publish('tokens.refused', id);
  }
}

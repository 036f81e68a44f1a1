import { hash } from 'node:crypto';
import type { Clock } from '../../types/clock.d.ts';
import type { GatewayKey } from '../../types/config.d.ts';
import { AddressSet } from '../identity/identity.ts';

interface Entry {
  readonly key: GatewayKey;
  readonly from: AddressSet | null;
  readonly models: ReadonlySet<string> | null;
}

/** Why a key does not let its bearer in. Strangers are told none of it. */
export type KeyProblem = 'unknown' | 'disabled' | 'expired' | 'address';

/** Keys by the two ways of looking for one. */
class Shelf {
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
 * The gateway's own keys, those of the configuration and those of the registry, found by the SHA-256 of what the caller
 * sent: nothing is compared with a secret.
 */
export class GatewayKeys {
  readonly #configured: Shelf;
  #registered = new Shelf([]);
  readonly #clock: Clock;

  constructor(clock: Clock, keys: readonly GatewayKey[]) {
    this.#clock = clock;
    this.#configured = new Shelf(keys);
  }

  get size(): number {
    return this.#configured.byDigest.size + this.#registered.byDigest.size;
  }

  /** Takes the place of all that was registered before; what is configured stays, and is found first. */
  register(keys: readonly GatewayKey[]): void {
    this.#registered = new Shelf(keys);
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

  /** What has become of a key since it let somebody in; null while it is good. */
  problemOf({ sha256 }: GatewayKey): KeyProblem | null {
    const entry = this.#withDigest(sha256);
    return entry === undefined ? 'unknown' : this.#over(entry.key);
  }

  /** @returns the name of one of our keys, whatever is wrong with it; null for anything else. */
  nameOf(credential: string): string | null {
    return this.#withDigest(hash('sha256', credential))?.key.name ?? null;
  }

  /** A key with a list of models serves no request whose model is unknown. */
  allows(name: string, model: string | null): boolean {
    const models = (this.#configured.byName.get(name) ?? this.#registered.byName.get(name))?.models ?? null;
    return models === null || (model !== null && models.has(model));
  }

  #withDigest(digest: string): Entry | undefined {
    return this.#configured.byDigest.get(digest) ?? this.#registered.byDigest.get(digest);
  }

  #over({ disabled, expires }: GatewayKey): KeyProblem | null {
    if (disabled) return 'disabled';
    return expires !== null && expires <= this.#clock.now() ? 'expired' : null;
  }
}

import { hash } from 'node:crypto';
import type { Clock } from '../../types/clock.d.ts';
import type { GatewayKey } from '../../types/config.d.ts';
import { AddressSet } from '../identity/address.ts';

interface Entry {
  readonly key: GatewayKey;
  readonly from: AddressSet | null;
  readonly models: ReadonlySet<string> | null;
}

/** Why a key does not let its bearer in. Strangers are told none of it. */
export type KeyProblem = 'unknown' | 'disabled' | 'expired' | 'address';

/** The gateway's own keys, found by the SHA-256 of what the caller sent: nothing is compared with a secret. */
export class GatewayKeys {
  readonly #byDigest = new Map<string, Entry>();
  readonly #byName = new Map<string, Entry>();
  readonly #clock: Clock;

  constructor(clock: Clock, keys: readonly GatewayKey[]) {
    this.#clock = clock;
    for (const key of keys) {
      const entry = { key, from: key.cidrs.length ? new AddressSet(key.cidrs) : null, models: key.models.length ? new Set(key.models) : null };
      this.#byDigest.set(key.sha256, entry);
      this.#byName.set(key.name, entry);
    }
  }

  get size(): number {
    return this.#byDigest.size;
  }

  /**
   * @param credential exactly as sent, `sk-` included, without `Bearer `.
   * @param ip the verified client address.
   */
  find(credential: string, ip: string): GatewayKey | KeyProblem {
    const entry = this.#byDigest.get(hash('sha256', credential));
    if (!entry) return 'unknown';
    const { key, from } = entry;
    if (key.disabled) return 'disabled';
    if (key.expires !== null && key.expires <= this.#clock.now()) return 'expired';
    return from === null || from.has(ip) ? key : 'address';
  }

  /** @returns the name of one of our keys, whatever is wrong with it; null for anything else. */
  nameOf(credential: string): string | null {
    return this.#byDigest.get(hash('sha256', credential))?.key.name ?? null;
  }

  /** A key with a list of models serves no request whose model is unknown. */
  allows(name: string, model: string | null): boolean {
    const models = this.#byName.get(name)?.models ?? null;
    return models === null || (model !== null && models.has(model));
  }
}

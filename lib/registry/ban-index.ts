import type { TokenIdentity } from '../../types/context.d.ts';
import type { Ban } from '../../types/registry.d.ts';
import { AddressSet } from '../identity/identity.ts';

interface Network {
  readonly ban: Ban;
  readonly set: AddressSet;
}

/** The bans in force at one moment, by address, token and key. */
export class BanIndex {
  /** Unix milliseconds at which the first ban expires. */
  readonly until: number;
  readonly all: readonly Ban[];
  readonly isEmpty: boolean;
  readonly #addresses = new Map<string, Ban>();
  readonly #networks: Network[] = [];
  readonly #anyNetwork: AddressSet | null;
  readonly #tokens = new Map<string, Ban>();
  readonly #keys = new Map<string, Ban>();

  /** @param now Unix milliseconds. */
  constructor(bans: Iterable<Ban>, now: number) {
    this.all = [...bans].filter(({ expires }) => expires === null || expires > now);
    this.isEmpty = this.all.length === 0;
    this.until = this.all.reduce((soonest, { expires }) => Math.min(soonest, expires ?? soonest), Number.POSITIVE_INFINITY);
    for (const ban of this.all) {
      if (ban.kind !== 'address') (ban.kind === 'key' ? this.#keys : this.#tokens).set(ban.value, ban);
      else if (ban.value.includes('/')) this.#networks.push({ ban, set: new AddressSet([ban.value]) });
      else this.#addresses.set(ban.value, ban);
    }
    this.#anyNetwork = this.#networks.length === 0 ? null : new AddressSet(this.#networks.map(({ ban }) => ban.value));
  }

  ofAddress(ip: string): Ban | null {
    const ban = this.#addresses.get(ip);
    if (ban !== undefined) return ban;
    if (this.#anyNetwork === null || !this.#anyNetwork.has(ip)) return null;
    return this.#networks.find(({ set }) => set.has(ip))?.ban ?? null;
  }

  /** The ban of a token; it may name the identity of the token under a previous install secret. */
  ofToken({ id, former }: TokenIdentity): Ban | null {
    const ban = this.#tokens.get(id);
    if (ban !== undefined || former.length === 0) return ban ?? null;
    const known = former.find((each) => this.#tokens.has(each));
    return known === undefined ? null : (this.#tokens.get(known) ?? null);
  }

  ofKey(name: string): Ban | null {
    return this.#keys.get(name) ?? null;
  }
}

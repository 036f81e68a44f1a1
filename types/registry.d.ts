import type { Budget, RequestLimit, TokenLimit } from './config.d.ts';

/** Limits of a key. Null without a limit of its own. */
export interface OwnLimits {
  readonly requests: RequestLimit | null;
  readonly tokens: TokenLimit | null;
  readonly concurrency: number | null;
  readonly budget: Budget | null;
}

/** A gateway key for display, without the key and its upstream credential. Times are Unix milliseconds. */
export interface KeyView extends OwnLimits {
  readonly name: string;
  /** `config` keys can be changed in the configuration only. */
  readonly source: 'config' | 'registry';
  /** First 12 hex digits of the key's SHA-256. */
  readonly digest: string;
  readonly created: number | null;
  readonly expires: number | null;
  readonly disabled: boolean;
  readonly models: readonly string[];
  readonly cidrs: readonly string[];
  readonly hasUpstreamCredential: boolean;
  /** Time until which the replaced key is still accepted, or null. */
  readonly previousUntil: number | null;
  /** A request with it is answered as one with an unknown key, and a finding says so. */
  readonly honey: boolean;
}

/** Input of a new key. A missing field means no restriction. */
export interface NewKey extends Partial<OwnLimits> {
  readonly name: string;
  readonly expires?: number | null;
  readonly models?: readonly string[];
  readonly cidrs?: readonly string[];
  /** NewAPI token that replaces the key on routes that only NewAPI answers. */
  readonly upstreamCredential?: string | null;
  /** A key that grants nothing and raises a finding when it is used. Default: false. */
  readonly honey?: boolean;
}

/** A change of a key. What is missing stays as it is; null takes a limit away. */
export type KeyChange = { readonly [N in 'disabled' | 'expires' | 'models' | 'cidrs' | keyof OwnLimits]?: KeyView[N] };

/** A new key. The key itself cannot be read again later. */
export interface IssuedKey {
  readonly key: string;
  readonly view: KeyView;
}

/** A ban of an address or network, of a gateway key by name, or of a token by its identity. */
export interface Ban {
  readonly id: string;
  readonly kind: 'address' | 'key' | 'token';
  readonly value: string;
  readonly reason: string;
  readonly created: number;
  /** Unix milliseconds. Null: no end. */
  readonly expires: number | null;
}

/** Input of a new ban. */
export interface NewBan {
  /** An address or CIDR, the name of a key, or the 16 hex digits of a token identity. */
  readonly value: string;
  readonly kind?: Ban['kind'];
  readonly reason?: string;
  readonly expires?: number | null;
  /** Allows a ban of loopback, or of a network wider than /8 (IPv6: /16). */
  readonly force?: boolean;
}

/**
 * Gateway keys and bans that can change while the gate runs. The store is Redis with `rate_limit.redis_url`, else a file in
 * the directory of the journal. A change takes effect on every instance within two seconds.
 */
export interface Registry {
  keys(): readonly KeyView[];
  /** Creates a key. @throws HeimdallError `invalid_value` with the field. */
  createKey(key: NewKey): Promise<IssuedKey>;
  /** Replaces a key. @param overlap time for which the old key stays valid, in milliseconds. */
  rotateKey(name: string, overlap: number): Promise<IssuedKey>;
  /** @throws HeimdallError `invalid_value` with the field. */
  changeKey(name: string, change: KeyChange): Promise<KeyView>;
  removeKey(name: string): Promise<void>;
  bans(): readonly Ban[];
  ban(ban: NewBan): Promise<Ban>;
  /** Lifts bans. @param which id or value. @returns the number of lifted bans. */
  unban(which: string): Promise<number>;
}

/** A limit of a caller. `window`: seconds; null for requests at a time. Budgets are dollars. */
export interface LimitView {
  readonly rule: string;
  readonly limit: number;
  readonly remaining: number;
  readonly window: number | null;
}

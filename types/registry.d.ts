import type { Budget, RequestLimit, TokenLimit } from './config.d.ts';

/** What a key may use; null where it has no limit of its own. */
export interface OwnLimits {
  readonly requests: RequestLimit | null;
  readonly tokens: TokenLimit | null;
  readonly concurrency: number | null;
  readonly budget: Budget | null;
}

/** A gateway key as it may be shown: neither the key nor its upstream credential. Times are Unix milliseconds. */
export interface KeyView extends OwnLimits {
  readonly name: string;
  /** `config` keys are changed in the configuration alone. */
  readonly source: 'config' | 'registry';
  /** Hex SHA-256 of the key, its first 12 digits. */
  readonly digest: string;
  readonly created: number | null;
  readonly expires: number | null;
  readonly disabled: boolean;
  readonly models: readonly string[];
  readonly cidrs: readonly string[];
  readonly hasUpstreamCredential: boolean;
  /** Until when the key it replaced is still accepted, or null. */
  readonly previousUntil: number | null;
}

/** What a new key is made of; what is left out has no bound. */
export interface NewKey extends Partial<OwnLimits> {
  readonly name: string;
  readonly expires?: number | null;
  readonly models?: readonly string[];
  readonly cidrs?: readonly string[];
  /** NewAPI token sent in place of the key to routes only NewAPI answers. */
  readonly upstreamCredential?: string | null;
}

/** A key just made: the only moment at which it can be read. */
export interface IssuedKey {
  readonly key: string;
  readonly view: KeyView;
}

/** Somebody who may not call: an address or network, a gateway key by name, or a token by its identity. */
export interface Ban {
  readonly id: string;
  readonly kind: 'address' | 'key' | 'token';
  readonly value: string;
  readonly reason: string;
  readonly created: number;
  /** Null: until it is taken back. */
  readonly expires: number | null;
}

/** What a new ban is made of. */
export interface NewBan {
  /** An address or CIDR, the name of a key, or the 16 hex digits of a token identity. */
  readonly value: string;
  readonly kind?: Ban['kind'];
  readonly reason?: string;
  readonly expires?: number | null;
  /** Bans a network shorter than /8 (IPv6: /16), or loopback, all the same. */
  readonly force?: boolean;
}

/**
 * Gateway keys and bans that can change while the gate runs, shared by all instances: in Redis where there is one, else in
 * a file beside the journal. What is changed here is in force on every instance within two seconds.
 */
export interface Registry {
  keys(): readonly KeyView[];
  /** @throws HeimdallError `invalid_value` naming the field. */
  createKey(key: NewKey): Promise<IssuedKey>;
  /** @param overlap milliseconds for which the old key stays good. */
  rotateKey(name: string, overlap: number): Promise<IssuedKey>;
  changeKey(name: string, change: { readonly disabled?: boolean; readonly expires?: number | null }): Promise<KeyView>;
  removeKey(name: string): Promise<void>;
  bans(): readonly Ban[];
  ban(ban: NewBan): Promise<Ban>;
  /** @param which id or value. @returns how many were taken back. */
  unban(which: string): Promise<number>;
}

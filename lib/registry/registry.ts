// Keys and bans that change while the gate runs, in a file or in Redis.

import { dirname, join } from 'node:path';
import type { GatewayKey } from '../../types/config.d.ts';
import type { Subject } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import type { Ban, IssuedKey, KeyChange, KeyView, NewBan, NewKey, Registry } from '../../types/registry.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Core } from '../request/request.ts';
import { tokenIdentifier } from '../identity/identity.ts';
import { HeimdallError } from '../errors.ts';
import { shortestSecret } from '../config/config.ts';
import { type Calendar, calendarOf, type Redis } from '../platform/platform.ts';
import { BanIndex } from './ban-index.ts';
import { readBan, spelling } from './ban.ts';
import type { Contents, StoredKey } from './contents.ts';
import { FileStore } from './file-store.ts';
import { invalid } from './invalid.ts';
import { checkExpiry, digestOf, makeKey, makeToken, readBounds, readNewKey } from './new-key.ts';
import { banFields, logChanges } from './change-log.ts';
import { RedisStore } from './redis-store.ts';
import { Restraints } from './restraints.ts';
import { TransientStore } from './transient-store.ts';
import { Replica, type ReplicaCore } from './replica.ts';
import { SeenTokens } from './seen-tokens.ts';
import { CredentialVault } from './credential-vault.ts';
import { grantedKeys, viewOfConfigured, viewOfStored } from './key-view.ts';

export { BanIndex } from './ban-index.ts';
export type { Restraint } from './restraints.ts';
export { invalid } from './invalid.ts';
export { banJson, keyJson } from './public-view.ts';

const mostBans = 50_000;

/** The index in which the keys of callers are looked up. */
export interface KeyIndex {
  /** Number of keys, configured and registered. */
  readonly size: number;
  /** Replaces all registered keys. */
  register(keys: readonly GatewayKey[]): void;
}

/** Dependencies of a registry. */
export interface RegistryOptions {
  readonly core: Pick<Core, 'config'> & ReplicaCore;
  /** Null: keys and bans are stored in a file beside the journal. */
  readonly redis: Redis | null;
  readonly keys: KeyIndex;
  /** The install secret, then previous ones. */
  readonly secrets: () => readonly string[];
  /** Milliseconds to wait for another process that locks the file; default 250. */
  readonly lockTimeout?: number;
}

/** The file of keys and bans where there is no Redis. */
export const statePath = (auditPath: string): string => join(dirname(auditPath), 'heimdall.state.db');

/**
 * Keys and bans that change while the gate runs. The store is read every second. While it cannot be read, the known keys and
 * bans stay in force.
 */
export class KeyRegistry implements Registry {
  readonly #core: RegistryOptions['core'];
  /** Keys and bans end by it: a clock that jumps ends none early, and none late. */
  readonly #calendar: Calendar;
  readonly #index: KeyIndex;
  readonly #secrets: () => readonly string[];
  readonly #vault: CredentialVault;
  readonly #replica: Replica;
  readonly #tokens: SeenTokens;
  #configured: ReadonlySet<string>;
  readonly #listeners = new Set<() => void>();
  /** Accepted keys by name, with the stored text of each. */
  #granted = new Map<string, { readonly text: string; readonly keys: readonly GatewayKey[] }>();
  #banned = new BanIndex([], 0);
  /** Names of honey keys, by their identities as tokens. */
  #honey: ReadonlyMap<string, string> = new Map();
  /** There are honey keys. */
  hasHoney = false;
  #restraints = new Restraints([], 0);
  /** Unix milliseconds at which the next key or ban expires. */
  #until: number;
  /** Time of the last reading, Unix milliseconds. */
  #looked: number;

  constructor({ core, redis, keys, secrets, lockTimeout = 250 }: RegistryOptions) {
    this.#core = core;
    this.#calendar = calendarOf(core.clock);
    this.#index = keys;
    this.#secrets = secrets;
    this.#vault = new CredentialVault(secrets);
    this.#configured = new Set(core.config.auth.keys.map(({ name }) => name));
    const { enabled, path } = core.config.audit;
    const store = redis !== null ? new RedisStore(redis, core.log) : enabled ? new FileStore(statePath(path), lockTimeout) : new TransientStore();
    this.#replica = new Replica(core, store, { changed: (before, after, first) => this.#changed(before, after, first), readDone: () => this.#reportExpired() });
    this.#tokens = new SeenTokens(core, secrets, {
      remember: (names) => this.#replica.use((place) => place.remember(names, { now: this.#calendar.now(), oldest: this.#calendar.now() - core.config.audit.retention.records })),
      recall: (names) => this.#replica.use((place) => place.recall(names)),
    });
    this.#looked = this.#calendar.now();
    this.#until = Number.NEGATIVE_INFINITY;
  }

  /** Takes the keys of another configuration: a registered key of the same name does not count beside them. */
  configure(): void {
    this.#configured = new Set(this.#core.config.auth.keys.map(({ name }) => name));
    this.#register(this.#replica.contents);
    this.#findNextExpiry();
    for (const listener of this.#listeners) listener();
  }

  /** Starts reading the store, and resolves when the first reading is done. */
  ready(): Promise<void> {
    return this.#replica.ready();
  }

  /** The first reading is done, successful or not. */
  get settled(): boolean {
    return this.#replica.settled;
  }

  /** Why the last reading of the store failed; null when it succeeded. */
  get problem(): string | null {
    return this.#replica.problem;
  }

  /** Registers a listener. @param listener called when a key or a ban was added, removed, changed or has expired. @returns what removes it. */
  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The credentials at NewAPI that its keys are exchanged for, as far as they can be told from words. */
  get upstreamCredentials(): string[] {
    return [...this.#granted.values()].flatMap(({ keys: [key] }) => ((key?.upstreamCredential?.length ?? 0) >= shortestSecret ? [key?.upstreamCredential as string] : []));
  }

  /** The bans in force. */
  get inForce(): BanIndex {
    const { until } = this.#banned;
    if (until === Number.POSITIVE_INFINITY) return this.#banned;
    const now = this.#calendar.now();
    if (now >= until) this.#banned = new BanIndex(this.#replica.contents.bans.values(), now);
    return this.#banned;
  }

  /** The actions of the watch in force. */
  get restraints(): Restraints {
    const { until } = this.#restraints;
    if (until === Number.POSITIVE_INFINITY) return this.#restraints;
    const now = this.#calendar.now();
    if (now >= until) this.#restraints = new Restraints(this.#replica.contents.findings.values(), now);
    return this.#restraints;
  }

  /** The findings of the watch, the oldest first. */
  findings(): ReadonlyMap<string, Finding> {
    return this.#replica.contents.findings;
  }

  /**
   * Changes findings in one atomic step for all instances.
   * @param edit returns the entries to write for the present findings; null removes one. It may be called again.
   * @param isDurable false for a change that may be lost with the power.
   */
  async changeFindings(edit: (findings: ReadonlyMap<string, Finding>) => readonly (readonly [id: string, finding: Finding | null])[], isDurable = true): Promise<void> {
    await this.#replica.change(({ findings }) => ({ findings: edit(findings) }), isDurable);
  }

  /** The name of the honey key that a token is; null for any other. */
  honeyOf(token: TokenIdentity | null): string | null {
    if (token === null) return null;
    return this.#honey.get(token.id) ?? token.former.map((id) => this.#honey.get(id)).find((name) => name !== undefined) ?? null;
  }

  #identify(key: string): string {
    const [secret = '', ...previous] = this.#secrets();
    return tokenIdentifier(secret, previous)(key).id;
  }

  /** Notes a token that NewAPI has accepted, so that a report of leaked keys finds it. @param credential as sent. @param id its identity. */
  sawToken(credential: string, id: string): void {
    this.#tokens.add(credential, id);
  }

  /** Drops what is noted of a token. @param id its identity. */
  async forgetToken(id: string): Promise<void> {
    await this.#tokens.flush();
    await this.#replica.use((place) => place.forgetToken(id));
  }

  /**
   * Finds the callers of keys, each once: gateway keys, and tokens of NewAPI that were accepted here within `audit.retention.records`.
   * @param keys as sent, with or without `sk-`, or hex SHA-256 of that in any letters.
   */
  async ownersOf(keys: readonly string[]): Promise<readonly KeyOwner[]> {
    const forms = await this.#tokens.formsOf(keys);
    const tokens = await this.#tokens.find(forms);
    const ours = this.#digests();
    const found = new Map<string, KeyOwner>();
    for (const [at, { digests }] of forms.entries()) {
      const digest = digests.find((each) => ours.has(each));
      const token = tokens[at] ?? null;
      if (digest !== undefined) found.set(digest, { caller: { kind: 'key', id: ours.get(digest) as string }, digest });
      else if (token !== null) found.set(token, { caller: { kind: 'token', id: token }, digest: null });
    }
    return [...found.values()];
  }

  /** The digests of all gateway keys, those replaced by a rotation and still valid included, with the names of the keys. */
  #digests(): ReadonlyMap<string, string> {
    const all = new Map<string, string>();
    for (const { name, digest, previous } of this.#replica.contents.keys.values()) {
      if (previous !== null) all.set(previous.digest, name);
      all.set(digest, name);
    }
    for (const { name, sha256 } of this.#core.config.auth.keys) all.set(sha256, name);
    return all;
  }

  keys(): readonly KeyView[] {
    const now = this.#calendar.now();
    return [...this.#core.config.auth.keys.map(viewOfConfigured), ...[...this.#replica.contents.keys.values()].map((key) => viewOfStored(key, now))];
  }

  async createKey(input: NewKey): Promise<IssuedKey> {
    const now = this.#calendar.now();
    const { upstreamCredential, honey, ...draft } = readNewKey(input, now);
    const { name } = draft;
    const credential = upstreamCredential === null ? null : this.#vault.seal(upstreamCredential, name);
    return this.#issue(name, honey, (digest, { keys }) => {
      if (keys.has(name) || this.#configured.has(name)) throw invalid('name', 'another name than that of a key there is', JSON.stringify(name));
      return { ...draft, digest, previous: null, created: now, disabled: false, credential };
    });
  }

  async rotateKey(name: string, overlap: number): Promise<IssuedKey> {
    if (!Number.isSafeInteger(overlap) || overlap < 0) throw invalid('overlap', 'a duration, or 0', String(overlap), '24h');
    const previousUntil = this.#calendar.now() + overlap;
    return this.#issue(name, this.#replica.contents.keys.get(name)?.honey !== undefined, (digest, contents) => {
      const stored = this.#stored(name, contents);
      // SECURITY: a leaked key has no overlap.
      const isOver = overlap === 0 || leaksOf(contents, name).some((leak) => leak.digest === stored.digest);
      return { ...this.#sealedAnew(stored), digest, previous: isOver ? null : { digest: stored.digest, until: previousUntil } };
    });
  }

  async changeKey(name: string, change: KeyChange): Promise<KeyView> {
    const now = this.#calendar.now();
    const { disabled, expires, ...bounds } = change;
    if (expires !== undefined) checkExpiry(expires, now);
    const read = readBounds(bounds);
    const { keys } = await this.#replica.change((contents) => {
      const stored = this.#stored(name, contents);
      if (stored.honey !== undefined && disabled === false) throw invalid('disabled', 'true, since a honey key grants nothing', 'false');
      return { keys: [[name, { ...stored, ...read, disabled: disabled ?? stored.disabled, expires: expires === undefined ? stored.expires : expires }]] };
    });
    return viewOfStored(keys.get(name) as StoredKey, now);
  }

  async removeKey(name: string): Promise<void> {
    await this.#replica.change((contents) => ({ keys: [[this.#stored(name, contents).name, null]], findings: endedLeaks(contents, name) }));
  }

  bans(): readonly Ban[] {
    return this.inForce.all;
  }

  async ban(input: NewBan): Promise<Ban> {
    const now = this.#calendar.now();
    const read = readBan(input, (name) => this.#replica.contents.keys.has(name) || this.#configured.has(name), now);
    let made = read;
    await this.#replica.change(({ bans }) => {
      const before = [...bans.values()].find(({ kind, value }) => kind === read.kind && value === read.value);
      const over = [...bans.values()].filter(({ id, expires }) => id !== before?.id && expires !== null && expires <= now);
      if (bans.size - over.length >= mostBans) throw new HeimdallError('conflict', { message: `Expected fewer than ${mostBans} bans; networks in place of addresses need fewer.` });
      made = { ...read, id: before?.id ?? read.id };
      return { bans: [[made.id, made], ...over.map(({ id }) => [id, null] as const)] };
    });
    return made;
  }

  async unban(which: string): Promise<number> {
    const value = spelling(which.trim());
    const now = this.#calendar.now();
    let inForce = 0;
    await this.#replica.change(({ bans }) => {
      const found = [...bans.values()].filter((ban) => ban.id === value || ban.value === value);
      inForce = found.filter(({ expires }) => expires === null || expires > now).length;
      return { bans: found.map(({ id }) => [id, null] as const) };
    });
    return inForce;
  }

  async close(): Promise<void> {
    await this.#tokens.close();
    await this.#replica.close();
  }

  async #issue(name: string, isHoney: boolean, make: (digest: string, contents: Contents) => StoredKey): Promise<IssuedKey> {
    // A honey key looks like the keys among which it is left.
    const key = isHoney && this.#core.config.auth.mode === 'passthrough' ? makeToken() : makeKey();
    const trap = isHoney ? { disabled: true, previous: null, honey: { id: this.#identify(key), bare: digestOf(key.slice(3)) } } : {};
    const { keys } = await this.#replica.change((contents) => ({ keys: [[name, { ...make(digestOf(key), contents), ...trap }]], findings: endedLeaks(contents, name) }));
    return { key, view: viewOfStored(keys.get(name) as StoredKey, this.#calendar.now()) };
  }

  #stored(name: string, { keys }: Contents): StoredKey {
    const stored = keys.get(name);
    if (stored !== undefined) return stored;
    if (this.#configured.has(name)) throw invalid('name', 'a key of the registry, since those of auth.keys are changed in the configuration', JSON.stringify(name));
    throw new HeimdallError('not_found', { message: `There is no key named ${JSON.stringify(name)}.` });
  }

  /** Encrypts the credential under the current secret, so that a previous secret can be retired. */
  #sealedAnew(stored: StoredKey): StoredKey {
    const opened = stored.credential === null ? null : this.#vault.open(stored.credential, stored.name);
    return opened === null ? stored : { ...stored, credential: this.#vault.seal(opened, stored.name) };
  }

  #changed(before: Contents, after: Contents, first: boolean): void {
    const { log, config } = this.#core;
    const areSame = !first && before.keys === after.keys && before.bans === after.bans;
    if (first || before.keys !== after.keys) this.#register(after);
    if (areSame) this.#restraints = new Restraints(after.findings.values(), this.#calendar.now());
    else this.#findNextExpiry();
    if (!first) logChanges(log, before, after);
    else if (after.keys.size + after.bans.size > 0) log.info({ keys: after.keys.size, bans: after.bans.size }, 'registry.loaded');
    if (first && config.auth.mode === 'keys' && this.#index.size === 0) log.warn({ effect: 'every credentialed request is answered 401', fix: 'heimdall keys create NAME, or auth.keys' }, 'auth.no_keys');
    for (const listener of this.#listeners) listener();
  }

  #register({ keys }: Contents): void {
    const before = this.#granted;
    this.#honey = new Map([...keys.values()].flatMap(({ name, honey }) => (honey === undefined ? [] : [[honey.id, name]])));
    this.hasHoney = this.#honey.size > 0;
    this.#granted = new Map();
    for (const stored of keys.values()) {
      const text = JSON.stringify(stored);
      // An unchanged key keeps its object, since limits attach their state to it.
      const known = before.get(stored.name);
      const isShadowed = this.#configured.has(stored.name);
      this.#granted.set(stored.name, known?.text === text && isShadowed === (known.keys.length === 0) ? known : { text, keys: this.#grant(stored) });
    }
    this.#index.register([...this.#granted.values()].flatMap((grant) => grant.keys));
  }

  #grant(stored: StoredKey): readonly GatewayKey[] {
    const { name, credential } = stored;
    if (this.#configured.has(name)) {
      this.#core.log.warn({ key: name, effect: 'auth.keys has a key of this name, which counts instead' }, 'key.shadowed');
      return [];
    }
    const keys = grantedKeys(stored, this.#vault);
    if (credential !== null && keys[0].upstreamCredential === null) this.#core.log.error({ key: name, effect: 'it has no access to NewAPI', fix: 'name the install secret of then in previous_secrets, or make the key anew' }, 'key.credential_unreadable');
    return keys;
  }

  /** Finds the next expiry, from the last reading on: expiries since then are not reported yet. */
  #findNextExpiry(): void {
    const { bans, findings } = this.#replica.contents;
    const now = this.#calendar.now();
    this.#banned = new BanIndex(bans.values(), now);
    this.#restraints = new Restraints(findings.values(), now);
    this.#until = Number.POSITIVE_INFINITY;
    for (const { expires } of [...bans.values(), ...this.#ending()]) if (expires !== null && expires > this.#looked && expires < this.#until) this.#until = expires;
  }

  #ending(): readonly GatewayKeyEnd[] {
    const previous = [...this.#replica.contents.keys.values()].map((key) => ({ name: key.name, expires: key.previous?.until ?? null }));
    return [...this.#core.config.auth.keys, ...this.#replica.contents.keys.values(), ...previous];
  }

  /** Reports bans and keys that have expired since the last reading. */
  #reportExpired(): void {
    const { log } = this.#core;
    const now = this.#calendar.now();
    const since = this.#looked;
    this.#looked = now;
    if (now < this.#until) return;
    const over = ({ expires }: { readonly expires: number | null }): boolean => expires !== null && expires > since && expires <= now;
    for (const ban of this.#replica.contents.bans.values()) if (over(ban)) log.info(banFields(ban), 'ban.expired');
    for (const key of this.#ending()) if (over(key)) log.info({ key: key.name }, 'key.expired');
    this.#findNextExpiry();
    for (const listener of this.#listeners) listener();
  }
}

/** The caller of a key. */
export interface KeyOwner {
  readonly caller: Subject;
  /** Hex SHA-256 of a gateway key, as sent. Null for a token. */
  readonly digest: string | null;
}

/** The findings about leaks of a key that are in force. */
const leaksOf = ({ findings }: Contents, name: string): Finding[] =>
  [...findings.values()].filter(({ rule, caller, state }) => rule === 'leaked_key' && caller.kind === 'key' && caller.id === name && (state === 'open' || state === 'acknowledged'));

/** Ends the findings about leaks of a key that is replaced or removed. */
const endedLeaks = (contents: Contents, name: string): [string, Finding][] => leaksOf(contents, name).map((finding) => [finding.id, { ...finding, state: 'over', action: 'none', would: null }]);

/** The expiry of a key, or of the previous key of a rotation. */
interface GatewayKeyEnd {
  readonly name: string;
  readonly expires: number | null;
}

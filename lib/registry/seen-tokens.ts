import { hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Timer } from '../../types/clock.d.ts';
import type { Core } from '../request/request.ts';
import { bareToken, keyedHash, tokenIdentifier } from '../identity/identity.ts';
import { describe, inBackground } from '../platform/platform.ts';
import type { SeenName } from './contents.ts';

/** Tokens are stored within this time of their acceptance, milliseconds. */
const delay = 1000;
const day = 86_400_000;
/** Tokens that this process has stored today; others are compared with the store again. By size: a `max` takes its memory at the start. */
const stored = { maxSize: 100_000, sizeCalculation: () => 1 };
/** Keys hashed at a stretch: about a millisecond. */
const slice = 100;

/** The store of seen tokens. */
interface Place {
  remember(names: readonly SeenName[]): Promise<void>;
  recall(names: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

/** A key of a report, in the forms in which it may be known here. */
export interface ReportedKey {
  /** Hex SHA-256 of a gateway key that it may be. */
  readonly digests: readonly string[];
  /** Names in the store of seen tokens. */
  readonly names: readonly string[];
}

const digestForm = /^[0-9a-f]{64}$/i;

/**
 * Tokens of NewAPI that were accepted here, so that a report of leaked keys can be compared with them: their identities, and keyed
 * hashes of their SHA-256 with and without `sk-`, since reports often hold digests alone. No token can be computed from either.
 */
export class SeenTokens {
  readonly #core: Pick<Core, 'clock' | 'log'>;
  readonly #secrets: () => readonly string[];
  readonly #place: Place;
  readonly #stored = new LRUCache<string, number>(stored);
  #hashed: ((text: string) => string) | null = null;
  #waiting = new Map<string, string>();
  #timer: Timer | null = null;
  #isClosed = false;

  /** @param secrets the install secret, then previous ones. */
  constructor(core: Pick<Core, 'clock' | 'log'>, secrets: () => readonly string[], place: Place) {
    this.#core = core;
    this.#secrets = secrets;
    this.#place = place;
  }

  /** Notes a token that NewAPI has accepted. @param credential as sent. @param id its identity. */
  add(credential: string, id: string): void {
    if (this.#isClosed) return;
    this.#hashed ??= digestName(this.#secrets()[0] ?? '');
    const today = Math.floor(this.#core.clock.now() / day);
    const bare = bareToken(credential);
    const names = [...new Set([credential, `sk-${bare}`, bare])].map((text) => (this.#hashed as (digest: string) => string)(hash('sha256', text)));
    if (this.#stored.get(names[0] as string) === today) return;
    this.#stored.set(names[0] as string, today);
    this.#waiting.set(id, names.join(' '));
    for (const name of names) this.#waiting.set(name, id);
    if (this.#timer !== null) return;
    this.#timer = this.#core.clock.setTimeout(() => inBackground(this.#core.log, 'tokens', this.flush()), delay);
    this.#timer.unref();
  }

  /** Stores what waits. What cannot be stored is noted again when its token is accepted again. */
  async flush(): Promise<void> {
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting.size === 0) return;
    const names = [...this.#waiting];
    this.#waiting = new Map();
    try {
      await this.#place.remember(names);
    } catch (error) {
      this.#stored.clear();
      this.#core.log.error({ error: describe(error), effect: 'reports of leaked keys may miss tokens' }, 'tokens.lost');
    }
  }

  /** Stores what waits; what comes later is not noted. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.flush();
  }

  /** The forms in which each key of a report may be known. @param keys as sent, with or without `sk-`, or hex SHA-256 of that. */
  async formsOf(keys: readonly string[]): Promise<readonly ReportedKey[]> {
    const secrets = this.#secrets();
    const identify = tokenIdentifier(secrets[0] ?? '', secrets.slice(1));
    const hashed = secrets.map(digestName);
    const forms: ReportedKey[] = [];
    for (const [at, key] of keys.entries()) {
      if (at % slice === slice - 1) await setImmediate();
      const { id, former } = identify(key);
      const digest = digestForm.test(key) ? key.toLowerCase() : null;
      const bare = key.replace(/^sk-/, '');
      forms.push({
        digests: [...(digest === null ? [] : [digest]), ...[...new Set([key, `sk-${bare}`, bare])].map((text) => hash('sha256', text))],
        names: digest === null ? [id, ...former] : [id, ...former, ...hashed.map((name) => name(digest))],
      });
    }
    return forms;
  }

  /** The tokens of each form, in the same order; null for one that was not seen. */
  async find(forms: readonly ReportedKey[]): Promise<readonly (string | null)[]> {
    await this.flush();
    const known = await this.#place.recall(forms.flatMap(({ names }) => names));
    return forms.map(({ names }) => {
      for (const name of names) {
        const value = known.get(name);
        // The entry of a token itself lists its other names, which are two at least; that of a digest is the token's identity.
        if (value !== undefined) return value.includes(' ') ? name : value;
      }
      return null;
    });
  }
}

/** Begins the name of a digest, so that it is no identity. */
const digestMark = 'd';

function digestName(secret: string): (digest: string) => string {
  const hashed = keyedHash(`heimdall digest ${secret}`);
  return (digest) => `${digestMark}${hashed(digest)}`;
}

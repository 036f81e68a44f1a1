import { LRUCache } from 'lru-cache';
import type { Context } from '../request/request.ts';
import { bareToken } from '../identity/identity.ts';

/** Callers whose keys are kept; the least recently used is dropped first. */
const maxKeys = 10_000;

/**
 * NewAPI's keys by token id, without `sk-`, for `audit.newapi.token: raw` alone. They are kept in memory until the gate ends, or a reload takes the setting back.
 * SECURITY: only keys that NewAPI has accepted are kept; never a gateway key, a JWT or another provider's key.
 */
export class RawTokens {
  readonly #keys = new LRUCache<string, string>({ max: maxKeys });

  /** Keeps the key of a finished request. */
  remember(context: Context): void {
    const { token } = context;
    if (token === null) return;
    const credential = newapiCredential(context);
    if (credential !== null) this.#keys.set(token.id, bareToken(credential));
  }

  /** @returns null for an unknown token. */
  of(tokenId: string): string | null {
    return this.#keys.get(tokenId) ?? null;
  }

  clear(): void {
    this.#keys.clear();
  }
}

/** The credential that NewAPI got: the caller's own token, or the one configured for a gateway key. */
function newapiCredential({ key, upstreamCredential, withheld, newapiVerdict, verified, credential }: Context): string | null {
  if (key !== null) return upstreamCredential;
  if (withheld || !(newapiVerdict === 'accepted' || (verified && newapiVerdict !== 'refused'))) return null;
  return credential?.value ?? null;
}

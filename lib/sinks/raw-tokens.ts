import { LRUCache } from 'lru-cache';
import type { Context } from '../request/request.ts';
import { bareToken, credentialOf } from '../identity/identity.ts';

/** Callers whose keys are remembered; who was heard of longest ago is forgotten first. */
const most = 10_000;

/**
 * NewAPI's keys by identity, without `sk-`, for `audit.newapi.token: raw` alone: nowhere but in memory, and no longer than
 * the gate. SECURITY: only what NewAPI itself has accepted; a gateway key, a JWT or somebody else's key never comes in.
 */
export class RawTokens {
  readonly #keys = new LRUCache<string, string>({ max: most });

  /** Remembers the key of a finished request. */
  hear(context: Context): void {
    const { token } = context;
    if (token === null) return;
    const credential = newapiCredential(context);
    if (credential !== null) this.#keys.set(token.id, bareToken(credential));
  }

  /** @returns null when it is not known. */
  of(tokenId: string): string | null {
    return this.#keys.get(tokenId) ?? null;
  }

  clear(): void {
    this.#keys.clear();
  }
}

/** What the request showed NewAPI: the caller's own token, or the one a gateway key stands for. */
function newapiCredential({ key, upstreamCredential, ambiguous, withheld, vouched, verified, req, path, query }: Context): string | null {
  if (key !== null) return upstreamCredential;
  if (ambiguous || withheld || !(vouched === 'accepted' || (verified && vouched !== 'refused'))) return null;
  return credentialOf(req.headers, path, query)?.value ?? null;
}

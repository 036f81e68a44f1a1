import type { GatewayKey } from '../../types/config.d.ts';
import type { KeyView } from '../../types/registry.d.ts';
import type { StoredKey } from './contents.ts';
import type { CredentialVault } from './credential-vault.ts';

/** Digits of a digest that are shown. */
const shownDigits = 12;

/** The public view of a key of the configuration. */
export function viewOfConfigured(key: GatewayKey): KeyView {
  const { name, sha256, expires, disabled, models, cidrs, upstreamCredential, requests, tokens, concurrency, budget } = key;
  return {
    name, source: 'config', digest: sha256.slice(0, shownDigits), created: null, expires, disabled, models, cidrs,
    hasUpstreamCredential: upstreamCredential !== null, previousUntil: null, honey: false, requests, tokens, concurrency, budget,
  };
}

/**
 * The public view of a key of the registry.
 * @param now Unix milliseconds.
 */
export function viewOfStored(key: StoredKey, now: number): KeyView {
  const { name, digest, created, expires, disabled, models, cidrs, credential, previous, requests, tokens, concurrency, budget } = key;
  return {
    name, source: 'registry', digest: digest.slice(0, shownDigits), created, expires, disabled, models, cidrs,
    hasUpstreamCredential: credential !== null, previousUntil: previous !== null && previous.until > now ? previous.until : null, honey: key.honey !== undefined, requests, tokens, concurrency, budget,
  };
}

/** The keys that callers may present for a stored key: the key itself and, after a rotation, the previous one with its own expiry. */
export function grantedKeys(stored: StoredKey, vault: CredentialVault): readonly [GatewayKey, ...GatewayKey[]] {
  const { name, digest, previous, expires, disabled, models, cidrs, credential, requests, tokens, concurrency, budget } = stored;
  // SECURITY: a credential that cannot be decrypted counts as absent, and a key without one has no access to NewAPI.
  const upstreamCredential = credential === null ? null : vault.open(credential, name);
  if (stored.honey !== undefined) return trapKeys(stored, stored.honey.bare);
  const key: GatewayKey = { name, sha256: digest, expires, disabled, models, cidrs, upstreamCredential, requests, tokens, concurrency, budget };
  return previous === null ? [key] : [key, { ...key, sha256: previous.digest, expires: Math.min(previous.until, expires ?? previous.until) }];
}

/** A honey key is known with and without `sk-`, so that it is never forwarded, and is never valid. */
function trapKeys({ name, digest, models, cidrs, requests, tokens, concurrency, budget }: StoredKey, bare: string): readonly [GatewayKey, GatewayKey] {
  const key: GatewayKey = { name, sha256: digest, expires: null, disabled: true, models, cidrs, upstreamCredential: null, requests, tokens, concurrency, budget };
  return [key, { ...key, sha256: bare }];
}

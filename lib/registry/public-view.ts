import type { Ban, KeyView } from '../../types/registry.d.ts';
import { writeDuration } from '../values/values.ts';

const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

/** A key as JSON: names as in the configuration, times in ISO 8601. */
export function keyJson({ name, source, digest, created, expires, disabled, models, cidrs, hasUpstreamCredential, previousUntil, honey, requests, tokens, concurrency, budget }: KeyView): object {
  return {
    name, source, digest, created: iso(created), expires: iso(expires), disabled, models, cidrs,
    has_upstream_credential: hasUpstreamCredential, previous_until: iso(previousUntil),
    requests: requests && { ...requests, window: writeDuration(requests.window) },
    tokens: tokens && { ...tokens, window: writeDuration(tokens.window) },
    concurrency, budget, ...(honey && { honey }),
  };
}

/** A ban as JSON, in the same form. */
export const banJson = ({ created, expires, ...rest }: Ban): object => ({ ...rest, created: iso(created), expires: iso(expires) });

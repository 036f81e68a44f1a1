import type { Config } from '../../types/config.d.ts';
import { LATER_PARTS, ALWAYS_LAST } from './schema.ts';
import type { Draft, PARTS } from './schema.ts';

/** Largest body kept for failover unless the configuration says otherwise. */
const BUFFER_BODY_BYTES = 32 * 1024 ** 2;

/** A target as far as its credential goes. */
export interface Credentialed {
  readonly provider: string;
  readonly apiKey: string | null;
}

/** Whether a target is reached with the gateway's own credential: all but a NewAPI that gets the caller's. */
export function isOwn(target: Credentialed): boolean {
  return target.provider !== 'newapi' || target.apiKey !== null;
}

/** The configuration of a draft: what depends on several keys is worked out, what does not take effect yet is left out. */
export function complete(draft: Draft) {
  const { server, auth } = draft;
  const { certPath = null, keyPath = null } = server.tls ?? {};
  return {
    ...draft,
    middleware: draft.middleware?.filter(isBuiltPart) ?? null,
    server: {
      ...server,
      tls: server.tls && certPath !== null && keyPath !== null ? { ...server.tls, certPath, keyPath } : null,
      bufferBodyBytes: server.bufferBodyBytes ?? Math.min(BUFFER_BODY_BYTES, server.maxBodyBytes),
    },
    auth: { ...auth, mode: auth.mode ?? (isOwn(draft.llm) ? 'keys' : 'passthrough') },
  } satisfies Config;
}

function isBuiltPart(name: string): name is (typeof PARTS)[number] {
  return name !== ALWAYS_LAST && !(LATER_PARTS as readonly string[]).includes(name);
}

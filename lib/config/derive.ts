import type { Config } from '../../types/config.d.ts';
import type { Provider } from '../../types/provider.d.ts';
import { heldProvider } from './provider.ts';
import { handlerOf } from './routes.ts';
import { ALWAYS_LAST, type Draft, type PARTS } from './schema.ts';

/** Largest body kept for failover unless the configuration says otherwise. */
export const BUFFER_BODY_BYTES = 32 * 1024 ** 2;
/** A caller may hold one part in so many of `server.max_inflight_bytes`. */
export const INFLIGHT_SHARES = 8;

/** A target as far as its credential goes. */
export interface Credentialed {
  readonly provider: string | Provider;
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
    llm: { ...held(draft.llm), backupProviders: draft.llm.backupProviders.map(held) },
    routes: draft.routes.map((row) => ({ ...row, handler: handlerOf(row, draft.endpoints), middleware: row.middleware.filter(isBuiltPart) })),
    server: {
      ...server,
      tls: server.tls && certPath !== null && keyPath !== null ? { ...server.tls, certPath, keyPath } : null,
      bufferBodyBytes: server.bufferBodyBytes ?? Math.min(BUFFER_BODY_BYTES, server.maxBodyBytes),
    },
    rateLimit: { ...draft.rateLimit, store: draft.rateLimit.store ?? (draft.rateLimit.redisUrl === null ? 'memory' as const : 'redis' as const) },
    auth: { ...auth, mode: auth.mode ?? (isOwn(draft.llm) ? 'keys' : 'passthrough') },
  } satisfies Config;
}

const held = <T extends { readonly provider: string | Provider }>(target: T): T => ({ ...target, provider: heldProvider(target.provider) });

function isBuiltPart(name: string): name is (typeof PARTS)[number] {
  return name !== ALWAYS_LAST;
}

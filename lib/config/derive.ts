import type { Config } from '../../types/config.d.ts';
import type { Provider } from '../../types/provider.d.ts';
import { copyProvider } from './provider.ts';
import { handlerOf } from './routes.ts';
import { ALWAYS_LAST, type ParsedConfig, type PARTS } from './schema.ts';

/** Default of `server.buffer_body_bytes`, in bytes. */
export const BUFFER_BODY_BYTES = 32 * 1024 ** 2;
/** Divisor of `server.max_inflight_bytes` that gives the share of one caller. */
export const INFLIGHT_SHARES = 8;
/** One caller may hold this part of `queue.websockets`. */
export const WEBSOCKET_SHARES = 8;

/** The fields of a target that decide which credential it gets. */
export interface Credentialed {
  readonly provider: string | Provider;
  readonly apiKey: string | null;
}

/** Whether a target gets the gateway's own credential. Only a NewAPI without `api_key` gets the caller's. */
export function isOwn(target: Credentialed): boolean {
  return target.provider !== 'newapi' || target.apiKey !== null;
}

/** Computes the values that depend on several keys, and removes names without effect. */
export function derive(parsed: ParsedConfig) {
  const { server, auth } = parsed;
  const { certPath = null, keyPath = null } = server.tls ?? {};
  const target = <T extends Target>(given: T) => withConnection(withProviderCopy(given), parsed.newapi);
  return {
    ...parsed,
    middleware: parsed.middleware?.filter(isOptionalPart) ?? null,
    llm: { ...target(parsed.llm), backupProviders: parsed.llm.backupProviders.map(target), priceSource: parsed.llm.priceSource ?? (hasNewapi(parsed.llm) ? 'newapi' as const : 'package' as const) },
    routes: parsed.routes.map((row) => ({ ...row, handler: handlerOf(row, parsed.endpoints), middleware: row.middleware.filter(isOptionalPart) })),
    server: {
      ...server,
      tls: server.tls && certPath !== null && keyPath !== null ? { ...server.tls, certPath, keyPath } : null,
      bufferBodyBytes: server.bufferBodyBytes ?? Math.min(BUFFER_BODY_BYTES, server.maxBodyBytes),
    },
    rateLimit: { ...parsed.rateLimit, store: parsed.rateLimit.store ?? (parsed.rateLimit.redisUrl === null ? 'memory' as const : 'redis' as const) },
    auth: { ...auth, mode: auth.mode ?? (isOwn(parsed.llm) ? 'keys' : 'passthrough') },
  } satisfies Config;
}

/** Whether a target is a NewAPI. */
export const hasNewapi = ({ provider, backupProviders }: ParsedConfig['llm']): boolean => [provider, ...backupProviders.map((backup) => backup.provider)].includes('newapi');

type Target = ParsedConfig['llm']['backupProviders'][number];

/**
 * The connection keys of a target. A newapi target without an endpoint of its own is the NewAPI of the section `newapi`, so a
 * missing key is taken from there.
 */
function withConnection<T extends Target>(target: T, newapi: ParsedConfig['newapi']) {
  const same = target.provider === 'newapi' && target.endpoint === null;
  const own = target.certPath !== null || target.keyPath !== null;
  return {
    ...target,
    host: target.host ?? (isOwn(target) ? 'target' as const : same ? newapi.host : 'client' as const),
    caPath: target.caPath ?? (same ? newapi.caPath : null),
    certPath: own || !same ? target.certPath : newapi.certPath,
    keyPath: own || !same ? target.keyPath : newapi.keyPath,
    serverName: target.serverName ?? (same ? newapi.serverName : null),
  };
}

const withProviderCopy = <T extends { readonly provider: string | Provider }>(target: T): T => ({ ...target, provider: copyProvider(target.provider) });

function isOptionalPart(name: string): name is (typeof PARTS)[number] {
  return name !== ALWAYS_LAST;
}

import cluster from 'node:cluster';
import type { HostOptions } from '../../types/caller.d.ts';
import type { Config } from '../../types/config.d.ts';
import { ConfigError, expectation } from '../errors.ts';
import { hasLimits } from './limits.ts';

/**
 * What the functions of an embedding program and the configuration say of each other.
 * @returns warnings about keys that have no effect without `identify`.
 * @throws ConfigError when the part that asks `identify` is left out, or when one of them is no function.
 */
export function hostWarnings(config: Config, options: HostOptions): readonly string[] {
  return [...optionWarnings(config, options), ...processWarnings(config)];
}

function optionWarnings({ auth, middleware, rateLimit, routes }: Config, options: HostOptions): readonly string[] {
  for (const name of ['identify', 'skip'] as const) {
    const given: unknown = options[name];
    if (given !== undefined && typeof given !== 'function') throw new ConfigError([{ path: name, message: expectation('a function', `a ${typeof given}`, `heimdall(config, { ${name}: (req) => … })`) }]);
  }
  if (options.identify !== undefined) {
    if (middleware === null || middleware.includes('auth') || routes.some((route) => route.middleware.includes('auth'))) return [];
    throw new ConfigError([{ path: 'middleware', message: expectation('auth among the parts, because it asks identify', middleware.join(', ') || 'an empty list', [...middleware, 'auth'] ) }]);
  }
  const idle = rateLimit.policies.flatMap(({ match }, at) => (match.group === null && match.user === null ? [] : [`rate_limit.policies[${at}].match`]));
  if (auth.upstreamCredential !== null) idle.unshift('auth.upstream_credential');
  return idle.map((path) => `${path}: has no effect unless a program passes identify`);
}

/** Processes of one application that share a port: workers of `node:cluster`, which pm2 uses too, and of pm2's fork mode. */
function processWarnings({ rateLimit, auth }: Config): readonly string[] {
  const isOneOfMany = cluster.isWorker || (process.env['NODE_APP_INSTANCE'] ?? '') !== '';
  if (!isOneOfMany || rateLimit.store === 'redis' || rateLimit.instances > 1) return [];
  if (![rateLimit.key, ...rateLimit.policies, ...auth.keys].some(hasLimits) && rateLimit.address.limit === 0) return [];
  return ['rate_limit: this process is one of several, and each counts by itself, so that a caller may use every limit in each; set rate_limit.redis_url, or rate_limit.instances to their number'];
}

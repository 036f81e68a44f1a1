import type { Config } from '../../types/config.d.ts';
import { AddressSet } from '../identity/identity.ts';

/** What became of one line of the list. */
export interface ProductionCheck {
  readonly state: 'pass' | 'fail' | 'not applicable';
  /** The line of the security guide. */
  readonly text: string;
  /** What was found; where it fails, what mends it. */
  readonly found: string;
}

type Verdict = Omit<ProductionCheck, 'text'>;
type Judge = (config: Config, warnings: readonly string[]) => Verdict;

const pass = (found: string): Verdict => ({ state: 'pass', found });
const fail = (found: string): Verdict => ({ state: 'fail', found });
const none = (found: string): Verdict => ({ state: 'not applicable', found });

/** Fewest characters of a token that cannot be guessed. */
const shortestToken = 16;
const loopback = new AddressSet(['loopback']);
const isLocal = (host: string): boolean => host.startsWith('/') || host === 'localhost' || loopback.has(host);
const hasPart = ({ middleware }: Config, part: string): boolean => middleware === null || (middleware as readonly string[]).includes(part);

/** The nine lines of the security guide, in its order and words. */
const lines: readonly (readonly [text: string, judge: Judge])[] = [
  ['TLS certificates are valid and properly configured', ({ server: { tls, host } }, warnings) => {
    const about = warnings.find((warning) => /^(?:server\.tls|TLS_)/.test(warning));
    if (tls === null && isLocal(host)) return none(`the gate listens on ${host}, behind a proxy that has the certificate`);
    if (tls === null) return fail('there is no TLS; set server.tls, or listen on 127.0.0.1 behind a TLS proxy');
    return about === undefined ? pass(`TLS ${tls.minVersion} or later`) : fail(about);
  }],
  ['API keys are securely stored in environment variables', (_config, warnings) => {
    const about = warnings.find((warning) => /a secret is written into|every user of this machine may read it/.test(warning));
    return about === undefined ? pass('no secret is written into the file') : fail(about);
  }],
  ['Logging is configured for security event tracking', (config) => {
    if (!hasPart(config, 'logging')) return fail('middleware leaves logging out');
    if (['error', 'fatal', 'silent'].includes(config.logging.level)) return fail(`logging.level: ${config.logging.level} leaves security events out; set info`);
    return config.audit.enabled ? pass(`level ${config.logging.level}, journal ${config.audit.path}`) : fail('audit: false keeps no record; set audit.path');
  }],
  ['Health checks are enabled and properly configured', ({ endpoints, llm: { healthCheck } }) => {
    if (endpoints.health === false) return fail('endpoints.health: false leaves a balancer blind; set /health');
    return healthCheck.enabled ? pass(`${endpoints.health}, upstreams every ${healthCheck.interval / 1000} s`) : fail('llm.health_check.enabled: false; set true');
  }],
  ['Circuit breaker thresholds match production load', ({ circuitBreaker: { failureThreshold, timeout } }) => {
    if (failureThreshold > 100) return fail(`circuit_breaker.failure_threshold: ${failureThreshold} failures in a row are needed; set 5`);
    return timeout < 1000 ? fail(`circuit_breaker.timeout: a failing target is asked again after ${timeout} ms; set 10s`) : pass(`opens after ${failureThreshold} failures for ${timeout / 1000} s`);
  }],
  ['Queue system is properly sized for expected traffic', (config) => {
    const { enabled, concurrency, initialSize } = config.queue;
    if (!enabled || !hasPart(config, 'queue')) return fail('nothing bounds the requests at a time; set queue.enabled: true');
    return pass(`${concurrency} at a time, ${initialSize} waiting`);
  }],
  ['Monitoring endpoints are protected by authentication', ({ admin, metrics, server, endpoints }) => {
    const hasMetrics = metrics.enabled && metrics.token !== null && endpoints.metrics !== false;
    if (!hasMetrics && admin.token === null) return none('there are none without metrics.token and admin.token');
    if (hasMetrics && (metrics.token?.length ?? 0) < shortestToken) return fail('metrics.token can be guessed; set one of 32 characters');
    const { listen } = admin;
    const isInClear = admin.token !== null && typeof listen === 'string' && server.tls === null && !isLocal(listen.slice(0, listen.lastIndexOf(':')).replace(/^\[|\]$/g, ''));
    return isInClear ? fail(`admin.listen: ${listen} takes the token in clear text; set server.tls, or 127.0.0.1`) : pass('each has a token of its own');
  }],
  ['CORS settings are appropriately restrictive', ({ cors }) => {
    if (cors === null) return none("without the section cors, NewAPI's own answers pass");
    return cors.allowOrigins.includes('*') ? fail('cors.allow_origins: * lets every page call; name the origins') : pass(cors.allowOrigins.join(', ') || 'no other origin');
  }],
  ['Rate limiting is configured for production traffic', (config) => {
    const { limit, window, count } = config.rateLimit.address;
    if (!hasPart(config, 'rate_limit') || limit === 0) return fail('nothing limits the guesses of an address; set rate_limit.address.limit: 60');
    if (config.mode === 'observe') return fail('mode: observe refuses nothing; set enforce');
    return pass(`${limit} ${count === 'failed' ? 'refused credentials' : 'requests'} an address in ${window / 1000} s`);
  }],
];

/** Judges a configuration by the production list of the security guide. @param warnings of the configuration. */
export function productionChecks(config: Config, warnings: readonly string[]): readonly ProductionCheck[] {
  return lines.map(([text, judge]) => ({ text, ...judge(config, warnings) }));
}

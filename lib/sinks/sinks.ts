// Sinks that follow the journal with a cursor: NewAPI, PostgreSQL and those of the embedding program.

import { readFileSync } from 'node:fs';
import type { NewapiName } from '../../types/caller.d.ts';
import type { Config } from '../../types/config.d.ts';
import type { Sink } from '../../types/sink.d.ts';
import { ConfigError } from '../errors.ts';
import type { OutboundProxy } from '../platform/platform.ts';
import { type Core, ownPaths } from '../request/request.ts';
import type { WantedSink } from './followers.ts';
import { newapiSink } from './newapi.ts';
import { otlpSink, type OtlpSinkOptions } from './otlp.ts';
import type { Signal } from './packer.ts';
import { postgresSink } from './postgres.ts';
import { syslogSink } from './syslog.ts';

export { NewapiNames } from './newapi-names.ts';
export { Followers, sinkSeries, type WantedSink } from './followers.ts';
export { RawTokens } from './raw-tokens.ts';

/** The dependencies of configured sinks. */
export interface SinkNeeds {
  readonly core: Core;
  readonly rawToken: ((tokenId: string) => string | null) | null;
  /** What NewAPI calls a caller. */
  readonly nameOf?: (kind: string, id: string | null) => NewapiName | null;
  /** Makes bodies where records are read. */
  readonly pack?: OtlpSinkOptions['pack'];
  /** Proxies for connections to the outside. */
  readonly proxies?: OutboundProxy | null;
}

/** A kind of sink that the configuration can enable. */
interface Kind<From> {
  /** What it is made from: its settings, with the files that they name; null while it is off. */
  readonly from: (config: Config) => From | null;
  readonly make: (from: From, needs: SinkNeeds) => Sink;
}

const kindOf = <From>(kind: Kind<From>): Kind<unknown> => kind as Kind<unknown>;

const otlpOf = (signal: Signal): Kind<unknown> => kindOf({
  from: ({ audit: { otlp: { endpoint, ...otlp } } }) => (endpoint === null || !otlp[signal] ? null : { otlp: { ...otlp, endpoint }, ca: authoritiesOf(otlp.caPath) }),
  make: (from, { core: { clock }, proxies = null, pack = null }) => otlpSink(signal, { ...from, clock, proxies, pack }),
});

/** Every sink that the configuration can enable. */
const kinds: Readonly<Record<string, Kind<unknown>>> = {
  newapi: kindOf({
    from: ({ audit: { newapi }, newapi: { baseUrl } }) => (newapi.enabled ? { url: newapi.url ?? baseUrl, select: newapi.select, maxRate: newapi.maxRate, token: newapi.token } : null),
    make: ({ token, ...from }, { core: { clock }, rawToken, proxies = null }) => newapiSink({ ...from, rawToken: token === 'raw' ? rawToken : null, clock, proxies }),
  }),
  postgres: kindOf({
    from: (config) => (config.audit.postgres.url === null ? null : { url: config.audit.postgres.url, own: ownPaths(config) }),
    make: ({ url, own }, { core: { log }, nameOf = () => null }) => postgresSink(url, { own, nameOf, lacks: (what, sql) => log.warn({ sink: 'postgres', lacks: what, sql }, 'sink.lacks') }),
  }),
  otlp_traces: otlpOf('traces'),
  otlp_logs: otlpOf('logs'),
  syslog: kindOf({
    from: ({ audit: { syslog: { url, ...syslog } } }) => (url === null ? null : { syslog: { ...syslog, url }, ca: authoritiesOf(syslog.caPath) }),
    make: (from, { pack = null }) => syslogSink({ ...from, pack }),
  }),
};

const authoritiesOf = (path: string | null): string | null => (path === null ? null : readFileSync(path, 'utf8'));

/** Records of one call at most. */
const maxBatch = 1000;

/**
 * The sinks that a configuration enables, and those of the embedding program.
 * @throws ConfigError with the problems of the latter, and an error where a file that they need cannot be read.
 */
export function sinksOf(config: Config, needs: SinkNeeds, own: readonly Sink[]): readonly WantedSink[] {
  const problems = own.flatMap((sink, at) => problemOf(sink, own.slice(0, at)).map((message) => ({ path: `options.sinks[${at}]`, message })));
  if (problems.length > 0) throw new ConfigError(problems);
  const wanted = Object.entries(kinds).flatMap(([name, { from, make }]) => {
    const found = config.audit.enabled ? from(config) : null;
    return found === null ? [] : [{ name, from: found, make: () => make(found, needs) }];
  });
  return [...wanted, ...own.map((sink) => ({ name: sink.name, from: sink, make: () => sink }))];
}

function problemOf(sink: Sink, before: readonly Sink[]): string[] {
  const { name, batch } = sink;
  if (typeof name !== 'string' || !/^[a-z0-9_-]{1,64}$/.test(name)) return ['expected a name of a-z, 0-9, _ and -. Example: { name: "archive", … }'];
  if (Object.hasOwn(kinds, name) || before.some((other) => other.name === name)) return [`expected a name of its own, got ${JSON.stringify(name)}, which is taken`];
  if (!Number.isInteger(batch) || batch < 1 || batch > maxBatch) return [`expected a batch from 1 to ${maxBatch}, got ${String(batch)}. Example: { batch: 100, … }`];
  return typeof sink.deliver === 'function' ? [] : ['expected a function deliver(records, signal)'];
}

// Sinks that follow the journal with a cursor: NewAPI, PostgreSQL and those of the embedding program.

import { readFileSync } from 'node:fs';
import type { NewapiName } from '../../types/caller.d.ts';
import type { AuditConfig } from '../../types/config.d.ts';
import type { Sink } from '../../types/sink.d.ts';
import { ConfigError } from '../errors.ts';
import type { OutboundProxy } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { newapiSink } from './newapi.ts';
import { otlpSink, type OtlpSinkOptions } from './otlp.ts';
import type { Signal } from './packer.ts';
import { postgresSink } from './postgres.ts';
import { syslogSink } from './syslog.ts';

export { NewapiNames } from './newapi-names.ts';
export { Followers, sinkSeries } from './followers.ts';
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

type Maker = (audit: AuditConfig, needs: SinkNeeds) => Sink | null;

/** Every sink that the configuration can enable. */
const makers: Readonly<Record<string, Maker>> = {
  newapi: ({ newapi }, { core, rawToken, proxies = null }) =>
    newapi.enabled ? newapiSink({ url: newapi.url ?? core.config.newapi.baseUrl, select: newapi.select, maxRate: newapi.maxRate, rawToken, clock: core.clock, proxies }) : null,
  postgres: ({ postgres }, { core: { config, log }, nameOf = () => null }) => (postgres.url === null ? null : postgresSink(postgres.url, {
    own: [config.admin.path, config.endpoints.health, config.endpoints.metrics].filter((each) => each !== false),
    nameOf,
    lacks: (what, sql) => log.warn({ sink: 'postgres', lacks: what, sql }, 'sink.lacks'),
  })),
  otlp_traces: ({ otlp }, needs) => (otlp.traces ? otlpOf('traces', otlp, needs) : null),
  otlp_logs: ({ otlp }, needs) => (otlp.logs ? otlpOf('logs', otlp, needs) : null),
  syslog: ({ syslog: { url, ...syslog } }) => (url === null ? null : syslogSink({ syslog: { ...syslog, url }, ca: authoritiesOf(syslog.caPath) })),
};

function otlpOf(signal: Signal, { endpoint, ...otlp }: AuditConfig['otlp'], { core: { clock }, proxies = null, pack = null }: SinkNeeds): Sink | null {
  return endpoint === null ? null : otlpSink(signal, { otlp: { ...otlp, endpoint }, clock, ca: authoritiesOf(otlp.caPath), proxies, pack });
}

const authoritiesOf = (path: string | null): string | null => (path === null ? null : readFileSync(path, 'utf8'));

/** Records of one call at most. */
const maxBatch = 1000;

/**
 * The enabled sinks, and those of the embedding program.
 * @throws ConfigError with the problems of the latter.
 */
export function sinksOf(needs: SinkNeeds, own: readonly Sink[]): readonly Sink[] {
  const problems = own.flatMap((sink, at) => problemOf(sink, own.slice(0, at)).map((message) => ({ path: `options.sinks[${at}]`, message })));
  if (problems.length > 0) throw new ConfigError(problems);
  return [...Object.values(makers).flatMap((make) => make(needs.core.config.audit, needs) ?? []), ...own];
}

function problemOf(sink: Sink, before: readonly Sink[]): string[] {
  const { name, batch } = sink;
  if (typeof name !== 'string' || !/^[a-z0-9_-]{1,64}$/.test(name)) return ['expected a name of a-z, 0-9, _ and -. Example: { name: "archive", … }'];
  if (Object.hasOwn(makers, name) || before.some((other) => other.name === name)) return [`expected a name of its own, got ${JSON.stringify(name)}, which is taken`];
  if (!Number.isInteger(batch) || batch < 1 || batch > maxBatch) return [`expected a batch from 1 to ${maxBatch}, got ${String(batch)}. Example: { batch: 100, … }`];
  return typeof sink.deliver === 'function' ? [] : ['expected a function deliver(records, signal)'];
}

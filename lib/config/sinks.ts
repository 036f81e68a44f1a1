import { key, list, section } from './fields.ts';
import { choice, credential, flag, orNull, rate, secret, secretUrl, url } from './value-types.ts';

/** What follows the journal, what may be handed in, and who is told at once. */
export const sinks = {
  newapi: section('AuditNewapiConfig', "NewAPI's own log, for NebulaGate and other builds that have its receiver", {
    enabled: key(flag(), false, 'Whether records are sent there'),
    url: key(orNull(url('http://localhost:3000')), null, 'NewAPI with the receiver', 'newapi.base_url'),
    select: key(choice(['all', 'flagged', 'sample']), 'all', 'Which records: all, those the gate refused or would have, or one in ten'),
    token: key(
      choice(['masked', 'raw']),
      'masked',
      'masked cannot be resolved to a user there; raw sends the key itself, without sk-, of callers seen since the start',
    ),
    maxRate: key(rate('0.8/s'), '0.8/s', 'Most records a time; the receiver shares a limit of 180 calls in 180 s'),
  }),
  postgres: section('AuditPostgresConfig', 'A table in PostgreSQL that several gateways share', {
    url: key(orNull(secretUrl(['postgres', 'postgresql'], 'postgresql://heimdall@127.0.0.1/heimdall')), null, 'Database; also DATABASE_URL'),
  }),
  ingest: section('AuditIngestConfig', 'Records that others hand in at endpoints.log', {
    tokens: list(credential(), [], 'Bearer tokens that may; without one nobody may'),
    maxRate: key(rate('100/s'), '100/s', 'Most records a time for each token'),
  }),
  alerts: section('AlertsConfig', 'Who is told at once: target open, machine short, Redis lost, disk full, sink lagging, certificate ending', {
    webhook: key(orNull(secretUrl(['http', 'https'], 'https://hooks.example.com/heimdall')), null, 'URL the alerts are posted to'),
    secret: key(orNull(secret(16)), null, 'Signs them: X-Heimdall-Signature'),
  }),
};

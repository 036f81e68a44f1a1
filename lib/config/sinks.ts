import { key, list, section } from './fields.ts';
import { choice, credential, duration, flag, integer, orNull, rate, secret, secretUrl, share, text, url, type ValueType } from './value-types.ts';
import { readHeaderList } from '../values/values.ts';

/** Headers of each export. The text as a whole and each value are secrets. */
const headerList: ValueType<string> = {
  ...text('headers as name=value, with commas between', 'Authorization=Bearer%20${OTLP_TOKEN}'),
  read: (value) => (typeof value === 'string' && readHeaderList(value) !== null ? value : undefined),
  unit: 'secret',
  file: true,
};

/** SECURITY: syslog has no password; one in the URL would go nowhere. */
const syslogUrl: ValueType<string> = {
  ...text('a URL of tcp:// or tls:// with a host, and a port or none', 'tls://logs.example.com:6514', /^(?:tcp|tls):\/\/[^/?#@\s]+\/?$/),
  read: (value) => (typeof value === 'string' && /^(?:tcp|tls):\/\/[^/?#@\s]+\/?$/.test(value) && URL.parse(value) !== null ? value : undefined),
};

/** The sinks that follow the journal, ingestion of foreign records, and alerts. */
export const sinks = {
  newapi: section('AuditNewapiConfig', "Sink: the log receiver of NewAPI, in NebulaGate and other builds that have it", {
    enabled: key(flag(), false, 'Sends records to the receiver'),
    url: key(orNull(url('http://localhost:3000')), null, 'Base URL of the NewAPI with the receiver', 'newapi.base_url'),
    select: key(choice(['all', 'flagged', 'sample']), 'all', 'Records to send: all, flagged (refused, or would have been refused), or sample (one in ten)'),
    token: key(
      choice(['masked', 'raw']),
      'masked',
      'masked sends a masked token, which the receiver cannot map to a user. raw sends the token itself, without sk-, for callers seen since the start',
    ),
    maxRate: key(rate('0.8/s'), '0.8/s', 'Highest number of records per time. The receiver shares a limit of 180 calls in 180 s'),
  }),
  postgres: section('AuditPostgresConfig', 'Sink: a PostgreSQL table that several gateways share', {
    url: key(orNull(secretUrl(['postgres', 'postgresql'], 'postgresql://heimdall@127.0.0.1/heimdall')), null, 'URL of the database. Also set by DATABASE_URL'),
    readUrl: key(orNull(secretUrl(['postgres', 'postgresql'], 'postgresql://heimdall_reader@127.0.0.1/heimdall')), null, 'URL of the database as admin.read_from: postgres reads it, with a role that may only read', 'audit.postgres.url'),
  }),
  otlp: section('OtlpConfig', 'Sink: OpenTelemetry by OTLP/HTTP (JSON), with a trace of each request, which its upstream is told in traceparent', {
    endpoint: key(orNull(url('http://127.0.0.1:4318')), null, 'Base URL of the receiver; /v1/traces and /v1/logs are added'),
    headers: key(orNull(headerList), null, 'Headers sent with each export, as name=value with commas between'),
    caPath: key(orNull(text('a path', '/certs/ca.crt')), null, 'PEM file of the certificate authorities that may sign the certificate of the receiver, in place of the public ones'),
    traces: key(flag(), true, "Exports a server span for each request. The trace of the caller's traceparent goes on"),
    logs: key(flag(), false, 'Exports each record as a log'),
    sample: key(share('100%'), '100%', 'Share of the traces made by the gate that are sampled. A trace that the caller has begun keeps its flag'),
    bodies: key(flag(), false, 'Exports bodies as well, as far as records keep them'),
    timeout: key(duration('10s', 1, 25_000), '10s', 'Longest time for one export'),
    batch: key(integer(200, 1, 1000), 200, 'Highest number of records of one export'),
  }),
  syslog: section('SyslogConfig', 'Sink: syslog (RFC 5424), each record as JSON in a message', {
    url: key(orNull(syslogUrl), null, 'Receiver: tcp or tls, host and port. Without a port 601, with tls 6514'),
    caPath: key(orNull(text('a path', '/certs/ca.crt')), null, 'PEM file of the certificate authorities that may sign the certificate of the receiver, in place of the public ones'),
    facility: key(choice(['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7', 'user', 'daemon', 'auth', 'authpriv']), 'local0', 'Facility of the messages'),
    bodies: key(flag(), false, 'Sends headers and bodies as well, as far as records keep them. Receivers may cut long messages'),
    timeout: key(duration('10s', 1, 25_000), '10s', 'Longest time for one batch'),
    batch: key(integer(200, 1, 1000), 200, 'Highest number of records sent at a time'),
  }),
  ingest: section('AuditIngestConfig', 'Ingestion of records from other gateways at endpoints.log', {
    tokens: list(credential(), [], 'Bearer tokens that may send records. Without a token the endpoint accepts none'),
    maxRate: key(rate('100/s'), '100/s', 'Highest number of records per time for each token'),
  }),
  alerts: section('AlertsConfig', 'Webhook alerts: target open, machine short of resources, Redis lost, disk full, sink lagging, certificate about to expire, findings of the watch', {
    webhook: key(orNull(secretUrl(['http', 'https'], 'https://hooks.example.com/heimdall')), null, 'URL that receives the alerts by POST'),
    secret: key(orNull(secret(16)), null, 'Secret that signs the alerts, in the header X-Heimdall-Signature; with feishu and dingtalk the one that the robot signs with'),
    format: key(choice(['json', 'slack', 'feishu', 'dingtalk', 'wecom', 'telegram'], 'AlertFormat'), 'json', 'Form of the alerts: JSON of the gate, or messages of a chat service. For telegram, webhook is https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>'),
  }),
};

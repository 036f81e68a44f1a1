import { hostname } from 'node:os';
import type { Clock } from '../../types/clock.d.ts';
import type { OtlpConfig } from '../../types/config.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Delivery, Sink } from '../../types/sink.d.ts';
import { codeOf, type OutboundProxy } from '../platform/platform.ts';
import { WebhookClient, type WebhookAnswer } from '../telemetry/telemetry.ts';
import { readHeaderList } from '../values/values.ts';
import { retryAfterOf } from './retry-after.ts';
import { logOf, spanOf, traceOfRecord } from './span.ts';
import { versionOf } from './version.ts';

/** The options of an OTLP sink. */
export interface OtlpSinkOptions {
  readonly otlp: Omit<OtlpConfig, 'endpoint'> & { readonly endpoint: string };
  readonly clock: Clock;
  /** The certificate authorities that may sign the server's certificate, in place of the public ones. */
  readonly ca?: string | null;
  /** Proxies for connections to the outside. */
  readonly proxies?: OutboundProxy | null;
}

/** What is exported, each with a cursor of its own: a receiver without one of them does not hold the other. */
export type Signal = 'traces' | 'logs';

/**
 * Exports records by OTLP/HTTP in JSON (opentelemetry.io/docs/specs/otlp): a server span for each request, or a log for each record.
 * 400 and 413 split the batch until the record is found that is not taken, and set it aside; any other failure holds the records.
 */
export function otlpSink(signal: Signal, { otlp, clock, ca = null, proxies = null }: OtlpSinkOptions): Sink {
  const client = new WebhookClient(`${otlp.endpoint}/v1/${signal}`, otlp.timeout, proxies, ca);
  const headers = (otlp.headers === null ? null : readHeaderList(otlp.headers)) ?? {};
  const bodyOf = signal === 'traces' ? spansBody : logsBody;
  return {
    name: `otlp_${signal}`,
    batch: otlp.batch,
    ...(signal === 'traces' ? { wants: (record: AuditRecord) => record.source === 'gate' && traceOfRecord(record, otlp.sample).sampled } : {}),
    async deliver(records, aborted) {
      const body = JSON.stringify(bodyOf(records, otlp, await versionOf()));
      const posted = await client.post(body, headers, aborted).catch((error: unknown) => codeOf(error));
      return typeof posted === 'string' ? { kind: 'held', reason: `the receiver cannot be reached (${posted})` } : deliveryOf(posted, clock.now(), records.length);
    },
    close: () => client.close(),
  };
}

const resourceOf = (version: string): object => ({
  attributes: Object.entries({ 'service.name': 'heimdall', 'service.version': version, 'service.instance.id': hostname(), 'host.name': hostname() }).map(([key, value]) => ({ key, value: { stringValue: value } })),
});
const scopeOf = (version: string): object => ({ name: 'express-heimdall', version });

function spansBody(records: readonly AuditRecord[], { bodies, sample }: OtlpSinkOptions['otlp'], version: string): object {
  const spans = records.map((record) => spanOf(record, traceOfRecord(record, sample), bodies));
  return { resourceSpans: [{ resource: resourceOf(version), scopeSpans: [{ scope: scopeOf(version), spans }] }] };
}

function logsBody(records: readonly AuditRecord[], { bodies, sample, traces }: OtlpSinkOptions['otlp'], version: string): object {
  const logRecords = records.map((record) => logOf(record, traces && record.source === 'gate' ? traceOfRecord(record, sample) : null, bodies));
  return { resourceLogs: [{ resource: resourceOf(version), scopeLogs: [{ scope: scopeOf(version), logRecords }] }] };
}

function deliveryOf({ status, retryAfter, text }: WebhookAnswer, now: number, records: number): Delivery {
  if (status >= 200 && status < 300) {
    const refused = Math.min(records, rejectedIn(text));
    return { kind: 'delivered', ...(refused > 0 ? { refused } : {}) };
  }
  if (status === 400 || status === 413 || status === 422) return { kind: 'refused', reason: `the receiver answered ${status}` };
  const wait = retryAfterOf(retryAfter, now);
  return { kind: 'held', reason: `the receiver answered ${status}`, ...(wait > 0 ? { wait } : {}) };
}

/** How many of a batch the receiver did not take; they are not to be sent again (OTLP, partial success). */
function rejectedIn(text: string): number {
  if (!text.includes('ejected')) return 0;
  try {
    const { partialSuccess } = JSON.parse(text) as { partialSuccess?: { rejectedSpans?: unknown; rejectedLogRecords?: unknown } };
    const rejected = Number(partialSuccess?.rejectedSpans ?? partialSuccess?.rejectedLogRecords ?? 0);
    return rejected > 0 ? rejected : 0;
  } catch {
    return 0;
  }
}

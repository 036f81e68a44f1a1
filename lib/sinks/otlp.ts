import { extname } from 'node:path';
import type { Clock } from '../../types/clock.d.ts';
import type { OtlpConfig } from '../../types/config.d.ts';
import type { PackedRecords, Packing } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Delivery } from '../../types/sink.d.ts';
import { codeOf, type OutboundProxy, packageVersion } from '../platform/platform.ts';
import { WebhookClient, type WebhookAnswer } from '../telemetry/telemetry.ts';
import type { FollowingSink } from './follower.ts';
import { readHeaderList } from '../values/values.ts';
import { retryAfterOf } from './retry-after.ts';
import { hasSpan, pack as packHere, packingOf, type Signal } from './packer.ts';

/** The options of an OTLP sink. */
export interface OtlpSinkOptions {
  readonly otlp: Omit<OtlpConfig, 'endpoint'> & { readonly endpoint: string };
  readonly clock: Clock;
  /** The certificate authorities that may sign the server's certificate, in place of the public ones. */
  readonly ca?: string | null;
  /** Makes the body of records, first to last id, where they are read. Without it it is made here, of whole records. */
  readonly pack?: ((first: number, last: number, packing: Packing) => Promise<PackedRecords>) | null;
  /** Proxies for connections to the outside. */
  readonly proxies?: OutboundProxy | null;
}

/**
 * Exports records by OTLP/HTTP in JSON (opentelemetry.io/docs/specs/otlp): a server span for each request, or a log for each record.
 * 400 and 413 split the batch until the record is found that is not taken, and set it aside; any other failure holds the records.
 */
export function otlpSink(signal: Signal, { otlp, clock, ca = null, proxies = null, pack = null }: OtlpSinkOptions): FollowingSink {
  const client = new WebhookClient(`${otlp.endpoint}/v1/${signal}`, otlp.timeout, proxies, ca);
  const headers = (otlp.headers === null ? null : readHeaderList(otlp.headers)) ?? {};
  return {
    name: `otlp_${signal}`,
    batch: otlp.batch,
    isLight: pack !== null,
    ...(signal === 'traces' && pack === null ? { wants: (record: AuditRecord) => hasSpan(record, otlp.sample) } : {}),
    async deliver(records, aborted) {
      const options = { signal, bodies: otlp.bodies, sample: otlp.sample, traces: otlp.traces, version: await packageVersion() };
      const [first, last] = [records[0], records.at(-1)];
      if (first === undefined || last === undefined) return { kind: 'delivered' };
      const { body, count } = pack === null ? packHere(records, options) : await pack(first.id, last.id, packingOf(extname(import.meta.url), options));
      if (count === 0) return { kind: 'delivered' };
      const posted = await client.post(body, headers, aborted).catch((error: unknown) => codeOf(error));
      return typeof posted === 'string' ? { kind: 'held', reason: `the receiver cannot be reached (${posted})` } : deliveryOf(posted, clock.now(), count);
    },
    close: () => client.close(),
  };
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

import type { Clock } from '../../types/clock.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Delivery, Sink } from '../../types/sink.d.ts';
import { codeOf } from '../platform/platform.ts';
import { WebhookClient, type WebhookAnswer } from '../telemetry/telemetry.ts';
import { retryAfterOf } from './retry-after.ts';

/** What the sink needs to know. */
export interface NewapiSinkOptions {
  /** Base URL of the NewAPI that has the receiver. */
  readonly url: string;
  /** Which records NewAPI gets: all, those the gate refused or would have, or one in ten. */
  readonly select: 'all' | 'flagged' | 'sample';
  /** The raw key behind an identity, where the operator has allowed it to be sent; null when it is not known. */
  readonly rawToken: ((tokenId: string) => string | null) | null;
  /** Records a second; the receiver shares NewAPI's limit of 180 requests in 180 s. */
  readonly maxRate: number;
  readonly clock: Clock;
}

/** As long as the original waited, milliseconds. */
const patience = 5000;

/**
 * NewAPI's receiver: one record a call, in the original's fields and types. 429 and failures hold the record, a 400 sets
 * it aside, a 404 means that this NewAPI has no receiver. Records that were handed in from elsewhere are not relayed.
 */
export function newapiSink({ url, select, rawToken, maxRate, clock }: NewapiSinkOptions): Sink {
  const client = new WebhookClient(`${url}/api/heimdall/log`, patience);
  const space = 1000 / maxRate;
  return {
    name: 'newapi',
    batch: 1,
    wants: (record) => record.source === 'gate' && isSelected(record, select),
    async deliver([record], signal) {
      if (record === undefined) return { kind: 'delivered' };
      const began = clock.now();
      const body = JSON.stringify(payloadOf(record, rawToken));
      const posted = await client.post(body, {}, signal).catch((error: unknown) => codeOf(error));
      const delivery = typeof posted === 'string' ? ({ kind: 'held', reason: `the receiver cannot be reached (${posted})` } as const) : deliveryOf(posted, clock.now());
      return delivery.kind === 'off' ? delivery : spaced(delivery, space - (clock.now() - began));
    },
    close: () => client.close(),
  };
}

/** Keeps the distance to the next call; a failure without a word of its own has a longer one anyway. */
function spaced(delivery: Exclude<Delivery, { kind: 'off' }>, rest: number): Delivery {
  if (delivery.kind === 'held' && delivery.wait === undefined) return delivery;
  return { ...delivery, wait: Math.max(delivery.wait ?? 0, Math.ceil(rest)) };
}

function isSelected({ outcome, would_refuse, request_id }: AuditRecord, select: NewapiSinkOptions['select']): boolean {
  if (select === 'all') return true;
  if (select === 'flagged') return outcome.startsWith('refused') || would_refuse.length > 0;
  return Number.parseInt(request_id.slice(-8), 16) % 10 === 0;
}

/** The original's fields, by their names and types. A raw key is sent as NewAPI stores it: without `sk-`. */
function payloadOf(record: AuditRecord, rawToken: NewapiSinkOptions['rawToken']): object {
  const raw = record.token_id === null ? null : (rawToken?.(record.token_id) ?? null);
  return {
    token_key: raw ?? record.token_key,
    request_path: record.request_path,
    request_method: record.request_method,
    real_ip: record.real_ip,
    forwarded_for: record.forwarded_for,
    user_agent: record.user_agent ?? '',
    request_headers: record.request_headers ?? '{}',
    request_body: record.request_body,
    content_fingerprint: record.content_fingerprint,
    device_fingerprint: record.device_fingerprint,
    cookies: record.cookies,
    response_status: record.response_status,
    response_time: Math.round(record.response_time),
    timestamp: Math.floor(record.timestamp),
  };
}

function deliveryOf({ status, retryAfter, text }: WebhookAnswer, now: number): Delivery {
  if (status === 404) return { kind: 'off', reason: 'this NewAPI has no receiver at /api/heimdall/log (404)' };
  if (status === 400) return { kind: 'refused', reason: 'the receiver answered 400' };
  if (status >= 200 && status < 300 && saysSuccess(text)) return { kind: 'delivered' };
  const wait = retryAfterOf(retryAfter, now);
  return { kind: 'held', reason: `the receiver answered ${status}${status < 300 ? ' without success' : ''}`, ...(wait > 0 ? { wait } : {}) };
}

/** NewAPI says 200 to what it refuses, too; and whatever stands in its place may say anything. */
function saysSuccess(text: string): boolean {
  try {
    return (JSON.parse(text) as { success?: unknown } | null)?.success === true;
  } catch {
    return false;
  }
}

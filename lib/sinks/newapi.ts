import type { Clock } from '../../types/clock.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Delivery, Sink } from '../../types/sink.d.ts';
import { codeOf, type OutboundProxy } from '../platform/platform.ts';
import { WebhookClient, type WebhookAnswer } from '../telemetry/telemetry.ts';
import { retryAfterOf } from './retry-after.ts';

/** The options of the NewAPI sink. */
export interface NewapiSinkOptions {
  /** Proxies for connections to the outside. */
  readonly proxies?: OutboundProxy | null;
  /** Base URL of the NewAPI with the receiver. */
  readonly url: string;
  /** The records NewAPI gets: all; those the gate refused, or would refuse outside `observe`; or one in ten. */
  readonly select: 'all' | 'flagged' | 'sample';
  /** Finds the raw key of a token id, where `audit.newapi.token` is `raw`; null for an unknown one. */
  readonly rawToken: ((tokenId: string) => string | null) | null;
  /** Records a second. The receiver counts towards NewAPI's limit of 180 requests in 180 s. */
  readonly maxRate: number;
  readonly clock: Clock;
}

/** Timeout of a call, as in the original gateway, milliseconds. */
const callTimeout = 5000;

/**
 * Delivers to NewAPI's receiver: one record a call, with the original gateway's fields and types. 429 and failures hold the
 * record, 400 skips it, 404 switches the sink off because this NewAPI has no receiver. Records from elsewhere are not relayed.
 */
export function newapiSink({ url, select, rawToken, maxRate, clock, proxies = null }: NewapiSinkOptions): Sink {
  const client = new WebhookClient(`${url}/api/heimdall/log`, callTimeout, proxies);
  const space = 1000 / maxRate;
  return {
    name: 'newapi',
    batch: 1,
    wants: (record) => record.source === 'gate' && isSelected(record, select),
    async deliver([record], signal) {
      if (record === undefined) return { kind: 'delivered' };
      const began = clock.monotonic();
      const body = JSON.stringify(payloadOf(record, rawToken));
      const posted = await client.post(body, {}, signal).catch((error: unknown) => codeOf(error));
      const delivery = typeof posted === 'string' ? ({ kind: 'held', reason: `the receiver cannot be reached (${posted})` } as const) : deliveryOf(posted, clock.now());
      return delivery.kind === 'off' ? delivery : spaced(delivery, space - (clock.monotonic() - began));
    },
    close: () => client.close(),
  };
}

/** Adds the wait that `max_rate` demands before the next call. A failure that names no wait gets a longer one anyway. */
function spaced(delivery: Exclude<Delivery, { kind: 'off' }>, rest: number): Delivery {
  if (delivery.kind === 'held' && delivery.wait === undefined) return delivery;
  return { ...delivery, wait: Math.max(delivery.wait ?? 0, Math.ceil(rest)) };
}

function isSelected({ outcome, would_refuse, request_id }: AuditRecord, select: NewapiSinkOptions['select']): boolean {
  if (select === 'all') return true;
  if (select === 'flagged') return outcome.startsWith('refused') || would_refuse.length > 0;
  return Number.parseInt(request_id.slice(-8), 16) % 10 === 0;
}

/** The original gateway's fields. A raw key is sent as NewAPI stores it, without `sk-`. */
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

/** NewAPI answers 200 to refused records too, and another server in its place may answer anything. */
function saysSuccess(text: string): boolean {
  try {
    return (JSON.parse(text) as { success?: unknown } | null)?.success === true;
  } catch {
    return false;
  }
}

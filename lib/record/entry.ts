import { z } from 'zod';
import type { NewRecord } from '../../types/record.d.ts';
import { parseAddress } from '../identity/identity.ts';

/** The age of a record, and its lead over this clock, at most, milliseconds. */
const maxAge = 30 * 86_400_000;
const maxLead = 300_000;

/** An invalid field, in FastAPI's form. */
export interface Issue {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly type: string;
}

/** A record that was handed in, or the reasons why it is none. */
export type Entry = { readonly kind: 'record'; readonly record: NewRecord } | { readonly kind: 'invalid'; readonly issues: readonly Issue[] };

const text = (most: number) => z.string().max(most);
const hex = text(64).regex(/^[0-9a-fA-F]*$/, 'Input should be hexadecimal');

/** The original gateway writes headers and cookies as the JSON text of an object. */
const json = text(65_536).transform((value, context): Readonly<Record<string, string>> => {
  try {
    const read: unknown = JSON.parse(value);
    if (typeof read === 'object' && read !== null && !Array.isArray(read)) return Object.fromEntries(Object.entries(read).map(([name, each]) => [name, String(each)]));
  } catch {
    // The issue is added below.
  }
  context.addIssue({ code: 'custom', message: 'Input should be the JSON text of an object' });
  return z.NEVER;
});

/** The original gateway writes `unknown` where it has no address. */
const address = text(64).refine((value) => value === 'unknown' || parseAddress(value) !== null, 'Input should be an IP address');

/** The original gateway's `LogEntry` with bounds. The journal keeps fewer characters of each text. */
const logEntry = z.object({
  user_id: z.int().nullish(),
  token_key: text(4096).nullish(),
  request_path: text(8192).startsWith('/'),
  request_method: text(16).regex(/^[A-Z]+$/, 'Input should be a method'),
  real_ip: address,
  forwarded_for: text(8192).nullish(),
  user_agent: text(8192).nullish(),
  request_headers: json.nullish(),
  request_body: text(65_536).nullish(),
  content_fingerprint: hex.nullish(),
  device_fingerprint: hex.nullish(),
  cookies: json.nullish(),
  response_status: z.int().min(0).max(999),
  response_time: z.number().min(0).max(86_400_000),
  timestamp: z.number().positive(),
});

/**
 * Reads a record from a body. SECURITY: the issues do not quote the body.
 * @param now Unix milliseconds; the record's own time must be near it.
 */
export function entryOf(bytes: Buffer, now: number, source: string): Entry {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return { kind: 'invalid', issues: [{ loc: ['body'], msg: 'JSON decode error', type: 'json_invalid' }] };
  }
  const { data, error } = logEntry.safeParse(value);
  if (error) return { kind: 'invalid', issues: error.issues.map(({ path, message, code }) => ({ loc: ['body', ...(path as (string | number)[])], msg: message, type: code })) };
  const time = Math.floor(data.timestamp * 1000);
  if (time < now - maxAge || time > now + maxLead) {
    return { kind: 'invalid', issues: [{ loc: ['body', 'timestamp'], msg: 'Input should be Unix seconds of the last 30 days', type: 'out_of_range' }] };
  }
  return { kind: 'record', record: recordOf(data, time, source) };
}

function recordOf(data: z.output<typeof logEntry>, time: number, source: string): NewRecord {
  return {
    time,
    source,
    request_method: data.request_method,
    request_path: data.request_path,
    real_ip: parseAddress(data.real_ip) ?? data.real_ip,
    response_status: data.response_status,
    response_time: data.response_time,
    user_id: data.user_id ?? null,
    token_key: data.token_key ?? null,
    forwarded_for: data.forwarded_for ?? '',
    user_agent: data.user_agent ?? null,
    headers: data.request_headers ?? null,
    request_body: data.request_body ?? null,
    content_fingerprint: data.content_fingerprint ?? null,
    ...(data.device_fingerprint ? { device_fingerprint: data.device_fingerprint } : {}),
    cookies: data.cookies ?? null,
  };
}

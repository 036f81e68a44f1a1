import type { SqlValue } from '../../types/journal.d.ts';
import type { Subject } from '../../types/detector.d.ts';
import type { Query } from './search.ts';
import { callerColumns } from './sums.ts';

/** Different values of one column that are listed. */
const mostListed = 50;
/** Hours that are listed: a week. */
const mostHours = 168;

/** The place of a caller in the list of callers. */
export interface CallerCursor {
  /** Unix seconds. */
  readonly last: number;
  readonly kind: string;
  readonly id: string;
}

/** Reads the cursor of a page: seconds, kind and id. @returns null for anything else. */
export function readCallerCursor(text: string): CallerCursor | null {
  const [, last = '', kind = '', id = ''] = /^(\d{1,12})-(key|token)-(.{1,256})$/s.exec(text) ?? [];
  return last === '' ? null : { last: Number(last), kind, id };
}

/** Callers with records, the latest first: kind, id, sums, Unix seconds of the last request. */
export function callersOf(limit: number, cursor: CallerCursor | null): Query {
  const behind = cursor === null ? '' : 'WHERE (last, kind, id) < (?, ?, ?)';
  const sql = `SELECT kind, id, requests, errors, refused, prompt AS prompt_tokens, completion AS completion_tokens, cost, last FROM sums.heimdall_callers ${behind} ORDER BY last DESC, kind DESC, id DESC LIMIT ?`;
  return { sql, values: [...(cursor === null ? [] : [cursor.last, cursor.kind, cursor.id]), limit] };
}

/** The sums of each minute or hour of a time, Unix seconds. A day is the sum of its hours in UTC. */
export function seriesOf(step: 'minute' | 'hour' | 'day', from: number, to: number): Query {
  const table = step === 'minute' ? 'heimdall_minutes' : 'heimdall_hours';
  const time = step === 'day' ? 'time / 86400 * 86400' : 'time';
  const sums = ['requests', 'errors', 'refused', 'prompt', 'completion', 'cost', 'overhead', 'overheads', 'duration', 'first_byte', 'first_bytes'].map((name) => `total(${name}) AS ${name}`).join(', ');
  return { sql: `SELECT ${time} AS time, ${sums} FROM sums.${table} WHERE time >= ? AND time < ? GROUP BY 1 ORDER BY 1`, values: [from, to] };
}

/** The sums of a time of minutes, Unix seconds. */
export const totalsOf = (from: number, to: number): Query =>
  ({ sql: 'SELECT total(requests) AS requests, total(errors) AS errors, total(refused) AS refused, total(cost) AS cost, total(overhead) AS overhead, total(overheads) AS overheads FROM sums.heimdall_minutes WHERE time >= ? AND time < ?', values: [from, to] });

/** What all requests of a time cost, whole hours, Unix seconds. */
export const spendOf = (from: number, to: number): Query => ({ sql: 'SELECT total(cost) AS cost FROM sums.heimdall_hours WHERE time >= ? AND time < ?', values: [from, to] });

/** What a caller has spent since a time. @param since Unix seconds. */
export const spendSince = ({ kind, id }: Subject, since: number): Query => ({ sql: 'SELECT total(cost) AS cost FROM sums.heimdall_caller_hours WHERE kind = ? AND id = ? AND time >= ?', values: [kind, id, since] });

/** How far back a caller's requests are looked for, records: no index finds them, and a list must not read millions. */
const reach = 300_000;

/** The latest model requests of a caller, by names of the record that say nothing of devices, addresses and bodies. */
export function requestsOfCaller({ kind, id }: Subject, limit: number): Query {
  const own = kind === 'key' ? 'key_id = ?' : 'token_id = ? AND key_id IS NULL';
  return {
    sql: `SELECT request_id, timestamp, request_method, route, model, stream, response_status, response_time, outcome, attempts, queue_wait, first_byte, prompt_tokens, completion_tokens, cost, upstream_request_id FROM heimdall_logs
      WHERE id IN (SELECT id FROM heimdall_logs WHERE id > (SELECT max(id) FROM heimdall_logs) - ${reach} AND ${own} AND (model IS NOT NULL OR route LIKE '/v1/%') ORDER BY id DESC LIMIT ?) ORDER BY id DESC`,
    values: [id, limit],
  };
}

/** The sums of a caller's last hours. */
export const callerHours = ({ kind, id }: Subject): Query =>
  ({ sql: `SELECT time AS hour, requests, errors, cost FROM sums.heimdall_caller_hours WHERE kind = ? AND id = ? ORDER BY time DESC LIMIT ${mostHours}`, values: [kind, id] });

/** The queries about one caller or network: sums, requests of each hour, and the latest values of some columns with their number and times. */
export function queriesAbout(subject: Subject): Record<keyof typeof callerColumns | 'sums' | 'hours', Query> {
  const { kind, id } = subject;
  if (kind !== 'key' && kind !== 'token') return queriesOfRecords(subject);
  const lists = Object.keys(callerColumns).map((what) => [what, {
    sql: `SELECT value AS id, requests, first, last FROM sums.heimdall_caller_values WHERE kind = ? AND id = ? AND what = ? ORDER BY last DESC LIMIT ${mostListed}`,
    values: [kind, id, what],
  }]);
  return {
    ...(Object.fromEntries(lists) as Record<keyof typeof callerColumns, Query>),
    sums: { sql: 'SELECT requests, first, last, cost FROM sums.heimdall_callers WHERE kind = ? AND id = ?', values: [kind, id] },
    hours: callerHours(subject),
  };
}

function queriesOfRecords(subject: Subject): Record<keyof typeof callerColumns | 'sums' | 'hours', Query> {
  const [where, value] = whereOf(subject);
  const values: SqlValue[] = [value];
  const lists = Object.entries(callerColumns).map(([what, column]) => [what, {
    sql: `SELECT ${column} AS id, count(*) AS requests, min(timestamp) AS first, max(timestamp) AS last FROM heimdall_logs WHERE ${where} AND ${column} <> '' GROUP BY 1 ORDER BY last DESC LIMIT ${mostListed}`,
    values,
  }]);
  return {
    ...(Object.fromEntries(lists) as Record<keyof typeof callerColumns, Query>),
    sums: { sql: `SELECT count(*) AS requests, min(timestamp) AS first, max(timestamp) AS last, sum(coalesce(cost, 0)) AS cost FROM heimdall_logs WHERE ${where}`, values },
    hours: { sql: `SELECT timestamp / 3600 * 3600 AS hour, count(*) AS requests FROM heimdall_logs WHERE ${where} GROUP BY 1 ORDER BY 1 DESC LIMIT ${mostHours}`, values },
  };
}

function whereOf({ kind, id }: Subject): readonly [where: string, value: string] {
  if (kind === 'content') return ['content_fingerprint = ?1', id];
  // The addresses of a network of whole bytes begin with the same text.
  const [address = ''] = id.split('/');
  return ['substr(real_ip, 1, length(?1)) = ?1', address.includes(':') ? address.replace(/00::$/, '').replace(/::$/, ':') : address.replace(/\.0$/, '.')];
}

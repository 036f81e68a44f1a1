import type { Subject } from '../../types/detector.d.ts';
import type { Query } from './search.ts';

/** Different values of one column that are listed. */
const mostListed = 50;
/** Hours that are listed: a week. */
const mostHours = 168;

/** Callers with records, the latest first: kind, id, number of requests, Unix seconds of the last one. */
export function callersOf(limit: number, offset: number): Query {
  const sql = `SELECT CASE WHEN key_id IS NULL THEN 'token' ELSE 'key' END AS kind, coalesce(key_id, token_id) AS id, count(*) AS requests, max(timestamp) AS last
    FROM heimdall_logs WHERE coalesce(key_id, token_id) IS NOT NULL GROUP BY 1, 2 ORDER BY last DESC, id LIMIT ? OFFSET ?`;
  return { sql, values: [limit, offset] };
}

/** What is listed of a caller, by column. */
const listed = { networks: 'real_ip', devices: 'device_id', sessions: 'session_id', homes: 'home_id', models: 'model', clients: 'client' } as const;

/** The queries about one caller or network: sums, requests of each hour, and the latest values of some columns with their number and times. */
export function queriesAbout(subject: Subject): Record<keyof typeof listed | 'sums' | 'hours', Query> {
  const [where, value] = whereOf(subject);
  const lists = Object.entries(listed).map(([what, column]) => [what, {
    sql: `SELECT ${column} AS id, count(*) AS requests, min(timestamp) AS first, max(timestamp) AS last FROM heimdall_logs WHERE ${where} AND ${column} <> '' GROUP BY 1 ORDER BY last DESC LIMIT ${mostListed}`,
    values: [value],
  }]);
  return {
    ...(Object.fromEntries(lists) as Record<keyof typeof listed, Query>),
    sums: { sql: `SELECT count(*) AS requests, min(timestamp) AS first, max(timestamp) AS last, sum(coalesce(cost, 0)) AS cost FROM heimdall_logs WHERE ${where}`, values: [value] },
    hours: { sql: `SELECT timestamp / 3600 * 3600 AS hour, count(*) AS requests FROM heimdall_logs WHERE ${where} GROUP BY 1 ORDER BY 1 DESC LIMIT ${mostHours}`, values: [value] },
  };
}

function whereOf({ kind, id }: Subject): readonly [where: string, value: string] {
  if (kind === 'key') return ['key_id = ?1', id];
  if (kind === 'token') return ['token_id = ?1 AND key_id IS NULL', id];
  if (kind === 'content') return ['content_fingerprint = ?1', id];
  // The addresses of a network of whole bytes begin with the same text.
  const [address = ''] = id.split('/');
  return ['substr(real_ip, 1, length(?1)) = ?1', address.includes(':') ? address.replace(/00::$/, '').replace(/::$/, ':') : address.replace(/\.0$/, '.')];
}

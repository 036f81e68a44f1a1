import type { Subject } from '../../types/detector.d.ts';
import type { Dialect, Query, Question } from '../../types/reader.d.ts';
import { joined } from './search.ts';
import { failed, listedColumns } from './sums.ts';

export { listedColumns };

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
export const callersOf = (limit: number, cursor: CallerCursor | null): Question => ({ sums }) => {
  const behind = cursor === null ? '' : 'WHERE (last, kind, id) < (?, ?, ?)';
  const sql = `SELECT kind, id, requests, errors, refused, prompt AS prompt_tokens, completion AS completion_tokens, cost, last FROM ${sums}heimdall_callers ${behind} ORDER BY last DESC, kind DESC, id DESC LIMIT ?`;
  return { sql, values: [...(cursor === null ? [] : [cursor.last, cursor.kind, cursor.id]), limit] };
};

/** The sums of each minute or hour of a time, Unix seconds. A day is the sum of its hours in UTC. */
export const seriesOf = (step: 'minute' | 'hour' | 'day', from: number, to: number): Question => (dialect) => {
  const table = step === 'minute' ? 'heimdall_minutes' : 'heimdall_hours';
  const time = step === 'day' ? 'time / 86400 * 86400' : 'time';
  const sums = ['requests', 'errors', 'refused', 'prompt', 'completion', 'cost', 'overhead', 'overheads', 'duration', 'first_byte', 'first_bytes'].map(total).join(', ');
  return { sql: `SELECT ${time} AS time, ${sums} FROM ${dialect.sums}${table} WHERE time >= ? AND time < ? GROUP BY 1 ORDER BY 1`, values: [from, to] };
};

const total = (name: string): string => `coalesce(sum(${name}), 0) AS ${name}`;

/** The sums of a time of minutes, Unix seconds. */
export const totalsOf = (from: number, to: number): Question => ({ sums }) =>
  ({ sql: `SELECT ${['requests', 'errors', 'refused', 'cost', 'overhead', 'overheads'].map(total).join(', ')} FROM ${sums}heimdall_minutes WHERE time >= ? AND time < ?`, values: [from, to] });

/** What all requests of a time cost, whole hours, Unix seconds. */
export const spendOf = (from: number, to: number): Question => ({ sums }) => ({ sql: `SELECT ${total('cost')} FROM ${sums}heimdall_hours WHERE time >= ? AND time < ?`, values: [from, to] });

/** What a caller has spent since a time. @param since Unix seconds. */
export const spendSince = ({ kind, id }: Subject, since: number): Question => ({ sums }) => ({ sql: `SELECT ${total('cost')} FROM ${sums}heimdall_caller_hours WHERE kind = ? AND id = ? AND time >= ?`, values: [kind, id, since] });

/** Columns of a record that say nothing of devices, addresses and bodies. */
export const callerColumns = 'request_id, timestamp, request_method, route, model, stream, response_status, response_time, outcome, attempts, queue_wait, first_byte, prompt_tokens, completion_tokens, cost, upstream_request_id';

/** A condition for the model requests of a caller. */
export const isOfCaller = (kind: string): string => `${kind === 'key' ? 'key_id = ?' : 'token_id = ? AND key_id IS NULL'} AND (model IS NOT NULL OR route LIKE '/v1/%')`;

/** Those of the records at these positions of a journal that are model requests of a caller, the latest first. */
export const requestsOfCaller = (kind: string, id: string, ids: readonly number[], limit: number): Query => ({
  sql: `SELECT ${callerColumns} FROM heimdall_logs NOT INDEXED WHERE id IN (SELECT value FROM json_each(?)) AND ${isOfCaller(kind)} ORDER BY id DESC LIMIT ?`,
  values: [JSON.stringify(ids), id, limit],
});

/** One row of what is known about a caller or network: its sums, one of its hours, or one value of a column; `id` is null but for values. */
const rowOf = (what: string, id: string, of: { readonly requests: string; readonly errors: string; readonly first: string; readonly last: string; readonly cost: string }, rest: string): string =>
  `SELECT * FROM (SELECT '${what}' AS what, ${id} AS id, ${of.requests} AS requests, ${of.errors} AS errors, ${of.first} AS first, ${of.last} AS last, ${of.cost} AS cost ${rest}) AS ${what}`;
const noId = 'CAST(NULL AS TEXT)';

/**
 * What is known about one caller or network, in one question: rows with `what`. `sums`: of all its requests; `hours`: of each of its last
 * hours, `first` is when it began; and by the names of {@link listedColumns} the latest values of those columns.
 */
export function queryAbout(subject: Subject): Question {
  const { kind, id } = subject;
  if (kind !== 'key' && kind !== 'token') return queryOfRecords(subject);
  return ({ sums }) => {
    const own = { requests: 'requests', errors: 'errors', first: 'first', last: 'last', cost: 'cost' };
    const parts = [
      rowOf('sums', noId, own, `FROM ${sums}heimdall_callers WHERE kind = ? AND id = ?`),
      rowOf('hours', noId, { ...own, first: 'time', last: 'time' }, `FROM ${sums}heimdall_caller_hours WHERE kind = ? AND id = ? ORDER BY time DESC LIMIT ${mostHours}`),
      ...Object.keys(listedColumns).map((what) => rowOf(what, 'value', { ...own, errors: '0', cost: '0' }, `FROM ${sums}heimdall_caller_values WHERE kind = ? AND id = ? AND what = '${what}' ORDER BY last DESC LIMIT ${mostListed}`)),
    ];
    return { sql: parts.join(' UNION ALL '), values: parts.flatMap(() => [kind, id]) };
  };
}

/** Of records, which are found once for all parts of the answer. */
function queryOfRecords(subject: Subject): Question {
  const of = { requests: 'count(*)', errors: `coalesce(sum(CASE WHEN ${failed} THEN 1 ELSE 0 END), 0)`, first: 'min(timestamp)', last: 'max(timestamp)', cost: 'coalesce(sum(cost), 0)' };
  const parts = [
    rowOf('sums', noId, of, 'FROM found'),
    rowOf('hours', noId, { ...of, first: 'timestamp / 3600 * 3600', last: 'timestamp / 3600 * 3600' }, `FROM found GROUP BY 5 ORDER BY 5 DESC LIMIT ${mostHours}`),
    ...Object.entries(listedColumns).map(([what, column]) => rowOf(what, column, of, `FROM found WHERE ${column} <> '' GROUP BY 2 ORDER BY 6 DESC LIMIT ${mostListed}`)),
  ];
  return (dialect) => {
    const { sql, values } = whereOf(subject, dialect);
    // The inner SELECT reads the index that has the columns of the condition.
    return { sql: `WITH found AS MATERIALIZED (SELECT timestamp, cost, outcome, response_status, ${Object.values(listedColumns).join(', ')} FROM heimdall_logs WHERE ${dialect.among(sql)}) ${parts.join(' UNION ALL ')}`, values };
  };
}

function whereOf({ kind, id }: Subject, { begins, recent }: Dialect): Query {
  if (kind === 'content') return joined([recent, { sql: 'content_fingerprint = ?', values: [id] }]);
  // The addresses of a network of whole bytes begin with the same text.
  const [address = ''] = id.split('/');
  return joined([recent, begins('real_ip', address.includes(':') ? address.replace(/00::$/, '').replace(/::$/, ':') : address.replace(/\.0$/, '.'))]);
}

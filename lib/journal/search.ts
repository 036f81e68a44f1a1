import type { Between, Dialect, Query, Question } from '../../types/reader.d.ts';
import { addedColumns, type ColumnName } from '../record/record.ts';
import { isNetwork, readDuration, show, suggestion } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { parseAddress } from '../identity/identity.ts';
import type { Sought, Wants } from './places.ts';
import { failed } from './sums.ts';

/** The filters of a search by name, as they were written: the names of {@link filters}. */
export type Wanted = Readonly<Record<string, string>>;

/** A filter is unknown or has an invalid value. */
export class SearchError extends Error {
  readonly field: string;

  constructor(field: string, expected: string, got: unknown, example: string) {
    super(`${field}: ${expectation(expected, show(got), example)}`);
    this.field = field;
  }
}

type Condition = Query;

interface Filter {
  readonly what: string;
  readonly example: string;
  /** @returns null for an invalid value. */
  readonly read: (text: string, now: number, dialect: Dialect) => Condition | null;
  /** What of a record makes it true, for a valid value; without it, places do not help. */
  readonly seek?: (text: string) => readonly Sought[];
}

const knownFacts = (name: string): string => `SELECT record FROM heimdall_learnt WHERE name = '${name}' AND value = ?`;

/** How far back what no index finds is looked for, records: an answer must not read millions. */
export const reach = 300_000;

/** SQLite, in the journal. */
export const sqlite: Dialect = {
  begins: (column, start) => ({ sql: `${column} >= ? AND ${column} < ?`, values: [start, `${start}\u{10ffff}`] }),
  // Also all other records of the same token: a name is learnt of some of its requests.
  learnt: (name, value) => ({ sql: `(id IN (${knownFacts(name)}) OR token_id IN (SELECT token_id FROM heimdall_logs WHERE id IN (${knownFacts(name)})))`, values: [JSON.stringify(value), JSON.stringify(value)] }),
  among: (condition) => `id IN (SELECT id FROM heimdall_logs WHERE ${condition})`,
  newest: 'id DESC',
  sums: 'sums.',
  recent: { sql: `id > (SELECT max(id) FROM heimdall_logs) - ${reach / 2}`, values: [] },
};

const either = (one: Condition, other: Condition): Condition => ({ sql: `(${one.sql} OR ${other.sql})`, values: [...one.values, ...other.values] });
const equals = (column: string) => (text: string): Condition => ({ sql: `${column} = ?`, values: [text] });
const exactly = (column: Sought['column']) => (text: string): readonly Sought[] => [{ column, text }];
const byStart = (column: Sought['column']) => (text: string): readonly Sought[] => [{ column, text: text.toLowerCase(), begins: true }];
const hex = (column: string) => (text: string, _now: number, { begins }: Dialect): Condition | null => (/^[0-9a-f]{4,64}$/i.test(text) ? begins(column, text.toLowerCase()) : null);
const time = (comparison: string) => (text: string, now: number): Condition | null => {
  const at = momentOf(text, now);
  return at === null ? null : { sql: `timestamp ${comparison} ?`, values: [Math.floor(at / 1000)] };
};

/** The filters of a search. */
export const filters = {
  key: { what: 'name of a gateway key, subject of a JWT, or identity of a token', example: 'team-a', read: (text) => ({ sql: '(key_id = ? OR token_id = ?)', values: [text, text] }), seek: (text) => [...exactly('key_id')(text), ...exactly('token_id')(text)] },
  user: { what: "NewAPI's number of the user", example: '17', read: (text) => (/^\d{1,15}$/.test(text) ? { sql: 'user_id = ?', values: [Number(text)] } : null), seek: (text) => exactly('user_id')(String(Number(text))) },
  address: { what: 'client address', example: '203.0.113.7', read: address, seek: seekAddress },
  device: { what: 'device fingerprint, or how it begins', example: '3f2a9c', read: hex('device_fingerprint'), seek: byStart('device_fingerprint') },
  session: { what: 'session, or how it begins', example: '9c1d22', read: hex('session'), seek: byStart('session') },
  device_id: { what: 'device that the client names, or how it begins', example: '3f2a9c', read: hex('device_id'), seek: byStart('device_id') },
  session_id: { what: 'session that the client names, or how it begins', example: '9c1d22', read: hex('session_id'), seek: byStart('session_id') },
  home_id: { what: 'home that the client names, or how it begins', example: '77ab01', read: hex('home_id'), seek: byStart('home_id') },
  client: { what: 'client with or without its version', example: 'openai-python', read: (text, _now, { begins }) => (text.includes('/') ? equals('client')(text) : either(equals('client')(text), begins('client', `${text}/`))), seek: (text) => [...exactly('client')(text), { column: 'client', text: `${text}/`, begins: true }] },
  content: { what: 'content fingerprint, or how it begins', example: 'd41d8c', read: hex('content_fingerprint'), seek: byStart('content_fingerprint') },
  status: { what: 'HTTP status, or its class', example: '429, or 5xx', read: status, seek: (text) => [/x/i.test(text) ? { column: 'response_status', text: text.slice(0, 1), begins: true } : { column: 'response_status', text: String(Number(text)) }] },
  outcome: { what: 'served, refused, refused:CODE, upstream_error, aborted, interrupted, or failed: upstream_error, interrupted, or served with 5xx', example: 'refused', read: outcome, seek: seekOutcome },
  model: { what: 'model, with * at its end for all that begin so', example: 'gpt-5*', read: (text, _now, { begins }) => (text.endsWith('*') ? begins('model', text.slice(0, -1)) : equals('model')(text)), seek: (text) => (text.endsWith('*') ? [{ column: 'model', text: text.slice(0, -1), begins: true }] : exactly('model')(text)) },
  route: { what: 'template of a route', example: '/v1/chat/completions', read: equals('route'), seek: exactly('route') },
  target: { what: 'target that answered', example: 'openai', read: equals('target'), seek: exactly('target') },
  source: { what: 'gate, or who handed the record in', example: 'gate', read: equals('source'), seek: exactly('source') },
  username: { what: "name of NewAPI's user", example: 'alice', read: (text, _now, { learnt }) => learnt('username', text) },
  token_name: { what: "name of NewAPI's token", example: 'alice-laptop', read: (text, _now, { learnt }) => learnt('token_name', text) },
  request_id: { what: 'id of the request, X-Request-Id', example: '01999f3e-…', read: equals('request_id') },
  upstream_request_id: { what: "NewAPI's own id of the request", example: '2026112203…', read: equals('upstream_request_id'), seek: exactly('upstream_request_id') },
  from: { what: 'not before: a date, a date and time, or a duration back from now', example: '24h', read: time('>=') },
  to: { what: 'before: a date, a date and time, or a duration back from now', example: '2026-11-22T12:00:00Z', read: time('<') },
} as const satisfies Record<string, Filter>;

/** Callers whose places are looked up one by one. */
const mostSought = 20;

/** Where records may be that pass the filters, which are valid. */
export function wantsOf(wanted: Wanted, callers: readonly string[] | null): Wants {
  const found = Object.entries(wanted).flatMap(([name, text]) => {
    const sought = (filters as Readonly<Record<string, Filter>>)[name]?.seek?.(text);
    return sought === undefined ? [] : [sought];
  });
  return callers === null || callers.length > mostSought ? found : [...found, callers.flatMap((caller) => [...exactly('key_id')(caller), ...exactly('token_id')(caller)])];
}

const newestSchema = 2;

/** Columns with content. A page of records leaves them out. */
const contentColumns = ['request_headers', 'request_body', 'response_body', 'cookies'];

/** The facts learnt about a record, as a JSON object; of two facts with one name the later one counts. */
const learntColumn = '(SELECT json_group_object(name, json(value)) FROM (SELECT name, value FROM heimdall_learnt WHERE record = heimdall_logs.id AND value IS NOT NULL ORDER BY fact)) AS learnt';

/** One record with its content, and what was learnt about it. @param columns the columns of a record. */
export const requestOf = (id: string, columns: string, schema: number): Query =>
  ({ sql: `SELECT ${columnsOf(columns, schema)}${schema > 1 ? `, ${learntColumn}` : ''} FROM heimdall_logs WHERE request_id = ?`, values: [id] });

/** A journal of schema 1 lacks some columns. */
const columnsOf = (columns: string, schema: number): string => columns.split(', ').map((name) => (schema === 1 && addedColumns.has(name as ColumnName) ? `NULL AS ${name}` : name)).join(', ');

/** The SELECT for a page of records. */
export interface Page {
  readonly wanted: Wanted;
  /** At most 1001. */
  readonly limit: number;
  /** Position after which the page begins, in its direction; null for the first page. */
  readonly cursor: number | null;
  readonly order: 'newest' | 'oldest';
  /** Position of the last record that counts: a walk from the oldest would meet the records that it causes itself. */
  readonly last?: number | null;
  /** Version of the journal's schema; by default the newest. Schema 1 has no table of learnt facts and fewer columns. */
  readonly schema?: number;
  /** The content of the records is read too. */
  readonly whole?: boolean;
  /** Leaves out requests of these paths and of what is below them. */
  readonly without?: readonly string[] | null;
  /** Position of the first record that counts. */
  readonly first?: number | null;
  /** Only requests of these keys and tokens. */
  readonly callers?: readonly string[] | null;
  /** Only records at these positions. */
  readonly ids?: readonly number[] | null;
  /** Unix milliseconds. */
  readonly now: number;
}

/**
 * A page of records, by default without their content.
 * @param columns the columns of a record.
 * @throws SearchError naming the filter.
 */
export function pageOf({ wanted, limit, cursor, order, last = null, first = null, callers = null, ids = null, schema = newestSchema, whole = false, without = null, now }: Page, columns: string): Query {
  const { sql, values } = conditions(wanted, now, sqlite, without);
  const listed = columnsOf(columns, schema).split(', ').map((name) => (!whole && contentColumns.includes(name) ? `NULL AS ${name}` : name)).join(', ');
  const behind = cursor === null ? [] : [{ sql: order === 'newest' ? 'id < ?' : 'id > ?', values: [cursor] }];
  const bounded = last === null ? [] : [{ sql: 'id <= ?', values: [last] }];
  const from = first === null ? [] : [{ sql: 'id >= ?', values: [first] }];
  const places = callers?.map(() => '?').join(', ');
  const whose = callers === null ? [] : [{ sql: `(token_id IN (${places}) OR key_id IN (${places}))`, values: [...callers, ...callers] }];
  const among = ids === null ? [] : [{ sql: 'id IN (SELECT value FROM json_each(?))', values: [JSON.stringify(ids)] }];
  const all = joined([{ sql, values }, ...behind, ...bounded, ...from, ...among, ...whose]);
  const by = `ORDER BY id ${order === 'newest' ? 'DESC' : 'ASC'}`;
  // The inner SELECT reads an index that has all filter columns, instead of the table, which is ten times as large.
  return { sql: `SELECT ${listed}${schema > 1 ? `, ${learntColumn}` : ''} FROM heimdall_logs WHERE id IN (SELECT id FROM heimdall_logs ${ids === null ? '' : 'NOT INDEXED '}WHERE ${all.sql} ${by} LIMIT ?) ${by}`, values: [...all.values, limit] };
}

/** How long a look for records takes at most as far as that can be told, milliseconds, and how much wider than the last one it is. */
const longestLook = 500;
const mostWider = 8;

/** How far to look next: as far as, at the pace of the last look, half of the time that is left is enough for. @param took how long that look took. @param left milliseconds. */
export const nextWidth = (width: number, took: number, left: number): number => width * Math.min(mostWider, Math.max(1 / mostWider, Math.min(longestLook, left / 2) / Math.max(took, 0.1)));

/** The position of the latest record. */
export const lastOf: Question = () => ({ sql: 'SELECT max(id) AS last FROM heimdall_logs', values: [] });

/** The number of records. @throws SearchError naming the filter. */
export const countOf = (wanted: Wanted, now: number, without: Page['without'] = null): Question => (dialect) => {
  const { sql, values } = conditions(wanted, now, dialect, without);
  return { sql: `SELECT count(*) AS records FROM heimdall_logs WHERE ${sql}`, values };
};

/** The names records can be grouped by, with their columns. */
export const groups = {
  key: 'coalesce(key_id, token_id)',
  address: 'real_ip',
  device: 'device_fingerprint',
  session: 'session',
  device_id: 'device_id',
  session_id: 'session_id',
  home_id: 'home_id',
  user: 'user_id',
  client: 'client',
  model: 'model',
  route: 'route',
  target: 'target',
  outcome: 'outcome',
  status: 'response_status',
  content: 'content_fingerprint',
  source: 'source',
} as const;

/** The measures groups can be sorted and filtered by. */
export const measures = ['requests', 'keys', 'addresses', 'devices', 'errors', 'tokens', 'cost', 'last_seen', 'per_minute'] as const;

/** A grouping of records. */
export interface Grouping {
  readonly wanted: Wanted;
  readonly by: keyof typeof groups;
  readonly sort: (typeof measures)[number];
  /** Least value of the measure in `sort`. For example, addresses used by several keys have `keys` of at least 2. */
  readonly least: number;
  readonly limit: number;
  readonly offset: number;
  /** See {@link Page.without}. */
  readonly without?: Page['without'];
  readonly now: number;
  /** Only these records. */
  readonly between?: Between | null;
}

/**
 * For each group: requests, first and last time, distinct keys, addresses and devices, errors, tokens, cost, and requests a
 * minute.
 * @throws SearchError naming the filter.
 */
export const groupsOf = ({ wanted, by, sort, least, limit, offset, without = null, now, between = null }: Grouping): Question => (dialect) => {
  const { sql, values } = joined([conditions(wanted, now, dialect, without), ...within(between)]);
  const column = groups[by];
  const isText = by !== 'user' && by !== 'status';
  return {
    sql: `SELECT * FROM (SELECT ${column} AS value, count(*) AS requests, min(timestamp) AS first_seen, max(timestamp) AS last_seen,
      count(DISTINCT coalesce(key_id, token_id)) AS keys, count(DISTINCT nullif(real_ip, '')) AS addresses, count(DISTINCT nullif(device_fingerprint, '')) AS devices,
      ${failures} AS errors, coalesce(sum(prompt_tokens), 0) + coalesce(sum(completion_tokens), 0) AS tokens, coalesce(sum(cost), 0) AS cost,
      count(*) * 60.0 / CASE WHEN max(timestamp) - min(timestamp) > 60 THEN max(timestamp) - min(timestamp) ELSE 60 END AS per_minute
      FROM heimdall_logs WHERE ${sql} AND ${column} IS NOT NULL${isText ? ` AND ${column} <> ''` : ''} GROUP BY 1) AS found WHERE ${sort} >= CAST(? AS DOUBLE PRECISION) ORDER BY ${sort} DESC, value LIMIT ? OFFSET ?`,
    values: [...values, least, limit, offset],
  };
};

const failures = 'sum(CASE WHEN response_status >= 400 OR response_status = 0 THEN 1 ELSE 0 END)';

/**
 * Requests in each interval, of each group or of all.
 * @param seconds length of an interval.
 * @throws SearchError naming the filter.
 */
export const frequencyOf = (wanted: Wanted, by: keyof typeof groups | null, seconds: number, limit: number, now: number, between: Between | null = null): Question => (dialect) => {
  const { sql, values } = joined([conditions(wanted, now, dialect), ...within(between)]);
  const column = by === null ? 'NULL' : groups[by];
  return {
    sql: `SELECT ${column} AS value, timestamp / CAST(? AS INTEGER) * CAST(? AS INTEGER) AS time, count(*) AS requests, ${failures} AS errors
      FROM heimdall_logs WHERE ${sql} GROUP BY 1, 2 ORDER BY 2 DESC, 3 DESC LIMIT ?`,
    values: [seconds, seconds, ...values, limit],
  };
};

/** Requests by outcome; the outcomes add up to all requests. @throws SearchError naming the filter. */
export const balanceOf = (wanted: Wanted, now: number): Question => (dialect) => {
  const { sql, values } = conditions(wanted, now, dialect);
  const ended = (name: string, test: string): string => `coalesce(sum(CASE WHEN ${test} THEN 1 ELSE 0 END), 0) AS ${name}`;
  return {
    sql: `SELECT count(*) AS requests, ${ended('served', "outcome = 'served'")}, ${ended('refused', "outcome >= 'refused' AND outcome < 'refusee'")}, ${ended('errors', "outcome = 'upstream_error'")},
      ${ended('aborted', "outcome = 'aborted'")}, ${ended('interrupted', "outcome = 'interrupted'")},
      coalesce(sum(tokens_reserved), 0) AS tokens_reserved, coalesce(sum(tokens_settled), 0) AS tokens_settled, coalesce(sum(tokens_released), 0) AS tokens_released,
      min(id) AS first, max(id) AS last FROM heimdall_logs WHERE ${sql}`,
    values,
  };
};

/** @throws SearchError naming the filter that is unknown or has an invalid value. */
export const readWanted = (wanted: Wanted, now: number): void => void conditions(wanted, now, sqlite);

/** The condition of all filters. @param without see {@link Page.without}. @throws SearchError naming the filter that is unknown or has an invalid value. */
export function conditions(wanted: Wanted, now: number, dialect: Dialect, without: Page['without'] = null): Condition {
  const found = Object.entries(wanted).map(([name, text]): Condition => {
    const filter: Filter | undefined = Object.hasOwn(filters, name) ? filters[name as keyof typeof filters] : undefined;
    if (filter === undefined) throw new SearchError(name, `a filter.${suggestion(name, Object.keys(filters))} One of ${Object.keys(filters).join(', ')}`, name, 'address');
    const condition = text === '' ? null : filter.read(text, now, dialect);
    if (condition === null) throw new SearchError(name, filter.what, text, filter.example);
    return condition;
  });
  for (const path of without ?? []) {
    const { sql, values } = dialect.begins('route', `${path}/`);
    found.push({ sql: `(route IS NULL OR NOT (route = ? OR (${sql})))`, values: [path, ...values] });
  }
  return found.length === 0 ? { sql: 'TRUE', values: [] } : joined(found);
}

const within = (between: Between | null): readonly Condition[] => (between === null ? [] : [{ sql: 'id > ? AND id <= ?', values: [between.after, between.last] }]);

/** Conditions that all hold. */
export const joined = (all: readonly Condition[]): Condition => ({ sql: all.map(({ sql }) => sql).join(' AND '), values: all.flatMap(({ values }) => values) });

/** Unix milliseconds of a date, a date and time, or a duration back from now; null for anything else. */
export function momentOf(text: string, now: number): number | null {
  const back = /[a-z]$/.test(text) ? readDuration(text) : undefined;
  if (back !== undefined) return now - back;
  const at = /^\d{4}-\d\d-\d\d(?:[T ]|$)/.test(text) ? Date.parse(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text) : Number.NaN;
  return Number.isNaN(at) ? null : at;
}

function seekAddress(text: string): readonly Sought[] {
  const plain = parseAddress(text);
  return [plain === null ? { column: 'real_ip', text: bytesOf(text), begins: true } : { column: 'real_ip', text: plain }];
}

/** How the addresses of a network of whole bytes begin; an empty text for another one. */
function bytesOf(text: string): string {
  const octets = isNetwork(text) ? /^((?:\d+\.){1,3})[\d.]*\/(8|16|24)$/.exec(text) : null;
  return octets === null ? '' : text.split('.').slice(0, Number(octets[2]) / 8).join('.') + '.';
}

function address(text: string, _now: number, { begins }: Dialect): Condition | null {
  const plain = parseAddress(text);
  if (plain !== null) return equals('real_ip')(plain);
  const start = bytesOf(text);
  return start === '' ? null : begins('real_ip', start);
}

function status(text: string): Condition | null {
  if (/^[1-5]xx$/i.test(text)) return { sql: 'response_status BETWEEN ? AND ?', values: [Number(text[0]) * 100, Number(text[0]) * 100 + 99] };
  return /^\d{1,3}$/.test(text) ? { sql: 'response_status = ?', values: [Number(text)] } : null;
}

function seekOutcome(text: string): readonly Sought[] {
  if (text === 'refused') return [{ column: 'outcome', text: 'refused:', begins: true }];
  return text === 'failed' ? [...exactly('outcome')('upstream_error'), ...exactly('outcome')('interrupted'), { column: 'response_status', text: '5', begins: true }] : exactly('outcome')(text);
}

function outcome(text: string): Condition | null {
  if (text === 'refused') return { sql: "outcome >= 'refused:' AND outcome < 'refused;'", values: [] };
  if (text === 'failed') return { sql: failed, values: [] };
  return /^(?:served|upstream_error|aborted|interrupted|refused:[a-z_]+)$/.test(text) ? equals('outcome')(text) : null;
}

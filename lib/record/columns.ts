import type { SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';

/**
 * How a column is erased. `plain` columns stay. `private` columns identify the caller; `forget` erases them. `body` columns hold
 * content; `forget` erases them, and so does `audit.retention.bodies`. The chain covers the last two by salted digests.
 */
type Part = 'plain' | 'private' | 'body';

interface Column {
  readonly name: keyof AuditRecord | 'created_at' | 'request_texts';
  readonly type: string;
  readonly part: Part;
  /** The erased value of a column that readers do not expect to be null. */
  readonly empty?: '';
}

/** The columns. Those of the original gateway have its names and types. Long ones come last, so that scans need not read them. */
export const columns = [
  { name: 'id', type: 'INTEGER PRIMARY KEY', part: 'plain' },
  { name: 'request_id', type: 'TEXT NOT NULL', part: 'plain' },
  { name: 'timestamp', type: 'INTEGER NOT NULL', part: 'plain' },
  { name: 'request_method', type: 'VARCHAR(16)', part: 'plain' },
  { name: 'response_status', type: 'INTEGER', part: 'plain' },
  { name: 'response_time', type: 'INTEGER', part: 'plain' },
  { name: 'route', type: 'TEXT', part: 'plain' },
  { name: 'client', type: 'TEXT', part: 'plain' },
  { name: 'model', type: 'TEXT', part: 'plain' },
  { name: 'stream', type: 'INTEGER', part: 'plain' },
  { name: 'target', type: 'TEXT', part: 'plain' },
  { name: 'attempts', type: 'INTEGER', part: 'plain' },
  { name: 'outcome', type: 'TEXT', part: 'plain' },
  { name: 'would_refuse', type: 'TEXT', part: 'plain' },
  { name: 'queue_wait', type: 'REAL', part: 'plain' },
  { name: 'first_byte', type: 'REAL', part: 'plain' },
  { name: 'overhead', type: 'REAL', part: 'plain' },
  { name: 'prompt_tokens', type: 'INTEGER', part: 'plain' },
  { name: 'completion_tokens', type: 'INTEGER', part: 'plain' },
  { name: 'tokens_reserved', type: 'INTEGER', part: 'plain' },
  { name: 'tokens_settled', type: 'INTEGER', part: 'plain' },
  { name: 'tokens_released', type: 'INTEGER', part: 'plain' },
  { name: 'cost', type: 'REAL', part: 'plain' },
  { name: 'bytes_in', type: 'INTEGER', part: 'plain' },
  { name: 'bytes_out', type: 'INTEGER', part: 'plain' },
  { name: 'source', type: 'TEXT', part: 'plain' },
  { name: 'created_at', type: 'DATETIME', part: 'plain' },
  { name: 'user_id', type: 'INTEGER', part: 'private' },
  { name: 'token_key', type: 'VARCHAR(255)', part: 'private' },
  { name: 'token_id', type: 'TEXT', part: 'private' },
  { name: 'key_id', type: 'TEXT', part: 'private' },
  { name: 'session', type: 'TEXT', part: 'private', empty: '' },
  { name: 'request_path', type: 'VARCHAR(512)', part: 'private', empty: '' },
  { name: 'query', type: 'TEXT', part: 'private' },
  { name: 'real_ip', type: 'VARCHAR(64)', part: 'private', empty: '' },
  { name: 'forwarded_for', type: 'VARCHAR(255)', part: 'private', empty: '' },
  { name: 'upstream_request_id', type: 'TEXT', part: 'private' },
  { name: 'ja4', type: 'TEXT', part: 'private' },
  { name: 'country', type: 'TEXT', part: 'private' },
  { name: 'content_fingerprint', type: 'VARCHAR(255)', part: 'private' },
  { name: 'device_fingerprint', type: 'VARCHAR(255)', part: 'private', empty: '' },
  { name: 'user_agent', type: 'TEXT', part: 'private' },
  { name: 'cookies', type: 'TEXT', part: 'private' },
  { name: 'request_headers', type: 'TEXT', part: 'private' },
  { name: 'device_id', type: 'TEXT', part: 'private' },
  { name: 'session_id', type: 'TEXT', part: 'private' },
  { name: 'home_id', type: 'TEXT', part: 'private' },
  { name: 'request_body', type: 'TEXT', part: 'body' },
  { name: 'response_body', type: 'TEXT', part: 'body' },
  { name: 'request_texts', type: 'TEXT', part: 'body' },
] as const satisfies readonly Column[];

export type ColumnName = (typeof columns)[number]['name'];

/** The values of one record by column. `id` and `created_at` are set when it is written. */
export type RecordRow = Record<ColumnName, string | number | null>;

export const names = columns.map(({ name }): ColumnName => name);
const of = (part: Part): readonly ColumnName[] => columns.filter((column) => column.part === part).map(({ name }) => name);

/** The columns of each part, in the order in which digests cover them. The order is part of the schema version. */
export const parts: Readonly<Record<Part, readonly ColumnName[]>> = { plain: of('plain'), private: of('private'), body: of('body') };

/** A record's values in the order of {@link columns}. */
export type Values = readonly unknown[];

/** The values of a row in the order of {@link columns}. Written as one literal: looking up 50 names costs 2 µs a record. */
export const valuesOf = <T>(of: Readonly<Record<ColumnName, T>>): T[] => [
  of.id, of.request_id, of.timestamp, of.request_method, of.response_status, of.response_time, of.route, of.client, of.model, of.stream, of.target, of.attempts,
  of.outcome, of.would_refuse, of.queue_wait, of.first_byte, of.overhead, of.prompt_tokens, of.completion_tokens, of.tokens_reserved, of.tokens_settled,
  of.tokens_released, of.cost, of.bytes_in, of.bytes_out, of.source, of.created_at,
  of.user_id, of.token_key, of.token_id, of.key_id, of.session, of.request_path, of.query, of.real_ip, of.forwarded_for, of.upstream_request_id, of.ja4, of.country,
  of.content_fingerprint, of.device_fingerprint, of.user_agent, of.cookies, of.request_headers,
  of.device_id, of.session_id, of.home_id,
  of.request_body, of.response_body, of.request_texts,
];

/** Columns that no {@link AuditRecord} has: `request_texts` has the places of long texts in `request_body` and their digests. */
const unshown: ReadonlySet<ColumnName> = new Set(['created_at', 'request_texts']);

/** The columns of an {@link AuditRecord} for a SELECT. */
export const recordColumns = names.filter((name) => !unshown.has(name)).join(', ');

/** The columns that a journal of schema 1 does not have. They are the last of their part, and digests leave them out where they are null. */
export const addedColumns: ReadonlySet<ColumnName> = new Set(['device_id', 'session_id', 'home_id', 'request_texts']);

/** Makes a record of a row selected with {@link recordColumns}. */
export function recordOf(row: SqlRow): AuditRecord {
  const { stream, would_refuse: rules, learnt, ...rest } = row as Readonly<Record<string, SqlValue>>;
  const facts = typeof learnt === 'string' && learnt !== '{}' ? { learnt: JSON.parse(learnt) as AuditRecord['learnt'] } : {};
  return { ...rest, stream: stream === 1, would_refuse: typeof rules === 'string' ? rules.split(',') : [], ...facts } as unknown as AuditRecord;
}

/** The value of a column after its erasure. */
export function erasedValue(name: ColumnName): string | null {
  const column: Column | undefined = columns.find((each) => each.name === name);
  return column?.empty ?? null;
}

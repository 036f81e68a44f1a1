import { Socket } from 'node:net';
import { hostname } from 'node:os';
import type { Client } from 'pg';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Checkpoint, Delivery, LearntOf, Sink } from '../../types/sink.d.ts';
import { codeOf } from '../platform/platform.ts';
import { checkpointsSql, jsonFor, layout, loadPg, reasonOf, recordColumns, schemaSql, textFor, writtenColumns } from '../postgres/postgres.ts';

/** Records of one statement. */
const batch = 100;
/** Timeout of connecting, and of a statement, milliseconds. */
const timeout = 10_000;
/** Timeout of closing a connection, milliseconds. */
const endTimeout = 250;

const anchor = 'INSERT INTO heimdall_checkpoints (signature, gateway, batch, record, time, hash, key) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING';

/** What the sink needs beside its address. */
export interface PostgresNeeds {
  /** Paths of the gate itself, whose requests are in no sum of a time. */
  readonly own: readonly string[];
  /** What NewAPI calls a caller; null where that is unknown. */
  readonly nameOf: (kind: string, id: string | null) => { readonly username: string; readonly token_name: string } | null;
  /** Tells an operator, once, what the tables lack that the role may not add. */
  readonly lacks: (what: string, sql: string) => void;
}

/**
 * Writes to a table in PostgreSQL that several gateways may share. A `request_id` is written once. Missing tables and columns are
 * created; a role that may only write needs them to exist.
 * @param url `postgresql://user:password@host/database`.
 */
export function postgresSink(url: string, needs: PostgresNeeds): Sink {
  return new Postgres(url, needs);
}

class Postgres implements Sink {
  readonly name = 'postgres';
  readonly batch = batch;
  readonly #url: string;
  readonly #needs: PostgresNeeds;
  readonly #told = new Set<string>();
  readonly #lacks: PostgresNeeds['lacks'];
  #connection: Connection | null = null;

  constructor(url: string, needs: PostgresNeeds) {
    this.#url = url;
    this.#needs = { ...needs, lacks: (what, sql) => this.#tell(what, sql) };
    this.#lacks = needs.lacks;
  }

  async deliver(records: readonly AuditRecord[], signal: AbortSignal): Promise<Delivery> {
    try {
      const rows = records.map((record) => this.#rowOf(record));
      await this.#run(({ insert, isPartitioned }) => ({ text: insert, values: [JSON.stringify(rows), ...(isPartitioned ? [this.#needs.own] : [])] }), signal);
      return { kind: 'delivered' };
    } catch (error) {
      const failure = failureOf(error);
      if (failure.kind !== 'refused') await this.close();
      return failure;
    }
  }

  async checkpoint({ batch: last, record, time, hash, key, signature }: Checkpoint, signal: AbortSignal): Promise<void> {
    await this.#run(() => ({ text: anchor, values: [signature, hostname(), last, record, time, hash, key] }), signal);
  }

  async learn(facts: readonly LearntOf[], signal: AbortSignal): Promise<void> {
    try {
      await this.#run(({ learn }) => (learn === null ? null : { text: learn, values: [jsonFor(facts)] }), signal);
    } catch (error) {
      if (codeOf(error) !== notAllowed) throw error;
      this.#tell('names and charges that are learnt later', 'GRANT SELECT (request_id, username, token_name, charged), UPDATE (username, token_name, charged) ON heimdall_logs TO the role;');
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await connection?.end();
  }

  #rowOf(record: AuditRecord): object {
    const row: Record<string, unknown> = {};
    for (const { name } of recordColumns) row[name] = valueOf(record[name]);
    const { key_id: key, token_id: token, learnt } = record;
    const name = key === null ? this.#needs.nameOf('token', token) : this.#needs.nameOf('key', key);
    row['username'] = valueOf(learnt?.['username'] ?? name?.username ?? null);
    row['token_name'] = valueOf(learnt?.['token_name'] ?? name?.token_name ?? null);
    row['charged'] = learnt?.['charged'] ?? null;
    return row;
  }

  #tell(what: string, sql: string): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#lacks(what, sql);
  }

  /** @param ask makes the statement for the tables there are; null: there is nothing to do in them. */
  async #run(ask: (tables: Tables) => { readonly text: string; readonly values: unknown[] } | null, signal: AbortSignal): Promise<void> {
    const cut = (): void => this.#connection?.cut();
    signal.addEventListener('abort', cut, { once: true });
    try {
      if (this.#connection?.broken !== false) this.#connection = new Connection(this.#url, this.#needs.lacks);
      await this.#connection.query(ask);
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }
}

/** One connection, opened with the first query. An idle connection does not keep the process alive. */
class Connection {
  readonly #socket = new Socket();
  readonly #open: Promise<{ readonly client: Client; readonly tables: Tables }>;
  broken = false;

  constructor(url: string, lacks: PostgresNeeds['lacks']) {
    this.#open = this.#opened(url, lacks);
    this.#open.catch(() => this.cut());
  }

  async query(ask: (tables: Tables) => { readonly text: string; readonly values: unknown[] } | null): Promise<void> {
    this.#socket.ref();
    try {
      const { client, tables } = await this.#open;
      const asked = ask(tables);
      if (asked !== null) await client.query(asked.text, asked.values);
    } finally {
      this.#socket.unref();
    }
  }

  /** Ends the connection in the regular way, and destroys it when that takes too long. */
  async end(): Promise<void> {
    const late = setTimeout(() => this.cut(), endTimeout);
    await this.#open.then(({ client }) => client.end()).catch(() => undefined);
    clearTimeout(late);
    this.cut();
  }

  cut(): void {
    this.broken = true;
    this.#socket.destroy();
  }

  async #opened(url: string, lacks: PostgresNeeds['lacks']): Promise<{ readonly client: Client; readonly tables: Tables }> {
    const pg = await loadPg();
    const client = new pg.Client({
      connectionString: url, stream: () => this.#socket, connectionTimeoutMillis: timeout, query_timeout: timeout, keepAlive: true, application_name: 'heimdall',
    });
    client.on('error', () => this.cut());
    await client.connect();
    return { client, tables: await prepared(client, lacks) };
  }
}

/** What there is to write to. */
interface Tables {
  readonly insert: string;
  /** By the functions of `postgres.sql`, which keep partitions and sums. */
  readonly isPartitioned: boolean;
  /** Null where facts cannot be kept. */
  readonly learn: string | null;
}

/** Several gateways may start at once: the later ones wait, and find what the first has made. */
const alone = "SELECT pg_advisory_xact_lock(hashtext('heimdall_create'))";

const partitioned: Tables = { insert: 'SELECT heimdall_write($1::json, $2::text[])', isPartitioned: true, learn: 'SELECT heimdall_learn($1::json)' };

/** Makes what is missing, as far as the role may. */
async function prepared(client: Client, lacks: PostgresNeeds['lacks']): Promise<Tables> {
  const seen = await lookedAt(client);
  if (seen.kind === null) {
    await inOne(client, async () => (await lookedAt(client)).kind === null ? [...schemaSql] : []);
    return prepared(client, lacks);
  }
  if (seen.kind !== 'p') return plain(client, seen, lacks);
  if (seen.layout < layout) {
    await inOne(client, async () => [...schemaSql]).catch((error: unknown) => {
      if (seen.layout === 0 || codeOf(error) !== notAllowed) throw error;
      lacks(`layout ${layout}`, 'psql -f postgres.sql');
    });
  }
  return partitioned;
}

const notAllowed = '42501';

/** The kind of the table, its columns, the version of its functions, whether a record is in it once, and whether there is a table for checkpoints. */
interface Seen {
  readonly kind: string | null;
  readonly columns: ReadonlySet<string>;
  readonly layout: number;
  readonly once: boolean;
  readonly anchors: boolean;
}

async function lookedAt(client: Client): Promise<Seen> {
  const { rows: [table] } = await client.query<{ kind: string | null; columns: string[] | null; version: string | null; once: boolean; anchors: boolean }>(`SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass('heimdall_logs')) AS kind,
    (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = to_regclass('heimdall_logs') AND attnum > 0 AND NOT attisdropped) AS columns,
    to_regclass('heimdall_logs_request') IS NOT NULL AS once, to_regclass('heimdall_checkpoints') IS NOT NULL AS anchors,
    obj_description(to_regprocedure('heimdall_write(json, text[])')::oid, 'pg_proc') AS version`);
  return { kind: table?.kind ?? null, columns: new Set(table?.columns), layout: Number(/^express-heimdall (\d+)$/.exec(table?.version ?? '')?.[1] ?? 0), once: table?.once === true, anchors: table?.anchors === true };
}

/** Runs statements in one transaction, no other gateway beside it. */
async function inOne(client: Client, statements: () => Promise<readonly string[]>): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(alone);
    for (const statement of await statements()) await client.query(statement);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** A table of an earlier release, or NewAPI's own, without partitions: gets the columns it has not, and rows without sums. */
async function plain(client: Client, seen: Seen, lacks: PostgresNeeds['lacks']): Promise<Tables> {
  const absent = writtenColumns.filter(({ name }) => !seen.columns.has(name));
  const adding = absent.map(({ name, type }) => `ALTER TABLE heimdall_logs ADD COLUMN IF NOT EXISTS ${name} ${type};`);
  if (!seen.once) adding.push('CREATE UNIQUE INDEX IF NOT EXISTS heimdall_logs_request ON heimdall_logs (request_id);');
  if (!seen.anchors) adding.push(checkpointsSql);
  const left = new Set<string>();
  if (adding.length > 0) {
    await inOne(client, async () => adding).catch((error: unknown) => {
      if (codeOf(error) !== notAllowed) throw error;
      lacks(absent.map(({ name }) => name).join(', ') || 'an index', adding.join(' '));
      for (const { name } of absent) left.add(name);
    });
  }
  lacks('partitions and sums', "psql -f postgres.sql, then: SELECT heimdall_migrate();");
  const kept = writtenColumns.filter(({ name }) => !left.has(name));
  const names = kept.map(({ name }) => name).join(', ');
  return {
    // One parameter holds all records. Without a conflict target the role needs no right to read.
    insert: `INSERT INTO heimdall_logs (${names}) SELECT ${names} FROM json_to_recordset($1::json) AS given (${kept.map(({ name, type }) => `${name} ${type}`).join(', ')}) ON CONFLICT DO NOTHING`,
    isPartitioned: false,
    learn: left.has('charged') ? null : `UPDATE heimdall_logs AS log SET username = coalesce(fact.username, log.username), token_name = coalesce(fact.token_name, log.token_name), charged = coalesce(fact.charged, log.charged)
      FROM json_to_recordset($1::json) AS fact (request_id text, username text, token_name text, charged double precision) WHERE log.request_id = fact.request_id`,
  };
}

function valueOf(value: unknown): unknown {
  if (typeof value === 'string') return textFor(value);
  if (typeof value === 'boolean') return Number(value);
  return Array.isArray(value) ? (value.length === 0 ? null : value.join(',')) : value;
}

/** Classes 22 and 23, and P0001 of a trigger, are faults of the data: another attempt would fail too. */
function failureOf(error: unknown): Delivery {
  const code = codeOf(error);
  return { kind: /^(?:2[23][0-9A-Z]{3}|P0001)$/.test(code) ? 'refused' : 'held', reason: reasonOf(error) };
}

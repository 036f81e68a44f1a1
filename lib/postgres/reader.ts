import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient, PoolConfig } from 'pg';
import type { Finding } from '../../types/finding.d.ts';
import type { JournalSearch, SearchFound, SqlRow } from '../../types/journal.d.ts';
import type { Dialect, FoundElsewhere, Query, Question, RecordReader } from '../../types/reader.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { HeimdallError } from '../errors.ts';
import { callerColumns, conditions, isOfCaller, joined, momentOf, nextWidth } from '../journal/journal.ts';
import { codeOf } from '../platform/platform.ts';
import { recordOf } from '../record/record.ts';
import { loadPg, Missing, reasonOf, textFor } from './connection.ts';
import { recordColumns } from './schema.ts';

/** Connections at most, and how long one that is idle is kept, milliseconds: a new one first reads what PostgreSQL knows of each partition. */
const connections = 4;
const idle = 600_000;
/** How long a connection is waited for, and how long PostgreSQL works on a question, milliseconds. */
const connectTimeout = 5000;
const questionTimeout = 5000;
/** What a further look for records may always take, milliseconds. */
const leastLook = 5;
/** Widths of time that are looked through at once, milliseconds. */
const leastWidth = 30_000;
const mostWidth = 400 * 86_400_000;
/** Minutes whose sums tell how far a first look goes. */
const minutesAsked = 60;
/** How much an instance's clock may be ahead, and how far the time of a record and that in its id may differ, milliseconds. */
const slack = 3_600_000;
/** How long the time of the oldest record is remembered, milliseconds; one that an instance brings later may be older. */
const lowFor = 60_000;
/** How far back requests of a network are looked for, days. */
const recentDays = 1;
/** Findings that are read. */
const mostFindings = 5000;
/** How long questions wait for a PostgreSQL that has not answered the last one, milliseconds. */
const patience = 250;

const content: ReadonlySet<string> = new Set(['request_headers', 'request_body', 'response_body', 'cookies']);
const learnt = "json_strip_nulls(json_build_object('username', username, 'token_name', token_name, 'charged', charged))::text AS learnt";
const listed = `id, ${recordColumns.map(({ name }) => (content.has(name) ? `NULL AS ${name}` : name)).join(', ')}, ${learnt}`;
const whole = `id, ${recordColumns.map(({ name }) => name).join(', ')}, ${learnt}`;

/** PostgreSQL, with texts sorted by bytes. */
const postgres: Dialect = {
  begins: (column, start) => ({ sql: `${column} COLLATE "C" >= ? AND ${column} COLLATE "C" < ?`, values: [start, `${start}\u{10ffff}`] }),
  learnt: (name, value) => ({ sql: `${name} = ?`, values: [value] }),
  among: (condition) => condition,
  newest: 'day DESC, request_id DESC',
  sums: '',
  recent: { sql: `day >= (now() AT TIME ZONE 'UTC')::date - ${recentDays}`, values: [] },
};

/** The tables are not there, or are others. */
class Unprepared extends Error {
  readonly isAbsent: boolean;

  constructor(isAbsent: boolean) {
    super();
    this.isAbsent = isAbsent;
  }
}

/**
 * Reads the records of all instances from the tables of `postgres.sql`, which its role has to be allowed to read. Positions are the
 * ids of requests, whose beginning is their time.
 * @param url `postgresql://user:password@host/database`.
 * @param isFresh whether the sink may not have made the tables yet: until then nothing is in them.
 */
export function postgresReader(url: string, isFresh: () => boolean = () => false): RecordReader<string> & { readonly close: () => Promise<void> } {
  return new Reader(url, isFresh);
}

class Reader implements RecordReader<string> {
  readonly instances = 'all';
  readonly #url: string;
  readonly #isFresh: () => boolean;
  #pools: Promise<Pools> | null = null;
  /** Why PostgreSQL could not be reached; null while it answers. */
  #away: unknown = null;
  /** The attempt to reach it again, which all questions wait for. */
  #attempt: Promise<boolean> | null = null;
  #low: { readonly time: number; readonly at: number } | null = null;

  constructor(url: string, isFresh: () => boolean) {
    this.#url = url;
    this.#isFresh = isFresh;
  }

  position(text: string): string | null {
    return /^[0-9a-f-]{13,36}$/.test(text) ? text : null;
  }

  positionOf({ request_id: id }: AuditRecord): string {
    return id;
  }

  async latest(): Promise<string> {
    const [row] = await this.#run({ sql: `SELECT request_id FROM heimdall_logs ORDER BY ${postgres.newest} LIMIT 1`, values: [] });
    return String(row?.['request_id'] ?? startOf(0));
  }

  async ask(question: Question): Promise<readonly SqlRow[]> {
    return this.#run(question(postgres));
  }

  async request(id: string): Promise<AuditRecord | null> {
    const at = timeOf(id);
    if (at === null) return null;
    const [row] = await this.#run({ sql: `SELECT ${whole} FROM heimdall_logs WHERE day = ? AND request_id = ?`, values: [dayOf(at), id] });
    return row === undefined ? null : recordOf(row);
  }

  requestsOf({ kind, id }: { readonly kind: string; readonly id: string }, limit: number): Promise<readonly SqlRow[]> {
    return this.#run({ sql: `SELECT ${callerColumns} FROM heimdall_logs WHERE ${isOfCaller(kind)} ORDER BY ${postgres.newest} LIMIT ?`, values: [id, limit] });
  }

  /** PostgreSQL stops by itself, and says so. */
  async bounded(): Promise<null> {
    return null;
  }

  async findings(about?: { readonly kind: string; readonly id: string }): Promise<readonly FoundElsewhere[]> {
    const whose = about === undefined ? '' : "WHERE finding #>> '{caller,kind}' = ? AND finding #>> '{caller,id}' = ? ";
    const rows = await this.#run({ sql: `SELECT ${found} FROM heimdall_findings ${whose}ORDER BY last DESC LIMIT ?`, values: [...(about === undefined ? [] : [about.kind, about.id]), mostFindings] });
    return rows.map(foundOf);
  }

  async finding(id: string): Promise<FoundElsewhere | null> {
    const [row] = await this.#run({ sql: `SELECT ${found} FROM heimdall_findings WHERE id = ?`, values: [id] });
    return row === undefined ? null : foundOf(row);
  }

  /** The sink keeps the sums. */
  async sum(): Promise<void> {}

  /** A page of records, looked for in stretches of time. */
  async search(asked: JournalSearch<string>): Promise<SearchFound<string>> {
    const until = performance.now() + asked.time;
    const reach = await this.#reach(asked);
    if (reach === null) return { records: [], next: null, stopped: false };
    const { low, high } = reach;
    const isNewest = asked.order === 'newest';
    const records: AuditRecord[] = [];
    let at = asked.cursor ?? startOf(isNewest ? high : low);
    // The first look, which is narrow, always ends: each page gets on.
    let allowed = questionTimeout;
    for (let width = await this.#firstWidth(Math.min(timeOf(at) ?? low, asked.now), isNewest, asked.limit); ; ) {
      const begun = performance.now();
      const time = Math.min(high, Math.max(low, timeOf(at) ?? low));
      const edge = isNewest ? Math.max(low, Math.min(time, asked.now) - width) : Math.min(high, time + width);
      const found = await this.#stretch(asked, at, edge, asked.limit - records.length, allowed);
      if (found === null) return { records, next: at, stopped: true };
      records.push(...found);
      const last = records.at(-1);
      if (records.length >= asked.limit && last !== undefined) return { records, next: last.request_id, stopped: false };
      if (isNewest ? edge <= low : edge >= high) return { records, next: null, stopped: false };
      at = startOf(edge);
      const ended = performance.now();
      if (ended >= until) return { records, next: at, stopped: true };
      width = Math.min(mostWidth, Math.max(leastWidth, nextWidth(width, ended - begun, until - ended)));
      allowed = Math.min(questionTimeout, Math.max(leastLook, Math.ceil(until - ended)));
    }
  }

  /** How far the first look goes: as far back, or on, as the sums of minutes have twice as many requests as are wanted. */
  async #firstWidth(time: number, isNewest: boolean, limit: number): Promise<number> {
    const minutes = await this.#run({ sql: `SELECT time, requests FROM heimdall_minutes WHERE time ${isNewest ? '<=' : '>='} ? ORDER BY time ${isNewest ? 'DESC' : 'ASC'} LIMIT ${minutesAsked}`, values: [Math.floor(time / 60_000) * 60] });
    let requests = 0;
    let edge = time;
    for (const minute of minutes) {
      edge = (Number(minute['time']) + (isNewest ? 0 : 60)) * 1000;
      requests += Number(minute['requests']);
      if (requests >= 2 * limit) break;
    }
    return Math.max(leastWidth, Math.abs(edge - time));
  }

  async close(): Promise<void> {
    const pools = this.#pools;
    this.#pools = null;
    const opened = await pools?.catch(() => null);
    await Promise.all([opened?.all.end(), opened?.few.end()]);
  }

  /** The records of a stretch; null when it took longer than it is allowed to. */
  async #stretch({ wanted, grep, order, callers = null, without = null, last = null, now }: JournalSearch<string>, at: string, edge: number, limit: number, allowed: number): Promise<readonly AuditRecord[] | null> {
    const isNewest = order === 'newest';
    const id = wanted['request_id'];
    const from = startOf(edge);
    const [first, end] = [isNewest ? edge : (timeOf(at) ?? 0), isNewest ? (timeOf(at) ?? edge) : edge];
    const all = [
      conditions(wanted, now, postgres, without),
      { sql: isNewest ? 'request_id < ? AND request_id >= ?' : 'request_id > ? AND request_id < ?', values: [at, from] },
      // Without a cast, which would be one at run time and have all partitions planned.
      { sql: 'day >= ? AND day <= ?', values: [dayOf(first), dayOf(end)] },
      ...(last === null ? [] : [{ sql: 'request_id <= ?', values: [last] }]),
      ...(callers === null ? [] : [{ sql: `(token_id IN (${places(callers)}) OR key_id IN (${places(callers)}))`, values: [...callers, ...callers] }]),
      ...(grep === null ? [] : [holds(grep)]),
    ];
    if (id !== undefined) all.splice(1, 1);
    const { sql, values } = joined(all);
    const direction = isNewest ? 'DESC' : 'ASC';
    try {
      return (await this.#run({ sql: `SELECT ${listed} FROM heimdall_logs WHERE ${sql} ORDER BY day ${direction}, request_id ${direction} LIMIT ?`, values: [...values, limit] }, allowed)).map(recordOf);
    } catch (error) {
      if (error instanceof HeimdallError && codeOf(error.cause) === '57014') return null;
      throw error;
    }
  }

  /** The times between which records are looked for; null where there are no records. */
  async #reach({ wanted: { from, to, request_id: id }, now, last = null }: JournalSearch<string>): Promise<{ readonly low: number; readonly high: number } | null> {
    const only = id === undefined ? null : timeOf(id);
    if (only !== null) return { low: only, high: only + 1 };
    const [begin, end] = [from === undefined ? null : momentOf(from, now), to === undefined ? null : momentOf(to, now)];
    const oldest = await this.#oldest();
    if (oldest === null) return null;
    return { low: Math.max(oldest - slack, begin === null ? 0 : begin - slack), high: Math.min(now + slack, end === null ? Infinity : end + slack, last === null ? Infinity : (timeOf(last) ?? 0) + 1) };
  }

  async #oldest(): Promise<number | null> {
    const now = performance.now();
    if (this.#low !== null && now - this.#low.at < lowFor) return this.#low.time;
    const [row] = await this.#run({ sql: 'SELECT request_id FROM heimdall_logs ORDER BY day, request_id LIMIT 1', values: [] });
    if (row === undefined) return null;
    const time = timeOf(String(row['request_id'])) ?? 0;
    this.#low = { time, at: now };
    return time;
  }

  /** @param allowed how long a page of records may be looked for, milliseconds; without it, it is another question. @throws HeimdallError that says why the records cannot be read. */
  async #run({ sql, values }: Query, allowed: number | null = null): Promise<readonly SqlRow[]> {
    try {
      if (this.#away !== null && !(await this.#isBack())) throw this.#away;
      let place = 0;
      const { all, few } = await (this.#pools ??= this.#opened());
      const text = sql.replaceAll('?', () => `$${++place}`);
      const given = values.map((value) => (typeof value === 'string' ? textFor(value) : value));
      return await (allowed === null ? rowsOf(all, text, given) : within(few, allowed, (client) => rowsOf(client, text, given)));
    } catch (error) {
      if (error instanceof Unprepared && error.isAbsent && this.#isFresh()) return [];
      if (isAway(error)) this.#away = error;
      const unprepared = error instanceof Unprepared || codeOf(error) === '42P01';
      const why = unprepared ? 'the tables of postgres.sql are not there, which the sink makes with its first record where its role may, or heimdall_logs has no partitions: psql -f postgres.sql, then SELECT heimdall_migrate()' : codeOf(error) === '57014' ? `it took longer than ${questionTimeout / 1000} s; narrow it with from, to or another filter` : reasonOf(error);
      throw new HeimdallError('records_unavailable', { message: `The records cannot be read from PostgreSQL: ${why}.`, cause: error });
    }
  }

  /** Whether PostgreSQL answers again. One attempt is made at a time, and a page that can do without does not wait for its end. */
  #isBack(): Promise<boolean> {
    this.#attempt ??= this.#answers().finally(() => (this.#attempt = null));
    return Promise.race([this.#attempt, delay(patience, false, { ref: false })]);
  }

  async #answers(): Promise<boolean> {
    try {
      await (await (this.#pools ??= this.#opened())).all.query('SELECT');
    } catch (error) {
      if (isAway(error)) return false;
    }
    this.#away = null;
    return true;
  }

  async #opened(): Promise<Pools> {
    let pools: Pools | null = null;
    try {
      const pg = await loadPg();
      const types = { getTypeParser: (type: number, format?: 'text' | 'binary') => (numeric.has(type) ? Number : pg.types.getTypeParser(type, format as 'text')) as never };
      const pool = (options: string): Pool => new pg.Pool({ ...settings, options, connectionString: this.#url, types }).on('error', () => undefined);
      pools = { all: pool(readOnly), few: pool(`${readOnly} ${alongIndices}`) };
      const { rows: [table] } = await pools.all.query<{ kind: string | null; sums: boolean }>("SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass('heimdall_logs')) AS kind, to_regclass('heimdall_minutes') IS NOT NULL AS sums");
      if (table?.kind === 'p' && table.sums) return pools;
      throw new Unprepared((table?.kind ?? null) === null);
    } catch (error) {
      this.#pools = null;
      await Promise.all([pools?.all.end(), pools?.few.end()]);
      throw error;
    }
  }
}

const found = 'instance, finding::text AS finding';
const foundOf = ({ instance, finding }: SqlRow): FoundElsewhere => ({ instance: String(instance), finding: JSON.parse(String(finding)) as Finding });

/** Whether an error says that PostgreSQL was not reached, or does not answer: it is no answer to a question, or one of a server that ends or has no room. */
function isAway(error: unknown): boolean {
  if (error instanceof Unprepared || error instanceof Missing) return false;
  const code = codeOf(error);
  return !/^(?=.*\d)[0-9A-Z]{5}$/.test(code) || /^(?:08|53|57P)/.test(code);
}

const rowsOf = async (client: Pool | PoolClient, text: string, values: unknown[]): Promise<readonly SqlRow[]> => (await client.query<Record<string, SqlRow[string]>>(text, values)).rows;

/** Asks by a connection that is cut short after a time. */
async function within<T>(pool: Pool, allowed: number, ask: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failure: unknown = null;
  try {
    await client.query(`SET statement_timeout = ${allowed}`);
    return await ask(client);
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    client.release(failure !== null && codeOf(failure) !== '57014');
  }
}

/** Connections for questions about many records, and for pages of them. */
interface Pools {
  readonly all: Pool;
  readonly few: Pool;
}

/** The role may only read, and so do its connections. No plan is worth to be compiled for a page. */
const readOnly = '-c default_transaction_read_only=on -c jit=off';
/** A page of records is never worth reading a partition whole, nor starting processes for. */
const alongIndices = '-c enable_seqscan=off -c max_parallel_workers_per_gather=0';
const settings: PoolConfig = {
  max: connections, idleTimeoutMillis: idle, connectionTimeoutMillis: connectTimeout, keepAlive: true, allowExitOnIdle: true, application_name: 'heimdall page',
  statement_timeout: questionTimeout, query_timeout: questionTimeout + 1000,
};

/** `bigint` and `numeric`, which come as text. */
const numeric: ReadonlySet<number> = new Set([20, 1700]);

const places = (values: readonly unknown[]): string => values.map(() => '?').join(', ');

/** A condition for bodies that hold a text, as it was said or as JSON writes it. */
function holds(text: string): Query {
  const spellings = [...new Set([text, JSON.stringify(text).slice(1, -1)])];
  const tests = spellings.flatMap(() => ['strpos(request_body, ?) > 0', 'strpos(response_body, ?) > 0']);
  return { sql: `(${tests.join(' OR ')})`, values: spellings.flatMap((each) => [each, each]) };
}

/** The time in a UUIDv7, or in its beginning, Unix milliseconds; null in anything else. */
function timeOf(id: string): number | null {
  const [, high, low] = /^([0-9a-f]{8})-([0-9a-f]{4})/.exec(id) ?? [];
  return high === undefined ? null : Number.parseInt(`${high}${low}`, 16);
}

/** The beginning of all ids of a time. */
function startOf(time: number): string {
  const hex = Math.max(0, Math.floor(time)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

/** The day of a time, of the first and the last one that are written with a year of four digits. */
const dayOf = (time: number): string => new Date(Math.max(0, Math.min(time, 253_402_300_799_999))).toISOString().slice(0, 10);

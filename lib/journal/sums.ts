import { existsSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { SqlRow } from '../../types/journal.d.ts';
import { transaction } from './database.ts';
import { forgetPlaces, placesSchema } from './places.ts';
import { createFile } from './presence.ts';

/** Records that are added up in one transaction. */
const chunk = 5000;
/** How long the sums of minutes are kept, and those of hours and of callers, seconds. */
const keepMinutes = 9 * 86_400;
const keepHours = 400 * 86_400;
/** Callers that are kept, the latest first: a client can send any number of unknown tokens. */
const mostCallers = 100_000;
/** Records between two removals of old sums. */
const tidyEvery = 100_000;

const measures = ['requests', 'errors', 'refused', 'prompt', 'completion', 'cost', 'overhead', 'overheads', 'duration', 'first_byte', 'first_bytes'] as const;
const callerMeasures = ['requests', 'errors', 'refused', 'prompt', 'completion', 'cost'] as const;
/** What is listed of a caller, by column. */
export const listedColumns = { networks: 'real_ip', devices: 'device_id', sessions: 'session_id', homes: 'home_id', models: 'model', clients: 'client' } as const;

const sumTable = (name: string, key: string): string => `CREATE TABLE IF NOT EXISTS sums.${name} (${key} INTEGER PRIMARY KEY, ${measures.map((measure) => `${measure} REAL NOT NULL`).join(', ')});`;

const schema = `${sumTable('heimdall_minutes', 'time')} ${sumTable('heimdall_hours', 'time')}
  CREATE TABLE IF NOT EXISTS sums.heimdall_callers (kind TEXT NOT NULL, id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, ${callerMeasures.map((measure) => `${measure} REAL NOT NULL`).join(', ')}, PRIMARY KEY (kind, id)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS sums.heimdall_callers_last ON heimdall_callers (last, kind, id);
  CREATE TABLE IF NOT EXISTS sums.heimdall_caller_hours (kind TEXT NOT NULL, id TEXT NOT NULL, time INTEGER NOT NULL, ${callerMeasures.map((measure) => `${measure} REAL NOT NULL`).join(', ')}, PRIMARY KEY (kind, id, time)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sums.heimdall_caller_values (kind TEXT NOT NULL, id TEXT NOT NULL, what TEXT NOT NULL, value TEXT NOT NULL, requests REAL NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (kind, id, what, value)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sums.heimdall_summed (what TEXT PRIMARY KEY, record INTEGER NOT NULL) WITHOUT ROWID;
  ${placesSchema}`;

/** How long another process may hold the write lock, milliseconds. */
const busy = 10_000;

/** Kilobytes of the sums that a reader keeps at hand: a search looks up a value in each of hundreds of blocks, three times as fast. */
const readCache = 65_536;

/** The file of the sums, beside the journal. They hold nothing that the journal does not, and are made again when they are lost. */
export const sumsFileOf = (journal: string): string => `${journal.replace(/\.db$/, '')}.sums.db`;

/** Puts the sums beside an open journal, under the name `sums`. @param path the journal's; null for one in memory. */
export function attachSums(db: DatabaseSync, path: string | null): void {
  if (path !== null && (openSums(db, path) || (removeSums(path) && openSums(db, path)))) return;
  db.exec(`ATTACH ':memory:' AS sums; ${schema}`);
}

function openSums(db: DatabaseSync, path: string): boolean {
  try {
    createFile(sumsFileOf(path), 0o600);
    db.prepare('ATTACH ? AS sums').run(sumsFileOf(path));
    db.exec(`PRAGMA sums.journal_mode = WAL; PRAGMA sums.synchronous = NORMAL; PRAGMA sums.secure_delete = ON; ${schema}`);
    return true;
  } catch {
    if (db.prepare('SELECT 1 FROM pragma_database_list WHERE name = ?').get('sums') !== undefined) db.exec('DETACH sums');
    return false;
  }
}

/** Removes the sums of a journal that is not there any more, or whose sums cannot be used. @returns whether the files could be removed. */
export function removeSums(path: string): boolean {
  try {
    for (const end of ['', '-wal', '-shm']) rmSync(sumsFileOf(path) + end, { force: true });
    return true;
  } catch {
    return false;
  }
}

/** Erases a caller, or an address, from the sums of a journal; they may not be there. @param ids names of the caller, or the address. */
export function forgetSums(path: string, ids: readonly string[]): void {
  const file = sumsFileOf(path);
  if (!existsSync(file)) return;
  const db = new DatabaseSync(':memory:', { timeout: busy });
  try {
    db.prepare('ATTACH ? AS sums').run(file);
    db.prepare('ATTACH ? AS journal').run(path);
    // A file of an earlier release has no places.
    db.exec(`PRAGMA sums.secure_delete = ON; ${placesSchema}`);
    // All or nothing: a search relies on a block whose places are whole. The first removal locks the sums, never the journal.
    db.exec('BEGIN');
    for (const table of ['callers', 'caller_hours', 'caller_values']) db.prepare(`DELETE FROM sums.heimdall_${table} WHERE id IN (SELECT value FROM json_each(?))`).run(JSON.stringify(ids));
    db.prepare('DELETE FROM sums.heimdall_caller_values WHERE value IN (SELECT value FROM json_each(?))').run(JSON.stringify(ids));
    forgetPlaces(db, 'journal');
    db.exec('COMMIT; PRAGMA sums.wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
}

/** Removes sums that cannot be used and begins with none. @returns whether it is done. */
export function replaceSums(db: DatabaseSync, path: string | null): boolean {
  try {
    db.exec('DETACH sums');
    if (path !== null) removeSums(path);
    attachSums(db, path);
    return true;
  } catch {
    return false;
  }
}

/** Puts the sums beside a journal that is open for reading. Without their file there are none to read. */
export function readSums(db: DatabaseSync, path: string): void {
  try {
    db.prepare('ATTACH ? AS sums').run(sumsFileOf(path));
    db.exec(`PRAGMA sums.cache_size = -${readCache}`);
  } catch {
    // A query for sums says so.
  }
}

// What a caller sees as a failure of the service: an answer of NewAPI's own above 499 too, and no refusal of the gate.
export const failed = "(outcome = 'upstream_error' OR outcome = 'interrupted' OR (response_status >= 500 AND outcome = 'served'))";
const refused = "(outcome >= 'refused' AND outcome < 'refusee')";
const value: Readonly<Record<(typeof measures)[number], string>> = {
  requests: 'count(*)', errors: `total(${failed})`, refused: `total(${refused})`, prompt: 'total(prompt_tokens)', completion: 'total(completion_tokens)', cost: 'total(cost)',
  overhead: 'total(overhead)', overheads: 'count(overhead)', duration: 'total(response_time)', first_byte: 'total(first_byte)', first_bytes: 'count(first_byte)',
};
const adding = (names: readonly string[]): string => names.map((name) => `${name} = ${name} + excluded.${name}`).join(', ');
/** What tells records apart for the sums. */
const groups = { minute: 'timestamp / 60 * 60', kind: "CASE WHEN key_id IS NULL THEN 'token' ELSE 'key' END", caller: 'coalesce(key_id, token_id)', ...listedColumns } as const;
const summing = (names: readonly string[]): string => names.map((name) => `total(${name})`).join(', ');

/**
 * Sums of the journal's records by minute, hour and caller, so that a chart or a list never reads millions of records. One session
 * at a time adds them up: each transaction goes on where the last one, of whichever process, has ended.
 */
export class Sums {
  readonly #db: DatabaseSync;
  #own = '';
  #sinceTidied = tidyEvery;
  /** The range of records that is grouped at the moment. */
  #grouped = '';

  /** @param own paths of the gate itself, whose requests are not counted. */
  constructor(db: DatabaseSync, own: readonly string[]) {
    this.#db = db;
    db.exec(`PRAGMA temp_store = MEMORY;
      CREATE TEMP TABLE IF NOT EXISTS heimdall_summing (${Object.keys(groups).join(', ')}, counts, first, last, ${measures.join(', ')})`);
    this.leaveOut(own);
  }

  /** @param own paths of the gate itself, from now on. */
  leaveOut(own: readonly string[]): void {
    // Constants of the configuration: no text of a caller is here.
    this.#own = own.map((path) => ` AND NOT (route = ${quoted(path)} OR substr(route, 1, ${path.length + 1}) = ${quoted(`${path}/`)})`).join('');
  }

  /** Adds up what is new. @param now Unix milliseconds. @param most records at most. @returns whether there is more. */
  update(now: number, most = chunk): boolean {
    this.#grouped = '';
    return transaction(this.#db, () => {
      const last = this.#number('SELECT coalesce(max(id), 0) AS n FROM heimdall_logs');
      const erasure = this.#number('SELECT coalesce(max(erasure), 0) AS n FROM heimdall_erasures');
      // What was forgotten must not live on here; and a journal that ends earlier is another one.
      if (erasure !== this.#at('erasure') || last < this.#at('callers')) this.#forgetCallers(erasure);
      if (last < this.#at('times')) this.#db.exec('DELETE FROM sums.heimdall_minutes; DELETE FROM sums.heimdall_hours; DELETE FROM sums.heimdall_summed WHERE what = \'times\'');
      const times = this.#next('times', last, most, () => this.#addTimes());
      const callers = this.#next('callers', last, most, () => this.#addCallers());
      this.#group(0, 0);
      if (this.#sinceTidied >= tidyEvery) this.#tidy(Math.floor(now / 1000));
      return times || callers;
    });
  }

  #number(sql: string): number {
    return Number((this.#db.prepare(sql).get() as SqlRow)['n']);
  }

  #at(what: string): number {
    return Number((this.#db.prepare('SELECT record FROM sums.heimdall_summed WHERE what = ?').get(what) as SqlRow | undefined)?.['record'] ?? 0);
  }

  #move(what: string, to: number): void {
    this.#db.prepare('INSERT OR REPLACE INTO sums.heimdall_summed (what, record) VALUES (?, ?)').run(what, to);
  }

  /** @returns whether there is more. */
  #next(what: string, last: number, most: number, add: () => void): boolean {
    const from = this.#at(what);
    if (from >= last) return false;
    const to = Math.min(last, from + most);
    this.#group(from, to);
    add();
    this.#move(what, to);
    this.#sinceTidied += to - from;
    return to < last;
  }

  /** Puts records together that are alike, after the first one and up to the last: each is read once, and not for each sum. */
  #group(after: number, to: number): void {
    if (this.#grouped === `${after} ${to}`) return;
    this.#grouped = `${after} ${to}`;
    this.#db.exec('DELETE FROM temp.heimdall_summing');
    if (to === 0) return;
    this.#db.prepare(`INSERT INTO temp.heimdall_summing SELECT ${Object.values(groups).join(', ')}, source = 'gate'${this.#own}, min(timestamp), max(timestamp), ${measures.map((measure) => value[measure]).join(', ')}
      FROM heimdall_logs WHERE id > ? AND id <= ? GROUP BY ${Object.keys(groups).map((_, at) => at + 1).join(', ')}, ${Object.keys(groups).length + 1}`).run(after, to);
  }

  #addTimes(): void {
    for (const [table, seconds] of [['minutes', 60], ['hours', 3600]] as const) {
      this.#db.exec(`INSERT INTO sums.heimdall_${table} (time, ${measures.join(', ')}) SELECT minute / ${seconds} * ${seconds}, ${summing(measures)} FROM temp.heimdall_summing
        WHERE counts GROUP BY 1 ON CONFLICT (time) DO UPDATE SET ${adding(measures)}`);
    }
  }

  #addCallers(): void {
    const from = 'FROM temp.heimdall_summing WHERE caller IS NOT NULL';
    this.#db.exec(`INSERT INTO sums.heimdall_callers (kind, id, first, last, ${callerMeasures.join(', ')}) SELECT kind, caller, min(first), max(last), ${summing(callerMeasures)} ${from} GROUP BY 1, 2
      ON CONFLICT (kind, id) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last), ${adding(callerMeasures)}`);
    this.#db.exec(`INSERT INTO sums.heimdall_caller_hours (kind, id, time, ${callerMeasures.join(', ')}) SELECT kind, caller, minute / 3600 * 3600, ${summing(callerMeasures)} ${from} GROUP BY 1, 2, 3
      ON CONFLICT (kind, id, time) DO UPDATE SET ${adding(callerMeasures)}`);
    for (const what of Object.keys(listedColumns)) {
      this.#db.exec(`INSERT INTO sums.heimdall_caller_values (kind, id, what, value, requests, first, last) SELECT kind, caller, '${what}', ${what}, total(requests), min(first), max(last) ${from} AND ${what} <> '' GROUP BY 1, 2, 4
        ON CONFLICT (kind, id, what, value) DO UPDATE SET requests = requests + excluded.requests, first = min(first, excluded.first), last = max(last, excluded.last)`);
    }
  }

  #forgetCallers(erasure: number): void {
    this.#db.exec("DELETE FROM sums.heimdall_callers; DELETE FROM sums.heimdall_caller_hours; DELETE FROM sums.heimdall_caller_values; DELETE FROM sums.heimdall_summed WHERE what = 'callers'");
    this.#move('erasure', erasure);
  }

  #tidy(now: number): void {
    this.#sinceTidied = 0;
    this.#db.prepare('DELETE FROM sums.heimdall_minutes WHERE time < ?').run(now - keepMinutes);
    this.#db.prepare('DELETE FROM sums.heimdall_hours WHERE time < ?').run(now - keepHours);
    this.#db.prepare('DELETE FROM sums.heimdall_callers WHERE last < coalesce((SELECT last FROM sums.heimdall_callers ORDER BY last DESC LIMIT 1 OFFSET ?), 0)').run(mostCallers);
    for (const table of ['heimdall_caller_hours', 'heimdall_caller_values']) this.#db.exec(`DELETE FROM sums.${table} WHERE NOT EXISTS (SELECT 1 FROM sums.heimdall_callers AS known WHERE known.kind = ${table}.kind AND known.id = ${table}.id)`);
    this.#db.prepare('DELETE FROM sums.heimdall_caller_hours WHERE time < ?').run(now - keepHours);
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

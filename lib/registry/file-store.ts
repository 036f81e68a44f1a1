import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import { chownToDirectoryOwner, makeDirectory } from '../platform/platform.ts';
import { changedContents, chunks, parseContents, emptyContents, mostSeen, type Change, type Contents, type Rows, type SeenName, type SeenTimes, type Store } from './contents.ts';

/** The tables, a step a version. */
const layouts: readonly string[] = [
  'CREATE TABLE keys (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT; CREATE TABLE bans (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT',
  'CREATE TABLE heimdall_findings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT',
  'CREATE TABLE heimdall_tokens (name TEXT PRIMARY KEY, value TEXT NOT NULL, last INTEGER NOT NULL) STRICT, WITHOUT ROWID; CREATE INDEX heimdall_tokens_last ON heimdall_tokens (last)',
];
const layout = layouts.length;
/** Entries about seen tokens that are written between two looks for those to be dropped. */
const trimEvery = 20_000;
/** Milliseconds. */
const day = 86_400_000;
type Table = 'keys' | 'bans' | 'heimdall_findings';

/**
 * Keys, bans and findings in an SQLite file that all gates of a machine and the command line share. The file is opened when it exists or
 * at the first change, and again when another file has replaced it.
 */
export class FileStore implements Store {
  readonly connects = false;
  readonly #path: string;
  readonly #lockTimeout: number;
  #open: Database | null = null;
  /** There was a file. */
  #hasOpened = false;

  /** @param lockTimeout milliseconds to wait for another process that locks the file; the event loop is blocked meanwhile. */
  constructor(path: string, lockTimeout: number) {
    this.#path = path;
    this.#lockTimeout = lockTimeout;
  }

  async read(): Promise<Contents | null> {
    const file = this.#fileThere();
    return file === null ? null : this.#opened(file).read();
  }

  async change(edit: (contents: Contents) => Change, isDurable = true): Promise<Contents> {
    return this.#made().change(edit, isDurable);
  }

  async remember(names: readonly SeenName[], times: SeenTimes): Promise<void> {
    for (const some of chunks(names)) {
      this.#made().remember(some, times);
      await setImmediate();
    }
  }

  async recall(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return inodeOf(this.#path) === null ? new Map() : this.#made().recall(names);
  }

  async forgetToken(id: string): Promise<void> {
    if (inodeOf(this.#path) !== null) this.#made().forgetToken(id);
  }

  /** The database, with its file. */
  #made(): Database {
    if (this.#fileThere() === null) create(this.#path);
    return this.#opened(inodeOf(this.#path) as number);
  }

  /**
   * The file's inode, or null before there is one.
   * SECURITY: while a file that was there is missing, the last known keys and bans stay in force; an empty one would end them.
   */
  #fileThere(): number | null {
    const file = inodeOf(this.#path);
    if (file === null && this.#hasOpened) throw new Error(`${this.#path} is gone. Put it back, or restart to begin with none`);
    return file;
  }

  #opened(file: number): Database {
    if (this.#open?.file === file) return this.#open;
    this.#hasOpened = true;
    this.close();
    return (this.#open = new Database(this.#path, file, this.#lockTimeout));
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
  }
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}

/** SQLite creates its side files with the owner and the mode of the file. */
function create(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  closeSync(openSync(path, 'a', 0o600));
  chownToDirectoryOwner(path);
}

class Database {
  readonly file: number;
  readonly #db: DatabaseSync;
  readonly #version: StatementSync;
  /** Entries about seen tokens to be written before those beyond {@link mostSeen} are dropped again. */
  #untrimmed = 0;
  /** The contents as they were read or written last, and the version that is theirs while no other connection commits. */
  #known: { readonly version: number; readonly contents: Contents } | null = null;

  /** @param file inode of the opened file. */
  constructor(path: string, file: number, lockTimeout: number) {
    this.file = file;
    this.#db = new DatabaseSync(path, { timeout: lockTimeout });
    try {
      // What is removed is overwritten.
      this.#db.exec('PRAGMA secure_delete = ON');
      this.#version = this.#db.prepare('PRAGMA data_version');
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** The contents, as they are known unless another connection has committed since. */
  read(): Contents {
    const version = this.#changes();
    // The version is read first: a commit in between is read twice, never missed.
    if (version !== this.#known?.version) this.#known = { version, contents: this.#contents() };
    return this.#known.contents;
  }

  change(edit: (contents: Contents) => Change, isDurable: boolean): Contents {
    const { version, before, change } = this.#write(isDurable, () => {
      const now = this.#changes();
      const contents = this.#known?.version === now ? this.#known.contents : this.#contents();
      const edits = edit(contents);
      this.#put('keys', edits.keys ?? []);
      this.#put('bans', edits.bans ?? []);
      this.#put('heimdall_findings', edits.findings ?? []);
      return { version: now, before: contents, change: edits };
    });
    // What was known is over, also where the reading fails: own commits leave the version as it is.
    this.#known = null;
    // A damaged entry may be written over, which only a reading sees.
    this.#known = { version, contents: before.damaged > 0 ? this.#contents() : changedContents(before, change) };
    if (change.findings?.some(([, finding]) => finding === null) === true) this.#checkpoint();
    return this.#known.contents;
  }

  /** An entry that is a day old is renewed; without a new or old one nothing is written. */
  remember(names: readonly SeenName[], { now, oldest }: SeenTimes): void {
    const known = this.#layout() < layout ? [] : this.#db.prepare('SELECT name, value FROM heimdall_tokens WHERE last > ? AND name IN (SELECT value FROM json_each(?))').all(now - day, JSON.stringify(names.map(([name]) => name)));
    const values = new Map(known.map(({ name, value }) => [String(name), String(value)]));
    const fresh = names.filter(([name, value]) => values.get(name) !== value);
    if (fresh.length === 0) return;
    this.#write(false, () => {
      const put = this.#db.prepare('INSERT OR REPLACE INTO heimdall_tokens (name, value, last) VALUES (?, ?, ?)');
      for (const [name, value] of fresh) put.run(name, value, now);
      this.#db.prepare('DELETE FROM heimdall_tokens WHERE last < ?').run(oldest);
      if (this.#untrimmed > 0) this.#untrimmed -= fresh.length;
      else this.#trim();
    });
  }

  /** Looks at every entry there is. */
  #trim(): void {
    this.#untrimmed = trimEvery;
    this.#db.prepare('DELETE FROM heimdall_tokens WHERE name IN (SELECT name FROM heimdall_tokens ORDER BY last DESC LIMIT -1 OFFSET ?)').run(mostSeen);
  }

  recall(names: readonly string[]): ReadonlyMap<string, string> {
    if (this.#layout() < layout) return new Map();
    return new Map(this.#db.prepare('SELECT name, value FROM heimdall_tokens WHERE name IN (SELECT value FROM json_each(?))').all(JSON.stringify(names)).map(({ name, value }) => [String(name), String(value)]));
  }

  forgetToken(id: string): void {
    const names = this.recall([id]).get(id)?.split(' ') ?? [];
    if (names.length === 0) return;
    this.#write(true, () => void this.#db.prepare('DELETE FROM heimdall_tokens WHERE name IN (SELECT value FROM json_each(?))').run(JSON.stringify([id, ...names])));
    this.#checkpoint();
  }

  /** Takes the pages before a removal out of the write-ahead log. Another process that reads at the time leaves it to the next. */
  #checkpoint(): void {
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  /** @param isDurable the commit waits for the disk, so that it outlives a loss of power. Either way it outlives the process. */
  #write<T>(isDurable: boolean, work: () => T): T {
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${isDurable ? 'FULL' : 'NORMAL'}`);
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      this.#prepare();
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #changes(): number {
    return (this.#version.get() as { data_version: number }).data_version;
  }

  #prepare(): void {
    const found = this.#layout();
    if (found === layout) return;
    for (const step of layouts.slice(found)) this.#db.exec(step);
    this.#db.exec(`PRAGMA user_version = ${layout}`);
  }

  /** @throws when a later release has created the file. */
  #layout(): number {
    const { user_version: found } = this.#db.prepare('PRAGMA user_version').get() as { user_version: number };
    if (found > layout) throw new Error(`Expected a file of layout ${layout}, got ${found}, made by a later release`);
    return found;
  }

  #contents(): Contents {
    const found = this.#layout();
    return found === 0 ? emptyContents : parseContents(this.#rows('keys'), this.#rows('bans'), found < 2 ? [] : this.#rows('heimdall_findings'));
  }

  #rows(table: Table): Rows {
    return this.#db.prepare(`SELECT name, value FROM ${table}`).all().map(({ name, value }) => [String(name), String(value)] as const);
  }

  #put(table: Table, entries: readonly (readonly [string, object | null])[]): void {
    if (entries.length === 0) return;
    const put = this.#db.prepare(`INSERT OR REPLACE INTO ${table} (name, value) VALUES (?, ?)`);
    const take = this.#db.prepare(`DELETE FROM ${table} WHERE name = ?`);
    for (const [name, value] of entries) {
      if (value === null) take.run(name);
      else put.run(name, JSON.stringify(value));
    }
  }

  close(): void {
    this.#db.close();
  }
}

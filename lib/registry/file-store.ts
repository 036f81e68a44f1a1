import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { chownToDirectoryOwner, makeDirectory } from '../platform/platform.ts';
import { parseContents, emptyContents, type Change, type Contents, type Rows, type Store } from './contents.ts';

/** Of the tables; a later release may make others. */
const layout = 1;

/**
 * Keys and bans in an SQLite file that the gate, its siblings on the same machine and the command line share. Opened when it
 * exists or something is written; a file put in its place is opened instead.
 */
export class FileStore implements Store {
  readonly connects = false;
  readonly #path: string;
  readonly #patience: number;
  #open: Database | null = null;

  /** @param patience milliseconds for which another process may hold the file; the event loop waits as long. */
  constructor(path: string, patience: number) {
    this.#path = path;
    this.#patience = patience;
  }

  async read(): Promise<Contents | null> {
    const file = inodeOf(this.#path);
    if (this.#open !== null && this.#open.file !== file) {
      // SECURITY: without its file the last known keys and bans stay in force, and the caller hears of it.
      if (file === null) throw new Error(`${this.#path} is gone`);
      this.close();
    }
    if (file === null) return null;
    this.#open ??= new Database(this.#path, file, this.#patience);
    return this.#open.readChanged();
  }

  async change(edit: (contents: Contents) => Change): Promise<Contents> {
    if (this.#open === null || this.#open.file !== inodeOf(this.#path)) {
      this.close();
      create(this.#path);
      this.#open = new Database(this.#path, inodeOf(this.#path) as number, this.#patience);
    }
    return this.#open.change(edit);
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
  }
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}

/** SQLite gives its side files the owner and the mode of the file. */
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
  #seen: number | null = null;

  /** @param file which file it was when it was opened. */
  constructor(path: string, file: number, patience: number) {
    this.file = file;
    this.#db = new DatabaseSync(path, { timeout: patience });
    try {
      this.#version = this.#db.prepare('PRAGMA data_version');
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** The pragma's value changes with every commit of another connection. */
  readChanged(): Contents | null {
    const version = this.#changes();
    return version === this.#seen ? null : this.#look(version);
  }

  change(edit: (contents: Contents) => Change): Contents {
    this.#db.exec('PRAGMA journal_mode = WAL');
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      this.#prepare();
      const change = edit(this.#contents());
      this.#put('keys', change.keys ?? []);
      this.#put('bans', change.bans ?? []);
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
    return this.#look(this.#changes());
  }

  #changes(): number {
    return (this.#version.get() as { data_version: number }).data_version;
  }

  /** What is committed between the two is seen twice, never missed. */
  #look(version: number): Contents {
    const contents = this.#contents();
    this.#seen = version;
    return contents;
  }

  #prepare(): void {
    if (this.#layout() === layout) return;
    this.#db.exec('CREATE TABLE keys (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT');
    this.#db.exec('CREATE TABLE bans (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT');
    this.#db.exec(`PRAGMA user_version = ${layout}`);
  }

  /** @throws when a later release made the file. */
  #layout(): number {
    const { user_version: found } = this.#db.prepare('PRAGMA user_version').get() as { user_version: number };
    if (found > layout) throw new Error(`Expected a file of layout ${layout}, got ${found}, made by a later release`);
    return found;
  }

  #contents(): Contents {
    return this.#layout() === 0 ? emptyContents : parseContents(this.#rows('keys'), this.#rows('bans'));
  }

  #rows(table: 'keys' | 'bans'): Rows {
    return this.#db.prepare(`SELECT name, value FROM ${table}`).all().map(({ name, value }) => [String(name), String(value)] as const);
  }

  #put(table: 'keys' | 'bans', entries: readonly (readonly [string, object | null])[]): void {
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

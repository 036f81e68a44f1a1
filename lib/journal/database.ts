import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { migrate } from './schema.ts';
import { makeDirectory } from '../platform/platform.ts';

/** How long another process may hold the write lock (`forget`, a migration), milliseconds. */
const busy = 5000;
/** How long a gate that is about to end may still hold its journal. */
const lockPatience = 2000;
const lockEvery = 100;

/** A database open for writing. */
export interface Opened {
  readonly db: DatabaseSync;
  /** Why it is in memory; null when it is the file. */
  readonly memory: string | null;
  close(): void;
}

/** SQLite's primary result codes: what is short or busy passes, what is wrong with a record does not. */
const passing = new Set([5, 6, 7, 8, 10, 13, 14, 15]);
const fullCode = 13;

/** Whether an error may be over later: the disk is full, the file busy or out of reach. */
export function isPassing(error: unknown): boolean {
  const { errcode, code } = error as { errcode?: unknown; code?: unknown };
  if (typeof errcode === 'number') return passing.has(errcode & 0xff);
  return code === 'ENOSPC' || code === 'EIO' || code === 'EROFS';
}

/** What an error says, without paths. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' && (errcode & 0xff) === fullCode ? 'the disk is full' : error.message;
}

/**
 * Opens the journal's file for writing, alone: another gate's is not shared. Created with mode 0600 in a directory of mode
 * 0700.
 * @param durable every commit is on the disk before it is told; else a power cut may cost the last ones, a killed process none.
 * @throws Error saying why the file cannot be used.
 */
export function openFile(path: string, durable: boolean): Opened {
  makeDirectory(dirname(path));
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const lock = locked(`${path}.lock`);
  try {
    const db = new DatabaseSync(path, { timeout: busy });
    // Of a record of two kilobytes four fit into a page. Erased pages are overwritten; a larger log before it is moved means hot pages are written once.
    db.exec(`PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;
      PRAGMA cache_size = -16384; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF`);
    migrate(db);
    return {
      db,
      memory: null,
      close() {
        db.close();
        lock.close();
      },
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** A journal that lasts as long as the process. */
export function openMemory(reason: string): Opened {
  const db = new DatabaseSync(':memory:');
  migrate(db);
  return { db, memory: reason, close: () => db.close() };
}

/** Opens the file beside its writer, to read. */
export function openReader(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true, timeout: busy });
  db.exec('PRAGMA query_only = ON; PRAGMA trusted_schema = OFF');
  return db;
}

/** A transaction that is never ended holds the file's lock, which the system takes back from a process however it ends. */
function locked(path: string): DatabaseSync {
  closeSync(openSync(path, 'a', 0o600));
  const db = new DatabaseSync(path, { timeout: 0 });
  const until = Date.now() + lockPatience;
  for (;;) {
    try {
      db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
      return db;
    } catch (error) {
      if (Date.now() < until) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lockEvery);
        continue;
      }
      db.close();
      throw new Error('another process has it open', { cause: error });
    }
  }
}

/** Bytes in use: the file without its free pages, and its write-ahead log. */
export function usedBytes(db: DatabaseSync, path: string | null): number {
  const pragma = (name: string): number => Object.values(db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[0] ?? 0;
  const pages = pragma('page_count') - pragma('freelist_count');
  const log = path === null ? undefined : statSync(`${path}-wal`, { throwIfNoEntry: false });
  return pages * pragma('page_size') + (log?.size ?? 0);
}

/** Runs within one transaction; whatever fails undoes all of it. */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk ends the transaction by itself.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

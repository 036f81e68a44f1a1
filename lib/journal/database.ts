import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Signer } from './hash-chain.ts';
import { migrate } from './schema.ts';
import { makeDirectory } from '../platform/platform.ts';

/** How long another process may hold the write lock (`forget`, a migration), milliseconds. */
const busy = 5000;
/** How long a gate that is ending may still hold the journal's lock, milliseconds. */
const lockTimeout = 2000;
const lockEvery = 100;

/** A database open for writing. */
export interface Opened {
  readonly db: DatabaseSync;
  /** The reason why the database is in memory; null when it is the file. */
  readonly memory: string | null;
  close(): void;
}

/** SQLite's primary result codes for a lack of space, memory or access, which may pass. An invalid record does not become valid. */
const passing = new Set([5, 6, 7, 8, 10, 13, 14, 15]);
const fullCode = 13;

/** Whether an error may pass: the disk is full, the file is busy or out of reach. */
export function isPassing(error: unknown): boolean {
  const { errcode, code } = error as { errcode?: unknown; code?: unknown };
  if (typeof errcode === 'number') return passing.has(errcode & 0xff);
  return code === 'ENOSPC' || code === 'EIO' || code === 'EROFS';
}

/** The message of an error, without paths. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' && (errcode & 0xff) === fullCode ? 'the disk is full' : error.message;
}

/**
 * Opens the journal's file for writing. One process alone may have it open. The file is created with mode 0600 in a directory of
 * mode 0700.
 * @param durable every commit is on the disk before it is acknowledged; otherwise a power cut may lose the last ones, a killed
 * process none.
 * @param signer signs a migration of the schema. @param now Unix milliseconds.
 * @throws Error with the reason why the file cannot be used.
 */
export function openFile(path: string, durable: boolean, signer: Signer, now: number): Opened {
  makeDirectory(dirname(path));
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const lock = lockFile(path);
  try {
    const db = new DatabaseSync(path, { timeout: busy });
    // A page holds four records of 2 KB. Erased pages are overwritten. Moving the log rarely means that hot pages are written once.
    db.exec(`PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;
      PRAGMA cache_size = -16384; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF`);
    migrate(db, signer, now);
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

/** Opens a journal in memory; it ends with the process. */
export function openMemory(reason: string, signer: Signer, now: number): Opened {
  const db = new DatabaseSync(':memory:');
  migrate(db, signer, now);
  return { db, memory: reason, close: () => db.close() };
}

/** Opens the file read-only, beside its writer. */
export function openReader(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true, timeout: busy });
  db.exec('PRAGMA query_only = ON; PRAGMA trusted_schema = OFF');
  return db;
}

/**
 * Locks a journal for this process, by a transaction that never ends. The system releases it however the process ends.
 * @returns the lock; closing it releases it.
 * @throws Error when another process has the journal open.
 */
export function lockFile(journal: string): DatabaseSync {
  const path = `${journal}.lock`;
  closeSync(openSync(path, 'a', 0o600));
  const db = new DatabaseSync(path, { timeout: 0 });
  const until = Date.now() + lockTimeout;
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

/** Bytes in use: the file without its free pages, and the write-ahead log. */
export function usedBytes(db: DatabaseSync, path: string | null): number {
  const pragma = (name: string): number => Object.values(db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[0] ?? 0;
  const pages = pragma('page_count') - pragma('freelist_count');
  const log = path === null ? undefined : statSync(`${path}-wal`, { throwIfNoEntry: false });
  return pages * pragma('page_size') + (log?.size ?? 0);
}

/** Runs in one transaction, which is rolled back when anything fails. */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk has ended the transaction already.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

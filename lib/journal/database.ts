import { randomUUID } from 'node:crypto';
import { chmodSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Signer } from './hash-chain.ts';
import { Claims, createFile, JournalInUse, machineId, Presence, upkeep } from './presence.ts';
import { migrate, schemaVersion, versionOf } from './schema.ts';
import { makeDirectory } from '../platform/platform.ts';

/** How long another process may hold the write lock (`forget`, a migration), milliseconds. */
const busy = 5000;
/** How long the opening waits for a process that makes, migrates or restores the journal, milliseconds. */
export const openPatience = 2000;
const tryEvery = 50;

/** A database open for writing. */
export interface Opened {
  readonly db: DatabaseSync;
  /** The reason why the database is in memory; null when it is the file. */
  readonly memory: string | null;
  /** Why the file's permissions could not be narrowed; null when they are. */
  readonly exposed: string | null;
  /** Other sessions that have the file open. */
  others(): readonly string[];
  /** Claims work that one session alone does. @returns whether this session has the claim. */
  claim(name: string): boolean;
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

/** Values of {@link openFile} that are seldom given. */
export interface OpenOptions {
  /** Identifies this run of the gate. */
  readonly session?: string;
  /** How long to wait for a process that has the file for itself, milliseconds. */
  readonly patience?: number;
}

/**
 * Opens the journal's file for writing, beside other processes of this machine. The file is created with mode 0600 in a directory
 * of mode 0700. A file that belongs to another user keeps its mode.
 * @param durable every commit is on the disk before it is acknowledged; otherwise a power cut may lose the last ones, a killed
 * process none.
 * @param signer signs a migration of the schema. @param now Unix milliseconds.
 * @throws JournalInUse when another process has the file for itself. @throws Error with the reason why the file cannot be used.
 */
export function openFile(path: string, durable: boolean, signer: Signer, now: number, { session = randomUUID(), patience = openPatience }: OpenOptions = {}): Opened {
  const until = performance.now() + patience;
  for (;;) {
    try {
      return openOnce(path, durable, signer, now, session);
    } catch (error) {
      if (!(error instanceof JournalInUse) || performance.now() >= until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, tryEvery);
    }
  }
}

function openOnce(path: string, durable: boolean, signer: Signer, now: number, session: string): Opened {
  makeDirectory(dirname(path));
  createFile(path, 0o600);
  const exposed = narrow(path);
  // The journal may have several names; its locks have one.
  const real = realpathSync(path);
  const presence = new Presence(real, session, machineId());
  const claims = new Claims(real);
  let db: DatabaseSync | null = null;
  const close = (): void => {
    if (db?.isOpen) db.close();
    claims.close();
    presence.close();
  };
  try {
    const others = presence.others();
    if (others.some(({ isHere }) => !isHere)) throw new JournalInUse('a process of another machine has it open');
    claims.take(upkeep);
    db = new DatabaseSync(path, { timeout: busy });
    prepare(db, durable, signer, now, claims.has(upkeep) && others.length === 0, claims.has(upkeep));
    return { db, memory: null, exposed, others: () => presence.others().map((other) => other.session), claim: (name) => claims.take(name), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** @param isAlone no other session has the file open. @param isKeeper this session has the claim of upkeep. */
function prepare(db: DatabaseSync, durable: boolean, signer: Signer, now: number, isAlone: boolean, isKeeper: boolean): void {
  const version = versionOf(db);
  const isShared = version >= schemaVersion && (db.prepare('PRAGMA journal_mode').get() as { journal_mode: string }).journal_mode === 'wal';
  if (!isShared && !(version === 0 ? isKeeper : isAlone)) throw new JournalInUse('another process has it open');
  // A page holds four records of 2 KB. Erased pages are overwritten. Moving the log rarely means that hot pages are written once.
  // Records are appended: few pages change again, and the system caches the others.
  db.exec(`${isShared ? '' : 'PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; '}PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -4096; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF`);
  migrate(db, signer, now);
}

/** @returns why the permissions stay as they are, or null. */
function narrow(path: string): string | null {
  if ((statSync(path).mode & 0o777) === 0o600) return null;
  try {
    chmodSync(path, 0o600);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

/** Opens a journal in memory; it ends with the process. */
export function openMemory(reason: string, signer: Signer, now: number): Opened {
  const db = new DatabaseSync(':memory:');
  migrate(db, signer, now);
  return { db, memory: reason, exposed: null, others: () => [], claim: () => true, close: () => db.close() };
}

/** Opens the file read-only, beside its writer. */
export function openReader(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true, timeout: busy });
  db.exec('PRAGMA query_only = ON; PRAGMA trusted_schema = OFF');
  return db;
}

/**
 * Takes a journal out of use, until the returned function is called.
 * @throws JournalInUse when a process has it open.
 */
export function closeToOthers(journal: string): () => void {
  const presence = new Presence(journal, randomUUID(), 'alone');
  const claims = new Claims(journal);
  const release = (): void => {
    claims.close();
    presence.close();
  };
  const until = performance.now() + openPatience;
  while (presence.others().length > 0 || !claims.take(upkeep)) {
    if (performance.now() >= until) {
      release();
      throw new JournalInUse('another process has it open');
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, tryEvery);
  }
  return release;
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

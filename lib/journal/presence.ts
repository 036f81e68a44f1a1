import { closeSync, chmodSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** SQLite's primary result code for a lock that another connection holds. */
const busyCode = 5;

/** The journal cannot be shared at the moment: another machine has it open, or a gate of another release. It may be free later. */
export class JournalInUse extends Error {}

/**
 * Locks a file until it is closed, or until its process ends in whatever way. SQLite holds the lock: a file that it has open must
 * never be opened and closed by other means, since that would release every lock of the process on it (POSIX, `fcntl`).
 * @param mode of a new file: that of the journal, so that every user who may write it may lock it.
 * @returns the lock; null when another connection holds it.
 */
export function tryLock(path: string, mode: number): DatabaseSync | null {
  createFile(path, mode);
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    // Nothing is written: a rollback journal would only be left behind by a crash.
    db.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db.close();
    if (((error as { errcode?: number }).errcode ?? 0) % 256 !== busyCode) throw error;
    return null;
  }
}

/** Creates a file that does not exist yet, whatever the umask is. */
export function createFile(path: string, mode: number): void {
  try {
    closeSync(openSync(path, 'wx', mode));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  chmodSync(path, mode);
}

/** Permissions of the files beside a journal: a journal that several users may write is locked by all of them. */
export const modeBeside = (journal: string): number => ((statSync(journal, { throwIfNoEntry: false })?.mode ?? 0) & 0o666) | 0o600;

/** The files of the sessions that have a journal open: `heimdall.db.live-MACHINE-SESSION`, each locked by its process. */
const fileOf = (journal: string, kind: string, rest: string): string => `${journal}.${kind}-${rest}`;

/**
 * A session's sign of life beside the journal. Sessions of one machine write the journal side by side. Those of another machine
 * may not: SQLite's write-ahead log needs memory that its writers share.
 */
export class Presence {
  readonly #journal: string;
  readonly #machine: string;
  readonly #session: string;
  readonly #file: string;
  readonly #lock: DatabaseSync;

  /** @param machine the id of this machine, or a name for a process that needs the journal for itself. @throws Error of the file system. */
  constructor(journal: string, session: string, machine: string) {
    this.#journal = journal;
    this.#machine = machine;
    this.#session = session;
    this.#file = fileOf(journal, 'live', `${machine}-${session}`);
    // The file gets its name when it is locked: a file with such a name that can be locked is of a session that has ended.
    const made = fileOf(journal, 'new', session);
    const lock = tryLock(made, modeBeside(journal));
    if (lock === null) throw new JournalInUse('another thread of this session has it open');
    this.#lock = lock;
    renameSync(made, this.#file);
  }

  /** Other sessions that live, and removes what ended ones have left. A file of another user that cannot be locked counts as one that lives. */
  others(): { readonly session: string; readonly isHere: boolean }[] {
    const prefix = basename(fileOf(this.#journal, 'live', ''));
    const found: { session: string; isHere: boolean }[] = [];
    for (const name of readdirSync(dirname(this.#journal))) {
      const [, machine = '', session = ''] = name.startsWith(prefix) ? /^(\w+)-(.+)$/.exec(name.slice(prefix.length)) ?? [] : [];
      if (session === '' || (session === this.#session && machine === this.#machine)) continue;
      if (!isEnded(join(dirname(this.#journal), name))) found.push({ session, isHere: machine === this.#machine });
    }
    return found;
  }

  close(): void {
    rmSync(this.#file, { force: true });
    this.#lock.close();
  }
}

/** Whether no process locks the file any more, which is removed then. */
function isEnded(file: string): boolean {
  try {
    if (statSync(file, { throwIfNoEntry: false }) === undefined) return true;
    const lock = tryLock(file, 0o600);
    if (lock === null) return false;
    rmSync(file, { force: true });
    lock.close();
    return true;
  } catch {
    return false;
  }
}

/** Claims of work that one session alone does: upkeep of the journal, and each sink. */
export class Claims {
  readonly #journal: string;
  readonly #held = new Map<string, DatabaseSync>();

  constructor(journal: string) {
    this.#journal = journal;
  }

  /** @returns whether this session has the claim. */
  take(name: string): boolean {
    if (this.#held.has(name)) return true;
    const lock = tryLock(name === upkeep ? `${this.#journal}.lock` : `${this.#journal}.lock-${name}`, modeBeside(this.#journal));
    if (lock !== null) this.#held.set(name, lock);
    return lock !== null;
  }

  has(name: string): boolean {
    return this.#held.has(name);
  }

  close(): void {
    for (const lock of this.#held.values()) lock.close();
    this.#held.clear();
  }
}

/** The claim of the session that keeps the journal in order: migration, checkpoints, retention, records of sessions that crashed. */
export const upkeep = '';

/** Containers of one machine share its id, whatever their host names are. */
export function machineId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replace(/\W/g, '').slice(0, 12);
  } catch {
    return Buffer.from(hostname()).toString('hex').slice(0, 32) || 'unknown';
  }
}

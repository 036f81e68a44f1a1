import { existsSync, renameSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { closeToOthers, openFile } from './database.ts';
import { signerOf, verifierOf } from './hash-chain.ts';
import { headFileOf, readHead, writeHead } from './head.ts';
import { Store } from './store.ts';
import { removeSums } from './sums.ts';
import { verifyJournal } from './verify.ts';

/** A restored journal. */
export interface Restored {
  /** Position of the backup's last record. */
  readonly lastId: number;
  /** The file to which the journal before was moved; null when there was none. */
  readonly replaced: string | null;
}

/**
 * Makes a backup the journal. The restore becomes a signed entry of the history, from which on `verify` calls the journal whole. The
 * journal before is kept beside it, with its head file.
 * @param secrets the install secret, then those before it. @param now Unix milliseconds.
 * @param told is called with how many records of the backup are checked, of how many.
 * @throws Error when the backup is not whole, or another process has the journal open.
 */
export function restoreJournal(backup: string, path: string, secrets: readonly string[], now: number, told?: (done: number, total: number) => void): Restored {
  const fresh = `${path}.restoring`;
  const release = closeToOthers(path);
  try {
    for (const suffix of suffixes) rmSync(fresh + suffix, { force: true });
    copyWhole(backup, fresh, secrets, told);
    const { lastId, checkpoint } = markRestored(fresh, secrets[0] as string, now);
    const replaced = existsSync(path) ? `${path}.${new Date(now).toISOString().replace(/[:.]/g, '-')}` : null;
    if (replaced !== null) for (const suffix of suffixes) moveIfThere(path + suffix, replaced + suffix);
    // What they say of erased records and of later ones is not true of the backup.
    removeSums(path);
    renameSync(fresh, path);
    writeHead(headFileOf(path), checkpoint);
    return { lastId, replaced };
  } finally {
    for (const suffix of ['', ...suffixes, '.lock']) rmSync(fresh + suffix, { force: true });
    release();
  }
}

/** The database and the files that belong to it. */
const suffixes = ['', '-wal', '-shm', headFileOf('')];

function moveIfThere(from: string, to: string): void {
  if (existsSync(from)) renameSync(from, to);
}

/** Differences that the gate found at earlier starts do not prevent a restore: the operator accepts them by it. */
function copyWhole(backup: string, fresh: string, secrets: readonly string[], told: ((done: number, total: number) => void) | undefined): void {
  const head = readHead(headFileOf(backup));
  const db = new DatabaseSync(backup, { readOnly: true });
  try {
    const { broken } = verifyJournal(db, verifierOf(secrets), { head: head.kind === 'missing' ? null : head, acceptsFindings: true, ...(told !== undefined && { told }) });
    if (broken !== null) throw new Error(`the backup is not whole: ${broken.what}`);
    db.prepare('VACUUM INTO ?').run(fresh);
  } finally {
    db.close();
  }
}

function markRestored(fresh: string, secret: string, now: number): { lastId: number; checkpoint: NonNullable<ReturnType<Store['checkpoint']>> } {
  const signer = signerOf(secret);
  const opened = openFile(fresh, true, signer, now);
  try {
    const store = new Store(opened.db, 'restore', signer);
    store.note('restored', `from a backup that ends with record ${store.lastId}`, now);
    return { lastId: store.lastId, checkpoint: store.checkpoint(now, null) as NonNullable<ReturnType<Store['checkpoint']>> };
  } finally {
    opened.close();
  }
}

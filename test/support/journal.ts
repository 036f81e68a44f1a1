import { existsSync, globSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { basename, dirname, join } from 'node:path';
import type { Journal } from '../../types/journal.d.ts';
import type { Gate } from '../../lib/index.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { secretFileOf } from '../../lib/identity/secret.ts';
import { verifierOf } from '../../lib/journal/hash-chain.ts';
import { headFileOf, readHead } from '../../lib/journal/head.ts';
import { verifyJournal, type Verdict } from '../../lib/journal/verify.ts';

/** A row of the journal's table. */
export type JournalRow = Readonly<Record<string, string | number | null>>;

/** The journal of a gate that runs. */
export const journalOf = (gate: Gate): Journal => internalsOf(gate).journal;

const everything = 'SELECT * FROM heimdall_logs ORDER BY id';

/** What a gate has recorded so far, everything handed in committed. Read from its file: to start the thread that reads costs more than most tests. */
export async function recorded(gate: Gate): Promise<JournalRow[]> {
  const { core, journal } = internalsOf(gate);
  await journal.flush();
  if (journal.stats().state.kind !== 'open') return (await journal.query(everything)) as JournalRow[];
  const db = new DatabaseSync(core.config.audit.path, { timeout: 5000, readOnly: true });
  try {
    return db.prepare(everything).all() as JournalRow[];
  } finally {
    db.close();
  }
}

/** Runs one statement on a journal's file; rows for a SELECT. */
export function sql(path: string, text: string, ...values: readonly (string | number | null)[]): JournalRow[] {
  const db = new DatabaseSync(path, { timeout: 5000 });
  try {
    return db.prepare(text).all(...values) as JournalRow[];
  } finally {
    db.close();
  }
}

/** What `heimdall verify` finds in a journal whose secret was generated beside it. */
export function verified(path: string): Verdict {
  const head = readHead(headFileOf(path));
  const db = new DatabaseSync(path, { timeout: 5000 });
  try {
    return verifyJournal(db, verifierOf([readFileSync(secretFileOf(path), 'utf8').trim()]), { head });
  } finally {
    db.close();
  }
}

/** All bytes of a journal: the database, its log, its index and what lies beside it. */
export function bytesOf(path: string): Buffer {
  const beside = existsSync(path) ? globSync(`${basename(path)}*`, { cwd: dirname(path) }).map((name) => join(dirname(path), name)) : [];
  return Buffer.concat(beside.map((file) => readFileSync(file)));
}

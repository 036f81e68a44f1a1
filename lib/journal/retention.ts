import { setImmediate } from 'node:timers/promises';
import type { DatabaseSync } from 'node:sqlite';
import type { DropReason } from '../../types/journal.d.ts';
import { signedText, type Signer } from './hash-chain.ts';
import { transaction, usedBytes } from './database.ts';
import { releaseTexts } from './texts.ts';
import { parts, type Times } from '../record/record.ts';
import { steadyTime } from '../platform/platform.ts';

/** Records removed at a time: about a millisecond in which nothing is written. */
const chunk = 500;
/** Records and bytes kept by a journal in memory. */
const maxInMemory = 100_000;
const maxMemoryBytes = 67_108_864;
/** Records are removed until the journal takes less than this share of `max_size`. */
const roomy = 0.95;
/** A sink delays the removal of a record up to this many times the age limit. */
const sinkFactor = 2;

/** The limits of age and size. */
export interface Retention {
  /** The file, or null in memory. */
  readonly path: string | null;
  /** Milliseconds. */
  readonly keepRecords: number;
  readonly keepBodies: number;
  /** Bytes. */
  readonly maxSize: number;
  readonly signer: Signer;
  /** Names of the sinks whose cursors delay the removal; without it every sink with a cursor. */
  readonly sinks?: readonly string[] | null;
  /** Called for records that were removed before their time. */
  readonly lost: (reason: DropReason, count: number) => void;
  /** Called with the digests of long texts that were removed. */
  readonly removed?: (digests: readonly string[]) => void;
}

const day = 86_400_000;

/**
 * The time by which records may be removed: a clock that has jumped shows a gap in the journal, also after a restart. A gap is no
 * proof, since a gate may have been off, or had no requests; then the clock has to be steady for an hour.
 * @returns Unix milliseconds, or null while the clock is not believed.
 */
export function believedTime(db: DatabaseSync, { believed, steadyFor }: Times): number | null {
  if (steadyFor >= steadyTime) return believed;
  const recently = believed - steadyTime;
  const before = (db.prepare('SELECT time FROM heimdall_batches WHERE time <= ? ORDER BY batch DESC LIMIT 1').get(recently) as { time: number } | undefined)?.time;
  return before !== undefined && before >= recently - day ? believed : null;
}

/** The records that would be removed by the clock of the machine, and are not yet. @param believed as of {@link believedTime}. */
export function sparedRecords(db: DatabaseSync, { keepRecords }: Retention, { now }: Times, believed: number | null): number {
  if (believed !== null && now <= believed) return 0;
  const until = (time: number): number => (db.prepare('SELECT max(last) AS last FROM heimdall_batches WHERE time < ?').get(time - keepRecords) as { last: number | null }).last ?? 0;
  const first = (db.prepare('SELECT coalesce(min(id), 1) AS id FROM heimdall_logs').get() as { id: number }).id;
  return Math.max(0, until(now) - Math.max(first - 1, believed === null ? 0 : until(believed)));
}

/** Removes old bodies and records, then enforces the size, in small steps between which others can write. */
export async function applyRetention(db: DatabaseSync, retention: Retention, now: number): Promise<void> {
  let changed = false;
  for (let more = eraseBodies(db, retention, now); more !== 'none'; more = eraseBodies(db, retention, now)) {
    changed = true;
    await setImmediate();
  }
  const old = now - retention.keepRecords;
  const oldest = now - retention.keepRecords * sinkFactor;
  while (remove(db, retention, { most: chunk, now, may: (time) => time < old, must: (time) => time < oldest }) !== null) {
    changed = true;
    await setImmediate();
  }
  await enforceMaxSize(db, retention);
  // The write-ahead log still holds what was erased.
  if (changed && retention.path !== null) db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
}

/** Removes the oldest records until the database is within its size, even if sinks have not taken them. */
export async function enforceMaxSize(db: DatabaseSync, retention: Retention): Promise<void> {
  const all = (): boolean => true;
  const used = (): number => (retention.path === null ? Math.max(countOf(db) / maxInMemory, sizeOf(db) / maxMemoryBytes) : sizeOf(db) / retention.maxSize);
  if (used() <= 1) return;
  while (used() > (retention.path === null ? 1 : roomy)) {
    const removed = remove(db, retention, { most: Math.min(chunk, Math.ceil(spanOf(db) / 20)), now: Number.MAX_SAFE_INTEGER, may: all, must: all });
    if (removed === null) return;
    retention.lost(retention.path === null ? 'memory' : 'size', removed);
    await setImmediate();
  }
}

const countOf = (db: DatabaseSync): number => (db.prepare('SELECT count(*) AS count FROM heimdall_logs').get() as { count: number }).count;

/** The number of records, or slightly more. */
const spanOf = (db: DatabaseSync): number => (db.prepare('SELECT coalesce(max(id) - min(id) + 1, 1) AS span FROM heimdall_logs').get() as { span: number }).span;

/** The size without the write-ahead log, which later commits empty. */
const sizeOf = (db: DatabaseSync): number => usedBytes(db, null);

interface Old {
  readonly batch: number;
  readonly last: number;
  readonly time: number;
  readonly hash: string;
}

/** What may be removed, and how much of it at a time. */
interface Removal {
  readonly most: number;
  /** Unix milliseconds. A batch of a later time was written by a clock that was ahead; it goes with the next one that may. */
  readonly now: number;
  readonly may: (time: number) => boolean;
  readonly must: (time: number) => boolean;
}

/**
 * Removes the oldest whole batches for which `may` is true: at most `most` records, or one batch. Records that a sink has not taken
 * stay until `must` is true too. A signed mark says where the chain begins now, so that it still verifies.
 * @returns the number of records; null when no batch was removed.
 */
function remove(db: DatabaseSync, { signer, lost, removed: textsRemoved = () => undefined, sinks = null }: Retention, { most, now, may, must }: Removal): number | null {
  const batches = db.prepare('SELECT batch, last, time, hash FROM heimdall_batches WHERE time <= ? ORDER BY batch LIMIT 100').all(now) as unknown as Old[];
  const { taken } = db.prepare('SELECT min(record) AS taken FROM heimdall_cursors WHERE ?1 IS NULL OR sink IN (SELECT value FROM json_each(?1))').get(sinks === null ? null : JSON.stringify(sinks)) as { taken: number | null };
  const first = (db.prepare('SELECT min(id) AS id FROM heimdall_logs').get() as { id: number | null }).id ?? 0;
  let end: Old | null = null;
  for (const batch of batches) {
    if (!may(batch.time) || (taken !== null && batch.last > taken && !must(batch.time))) break;
    if (end !== null && batch.last - first >= most) break;
    end = batch;
  }
  if (end === null) return null;
  const { batch, last, hash } = end;
  const removed = transaction(db, () => {
    mark(db, signer, 'records', batch, last, hash);
    textsRemoved(releaseTexts(db, 'records', 'id <= ?', last));
    const { changes } = db.prepare('DELETE FROM heimdall_logs WHERE id <= ?').run(last);
    db.prepare('DELETE FROM heimdall_batches WHERE batch <= ?').run(batch);
    db.prepare('DELETE FROM heimdall_checkpoints WHERE batch < ?').run(batch);
    db.prepare('DELETE FROM heimdall_learnt WHERE batch <= ?').run(batch);
    db.prepare('UPDATE heimdall_learnt SET value = NULL, salt = NULL WHERE record <= ? AND salt IS NOT NULL').run(last);
    return Number(changes);
  });
  if (taken !== null && last > taken) lost('undelivered', Math.min(removed, last - taken));
  return removed;
}

/** Erases the bodies of the next records that are old enough. @returns whether there were any. */
function eraseBodies(db: DatabaseSync, { signer, keepBodies, removed = () => undefined }: Retention, now: number): 'some' | 'none' {
  const until = (db.prepare('SELECT max(last) AS last FROM heimdall_batches WHERE time < ?').get(now - keepBodies) as { last: number | null }).last ?? 0;
  const done = (db.prepare("SELECT record FROM heimdall_marks WHERE name = 'bodies'").get() as { record: number } | undefined)?.record ?? 0;
  const first = Math.max(done, ((db.prepare('SELECT min(id) AS id FROM heimdall_logs').get() as { id: number | null }).id ?? 1) - 1);
  if (first >= until) return 'none';
  const last = Math.min(until, first + chunk);
  transaction(db, () => {
    mark(db, signer, 'bodies', 0, last, '');
    removed(releaseTexts(db, 'bodies', 'id > ? AND id <= ?', first, last));
    db.prepare(`UPDATE heimdall_logs SET ${parts.body.map((name) => `${name} = NULL`).join(', ')} WHERE id > ? AND id <= ? AND body_digest IS NOT NULL`).run(first, last);
  });
  return 'some';
}

function mark(db: DatabaseSync, signer: Signer, name: string, batch: number, record: number, hash: string): void {
  const signature = signer.sign(signedText.mark(name, batch, record, hash));
  db.prepare('INSERT OR REPLACE INTO heimdall_marks (name, batch, record, hash, signature) VALUES (?, ?, ?, ?, ?)').run(name, batch, record, hash, signature);
}

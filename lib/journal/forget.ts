import type { DatabaseSync } from 'node:sqlite';
import type { Forgetting } from '../../types/journal.d.ts';
import { keyedHash, tokenIdentifier } from '../identity/identity.ts';
import { signedText, type Signer } from './hash-chain.ts';
import { transaction } from './database.ts';
import { Ledger } from './ledger.ts';
import type { Query } from '../../types/reader.d.ts';
import { releaseTexts } from './texts.ts';
import { erasedValue, parts } from '../record/record.ts';

/** Records erased in one transaction. */
const chunk = 500;

/** The names under which what is to be forgotten is known outside of records. */
export const namesOf = ({ kind, value }: Forgetting, secrets: Secrets): readonly string[] => (kind === 'key' ? [...new Set([value, ...identitiesOf(value, secrets)])] : [kind === 'device' ? value.toLowerCase() : value]);

/** Finds those of the request ids whose records are erased. */
export const erasedOf = (requestIds: readonly string[]): Query => ({ sql: 'SELECT request_id FROM heimdall_logs WHERE erasure IS NOT NULL AND request_id IN (SELECT value FROM json_each(?))', values: [JSON.stringify(requestIds)] });

/** Those of the request ids whose records are erased. */
export function erasedAmong(db: DatabaseSync, requestIds: readonly string[]): ReadonlySet<string> {
  if (requestIds.length === 0) return new Set();
  const { sql, values } = erasedOf(requestIds);
  return new Set(db.prepare(sql).all(...values).map((row) => String(row['request_id'])));
}

/** The condition that finds the records of a subject. */
interface Match {
  readonly where: string;
  readonly values: readonly string[];
}

/** The install secret and those before it: token ids are made with them. */
export type Secrets = readonly string[];

/** The chain of a journal that personal data is erased from. */
export interface ForgetOptions {
  readonly signer: Signer;
  readonly secrets: Secrets;
  /** Given by the gate that writes the journal at the same time. */
  readonly ledger?: Ledger;
  /** Called with the digests of long texts that were removed. */
  readonly removed?: (digests: readonly string[]) => void;
  /** Unix milliseconds. */
  readonly now: number;
}

/**
 * Erases the columns that identify a caller, and the bodies, from all matching records, and the salts without which the digests
 * reveal nothing. The erasure is signed and part of the history, so that `verify` can tell it from tampering.
 * @returns the number of records.
 */
export function forget(db: DatabaseSync, what: Forgetting, { signer, secrets, ledger = new Ledger(db, signer), removed = () => undefined, now }: ForgetOptions): number {
  const { where, values } = matching(what, secrets);
  const subject = keyedHash(`heimdall forget ${secrets[0] ?? ''}`)(`${what.kind} ${what.value}`);
  const find = db.prepare(`SELECT id FROM heimdall_logs WHERE id > ? AND erasure IS NULL AND (${where}) ORDER BY id LIMIT ${chunk}`);
  let erased = 0;
  try {
    for (let last = 0, count = chunk; count === chunk; erased += count) {
      count = transaction(db, () => {
        const found = find.all(last, ...values) as { id: number }[];
        last = found.at(-1)?.id ?? last;
        return eraseSome(db, { signer, ledger, removed, now }, found, what.kind, subject);
      });
    }
  } catch (error) {
    ledger.reload();
    throw error;
  }
  forgetIntents(db, what, secrets);
  if (erased > 0) db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  return erased;
}

type Erasing = Required<Pick<ForgetOptions, 'signer' | 'ledger' | 'removed' | 'now'>>;

function eraseSome(db: DatabaseSync, { signer, ledger, removed, now }: Erasing, found: readonly { id: number }[], kind: string, subject: string): number {
  if (found.length === 0) return 0;
  const erasure = ((db.prepare('SELECT max(erasure) AS last FROM heimdall_erasures').get() as { last: number | null }).last ?? 0) + 1;
  const ids = found.map(({ id }) => id).join(' ');
  const signature = signer.sign(signedText.erasure(erasure, now, kind, subject, found.length, ids));
  db.prepare('INSERT INTO heimdall_erasures (erasure, time, kind, subject, records, ids, signature) VALUES (?, ?, ?, ?, ?, ?, ?)').run(erasure, now, kind, subject, found.length, ids, signature);
  const cleared = [...parts.private, ...parts.body].map((name) => `${name} = ${erasedValue(name) === null ? 'NULL' : "''"}`);
  const erase = db.prepare(`UPDATE heimdall_logs SET ${cleared.join(', ')}, salt = NULL, erasure = ? WHERE id = ?`);
  const eraseFacts = db.prepare('UPDATE heimdall_learnt SET value = NULL, salt = NULL WHERE record = ?');
  removed(releaseTexts(db, 'records', 'id IN (SELECT value FROM json_each(?))', JSON.stringify(found.map(({ id }) => id))));
  for (const { id } of found) {
    erase.run(erasure, id);
    eraseFacts.run(id);
  }
  ledger.reload();
  ledger.note('erased', `${erasure} ${signature}`, now);
  return found.length;
}

/** The addresses of a forwarded chain, each between two commas. */
const hops = "',' || replace(replace(replace(forwarded_for, ' ', ''), '[', ''), ']', '') || ','";

/** The columns that may hold a value. An address is also found in the forwarded chain of another caller. */
function matching({ kind, value }: Forgetting, secrets: Secrets): Match {
  switch (kind) {
    case 'address':
      return { where: `real_ip = ? OR (forwarded_for <> '' AND (instr(${hops}, ',' || ? || ',') > 0 OR instr(${hops}, ',' || ? || ':') > 0))`, values: [value, value, value] };
    case 'device':
      return { where: 'device_fingerprint = ?', values: [value.toLowerCase()] };
    case 'key': {
      const ids = identitiesOf(value, secrets);
      // Requests of the admin API about the caller have its name at the end of their path.
      const paths = [value, ...ids].flatMap((id) => [`/callers/${encodeURIComponent(id)}`, `/keys/${encodeURIComponent(id)}`]);
      return { where: `key_id = ? OR token_id IN (${ids.map(() => '?').join(', ')})${' OR substr(request_path, -length(?)) = ?'.repeat(paths.length)}`, values: [value, ...ids, ...paths.flatMap((path) => [path, path])] };
    }
  }
}

/** The ids of a token under each secret. The value may also be an id itself. */
function identitiesOf(value: string, secrets: Secrets): string[] {
  const bare = value.replace(/^bearer +/i, '');
  return [value.toLowerCase(), ...secrets.map((secret) => tokenIdentifier(secret)(bare).id)];
}

/** Deletes intents of requests that are not recorded yet. */
function forgetIntents(db: DatabaseSync, what: Forgetting, secrets: Secrets): void {
  const of = { address: ['real_ip'], device: ['device_fingerprint'], key: ['key_id', 'token_id'] }[what.kind];
  for (const name of of) for (const each of namesOf(what, secrets)) db.prepare(`DELETE FROM heimdall_intents WHERE draft ->> '$.${name}' = ?`).run(each);
}

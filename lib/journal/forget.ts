import type { DatabaseSync } from 'node:sqlite';
import type { Forgetting } from '../../types/journal.d.ts';
import { keyedHash, tokenIdentifier } from '../identity/identity.ts';
import { signedText, type Signer } from './hash-chain.ts';
import { transaction } from './database.ts';
import { erasedValue, parts } from '../record/record.ts';

/** Records erased in one transaction. */
const chunk = 500;

/** What is asked of the table for each kind. */
interface Match {
  readonly where: string;
  readonly values: readonly string[];
}

/** The secrets under which identities of tokens and subjects are made, the one in force first. */
export type Secrets = readonly string[];

/**
 * Erases from every matching record whatever tells who it was and what was said, and the salt without which the digests left
 * behind say nothing. What was erased is named by a signed entry, so that `verify` tells it from tampering.
 * @returns how many records.
 */
export function forget(db: DatabaseSync, signer: Signer, secrets: Secrets, what: Forgetting, now: number): number {
  const { where, values } = matching(what, secrets);
  const subject = keyedHash(`heimdall forget ${secrets[0] ?? ''}`)(`${what.kind} ${what.value}`);
  const find = db.prepare(`SELECT id FROM heimdall_logs WHERE id > ? AND erasure IS NULL AND (${where}) ORDER BY id LIMIT ${chunk}`);
  let erased = 0;
  for (let last = 0, count = chunk; count === chunk; erased += count) {
    count = transaction(db, () => {
      const found = find.all(last, ...values) as { id: number }[];
      last = found.at(-1)?.id ?? last;
      return eraseSome(db, signer, found, what.kind, subject, now);
    });
  }
  forgetIntents(db, what, secrets);
  if (erased > 0) db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  return erased;
}

function eraseSome(db: DatabaseSync, signer: Signer, found: readonly { id: number }[], kind: string, subject: string, now: number): number {
  if (found.length === 0) return 0;
  const erasure = ((db.prepare('SELECT max(erasure) AS last FROM heimdall_erasures').get() as { last: number | null }).last ?? 0) + 1;
  const ids = found.map(({ id }) => id).join(' ');
  const signature = signer.sign(signedText.erasure(erasure, now, kind, subject, found.length, ids));
  db.prepare('INSERT INTO heimdall_erasures (erasure, time, kind, subject, records, ids, signature) VALUES (?, ?, ?, ?, ?, ?, ?)').run(erasure, now, kind, subject, found.length, ids, signature);
  const cleared = [...parts.private, ...parts.body].map((name) => `${name} = ${erasedValue(name) === null ? 'NULL' : "''"}`);
  const erase = db.prepare(`UPDATE heimdall_logs SET ${cleared.join(', ')}, salt = NULL, erasure = ? WHERE id = ?`);
  for (const { id } of found) erase.run(erasure, id);
  return found.length;
}

/** The entries of a forwarded chain, each between two commas. */
const hops = "',' || replace(replace(replace(forwarded_for, ' ', ''), '[', ''), ']', '') || ','";

/** The columns a value may stand in. An address in somebody else's forwarded chain is found too. */
function matching({ kind, value }: Forgetting, secrets: Secrets): Match {
  switch (kind) {
    case 'address':
      return { where: `real_ip = ? OR (forwarded_for <> '' AND (instr(${hops}, ',' || ? || ',') > 0 OR instr(${hops}, ',' || ? || ':') > 0))`, values: [value, value, value] };
    case 'device':
      return { where: 'device_fingerprint = ?', values: [value.toLowerCase()] };
    case 'key': {
      const ids = identitiesOf(value, secrets);
      return { where: `key_id = ? OR token_id IN (${ids.map(() => '?').join(', ')})`, values: [value, ...ids] };
    }
  }
}

/** An identity stands for itself; a token is known by what each secret makes of it. */
function identitiesOf(value: string, secrets: Secrets): string[] {
  const bare = value.replace(/^bearer +/i, '');
  return [value.toLowerCase(), ...secrets.map((secret) => tokenIdentifier(secret)(bare).id)];
}

/** Requests in hand at a crash that are not recorded yet. */
function forgetIntents(db: DatabaseSync, { kind, value }: Forgetting, secrets: Secrets): void {
  const of = { address: ['real_ip'], device: ['device_fingerprint'], key: ['key_id', 'token_id'] }[kind];
  const values = kind === 'key' ? [value, ...identitiesOf(value, secrets)] : [kind === 'device' ? value.toLowerCase() : value];
  for (const name of of) for (const each of values) db.prepare(`DELETE FROM heimdall_intents WHERE draft ->> '$.${name}' = ?`).run(each);
}

import type { Ban } from '../../types/registry.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import type { Contents, StoredKey } from './contents.ts';

/** Logs the differences between two readings of the store as events, without secrets. */
export function logChanges(log: Logger, before: Contents, after: Contents): void {
  for (const [name, key] of after.keys) logKeyChange(log, before.keys.get(name), key);
  for (const name of before.keys.keys()) if (!after.keys.has(name)) log.info({ key: name }, 'key.revoked');
  for (const [id, ban] of after.bans) if (!same(before.bans.get(id), ban)) log.info(banFields(ban), 'ban.added');
  for (const [id, ban] of before.bans) if (!after.bans.has(id)) log.info(banFields(ban), 'ban.removed');
}

/** The fields of a ban in the event log. */
export function banFields({ id, kind, value, reason, expires }: Ban): object {
  return { ban: id, kind, value, reason, expires: moment(expires) };
}

const moment = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

function logKeyChange(log: Logger, before: StoredKey | undefined, after: StoredKey): void {
  const key = after.name;
  // Removed and created again between two readings.
  if (before !== undefined && before.created !== after.created) log.info({ key }, 'key.revoked');
  if (before?.created !== after.created) return log.info({ key, expires: moment(after.expires) }, 'key.created');
  if (before.digest !== after.digest) log.info({ key, previousUntil: moment(after.previous?.until ?? null) }, 'key.rotated');
  if (after.disabled && !before.disabled) log.info({ key }, 'key.disabled');
  if (before.disabled && !after.disabled) log.info({ key }, 'key.enabled');
  if (before.expires !== after.expires) log.info({ key, expires: moment(after.expires) }, 'key.expiry_changed');
}

function same(before: Ban | undefined, after: Ban): boolean {
  return before?.created === after.created && before.expires === after.expires && before.reason === after.reason;
}

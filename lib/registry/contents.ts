import { isDeepStrictEqual } from 'node:util';
import type { Finding } from '../../types/finding.d.ts';
import type { Ban, OwnLimits } from '../../types/registry.d.ts';
import { networkText } from '../identity/identity.ts';

/** A gateway key as it is stored: its digests, and its upstream credential encrypted. Times are Unix milliseconds. */
export interface StoredKey extends OwnLimits {
  readonly name: string;
  /** Hex SHA-256 of the key. */
  readonly digest: string;
  /** The key before the last rotation, while it is still valid. */
  readonly previous: { readonly digest: string; readonly until: number } | null;
  readonly created: number;
  readonly expires: number | null;
  readonly disabled: boolean;
  readonly models: readonly string[];
  readonly cidrs: readonly string[];
  /** Encrypted by {@link CredentialVault}. */
  readonly credential: string | null;
  /** A honey key: it grants nothing, and its use raises a finding. Absent for any other key. */
  readonly honey?: Honey;
}

/** How a honey key is recognised. */
export interface Honey {
  /** Its identity as a token. */
  readonly id: string;
  /** Hex SHA-256 of the key without `sk-`. */
  readonly bare: string;
}

/** The contents of a store. */
export interface Contents {
  /** By name. */
  readonly keys: ReadonlyMap<string, StoredKey>;
  /** By id. */
  readonly bans: ReadonlyMap<string, Ban>;
  /** By id. */
  readonly findings: ReadonlyMap<string, Finding>;
  /** Number of unreadable entries, which are ignored. */
  readonly damaged: number;
}

/** The entries to write; null removes an entry. */
export interface Change {
  readonly keys?: readonly (readonly [name: string, key: StoredKey | null])[];
  readonly bans?: readonly (readonly [id: string, ban: Ban | null])[];
  readonly findings?: readonly (readonly [id: string, finding: Finding | null])[];
}

/** An entry about a token that was accepted here: the name of one of its digests with its identity, or its identity with all those names. */
export type SeenName = readonly [name: string, value: string];

/** When seen tokens were accepted, and which are old enough to be dropped, Unix milliseconds. */
export interface SeenTimes {
  readonly now: number;
  readonly oldest: number;
}

/** Entries about seen tokens that are stored, or asked for, at a stretch. */
const atOnce = 1000;

/** Entries in parts of a size that holds nothing else up. */
export function* chunks<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += atOnce) yield all.slice(at, at + atOnce);
}

/** Most entries about seen tokens; the oldest are dropped. A token has three or four. */
export const mostSeen = 400_000;

/** A store of keys and bans, shared by all instances. */
export interface Store {
  /** The store needs a connection, which takes a moment. */
  readonly connects: boolean;
  /**
   * @returns the contents, the same object as before while nothing has changed; null when there are none.
   * @throws when the store cannot be read.
   */
  read(): Promise<Contents | null>;
  /**
   * Writes the changes that `edit` returns for the present contents, in one transaction.
   * @param isDurable false for a change that may be lost with the power, default true: a file does not wait for the disk then.
   * @returns the contents after the change.
   * @throws what `edit` throws, or when the store cannot be written.
   */
  change(edit: (contents: Contents) => Change, isDurable?: boolean): Promise<Contents>;
  /** Keeps the names of tokens that were accepted, and drops old ones. They are no part of the contents. */
  remember(names: readonly SeenName[], times: SeenTimes): Promise<void>;
  /** The values of those of the names that are known. */
  recall(names: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Drops a token with all its names. */
  forgetToken(id: string): Promise<void>;
  close(): Promise<void> | void;
}

/** Stored entries: name and JSON text. */
export type Rows = readonly (readonly [name: string, value: string])[];

export const emptyContents: Contents = { keys: new Map(), bans: new Map(), findings: new Map(), damaged: 0 };

/** Parses the entries of a store. An invalid entry is left out and counted. */
export function parseContents(keyRows: Rows, banRows: Rows, findingRows: Rows): Contents {
  const keys = entries(keyRows, isKey, ({ created }) => created);
  const bans = entries(banRows, isBan, ({ created }) => created);
  const findings = entries(findingRows, isFinding, ({ since }) => since);
  return { keys, bans, findings, damaged: keyRows.length + banRows.length + findingRows.length - keys.size - bans.size - findings.size };
}

/**
 * The contents after a change. What did not change keeps its map, and its entries: to read five thousand keys and findings again
 * after every change would take the main thread for a tenth of a second.
 */
export function changedContents({ keys, bans, findings, damaged }: Contents, change: Change): Contents {
  return { keys: edited(keys, change.keys, isKey, ({ created }) => created), bans: edited(bans, change.bans, isBan, ({ created }) => created), findings: edited(findings, change.findings, isFinding, ({ since }) => since), damaged };
}

/** The change that makes one contents from another. */
export function changeBetween(before: Contents, after: Contents): Change {
  return { keys: differences(before.keys, after.keys), bans: differences(before.bans, after.bans), findings: differences(before.findings, after.findings) };
}

function differences<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): (readonly [name: string, value: T | null])[] {
  const found: (readonly [string, T | null])[] = [];
  if (before === after) return found;
  for (const [name, value] of after) if (!isDeepStrictEqual(before.get(name), value)) found.push([name, value]);
  for (const name of before.keys()) if (!after.has(name)) found.push([name, null]);
  return found;
}

/** The entries are read as they are written. */
function edited<T extends object>(before: ReadonlyMap<string, T>, edits: readonly (readonly [name: string, value: T | null])[] = [], fits: (value: Partial<T>) => boolean, timeOf: (value: T) => number): ReadonlyMap<string, T> {
  if (edits.length === 0) return before;
  const after = new Map(before);
  // Of two edits of an entry the last one counts, as it does in a store.
  const last = new Map(edits);
  const written = entries([...last].flatMap(([name, value]) => (value === null ? [] : [[name, JSON.stringify(value)] as const])), fits, timeOf);
  for (const name of last.keys()) if (!written.has(name)) after.delete(name);
  for (const [name, value] of written) after.set(name, value);
  return inOrder(after, timeOf);
}

/** The oldest entry first, since Redis keeps no order. */
function entries<T extends object>(rows: Rows, fits: (value: Partial<T>) => boolean, timeOf: (value: T) => number): Map<string, T> {
  const found: [string, T][] = [];
  for (const [name, text] of rows) {
    const value = parse(text) as Partial<T> | null;
    if (typeof value === 'object' && value !== null && fits(value)) found.push([name, value as T]);
  }
  return new Map(found.sort(byTime(timeOf)));
}

const byTime = <T>(timeOf: (value: T) => number) => ([a, one]: readonly [string, T], [b, other]: readonly [string, T]): number => timeOf(one) - timeOf(other) || (a < b ? -1 : 1);

/** Entries of which a few are new, at the end. */
function inOrder<T>(all: Map<string, T>, timeOf: (value: T) => number): Map<string, T> {
  const compare = byTime(timeOf);
  let last: [string, T] | null = null;
  for (const entry of all) {
    if (last !== null && compare(last, entry) > 0) return new Map([...all].sort(compare));
    last = entry;
  }
  return all;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const isTime = (value: unknown): boolean => value === null || typeof value === 'number';

/** SECURITY: fields whose absence would widen the rights of a key are required. */
function isKey(key: Partial<StoredKey>): boolean {
  const texts = typeof key.name === 'string' && /^[0-9a-f]{64}$/.test(String(key.digest));
  const bounds = Array.isArray(key.models) && Array.isArray(key.cidrs) && isTime(key.expires) && typeof key.disabled === 'boolean';
  const limits = [key.requests, key.tokens, key.budget].every((limit) => typeof limit === 'object') && isTime(key.concurrency);
  if (key.honey !== undefined && (typeof key.honey !== 'object' || typeof key.honey?.id !== 'string' || typeof key.honey.bare !== 'string')) return false;
  return texts && bounds && limits && typeof key.created === 'number' && typeof key.previous === 'object' && (key.credential === null || typeof key.credential === 'string');
}

function isBan(ban: Partial<Ban>): boolean {
  if (typeof ban.id !== 'string' || typeof ban.value !== 'string' || typeof ban.reason !== 'string' || typeof ban.created !== 'number' || !isTime(ban.expires)) return false;
  return ban.kind === 'address' ? networkText(ban.value) !== null : ban.kind === 'key' || ban.kind === 'token';
}

function isFinding({ id, rule, caller, score, since, last, state, action, expires, evidence }: Partial<Finding>): boolean {
  const texts = typeof id === 'string' && typeof rule === 'string' && typeof state === 'string' && typeof action === 'string' && typeof caller?.id === 'string';
  const numbers = typeof score === 'number' && typeof since === 'number' && typeof last === 'number' && isTime(expires);
  return texts && numbers && Array.isArray(evidence?.records) && (caller.kind !== 'network' || networkText(caller.id) !== null);
}

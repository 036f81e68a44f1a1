import type { Subject } from '../../types/detector.d.ts';
import { invalid, type KeyOwner } from '../registry/registry.ts';
import type { Findings } from './findings.ts';

/** Most keys of one report. */
const mostKeys = 10_000;

/** The registry, as far as it knows the caller of a key. */
export interface KeyOwners {
  ownersOf(keys: readonly string[]): Promise<readonly KeyOwner[]>;
}

/** What a report of leaked keys came to. */
export interface LeakedAnswer {
  /** Number of keys in the report. */
  readonly read: number;
  /** The callers whose keys are in it. */
  readonly keys: readonly Subject[];
}

/**
 * Finds which keys of a report are known here, and freezes their callers on every instance.
 * @param lines a key each: as sent, with or without `sk-`, or its hex SHA-256. Space around it is left out, empty lines are not counted.
 * @throws HeimdallError for more than 10 000 keys.
 */
export async function freezeLeaked(lines: readonly string[], registry: KeyOwners, findings: Findings): Promise<LeakedAnswer> {
  const keys = lines.map((line) => line.trim()).filter((line) => line !== '');
  if (keys.length > mostKeys) throw invalid('keys', `at most ${mostKeys} keys`, String(keys.length));
  const owners = await registry.ownersOf(keys);
  await findings.reportLeaked(owners);
  return { read: keys.length, keys: [...new Map(owners.map(({ caller }) => [`${caller.kind} ${caller.id}`, caller])).values()] };
}

import type { Finding } from '../../types/finding.d.ts';
import type { AdminServices } from './call.ts';

/** A finding, and the instance that can act on it; null: this one. */
export interface Found {
  readonly finding: Finding;
  readonly instance: string | null;
}

/** All findings, the newest first, those of other instances among them where PostgreSQL is read. */
export async function foundOf({ findings, records }: Pick<AdminServices, 'findings' | 'records'>): Promise<readonly Found[]> {
  const own = findings.list().map((finding): Found => ({ finding, instance: null }));
  const known = new Set(own.map(({ finding: { id } }) => id));
  const others = (await records.findings()).filter(({ finding: { id } }) => !known.has(id));
  return others.length === 0 ? own : [...own, ...others].sort((one, other) => other.finding.last - one.finding.last);
}

/** A finding of another instance; null where it is one of this instance, or unknown. */
export async function elsewhere(id: string, { findings, records }: Pick<AdminServices, 'findings' | 'records'>): Promise<Found | null> {
  if (records.instances === 'this' || findings.list().some((finding) => finding.id === id)) return null;
  return (await records.findings()).find(({ finding }) => finding.id === id) ?? null;
}

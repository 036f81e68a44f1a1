import type { Subject } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import { HeimdallError } from '../errors.ts';
import type { AdminServices } from './call.ts';

/** A finding, and the instance that can act on it; null: this one. */
export interface Found {
  readonly finding: Finding;
  readonly instance: string | null;
}

/** What was read of the records, or why it could not be read. */
export type Read<T> = { readonly value: T; readonly problem: null } | { readonly value: null; readonly problem: string };

type Services = Pick<AdminServices, 'findings' | 'records'>;

/** Waits for what is read of the records. Where they cannot be read at the moment, the instance answers with what it has by itself. */
export async function readable<T>(reading: Promise<T>): Promise<Read<T>> {
  try {
    return { value: await reading, problem: null };
  } catch (error) {
    if (error instanceof HeimdallError && error.code === 'records_unavailable') return { value: null, problem: error.message };
    throw error;
  }
}

/** Whether what is read of the records is in an answer, as JSON. */
export const recordsJson = ({ problem }: Pick<Read<unknown>, 'problem'>): object => ({ available: problem === null, problem });

/**
 * All findings, or those about one caller, the newest first, those of other instances among them where PostgreSQL is read.
 * `problem` is the reason why those of others are not among them.
 */
export async function foundOf({ findings, records }: Services, about?: Subject): Promise<{ readonly found: readonly Found[]; readonly problem: string | null }> {
  const { value, problem } = await readable(records.findings(about));
  const own = findings.list().map((finding): Found => ({ finding, instance: null }));
  const wanted = about === undefined ? own : own.filter(({ finding: { caller } }) => caller.kind === about.kind && caller.id === about.id);
  const known = new Set(own.map(({ finding: { id } }) => id));
  const others = (value ?? []).filter(({ finding: { id } }) => !known.has(id));
  return { found: others.length === 0 ? wanted : [...wanted, ...others].sort((one, other) => other.finding.last - one.finding.last), problem };
}

/** A finding by its id, of this instance or of another one. @throws HeimdallError for one that is unknown. */
export async function findingOf(id: string, services: Services): Promise<Found> {
  return (await elsewhere(id, services)) ?? { finding: services.findings.get(id), instance: null };
}

/** @throws HeimdallError for a finding of another instance, which alone can act on it. */
export async function onlyOwn(id: string, services: Services): Promise<void> {
  const other = await elsewhere(id, services);
  if (other !== null) throw new HeimdallError('conflict', { message: `The instance ${other.instance} has found this, and what is done about it holds there: act on that instance, or let all share rate_limit.redis_url.` });
}

/** A finding of another instance; null where it is one of this instance, or unknown. */
async function elsewhere(id: string, { findings, records }: Services): Promise<Found | null> {
  return findings.has(id) ? null : records.finding(id);
}

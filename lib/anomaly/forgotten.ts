import type { Forgetting } from '../../types/journal.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import type { KeyRegistry } from '../registry/registry.ts';
import { networksOf } from './signals.ts';

/** What is to be forgotten, with the names under which it is known. */
export interface Forgotten extends Forgetting {
  /** The name of a key with the identities of a token, an address, or a device. */
  readonly ids: readonly string[];
  /** Those of the request ids whose records were erased. */
  readonly erasedAmong: (requestIds: readonly string[]) => ReadonlySet<string>;
}

/**
 * Erases findings about a caller or the network of an address, those about a body that only it sent, and what is noted of a token. From
 * other findings it takes what leads to erased records; their counts stay.
 * @returns the number of findings erased.
 */
export async function forgetFindings(registry: KeyRegistry, what: Forgotten): Promise<number> {
  if (what.kind === 'key') for (const id of what.ids) await registry.forgetToken(id);
  let erased = 0;
  if (registry.findings().size === 0) return erased;
  await registry.changeFindings((all) => {
    const edits = [...all.values()].flatMap((finding) => {
      const left = leftOf(finding, what);
      return left === finding ? [] : [[finding.id, left] as const];
    });
    erased = edits.filter(([, left]) => left === null).length;
    return edits;
  });
  return erased;
}

/** A finding without what is forgotten: the same where nothing is, null where nothing is left. */
function leftOf(finding: Finding, { kind, value, ids, erasedAmong }: Forgotten): Finding | null {
  const { caller, evidence } = finding;
  const network = kind === 'address' ? networksOf(value).network : null;
  if (kind === 'key' ? (caller.kind === 'key' || caller.kind === 'token') && ids.includes(caller.id) : caller.kind === 'network' && caller.id === network) return null;
  const erased = erasedAmong(evidence.records);
  if (caller.kind === 'content' && erased.size > 0 && erased.size === evidence.records.length) return null;
  const isThere = evidence.places?.some((place) => place.network === network) ?? false;
  if (erased.size === 0 && !isThere) return finding;
  const places = evidence.places?.filter((place) => place.network !== network);
  return { ...finding, evidence: { ...evidence, records: evidence.records.filter((id) => !erased.has(id)), ...(places !== undefined && { places }) } };
}

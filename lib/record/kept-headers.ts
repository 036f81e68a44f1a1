import type { Lookup } from './kept-body.ts';
import { digestLength, type LongText } from './texts.ts';

/**
 * Headers as a record has them: a JSON object, or the digest of the text that holds those which requests have in common, and behind
 * it a JSON object of the record's own.
 */
export const namedHeaders = ({ digest }: LongText, own: string | null): string => digest + (own ?? '');

/** The digest that the headers of a record name. */
export const headerDigestsIn = (kept: string | null): string[] => (kept === null || kept === '' || kept.startsWith('{') ? [] : [kept.slice(0, digestLength)]);

/** The headers of a record as one JSON object, its own first. */
export function wholeHeaders(kept: string | null, lookup: Lookup): string | null {
  const [digest] = headerDigestsIn(kept);
  if (kept === null || digest === undefined) return kept;
  return joinedHeaders(kept.slice(digest.length) || null, lookup(digest)?.content ?? null);
}

/** Two JSON objects as one. */
export function joinedHeaders(own: string | null, others: string | null): string | null {
  if (own === null || others === null) return own ?? others;
  return others === '{}' ? own : `${own.slice(0, -1)},${others.slice(1)}`;
}

import { after } from 'node:test';
import type { TestLike } from './client.ts';

/** What several tests of a file use one after the other: begun by the first that asks, ended after the last, in reverse order. */
export function shared<T>(start: (scope: TestLike) => Promise<T>): () => Promise<T> {
  const ends: (() => unknown)[] = [];
  let begun: Promise<T> | null = null;
  after(async () => {
    for (const end of ends.toReversed()) await end();
  });
  return () => (begun ??= start({ after: (end) => void ends.push(end) }));
}

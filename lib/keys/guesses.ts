import { LRUCache } from 'lru-cache';
import type { Core, Guesses } from '../request/request.ts';

/** Networks whose guesses are counted at one place; beyond, the least recent are forgotten. By size: a `max` takes its memory at the start. */
const networksCounted = { maxSize: 10_000, sizeCalculation: () => 1 };

/** The guesses at one place: all that protects it counts in the same, after a reload too. @param place a name of the gate's own. */
export function guessesAt({ guesses }: Core, place: string): Guesses {
  let found = guesses.get(place);
  if (found === undefined) guesses.set(place, (found = new LRUCache(networksCounted)));
  return found;
}

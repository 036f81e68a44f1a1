import { LRUCache } from 'lru-cache';
import type { Crew } from '../platform/platform.ts';
import type { Context } from '../request/request.ts';
import type { Target } from './targets.ts';

/** Answers whose target is remembered; the least recently used is forgotten first. A `max` would allocate its memory at the start. */
const remembered = { maxSize: 10_000, sizeCalculation: () => 1 };
/** Answers by their ids, and the target that gave each. */
type Conversations = readonly (readonly [id: string, target: string])[];
/** An answer names its id within so many bytes. */
const beginning = 1024;

const previous = Buffer.from('"previous_response_id"');

/** The route whose answers a later request can continue. */
export const conversations = '/v1/responses';

/**
 * The Responses API stores a conversation at one target: a request with `previous_response_id` is sent to the target that gave
 * that response, and to no other.
 */
export class Affinity {
  readonly #targets = new LRUCache<string, string>(remembered);
  readonly #crew: Crew | null;

  /** @param crew the threads of a gate with several workers: a conversation goes on in any of them. */
  constructor(crew: Crew | null = null) {
    this.#crew = crew;
    crew?.subscribe('conversation', {
      hear: (known) => {
        for (const [id, target] of known as Conversations) this.#targets.set(id, target);
      },
      known: () => [[...this.#targets.entries()].reverse() satisfies Conversations],
    });
  }

  /** @param bytes the beginning of an answer of {@link conversations} that is passed on. */
  remember(context: Context, target: Target, bytes: Buffer): void {
    const id = context.route.api === conversations ? /"id"\s*:\s*"(resp_[\w-]+)"/.exec(bytes.toString('latin1', 0, beginning))?.[1] : undefined;
    if (id === undefined) return;
    this.#targets.set(id, target.name);
    if (this.#crew !== null && context.core.config.llm.backupProviders.length > 0) this.#crew.publish('conversation', [[id, target.name]] satisfies Conversations);
  }

  /** The targets that a request may go to: all, or the one that stores its conversation; the first when none is known to store it. */
  narrow(context: Context, targets: readonly Target[]): readonly Target[] {
    const id = previousOf(context);
    if (id === null) return targets;
    const home = this.#targets.get(id);
    const known = targets.filter(({ name }) => name === home);
    return known.length === 1 ? known : targets.slice(0, 1);
  }
}

function previousOf({ route, body }: Context): string | null {
  const bytes = route.api === conversations && body !== null ? body.whole() : null;
  if (bytes === null || !bytes.includes(previous)) return null;
  return /(?<!\\)"previous_response_id"\s*:\s*"([^"\\]+)"/.exec(bytes.toString('latin1'))?.[1] ?? null;
}

import { LRUCache } from 'lru-cache';
import type { Context } from '../request/request.ts';
import type { Target } from './targets.ts';

/** Answers whose target is remembered, the least recently used forgotten first. By size: a `max` takes its memory at the start. */
const remembered = { maxSize: 10_000, sizeCalculation: () => 1 };
/** The id stands at the beginning of an answer. */
const beginning = 1024;

const previous = Buffer.from('"previous_response_id"');

/**
 * A conversation of the Responses API lives where it began: a request with `previous_response_id` goes to the target that
 * gave that response, and to nobody else.
 */
export class Affinity {
  readonly #targets = new LRUCache<string, string>(remembered);

  /** @param bytes the beginning of an answer that is being passed on. */
  remember(context: Context, target: Target, bytes: Buffer): void {
    if (context.route.api !== '/v1/responses') return;
    const id = /"id"\s*:\s*"(resp_[\w-]+)"/.exec(bytes.toString('latin1', 0, beginning))?.[1];
    if (id !== undefined) this.#targets.set(id, target.name);
  }

  /** The targets a request may go to: all, or the one its conversation lives at; the first when nobody knows. */
  narrow(context: Context, targets: readonly Target[]): readonly Target[] {
    const id = previousOf(context);
    if (id === null) return targets;
    const home = this.#targets.get(id);
    const known = targets.filter(({ name }) => name === home);
    return known.length === 1 ? known : targets.slice(0, 1);
  }
}

function previousOf({ route, body }: Context): string | null {
  if (route.api !== '/v1/responses' || body === null || !body.includes(previous)) return null;
  return /(?<!\\)"previous_response_id"\s*:\s*"([^"\\]+)"/.exec(body.toString('latin1'))?.[1] ?? null;
}

import { LRUCache } from 'lru-cache';
import type { Context } from '../request/request.ts';
import type { Rule } from './charge.ts';

/** Callers remembered, by size: a `max` takes its memory at the start. A name comes within seconds, or not at all. */
const kept = { maxSize: 10_000, sizeCalculation: () => 1 };
const billion = 1_000_000_000;

/** What a caller has used that would have counted for a policy. */
interface Use {
  requests: number;
  tokens: number;
  nanoDollars: number;
}

/** What callers use before NewAPI's names for them are known, by the policies that may apply to them. */
export class NamelessUse {
  readonly #callers = new LRUCache<string, Map<string, Use>>(kept);

  /** Counts a request that is over. @param policies their counters. */
  add({ key, token, outcome, sentAt, usage, cost }: Context, policies: readonly string[]): void {
    const caller = key === null ? (token === null ? null : `token ${token.id}`) : `key ${key}`;
    if (caller === null || (outcome === 'refused' && sentAt === null)) return;
    let uses = this.#callers.get(caller);
    if (uses === undefined) this.#callers.set(caller, (uses = new Map()));
    for (const at of policies) {
      const use = uses.get(at) ?? { requests: 0, tokens: 0, nanoDollars: 0 };
      use.requests++;
      use.tokens += usage === null ? 0 : usage.prompt + usage.completion;
      use.nanoDollars += Math.ceil((cost ?? 0) * billion);
      uses.set(at, use);
    }
  }

  /** What a caller (`key NAME`, `token ID`) has used, by the counters of policies; it is forgotten here. */
  take(caller: string): readonly (readonly [policy: string, amountOf: (rule: Rule) => number])[] {
    const uses = this.#callers.get(caller) ?? new Map<string, Use>();
    this.#callers.delete(caller);
    return [...uses].map(([at, { requests, tokens, nanoDollars }]) => [at, ({ kind }) => ({ requests, tokens, budget: nanoDollars, concurrency: 0 })[kind]]);
  }
}

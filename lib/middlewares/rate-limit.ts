import { ipKeyGenerator, MemoryStore, type Options } from 'express-rate-limit';
import { LRUCache } from 'lru-cache';
import type { Context, Core } from '../context.ts';
import { HeimdallError } from '../errors.ts';
import { AddressSet } from '../identity/address.ts';
import { contextOf, type Deps, type Middleware } from '../part.ts';

/** Providers hand out IPv6 by /56 or shorter; single addresses would be free to rotate. */
const ipv6Prefix = 56;

/** Blocked addresses remembered; one that is forgotten is blocked again by its next failure. */
const blockedRemembered = 10_000;

/**
 * Limits an address. By default only refused credentials count, so that an office behind one address keeps working, and
 * callers that have proved their credential pass even then. express-rate-limit's store counts; requests that do not
 * count never touch it.
 */
export const rateLimit: Middleware = {
  name: 'rate_limit',
  create(core, deps) {
    const { limit, count } = core.config.rateLimit.address;
    if (limit === 0) return {};
    const counter = new Counter(core);
    return {
      handle: function rateLimitHandler(req, _res, next) {
        const context = contextOf(req);
        if (count === 'all' && counts(context)) return void counter.count(context).then(() => pass(context, counter, deps, next), next);
        pass(context, counter, deps, next);
      },
      finish: {
        settle: (context) => {
          if (count === 'failed' && context.status === 401) void counter.count(context);
        },
      },
      close: () => counter.close(),
    };
  },
};

function pass(context: Context, counter: Counter, deps: Deps, next: (error?: unknown) => void): void {
  const until = counter.blockedUntil(context);
  if (until === null || free(context) || (counter.failuresOnly && context.token !== null && deps.verified.has(context.token.id))) return next();
  const retryAfter = Math.max(1, Math.ceil((until - context.time) / 1000));
  if (!context.refuse('rate_limit', new HeimdallError('too_many_failures', { retryAfter }))) next();
}

/** What a page needs to load, what a payment provider sends and what a waiting client polls is never limited by address. */
function free(context: Context): boolean {
  // The gate's own endpoint is known as such only further below; here it looks like a page.
  if (context.path === context.core.config.endpoints.metrics) return false;
  const { class: kind } = context.route;
  return kind === 'ui' || kind === 'webhook' || (kind === 'task' && context.req.method === 'GET');
}

const counts = (context: Context): boolean => !free(context);

class Counter {
  readonly failuresOnly: boolean;
  readonly #limit: number;
  readonly #window: number;
  /** Opened by the first failure: a gate nobody attacks runs no timer. */
  #store: MemoryStore | null = null;
  readonly #exempt: AddressSet;
  /** Addresses over the limit, with the end of their window: all that a request in good standing looks at. */
  readonly #blocked = new LRUCache<string, number>({ max: blockedRemembered });

  constructor({ config }: Core) {
    const { limit, window, count } = config.rateLimit.address;
    this.failuresOnly = count === 'failed';
    this.#limit = limit;
    this.#exempt = new AddressSet(config.rateLimit.exempt.filter((entry) => /^[0-9a-f.:/]+$/i.test(entry) && /[.:]/.test(entry)));
    this.#window = window;
  }

  async count({ ip }: Context): Promise<void> {
    if (this.#exempt.has(ip)) return;
    const key = ipKeyGenerator(ip, ipv6Prefix);
    const { totalHits, resetTime } = await this.#open().increment(key);
    const over = this.failuresOnly ? totalHits >= this.#limit : totalHits > this.#limit;
    if (over && resetTime) this.#blocked.set(key, resetTime.getTime());
  }

  /** Unix milliseconds, or null for an address that may go on. */
  blockedUntil({ ip, time }: Context): number | null {
    if (this.#blocked.size === 0) return null;
    const key = ipKeyGenerator(ip, ipv6Prefix);
    const until = this.#blocked.get(key);
    if (until === undefined) return null;
    if (until > time) return until;
    this.#blocked.delete(key);
    return null;
  }

  #open(): MemoryStore {
    if (this.#store === null) {
      this.#store = new MemoryStore();
      this.#store.init({ windowMs: this.#window } as Options);
    }
    return this.#store;
  }

  close(): void {
    this.#store?.shutdown();
  }
}

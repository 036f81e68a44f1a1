import { LRUCache } from 'lru-cache';
import { isNetwork } from '../config/config.ts';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { AddressSet, networkOf } from '../identity/identity.ts';
import { AddressCounts } from '../limits/limits.ts';
import { contextOf, type Deps, type Middleware } from './middleware.ts';

/** Blocked addresses remembered; one that is forgotten is blocked again by its next failure. By size: a `max` takes its memory at the start. */
const blockedRemembered = { maxSize: 10_000, sizeCalculation: () => 1 };

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
    const counter = new Counter(core, deps);
    return {
      handle: function rateLimitHandler(req, _res, next) {
        const context = contextOf(req);
        if (count !== 'all' || !counts(context)) return pass(context, counter, deps, next);
        counter.count(context).then((known) => context.finished || (known ? pass(context, counter, deps, next) : unknown(context, next)), next);
      },
      finish: {
        settle: (context) => {
          if (count === 'failed' && context.status === 401 && !spared(context)) void counter.countFailure(context);
        },
      },
      close: () => counter.close(),
    };
  },
};

function pass(context: Context, counter: Counter, deps: Deps, next: (error?: unknown) => void): void {
  const until = counter.blockedUntil(context);
  if (until === null || spared(context) || free(context) || (counter.failuresOnly && context.token !== null && deps.verified.has(context.token.id))) return next();
  const retryAfter = Math.max(1, Math.ceil((until - context.time) / 1000));
  if (!context.refuse('rate_limit', new HeimdallError('too_many_failures', { retryAfter }))) next();
}

/** Nobody could be asked, and `on_store_error` is `closed`. */
function unknown(context: Context, next: () => void): void {
  if (!context.refuse('rate_limit', new HeimdallError('limits_unavailable', { retryAfter: 1 }))) next();
}

/** What a page needs to load, what a payment provider sends and what a waiting client polls is never limited by address. */
function free(context: Context): boolean {
  // The gate's own endpoint is known as such only further below; here it looks like a page.
  if (context.path === context.core.config.endpoints.metrics) return false;
  const { class: kind } = context.route;
  return kind === 'ui' || kind === 'webhook' || (kind === 'task' && context.req.method === 'GET');
}

const counts = (context: Context): boolean => !free(context) && !spared(context);

/** An address that stands for everybody cannot be held to one caller's share; guessing of passwords stays limited. */
const spared = ({ collapsed, path, req }: Context): boolean => collapsed && !(path === '/api/user/login' && req.method === 'POST');

class Counter {
  readonly failuresOnly: boolean;
  readonly #counts: AddressCounts;
  readonly #exempt: AddressSet;
  /** Addresses over the limit, with the end of their window: all that a request in good standing looks at. */
  readonly #blocked = new LRUCache<string, number>(blockedRemembered);

  constructor(core: Core, { redis }: Deps) {
    const { address, exempt } = core.config.rateLimit;
    this.failuresOnly = address.count === 'failed';
    this.#counts = new AddressCounts(core, redis);
    this.#exempt = new AddressSet(exempt.filter(isNetwork));
  }

  /** @returns false when nobody could be asked and nothing may pass. */
  async count({ ip }: Context): Promise<boolean> {
    if (this.#exempt.has(ip)) return true;
    const key = networkOf(ip);
    const counted = await this.#counts.hit(key);
    if (typeof counted === 'string') return counted === 'open';
    if (counted.hits > counted.limit) this.#blocked.set(key, counted.until);
    return true;
  }

  /** The last failure the limit allows blocks what comes after it. */
  async countFailure({ ip }: Context): Promise<void> {
    if (this.#exempt.has(ip)) return;
    const key = networkOf(ip);
    const { hits, limit, until } = await this.#counts.hitSomewhere(key);
    if (hits >= limit) this.#blocked.set(key, until);
  }

  /** Unix milliseconds, or null for an address that may go on. */
  blockedUntil({ ip, time }: Context): number | null {
    if (this.#blocked.size === 0) return null;
    const key = networkOf(ip);
    const until = this.#blocked.get(key);
    if (until === undefined) return null;
    if (until > time) return until;
    this.#blocked.delete(key);
    return null;
  }

  close(): void {
    this.#counts.close();
  }
}

import { MemoryStore, type IncrementResponse, type Options } from 'express-rate-limit';
import type { RedisReply, RedisStore } from 'rate-limit-redis';
import type { RateLimitConfig } from '../../types/config.d.ts';
import type { Core } from '../request/request.ts';
import { describe, type Redis } from '../platform/platform.ts';

/** The count of an address, the current request included. */
export interface Counted {
  readonly hits: number;
  /** Its limit; this instance's share of it where the count is this instance's own. */
  readonly limit: number;
  /** End of its window, Unix milliseconds. */
  readonly until: number;
}

/** Redis could not be reached: the address passes uncounted, or nothing may pass. */
export type Uncounted = 'open' | 'closed';

/** After a failure Redis is not asked again for so long, milliseconds, since a request waits for its answer. */
const pause = 1000;

/**
 * Counts addresses in express-rate-limit's own stores: in memory, or with `rate_limit.store: redis` in Redis by
 * rate-limit-redis. While Redis cannot be reached, `rate_limit.on_store_error` decides. The first count opens the store, so
 * that a gate without failures runs no timer.
 */
export class AddressCounts {
  readonly #core: Core;
  readonly #redis: Redis | null;
  readonly #limit: number;
  readonly #share: number;
  readonly #window: number;
  readonly #onError: RateLimitConfig['onStoreError'];
  #memory: MemoryStore | null = null;
  #shared: Promise<RedisStore> | null = null;
  #downUntil = 0;

  /** @param redis null where counters are this instance's own. */
  constructor(core: Core, redis: Redis | null) {
    const { address, instances, store, onStoreError } = core.config.rateLimit;
    this.#core = core;
    this.#redis = store === 'redis' ? redis : null;
    this.#limit = address.limit;
    this.#share = Math.max(1, Math.floor(address.limit / instances));
    this.#window = address.window;
    this.#onError = onStoreError;
  }

  async hit(key: string): Promise<Counted | Uncounted> {
    if (this.#redis === null) return this.#alone(key);
    const now = this.#core.clock.now();
    if (now >= this.#downUntil) {
      // Only one request tries.
      if (this.#downUntil > 0) this.#downUntil = now + pause;
      try {
        return await this.#together(this.#redis, key);
      } catch (error) {
        this.#lost(error);
      }
    }
    return this.#onError === 'local' ? this.#alone(key) : this.#onError;
  }

  /** Counts here if Redis cannot be reached: for failures, which are known only when the request is over. */
  async hitSomewhere(key: string): Promise<Counted> {
    const found = await this.hit(key);
    return typeof found === 'string' ? this.#alone(key) : found;
  }

  close(): void {
    this.#memory?.shutdown();
  }

  #until(): number {
    return this.#core.clock.now() + this.#window;
  }

  async #alone(key: string): Promise<Counted> {
    if (this.#memory === null) {
      this.#memory = new MemoryStore();
      this.#memory.init({ windowMs: this.#window } as Options);
    }
    return counted(await this.#memory.increment(key), this.#share, this.#until());
  }

  async #together(redis: Redis, key: string): Promise<Counted> {
    const counts = await (this.#shared ??= this.#open(redis));
    const found = counted(await counts.increment(key), this.#limit, this.#until());
    if (this.#downUntil > 0) this.#core.log.info({ limit: 'address' }, 'limits.store_up');
    this.#downUntil = 0;
    return found;
  }

  /** A store loads its scripts once; one for which that failed stays broken, so a new one is made. */
  async #open(redis: Redis): Promise<RedisStore> {
    const { RedisStore: Store } = await import('rate-limit-redis').catch((cause: unknown) => {
      throw new Error('rate_limit.store: expected the package rate-limit-redis beside this one. Example: npm install rate-limit-redis', { cause });
    });
    const store = new Store({ prefix: 'heimdall:address:', sendCommand: (...command) => redis.send(...command) as Promise<RedisReply> });
    await store.init({ windowMs: this.#window } as Options);
    return store;
  }

  #lost(error: unknown): void {
    if (this.#downUntil === 0) this.#core.log.error({ limit: 'address', error: describe(error), on_store_error: this.#onError }, 'limits.store_down');
    this.#shared = null;
    this.#downUntil = this.#core.clock.now() + pause;
  }
}

function counted({ totalHits, resetTime }: IncrementResponse, limit: number, until: number): Counted {
  return { hits: totalHits, limit, until: resetTime?.getTime() ?? until };
}

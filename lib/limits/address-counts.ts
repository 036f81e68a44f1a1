import type { IncrementResponse, Options } from 'express-rate-limit';
import type { RedisReply, RedisStore } from 'rate-limit-redis';
import type { RateLimitConfig } from '../../types/config.d.ts';
import type { Core } from '../request/request.ts';
import { describe, type Link, systemClock, type Redis } from '../platform/platform.ts';
import { WindowCounts } from './window-counts.ts';

/** The count of an address, the current request included. */
export interface Counted {
  readonly hits: number;
  /** Its limit; this instance's share of it where the count is this instance's own. */
  readonly limit: number;
  /** End of its window, monotonic milliseconds. */
  readonly until: number;
}

/** Redis could not be reached: the address passes uncounted, or nothing may pass. */
export type Uncounted = 'open' | 'closed';

/** After a failure Redis is not asked again for so long, milliseconds, since a request waits for its answer. */
const pause = 1000;

/**
 * Counts addresses in memory, or with `rate_limit.store: redis` in Redis by rate-limit-redis. While Redis cannot be reached,
 * `rate_limit.on_store_error` decides.
 */
export class AddressCounts {
  readonly #core: Core;
  readonly #redis: Redis | null;
  readonly #limit: number;
  readonly #share: number;
  readonly #window: number;
  readonly #onError: RateLimitConfig['onStoreError'];
  readonly #memory = new WindowCounts();
  #shared: Promise<RedisStore> | null = null;
  #downUntil = 0;
  /** What the workers of a gate ask the main thread, which counts for all. */
  readonly #name: string;
  readonly #main: Link | null;

  /** @param redis null where counters are this instance's own. */
  constructor(core: Core, redis: Redis | null) {
    const { address, instances, store, onStoreError } = core.config.rateLimit;
    this.#core = core;
    this.#redis = store === 'redis' ? redis : null;
    this.#limit = address.limit;
    this.#share = Math.max(1, Math.floor(address.limit / instances));
    this.#window = address.window;
    this.#onError = onStoreError;
    this.#name = `addresses ${address.count} ${address.limit} ${address.window}`;
    this.#main = core.crew?.main ?? null;
  }

  /** Counts for the workers of a gate too, from now on. */
  share(): void {
    const { crew, clock } = this.#core;
    if (crew?.isWorker === false) crew.answer(this.#name, async (key) => {
      const found = await this.hit(key as string);
      return typeof found === 'string' ? found : { ...found, until: found.until - clock.monotonic() };
    });
  }

  async hit(key: string): Promise<Counted | Uncounted> {
    if (this.#main !== null) {
      const found = (await this.#main.ask(this.#name, key)) as Counted | Uncounted;
      return typeof found === 'string' ? found : { ...found, until: found.until + this.#core.clock.monotonic() };
    }
    if (this.#redis === null) return this.#alone(key);
    const now = this.#core.clock.monotonic();
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

  #alone(key: string): Counted {
    return { ...this.#memory.hit(key, this.#core.clock.monotonic(), this.#window), limit: this.#share };
  }

  async #together(redis: Redis, key: string): Promise<Counted> {
    const counts = await (this.#shared ??= this.#open(redis));
    const found = this.#counted(await counts.increment(key));
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

  /** The time left in the window is the store's; its end is told on the calendar of the machine. */
  #counted({ totalHits, resetTime }: IncrementResponse): Counted {
    const left = resetTime === undefined ? this.#window : resetTime.getTime() - systemClock.now();
    return { hits: totalHits, limit: this.#limit, until: this.#core.clock.monotonic() + left };
  }

  #lost(error: unknown): void {
    if (this.#downUntil === 0) this.#core.log.error({ limit: 'address', error: describe(error), on_store_error: this.#onError }, 'limits.store_down');
    this.#shared = null;
    this.#downUntil = this.#core.clock.monotonic() + pause;
  }
}

import type { Timer } from '../../types/clock.d.ts';
import type { RateLimitConfig } from '../../types/config.d.ts';
import type { Core } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import type { MemoryStore } from './memory-store.ts';
import type { RedisStore } from './redis-store.ts';
import type { Store, Taking, Verdict } from './rule.ts';

/** Between two looks at a Redis that is away, milliseconds. */
const lookEvery = 250;

/** A Redis that fails again so soon after it was back is not looked at at once, milliseconds. */
const fresh = 1000;

/** Unix milliseconds. */
interface State {
  readonly kind: 'up' | 'down';
  readonly since: number;
}

/**
 * Counters in Redis, and what `rate_limit.on_store_error` says while it cannot be asked. One failure is enough: from then on
 * no request waits for Redis until it answers again, which is asked four times a second.
 */
export class SharedStore implements Store {
  readonly #core: Core;
  readonly #redis: RedisStore;
  readonly #local: MemoryStore;
  readonly #onError: RateLimitConfig['onStoreError'];
  readonly #failed: () => void;
  #state: State = { kind: 'up', since: 0 };
  #timer: Timer | null = null;
  #closed = false;

  /**
   * @param local decides by this instance's share, for `local`.
   * @param failed is told of every failure.
   */
  constructor(core: Core, redis: RedisStore, local: MemoryStore, failed: () => void) {
    this.#core = core;
    this.#redis = redis;
    this.#local = local;
    this.#onError = core.config.rateLimit.onStoreError;
    this.#failed = failed;
  }

  take(taking: Taking, done: (verdict: Verdict) => void): void {
    if (this.#state.kind === 'down') return this.#alone(taking, done);
    void this.#together(taking, done);
  }

  async #together(taking: Taking, done: (verdict: Verdict) => void): Promise<void> {
    let taken: boolean;
    try {
      taken = await this.#redis.take(taking);
    } catch (error) {
      this.#lost(error);
      return this.#alone(taking, done);
    }
    this.#learn(taking);
    done(taken ? 'taken' : 'refused');
  }

  /** What was taken knows who holds it. What was taken here is told to Redis, should it be back by now. */
  settle(taking: Taking): void {
    const { holder } = taking;
    holder?.settle(taking);
    if (holder === this.#local && this.#state.kind === 'up') this.#handOver().catch((error: unknown) => this.#lost(error));
  }

  start(): void {
    this.#redis.probe().catch((error: unknown) => this.#lost(error));
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    this.#timer = null;
    await this.#redis.close();
    await this.#local.close();
  }

  #alone(taking: Taking, done: (verdict: Verdict) => void): void {
    switch (this.#onError) {
      case 'local':
        return this.#local.take(taking, done);
      case 'open':
        return done('unchecked');
      case 'closed':
        return done('unavailable');
    }
  }

  /** A budget that was used up must not be there again because Redis is not. */
  #learn({ asks }: Taking): void {
    if (this.#onError !== 'local') return;
    for (const { rule, key, used, until } of asks) if (rule.kind === 'budget') this.#local.learn(key, used, until);
  }

  #lost(error: unknown): void {
    this.#failed();
    if (this.#state.kind === 'down' || this.#closed) return;
    const now = this.#core.clock.now();
    const again = now - this.#state.since < fresh;
    this.#state = { kind: 'down', since: now };
    this.#core.log.error({ error: describe(error), on_store_error: this.#onError }, 'limits.store_down');
    if (again) this.#lookLater();
    else void this.#look();
  }

  async #look(): Promise<void> {
    try {
      await this.#redis.probe();
      await this.#handOver();
    } catch {
      if (!this.#closed) this.#lookLater();
      return;
    }
    if (this.#state.kind !== 'down') return;
    const now = this.#core.clock.now();
    this.#core.log.info({ ms: now - this.#state.since }, 'limits.store_up');
    this.#state = { kind: 'up', since: now };
    await this.#redis.recover();
  }

  /** What was spent alone belongs to everybody's sum before anybody asks for it again. */
  async #handOver(): Promise<void> {
    for (const [key, spent, until] of this.#local.handOver()) {
      try {
        await this.#redis.spend(key, spent, until);
      } catch (error) {
        this.#local.takeBack(key, spent, until);
        throw error;
      }
    }
  }

  #lookLater(): void {
    this.#timer = this.#core.clock.setTimeout(() => {
      this.#timer = null;
      void this.#look();
    }, lookEvery);
    this.#timer.unref();
  }
}

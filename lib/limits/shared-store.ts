import type { Timer } from '../../types/clock.d.ts';
import type { RateLimitConfig } from '../../types/config.d.ts';
import type { Core } from '../request/request.ts';
import { describe, inBackground } from '../platform/platform.ts';
import type { MemoryStore } from './memory-store.ts';
import type { RedisStore } from './redis-store.ts';
import type { ChargeSet, Store, Verdict } from './charge.ts';

/** Between two probes of a Redis that is away, milliseconds. */
const probeEvery = 250;

/** A Redis that fails again so soon after it was back is not probed at once, milliseconds. */
const fresh = 1000;

/** Monotonic milliseconds. */
interface State {
  readonly kind: 'up' | 'down';
  readonly since: number;
}

/**
 * Counters in Redis. While Redis cannot be reached, `rate_limit.on_store_error` decides. One failure is enough: from then on
 * no request waits for Redis until it answers a probe, four times a second.
 */
export class SharedStore implements Store {
  readonly #core: Core;
  readonly #redis: RedisStore;
  readonly #local: MemoryStore;
  readonly #onError: RateLimitConfig['onStoreError'];
  readonly #failed: () => void;
  #state: State = { kind: 'up', since: 0 };
  #like: string | undefined;
  #timer: Timer | null = null;
  #closed = false;

  /**
   * @param local decides by this instance's share, for `local`.
   * @param failed is called at every failure.
   */
  constructor(core: Core, redis: RedisStore, local: MemoryStore, failed: () => void) {
    this.#core = core;
    this.#redis = redis;
    redis.failed = (error, like) => this.#lost(error, like);
    this.#local = local;
    this.#onError = core.config.rateLimit.onStoreError;
    this.#failed = failed;
  }

  take(set: ChargeSet): Verdict | Promise<Verdict> {
    if (this.#state.kind === 'down') return this.#alone(set);
    const known = this.#redis.draw(set);
    if (known !== null) return known ? 'taken' : 'refused';
    return this.#together(set);
  }

  async #together(set: ChargeSet): Promise<Verdict> {
    let taken: boolean;
    try {
      taken = await this.#redis.take(set);
    } catch (error) {
      this.#lost(error, set.charges[0]?.counter.key);
      return this.#alone(set);
    }
    this.#learn(set);
    return taken ? 'taken' : 'refused';
  }

  /** Settles where it was taken. What was taken here is reported to Redis, if it is back by now. */
  settle(set: ChargeSet): void {
    const { holder } = set;
    holder?.settle(set);
    if (holder === this.#local && this.#state.kind === 'up') inBackground(this.#core.log, 'limits.store', this.#handOver().catch((error: unknown) => this.#lost(error)));
  }

  spent(): null {
    return null;
  }

  start(): void {
    inBackground(this.#core.log, 'limits.store', this.#redis.probe().catch((error: unknown) => this.#lost(error)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    this.#timer = null;
    await this.#redis.close();
    await this.#local.close();
  }

  #alone(set: ChargeSet): Verdict {
    switch (this.#onError) {
      case 'local':
        return this.#local.take(set);
      case 'open':
        return 'unchecked';
      case 'closed':
        return 'unavailable';
    }
  }

  /** A budget that is used up must stay so while Redis is away. */
  #learn({ charges }: ChargeSet): void {
    if (this.#onError !== 'local') return;
    for (const { counter, used } of charges) if (counter.rule.kind === 'budget') this.#local.learn(counter.key, used, counter.until);
  }

  /** @param like the counter that could not be asked for: of a cluster, only its server may be away. */
  #lost(error: unknown, like?: string): void {
    this.#failed();
    this.#like = like;
    if (this.#state.kind === 'down' || this.#closed) return;
    const now = this.#core.clock.monotonic();
    const again = now - this.#state.since < fresh;
    this.#state = { kind: 'down', since: now };
    this.#core.log.error({ error: describe(error), on_store_error: this.#onError }, 'limits.store_down');
    if (again) this.#probeLater();
    else inBackground(this.#core.log, 'limits.store', this.#probe());
  }

  async #probe(): Promise<void> {
    try {
      await this.#redis.probe(this.#like);
      await this.#handOver();
    } catch {
      if (!this.#closed) this.#probeLater();
      return;
    }
    if (this.#state.kind !== 'down') return;
    const now = this.#core.clock.monotonic();
    this.#core.log.info({ ms: now - this.#state.since }, 'limits.store_up');
    this.#state = { kind: 'up', since: now };
    await this.#redis.recover();
  }

  /** What was spent alone is added to the common sum before the next request asks for it. */
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

  #probeLater(): void {
    this.#timer = this.#core.clock.setTimeout(() => {
      this.#timer = null;
      return this.#probe();
    }, probeEvery);
    this.#timer.unref();
  }
}

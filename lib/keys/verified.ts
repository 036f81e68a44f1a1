import type { Clock } from '../../types/clock.d.ts';
import { LRUCache } from 'lru-cache';

/** Most verified tokens; the least recently used are dropped first. By size, since `max` would allocate its memory, and take 10 ms, at the start. */
const capacity = { maxSize: 100_000, sizeCalculation: () => 1 };

/** Identities of tokens that NewAPI has accepted within `auth.verified_ttl`. */
export class VerifiedTokens {
  readonly #until = new LRUCache<string, number>(capacity);
  readonly #clock: Clock;
  readonly #ttl: number;

  /** @param ttl milliseconds. */
  constructor(clock: Clock, ttl: number) {
    this.#clock = clock;
    this.#ttl = ttl;
  }

  has(id: string): boolean {
    const until = this.#until.get(id);
    return until !== undefined && until > this.#clock.now();
  }

  /** Marks a token as accepted. Renewed only in the second half of its time, since a busy token is accepted thousands of times a second. */
  accept(id: string): void {
    const now = this.#clock.now();
    if ((this.#until.get(id) ?? 0) < now + this.#ttl / 2) this.#until.set(id, now + this.#ttl);
  }

  /** Forgets a token that NewAPI has refused with 401. */
  drop(id: string): void {
    this.#until.delete(id);
  }
}

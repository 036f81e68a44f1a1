import type { Clock } from '../../types/clock.d.ts';
import { LRUCache } from 'lru-cache';

/** Tokens remembered as verified; the least recently used go first. By size: a `max` takes its memory, and 10 ms, at the start. */
const remembered = { maxSize: 100_000, sizeCalculation: () => 1 };

/** Tokens that NewAPI itself has accepted, by identity, for `auth.verified_ttl`. */
export class VerifiedTokens {
  readonly #until = new LRUCache<string, number>(remembered);
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

  /** Renews a proof in its second half only: a busy token is accepted thousands of times a second. */
  accept(id: string): void {
    const now = this.#clock.now();
    if ((this.#until.get(id) ?? 0) < now + this.#ttl / 2) this.#until.set(id, now + this.#ttl);
  }

  /** NewAPI's own 401: the token is not, or no longer, good. */
  drop(id: string): void {
    this.#until.delete(id);
  }
}

import { hash, timingSafeEqual } from 'node:crypto';
import { MemoryStore, type Options } from 'express-rate-limit';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { networkOf } from '../identity/identity.ts';

/** Failures allowed per address and window in milliseconds, where the address limit does not count failures. */
const defaultLimit = 60;
const defaultWindow = 60_000;

/**
 * Protects an endpoint with bearer tokens. Failures are logged and limited by address, without the exemptions of the
 * configuration; limit and window are those of `rate_limit.address` where it counts failures. `mode: observe` lifts nothing
 * here.
 */
export class BearerGuard {
  readonly #log: Core['log'];
  readonly #expected: readonly Buffer[];
  readonly #event: string;
  readonly #allowed: number;
  readonly #window: number;
  /** Created by the first failure, since it runs a timer. */
  #failures: MemoryStore | null = null;

  /**
   * @param tokens any of them is accepted; with none every request is refused.
   * @param event name of a failure in the event log.
   */
  constructor({ config, log }: Core, tokens: readonly string[], event: string) {
    const { limit, window, count } = config.rateLimit.address;
    const counts = limit > 0 && count === 'failed';
    this.#log = log;
    this.#expected = tokens.map(digest);
    this.#event = event;
    this.#allowed = counts ? limit : defaultLimit;
    this.#window = counts ? window : defaultWindow;
  }

  /** @returns null for a request with a valid token; else the error to answer with. */
  async check({ id, ip, route, req }: Context): Promise<HeimdallError | null> {
    const address = networkOf(ip);
    const failed = await this.#failures?.get(address);
    if (failed !== undefined && failed.totalHits >= this.#allowed) {
      const retryAfter = Math.max(1, Math.ceil(((failed.resetTime?.getTime() ?? 0) - Date.now()) / 1000));
      return new HeimdallError('too_many_failures', { retryAfter });
    }
    if (this.#fits(req.headers.authorization)) return null;
    await this.#open().increment(address);
    this.#log.warn({ requestId: id, ip, path: route.template }, this.#event);
    return new HeimdallError('unauthorized');
  }

  close(): void {
    this.#failures?.shutdown();
  }

  /** Digests have equal lengths and every token is compared, so the time does not depend on what was sent. */
  #fits(header: string | undefined): boolean {
    const token = bearer(header);
    if (token === null) return false;
    const sent = digest(token);
    let fits = false;
    for (const expected of this.#expected) fits = timingSafeEqual(sent, expected) || fits;
    return fits;
  }

  #open(): MemoryStore {
    if (this.#failures === null) {
      this.#failures = new MemoryStore();
      this.#failures.init({ windowMs: this.#window } as Options);
    }
    return this.#failures;
  }
}

/** The token of an `Authorization` header, or null. */
export const bearer = (header: string | undefined): string | null => /^bearer (.+)$/i.exec(header ?? '')?.[1] ?? null;

const digest = (token: string): Buffer => hash('sha256', token, 'buffer');

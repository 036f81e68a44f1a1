import { hash, timingSafeEqual } from 'node:crypto';
import { MemoryStore, type Options } from 'express-rate-limit';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { networkOf } from '../identity/identity.ts';

/** Failures after which an address has to wait, and for how long they count, where the address limit says nothing of failures. */
const failuresAllowed = 60;
const failuresCount = 60_000;

/**
 * Guards something with a bearer token. Failures are logged and limited by address, whatever the configuration exempts:
 * the address limit's bounds hold where it counts failures. Nothing here is lifted by `mode: observe`.
 */
export class Door {
  readonly #log: Core['log'];
  readonly #expected: readonly Buffer[];
  readonly #event: string;
  readonly #allowed: number;
  readonly #window: number;
  /** Opened by the first failure: a gate nobody attacks runs no timer. */
  #failures: MemoryStore | null = null;

  /**
   * @param tokens any of which lets in; without one nobody is.
   * @param event what a failure is called in the event log.
   */
  constructor({ config, log }: Core, tokens: readonly string[], event: string) {
    const { limit, window, count } = config.rateLimit.address;
    const counts = limit > 0 && count === 'failed';
    this.#log = log;
    this.#expected = tokens.map(digest);
    this.#event = event;
    this.#allowed = counts ? limit : failuresAllowed;
    this.#window = counts ? window : failuresCount;
  }

  /** @returns null for who carries the token; else what to answer. */
  async enter({ id, ip, route, req }: Context): Promise<HeimdallError | null> {
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

  /** Digests have one length, so the comparison takes the same time whatever was sent; every token is compared with. */
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

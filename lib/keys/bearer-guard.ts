import { hash, timingSafeEqual } from 'node:crypto';
import type { Context, Core, Guesses } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { networkOf } from '../identity/identity.ts';
import { guessesAt } from './guesses.ts';

/** Failures allowed per peer and window in milliseconds, where the address limit does not count failures. */
const defaultLimit = 60;
const defaultWindow = 60_000;

/**
 * Protects an endpoint with bearer tokens. A valid token is always accepted. Failures are logged and limited, each endpoint's
 * for itself, without the exemptions of the configuration; limit and window are those of `rate_limit.address` where it counts
 * failures. SECURITY: they count by the address of the peer, since a peer in `trust_proxy`, such as any program on this
 * machine, may name another client with each request. `mode: observe` lifts nothing here.
 */
export class BearerGuard {
  readonly #log: Core['log'];
  readonly #clock: Core['clock'];
  readonly #expected: readonly Buffer[];
  readonly #event: string;
  readonly #allowed: number;
  readonly #window: number;
  readonly #by: 'peer' | 'client';
  /** By network of the peer. */
  readonly #failures: Guesses;

  /**
   * @param place the endpoint that is protected: guards of the same place, those of a reload among them, count together.
   * @param tokens any of them is accepted; with none every request is refused.
   * @param event name of a failure in the event log.
   * @param by whose failures are counted together: a peer's, or a client's where the credentials are those of clients.
   */
  constructor(core: Core, place: string, tokens: readonly string[], event: string, by: 'peer' | 'client' = 'peer') {
    const { config, log, clock } = core;
    const { limit, window, count } = config.rateLimit.address;
    const counts = limit > 0 && count === 'failed';
    this.#log = log;
    this.#failures = guessesAt(core, place);
    this.#by = by;
    this.#clock = clock;
    this.#expected = tokens.map(digest);
    this.#event = event;
    this.#allowed = counts ? limit : defaultLimit;
    this.#window = counts ? window : defaultWindow;
  }

  /** @returns null for a request with a valid token; else the error to answer with. */
  check(context: Context): HeimdallError | null {
    const found = this.judge(context, bearer(context.req.headers.authorization));
    return typeof found === 'number' ? null : found;
  }

  /**
   * Judges a token that did not come as a bearer token, such as one typed into a form.
   * @returns its place among the accepted tokens, or the error to answer with.
   */
  judge(context: Context, token: string | null): number | HeimdallError {
    const place = this.#placeOf(token);
    if (place !== -1) return place;
    const { id, ip, route } = context;
    const blocked = this.blocked(context);
    if (blocked !== null) return blocked;
    const network = this.#networkOf(context);
    const now = this.#clock.monotonic();
    const known = this.#failures.get(network);
    const failures = known !== undefined && known.until > now ? known : { count: 0, until: now + this.#window };
    failures.count++;
    this.#failures.set(network, failures);
    this.#log.warn({ requestId: id, ip, path: route.template }, this.#event);
    return new HeimdallError('unauthorized');
  }

  /** The error for an address that has failed too often; null for any other. */
  blocked(context: Context): HeimdallError | null {
    const now = this.#clock.monotonic();
    const failures = this.#failures.get(this.#networkOf(context));
    if (failures === undefined || failures.until <= now || failures.count < this.#allowed) return null;
    return new HeimdallError('too_many_failures', { retryAfter: Math.max(1, Math.ceil((failures.until - now) / 1000)) });
  }

  #networkOf({ ip, peer }: Context): string {
    return networkOf(this.#by === 'peer' ? peer : ip);
  }

  /** Digests have equal lengths and every token is compared, so the time does not depend on what was sent. */
  #placeOf(token: string | null): number {
    if (token === null) return -1;
    const sent = digest(token);
    let found = -1;
    for (const [place, expected] of this.#expected.entries()) if (timingSafeEqual(sent, expected)) found = place;
    return found;
  }
}

/** The token of an `Authorization` header, or null. */
export const bearer = (header: string | undefined): string | null => /^bearer (.+)$/i.exec(header ?? '')?.[1] ?? null;

const digest = (token: string): Buffer => hash('sha256', token, 'buffer');

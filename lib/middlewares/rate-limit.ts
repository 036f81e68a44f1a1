import { isDeepStrictEqual } from 'node:util';
import { LRUCache } from 'lru-cache';
import type { RateLimitConfig } from '../../types/config.d.ts';
import { isNetwork } from '../values/values.ts';
import { type Context, type Core, type Next, underway } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { looksLikeJwt, type HostVerdict } from '../keys/keys.ts';
import { AddressSet, credentialOf, networkOf } from '../identity/identity.ts';
import { AddressCounts } from '../limits/limits.ts';
import type { Deps, Middleware } from './middleware.ts';
import { inBackground } from '../platform/platform.ts';

/** Blocked addresses that are kept; one that is dropped is blocked again by its next failure. By size: a `max` takes its memory at the start. */
const blockedRemembered = { maxSize: 10_000, sizeCalculation: () => 1 };
/** Between two unknown tokens of a blocked address that NewAPI is asked about, milliseconds, and the longest time that one keeps others from it. */
const trialEvery = 1000;
const longestTrial = 10_000;

/**
 * Limits an address. By default only refused credentials count, so that an office behind one address keeps working, and
 * callers with a good credential pass even when their address is blocked. Where NewAPI alone knows which tokens are good, it is
 * asked about one of a blocked address a second. express-rate-limit's store keeps the counts; requests that do not count never
 * touch it.
 */
export const rateLimit: Middleware = {
  name: 'rate_limit',
  create(core, deps, before) {
    const { limit, count } = core.config.rateLimit.address;
    if (limit === 0) return {};
    const counter = new Counter(core, deps, before instanceof Counter ? before : null);
    const { skips } = deps.host;
    return {
      state: counter,
      enter: () => counter.share(),
      handle: function rateLimitHandler(context, next) {
        if (count === 'failed' && counter.blocked.size === 0) return next();
        if (!skips) return limited(context, counter, deps, next);
        deps.host.whetherSkipped(context, (skipped) => {
          if (skipped) next();
          else if (!context.finished) limited(context, counter, deps, next);
        });
      },
      proxied: (context) => {
        if (counter.trying.has(context)) counter.endTrial(context, deps);
      },
      finish: {
        settle: (context) => {
          if (counter.trying.has(context)) counter.endTrial(context, deps);
          if (count !== 'failed' || context.status !== 401 || !isRefusedCredential(context) || standsForMany(context)) return;
          deps.host.whetherSkipped(context, (skipped) => skipped || inBackground(core.log, 'rate_limit', counter.countFailure(context)));
        },
      },
    };
  },
};

function limited(context: Context, counter: Counter, deps: Deps, next: Next): void {
  if (counter.failuresOnly || !counts(context, deps)) return pass(context, counter, deps, next);
  underway(context, counter.count(context).then((known) => context.finished || (known ? pass(context, counter, deps, next) : refuseUncounted(context, next)), next));
}

function pass(context: Context, counter: Counter, deps: Deps, next: Next): void {
  const until = counter.blockedUntil(context);
  if (until === null || standsForMany(context) || isExempt(context, deps)) return next();
  const refuse = (): void => {
    const trial = counter.failuresOnly ? counter.trial(context) : 'none';
    if (trial === 'now') return next();
    const retry = trial === 'later' ? { retryAfter: trialEvery / 1000, retryable: true } : { retryAfter: Math.max(1, Math.ceil((until - context.at) / 1000)) };
    if (!context.refuse('rate_limit', new HeimdallError('too_many_failures', retry))) next();
  };
  const good = counter.failuresOnly && isGood(context, deps);
  if (good === true) next();
  else if (good === false) refuse();
  else underway(context, passLater(context, good, refuse, next));
}

async function passLater(context: Context, good: Promise<boolean>, refuse: () => void, next: Next): Promise<void> {
  try {
    const isLetIn = await good;
    if (context.finished) return;
    if (isLetIn) next();
    else refuse();
  } catch (error) {
    next(error);
  }
}

/** Whether `auth` will let the caller in: what others guessed from an address closes it to no such caller. */
function isGood(context: Context, deps: Deps): boolean | Promise<boolean> {
  if (!deps.host.identifies || !context.route.credential) return hasGoodCredential(context, deps);
  const user = deps.host.userOf(context);
  if (user instanceof Promise) return user.then((known) => isUser(known) || hasGoodCredential(context, deps));
  return isUser(user) || hasGoodCredential(context, deps);
}

const isUser = (verdict: HostVerdict): boolean => verdict !== null && verdict !== 'unavailable';

function hasGoodCredential(context: Context, { verified, keys, jwt }: Deps): boolean | Promise<boolean> {
  if (context.verified || (context.token !== null && verified.has(context.token.id))) return true;
  if (context.core.config.auth.mode === 'passthrough' || !context.route.credential) return false;
  const credential = credentialOf(context.headers, context.path, context.query)?.value ?? '';
  const found = keys.find(credential, context.ip);
  if (typeof found !== 'string') return true;
  return found === 'unknown' && jwt !== null && looksLikeJwt(credential) ? jwt.verify(credential).then(({ kind }) => kind === 'caller') : false;
}

/** The gate's own endpoints limit guesses of their tokens themselves. */
const isRefusedCredential = ({ route, target }: Context): boolean => route.credential || target !== null;

/** The store cannot be reached, and `on_store_error` is `closed`. */
function refuseUncounted(context: Context, next: () => void): void {
  if (!context.refuse('rate_limit', new HeimdallError('limits_unavailable', { retryAfter: 1 }))) next();
}

/** Assets of pages, calls of payment providers and polling for tasks are never limited by address. */
function isExempt(context: Context, { rows }: Deps): boolean {
  const { class: kind } = context.route;
  // A configured route to the metrics limits guesses of their token as the gate's own endpoints do.
  if (rows.get(context.route)?.handler === 'metrics') return true;
  return kind === 'ui' || kind === 'webhook' || (kind === 'task' && context.req.method === 'GET');
}

const counts = (context: Context, deps: Deps): boolean => !isExempt(context, deps) && !standsForMany(context);

/** An address that most callers share is not held to one caller's limit, except for guessing passwords. */
const standsForMany = ({ collapsed, path, req }: Context): boolean => collapsed && !(path === '/api/user/login' && req.method === 'POST');

/** Times on the monotonic clock, by address or token. */
interface Times {
  /** By address over the limit, the end of its window. */
  readonly blocked: LRUCache<string, number>;
  /** By blocked address, when the next unknown token may be tried. */
  readonly trials: LRUCache<string, number>;
  /** By token that NewAPI has refused, until when it is not tried. */
  readonly refused: LRUCache<string, number>;
}
type TimesKind = keyof Times;
/** What a thread tells of an address or a token: whose counts, and the milliseconds that are left. */
type AddressWord = readonly [counter: string, kind: TimesKind, key: string, left: number];

class Counter {
  readonly failuresOnly: boolean;
  readonly #counts: AddressCounts;
  readonly #exempt: AddressSet;
  readonly #times: Times;
  /** Requests by which NewAPI is asked about a token of a blocked address. */
  readonly trying = new Set<Context>();
  readonly #address: RateLimitConfig['address'];
  /** NewAPI alone knows which tokens are good. */
  readonly #asksNewapi: boolean;
  readonly #core: Core;
  /** Tells the counts of one configuration from those of another one. */
  readonly #id: string;

  /** @param before that of the configuration before, whose counts go on where the limit is the same. */
  constructor(core: Core, { redis }: Deps, before: Counter | null) {
    const { auth, rateLimit: { address, exempt } } = core.config;
    this.failuresOnly = address.count === 'failed';
    this.#core = core;
    this.#address = address;
    const same = before !== null && isDeepStrictEqual(before.#address, address) ? before : null;
    this.#times = same === null ? { blocked: new LRUCache(blockedRemembered), trials: new LRUCache(blockedRemembered), refused: new LRUCache(blockedRemembered) } : same.#times;
    this.#asksNewapi = auth.mode === 'passthrough';
    this.#counts = same === null ? new AddressCounts(core, redis) : same.#counts;
    this.#exempt = new AddressSet(exempt.filter(isNetwork));
    this.#id = JSON.stringify(address);
  }

  /** Counts together with the other threads of the gate, from now on. */
  share(): void {
    const { crew, clock } = this.#core;
    this.#counts.share();
    crew?.subscribe('addresses', {
      hear: (word) => {
        const [id, kind, key, left] = word as AddressWord;
        if (id === this.#id) this.#times[kind].set(key, clock.monotonic() + left);
      },
      known: () => {
        const now = clock.monotonic();
        return (Object.keys(this.#times) as TimesKind[]).flatMap((kind) => [...this.#times[kind].entries()].reverse().map(([key, until]) => [this.#id, kind, key, until - now] satisfies AddressWord));
      },
    });
  }

  /** Addresses over the limit, with the end of their window on the monotonic clock. Other requests look at nothing else. */
  get blocked(): Times['blocked'] {
    return this.#times.blocked;
  }

  /** @returns false when the store cannot be reached and `on_store_error` is `closed`. */
  async count({ ip }: Context): Promise<boolean> {
    if (this.#exempt.has(ip)) return true;
    const key = networkOf(ip);
    const counted = await this.#counts.hit(key);
    if (typeof counted === 'string') return counted === 'open';
    if (counted.hits > counted.limit) this.#set('blocked', key, counted.until);
    return true;
  }

  /** The last failure within the limit blocks the requests after it. */
  async countFailure(context: Context): Promise<void> {
    if (this.#exempt.has(context.ip)) return;
    if (this.#asksNewapi && context.token !== null) this.#set('refused', context.token.id, context.at + this.#address.window);
    const key = this.#keyOf(context);
    const { hits, limit, until } = await this.#counts.hitSomewhere(key);
    if (hits >= limit) this.#set('blocked', key, until);
  }

  /** In all threads. @param until monotonic milliseconds. */
  #set(kind: TimesKind, key: string, until: number): void {
    const times = this.#times[kind];
    const isNew = times.get(key) !== until;
    times.set(key, until);
    const { crew, clock } = this.#core;
    if (crew !== null && isNew) crew.publish('addresses', [this.#id, kind, key, until - clock.monotonic()] satisfies AddressWord);
  }

  /** @returns the end of the block on the monotonic clock, or null for an address that is not blocked. */
  blockedUntil(context: Context): number | null {
    const key = this.#keyOf(context);
    const until = this.blocked.get(key);
    if (until === undefined) return null;
    if (until > context.at) return until;
    this.blocked.delete(key);
    return null;
  }

  /**
   * Whether NewAPI may be asked about the token of a blocked address.
   * @returns `now`: by this request; `later`: another one is asked about; `none`: there is no token that it has not refused.
   */
  trial(context: Context): 'now' | 'later' | 'none' {
    const { token, route, at } = context;
    if (!this.#asksNewapi || token === null || !route.credential || (this.#times.refused.get(token.id) ?? 0) > at) return 'none';
    const key = this.#keyOf(context);
    if ((this.#times.trials.get(key) ?? 0) > at) return 'later';
    this.#set('trials', key, at + longestTrial);
    this.trying.add(context);
    return 'now';
  }

  /** NewAPI has answered, or the request is over. A token that it accepts is known from now on, not only at the end of a long answer. */
  endTrial(context: Context, { verified }: Deps): void {
    this.trying.delete(context);
    this.#set('trials', this.#keyOf(context), context.at + trialEvery);
    if (context.newapiVerdict === 'accepted' && context.token !== null) verified.accept(context.token.id);
  }

  /** Guesses of tokens do not close the dashboard, and its refusals do not close the API. */
  #keyOf({ ip, route }: Context): string {
    return this.failuresOnly && !route.credential ? `${networkOf(ip)} sessions` : networkOf(ip);
  }
}

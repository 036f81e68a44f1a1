import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { HostOptions, HostRequest, HostUser } from '../../types/caller.d.ts';
import type { OwnLimits } from '../../types/registry.d.ts';
import { credential, key, keyLimits, list, modelName, orNull, required, text, type ValueType } from '../config/config.ts';
import { describe } from '../platform/platform.ts';
import { guarded, type Context, type Core } from '../request/request.ts';

/** Longest time for an answer of the host, milliseconds. */
const patience = 5000;
/** Users, and sets of limits, that are kept; others are read anew. By size: a `max` takes its memory at the start. */
const remembered = { maxSize: 10_000, sizeCalculation: () => 1 };

const nameForm = /^(?! )[^\p{Cc}\p{Cs}]+(?<! )$/u;

/** One line of text. A number counts as its digits. */
const line = (expected: string, longest: number, example: string): ValueType<string> => ({
  ...text(`${expected} of at most ${longest} characters in one line`, example),
  read: (value) => {
    const written = Number.isSafeInteger(value) ? String(value) : value;
    return typeof written === 'string' && written.length <= longest && nameForm.test(written) ? written : undefined;
  },
});

const shape = z.strictObject({
  id: required(line('an id', 128, '42'), 'Id'),
  name: key(orNull(line('a name', 256, 'Ada')), null, 'Name'),
  group: key(orNull(line('a group', 128, 'staff')), null, 'Group'),
  models: list(modelName, [], 'Models'),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token'),
  ...keyLimits,
});

interface Known {
  /** What the host gave, as text. */
  readonly text: string;
  readonly user: HostUser;
}

/** A user, null for a request that the host does not know, or `unavailable` where the host gave no usable answer. */
export type HostVerdict = HostUser | null | 'unavailable';

/** Asks the host application who makes a request, and which requests its limits leave out. Each question is asked once a request. */
export class Host {
  readonly #core: Core;
  readonly #options: HostOptions;
  readonly #origins: ReadonlySet<string>;
  readonly #verdicts = new WeakMap<Context, HostVerdict | Promise<HostVerdict>>();
  readonly #skipped = new WeakMap<Context, boolean | Promise<boolean>>();
  readonly #users = new LRUCache<string, Known>(remembered);
  /** Users with the same limits share them, and with them the rules that are made of them. */
  readonly #limits = new LRUCache<string, OwnLimits>(remembered);

  constructor(core: Core, options: HostOptions) {
    this.#core = core;
    this.#options = options;
    // SECURITY: `*` names no origin; a browser sends cookies for all of them.
    this.#origins = new Set(core.config.cors?.allowOrigins.filter((origin) => origin !== '*').map((origin) => origin.toLowerCase()));
  }

  /** Whether the host names users. */
  get identifies(): boolean {
    return this.#options.identify !== undefined;
  }

  /** Whether the host leaves requests out of limits. */
  get skips(): boolean {
    return this.#options.skip !== undefined;
  }

  /** The user that makes a request. The promise never rejects. */
  userOf(context: Context): HostVerdict | Promise<HostVerdict> {
    if (this.#options.identify === undefined) return null;
    let verdict = this.#verdicts.get(context);
    if (verdict === undefined) {
      verdict = this.#ask<HostVerdict>((req) => this.#options.identify?.(req), context, (answer) => this.#read(answer), (error) => this.#failed(context, error));
      this.#verdicts.set(context, verdict);
    }
    return verdict;
  }

  /** Calls back, at once where the host answers at once, with whether limits leave a request out. */
  whetherSkipped(context: Context, then: (skipped: boolean) => void): void {
    if (this.#options.skip === undefined) return then(false);
    let skipped = this.#skipped.get(context);
    if (skipped === undefined) {
      skipped = this.#ask((req) => this.#options.skip?.(req), context, (answer) => answer === true, (error) => {
        this.#core.log.error({ requestId: context.id, error: describe(error), effect: 'limits apply' }, 'limits.skip_failed');
        return false;
      });
      this.#skipped.set(context, skipped);
    }
    if (typeof skipped === 'boolean') then(skipped);
    else void skipped.then(guarded(context, then));
  }

  /**
   * Whether a page of another origin may have made the request without the user's knowledge: a browser adds cookies by itself, but
   * no header with a key (Fetch, §4.8 CORS-preflight). A query, a subprotocol and `Basic` come without a preflight.
   */
  isForeign({ headers, host, credential: sent }: Context): boolean {
    if (sent !== null && sent.carrier !== 'key' && sent.carrier !== 'sec-websocket-protocol' && !(sent.carrier === 'authorization' && ambient.test(headers.authorization ?? ''))) return false;
    const { origin, 'sec-fetch-site': site = 'none' } = headers;
    if (origin !== undefined && this.#origins.has(origin.toLowerCase())) return false;
    if (site !== 'none' && site !== 'same-origin') return true;
    return origin !== undefined && authorityOf(origin) !== authorityOf(`${origin.split('://', 1)[0]}://${host}`);
  }

  /** The answer to a question: at once where the host gives it at once. */
  #ask<T>(question: (req: HostRequest) => unknown, context: Context, read: (answer: unknown) => T, failed: (error: unknown) => T): T | Promise<T> {
    const taken = (answer: unknown): T => {
      try {
        return read(answer);
      } catch (error) {
        return failed(error);
      }
    };
    let answer: unknown;
    try {
      answer = question(context.req as unknown as HostRequest);
      if (!isThenable(answer)) return taken(answer);
    } catch (error) {
      return failed(error);
    }
    return this.#await(answer, taken, failed);
  }

  #await<T>(answer: PromiseLike<unknown>, taken: (answer: unknown) => T, failed: (error: unknown) => T): Promise<T> {
    const { clock } = this.#core;
    return new Promise((resolve) => {
      let isOver = false;
      const once = (result: () => T): void => {
        if (isOver) return;
        isOver = true;
        clock.clearTimeout(timer);
        resolve(result());
      };
      const timer = clock.setTimeout(() => once(() => failed(new Error(`no answer within ${patience} ms`))), patience);
      timer.unref();
      Promise.resolve(answer).then((value) => once(() => taken(value)), (error: unknown) => once(() => failed(error)));
    });
  }

  #failed({ id }: Context, error: unknown): 'unavailable' {
    this.#core.log.error({ requestId: id, error: describe(error) }, 'auth.identify_failed');
    return 'unavailable';
  }

  /** @throws when it is no user. */
  #read(answer: unknown): HostUser | null {
    if (answer === null || answer === undefined) return null;
    if (typeof answer !== 'object') throw new TypeError(`identify: expected an object with an id, or null, got a ${typeof answer}. Example: { id: '42', group: 'staff' }`);
    const written = JSON.stringify(answer);
    const name = String((answer as { readonly id?: unknown }).id);
    const known = this.#users.get(name);
    if (known?.text === written) return known.user;
    const user = this.#userOf(answer);
    this.#users.set(name, { text: written, user });
    return user;
  }

  #userOf(answer: object): HostUser {
    const given = Object.fromEntries(Object.entries(answer).filter(([, value]) => value !== null && value !== undefined));
    const result = shape.safeParse(given);
    if (!result.success) throw complaint(result.error.issues[0] as z.core.$ZodIssue);
    const { id, name, group, models, upstreamCredential, ...own } = result.data;
    const limitsText = JSON.stringify(own);
    const limits = this.#limits.get(limitsText) ?? own;
    this.#limits.set(limitsText, limits);
    return { id, name, group, models: given['models'] === undefined ? null : new Set(models), upstreamCredential, limits };
  }
}

/** Schemes of credentials that browsers add by themselves. */
const ambient = /^(?:basic|digest|negotiate|ntlm)(?:\s|$)/i;

/** Host and port of an origin, the port of its scheme left out; null for an opaque one. */
function authorityOf(origin: string): string | null {
  try {
    return new URL(origin).host || null;
  } catch {
    return null;
  }
}

const isThenable = (answer: unknown): answer is PromiseLike<unknown> => typeof (answer as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';

/** SECURITY: no value is quoted. */
function complaint(issue: z.core.$ZodIssue): TypeError {
  const at = ['identify', ...issue.path.map(String)].join('.');
  if (issue.code === 'unrecognized_keys') return new TypeError(`${at}: unknown field ${JSON.stringify(issue.keys[0]?.slice(0, 60))}; expected ${Object.keys(shape.shape).join(', ')}`);
  const { expected = 'an object of fields', example } = (issue.code === 'custom' ? issue.params : {}) as { readonly expected?: string; readonly example?: unknown };
  return new TypeError(`${at}: expected ${expected}.${example === undefined ? '' : ` Example: ${String(example)}`}`);
}

import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { HeimdallError } from '../errors.ts';
import { networkOf } from '../identity/identity.ts';
import { guessesAt } from '../keys/keys.ts';
import type { Context, Core, Guesses } from '../request/request.ts';

/** How long a verdict of NewAPI counts, milliseconds: an administrator that was disabled is out after it. */
const remembered = 30_000;
/** Unknown credentials of one address that NewAPI is asked about within the window, milliseconds. */
const mostUnknown = 10;
const window = 60_000;
/** By size: a `max` takes its memory at the start. */
const verdicts = { maxSize: 1000, sizeCalculation: () => 1 };
/** NewAPI's status of a user that is not disabled. */
const enabled = 1;

/** Asks NewAPI's own API. @param headers a flat list. Rejects when it cannot be reached. */
export type AskNewapi = (path: string, headers: readonly string[]) => Promise<{ readonly status: number; readonly body: unknown }>;

/** A user of NewAPI that has logged in to the admin API. */
export interface NewapiAdmin {
  readonly id: number;
  readonly username: string;
  readonly role: number;
}

type Verdict = NewapiAdmin | 'unknown' | 'no_role';

interface Known {
  readonly verdict: Verdict;
  /** Monotonic milliseconds. */
  readonly until: number;
}

/**
 * Logs in by NewAPI: its session or an access token, with the header `New-Api-User`, which only a page's own requests can send.
 * NewAPI's `/api/user/self` tells role and status as they are now; it answers 200 for the session of a disabled user too.
 */
export class NewapiLogin {
  readonly #core: Core;
  readonly #ask: AskNewapi;
  /** By digest of what was sent. */
  readonly #known = new LRUCache<string, Known>(verdicts);
  readonly #asking = new Map<string, Promise<Verdict>>();
  readonly #unknown: Guesses;

  constructor(core: Core, ask: AskNewapi) {
    this.#core = core;
    this.#unknown = guessesAt(core, 'newapi-login');
    this.#ask = ask;
  }

  /** @throws HeimdallError for a request without the login of an administrator. */
  async enter(context: Context): Promise<NewapiAdmin> {
    const sent = credentialOf(context);
    if (sent === null) throw new HeimdallError('unauthorized', { message: "The login of a NewAPI administrator is required: its session or access token, with the header New-Api-User." });
    const key = hash('sha256', JSON.stringify(sent), 'hex');
    const verdict = await this.#verdictOf(context, sent, key);
    if (verdict === 'no_role') throw new HeimdallError('newapi_role');
    if (verdict !== 'unknown') return verdict;
    this.#core.log.warn({ requestId: context.id, ip: context.ip, path: context.route.template }, 'admin.auth_failed');
    throw new HeimdallError('unauthorized');
  }

  #verdictOf(context: Context, sent: Sent, key: string): Promise<Verdict> | Verdict {
    const now = this.#core.clock.monotonic();
    const known = this.#known.get(key);
    if (known !== undefined && known.until > now) return known.verdict;
    const underway = this.#asking.get(key);
    if (underway !== undefined) return underway;
    const isTrusted = known !== undefined && known.verdict !== 'unknown';
    if (!isTrusted) this.#count(context.ip, now);
    const asking = this.#judge(context, sent).then((verdict) => {
      if (!isTrusted && verdict !== 'unknown') this.#giveBack(context.ip);
      this.#known.set(key, { verdict, until: now + remembered });
      return verdict;
    }, (error: unknown) => {
      if (!isTrusted) this.#giveBack(context.ip);
      throw error;
    }).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  #count(ip: string, now: number): void {
    const network = networkOf(ip);
    const known = this.#unknown.get(network);
    const counted = known !== undefined && known.until > now ? known : { count: 0, until: now + window };
    if (counted.count >= mostUnknown) throw new HeimdallError('too_many_failures', { retryAfter: Math.max(1, Math.ceil((counted.until - now) / 1000)) });
    counted.count++;
    this.#unknown.set(network, counted);
  }

  #giveBack(ip: string): void {
    const counted = this.#unknown.get(networkOf(ip));
    if (counted !== undefined && counted.count > 0) counted.count--;
  }

  async #judge({ ip }: Context, { user, authorization, session }: Sent): Promise<Verdict> {
    const credential = authorization === null ? ['cookie', `session=${session ?? ''}`] : ['authorization', authorization];
    const { status, body } = await this.#ask('/api/user/self', ['new-api-user', user, ...credential, 'x-forwarded-for', ip, 'x-real-ip', ip]).catch((cause: unknown) => {
      throw new HeimdallError('auth_unavailable', { cause });
    });
    if (status === 429 || status >= 500) throw new HeimdallError('auth_unavailable', { retryAfter: 5 });
    const { success, data } = (body ?? {}) as { readonly success?: unknown; readonly data?: { readonly id?: unknown; readonly status?: unknown; readonly role?: unknown; readonly username?: unknown } | null };
    if (status !== 200 || success !== true || data?.id !== Number(user) || data.status !== enabled) return 'unknown';
    const role = Number(data.role);
    return role >= this.#core.config.admin.newapiRole ? { id: Number(user), username: String(data.username), role } : 'no_role';
  }
}

/** What a request sends to NewAPI's login; an access token precedes a session, as there. */
interface Sent {
  readonly user: string;
  readonly authorization: string | null;
  readonly session: string | null;
}

function credentialOf({ req: { headers } }: Context): Sent | null {
  const user = headers['new-api-user'];
  if (typeof user !== 'string' || !/^[1-9]\d{0,14}$/.test(user)) return null;
  const { authorization, cookie = '' } = headers;
  if (authorization !== undefined && authorization.trim() !== '') return authorization.length > 1024 ? null : { user, authorization, session: null };
  const session = cookie.split(';', 100).map((part) => part.trim()).find((part) => part.startsWith('session='))?.slice('session='.length);
  return session === undefined || session === '' || session.length > 8192 ? null : { user, authorization: null, session };
}

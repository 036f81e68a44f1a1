import type { TLSSocket } from 'node:tls';
import type { AddressSet } from '../identity/identity.ts';
import { z } from 'zod';
import { required, secret } from '../config/config.ts';
import { bearer, BearerGuard } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import { calendarOf } from '../platform/platform.ts';
import type { Context } from '../request/request.ts';
import { type AdminServices, type Caller, fieldsOf, isJson, type Reply } from './call.ts';
import { NewapiLogin } from './newapi-login.ts';
import { type Access, claimsLogin, cookieHead, type Logins } from './login.ts';

/** Methods that change nothing. */
const safe: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether a request can change something. */
export const changes = ({ req }: Context): boolean => !safe.has(req.method ?? '');

/** Decides who may use the admin API, and what for. */
export class Entrance {
  readonly #services: AdminServices;
  readonly #guard: BearerGuard;
  readonly #logins: Logins;
  /** Null but with `admin.auth: newapi`. */
  readonly #newapi: NewapiLogin | null;
  readonly #trust: AddressSet;
  /** What each accepted token may do, in the order of the guard's tokens. */
  readonly #access: readonly Access[];

  /** @param trust peers whose forwarded headers count. */
  constructor(services: AdminServices, trust: AddressSet, logins: Logins) {
    this.#logins = logins;
    const { core } = services;
    const { token, readToken } = core.config.admin;
    const tokens = [{ token, access: 'full' as const }, { token: readToken, access: 'read' as const }].filter((each): each is { token: string; access: Access } => each.token !== null);
    this.#services = services;
    this.#trust = trust;
    this.#newapi = core.config.admin.auth === 'newapi' ? new NewapiLogin(core, (path, headers) => services.newapi.get(path, headers)) : null;
    this.#guard = new BearerGuard(core, 'admin', tokens.map((each) => each.token), 'admin.auth_failed');
    this.#access = tokens.map(({ access }) => access);
  }

  /** Whether the page logs in here by a token. */
  get hasLogin(): boolean {
    return this.#newapi === null;
  }

  /** The caller of a request with a token or a login. @throws HeimdallError for any other. */
  async enter(context: Context): Promise<Caller> {
    const problem = this.foreign(context);
    if (problem !== null) throw problem;
    const { core } = this.#services;
    if (this.#newapi !== null && (context.req.headers['new-api-user'] !== undefined || this.#access.length === 0)) {
      const user = await this.#newapi.enter(context);
      return { ip: context.ip, token: () => `newapi:${user.id}`, access: 'full', expires: null, user, leave: null };
    }
    const login = this.#logins.find(context, this.#cookie, calendarOf(core.clock).now());
    if (login !== null) {
      const leave = (): readonly string[] => {
        login.end();
        core.log.info({ requestId: context.id, ip: context.ip, token: login.token }, 'admin.logout');
        return cookieHead(this.#cookie, '', 0, this.#isSecure(context));
      };
      return { ip: context.ip, token: () => login.token, access: login.access, expires: login.expires, user: null, leave };
    }
    const credential = bearer(context.req.headers.authorization);
    const found = claimsLogin(context) ? new HeimdallError('unauthorized', { message: 'The login has ended.' }) : this.#guard.judge(context, credential);
    if (found instanceof HeimdallError) {
      if (found.status === 401) context.extraHead?.push('WWW-Authenticate', 'Bearer');
      throw found;
    }
    return { ip: context.ip, token: () => this.#services.identify(credential ?? '').id, access: this.#access[found] ?? 'read', expires: null, user: null, leave: null };
  }

  /** `POST login {token}`: answers with the proof and sets the cookie. @throws HeimdallError for a wrong token. */
  async login(context: Context): Promise<Reply> {
    const problem = this.foreign(context);
    if (problem !== null) throw problem;
    const { token } = await fieldsOf({ context }, z.strictObject({ token: required({ ...secret(1), expected: 'the admin token' }, 'The token') }));
    const found = this.#guard.judge(context, token);
    if (found instanceof HeimdallError) throw found;
    const { core, identify } = this.#services;
    const now = calendarOf(core.clock).now();
    const { cookie, proof, access, expires, token: id } = this.#logins.begin(this.#access[found] ?? 'read', identify(token).id, now);
    core.log.info({ requestId: context.id, ip: context.ip, token: id, access }, 'admin.login');
    return { status: 200, body: { proof, access, expires: new Date(expires).toISOString() }, head: cookieHead(this.#cookie, cookie, Math.floor((expires - now) / 1000), this.#isSecure(context)) };
  }

  /** SECURITY: the host's login may be a cookie, which a browser also sends with requests of other sites' pages. */
  vouched(context: Context): Caller {
    const problem = this.foreign(context);
    if (problem !== null) throw problem;
    if (context.req.method === 'POST' && !isJson(context)) throw new HeimdallError('invalid_content_type', { message: 'content-type: expected application/json, without a content-encoding.' });
    return { ip: context.ip, token: () => null, access: 'full', expires: null, user: null, leave: null };
  }

  /**
   * Refuses a change that a page of another origin asks for, another port included. Where a proxy in front has replaced `Host`,
   * the browser's own word counts, `Sec-Fetch-Site`, which no page can write.
   */
  foreign(context: Context): HeimdallError | null {
    // NewAPI's session is a cookie: with it nothing is read for other origins either.
    if (!changes(context) && this.#newapi === null) return null;
    const { origin, 'sec-fetch-site': site = 'none' } = context.req.headers;
    const isSame = site === 'same-origin' && origin !== 'null';
    const isOwn = origin === undefined ? site === 'none' || isSame : isSame || (site === 'none' && this.#isOwn(context, origin));
    return isOwn ? null : new HeimdallError('cross_site');
  }

  #isOwn({ req: { headers }, peer }: Context, origin: string): boolean {
    const forwarded = this.#trust.has(peer) ? headers['x-forwarded-host'] : undefined;
    return [headers.host, ...(typeof forwarded === 'string' ? [forwarded.split(',', 1)[0]?.trim()] : [])].some((host) => {
      try {
        const { protocol, host: expected } = new URL(origin);
        return host !== undefined && new URL(`${protocol}//${host}`).host === expected;
      } catch {
        return false;
      }
    });
  }

  #isSecure({ req, peer }: Context): boolean {
    return (req.socket as TLSSocket).encrypted === true || (this.#trust.has(peer) && req.headers['x-forwarded-proto'] === 'https');
  }

  /** Gates on other ports of this host have cookies of other names. */
  get #cookie(): string {
    return `heimdall_${this.#services.identify('admin.login').id.slice(0, 8)}`;
  }
}

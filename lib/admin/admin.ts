// The admin API: administrators read and change the state of the running gate through it.

import type { ServerResponse } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import { Router } from 'express';
import type { HostHandler } from '../../types/caller.d.ts';
import type { Route } from '../../types/route.d.ts';
import { Context, type GateRequest, ownRoute, type RequestHandler, underway } from '../request/request.ts';
import { describe, guard } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { printableJson } from '../redaction/redaction.ts';
import { invalid } from '../registry/registry.ts';
import { AddressSet, clientAddress, remoteOf } from '../identity/identity.ts';
import type { Caller, AdminServices, Reply } from './call.ts';
import { changes, Entrance } from './entrance.ts';
import { Logins } from './login.ts';
import { Me } from './me.ts';
import { Shell } from './shell.ts';
import { resourceFor, resources, type Resource } from './table.ts';

export type { AdminServices } from './call.ts';
export { moment } from './fields.ts';
export { findingActions, findingJson, findingStates } from './findings.ts';
export { Hub } from './hub.ts';
export { Jobs } from './job-list.ts';
export { OriginalApi } from './original-api.ts';

const loopback = new AddressSet(['loopback']);

/** The paths of the admin API inside the chain. */
export interface AdminPaths {
  /** Whether the request is for the admin API. With a server of its own, the chain serves it to this machine only. */
  owns(context: Context): boolean;
  answer(context: Context): void;
}

/** The admin API in its three mounts. */
export interface Admin {
  /** Inside the gate's chain, below `admin.path`; null without a token. */
  readonly paths: AdminPaths | null;
  /** For a host application, below any path: requires the token unless `admin.auth` is `host`. */
  readonly router: HostHandler;
  /**
   * For a server of its own, below `admin.path`. From then on the chain serves the admin API to this machine only.
   * @param host its address or name. On a loopback address only names of this machine are accepted as `Host`.
   */
  alone(host: string): RequestHandler;
  /** What the API of the next configuration takes over: logins, as long as the tokens are the same, and whether it has an address of its own. */
  readonly state: AdminState;
}

/** See {@link Admin.state}. */
interface AdminState {
  readonly logins: Logins;
  readonly tokens: readonly (string | null)[];
  readonly isApart: boolean;
}

/** Creates the admin API of one gate. @param services what it reads and changes. @param before that of the configuration before. */
export function adminOf(services: AdminServices, before: Admin | null = null): Admin {
  return new Api(services, before?.state ?? null);
}

const tokensOf = ({ config: { admin } }: Context['core']): readonly (string | null)[] => [admin.token, admin.readToken, admin.auth, admin.path];

class Api implements Admin, AdminPaths {
  readonly paths: AdminPaths | null;
  readonly router: HostHandler;
  readonly #services: AdminServices;
  readonly #entrance: Entrance;
  readonly #shell: Shell;
  readonly #trust: AddressSet;
  readonly #root: string;
  /** Segments of `admin.path`. */
  readonly #base: readonly string[];
  readonly #routes: ReadonlyMap<Resource | 'page' | 'me' | null, Route>;
  readonly #me: Me;
  readonly #hostVouches: boolean;
  /** SECURITY: the main port asks for no certificate, so that it has no admin API, not even for this machine. */
  readonly #needsCertificate: boolean;
  readonly #logins: Logins;
  #apart = false;
  #told = false;

  constructor(services: AdminServices, before: AdminState | null) {
    const { core } = services;
    const { token, path, auth, clientCaPath, listen } = core.config.admin;
    this.#logins = before !== null && isDeepStrictEqual(before.tokens, tokensOf(core)) ? before.logins : new Logins();
    this.#apart = before !== null && before.isApart && listen !== false;
    this.#services = services;
    this.#trust = new AddressSet(core.config.trustProxy);
    this.#entrance = new Entrance(services, this.#trust, this.#logins);
    this.#shell = new Shell(auth);
    this.#me = new Me(services);
    this.#root = path;
    this.#base = path.slice(1).split('/');
    this.#routes = new Map<Resource | 'page' | 'me' | null, Route>([['page', ownRoute(`${path}/*`, true)], ['me', ownRoute(`${path}/api/me`)], [null, ownRoute(`${path}/api/*`)], ...resources.map((resource) => [resource, ownRoute(`${path}/api/${resource.path.replace('*', '')}`)] as const)]);
    this.#needsCertificate = clientCaPath !== null;
    this.#hostVouches = auth === 'host';
    this.paths = token === null && auth !== 'newapi' ? null : this;
    const router = Router();
    this.router = router as unknown as HostHandler;
    router.use(((req: GateRequest, res: ServerResponse, next: () => void) => this.#mounted(req, res, next)) as never);
  }

  get state(): AdminState {
    return { logins: this.#logins, tokens: tokensOf(this.#services.core), isApart: this.#apart };
  }

  owns({ path, ip, peer }: Context): boolean {
    if (!path.startsWith(this.#root) || (path.length > this.#root.length && path[this.#root.length] !== '/')) return false;
    if (!this.#needsCertificate && (!this.#apart || (loopback.has(ip) && loopback.has(peer)))) return true;
    return needsNoLogin(path.slice(this.#root.length));
  }

  answer(context: Context): void {
    const problem = this.#apart && !needsNoLogin(context.path.slice(this.#root.length)) ? hostProblem(context) : null;
    if (problem !== null) return context.fail(problem);
    // As sent, since a name may hold an encoded slash; as judged, where the two differ in more than that.
    const judged = context.path.slice(this.#root.length);
    const sent = below(this.#base, context.wirePath);
    this.#serve(context, sent !== null && isApi(sent) === isApi(judged) ? sent : judged, false);
  }

  alone(host: string): RequestHandler {
    this.#apart = true;
    const isLocal = host === 'localhost' || loopback.has(host);
    return guard(this.#services.core.log, 'admin', (req: GateRequest, res: ServerResponse) => {
      const context = this.#arrived(req, res);
      const problem = isLocal ? hostProblem(context) : null;
      if (problem !== null) return context.fail(problem);
      const rest = below(this.#base, req.url);
      if (rest === null) return context.fail(new HeimdallError('not_found'));
      this.#serve(context, rest, false);
    }, (req) => req.socket.destroy());
  }

  #mounted(req: GateRequest, res: ServerResponse, next: () => void): void {
    const rest = below([], req.url);
    if (rest === null || !isOurs(rest)) return next();
    if (this.paths === null && !this.#hostVouches) {
      if (!this.#told) this.#services.core.log.warn({ effect: 'gate.admin has no paths', fix: 'set admin.token, or admin.auth: host behind a login of your own' }, 'admin.closed');
      this.#told = true;
      return next();
    }
    const context = this.#arrived(req, res);
    // A router that strips its mount gives `/` for the mount itself too.
    const [whole = '/'] = (req.originalUrl ?? '/').split('?', 1);
    this.#serve(context, rest === '/' && !whole.endsWith('/') ? '' : rest, this.#hostVouches, whole);
  }

  /** Builds the context that the chain would have built. */
  #arrived(req: GateRequest, res: ServerResponse): Context {
    const { core } = this.#services;
    const context = new Context(core, req, res);
    req.heimdall = context;
    const { ip, peer } = clientAddress(remoteOf(req.socket), req.headers, this.#trust, core.config.clientIpHeader);
    context.ip = ip;
    context.peer = peer;
    context.viaAdminListener = true;
    const url = req.url ?? '/';
    const mark = url.indexOf('?');
    context.path = mark === -1 ? url : url.slice(0, mark);
    context.query = mark === -1 ? '' : url.slice(mark);
    context.route = this.#routes.get(null) as Route;
    return context;
  }

  /**
   * Serves a path below the mount.
   * @param path as sent, without its query; empty for the mount itself.
   * @param vouched whether the host application has authenticated the caller.
   * @param mount the path of the mount as the client sees it, as far as it is known.
   */
  #serve(context: Context, path: string, vouched: boolean, mount = this.#root): void {
    if (isApi(path)) return underway(context, this.#call(context, segmentsOf(path.slice(4)), vouched));
    context.route = this.#routes.get('page') as Route;
    if (path === '') return context.answer(302, ['Location', `./${mount.slice(mount.lastIndexOf('/') + 1)}/`, 'Cache-Control', 'no-store'], '');
    if (path === '/') return this.#shell.page(context, 'index');
    if (path === '/me') return this.#shell.page(context, 'me');
    if (path.startsWith('/assets/')) return this.#shell.asset(context, path.slice('/assets/'.length));
    context.fail(new HeimdallError('not_found'));
  }

  async #call(context: Context, segments: readonly string[] | null, vouched: boolean): Promise<void> {
    // The gate's CORS headers are left out too: pages of other origins must not read this.
    context.extraHead = ['Cache-Control', 'no-store'];
    const found = segments === null ? null : resourceFor(segments);
    context.route = this.#routes.get(found?.resource ?? null) as Route;
    try {
      if (this.#services.core.closed) throw new HeimdallError('shutting_down');
      if (!vouched && this.#entrance.hasLogin && context.req.method === 'POST' && segments?.length === 1 && segments[0] === 'login') return send(context, await this.#entrance.login(context));
      if (segments?.length === 1 && segments[0] === 'me') return send(context, await this.#ownOf(context));
      const caller = vouched ? this.#entrance.vouched(context) : await this.#entrance.enter(context);
      if (caller.access === 'read' && changes(context) && !(found?.resource.forReaders === true && Object.hasOwn(found.resource.methods, context.req.method ?? ''))) throw new HeimdallError('read_only');
      if (found === null) throw new HeimdallError('not_found');
      const reply = await this.#ask(context, found, caller);
      if (reply !== null) send(context, reply);
    } catch (error) {
      this.#fail(context, error);
    }
  }

  /** The caller's own data, by its own credential and not by a login of the page. */
  #ownOf(context: Context): Promise<Reply> {
    context.route = this.#routes.get('me') as Route;
    if (!changes(context) && context.req.method !== 'OPTIONS') return this.#me.show(context);
    context.extraHead?.push('Allow', 'GET, HEAD');
    throw new HeimdallError('method_not_allowed');
  }

  async #ask(context: Context, { resource: { methods, takesQuery }, name }: { resource: Resource; name: string }, caller: Caller): Promise<Reply | null> {
    const verb = context.req.method === 'HEAD' ? 'GET' : context.req.method;
    const method = Object.hasOwn(methods, verb ?? '') ? methods[verb as keyof typeof methods] : undefined;
    if (method !== undefined) {
      if (takesQuery === undefined) refuseQuery(context);
      return method({ context, name, caller }, this.#services);
    }
    const allowed = Object.keys(methods).flatMap((each) => (each === 'GET' ? ['GET', 'HEAD'] : [each]));
    context.extraHead?.push('Allow', [...allowed, 'OPTIONS'].join(', '));
    if (verb === 'OPTIONS') return { status: 204 };
    throw new HeimdallError('method_not_allowed');
  }

  #fail(context: Context, error: unknown): void {
    if (error instanceof HeimdallError) return context.fail(error);
    const { log } = this.#services.core;
    log.error({ requestId: context.id, error: describe(error), stack: error instanceof Error ? error.stack : null }, 'request.panic');
    context.fail(new HeimdallError('internal_error', { cause: error }));
  }
}

/** A misspelt parameter must not pass for one that has no effect. @throws HeimdallError that names the first. */
function refuseQuery({ query }: Context): void {
  const [name] = new URLSearchParams(query).keys();
  if (name !== undefined) throw invalid(name.slice(0, 60), 'no parameters in the query here', 'one');
}

/**
 * SECURITY: a page of any site can let its own name stand for this machine (DNS rebinding) and would then be of the same origin;
 * its name is in `Host`.
 */
function hostProblem({ req: { headers } }: Context): HeimdallError | null {
  const name = (headers.host ?? 'localhost').toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (name === 'localhost' || loopback.has(name.replace(/^\[|\]$/g, ''))) return null;
  return new HeimdallError('invalid_host', { message: `host: expected a name of this machine, such as localhost or 127.0.0.1, got ${JSON.stringify(name.slice(0, 60))}.` });
}

function send(context: Context, { status, body, head = [] }: Reply): void {
  if (body === undefined) return context.answer(status, [...head], '');
  context.answer(status, ['Content-Type', 'application/json', ...head], printableJson(body));
}

/** The rest of a URL's path below a base, as sent: empty, or with a slash at its start. Null when the path is elsewhere. */
function below(base: readonly string[], url = '/'): string | null {
  const parts = (url.split('?', 1)[0] as string).split('/');
  let at = parts[0] === '' ? 1 : 0;
  for (const expected of base) {
    while (parts[at] === '') at++;
    if (segmentsOf(parts[at++] ?? '')?.[0] !== expected) return null;
  }
  const rest = parts.slice(at).join('/').replace(/^\/+/, '');
  return at >= parts.length ? '' : `/${rest}`;
}

/** The caller's own page needs no login of an administrator. */
const needsNoLogin = (path: string): boolean => path === '/me' || path === '/api/me' || path.startsWith('/assets/');

const isApi = (path: string): boolean => path === '/api' || path.startsWith('/api/');

/** Whether a path below a mount belongs to the page or the API; the host has others. */
const isOurs = (path: string): boolean => path === '' || path === '/' || path === '/me' || isApi(path) || path.startsWith('/assets/');

/** The decoded segments of a path, or null when it cannot be decoded. */
function segmentsOf(path: string): string[] | null {
  try {
    return path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return null;
  }
}

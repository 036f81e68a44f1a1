// The admin API: administrators read and change the state of the running gate through it.

import type { ServerResponse } from 'node:http';
import { Router } from 'express';
import type { HostHandler } from '../../types/caller.d.ts';
import type { Route } from '../../types/route.d.ts';
import { Context, type GateRequest, ownRoute, type RequestHandler, underway } from '../request/request.ts';
import { describe, guard } from '../platform/platform.ts';
import { bearer, BearerGuard } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import { printableJson } from '../redaction/redaction.ts';
import { invalid } from '../registry/registry.ts';
import { AddressSet, clientAddress, remoteOf } from '../identity/identity.ts';
import { isJson, type Caller, type AdminServices, type Reply } from './call.ts';
import { resourceFor, resources, type Resource } from './table.ts';

export { moment } from './fields.ts';
export { findingJson } from './findings.ts';
export { Hub } from './hub.ts';

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
}

/** Creates the admin API of one gate. @param services what it reads and changes. */
export function adminOf(services: AdminServices): Admin {
  return new Api(services);
}

class Api implements Admin, AdminPaths {
  readonly paths: AdminPaths | null;
  readonly router: HostHandler;
  readonly #services: AdminServices;
  readonly #guard: BearerGuard | null;
  readonly #trust: AddressSet;
  /** Segments of `admin.path`, and `api`. */
  readonly #base: readonly string[];
  readonly #root: string;
  readonly #routes: ReadonlyMap<Resource | null, Route>;
  readonly #hostVouches: boolean;
  #apart = false;
  #told = false;

  constructor(services: AdminServices) {
    const { core } = services;
    const { token, path, auth } = core.config.admin;
    this.#services = services;
    this.#guard = token === null ? null : new BearerGuard(core, [token], 'admin.auth_failed');
    this.#trust = new AddressSet(core.config.trustProxy);
    this.#root = `${path}/api`;
    this.#base = this.#root.slice(1).split('/');
    this.#routes = new Map<Resource | null, Route>([[null, ownRoute(`${this.#root}/*`)], ...resources.map((resource) => [resource, ownRoute(`${this.#root}/${resource.path.replace('*', '')}`)] as const)]);
    this.#hostVouches = auth === 'host';
    this.paths = token === null ? null : this;
    const router = Router();
    this.router = router as unknown as HostHandler;
    router.use(((req: GateRequest, res: ServerResponse, next: () => void) => this.#mounted(req, res, next)) as never);
  }

  owns({ path, ip, peer }: Context): boolean {
    if (!path.startsWith(this.#root) || (path.length > this.#root.length && path[this.#root.length] !== '/')) return false;
    return !this.#apart || (loopback.has(ip) && loopback.has(peer));
  }

  answer(context: Context): void {
    const problem = this.#apart ? hostProblem(context) : null;
    if (problem !== null) return context.fail(problem);
    underway(context, this.#serve(context, below(this.#base, context.req.url), false));
  }

  alone(host: string): RequestHandler {
    this.#apart = true;
    const isLocal = host === 'localhost' || loopback.has(host);
    return guard(this.#services.core.log, 'admin', (req: GateRequest, res: ServerResponse) => {
      const context = this.#arrived(req, res);
      const problem = isLocal ? hostProblem(context) : null;
      if (problem !== null) return context.fail(problem);
      const segments = below(this.#base, req.url);
      if (segments === null) return context.fail(new HeimdallError('not_found'));
      underway(context, this.#serve(context, segments, false));
    }, (req) => req.socket.destroy());
  }

  #mounted(req: GateRequest, res: ServerResponse, next: () => void): void {
    const segments = below(['api'], req.url);
    if (segments === null) return next();
    if (this.#guard === null && !this.#hostVouches) {
      if (!this.#told) this.#services.core.log.warn({ effect: 'gate.admin has no paths', fix: 'set admin.token, or admin.auth: host behind a login of your own' }, 'admin.closed');
      this.#told = true;
      return next();
    }
    const context = this.#arrived(req, res);
    underway(context, this.#serve(context, segments, this.#hostVouches));
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

  /** @param vouched whether the host application has authenticated the caller. */
  async #serve(context: Context, segments: readonly string[] | null, vouched: boolean): Promise<void> {
    // The gate's CORS headers are left out too: pages of other origins must not read this.
    context.extraHead = ['Cache-Control', 'no-store'];
    const found = segments === null ? null : resourceFor(segments);
    context.route = this.#routes.get(found?.resource ?? null) as Route;
    try {
      if (this.#services.core.closed) throw new HeimdallError('shutting_down');
      const caller = vouched ? this.#vouched(context) : this.#entering(context);
      if (found === null) throw new HeimdallError('not_found');
      const reply = await this.#ask(context, found, caller);
      if (reply !== null) send(context, reply);
    } catch (error) {
      this.#fail(context, error);
    }
  }

  #entering(context: Context): Caller {
    const refusal = (this.#guard as BearerGuard).check(context);
    if (refusal?.status === 401) context.extraHead?.push('WWW-Authenticate', 'Bearer');
    if (refusal !== null) throw refusal;
    return { ip: context.ip, token: () => this.#services.identify(bearer(context.req.headers.authorization) ?? '').id };
  }

  /** SECURITY: the host's login may be a cookie, which a browser also sends with requests of other sites' pages. */
  #vouched(context: Context): Caller {
    const { method, headers } = context.req;
    const reads = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
    const site = headers['sec-fetch-site'] ?? 'none';
    if (!reads && site !== 'none' && site !== 'same-origin') throw new HeimdallError('cross_site');
    if (method === 'POST' && !isJson(context)) throw new HeimdallError('invalid_content_type', { message: 'content-type: expected application/json, without a content-encoding.' });
    return { ip: context.ip, token: () => null };
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

/** The decoded segments of a path below a base, or null when the path is elsewhere or cannot be decoded. */
function below(base: readonly string[], url = '/'): string[] | null {
  try {
    const segments = (url.split('?', 1)[0] as string).split('/').filter(Boolean).map(decodeURIComponent);
    return base.every((segment, at) => segments[at] === segment) ? segments.slice(base.length) : null;
  } catch {
    return null;
  }
}

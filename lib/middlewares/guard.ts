import type { Socket } from 'node:net';
import type { Ban } from '../../types/registry.d.ts';
import { type Context, type Core, type Next, underway, guarded } from '../request/request.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import { guard as guardCallback } from '../platform/platform.ts';
import { AddressSet } from '../identity/identity.ts';
import type { GuardReason } from '../telemetry/telemetry.ts';
import type { Deps, Middleware } from './middleware.ts';
import type { BanIndex } from '../registry/registry.ts';

/** Time in which a client that is cut off may read the reason, milliseconds. */
const grace = 500;
/** The event log gets one line for each ban and list in this time, however often it refuses, milliseconds. */
const quiet = 60_000;

/** Refuses by bans, address lists and connection limits, and new work while the machine is short of a resource. */
export const guard: Middleware = {
  name: 'guard',
  create(core, deps) {
    const { registry } = deps;
    const rules = new CallerRules(core, deps);
    // A part that bans from inside a request goes on before the ban takes effect on that request too.
    const unwatch = registry.watch(() => void setImmediate(guardCallback(core.log, 'ban', () => cutOff(core, deps))));
    let isWatching = false;
    return {
      close: unwatch,
      handle: function guardHandler(context, next) {
        if (!isWatching) {
          isWatching = true;
          deps.resources.start();
        }
        // While the gate starts, requests wait for the registry: bans hold without a gap, and earlier keys are known.
        if (!registry.settled) underway(context, registry.ready().then(() => context.finished || guardHandler(context, next), next));
        else if (!rules.refuse(context)) next();
      },
    };
  },
};

/** Why a caller is refused. `by` is the ban or list, for which the event log gets one line in a while. */
interface Verdict {
  readonly rule: 'guard' | 'ban';
  readonly reason: GuardReason;
  readonly code: ErrorCode;
  readonly by: object;
}

class CallerRules {
  readonly #deps: Deps;
  readonly #connections: Core['connections'];
  readonly #deny: AddressSet | null;
  readonly #allow: AddressSet | null;
  readonly #mostRequests: number | null;
  readonly #served = new WeakMap<Socket, number>();
  readonly #denied: Verdict = { rule: 'guard', reason: 'deny', code: 'address_denied', by: {} };
  readonly #notAllowed: Verdict = { rule: 'guard', reason: 'allow', code: 'address_denied', by: {} };
  readonly #crowded: Verdict = { rule: 'guard', reason: 'connections', code: 'too_many_connections', by: {} };

  constructor({ config, connections }: Core, deps: Deps) {
    const { allow, deny, maxRequestsPerSocket } = config.guard;
    this.#deps = deps;
    this.#connections = connections;
    this.#deny = deny.length === 0 ? null : new AddressSet(deny);
    this.#allow = allow.length === 0 ? null : new AddressSet(allow);
    this.#mostRequests = maxRequestsPerSocket;
  }

  /** @returns true when the request was answered. */
  refuse(context: Context): boolean {
    if (this.#mostRequests !== null) this.#count(context, this.#mostRequests);
    const { ip, req } = context;
    if (this.#connections?.exceeds(req.socket) && refuse(context, this.#deps, this.#crowded)) return true;
    if (this.#deny?.has(ip) && refuse(context, this.#deps, this.#denied)) return true;
    if (this.#allow?.has(ip) === false && refuse(context, this.#deps, this.#notAllowed)) return true;
    const banned = this.#deps.registry.inForce;
    if (!banned.isEmpty && this.#refuseBanned(context, banned)) return true;
    return this.#deps.resources.short.length > 0 && isNewWork(context) && shed(context, this.#deps);
  }

  #refuseBanned(context: Context, banned: BanIndex): boolean {
    const { ip, token } = context;
    const ofAddress = banned.ofAddress(ip);
    if (ofAddress !== null && refuse(context, this.#deps, banning('ban_address', ofAddress))) return true;
    const ofToken = token === null ? null : banned.ofToken(token);
    return ofToken !== null && refuse(context, this.#deps, banning('ban_token', ofToken));
  }

  #count({ req: { socket }, res }: Context, most: number): void {
    const served = (this.#served.get(socket) ?? 0) + 1;
    this.#served.set(socket, served);
    if (served >= most) res.shouldKeepAlive = false;
  }
}

/** Requests to a model, new sessions and new tasks. Polling for a task that runs already is no new work. */
function isNewWork({ route: { class: kind }, req: { method } }: Context): boolean {
  return kind === 'model' || kind === 'realtime' || (kind === 'task' && method !== 'GET' && method !== 'HEAD');
}

/** Keeps the connection open: a client that has to open another costs more than its refusal. */
function shed(context: Context, { resources, metrics }: Deps): boolean {
  if (!context.refuse('resources', new HeimdallError('overloaded', { retryAfter: resources.retryAfter }))) return false;
  metrics.refusedByGuard('resources');
  return true;
}

const banning = (reason: Verdict['reason'], by: Ban): Verdict => ({ rule: 'ban', reason, code: 'banned', by });

/**
 * Refuses a banned gateway key. Called by `auth`, which knows the key.
 * @returns true when the request was answered.
 */
export function refusesKey(context: Context, deps: Deps): boolean {
  const ban = context.key === null ? null : deps.registry.inForce.ofKey(context.key);
  return ban !== null && refuse(context, deps, banning('ban_key', ban));
}

/** A slowed request waits so long, milliseconds. */
const slowBy = 500;
/** A limited caller gets one request through in this time, milliseconds. */
const limitedEvery = 60_000;
const mostLimited = 10_000;
/** When the limited callers got a request through, monotonic milliseconds, by finding. */
const letThrough = new Map<string, number>();

/** Applies what the watch has decided about a caller, then goes on. Called by `auth`, which knows the caller. */
export function restrain(context: Context, deps: Deps, next: Next): void {
  const { restraints } = deps.registry;
  if (restraints.isEmpty) return next();
  const restraint = restraints.ofCaller(context.key, context.token, context.grant) ?? (context.verified ? null : restraints.ofAddress(context.ip));
  if (restraint === null) return next();
  const { core, at } = context;
  switch (restraint.action) {
    case 'slow':
      if (core.observe) return next();
      core.clock.setTimeout(() => context.finished || next(), slowBy);
      return;
    case 'limit': {
      const since = letThrough.get(restraint.finding);
      if (since === undefined) letThrough.set(restraint.finding, at);
      else if (at - since >= limitedEvery) {
        letThrough.set(restraint.finding, at);
        return next();
      }
      if (letThrough.size > mostLimited) letThrough.delete(letThrough.keys().next().value as string);
      if (!context.refuse('watch', new HeimdallError('restrained', { retryAfter: Math.ceil((limitedEvery - (at - (since ?? at))) / 1000) }))) next();
      return;
    }
    case 'freeze':
      if (!context.refuse('watch', new HeimdallError('frozen'))) next();
  }
}

const heard = new WeakMap<object, number>();

function refuse(context: Context, deps: Deps, { rule, reason, code, by }: Verdict): boolean {
  const { core, ip, peer, key, token, at, res } = context;
  // The connections of a proxy carry other clients too.
  if (!core.observe && peer === ip) res.shouldKeepAlive = false;
  if (!context.refuse(rule, new HeimdallError(code))) return false;
  deps.metrics.refusedByGuard(reason);
  const since = heard.get(by);
  if (since === undefined || at - since >= quiet) {
    heard.set(by, at);
    core.log.warn({ requestId: context.id, ip, key, token: token?.id ?? null, reason, ban: (by as Partial<Ban>).id ?? null }, 'guard.refused');
  }
  return true;
}

/** Ends the requests in hand of callers that are banned by now, or whose key is no longer valid. Not with `mode: observe`. */
function cutOff(core: Core, deps: Deps): void {
  if (core.observe || core.closed) return;
  const told: Context[] = [];
  const banned = deps.registry.inForce;
  const { restraints } = deps.registry;
  for (const context of core.inFlight) {
    const ban = banOf(context, banned);
    const problem = ban === null && context.grant !== null ? deps.keys.problemOf(context.grant) : null;
    const frozen = ban === null && problem === null && restraints.ofCaller(context.key, context.token, context.grant)?.action === 'freeze';
    if ((ban === null && problem === null && !frozen) || context.finished || context.viaAdminListener) continue;
    const { id: requestId, ip, key, token, route } = context;
    const caller = { requestId, ip, key, token: token?.id ?? null, route: route.template };
    if (frozen) core.log.warn(caller, 'finding.cut');
    else if (ban === null) core.log.warn({ ...caller, reason: problem }, 'key.cut');
    else core.log.warn({ ...caller, ban: ban.id, reason: ban.reason }, 'ban.cut');
    const error = new HeimdallError(frozen ? 'frozen' : ban === null ? 'invalid_credential' : 'banned');
    context.errorCode ??= error.code;
    if (context.outcome === 'served') context.outcome = 'refused';
    guarded(context, () => context.cutOff(error))();
    told.push(context);
  }
  if (told.length === 0) return;
  core.clock.setTimeout(() => {
    for (const context of told) if (!context.finished) context.req.socket.destroy();
  }, grace).unref();
}

function banOf({ ip, token, key }: Context, banned: BanIndex): Ban | null {
  return banned.ofAddress(ip) ?? (token === null ? null : banned.ofToken(token)) ?? (key === null ? null : banned.ofKey(key));
}

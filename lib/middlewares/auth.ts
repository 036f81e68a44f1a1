import type { GatewayKey } from '../../types/config.d.ts';
import { guarded, type Context, type Core, type Finisher, type Next, underway } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { looksLikeJwt, type HostVerdict, type JwtVerdict } from '../keys/keys.ts';
import type { Deps, Handler, Middleware } from './middleware.ts';
import { refusesKey, restrain } from './guard.ts';

/**
 * Identifies the caller, on routes that need a credential: the host application is asked first, then the credential counts. Mode
 * `passthrough` leaves the verdict on a credential to NewAPI.
 */
export const auth: Middleware = {
  name: 'auth',
  create(core, deps) {
    const { mode } = core.config.auth;
    const byCredential = mode === 'passthrough' ? passthrough(core, deps) : requireKey(core, deps);
    return {
      handle: deps.host.identifies ? hostFirst(core, deps, byCredential) : byCredential,
      finish: { settle: learn(core, deps) },
    };
  },
};

/** Admits the users that the host application names; all other requests are judged by their credential. */
function hostFirst(core: Core, deps: Deps, byCredential: Handler): Handler {
  const decide = (context: Context, verdict: HostVerdict, next: Next): void => {
    // The client left while the host was asked.
    if (context.finished) return;
    if (verdict === null) return byCredential(context, next);
    // SECURITY: neither is lifted by `mode: observe`, since an upstream credential of ours may follow.
    if (verdict === 'unavailable') return context.fail(new HeimdallError('auth_unavailable'));
    if (deps.host.isForeign(context)) return context.fail(new HeimdallError('cross_site'));
    context.user = verdict;
    context.upstreamCredential = verdict.upstreamCredential ?? core.config.auth.upstreamCredential;
    // A credential that users share is charged by its owner's group.
    context.newapiGroup = verdict.upstreamCredential === null ? null : verdict.group;
    // What the client sent has proved nothing, and counts for nothing.
    context.token = null;
    letIn(context, deps, `user:${verdict.id}`, next);
  };
  return function hostHandler(context, next) {
    if (!context.route.credential) return next();
    const verdict = deps.host.userOf(context);
    if (verdict instanceof Promise) void verdict.then(guarded(context, (known) => decide(context, known, next)));
    else decide(context, verdict, next);
  };
}

/** Answers the user of a honey key as one of an unknown key. @returns whether it is one. */
function isTrapped(context: Context, core: Core, deps: Deps, next: Next): boolean {
  const honey = deps.registry.honeyOf(context.token);
  if (honey === null) return false;
  deps.honeyUsed(honey, context);
  if (core.config.auth.mode !== 'passthrough' && !core.observe) {
    reject(context, core, deps, { reason: 'unknown', credential: context.credential?.value ?? '' }, next);
    return true;
  }
  // NewAPI's refusal is imitated where NewAPI would have been asked, so that everything on the way there is as with an unknown key.
  context.trapped = true;
  restrain(context, deps, next);
  return true;
}

function passthrough(core: Core, deps: Deps): Handler {
  return function passthroughHandler(context, next) {
    if (!context.route.credential) return next();
    if (context.token === null) {
      return restrain(context, deps, () => context.refuse('auth', new HeimdallError('missing_credential')) || next());
    }
    if (deps.registry.hasHoney && isTrapped(context, core, deps, next)) return;
    context.verified = deps.verified.has(context.token.id);
    restrain(context, deps, next);
  };
}

/** NewAPI's answer to a model route proves a caller's own token; its 401 withdraws the proof. */
function learn(core: Core, { verified, registry }: Deps): Finisher {
  return function learnVerdict(context) {
    const { token, newapiVerdict, key, credential } = context;
    if (token === null || newapiVerdict === null || key !== null) return;
    if (newapiVerdict === 'accepted') {
      if (verified.accept(token.id) && credential !== null) registry.sawToken(credential.value, token.id);
      return;
    }
    verified.drop(token.id, context.at);
    logFailure(context, core, 'refused_by_newapi');
  };
}

function logFailure(context: Context, { log }: Core, reason: string): void {
  log.warn({ requestId: context.id, ip: context.ip, token: context.token?.id, reason }, 'auth.failed');
}

/** Admits callers with a gateway key or, in mode `jwt`, with a token of the issuer. */
function requireKey(core: Core, deps: Deps): Handler {
  const { jwt: verifier } = deps;
  return function keyHandler(context, next) {
    if (!context.route.credential) return next();
    const { credential } = context;
    if (credential === null) {
      return restrain(context, deps, () => context.refuse('auth', new HeimdallError('missing_credential')) || next());
    }
    if (deps.registry.hasHoney && isTrapped(context, core, deps, next)) return;
    const known = verifier?.known(credential.value) ?? null;
    if (known !== null) return admitBearer(context, deps, known, next);
    const found = deps.keys.find(credential.value, context.ip);
    if (typeof found !== 'string') return admit(context, deps, found, next);
    if (found !== 'unknown' || verifier === null || !looksLikeJwt(credential.value)) return reject(context, core, deps, { reason: found, credential: credential.value }, next);
    underway(context, awaitVerdict(verifier.verify(credential.value), context, core, deps, next));
  };
}

async function awaitVerdict(verdict: Promise<JwtVerdict>, context: Context, core: Core, deps: Deps, next: Next): Promise<void> {
  try {
    applyVerdict(context, core, deps, await verdict, next);
  } catch (error) {
    next(error);
  }
}

function applyVerdict(context: Context, core: Core, deps: Deps, verdict: JwtVerdict, next: Next): void {
  // The client left while the issuer was asked.
  if (context.finished) return;
  if (verdict.kind === 'caller') return admitBearer(context, deps, verdict.name, next);
  context.withheld = true;
  logFailure(context, core, verdict.kind === 'refused' ? verdict.reason : 'keys_unavailable');
  const error = new HeimdallError(verdict.kind === 'refused' ? 'invalid_credential' : 'auth_unavailable');
  restrain(context, deps, () => context.refuse('auth', error) || next());
}

interface Rejected {
  readonly reason: 'unknown' | 'disabled' | 'expired' | 'address';
  readonly credential: string;
}

function reject(context: Context, core: Core, deps: Deps, { reason, credential }: Rejected, next: Next): void {
  logFailure(context, core, reason);
  if (context.token !== null) deps.verified.drop(context.token.id, context.core.clock.monotonic());
  // What the watch has decided about a network counts for its refused tries: a good key passes from there.
  restrain(context, deps, () => {
    if (context.refuse('auth', new HeimdallError(reason === 'address' ? 'address_not_allowed' : 'invalid_credential'))) return;
    // SECURITY: a gateway key must not reach NewAPI in any mode; a request that names one here is not forwarded with it.
    context.key = deps.keys.nameOf(credential);
    next();
  });
}

function admit(context: Context, deps: Deps, key: GatewayKey, next: Next): void {
  context.grant = key;
  context.upstreamCredential = key.upstreamCredential;
  letIn(context, deps, key.name, next);
}

function admitBearer(context: Context, deps: Deps, name: string, next: Next): void {
  context.upstreamCredential = context.core.config.auth.jwt?.upstreamCredential ?? null;
  letIn(context, deps, name, next);
}

/** The token counts as verified from now on: failures of others at the same address do not block it. */
function letIn(context: Context, deps: Deps, name: string, next: Next): void {
  context.key = name;
  context.verified = true;
  if (context.token !== null) deps.verified.accept(context.token.id);
  if (!refusesKey(context, deps)) restrain(context, deps, next);
}

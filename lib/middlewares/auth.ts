import type { GatewayKey } from '../../types/config.d.ts';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { carriersOf, credentialOf } from '../identity/identity.ts';
import { jwtVerifierOf, looksLikeJwt, type JwtVerdict, type JwtVerifier } from '../keys/keys.ts';
import { contextOf, type Deps, type Handler, type Middleware, type Next } from './middleware.ts';
import { refusesKey } from './guard.ts';

/** Decides who is calling, on routes that need a credential. `passthrough` leaves the verdict to NewAPI. */
export const auth: Middleware = {
  name: 'auth',
  create(core, deps) {
    const { mode } = core.config.auth;
    return {
      handle: mode === 'passthrough' ? passthrough(deps) : ours(core, deps, jwtVerifierOf(core.config, core.clock, core.log)),
      finish: { settle: (context) => learn(context, core, deps) },
    };
  },
};

function passthrough(deps: Deps): Handler {
  return function passthroughHandler(req, _res, next) {
    const context = contextOf(req);
    if (!context.route.credential) return next();
    if (context.token === null) {
      if (!context.refuse('auth', new HeimdallError('missing_credential'))) next();
      return;
    }
    context.verified = deps.verified.has(context.token.id);
    next();
  };
}

/** NewAPI's answer to a model route is the proof of a caller's own token; its 401 takes the proof back. */
function learn(context: Context, core: Core, deps: Deps): void {
  const { token, vouched } = context;
  if (token === null || vouched === null || context.key !== null) return;
  if (vouched === 'accepted') return deps.verified.accept(token.id);
  deps.verified.drop(token.id);
  failed(context, core, 'refused_by_newapi');
}

function failed(context: Context, { log }: Core, reason: string): void {
  log.warn({ requestId: context.id, ip: context.ip, token: context.token?.id, reason }, 'auth.failed');
}

/** Lets in who carries a key of ours or, in mode `jwt`, a token of the issuer. */
function ours(core: Core, deps: Deps, verifier: JwtVerifier | null): Handler {
  return function oursHandler(req, _res, next) {
    const context = contextOf(req);
    if (!context.route.credential) return withhold(context, deps, next);
    const credential = credentialOf(req.headers, context.path, context.query);
    if (credential === null) {
      if (!context.refuse('auth', new HeimdallError('missing_credential'))) next();
      return;
    }
    const known = verifier?.known(credential.value) ?? null;
    if (known !== null) return admitBearer(context, deps, known, next);
    const found = deps.keys.find(credential.value, context.ip);
    if (typeof found !== 'string') return admit(context, deps, found, next);
    if (found !== 'unknown' || verifier === null || !looksLikeJwt(credential.value)) return turnAway(context, core, deps, { reason: found, credential: credential.value }, next);
    void verified(verifier.verify(credential.value), context, core, deps, next);
  };
}

async function verified(verdict: Promise<JwtVerdict>, context: Context, core: Core, deps: Deps, next: Next): Promise<void> {
  try {
    judged(context, core, deps, await verdict, next);
  } catch (error) {
    next(error);
  }
}

function judged(context: Context, core: Core, deps: Deps, verdict: JwtVerdict, next: Next): void {
  // Left while the issuer was asked.
  if (context.finished) return;
  if (verdict.kind === 'caller') return admitBearer(context, deps, verdict.name, next);
  context.withheld = true;
  failed(context, core, verdict.kind === 'refused' ? verdict.reason : 'keys_unavailable');
  if (!context.refuse('auth', new HeimdallError(verdict.kind === 'refused' ? 'invalid_credential' : 'auth_unavailable'))) next();
}

interface Failed {
  readonly reason: 'unknown' | 'disabled' | 'expired' | 'address';
  readonly credential: string;
}

function turnAway(context: Context, core: Core, deps: Deps, { reason, credential }: Failed, next: Next): void {
  failed(context, core, reason);
  if (context.token !== null) deps.verified.drop(context.token.id);
  if (context.refuse('auth', new HeimdallError(reason === 'address' ? 'address_not_allowed' : 'invalid_credential'))) return;
  // SECURITY: one of our keys must not reach NewAPI, in no mode; named here, it goes nowhere.
  context.key = deps.keys.nameOf(credential);
  withhold(context, deps, next);
}

/** SECURITY: who sends a key of ours where none is asked for, or beside another credential, does not show it to NewAPI. */
function withhold(context: Context, deps: Deps, next: Next): void {
  if (!context.withheld) context.withheld = carriersOf(context.req.headers, context.query).some((value) => deps.keys.nameOf(value) !== null);
  next();
}

function admit(context: Context, deps: Deps, key: GatewayKey, next: Next): void {
  context.grant = key;
  context.upstreamCredential = key.upstreamCredential;
  enter(context, deps, key.name, next);
}

function admitBearer(context: Context, deps: Deps, name: string, next: Next): void {
  context.upstreamCredential = context.core.config.auth.jwt?.upstreamCredential ?? null;
  enter(context, deps, name, next);
}

/** Known as good, so that the failures of others at the same address do not keep it out. */
function enter(context: Context, deps: Deps, name: string, next: Next): void {
  context.key = name;
  context.verified = true;
  if (context.token !== null) deps.verified.accept(context.token.id);
  if (!refusesKey(context, deps)) next();
}

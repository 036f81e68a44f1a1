import type { GatewayKey } from '../../types/config.d.ts';
import type { Context, Core } from '../context.ts';
import { HeimdallError } from '../errors.ts';
import { credentialOf } from '../identity/token.ts';
import { contextOf, type Deps, type Handler, type Middleware } from '../part.ts';

/** Decides who is calling, on routes that need a credential. `passthrough` leaves the verdict to NewAPI. */
export const auth: Middleware = {
  name: 'auth',
  create(core, deps) {
    const { mode } = core.config.auth;
    if (mode === 'keys' && deps.keys.size === 0) core.log.warn({ effect: 'every credentialed request is answered 401' }, 'auth.no_keys');
    return {
      handle: mode === 'keys' ? byKey(core, deps) : passthrough(deps),
      finish: { settle: (context) => learn(context, deps) },
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
function learn(context: Context, deps: Deps): void {
  if (context.token === null || context.vouched === null || context.key !== null) return;
  if (context.vouched === 'refused') deps.verified.drop(context.token.id);
  else deps.verified.accept(context.token.id);
}

function byKey(core: Core, deps: Deps): Handler {
  return function keysHandler(req, _res, next) {
    const context = contextOf(req);
    if (!context.route.credential) return next();
    const credential = credentialOf(req.headers, context.path, context.query);
    if (credential === null) {
      if (!context.refuse('auth', new HeimdallError('missing_credential'))) next();
      return;
    }
    const found = deps.keys.find(credential.value, context.ip);
    if (typeof found === 'string') {
      core.log.warn({ requestId: context.id, ip: context.ip, token: context.token?.id, reason: found }, 'auth.failed');
      if (context.refuse('auth', new HeimdallError(found === 'address' ? 'address_not_allowed' : 'invalid_credential'))) return;
      // SECURITY: one of our keys must not reach NewAPI, in no mode; named here, it goes nowhere.
      context.key = deps.keys.nameOf(credential.value);
      return next();
    }
    admit(context, found);
    next();
  };
}

function admit(context: Context, key: GatewayKey): void {
  context.key = key.name;
  context.verified = true;
  context.upstreamCredential = key.upstreamCredential;
}

import { hash } from 'node:crypto';
import type { Config, GatewayKey } from '../../types/config.d.ts';
import type { Context, Core, Finisher, Next } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { keyProtocol } from '../identity/identity.ts';
import { looksLikeJwt, type JwtVerdict } from '../keys/keys.ts';
import type { Deps, Handler, Middleware } from './middleware.ts';
import { refusesKey } from './guard.ts';

/** Identifies the caller, on routes that need a credential. Mode `passthrough` leaves the verdict to NewAPI. */
export const auth: Middleware = {
  name: 'auth',
  create(core, deps) {
    const { mode } = core.config.auth;
    const ours = new OwnSecrets(core.config, deps.keys);
    return {
      handle: mode === 'passthrough' ? passthrough(deps, ours) : requireKey(core, deps, ours),
      finish: { settle: learn(core, deps) },
    };
  },
};

function passthrough(deps: Deps, ours: OwnSecrets): Handler {
  return function passthroughHandler(context, next) {
    if (ours.exist) context.withheld = ours.carriedBy(context);
    if (!context.route.credential) return next();
    if (context.token === null) {
      if (!context.refuse('auth', new HeimdallError('missing_credential'))) next();
      return;
    }
    context.verified = deps.verified.has(context.token.id);
    next();
  };
}

/** NewAPI's answer to a model route proves a caller's own token; its 401 withdraws the proof. */
function learn(core: Core, { verified }: Deps): Finisher {
  return function learnVerdict(context) {
    const { token, newapiVerdict, key } = context;
    if (token === null || newapiVerdict === null || key !== null) return;
    if (newapiVerdict === 'accepted') return verified.accept(token.id);
    verified.drop(token.id);
    logFailure(context, core, 'refused_by_newapi');
  };
}

function logFailure(context: Context, { log }: Core, reason: string): void {
  log.warn({ requestId: context.id, ip: context.ip, token: context.token?.id, reason }, 'auth.failed');
}

/** Admits callers with a gateway key or, in mode `jwt`, with a token of the issuer. */
function requireKey(core: Core, deps: Deps, ours: OwnSecrets): Handler {
  const { jwt: verifier } = deps;
  return function keyHandler(context, next) {
    if (ours.exist) context.withheld = ours.carriedBy(context);
    if (!context.route.credential) return next();
    const { credential } = context;
    if (credential === null) {
      if (!context.refuse('auth', new HeimdallError('missing_credential'))) next();
      return;
    }
    const known = verifier?.known(credential.value) ?? null;
    if (known !== null) return admitBearer(context, deps, known, next);
    const found = deps.keys.find(credential.value, context.ip);
    if (typeof found !== 'string') return admit(context, deps, found, next);
    if (found !== 'unknown' || verifier === null || !looksLikeJwt(credential.value)) return reject(context, core, deps, { reason: found, credential: credential.value }, next);
    void awaitVerdict(verifier.verify(credential.value), context, core, deps, next);
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
  if (!context.refuse('auth', new HeimdallError(verdict.kind === 'refused' ? 'invalid_credential' : 'auth_unavailable'))) next();
}

interface Rejected {
  readonly reason: 'unknown' | 'disabled' | 'expired' | 'address';
  readonly credential: string;
}

function reject(context: Context, core: Core, deps: Deps, { reason, credential }: Rejected, next: Next): void {
  logFailure(context, core, reason);
  if (context.token !== null) deps.verified.drop(context.token.id);
  if (context.refuse('auth', new HeimdallError(reason === 'address' ? 'address_not_allowed' : 'invalid_credential'))) return;
  // SECURITY: a gateway key must not reach NewAPI in any mode; a request that names one here is not forwarded with it.
  context.key = deps.keys.nameOf(credential);
  next();
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
  if (!refusesKey(context, deps)) next();
}

/** Headers in which clients, proxies and browsers send credentials. */
const carriers = ['authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret', 'sec-websocket-protocol', 'api-key', 'x-auth-token', 'referer'] as const;
/** A shorter word is no credential of the gate. */
const minSecret = 8;
const separators = /[\s,;=&?"']+/;

/**
 * Finds credentials that the gate itself issues or checks: gateway keys, tokens of its own endpoints, tokens of the issuer.
 * SECURITY: a request that carries one reaches no receiver with it, on any path and in any mode. Values are compared by digest, so
 * the time taken tells nothing about a secret.
 */
class OwnSecrets {
  readonly #tokens: ReadonlySet<string>;
  readonly #keys: Deps['keys'];
  readonly #issuer: string | null;

  constructor({ auth: { jwt }, metrics, admin, audit }: Config, keys: Deps['keys']) {
    this.#tokens = new Set([metrics.token, admin.token, ...audit.ingest.tokens].flatMap((token) => (token === null ? [] : [hash('sha256', token)])));
    this.#keys = keys;
    this.#issuer = jwt?.issuer ?? null;
  }

  get exist(): boolean {
    return this.#tokens.size > 0 || this.#keys.size > 0 || this.#issuer !== null;
  }

  carriedBy(context: Context): boolean {
    const { headers, query } = context;
    context.cookieWithheld = headers.cookie !== undefined && this.#isIn(headers.cookie);
    if (context.cookieWithheld) return true;
    for (const name of carriers) {
      const value = headers[name];
      if (value !== undefined && this.#isIn(String(value))) return true;
    }
    return query.length > minSecret && this.#isIn(query);
  }

  #isIn(text: string): boolean {
    const plain = text.includes('%') ? text.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))) : text;
    for (const word of plain.split(separators)) {
      if (word.length >= minSecret && this.#isOurs(word.startsWith(keyProtocol) ? word.slice(keyProtocol.length) : word)) return true;
    }
    const basic = /^basic +([\w+/=-]+)/i.exec(text)?.[1];
    return basic !== undefined && Buffer.from(basic, 'base64').toString().split(':').some((part) => part.length >= minSecret && this.#isOurs(part));
  }

  #isOurs(word: string): boolean {
    if (this.#issuer !== null && looksLikeJwt(word) && issuerOf(word) === this.#issuer) return true;
    return this.#tokens.has(hash('sha256', word)) || this.#keys.nameOf(word) !== null;
  }
}

/** The `iss` of a JWT, not verified: an expired token of the issuer is withheld as well. */
function issuerOf(token: string): unknown {
  try {
    return (JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { iss?: unknown } | null)?.iss;
  } catch {
    return null;
  }
}

import type { Subject } from '../../types/detector.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Context, Core } from '../request/request.ts';
import { credentialOf } from '../identity/identity.ts';
import { looksLikeJwt, type JwtVerifier } from './jwt.ts';
import type { GatewayKeys, VerifiedTokens } from './store.ts';

/** What tells a caller's credential good. */
export interface CallerFinderDeps {
  readonly keys: GatewayKeys;
  readonly jwt: JwtVerifier | null;
  readonly verified: VerifiedTokens;
  readonly identify: (credential: string) => TokenIdentity;
  /** Asks NewAPI whether it knows a token. */
  readonly ask: (context: Context, credential: string) => Promise<boolean>;
  /** Called with a token that NewAPI knows. */
  readonly accepted: (credential: string, id: string) => void;
}

/** Finds the caller of a request outside the chain of model routes by its bearer token, as the part `auth` would. */
export class CallerFinder {
  readonly #deps: CallerFinderDeps;
  readonly #passes: boolean;

  constructor({ config }: Core, deps: CallerFinderDeps) {
    this.#deps = deps;
    this.#passes = config.auth.mode === 'passthrough';
  }

  /**
   * Sets the caller in the context.
   * @param mayAsk whether NewAPI may be asked about a token that is not verified.
   * @returns null for a credential that is not good.
   */
  async find(context: Context, mayAsk: () => boolean): Promise<Subject | null> {
    const { authorization } = context.headers;
    const value = /^bearer /i.test(authorization ?? '') ? (credentialOf({ authorization }, '/v1/chat/completions', '')?.value ?? null) : null;
    if (value === null) return null;
    if (this.#passes) return this.#byToken(context, value, mayAsk);
    const { keys, jwt } = this.#deps;
    const found = keys.find(value, context.ip);
    if (typeof found !== 'string') {
      context.grant = found;
      return isKey(context, found.name);
    }
    if (found !== 'unknown' || jwt === null || !looksLikeJwt(value)) return null;
    const known = jwt.known(value);
    if (known !== null) return isKey(context, known);
    const verdict = mayAsk() ? await jwt.verify(value) : null;
    return verdict?.kind === 'caller' ? isKey(context, verdict.name) : null;
  }

  async #byToken(context: Context, value: string, mayAsk: () => boolean): Promise<Subject | null> {
    const { verified, identify, ask, accepted } = this.#deps;
    const token = identify(value);
    if (!verified.has(token.id)) {
      if (!mayAsk() || !(await ask(context, value))) return null;
      verified.accept(token.id);
      accepted(value, token.id);
    }
    context.token = token;
    context.verified = true;
    return { kind: 'token', id: token.id };
  }
}

function isKey(context: Context, name: string): Subject {
  context.key = name;
  context.verified = true;
  return { kind: 'key', id: name };
}

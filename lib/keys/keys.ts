// Who is let in: by configured keys, JWTs, verified tokens, the word of a host application and the bearer tokens of the gate's own endpoints.

export { guessesAt } from './guesses.ts';
export { bearer, BearerGuard } from './bearer-guard.ts';
export { CallerFinder } from './caller-finder.ts';
export { Host, type HostVerdict } from './host.ts';
export { JwtVerifier, jwtVerifierOf, looksLikeJwt, type JwtVerdict } from './jwt.ts';
export { OwnCredentials } from './own-credentials.ts';
export { GatewayKeys, VerifiedTokens } from './store.ts';

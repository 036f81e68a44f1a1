// Which credentials are accepted: configured keys, JWTs, verified tokens and the bearer tokens of the gate's own endpoints.

export { bearer, BearerGuard } from './bearer-guard.ts';
export { JwtVerifier, jwtVerifierOf, looksLikeJwt, type JwtVerdict } from './jwt.ts';
export { OwnCredentials } from './own-credentials.ts';
export { GatewayKeys, VerifiedTokens } from './store.ts';

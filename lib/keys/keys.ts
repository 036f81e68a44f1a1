// The credentials that let a caller in: configured keys, JWTs, verified tokens and the bearer tokens of own endpoints.

export { Door, bearer } from './bearer-guard.ts';
export { JwtVerifier, jwtVerifierOf, looksLikeJwt, type JwtVerdict } from './jwt.ts';
export { GatewayKeys } from './store.ts';
export { VerifiedTokens } from './verified.ts';

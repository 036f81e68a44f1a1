// The parts of the chain, one file each, and their contract.

export { auth } from './auth.ts';
export { body } from './body.ts';
export { cors } from './cors.ts';
export { endpoints } from './endpoints.ts';
export { fingerprint } from './fingerprint.ts';
export { guard } from './guard.ts';
export { keyLimit } from './key-limit.ts';
export { live } from './live.ts';
export { logging } from './logging.ts';
export type { Deps, Handler, Middleware, Part } from './middleware.ts';
export { openai } from './openai.ts';
export { panicRecovery } from './panic-recovery.ts';
export { passthrough } from './passthrough.ts';
export { onRoutes } from './per-route.ts';
export { queue } from './queue.ts';
export { rateLimit } from './rate-limit.ts';
export { requestTimer } from './request-timer.ts';
export { routes } from './routes.ts';
export { securityHeaders } from './security-headers.ts';

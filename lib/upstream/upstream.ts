// Routes, targets, attempts and failover for model routes, and the proxy to NewAPI for all other routes.

export { Affinity, conversations } from './affinity.ts';
export { forwarder } from './forward.ts';
export { outgoingCredential } from './headers.ts';
export type { Spend } from './metered-socket.ts';
export { NewapiClient } from './newapi-client.ts';
export { PriceFeed } from './price-feed.ts';
export { proxy } from './passthrough.ts';
export { prober, shareProbes } from './probe.ts';
export { RetryBudget } from './retry.ts';
export { routeHealth, type RouteHealth } from './route-health.ts';
export { routeTable } from './routes.ts';
export { targetStatuses } from './status.ts';
export { hearBreakers, targetModel, targetsOf, type Target } from './targets.ts';
export { UnreadAnswers } from './unread-answers.ts';

// One answer from many places: routes, targets, attempts, failover and the proxy for everything else.

export { leavesWith } from './credentials.ts';
export { forwarder } from './forward.ts';
export { proxy } from './passthrough.ts';
export { prober } from './probe.ts';
export { routeHealth, type RouteHealth } from './route-health.ts';
export { routeTable } from './routes.ts';
export { statusOf } from './status.ts';
export { targetModel, targetsOf, type Target } from './targets.ts';

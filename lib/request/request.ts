// One request on its way through the gate, all requests in hand, and the server's events that bring requests.

export { attach, refuse, relimit } from './attach.ts';
export { Connections } from './connections.ts';
export { Context, fairnessKeyOf, isConversation, isMadeUp, requestId, stages, type Core, type ErrorHandler, type Exchange, type Finisher, type GateRequest, type Guesses, type HeadPart, type Next, type RequestHandler, type Stage, type Tap } from './context.ts';
export { drained } from './drain.ts';
export { contain, guarded, underway } from './context.ts';
export { InFlight } from './in-flight.ts';
export { Mount } from './mount.ts';
export { Probes } from './probes.ts';
export { ownPaths, ownRoute } from './own-route.ts';
export { relayTo } from './relay.ts';

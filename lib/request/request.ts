// One request on its way through the gate, and all requests in hand.

export { attach, refuse } from './attach.ts';
export { Connections } from './connections.ts';
export { Context, stages, type Core, type ErrorHandler, type Exchange, type Finisher, type GateRequest, type Handler, type HeadPart, type Holding, type Next, type Stage, type Tap } from './context.ts';
export { cut } from './cut-off.ts';
export { Deadlines } from './deadlines.ts';
export { drained } from './drain.ts';
export { fairnessKeyOf } from './fairness-key.ts';
export { InFlight } from './in-flight.ts';
export { ownRoute } from './own-route.ts';
export { requestId } from './request-id.ts';

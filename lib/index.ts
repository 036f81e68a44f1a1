// What the package exports: the gate for a host application, a server of its own, and the types of both.

export { heimdall, type AttachOptions, type Gate, type GateOptions, type Reloaded } from './gateway.ts';
export { createServer, serve, type Serving } from './server/server.ts';
export { loadConfig } from './config/config.ts';
export { keepRawBody } from './http/http.ts';
export { ConfigError, HeimdallError, type ErrorCode } from './errors.ts';
export type * from '../types/config.d.ts';
export type { HostHandler, HostOptions, HostRequest, IdentifiedCaller } from '../types/caller.d.ts';
export type { Clock, Timer } from '../types/clock.d.ts';
export type { RequestInfo, TokenIdentity, UserInfo } from '../types/context.d.ts';
export type { Logger } from '../types/logger.d.ts';
export type { Provider } from '../types/provider.d.ts';
export type { AuditRecord, RecordedOutcome } from '../types/record.d.ts';
export type { CheckedRoute, ErrorShape, Route, RouteClass } from '../types/route.d.ts';
export type { Checkpoint, Delivery, Sink } from '../types/sink.d.ts';
export type { Usage } from '../types/usage.d.ts';

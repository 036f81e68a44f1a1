import type { IncomingMessage } from 'node:http';
import type { RouteConfig } from '../../types/config.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import type { Route } from '../../types/route.d.ts';
import type { AdminPaths } from '../admin/admin.ts';
import type { Ingestion } from '../record/record.ts';
import type { RouteHealth } from '../upstream/upstream.ts';
import type { Context, Core, ErrorHandler, Finisher, GateRequest, Handler, HeadPart, Stage, Tap } from '../request/request.ts';

export type { Handler, Next } from '../request/request.ts';
import type { BodyInspector } from '../http/http.ts';
import type { Limits } from '../limits/limits.ts';
import type { Metrics, Resources } from '../telemetry/telemetry.ts';
import type { Bytes, Queue } from '../queue/queue.ts';
import type { GatewayKeys, VerifiedTokens } from '../keys/keys.ts';
import type { Redis } from '../platform/platform.ts';
import type { KeyRegistry } from '../registry/registry.ts';

/** What `gateway.ts` hands to the parts, so that they need not know each other. */
export interface Deps {
  readonly routeOf: (method: string, path: string) => Route;
  /** What the configuration says of a route, for those it names. */
  readonly rows: ReadonlyMap<Route, RouteConfig>;
  readonly routeHealth: RouteHealth;
  /** Answers a model route. */
  readonly forward: (context: Context) => void;
  /** Carries everything else to NewAPI. */
  readonly carry: (context: Context) => void;
  /** Whether some target can be expected to answer. */
  readonly ready: () => Promise<boolean>;
  readonly identify: (credential: string) => TokenIdentity;
  readonly keys: GatewayKeys;
  readonly verified: VerifiedTokens;
  /** Keys and bans that change while the gate runs. */
  readonly registry: KeyRegistry;
  readonly inspector: BodyInspector;
  readonly resources: Resources;
  /** What instances share; null without `rate_limit.redis_url`. */
  readonly redis: Redis | null;
  /** Limits of keys and policies. */
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly queue: Queue;
  /** Bodies in hand, in bytes. */
  readonly bytes: Bytes;
  /** Null without `admin.token`. */
  readonly admin: AdminPaths | null;
  readonly ingestion: Ingestion;
  /** Works out what an answer cost. */
  readonly price: Finisher;
  /** Has a finished request leave its access line, and its record in the journal. */
  readonly record: Finisher;
  /** Lets the record see bytes that pass; null when nothing is recorded. */
  readonly tap: (context: Context) => Tap | null;
  readonly journal: Journal;
}

/** A part made ready by its factory. Everything is optional: a part that only adds to the head has no handler. */
export interface Part {
  readonly handle?: Handler;
  /** Errors of everything above it. */
  readonly catch?: ErrorHandler;
  /** Adds to the head of every answer, of the gate's own, or of proxied ones. */
  readonly every?: HeadPart;
  readonly own?: HeadPart;
  readonly proxied?: HeadPart;
  /** Runs once for every request, in its stage, however the request ended. */
  readonly finish?: Partial<Record<Stage, Finisher>>;
  readonly close?: () => Promise<void> | void;
}

/** One part of the chain: the factory thinks, what it returns works. */
export interface Middleware {
  /** As in the configuration's `middleware` list. */
  readonly name: string;
  create(core: Core, deps: Deps): Part;
}

/** The context `fingerprint` has put there for every part below it. */
export function contextOf(req: IncomingMessage): Context {
  return (req as GateRequest).heimdall as Context;
}

import type { RouteConfig } from '../../types/config.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import type { Route } from '../../types/route.d.ts';
import type { AdminPaths, OriginalApi } from '../admin/admin.ts';
import type { Ingestion } from '../record/record.ts';
import type { RouteHealth } from '../upstream/upstream.ts';
import type { Context, Core, ErrorHandler, Finisher, HeadPart, Next, Stage, Tap } from '../request/request.ts';
import type { BodyInspector } from '../http/http.ts';
import type { Limits } from '../limits/limits.ts';
import type { Metrics, Resources } from '../telemetry/telemetry.ts';
import type { BodyBudget, Queue } from '../queue/queue.ts';
import type { GatewayKeys, Host, JwtVerifier, VerifiedTokens } from '../keys/keys.ts';
import type { Redis } from '../platform/platform.ts';
import type { KeyRegistry } from '../registry/registry.ts';

/** What `wiring.ts` hands to the parts. Each takes what it needs; no part imports another. */
export interface Deps {
  readonly routeOf: (method: string, path: string) => Route;
  /** All routes, those of the configuration included. */
  readonly routes: readonly Route[];
  /** Rows of the configuration by their routes. */
  readonly rows: ReadonlyMap<Route, RouteConfig>;
  readonly routeHealth: RouteHealth;
  /** Answers a request of a model route by the upstream layer. */
  readonly forward: (context: Context) => void;
  /** Proxies any other request to NewAPI. */
  readonly carry: (context: Context) => void;
  /** Whether some target can be expected to answer. */
  readonly ready: () => Promise<boolean>;
  readonly identify: (credential: string) => TokenIdentity;
  /** The install secret. */
  readonly secret: () => string;
  readonly keys: GatewayKeys;
  readonly verified: VerifiedTokens;
  /** The application that embeds the gate. */
  readonly host: Host;
  /** Null but with `auth.mode: jwt`. */
  readonly jwt: JwtVerifier | null;
  /** Keys and bans that change while the gate runs. */
  readonly registry: KeyRegistry;
  /** Reports the use of a honey key. */
  readonly honeyUsed: (name: string, context: Context) => void;
  readonly inspector: BodyInspector;
  /** Whether something behind the body needs all of it before a request may go on. */
  readonly needsBody: (context: Context) => boolean;
  /** Whether it depends on the model now, which target may be asked. */
  readonly asksForModel: () => boolean;
  readonly resources: Resources;
  /** Connection shared by the instances of a gate; null without `rate_limit.redis_url`. */
  readonly redis: Redis | null;
  /** Limits of keys and policies. */
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly queue: Queue;
  /** Bodies in hand, in bytes. */
  readonly bodies: BodyBudget;
  /** Null without `admin.token`. */
  readonly admin: AdminPaths | null;
  /** The original's API of detections; null without `anomaly.api`. */
  readonly original: OriginalApi | null;
  readonly ingestion: Ingestion;
  /** Computes the cost of an answer. */
  readonly price: Finisher;
  /** Writes the access line of a finished request and its record. */
  readonly record: Finisher;
  /** Shows passing bytes to the record; null when nothing is recorded. */
  readonly tap: (context: Context) => Tap | null;
  readonly journal: Journal;
}

/** Works on a request of the chain: answers it through its context, or calls `next`, at once or later. */
export type Handler = (context: Context, next: Next) => void;

/** A part as its factory returns it. Every member is optional: a part that only adds to the head has no handler. */
export interface Part {
  readonly handle?: Handler;
  /** Requests that `handle` is called for: those of model routes, or all others; default: both. */
  readonly serves?: 'models' | 'others' | undefined;
  /** Handles the errors of all parts above it. */
  readonly catch?: ErrorHandler;
  /** Adds fields to the head of every answer, of the gate's own answers, or of proxied ones. */
  readonly every?: HeadPart;
  readonly own?: HeadPart;
  readonly proxied?: HeadPart;
  /** Runs once for every request, in its stage, however the request ended. */
  readonly finish?: Partial<Record<Stage, Finisher>>;
  /** Called when its configuration comes into force: until then it changes nothing outside of itself. */
  readonly enter?: () => void;
  readonly close?: () => Promise<void> | void;
  /** What it hands on to the part of the same name when the configuration changes. */
  readonly state?: unknown;
}

/** One part of the chain. Its factory reads the configuration; its handler does no such work per request. */
export interface Middleware {
  /** As in the configuration's `middleware` list. */
  readonly name: string;
  /** @param before the `state` of the part of this name under the configuration before. */
  create(core: Core, deps: Deps, before?: unknown): Part;
}

/**
 * @param paths of the gate's own, and prefixes of such.
 * @returns `others`, unless one of the paths is also that of a model route: then the part has to see both.
 */
export function servedBeside(models: Deps['routes'], paths: readonly string[]): Part['serves'] {
  const overlaps = (template: string, path: string): boolean => template.startsWith(path) || path.startsWith(template.split(/[:*]/, 1)[0] as string);
  return models.some(({ class: kind, template }) => kind === 'model' && paths.some((path) => overlaps(template, path))) ? undefined : 'others';
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TokenIdentity } from '../types/context.d.ts';
import type { Route } from '../types/route.d.ts';
import type { Context, Core, Finisher, GateRequest, HeadPart, Stage } from './context.ts';
import type { Metrics } from './metrics.ts';
import type { GatewayKeys } from './keys/store.ts';
import type { VerifiedTokens } from './keys/verified.ts';

export type Next = (error?: unknown) => void;
export type Handler = (req: GateRequest, res: ServerResponse, next: Next) => void;
export type ErrorHandler = (error: unknown, req: GateRequest, res: ServerResponse, next: Next) => void;

/** What `gateway.ts` hands to the parts, so that they need not know each other. */
export interface Deps {
  readonly routeOf: (method: string, path: string) => Route;
  /** Answers a model route. */
  readonly forward: (context: Context) => void;
  /** Carries everything else to NewAPI. */
  readonly carry: (context: Context) => void;
  /** Whether some target can be expected to answer. */
  readonly ready: () => Promise<boolean>;
  readonly identify: (credential: string) => TokenIdentity;
  readonly keys: GatewayKeys;
  readonly verified: VerifiedTokens;
  readonly metrics: Metrics;
  /** Works out what an answer cost. */
  readonly price: Finisher;
  readonly writeAccessLine: (context: Context) => void;
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

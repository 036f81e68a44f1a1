import type { Duplex } from 'node:stream';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../types/clock.d.ts';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import type { Context } from './context.ts';
import type { Connections } from './connections.ts';
import type { Live } from './in-flight.ts';
import type { Watch } from './deadlines.ts';

/** The order in which a finished request is put away. */
export const stages = ['upstream', 'settle', 'release', 'record', 'metrics'] as const;
export type Stage = (typeof stages)[number];

/** Adds fields to an answer's one head, a flat name, value list. */
export type HeadPart = (context: Context, head: string[]) => void;
export type Finisher = (context: Context) => void;

/** What all requests of one gate share. */
export interface Core {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** `mode: observe`: rules decide and are recorded, nothing is refused. */
  readonly observe: boolean;
  /** Set once by `close()`; readiness fails and answers close their connections. */
  draining: boolean;
  /** Set once the drain is over: what a host still sends here is refused. */
  closed: boolean;
  readonly live: Live;
  readonly watch: Watch;
  /** Null without `guard.connections_per_address`. */
  readonly connections: Connections | null;
  readonly heads: { readonly every: HeadPart[]; readonly own: HeadPart[]; readonly proxied: HeadPart[] };
  readonly finishers: Finisher[];
}

/** An exchange with an upstream that must end when the client leaves. */
export interface Exchange {
  abort(): void;
  /** Ends itself when one of its time limits is over. */
  look(now: number): void;
}

/** Looks at bytes on their way, for the record. */
export interface Tap {
  /** A piece of a request's body that streams. */
  body(chunk: Buffer): void;
  /** The head of the answer that is to come. */
  head(head: readonly string[]): void;
  answer(chunk: Buffer): void;
}

/** Something taken for a request that must be given back once, whatever happens to it. */
export interface Holding {
  release(): void;
}

/** A WebSocket handshake on its way through the chain. */
export interface Upgrade {
  readonly socket: Duplex;
  readonly head: Buffer;
}

export type GateRequest = IncomingMessage & {
  heimdall?: Context;
  heimdallUpgrade?: Upgrade;
  originalUrl?: string;
  baseUrl?: string;
  body?: unknown;
  rawBody?: unknown;
};

export type Outcome = 'served' | 'refused' | 'upstream_error' | 'aborted' | 'interrupted';

export type Next = (error?: unknown) => void;
export type Handler = (req: GateRequest, res: ServerResponse, next: Next) => void;
export type ErrorHandler = (error: unknown, req: GateRequest, res: ServerResponse, next: Next) => void;

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BudgetInput, RequestLimitInput, TokenLimitInput } from './config.d.ts';
import type { UserInfo } from './context.d.ts';
import type { OwnLimits } from './registry.d.ts';

/**
 * A request as the host application sees it at the place where it mounts the gate, with what its earlier middleware has added,
 * for example `req.user` or `req.session`. A host may declare the parameter as its framework's own request.
 */
export type HostRequest = IncomingMessage & Express.Request;

/** A user of the host application, as `identify` names it. */
export interface IdentifiedCaller {
  /** Stable and unique, 1 to 128 characters. Records show it as `user:ID`, which is also its name in bans and policies. */
  readonly id: string | number;
  /** For display only. */
  readonly name?: string | null | undefined;
  /** Matched by `match.group` of policies. */
  readonly group?: string | null | undefined;
  /** Models that it may use; without the list all, with an empty list none. */
  readonly models?: readonly string[] | null | undefined;
  readonly requests?: RequestLimitInput | null | undefined;
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Highest number of concurrent requests. */
  readonly concurrency?: number | null | undefined;
  /** US dollars. */
  readonly budget?: BudgetInput | null | undefined;
  /** NewAPI token that is sent in place of whatever the client sent. Default: `auth.upstream_credential`. */
  readonly upstreamCredential?: string | null | undefined;
}

/** A handler for `app.use` of any version of Express, and of Node's own server. */
export interface HostHandler {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
}

type Awaitable<T> = T | PromiseLike<T>;

/** What a host application knows of its requests. */
export interface HostOptions {
  /**
   * Names the user of the host application that makes a request, or gives null for a request that the gate judges by
   * `auth.mode`. Called at most once a request, on routes that need a credential, upgrades included. A function that throws,
   * rejects, gives anything else or takes longer than 5 seconds answers the request with 503.
   */
  identify?(req: HostRequest): Awaitable<IdentifiedCaller | null | undefined>;
  /**
   * Leaves a request out of all limits when it gives true, as in express-rate-limit. Called at most once a request, where a
   * limit could apply. A function that throws, rejects or takes longer than 5 seconds leaves the request limited.
   */
  skip?(req: HostRequest): Awaitable<boolean>;
}

/** A user of the host application with all fields set. */
export interface HostUser extends UserInfo {
  readonly limits: OwnLimits;
  /** Null allows all models. */
  readonly models: ReadonlySet<string> | null;
  readonly upstreamCredential: string | null;
}

/** A caller as NewAPI knows it. Names are labels with a time: people choose and change them. */
export interface NewapiName {
  readonly user_id: number;
  readonly username: string;
  readonly token_id: number;
  readonly token_name: string;
  readonly group: string;
}

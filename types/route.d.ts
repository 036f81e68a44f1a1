/**
 * The class of a path. It decides whether a credential is required, which engine forwards the request and what is recorded.
 * `model`: an inference call or the model list. `realtime`: a WebSocket session. `task`: NewAPI's other relay routes.
 * `webhook`: a callback signed by a third party. `api`: NewAPI's dashboard API. `ui`: every other path.
 */
export type RouteClass = 'model' | 'realtime' | 'task' | 'webhook' | 'api' | 'ui';

/** The error shape that clients of a route expect. */
export type ErrorShape = 'openai' | 'claude' | 'gemini' | 'midjourney' | 'task' | 'newapi';

/** One row of the route table. */
export interface Route {
  /** Stable label for metrics and records, for example `/v1/chat/completions`. Never contains text from a caller. */
  readonly template: string;
  /**
   * Template in the gate's route table, used by targets, key limits and policies. Differs from `template` where the
   * configuration gives an API call another path.
   */
  readonly api: string;
  /** Path that is checked and sent instead of the received path. Null: the received path. */
  readonly upstream: string | null;
  readonly class: RouteClass;
  /** One of the gate's own paths that people open: a browser gets errors as a page, as on paths of class `ui`. */
  readonly browsed?: true;
  /** How the request body is read. `none`: streamed and not inspected. */
  readonly body: 'json' | 'form' | 'none';
  /** Shape of errors that the gate itself answers with. */
  readonly errors: ErrorShape;
  /** Whether the route requires a credential. */
  readonly credential: boolean;
  /** Whether a repeated request costs nothing, so that failover is allowed after an unclear failure. */
  readonly free: boolean;
  /** Images, audio and video. Such a request is never sent again after its first byte was sent. */
  readonly media: boolean;
}

/** The health of a configured route. */
export interface CheckedRoute {
  readonly path: string;
  /** `degraded`: the answers are too slow. `unhealthy`: no target of the route answers, so requests are answered with 503. */
  readonly status: 'healthy' | 'degraded' | 'unhealthy';
  /** Result of every check by name. False after `threshold` consecutive failures. */
  readonly checks: Readonly<Record<string, boolean>>;
}

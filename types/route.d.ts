/**
 * What a path is to the gate; decides who must show a credential, which engine carries it and what is recorded.
 * `model`: an inference call or the model list. `realtime`: a WebSocket session. `task`: NewAPI's other relay routes.
 * `webhook`: signed by somebody else. `api`: NewAPI's own dashboard API. `ui`: the rest.
 */
export type RouteClass = 'model' | 'realtime' | 'task' | 'webhook' | 'api' | 'ui';

/** The error dialect a client of the route understands. */
export type ErrorShape = 'openai' | 'claude' | 'gemini' | 'midjourney' | 'task' | 'newapi';

/** One row of the route table. */
export interface Route {
  /** Stable label for metrics and records, for example `/v1/chat/completions`. Never holds anything a caller wrote. */
  readonly template: string;
  /**
   * Template of the gate's own list by which targets, key limits and policies know it. Differs from `template` where the
   * configuration gives a call another path.
   */
  readonly api: string;
  /** Path that is judged and sent in place of the caller's; null: as it came. */
  readonly upstream: string | null;
  readonly class: RouteClass;
  /** How the request's body is read. `none`: streamed, never looked at. */
  readonly body: 'json' | 'form' | 'none';
  /** The dialect of errors that the gate itself answers with. */
  readonly errors: ErrorShape;
  /** The caller must show a credential. */
  readonly credential: boolean;
  /** Asking twice costs nothing, so an unclear failure may go to the next target. */
  readonly free: boolean;
  /** Images, audio and video: never sent again once bytes went out. */
  readonly media: boolean;
}

/** A configured route as its health checks find it. */
export interface CheckedRoute {
  readonly path: string;
  /** `degraded`: it answers, but too slowly. `unhealthy`: nothing that can serve it answers, so it is answered with 503. */
  readonly status: 'healthy' | 'degraded' | 'unhealthy';
  /** Every check by its name: whether it has not failed too often in a row. */
  readonly checks: Readonly<Record<string, boolean>>;
}

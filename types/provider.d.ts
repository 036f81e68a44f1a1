/**
 * Whose API a target speaks: data and small functions; the gate's own providers are nothing else. What is left out is as
 * in OpenAI's API.
 */
export interface Provider {
  /** What its targets are called in records and metrics: letters, digits, `.`, `_` and `-`, but not `newapi`. */
  readonly name: string;
  /** Base URL up to and with the version, where the configuration gives none; without either the gate does not start. */
  readonly endpoint?: string | null;
  /** Templates of the routes it answers, as `Route.api` has them, for example `/v1/chat/completions`; `all` for every one. */
  readonly speaks?: readonly string[] | 'all';
  /**
   * Headers that carry our key, and whatever else it asks for, as a flat name, value list.
   * @param key the target's own key; without one nothing is asked.
   * @param template the route's, for providers that differ by route.
   */
  credential?(key: string, template: string): readonly string[];
  /**
   * Path of something that answers without costing a token.
   * @param base path of the endpoint, up to and with the version.
   */
  probe?(base: string): string;
  /**
   * The HTTP status an error stands for, 400 to 599: by it the gate decides whether to ask again, to rest or to return it,
   * and with it the client hears of it.
   * @param error what stands under `error` in the answer's JSON or event, else the whole of it; null when it is no JSON.
   * @param status of the answer; 200 for an error inside a stream.
   */
  errorStatus?(error: unknown, status: number): number;
}

/**
 * The API of a target. The gate's own providers use the same interface. A missing field means the behaviour of OpenAI's
 * API.
 */
export interface Provider {
  /** Name of the targets in records and metrics: letters, digits, `.`, `_` and `-`. Not `newapi`. */
  readonly name: string;
  /** Base URL including the version, used when the configuration has no `endpoint`. Without both the gate does not start. */
  readonly endpoint?: string | null;
  /** Templates of the supported routes (`Route.api`), for example `/v1/chat/completions`, or `all`. */
  readonly speaks?: readonly string[] | 'all';
  /**
   * Headers with the credential and other required headers, as a flat list of names and values.
   * @param key the `api_key` of the target. Without a key the function is not called.
   * @param template template of the route.
   */
  credential?(key: string, template: string): readonly string[];
  /**
   * Path of a resource that answers without using tokens.
   * @param base path of the endpoint, including the version.
   */
  probe?(base: string): string;
  /**
   * The HTTP status of an error, 400 to 599. The status decides about retry, failover and breaker, and the client gets it.
   * @param error value of `error` in the answer's JSON or event, else the whole JSON; null when it is not JSON.
   * @param status status of the answer; 200 for an error inside a stream.
   */
  errorStatus?(error: unknown, status: number): number;
}

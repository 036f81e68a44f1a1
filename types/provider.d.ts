/** Whose API a target speaks. Data and one small function; the gate's own providers use nothing else. */
export interface Provider {
  readonly name: string;
  /** Base URL up to and with the version, when the configuration gives none; null: must be configured. */
  readonly endpoint: string | null;
  /**
   * Headers that carry our key, as a flat name, value list.
   * @param key the target's own key.
   * @param template the route's template, for providers that differ by route.
   */
  credential(key: string, template: string): readonly string[];
  /**
   * Path of something that answers without costing a token.
   * @param base path of the endpoint, up to and with the version.
   */
  probe(base: string): string;
}

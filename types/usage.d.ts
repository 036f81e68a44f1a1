/** Token counts of an answer. 0 where the answer reports none. */
export interface Usage {
  /** Prompt tokens, including cached ones. */
  readonly prompt: number;
  /** Completion tokens, including reasoning. */
  readonly completion: number;
  /** Part of `prompt` that was read from a cache. */
  readonly cached: number;
  /** Part of `prompt` that was written to a cache, where the answer tells. */
  readonly written?: number;
  /** Part of `completion` that was used for reasoning. */
  readonly reasoning: number;
  /** Whether at least one count is an estimate from bytes. */
  readonly estimated: boolean;
}

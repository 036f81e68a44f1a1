/** Numbers of tokens; 0 where nothing was said. */
export interface Usage {
  /** What was read, the part from a cache included. */
  readonly prompt: number;
  /** What was written, reasoning included. */
  readonly completion: number;
  /** The part of `prompt` that came from a cache. */
  readonly cached: number;
  /** The part of `completion` that was thought and not said. */
  readonly reasoning: number;
  /** At least one of the numbers is a guess, made of bytes. */
  readonly estimated: boolean;
}

/** The breaker state of a target, or of one model of it. Times are Unix milliseconds. */
export interface BreakerView {
  /**
   * `up`: gets requests. `resting`: the target asked for a pause. `open`: failed too often, or its probes failed.
   * `probing`: a few requests test it.
   */
  readonly state: 'up' | 'resting' | 'open' | 'probing';
  /** Time of the next request. Null when that is now, or when the next probe decides. */
  readonly until: number | null;
  /** Cause of the open state. Null unless it is open. */
  readonly by: 'traffic' | 'probes' | null;
}

/** The result of the last probe of a target. */
export interface ProbeView {
  /** Unix milliseconds. */
  readonly time: number;
  readonly alive: boolean;
  /** Null without an answer. */
  readonly status: number | null;
  /** Milliseconds. */
  readonly duration: number;
}

/** A target for display, without key, path and query. */
export interface TargetStatus extends BreakerView {
  readonly name: string;
  readonly provider: string;
  readonly credential: 'caller' | 'own';
  readonly host: string;
  readonly weight: number;
  /** Requests in progress at the target. */
  readonly inHand: number;
  readonly lastProbe: ProbeView | null;
  /** Models whose own breaker is not `up`. */
  readonly models: readonly (BreakerView & { readonly model: string })[];
}

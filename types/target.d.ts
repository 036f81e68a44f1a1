/** What a target, or one model of it, is expected to do. Times are Unix milliseconds. */
export interface BreakerView {
  /**
   * `up`: asked. `resting`: it asked to be left alone. `open`: it failed too often, or its probes say it is down.
   * `probing`: a few requests try it out.
   */
  readonly state: 'up' | 'resting' | 'open' | 'probing';
  /** When it is asked again; null when it is now, or when only its next probe knows. */
  readonly until: number | null;
  /** Who opened it; null unless it is open. */
  readonly by: 'traffic' | 'probes' | null;
}

/** What the last probe of a target found. */
export interface ProbeView {
  /** Unix milliseconds. */
  readonly time: number;
  readonly alive: boolean;
  /** Null when there was no answer. */
  readonly status: number | null;
  /** Milliseconds. */
  readonly duration: number;
}

/** A target as an operator may see it: no key, no path, no query. */
export interface TargetStatus extends BreakerView {
  readonly name: string;
  readonly provider: string;
  readonly credential: 'caller' | 'own';
  readonly host: string;
  readonly weight: number;
  /** Requests it is working on. */
  readonly inHand: number;
  readonly lastProbe: ProbeView | null;
  /** Models with a breaker of their own that is not `up`. */
  readonly models: readonly (BreakerView & { readonly model: string })[];
}

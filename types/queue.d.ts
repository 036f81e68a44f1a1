/** The queue as it stands. */
export interface QueueView {
  readonly enabled: boolean;
  /** Model requests that may run at a time. */
  readonly concurrency: number;
  readonly active: number;
  /** Places to wait. */
  readonly places: number;
  readonly waiting: number;
  /** Callers with waiting requests. */
  readonly lanes: number;
  /** Milliseconds a request holds its slot, the recent mean; null before the first. */
  readonly serviceTime: number | null;
  readonly websockets: { readonly active: number; readonly limit: number };
}

/** What the admin API may read and change. */
export interface QueueControl {
  view(): QueueView;
  /**
   * Changes the capacity at once; kept over a restart when there is a `queue.state_path`.
   * @param concurrency at least 1.
   */
  resize(concurrency: number): void;
}

/** A request that was in hand when the process before this one ended without closing. Nothing else is known of it. */
export interface InterruptedRequest {
  readonly id: string;
  /** When it arrived, Unix milliseconds. */
  readonly time: number;
  /** Its caller: `key:` and a name, `token:` and an identity, or `address:` and an address. */
  readonly fairnessKey: string;
}

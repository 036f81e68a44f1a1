/** The current state of the queue. */
export interface QueueView {
  readonly enabled: boolean;
  /** Highest number of concurrent model requests. */
  readonly concurrency: number;
  readonly active: number;
  /** Highest number of waiting requests. */
  readonly places: number;
  readonly waiting: number;
  /** Callers with waiting requests. */
  readonly lanes: number;
  /** Recent mean time for which a request holds its slot, in milliseconds. Null before the first request. */
  readonly serviceTime: number | null;
  readonly websockets: { readonly active: number; readonly limit: number };
}

/** What the admin API may read and change. */
export interface QueueControl {
  view(): QueueView;
  /**
   * Changes the capacity immediately. With `queue.state_path` the value is kept over a restart.
   * @param concurrency at least 1.
   */
  resize(concurrency: number): void;
}

/** A request that was running when the previous process ended without closing. */
export interface InterruptedRequest {
  readonly id: string;
  /** Time of arrival, Unix milliseconds. */
  readonly time: number;
  /** Its caller: `key:` and a name, `token:` and an identity, or `address:` and an address. */
  readonly fairnessKey: string;
}

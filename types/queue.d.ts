/** The queue as it stands. */
export interface QueueView {
  readonly enabled: boolean;
  /** Model requests that may run at a time. */
  readonly concurrency: number;
  readonly active: number;
  /** Places to wait. */
  readonly places: number;
  readonly waiting: number;
  /** Callers that wait, each with a lane of its own. */
  readonly lanes: number;
  /** Milliseconds a request holds its slot, the recent mean; null before the first. */
  readonly serviceTime: number | null;
  readonly websockets: { readonly active: number; readonly limit: number };
}

/** What the admin API may see and do. */
export interface QueueControl {
  view(): QueueView;
  /**
   * Changes the capacity at once; kept over a restart when there is a `queue.state_path`.
   * @param concurrency at least 1.
   */
  resize(concurrency: number): void;
}

/** A request of which only is known that it was in hand when the process before this one ended without closing. */
export interface InterruptedRequest {
  readonly id: string;
  /** When it arrived, Unix milliseconds. */
  readonly time: number;
  /** Whose it was: `key:` and a name, `token:` and an identity, or `address:` and an address. */
  readonly lane: string;
}

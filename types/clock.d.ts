/** A running timer. */
export interface Timer {
  /** Restarts the full delay. */
  refresh(): unknown;
  unref(): unknown;
}

/** The source of time. Tests pass a fake clock. */
export interface Clock {
  /** Unix time in milliseconds. */
  now(): number;
  setTimeout(run: () => void, ms: number): Timer;
  clearTimeout(timer: Timer): void;
}

/** A running timer. */
export interface Timer {
  /** Starts the full delay again. */
  refresh(): unknown;
  unref(): unknown;
}

/** Where the gate reads time; tests give their own. */
export interface Clock {
  /** Unix time in milliseconds. */
  now(): number;
  setTimeout(run: () => void, ms: number): Timer;
  clearTimeout(timer: Timer): void;
}

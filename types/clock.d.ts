/** A running timer. */
export interface Timer {
  /** Restarts the full delay. */
  refresh(): unknown;
  unref(): unknown;
}

/** The source of time. Tests pass a fake clock. */
export interface Clock {
  /** Calendar time, Unix milliseconds. It jumps when the clock of the machine is set: for records, budgets and what people read. */
  now(): number;
  /** Time for intervals, deadlines and rests, milliseconds. It never jumps. It begins at the Unix time of the start, so that it can be shown. */
  monotonic(): number;
  setTimeout(run: () => void, ms: number): Timer;
  clearTimeout(timer: Timer): void;
}

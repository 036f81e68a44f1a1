/** A timer that can be started again and never keeps the process alive. */
export interface Timer {
  refresh(): void;
  unref(): unknown;
}

/** The part of time a component may depend on; the real one and the fake one both fit. */
export interface Clock {
  now(): number;
  monotonic(): number;
  setTimeout(fn: () => void, ms: number): Timer;
  clearTimeout(timer: Timer | undefined): void;
}

/** A clock that moves only when a test says so. */
export interface FakeClock extends Clock {
  /** Moves time forward by `ms`, firing what falls due on the way, in order of due time and then of arming. */
  tick(ms: number): void;
  /** Sets calendar time forward by `ms`, or back; what is measured goes on undisturbed. */
  jump(ms: number): void;
  /** How many timers are armed: 0 after a clean close. */
  readonly pending: number;
  /** How many of them a file armed. @param file the end of its path, for example `upstream/forward.ts`. */
  armedBy(file: string): number;
}

interface Armed extends Timer {
  due: number;
  order: number;
  /** Where it was first armed. */
  readonly origin: string;
}

/** Starts at `start` (milliseconds since 1970; default a fixed Monday in 2026, so that output is repeatable). */
export function fakeClock(start: number = Date.UTC(2026, 0, 5)): FakeClock {
  const armed = new Map<Armed, () => void>();
  let now = start;
  let jumped = 0;
  let order = 0;

  const arm = (timer: Armed, fn: () => void, ms: number): void => {
    timer.due = now + Math.max(0, ms);
    timer.order = order++;
    armed.set(timer, fn);
  };

  const earliest = (until: number): Armed | undefined => {
    let found: Armed | undefined;
    for (const timer of armed.keys()) {
      if (timer.due > until) continue;
      if (!found || timer.due < found.due || (timer.due === found.due && timer.order < found.order)) found = timer;
    }
    return found;
  };

  return {
    now: () => now + jumped,
    monotonic: () => now,
    jump: (ms) => void (jumped += ms),
    setTimeout(fn, ms) {
      // A fired timer can be refreshed too, as Node's can; a cleared one cannot.
      const timer: Armed = {
        due: 0,
        order: 0,
        origin: caller(),
        refresh: () => {
          if (!cleared.has(timer)) arm(timer, fn, ms);
        },
        unref: () => timer,
      };
      arm(timer, fn, ms);
      return timer;
    },
    clearTimeout(timer) {
      if (!timer) return;
      cleared.add(timer);
      armed.delete(timer as Armed);
    },
    tick(ms) {
      const until = now + ms;
      for (let timer = earliest(until); timer; timer = earliest(until)) {
        now = timer.due;
        const fn = armed.get(timer);
        armed.delete(timer);
        fn?.();
      }
      now = until;
    },
    armedBy: (file) => [...armed.keys()].filter(({ origin }) => origin.includes(`${file}:`)).length,
    get pending() {
      return armed.size;
    },
  };
}

/** Who asked a clock for a timer: a line of the stack. */
export const caller = (): string => new Error().stack?.split('\n').slice(3).find((line) => !line.includes('platform/guard.ts')) ?? '';

const cleared = new WeakSet<Timer>();

/** A real clock that can be put forward. What waits for a timer waits on; what compares times finds it late. */
export function leapingClock(): Clock & { leap(ms: number): void } {
  let ahead = 0;
  return { ...realClock, now: () => Date.now() + ahead, monotonic: () => realClock.monotonic() + ahead, leap: (ms) => void (ahead += ms) };
}

/** The real clock, for the same seam. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => Math.floor(performance.timeOrigin + performance.now()),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
};

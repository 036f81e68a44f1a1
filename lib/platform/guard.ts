import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { describe } from './describe.ts';

/** What a guard needs of the gate. */
export interface GuardDeps {
  readonly log: Logger;
  readonly clock: Clock;
}

/**
 * A callback for Node, a library or a timer outside any request. What it throws, or rejects with, ends nothing: the event log
 * says it once, until the callback has succeeded again.
 * @param what the callback is for, for the event log.
 * @param release gives back what the callback should have given back.
 */
export function guard<Args extends readonly unknown[]>(log: Logger, what: string, callback: (...args: Args) => unknown, release?: (...args: Args) => void): (...args: Args) => void {
  let isFailing = false;
  const failed = (args: Args, error: unknown): void => {
    if (!isFailing) report(log, what, error);
    isFailing = true;
    try {
      release?.(...args);
    } catch {
      // The cause has been said.
    }
  };
  return (...args) => {
    try {
      const done = callback(...args);
      if (done instanceof Promise) done.then(() => (isFailing = false), (error: unknown) => failed(args, error));
      else isFailing = false;
    } catch (error) {
      failed(args, error);
    }
  };
}

/** Lets work go on in the background. A rejection is said in the event log. @param what the work is for. */
export function inBackground(log: Logger, what: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => report(log, what, error));
}

function report(log: Logger, what: string, error: unknown): void {
  try {
    log.error({ in: what, error: describe(error), stack: error instanceof Error ? (error.stack ?? null) : null }, 'callback.failed');
  } catch {
    // A log that throws cannot be told.
  }
}

/** A clock whose timers throw nothing: see {@link guard}. Their callbacks may be asynchronous. */
export function guardedClock(clock: Clock, log: Logger): Clock {
  // What is not guarded is inherited: a request asks for the time often.
  return Object.assign(Object.create(clock) as Clock, { setTimeout: ((run, ms) => clock.setTimeout(guard(log, 'timer', run), ms)) satisfies Clock['setTimeout'] });
}

/** Work that is done again and again, each time a while after the last time has ended, however it ended. */
export class Repeated {
  readonly #deps: GuardDeps;
  readonly #delay: () => number;
  readonly #run: () => void;
  #timer: Timer | null = null;
  #state: 'new' | 'on' | 'over' = 'new';

  /** @param what the work is for, for the event log. @param delay milliseconds before each time. */
  constructor(deps: GuardDeps, what: string, delay: number | (() => number), work: () => unknown) {
    this.#deps = deps;
    this.#delay = typeof delay === 'number' ? () => delay : delay;
    const arm = (): void => this.#arm();
    this.#run = guard(deps.log, what, () => {
      this.#timer = null;
      const done = work();
      if (done instanceof Promise) return done.then(arm);
      return arm();
    }, arm);
  }

  /** Waits for the first time. Later calls, and calls behind {@link stop}, do nothing. */
  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'on';
    this.#arm();
  }

  /** Begins with the work. */
  startNow(): void {
    if (this.#state !== 'new') return;
    this.#state = 'on';
    this.#run();
  }

  /** Ends it for good. */
  stop(): void {
    this.#state = 'over';
    if (this.#timer !== null) this.#deps.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(): void {
    if (this.#state !== 'on' || this.#timer !== null) return;
    this.#timer = this.#deps.clock.setTimeout(this.#run, this.#delay());
    this.#timer.unref();
  }
}

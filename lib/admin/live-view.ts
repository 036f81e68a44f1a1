import type { TokenIdentity } from '../../types/context.d.ts';
import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';

const second = 1000;

/** A request that has ended, of this thread or of another one. */
export type Finished = Pick<Context, 'id' | 'time' | 'ip' | 'key' | 'model' | 'stream' | 'target' | 'status' | 'outcome' | 'errorCode' | 'duration' | 'cost'> & {
  readonly token: Pick<TokenIdentity, 'id' | 'mask'> | null;
  readonly route: Pick<Context['route'], 'template'>;
  readonly req: { readonly method?: string | undefined };
  readonly usage: Pick<Usage, 'prompt' | 'completion'> | null;
};

/** Whether a filter lets a request pass that has ended. */
export type Test = (finished: Finished) => boolean;

/** Which requests a reader of the event stream is shown. */
export class LiveView {
  /** What it was asked for as text: views that ask for the same are one. */
  readonly asked: string;
  /** Rows a second; null: all. */
  readonly rows: number | null;
  readonly #tests: readonly Test[];
  /** Requests that passed the filters in this second, and those that were shown. */
  #requests = 0;
  #shown = 0;
  /** There were more requests than rows in the second before, so rows are spread over this one. */
  #isBusy = false;
  #next = 0;

  /** @param asked rows and filters as text. @param rows a second; null: all. */
  constructor(asked: string, rows: number | null, tests: readonly Test[]) {
    this.asked = asked;
    this.rows = rows;
    this.#tests = tests;
  }

  /** Whether a request that has just ended is shown. With fewer requests than rows all are, with more they are spread evenly. @param now monotonic milliseconds. */
  takes(finished: Finished, now: number): boolean {
    for (let at = 0; at < this.#tests.length; at++) if (!(this.#tests[at] as Test)(finished)) return false;
    this.#requests++;
    if (this.rows === null) return true;
    if (this.#shown >= this.rows || (this.#isBusy && now < this.#next)) return false;
    this.#shown++;
    // What an instant is late for one row does not delay the next ones.
    const pause = second / this.rows;
    this.#next = Math.max(this.#next, now - pause) + pause;
    return true;
  }

  /** There are so many requests that it does not matter when in an instant a row is told. */
  get isBusy(): boolean {
    return this.#isBusy && this.rows !== null;
  }

  /** A second is over: its requests that passed the filters, and how many of them were shown. */
  turn(): { readonly requests: number; readonly shown: number } {
    const [requests, shown] = [this.#requests, this.#shown];
    this.#isBusy = requests > (this.rows ?? 0);
    this.#requests = 0;
    this.#shown = 0;
    return { requests, shown };
  }
}

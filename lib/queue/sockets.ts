import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import type { Tally } from './tally.ts';

/** Callers that are sent away come back spread over so many seconds: nobody can tell when a socket closes. */
const spread = 10;

/** WebSockets that needed a credential, counted apart: they stay for hours and would take every slot in the end. */
export class Sockets {
  readonly limit: number;
  readonly #core: Core;
  readonly #tally: Tally;
  #active = 0;

  constructor(core: Core, tally: Tally) {
    this.limit = core.config.queue.websockets;
    this.#core = core;
    this.#tally = tally;
  }

  get active(): number {
    return this.#active;
  }

  /** Counts one until its end, or answers it. */
  enter(context: Context, next: () => void): void {
    if (this.#active >= this.limit) {
      if (!this.#core.observe) this.#tally.rejected.websockets++;
      const retryAfter = 1 + (this.#tally.rejected.websockets % spread);
      if (context.refuse('queue', new HeimdallError('too_many_websockets', { retryAfter }))) return;
    }
    this.#active++;
    let open = true;
    context.slot = {
      release: () => {
        if (open) this.#active--;
        open = false;
      },
    };
    next();
  }
}

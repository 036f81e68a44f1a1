import type { Context, Exchange, Holding } from '../request/request.ts';
import type { Lane, Waiter } from './lanes.ts';

/** What a turn asks of its queue. */
export interface TurnKeeper {
  /** A waiter goes without having run. */
  leave(turn: Turn): void;
  /** Its time is over. */
  expire(turn: Turn): void;
  /** A slot comes back. */
  free(turn: Turn): void;
}

/**
 * One request's place in the queue and then its slot, given back once whatever happens. While it waits it stands where the
 * exchange with an upstream will: a client that leaves and the sweep over time limits find it there.
 */
export class Turn implements Waiter, Holding, Exchange {
  lane: Lane;
  older: Waiter | null = null;
  newer: Waiter | null = null;
  state: 'waiting' | 'running' | 'over' = 'waiting';
  /** Unix milliseconds since when it waits, then since when it runs. */
  since: number;
  /** Unix milliseconds by which it must run. */
  deadline = 0;
  readonly returning: boolean;
  readonly context: Context;
  /** Goes on with the request. */
  readonly next: () => void;
  readonly #queue: TurnKeeper;

  constructor(queue: TurnKeeper, context: Context, lane: Lane, next: () => void, since: number, returning = false) {
    this.#queue = queue;
    this.context = context;
    this.lane = lane;
    this.next = next;
    this.since = since;
    this.returning = returning;
  }

  abort(): void {
    if (this.state === 'waiting') this.#queue.leave(this);
  }

  look(now: number): void {
    if (this.state === 'waiting' && now >= this.deadline) this.#queue.expire(this);
  }

  release(): void {
    if (this.state === 'waiting') this.#queue.leave(this);
    else if (this.state === 'running') this.#queue.free(this);
  }
}

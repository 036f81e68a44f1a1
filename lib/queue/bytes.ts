import { INFLIGHT_SHARES } from '../config/config.ts';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import type { Lane, Lanes } from './lanes.ts';
import { gauge, type Series } from './tally.ts';

/** Nobody is sent away longer for bytes, seconds. */
const longest = 60;

/**
 * Bodies in hand, in bytes: `server.max_inflight_bytes` for all, an eighth of it for each caller. A declared length counts
 * before the first byte is read, a chunked body as it comes; one that streams counts as far as the gate would keep it.
 */
export class Bytes {
  readonly #core: Core;
  readonly #lanes: Lanes;
  readonly #hold: () => number;
  readonly #limit: number;
  readonly #share: number;
  #held = 0;
  #sentAway = 0;

  /** @param hold milliseconds a request is expected to keep its body. */
  constructor(core: Core, lanes: Lanes, hold: () => number) {
    this.#core = core;
    this.#lanes = lanes;
    this.#hold = hold;
    this.#limit = core.config.server.maxInflightBytes;
    this.#share = Math.floor(this.#limit / INFLIGHT_SHARES);
  }

  /** Bytes of all bodies in hand. */
  get held(): number {
    return this.#held;
  }

  /**
   * Counts bytes of a request's body until its end.
   * @returns false when the request is over: its client has left, or it was answered here, with 413 where its body alone is
   * more than a caller's share, 429 where the caller's share is used up, 503 where everybody's is. The last also in a gate
   * that observes: it is memory.
   */
  take(context: Context, bytes: number): boolean {
    if (context.finished) return false;
    if (bytes <= 0) return true;
    const lane = this.#lanes.of(context.fairnessKey);
    const body = context.heldBytes + bytes;
    if (body > this.#share || lane.bytes + bytes > this.#share) {
      if (!context.wouldRefuse.includes('inflight_bytes') && context.refuse('inflight_bytes', body > this.#share ? this.#tooLarge() : this.#tooMany(lane))) return false;
    }
    if (this.#held + bytes > this.#limit) {
      context.fail(body > this.#limit ? this.#tooLarge() : new HeimdallError('overloaded', { retryAfter: this.#comeBack() }));
      return false;
    }
    this.#held += bytes;
    lane.bytes += bytes;
    context.heldBytes = body;
    return true;
  }

  /** Gives back what a request has taken. */
  give(context: Context): void {
    const { heldBytes } = context;
    if (heldBytes === 0) return;
    this.#held -= heldBytes;
    this.#lanes.of(context.fairnessKey).bytes -= heldBytes;
    context.heldBytes = 0;
  }

  series(): Series {
    return gauge('inflight_bytes', () => this.#held);
  }

  #tooLarge(): HeimdallError {
    const limit = this.#core.observe ? this.#limit : this.#share;
    return new HeimdallError('body_too_large', { message: `body: expected at most ${limit} bytes, a caller's share of server.max_inflight_bytes.` });
  }

  #tooMany(lane: Lane): HeimdallError {
    const message = `Requests of this caller with ${lane.bytes} bytes of bodies are in hand, of ${this.#share} that one caller may have.`;
    return new HeimdallError('too_many_bytes', { message, retryAfter: this.#comeBack() });
  }

  /** By then a request in hand should have ended; spread, so that not all come back at once. */
  #comeBack(): number {
    const seconds = Math.ceil(this.#hold() / 1000);
    return Math.min(longest, seconds + (this.#sentAway++ % (seconds + 1)));
  }
}

import { INFLIGHT_SHARES } from '../config/config.ts';
import type { Context, Core } from '../request/request.ts';
import { own, shared } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { gauge, type Series } from './queue-stats.ts';

/** A waiting request, as far as the queue of its caller needs to know it. */
export interface Waiter {
  share: CallerShare;
  /** Its neighbours among the waiting requests of its caller. */
  older: Waiter | null;
  newer: Waiter | null;
  /** It was refused before, and came back when `Retry-After` told it to. */
  readonly returning: boolean;
}

/** What one caller uses of the gate: slots, waiting places, WebSockets, bytes of bodies. */
export class CallerShare {
  /** The caller's fairness key. */
  readonly key: string;
  /** Requests that hold a slot. */
  active = 0;
  /** Open WebSockets on routes that require a credential. */
  websockets = 0;
  /** Open WebSockets on other routes. */
  otherWebsockets = 0;
  /** Bytes of its bodies in hand. */
  bytes = 0;
  /** Requests that go on while their bodies arrive. */
  arriving = 0;
  /** Monotonic milliseconds until which a free slot is reserved for it; 0: none is. */
  reservedUntil = 0;

  waiting = 0;
  oldest: Waiter | null = null;
  newest: Waiter | null = null;
  /** Its neighbours in the round, while requests of it wait. */
  before: CallerShare = this;
  after: CallerShare = this;

  constructor(key: string) {
    this.key = key;
  }
}

/** Unused shares are looked for once so many are known, and again at twice the number that was left. */
const sweepFrom = 1024;

/** The shares of all callers. Unused ones are dropped a thousand at a time: to make a new one for each request would cost more. */
export class CallerShares {
  readonly #shares = new Map<string, CallerShare>();
  #sweepAt = sweepFrom;

  get size(): number {
    return this.#shares.size;
  }

  /** @param key a fairness key. */
  of(key: string): CallerShare {
    const known = this.#shares.get(key);
    if (known !== undefined) return known;
    if (this.#shares.size >= this.#sweepAt) this.#sweep();
    const share = new CallerShare(key);
    this.#shares.set(key, share);
    return share;
  }

  #sweep(): void {
    for (const { key, active, waiting, websockets, otherWebsockets, bytes, reservedUntil } of this.#shares.values()) {
      if (active === 0 && waiting === 0 && websockets === 0 && otherWebsockets === 0 && bytes === 0 && reservedUntil === 0) this.#shares.delete(key);
    }
    this.#sweepAt = Math.max(sweepFrom, this.#shares.size * 2);
  }
}

/** The longest `Retry-After` of a refusal for bytes, seconds. */
const longestDelay = 60;
const kilobyte = 1024;

/**
 * Bytes of the bodies in hand: `server.max_inflight_bytes` for all callers, an eighth of it for each. A declared length counts
 * before the first byte is read, a chunked body as it comes; of a body that streams, what the gate would buffer. The threads of a
 * gate with several workers have one limit for all callers; that of a caller is each thread's.
 */
export class BodyBudget {
  readonly #core: Core;
  readonly #shares: CallerShares;
  readonly #hold: () => number;
  readonly #arriving = new Set<Context>();
  #limit: number;
  /** Limit of one caller. */
  #each: number;
  #held = 0;
  #refused = 0;
  /** What all threads of the gate see, and the place of this worker's kilobytes there; null where there is none. */
  readonly #counts: Int32Array | null;
  readonly #place: number | null;
  /** Kilobytes of this thread that the others see. */
  #told = 0;

  /** @param hold milliseconds a request is expected to keep its body. */
  constructor(core: Core, shares: CallerShares, hold: () => number) {
    this.#core = core;
    this.#shares = shares;
    this.#hold = hold;
    this.#limit = core.config.server.maxInflightBytes;
    this.#each = Math.floor(this.#limit / INFLIGHT_SHARES);
    const { crew } = core;
    this.#counts = crew?.counts ?? null;
    this.#place = crew?.main ? shared.perWorker + crew.main.place * own.size + own.kilobytes : null;
  }

  /** Takes the limit of another configuration. */
  configure(): void {
    this.#limit = this.#core.config.server.maxInflightBytes;
    this.#each = Math.floor(this.#limit / INFLIGHT_SHARES);
  }

  /** Bytes of the bodies in hand of this thread. */
  get held(): number {
    return this.#held;
  }

  /**
   * Counts bytes of a request's body until its end.
   * @returns false when the request is over: its client has left, or it was answered here, with 413 where its body alone is
   * larger than one caller's limit, 429 where the caller's limit is used up, 503 where the limit of all callers is. The last
   * also with `mode: observe`, since it bounds memory.
   */
  take(context: Context, bytes: number): boolean {
    if (context.finished) return false;
    if (bytes <= 0) return true;
    const share = this.#shares.of(context.fairnessKey);
    const body = context.heldBytes + bytes;
    if (body > this.#each || share.bytes + bytes > this.#each) {
      if (!context.wouldRefuse.includes('inflight_bytes') && context.refuse('inflight_bytes', body > this.#each ? this.#tooLarge() : this.#tooMany(share))) return false;
    }
    const elsewhere = this.#counts === null ? 0 : (Atomics.load(this.#counts, shared.kilobytes) - this.#told) * kilobyte;
    if (elsewhere + this.#held + bytes > this.#limit) {
      context.fail(body > this.#limit ? this.#tooLarge() : new HeimdallError('overloaded', { retryAfter: this.#retryAfter() }));
      return false;
    }
    this.#held += bytes;
    share.bytes += bytes;
    context.heldBytes = body;
    if (this.#counts !== null) this.#tell(this.#counts);
    return true;
  }

  /**
   * Whether a request may go on while its body arrives, until {@link BodyBudget.arrived}. It holds a slot for as long as its client
   * takes: all such requests may hold an eighth of the slots, and those of a caller an eighth of that.
   */
  letsGoOn(context: Context): boolean {
    const { config: { queue }, crew } = this.#core;
    const most = Math.floor(queue.concurrency / (INFLIGHT_SHARES * (crew?.workers ?? 1)));
    const share = this.#shares.of(context.fairnessKey);
    if (this.#arriving.size >= most || share.arriving >= Math.max(1, Math.floor(most / INFLIGHT_SHARES))) return false;
    this.#arriving.add(context);
    share.arriving++;
    return true;
  }

  /** The body of a request that went on has arrived, or arrives no more. */
  arrived(context: Context): void {
    if (this.#arriving.delete(context)) this.#shares.of(context.fairnessKey).arriving--;
  }

  /** Gives back all that a request has taken. */
  give(context: Context): void {
    const { heldBytes } = context;
    if (heldBytes === 0) return;
    if (this.#arriving.size > 0) this.arrived(context);
    this.#held -= heldBytes;
    this.#shares.of(context.fairnessKey).bytes -= heldBytes;
    context.heldBytes = 0;
    if (this.#counts !== null) this.#tell(this.#counts);
  }

  #tell(counts: Int32Array): void {
    const kilobytes = Math.ceil(this.#held / kilobyte);
    if (kilobytes === this.#told) return;
    Atomics.add(counts, shared.kilobytes, kilobytes - this.#told);
    if (this.#place !== null) Atomics.store(counts, this.#place, kilobytes);
    this.#told = kilobytes;
  }

  series(): Series {
    return gauge('inflight_bytes', () => this.#held);
  }

  #tooLarge(): HeimdallError {
    const limit = this.#core.observe ? this.#limit : this.#each;
    return new HeimdallError('body_too_large', { message: `body: expected at most ${limit} bytes, a caller's share of server.max_inflight_bytes.` });
  }

  #tooMany(share: CallerShare): HeimdallError {
    const message = `Requests of this caller with ${share.bytes} bytes of bodies are in hand, of ${this.#each} that one caller may have.`;
    return new HeimdallError('too_many_bytes', { message, retryAfter: this.#retryAfter() });
  }

  /** Seconds after which a request in hand should have ended, spread so that not all callers come back at once. */
  #retryAfter(): number {
    const seconds = Math.ceil(this.#hold() / 1000);
    return Math.min(longestDelay, seconds + (this.#refused++ % (seconds + 1)));
  }
}

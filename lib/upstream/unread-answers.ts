import type { Config } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';

/** How long an answer is read after its client has left, milliseconds, and how much of it, bytes. */
const longest = 300_000;
const largest = 33_554_432;
/** Places where no queue bounds the requests of the gate. */
const defaultSlots = 1000;

/**
 * The answers that are read to their end though their client has left, so that their usage is known
 * (`llm.on_client_abort: finish`). They keep their slots, so they have at most a quarter of `queue.concurrency`, and one caller
 * an eighth of that.
 */
export class UnreadAnswers {
  readonly #most: number;
  readonly #mostEach: number;
  readonly #byCaller = new Map<string, number>();
  #count = 0;

  /** @param workers the threads that share the slots, each with its part of these places. */
  constructor({ llm, queue }: Pick<Config, 'llm' | 'queue'>, workers = 1) {
    this.#most = llm.onClientAbort === 'finish' ? Math.ceil((queue.enabled ? queue.concurrency : defaultSlots) / 4 / workers) : 0;
    this.#mostEach = Math.ceil(this.#most / 8);
  }

  /** Whether answers are ever read without their client. */
  get possible(): boolean {
    return this.#most > 0;
  }

  /** A place for the answer of a request whose client has just left; null when there is none, or the gate itself has ended the request. */
  admit(context: Context): UnreadAnswer | null {
    const { fairnessKey: caller, outcome, core } = context;
    const held = this.#byCaller.get(caller) ?? 0;
    if (outcome !== 'served' || core.draining || this.#count >= this.#most || held >= this.#mostEach) return null;
    this.#count++;
    this.#byCaller.set(caller, held + 1);
    return new UnreadAnswer(core.clock.monotonic() + longest, () => this.#release(caller));
  }

  #release(caller: string): void {
    const left = (this.#byCaller.get(caller) as number) - 1;
    this.#count--;
    if (left === 0) this.#byCaller.delete(caller);
    else this.#byCaller.set(caller, left);
  }
}

/** One answer that is read without its client, within bounds. */
export class UnreadAnswer {
  readonly #until: number;
  #room = largest;
  #release: (() => void) | null;

  /** @param until monotonic milliseconds. */
  constructor(until: number, release: () => void) {
    this.#until = until;
    this.#release = release;
  }

  /** @returns false when the bytes are more than may be read. */
  take(bytes: number): boolean {
    this.#room -= bytes;
    return this.#room >= 0;
  }

  isLate(now: number): boolean {
    return now >= this.#until;
  }

  /** Gives its place back, once. */
  release(): void {
    this.#release?.();
    this.#release = null;
  }
}

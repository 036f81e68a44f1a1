import type { DropReason, JournalState, JournalStats } from '../../types/journal.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import type { Core } from '../request/request.ts';
import type { FromWorker } from '../record/record.ts';

/** Losses are told of at most this often, milliseconds. */
const tellEvery = 60_000;

/** Upper bounds of the buckets of commits, seconds. */
export const writeBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

/** How the journal stands, in a state and in numbers; tells the event log of every change. */
export class Tally {
  readonly #core: Core;
  readonly #required: boolean;
  #state: JournalState = { kind: 'idle' };
  readonly #dropped: Record<DropReason, number> = { queue: 0, full: 0, invalid: 0, size: 0, memory: 0, undelivered: 0 };
  #toldAt = Number.NEGATIVE_INFINITY;
  lastId = 0;
  written = 0;
  bytes = 0;
  checkpoint: Checkpoint | null = null;
  readonly #counts = new Float64Array(writeBounds.length + 1);
  #sum = 0;

  /** @param required without the file the gate may not serve model routes. */
  constructor(core: Core, required: boolean) {
    this.#core = core;
    this.#required = required;
  }

  get state(): JournalState {
    return this.#state;
  }

  /** Model routes must not be served now. */
  get refusing(): boolean {
    return this.#required && (this.#state.kind === 'failed' || (this.#state.kind === 'full' && this.#core.config.audit.onFull === 'refuse'));
  }

  opened({ memory, lastId, bytes, interrupted }: FromWorker & { kind: 'opened' }): void {
    this.lastId = lastId;
    this.bytes = bytes;
    this.#state = memory === null ? { kind: 'open' } : { kind: 'memory', reason: memory };
    if (memory !== null) this.#core.log.error({ ...this.#about(memory), effect: 'only the latest records are kept, in memory' }, 'journal.memory');
    if (interrupted > 0) this.#core.log.warn({ records: interrupted, reason: 'they were in hand when the gate ended last' }, 'journal.interrupted');
  }

  /** It cannot be opened and must not be done without. */
  failed(reason: string): void {
    const known = this.#state.kind === 'failed';
    this.#state = { kind: 'failed', reason };
    if (!known) this.#core.log.error({ ...this.#about(reason), effect: 'model routes are answered with 503' }, 'journal.failed');
  }

  full(reason: string): void {
    this.#state = { kind: 'full', reason, since: this.#core.clock.now() };
    this.#core.log.error({ ...this.#about(reason), effect: this.refusing ? 'model routes are answered with 503' : 'records wait, then are dropped' }, 'journal.full');
  }

  recovered(): void {
    this.#state = { kind: 'open' };
    this.#core.log.info({ dropped: this.dropped }, 'journal.recovered');
  }

  #about(reason: string): object {
    return { path: this.#core.config.audit.path, reason };
  }

  get dropped(): Readonly<Record<DropReason, number>> {
    return { ...this.#dropped };
  }

  /** One more commit. @param seconds it took. */
  wrote(records: number, lastId: number, bytes: number, seconds: number): void {
    this.written += records;
    this.lastId = lastId;
    this.bytes = bytes;
    let bucket = 0;
    while (bucket < writeBounds.length && seconds > (writeBounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += seconds;
  }

  lost(reason: DropReason, count: number): void {
    if (count === 0) return;
    this.#dropped[reason] += count;
    const now = this.#core.clock.now();
    if (now - this.#toldAt < tellEvery) return;
    this.#toldAt = now;
    this.#core.log.warn({ reason, dropped: this.dropped }, 'journal.dropped');
  }

  stats(waiting: number, waitingBytes: number): JournalStats {
    const { state, lastId, written, bytes, checkpoint } = this;
    return { state, lastId, written, dropped: this.dropped, waiting, waitingBytes, bytes, writeCounts: this.#counts, writeSum: this.#sum, checkpoint };
  }
}

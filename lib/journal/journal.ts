// The SQLite log of requests: its writer thread, hash chain, verification, retention and search.

import { randomUUID } from 'node:crypto';
import type { Timer } from '../../types/clock.d.ts';
import type { Forgetting, Journal, JournalStats, SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { AuditRecord, NewRecord } from '../../types/record.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import type { Context, Core } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { addedOf, type Committed, encode, type FromWorker, type Kind } from '../record/record.ts';
import { Outbox } from './outbox.ts';
import { Schedule } from './schedule.ts';
import { Tally } from './stats.ts';
import { Thread, workerOptions, type JournalDeps, type Told } from './thread.ts';

export { forget } from './forget.ts';
export { signerOf, trusting } from './hash-chain.ts';
export { schemaVersion } from './schema.ts';
export { SearchError, balanceOf, countOf, filters, frequencyOf, groups, groupsOf, measures, pageOf, type Query, type Wanted } from './search.ts';
export { journalSeries } from './series.ts';
export { headFileOf, readHead } from './store.ts';
export type { JournalDeps } from './thread.ts';
export { verifyJournal, type Verdict } from './verify.ts';

const tidyEvery = 60_000;
/** Before another worker takes over from one that failed; doubles up to the second. */
const firstRestart = 100;
const longestRestart = 10_000;
/** How long a close waits for what is not written, milliseconds. */
const closePatience = 5000;

const listed = <T>(list: Set<T>, one: T): (() => void) => (list.add(one), () => void list.delete(one));

/**
 * The journal's end on the main thread: collects records in shared memory and hands them to the worker some fifty
 * milliseconds' worth at a time, in `strict` as soon as the worker is free. Starts the worker with the first record or with
 * `open`, and another one should it fail.
 */
export class WorkerJournal implements Journal {
  readonly #core: Core;
  readonly #deps: JournalDeps;
  readonly #strict: boolean;
  readonly #session = randomUUID();
  readonly #outbox: Outbox<Context>;
  readonly #tally: Tally;
  readonly #schedule: Schedule;
  #tidying: Timer | null = null;
  #restarting: Timer | null = null;
  #restart = firstRestart;
  #writer: Thread | null = null;
  #reader: Thread | null = null;
  #opening = Promise.withResolvers<void>();
  #closed: Promise<void> | null = null;
  readonly #listeners = new Set<(lastId: number) => void>();
  readonly #checkpoints = new Set<(checkpoint: Checkpoint) => void>();

  constructor(core: Core, deps: JournalDeps) {
    this.#core = core;
    this.#deps = deps;
    const { durability, onFull, capture } = core.config.audit;
    this.#outbox = new Outbox(encode, capture.body);
    this.#schedule = new Schedule(core.clock, () => this.#post());
    this.#strict = durability === 'strict';
    this.#tally = new Tally(core, this.#strict || onFull === 'refuse');
    this.#opening.promise.catch(() => undefined);
  }

  /** Model routes must not be served now. */
  get refusing(): boolean {
    return this.#tally.refusing;
  }

  open(): Promise<void> {
    if (this.#closed === null) this.#start();
    return this.#opening.promise;
  }

  /** Adds a finished request. */
  push(context: Context, kind: Kind): void {
    if (this.#closed !== null) return this.#tally.lost('queue', 1);
    if (this.#outbox.add(context, kind)) return this.#wait();
    this.#tally.lost(this.#tally.state.kind === 'full' ? 'full' : 'queue', 1);
    this.#outbox.spare(context);
    this.#schedule.later();
  }

  /** Commits the intent of a request before it goes on. @param then called with whether it is committed. */
  intend(context: Context, then: Committed): void {
    const full = this.#tally.state.kind === 'full';
    if (this.#closed !== null || !this.#outbox.add(context, 'intent', full ? undefined : then)) return then(false);
    this.#wait();
    if (full) then(false);
  }

  /** A piece of a body too large to be kept. @returns false when it cannot be looked at, nor what follows it. */
  piece(id: string, chunk: Buffer): boolean {
    if (this.#closed !== null || this.#outbox.isScarce) return false;
    this.#start();
    const bytes = new Uint8Array(chunk);
    this.#outbox.passing(bytes.length);
    this.#writer?.post({ kind: 'piece', id, bytes }, [bytes.buffer]);
    return true;
  }

  append(records: readonly NewRecord[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const added = records.map((record) => addedOf(record, this.#deps.routeOf));
    const then: Committed = (written) => (written ? resolve() : reject(new Error('the journal cannot be written')));
    if (this.#closed !== null || !this.#outbox.append(added, then)) reject(new Error('the journal has no room'));
    else this.#wait();
    return promise;
  }

  read(after: number, limit: number): Promise<readonly AuditRecord[]> {
    return this.#ask((thread) => thread.call('read', { after, limit: Math.min(limit, 1000) }));
  }

  query(sql: string, values: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#ask((thread) => thread.call('query', { sql, values }));
  }

  cursor(sink: string): Promise<number> {
    const moved = this.#outbox.moved(sink);
    return moved === undefined ? this.#ask((thread) => thread.call('cursor', { sink })) : Promise.resolve(moved ?? 0);
  }

  advance(sink: string, id: number): void {
    this.#outbox.move(sink, id);
    this.#wait();
  }

  abandon(sink: string): void {
    this.#outbox.move(sink, null);
    this.#wait();
  }

  onWritten(listener: (lastId: number) => void): () => void {
    return listed(this.#listeners, listener);
  }

  onCheckpoint(listener: (checkpoint: Checkpoint) => void): () => void {
    return listed(this.#checkpoints, listener);
  }

  async forget(what: Forgetting): Promise<number> {
    await this.flush();
    return this.#change((thread) => thread.call('forget', { ...what, now: this.#core.clock.now() }));
  }

  /** Removes what is too old or too much, and signs a checkpoint; done by itself every minute. */
  async tidy(): Promise<void> {
    await this.flush();
    await this.#change((thread) => thread.call('tidy', { now: this.#core.clock.now() }));
  }

  async flush(): Promise<void> {
    if (this.#outbox.isEmpty) return;
    this.#post();
    if (this.#tally.state.kind === 'full' || this.#tally.state.kind === 'failed') return;
    const release = this.#writer?.hold();
    await this.#outbox.settled();
    release?.();
  }

  stats(): JournalStats {
    return this.#tally.stats(this.#outbox.records, this.#outbox.bytes);
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const late = new Promise<void>((resolve) => setTimeout(resolve, closePatience).unref());
    await Promise.race([this.flush(), late]);
    this.#schedule.end();
    for (const timer of [this.#tidying, this.#restarting]) if (timer !== null) this.#core.clock.clearTimeout(timer);
    const now = this.#core.clock.now();
    await this.#reader?.end(now, closePatience);
    await this.#writer?.end(now, closePatience);
    const lost = this.#outbox.drop();
    if (lost > 0) this.#tally.lost(this.#tally.state.kind === 'full' ? 'full' : 'queue', lost);
    this.#opening.reject(new Error('the journal was closed'));
  }

  /** Group commit in `strict`: what gathers while the worker is busy goes together. */
  #wait(): void {
    if (this.#strict) {
      if (this.#outbox.isIdle) this.#schedule.soon();
    } else if (this.#outbox.isPressing) this.#post();
    else this.#schedule.later();
  }

  #post(): void {
    this.#schedule.done();
    this.#start();
    for (const message of this.#outbox.take(this.#core.clock.now())) this.#writer?.post(message);
    const spared = this.#writer === null ? [] : this.#outbox.takeSpare();
    if (spared.length > 0) this.#writer?.post({ kind: 'lines', spared });
  }

  #start(): void {
    if (this.#writer !== null || this.#restarting !== null) return;
    try {
      this.#writer = new Thread(workerOptions(this.#core, this.#deps, 'write', this.#session), { heard: (message) => this.#heard(message), gone: (error) => this.#gone(error) });
    } catch (error) {
      // Not every host lets its program have threads.
      return this.#gone(error);
    }
    for (const message of this.#outbox.unwritten) this.#writer.post(message);
  }

  /** Reads run beside the writing, in a thread of their own; a journal in memory has but one. */
  async #ask<T>(call: (thread: Thread) => Promise<T>): Promise<T> {
    await this.open();
    if (this.#closed !== null) throw new Error('the journal was closed');
    if (this.#tally.state.kind === 'memory') return this.#change(call);
    this.#reader ??= new Thread(workerOptions(this.#core, this.#deps, 'read', this.#session), { heard: () => undefined, gone: () => (this.#reader = null) });
    return call(this.#reader);
  }

  async #change<T>(call: (thread: Thread) => Promise<T>): Promise<T> {
    await this.open();
    if (this.#writer === null) throw new Error('the journal is starting again');
    return call(this.#writer);
  }

  #heard(message: Told): void {
    switch (message.kind) {
      case 'opened':
        return this.#opened(message);
      case 'failed':
        return this.#failed(message.reason);
      case 'written':
        return this.#wrote(message);
      case 'lines':
        this.#outbox.lined(message.seq);
        return message.bytes === null ? undefined : this.#deps.accessLog.show(message.bytes);
      case 'unlined':
        return this.#deps.accessLog.failed(message.sink, message.error, message.effect);
      case 'refusing':
        this.#tally.lost('full', this.#outbox.written(message.seq, false));
        return this.#outbox.isEmpty ? undefined : this.#wait();
      case 'lost':
        return this.#tally.lost(message.reason, message.count);
      case 'full':
        this.#tally.full(message.reason);
        return this.#outbox.giveWay();
      case 'recovered':
        return this.#tally.recovered();
      case 'taken':
        return this.#outbox.passing(-message.bytes);
      case 'checkpoint':
        return this.#signed(message.checkpoint);
      case 'tampered':
        return this.#core.log.error({ reason: message.reason, fix: 'heimdall verify' }, 'journal.tampered');
    }
  }

  #opened(message: FromWorker & { kind: 'opened' }): void {
    this.#restart = firstRestart;
    this.#tally.opened(message);
    this.#tidying ??= this.#core.clock.setTimeout(() => void this.tidy().catch(() => undefined).then(() => this.#closed ?? this.#tidying?.refresh()), tidyEvery);
    this.#tidying.unref();
    this.#opening.resolve();
  }

  /** Without the file the gate may not serve; somebody may mend it while it runs. */
  #failed(reason: string): void {
    this.#tally.failed(reason);
    this.#outbox.giveWay();
    this.#opening.reject(new Error(`audit.path: expected a database this gate can use, got ${this.#core.config.audit.path} (${reason})`));
    this.#opening = Promise.withResolvers();
    this.#opening.promise.catch(() => undefined);
  }

  #wrote({ seq, lastId, records, seconds, bytes }: FromWorker & { kind: 'written' }): void {
    this.#outbox.written(seq);
    this.#tally.wrote(records, lastId, bytes, seconds);
    if (this.#strict && this.#outbox.isIdle && !this.#outbox.isEmpty) this.#post();
    if (records > 0) for (const listener of this.#listeners) listener(lastId);
  }

  #signed(checkpoint: Checkpoint): void {
    this.#tally.checkpoint = checkpoint;
    this.#core.log.info(checkpoint, 'journal.checkpoint');
    for (const listener of this.#checkpoints) listener(checkpoint);
  }

  #gone(error: unknown): void {
    this.#writer = null;
    this.#outbox.lined(null);
    if (this.#closed !== null) return this.#outbox.giveWay();
    this.#core.log.error({ error: describe(error ?? new Error('it ended')), effect: 'another one takes over' }, 'journal.worker_failed');
    this.#restarting = this.#core.clock.setTimeout(() => {
      this.#restarting = null;
      this.#start();
    }, this.#restart);
    this.#restarting.unref();
    this.#restart = Math.min(longestRestart, this.#restart * 2);
  }
}

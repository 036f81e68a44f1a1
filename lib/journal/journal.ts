// The SQLite log of requests: its writer thread, hash chain, verification, retention and search.

import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { Timer } from '../../types/clock.d.ts';
import type { DropReason, Forgetting, Journal, JournalSearch, JournalState, JournalStats, LearntFact, SearchFound, SqlRow, SqlValue, PackedRecords, Packing } from '../../types/journal.d.ts';
import type { AuditRecord, NewRecord } from '../../types/record.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import type { Context, Core } from '../request/request.ts';
import { atExit, type Calendar, calendarOf, describe, guard } from '../platform/platform.ts';
import { type Committed, encode, externalRecordOf, type FromWorker, type Kind, movedOf, type ToWorker } from '../record/record.ts';
import { runJob, type JobWork, type RunningJob } from './job.ts';
import { Outbox } from './outbox.ts';
import { writeBounds } from './series.ts';
import { takeJoining, Thread, workerOptions, workerSettings, type JournalDeps } from './thread.ts';

export { exportRecords } from './export.ts';
export { erasedAmong, erasedOf, forget, namesOf } from './forget.ts';
export { forgetSums } from './sums.ts';
export type { JobWork, RunningJob } from './job.ts';
export { signerOf, verifierOf } from './hash-chain.ts';
export { migrate, schemaVersion, versionOf } from './schema.ts';
export { callerColumns, callersOf, isOfCaller, listedColumns, queryAbout, readCallerCursor, seriesOf, spendOf, spendSince, totalsOf } from './callers.ts';
export { journalReader } from './reader.ts';
export { SearchError, balanceOf, conditions, countOf, filters, frequencyOf, groups, groupsOf, joined, measures, momentOf, nextWidth, pageOf, readWanted, type Wanted } from './search.ts';
export { journalSeries } from './series.ts';
export { headFileOf, readHead } from './head.ts';
export { matcher, search } from './grep.ts';
export { readRequest } from './query.ts';
export { restoreJournal } from './restore.ts';
export type { JournalDeps } from './thread.ts';
export { verifyJournal, type Verdict } from './verify.ts';

/** How long a record waits to be written together with others, milliseconds. */
const batchEvery = 50;
/** How often retention is applied, milliseconds. */
const retainEvery = 60_000;
/** Delay before another worker replaces one that failed, milliseconds; it doubles up to the second value. */
const firstRestart = 100;
const maxRestart = 10_000;
/** How long a close waits for a thread that says nothing, milliseconds: on a busy machine a commit takes seconds, and the start of a thread longer. */
const silence = { started: 10_000, starting: 30_000 };
/** How often it looks, milliseconds. */
const listenEvery = 100;
/** Least interval between two events about lost records, milliseconds. */
const lossEventEvery = 60_000;

const addTo = <T>(list: Set<T>, one: T): (() => void) => (list.add(one), () => void list.delete(one));

/**
 * The journal on the main thread. Collects records in shared memory and posts them to the worker every 50 ms, with `strict` as soon
 * as the worker is idle. Starts the worker with the first record or with `open`, and another one when it fails.
 */
export class WorkerJournal implements Journal {
  readonly #core: Core;
  readonly #deps: JournalDeps;
  readonly #strict: boolean;
  readonly #session = randomUUID();
  readonly #calendar: Calendar;
  readonly #outbox: Outbox<Context>;
  readonly #status: JournalStatus;
  /** The next post: on a timer, or at the end of this turn of the event loop. */
  #posting: Timer | null = null;
  #immediate: NodeJS.Immediate | null = null;
  #retaining: Timer | null = null;
  #restarting: Timer | null = null;
  #restart = firstRestart;
  #staysAtExit: (() => void) | null = null;
  #writer: Thread | null = null;
  #reader: Thread | null = null;
  #opening = Promise.withResolvers<void>();
  #closed: Promise<void> | null = null;
  /** Everything was flushed; nothing is posted any more. */
  #ended = false;
  /** When the worker said something last, or was started, monotonic milliseconds. */
  #heardAt = 0;
  /** The worker has opened the journal. */
  #isStarted = false;
  readonly #listeners = new Set<(lastId: number) => void>();
  readonly #reopened = new Set<() => void>();
  readonly #checkpoints = new Set<(checkpoint: Checkpoint) => void>();
  readonly #observed = new Set<(value: unknown) => void>();

  /** A step of sums that are behind is under way. */
  #isSumming = false;
  #sumsBehind = false;

  constructor(core: Core, deps: JournalDeps) {
    this.#core = core;
    this.#deps = deps;
    this.#calendar = calendarOf(core.clock);
    const { durability, onFull, capture } = core.config.audit;
    this.#outbox = new Outbox(encode, capture.body);
    this.#strict = durability === 'strict';
    this.#status = new JournalStatus(core, this.#strict || onFull === 'refuse');
    this.#opening.promise.catch(() => undefined);
    if (core.crew?.isWorker === false) takeJoining(core.crew);
  }

  /** Model routes must be refused now. */
  get refusing(): boolean {
    return this.#status.refusing;
  }

  open(): Promise<void> {
    if (this.#closed === null) this.#start();
    return this.#held(this.#opening.promise);
  }

  /** Keeps the process alive until a promise settles: its caller waits for the thread. */
  #held(work: Promise<void>): Promise<void> {
    const release = this.#writer?.hold();
    return release === undefined ? work : work.finally(release);
  }

  /** Adds a finished request. */
  push(context: Context, kind: Kind): void {
    if (this.#closed !== null) return this.#status.lost('queue', 1);
    if (this.#outbox.add(context, kind)) return this.#schedule();
    this.#status.lost(this.#status.state.kind === 'full' ? 'full' : 'queue', 1);
    this.#outbox.addUnplaced(context);
    this.#postLater();
  }

  /** Commits the intent of a request before it is forwarded. @param then called with whether it is committed. */
  intend(context: Context, then: Committed): void {
    const full = this.#status.state.kind === 'full';
    if (this.#closed !== null || !this.#outbox.add(context, 'intent', full ? undefined : then)) return then(false);
    this.#schedule();
    if (full) then(false);
  }

  /** Hands over a chunk of a streamed request body. @returns false when this chunk and the following ones are not read. */
  bodyChunk(id: string, chunk: Buffer): boolean {
    if (this.#closed !== null || this.#outbox.isScarce) return false;
    this.#start();
    const bytes = new Uint8Array(chunk);
    this.#outbox.countChunk(bytes.length);
    this.#writer?.port.postMessage({ kind: 'bodyChunk', id, bytes }, [bytes.buffer]);
    return true;
  }

  /** Takes the configuration in force. A thread that starts later gets it with its options. */
  configure(): void {
    this.#outbox.scarceBody = this.#core.config.audit.capture.body;
    this.#writer?.port.postMessage({ kind: 'configure', settings: workerSettings(this.#core, this.#deps, 'write') });
  }

  /** Masks further secrets in what is written from now on. A thread that starts later gets all of them with its options. */
  hide(secrets: readonly string[]): void {
    this.#writer?.port.postMessage({ kind: 'hide', secrets });
  }

  append(records: readonly NewRecord[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const added = records.map((record) => externalRecordOf(record, this.#deps.routeOf));
    const then: Committed = (written) => (written ? resolve() : reject(new Error('the journal cannot be written')));
    if (this.#closed !== null || !this.#outbox.append(added, then)) reject(new Error('the journal has no room'));
    else this.#schedule();
    return this.#held(promise);
  }

  read(after: number, limit: number): Promise<readonly AuditRecord[]> {
    return this.#callReader((thread) => thread.call('read', { after, limit: Math.min(limit, 1000) }));
  }

  pack(first: number, last: number, packing: Packing): Promise<PackedRecords> {
    return this.#callReader((thread) => thread.call('pack', { first, last, packing }));
  }

  query(sql: string, values: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#callReader((thread) => thread.call('query', { sql, values }));
  }

  request(id: string): Promise<AuditRecord | null> {
    return this.#callReader((thread) => thread.call('request', { id }));
  }

  grep(search: JournalSearch): Promise<SearchFound> {
    return this.#callReader((thread) => thread.call('grep', search));
  }

  cursor(sink: string): Promise<number> {
    const moved = this.#outbox.moved(sink);
    return moved === undefined ? this.#callReader((thread) => thread.call('cursor', { sink })) : Promise.resolve(moved ?? 0);
  }

  advance(sink: string, id: number): void {
    this.#outbox.move(sink, id);
    this.#schedule();
  }

  abandon(sink: string): void {
    this.#outbox.move(sink, null);
    this.#schedule();
  }

  onWritten(listener: (lastId: number) => void): () => void {
    return addTo(this.#listeners, guard(this.#core.log, 'journal', listener));
  }

  claim(sink: string): Promise<boolean> {
    return this.#callWriter((thread) => thread.call('claim', { sink }));
  }

  onOpened(listener: () => void): () => void {
    return addTo(this.#reopened, guard(this.#core.log, 'journal', listener));
  }

  onCheckpoint(listener: (checkpoint: Checkpoint) => void): () => void {
    return addTo(this.#checkpoints, guard(this.#core.log, 'journal', listener));
  }

  /** Tells the observer in the journal's thread what other instances say. */
  tellObserver(value: unknown): void {
    this.#writer?.port.postMessage({ kind: 'heard', value });
  }

  /** Asks the observer. @returns null without one. */
  askObserver(question: unknown): Promise<unknown> {
    return this.#callWriter((thread) => thread.call('observe', { question }));
  }

  /** Registers a listener of what the observer says. @returns ends it. */
  onObserved(listener: (value: unknown) => void): () => void {
    return addTo(this.#observed, listener);
  }

  async learn(facts: readonly LearntFact[]): Promise<number> {
    await this.flush();
    const added = await this.#callWriter((thread) => thread.call('learn', { facts, now: this.#core.clock.now() }));
    // Sinks that were at the end are told.
    const { lastId } = this.stats();
    for (const listener of this.#listeners) listener(lastId);
    return added;
  }

  async forget(what: Forgetting): Promise<number> {
    await this.flush();
    return this.#callWriter((thread) => thread.call('forget', { ...what, now: this.#core.clock.now() }));
  }

  /** Runs a job in a thread of its own. @param told is called with its progress. */
  async work(work: JobWork, told: (done: number, total: number | null) => void): Promise<RunningJob> {
    const { config: { audit, previousSecrets }, log } = this.#core;
    await this.flush();
    return runJob(log, { path: resolve(audit.path), secrets: [this.#deps.secret(), ...previousSecrets], work }, told);
  }

  /** Brings the sums up to what is written. A journal that cannot be written, and one far ahead of its sums, has those it had. */
  async sum(): Promise<void> {
    if (this.#closed !== null || this.#status.state.kind === 'full') return;
    const step = async (): Promise<void> => {
      this.#sumsBehind = await this.#callWriter((thread) => thread.call('sum', { now: this.#core.clock.now() }));
    };
    if (!this.#sumsBehind) return step();
    // Millions of records take minutes: callers do not wait, and get the sums there are.
    if (this.#isSumming) return;
    this.#isSumming = true;
    step().catch(() => undefined).finally(() => {
      this.#isSumming = false;
    });
  }

  /** Removes records by age and size, and signs a checkpoint. Runs by itself every minute. */
  async retain(): Promise<void> {
    await this.flush();
    const calendar = this.#calendar;
    await this.#callWriter((thread) => thread.call('retain', { now: this.#core.clock.now(), believed: calendar.now(), steadyFor: calendar.steadyFor() }));
  }

  async flush(): Promise<void> {
    if (this.#outbox.isEmpty) return;
    this.#post();
    if (this.#status.state.kind === 'full' || this.#status.state.kind === 'failed') return;
    const release = this.#writer?.hold();
    await this.#outbox.settled();
    release?.();
  }

  stats(): JournalStats {
    return this.#status.stats(this.#outbox.records, this.#outbox.bytes);
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#staysAtExit?.();
    // A worker with nothing to do was silent before, with right.
    this.#heardAt = performance.now();
    await this.#unlessSilent(this.flush());
    this.#ended = true;
    for (const timer of [this.#posting, this.#retaining, this.#restarting]) if (timer !== null) this.#core.clock.clearTimeout(timer);
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    const now = this.#core.clock.now();
    const begun = performance.now();
    await this.#reader?.end(now, () => performance.now() - begun > silence.started);
    // Nor did it have anything to say while the reader ended.
    this.#heardAt += performance.now() - begun;
    await this.#writer?.end(now, () => this.#isSilent);
    const lost = this.#outbox.drop();
    if (lost > 0) this.#status.lost(this.#status.state.kind === 'full' ? 'full' : 'queue', lost);
    this.#status.ended();
    this.#opening.reject(new Error('the journal was closed'));
  }

  /** The worker may hang, in a system call for one. */
  get #isSilent(): boolean {
    return performance.now() - this.#heardAt > this.#patience;
  }

  get #patience(): number {
    return this.#isStarted ? silence.started : silence.starting;
  }

  /** Waits for work of the worker as long as it says something now and then. */
  async #unlessSilent(work: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setInterval(guard(this.#core.log, 'journal', () => this.#isSilent && resolve()), listenEvery).unref();
    await Promise.race([work, promise]).finally(() => clearInterval(timer));
  }

  /** A process that ends without closing the gate loses no record: what waits is posted, and the worker gets the time to write it. */
  #watchExit(): void {
    this.#staysAtExit ??= atExit(() => {
      if (!this.#outbox.isEmpty) this.#post();
      this.#writer?.endNow(this.#core.clock.now(), this.#patience);
    });
  }

  /** With `strict`, records that end while the worker is busy are committed together. */
  #schedule(): void {
    if (this.#staysAtExit === null) this.#watchExit();
    if (this.#strict) {
      if (this.#outbox.isIdle && !this.#ended) this.#immediate ??= setImmediate(guard(this.#core.log, 'journal', this.#post));
    } else {
      if (this.#outbox.isPressing) this.#hand(true);
      this.#postLater();
    }
  }

  #postLater(): void {
    if (this.#posting !== null || this.#ended) return;
    this.#posting = this.#core.clock.setTimeout(this.#post, batchEvery);
    this.#posting.unref();
  }

  readonly #post = (): void => {
    if (this.#posting !== null) this.#core.clock.clearTimeout(this.#posting);
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#posting = null;
    this.#immediate = null;
    this.#hand(false);
  };

  /** @param isPart more is posted within the time of this batch. */
  #hand(isPart: boolean): void {
    if (this.#writer === null) this.#start();
    for (const message of this.#outbox.take(this.#core.clock.now(), this.#writer !== null, isPart)) {
      if (message.kind === 'batch' && message.large.length > 0) this.#send(message);
      else this.#writer?.port.postMessage(message);
    }
  }

  /** Bodies are moved: a worker that fails takes those of its last batches with it, and their records follow without. */
  #send(message: ToWorker): void {
    if (this.#writer === null) return;
    if (message.kind !== 'batch' || message.large.length === 0) return this.#writer.port.postMessage(message);
    this.#writer.port.postMessage(message, movedOf(message));
    this.#outbox.movedWith(message);
  }

  #start(): void {
    if (this.#writer !== null || this.#restarting !== null) return;
    this.#watchExit();
    this.#heardAt = performance.now();
    this.#isStarted = false;
    try {
      this.#writer = new Thread(workerOptions(this.#core, this.#deps, 'write', this.#session), guard(this.#core.log, 'journal', this.#onMessage), guard(this.#core.log, 'journal', (error: Error | null) => this.#onExit(error)), this.#core.crew);
    } catch (error) {
      // Some hosts do not allow threads.
      return this.#onExit(error);
    }
    for (const message of this.#outbox.unwritten) this.#send(message);
  }

  /** Reads run in a thread of their own beside the writer. A journal in memory has the writer alone. */
  async #callReader<T>(call: (thread: Thread) => Promise<T>): Promise<T> {
    await this.open();
    if (this.#closed !== null) throw new Error('the journal was closed');
    if (this.#status.state.kind === 'memory' || this.#status.state.kind === 'off') return this.#callWriter(call);
    if (this.#reader === null) {
      const reader: Thread = new Thread(workerOptions(this.#core, this.#deps, 'read', this.#session), guard(this.#core.log, 'journal', (message: FromWorker) => {
        if (message.kind === 'result' || message.kind === 'error') reader.answered(message);
      }), () => (this.#reader = null), this.#core.crew);
      this.#reader = reader;
    }
    return call(this.#reader);
  }

  async #callWriter<T>(call: (thread: Thread) => Promise<T>): Promise<T> {
    await this.open();
    if (this.#writer === null) throw new Error('the journal is starting again');
    return call(this.#writer);
  }

  readonly #onMessage = (message: FromWorker): void => {
    this.#heardAt = performance.now();
    switch (message.kind) {
      case 'written':
        return this.#onWritten(message);
      case 'lines':
        this.#outbox.lined(message.seq);
        return message.bytes === null ? undefined : this.#deps.accessLog.show(message.bytes);
      case 'result':
      case 'error':
        return this.#writer?.answered(message);
      case 'opened':
        return this.#onOpened(message);
      case 'interrupted':
        return this.#status.interrupted(message.records);
      case 'grown':
        return this.#onGrown(message.lastId);
      case 'kept':
        return this.#onKept(message);
      case 'merged':
        return this.#status.merged(message.records);
      case 'lineFailure':
        return this.#deps.accessLog.failed(message.sink, message.error, message.effect);
      case 'lost':
        return this.#status.lost(message.reason, message.count);
      case 'spared':
        return this.#status.spared(message.records);
      case 'full':
        this.#status.full(message.reason);
        return this.#outbox.giveWay();
      case 'recovered':
        return this.#status.recovered();
      case 'bodyChunkRead':
        return this.#outbox.countChunk(-message.bytes);
      case 'checkpoint':
        return this.#onSigned(message.checkpoint);
      case 'observed':
        for (const listener of this.#observed) listener(message.value);
        return;
      case 'observerFailed':
        return this.#core.log.error({ reason: message.reason, effect: 'nothing is watched until the next start' }, 'anomaly.failed');
      case 'tampered':
        return this.#core.log.error({ reason: message.reason, fix: 'heimdall verify' }, 'journal.tampered');
    }
  };

  #onOpened(message: FromWorker & { kind: 'opened' }): void {
    this.#restart = firstRestart;
    this.#isStarted = true;
    this.#status.opened(message);
    // It may open while it is being closed.
    if (!this.#ended) this.#retaining ??= this.#core.clock.setTimeout(() => this.retain().catch(() => undefined).then(() => this.#closed ?? this.#retaining?.refresh()), retainEvery);
    this.#retaining?.unref();
    if (this.#status.state.kind === 'failed') return this.#onFailed(message);
    this.#opening.resolve();
    for (const listener of this.#reopened) listener();
  }

  /** Without the file the gate may not serve. The operator may repair it while the gate runs; another process may close it. */
  #onFailed({ memory, isPassing }: FromWorker & { kind: 'opened' }): void {
    this.#outbox.giveWay();
    if (isPassing) return;
    this.#opening.reject(new Error(`audit.path: expected a database this gate can use, got ${this.#core.config.audit.path} (${memory})`));
    this.#opening = Promise.withResolvers();
    this.#opening.promise.catch(() => undefined);
  }

  #onWritten({ seq, lastId, records, seconds, bytes }: FromWorker & { kind: 'written' }): void {
    this.#outbox.written(seq);
    this.#status.written(records, lastId, bytes, seconds);
    if (this.#strict && this.#outbox.isIdle && !this.#outbox.isEmpty) this.#post();
    if (records > 0) this.#tell(lastId);
  }

  /** The records are in memory only. Where the file is required, requests that wait for their commit are told that there is none. */
  #onKept({ seq, lastId, records, bytes }: FromWorker & { kind: 'kept' }): void {
    this.#outbox.written(seq, this.#status.state.kind !== 'failed');
    this.#status.kept(records, lastId, bytes);
    if (!this.#outbox.isEmpty) this.#schedule();
    if (records > 0) this.#tell(lastId);
  }

  #onGrown(lastId: number): void {
    this.#status.grown(lastId);
    this.#tell(lastId);
  }

  #tell(lastId: number): void {
    for (const listener of this.#listeners) listener(lastId);
  }

  #onSigned(checkpoint: Checkpoint): void {
    this.#status.checkpoint = checkpoint;
    this.#core.log.info(checkpoint, 'journal.checkpoint');
    for (const listener of this.#checkpoints) listener(checkpoint);
  }

  #onExit(error: unknown): void {
    this.#writer = null;
    this.#status.ended();
    this.#outbox.lined(null);
    if (this.#closed !== null) return this.#outbox.giveWay();
    this.#core.log.error({ error: describe(error ?? new Error('it ended')), effect: 'another one takes over' }, 'journal.worker_failed');
    this.#restarting = this.#core.clock.setTimeout(() => {
      this.#restarting = null;
      this.#start();
    }, this.#restart);
    this.#restarting.unref();
    this.#restart = Math.min(maxRestart, this.#restart * 2);
  }
}

/** The state of the journal and its counters. Every change of state is an event. */
class JournalStatus {
  readonly #core: Core;
  readonly #required: boolean;
  readonly #dropped: Record<DropReason, number> = { queue: 0, full: 0, invalid: 0, size: 0, memory: 0, undelivered: 0 };
  readonly #writeCounts = new Float64Array(writeBounds.length + 1);
  #writeSum = 0;
  #written = 0;
  /** Records in memory, whose file cannot be opened. */
  #kept = 0;
  #lastId = 0;
  #bytes = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;
  state: JournalState;
  checkpoint: Checkpoint | null = null;

  /** @param required model routes must be refused while there is no file. */
  constructor(core: Core, required: boolean) {
    this.#core = core;
    this.#required = required;
    this.state = { kind: core.config.audit.enabled ? 'idle' : 'off' };
  }

  /** Model routes must be refused now. */
  get refusing(): boolean {
    return this.#required && (this.state.kind === 'failed' || (this.state.kind === 'full' && this.#core.config.audit.onFull === 'refuse'));
  }

  opened({ memory, isPassing, exposed, lastId, bytes }: FromWorker & { kind: 'opened' }): void {
    const before = this.state;
    this.#lastId = lastId;
    this.#bytes = bytes;
    if (before.kind === 'off') return;
    this.state = memory === null ? { kind: 'open' } : { kind: this.#required ? 'failed' : 'memory', reason: memory };
    if (memory !== null) return this.#withoutFile(memory, isPassing);
    if (exposed !== null) this.#core.log.warn({ ...this.#about(exposed), effect: 'the file keeps its permissions' }, 'journal.exposed');
    if (before.kind === 'memory' || before.kind === 'failed') this.#core.log.info({ records: this.#kept }, 'journal.opened');
  }

  #withoutFile(reason: string, isPassing: boolean): void {
    const effect = `${this.#required ? 'model routes are answered with 503, and ' : ''}the latest records are kept in memory until the file can be used`;
    if (isPassing) this.#core.log.warn({ ...this.#about(reason), effect }, 'journal.waiting');
    else if (this.#required) this.#core.log.error({ ...this.#about(reason), effect }, 'journal.failed');
    else this.#core.log.error({ ...this.#about(reason), effect }, 'journal.memory');
  }

  /** Announces what retention removes as soon as the clock is believed. */
  spared(records: number): void {
    if (records > 0) this.#core.log.warn({ records, reason: 'the clock of the machine may have jumped', effect: 'they are removed when it has been steady for an hour' }, 'journal.retention_waits');
  }

  interrupted(records: number): void {
    this.#core.log.warn({ records, reason: 'they were in hand when a gate ended' }, 'journal.interrupted');
  }

  full(reason: string): void {
    this.state = { kind: 'full', reason, since: this.#core.clock.now() };
    this.#core.log.error({ ...this.#about(reason), effect: this.refusing ? 'model routes are answered with 503' : 'records wait, then are dropped' }, 'journal.full');
  }

  recovered(): void {
    this.state = { kind: 'open' };
    this.#core.log.info({ dropped: { ...this.#dropped } }, 'journal.recovered');
  }

  #about(reason: string): object {
    return { path: this.#core.config.audit.path, reason };
  }

  /** Counts a commit. @param seconds its duration. */
  written(records: number, lastId: number, bytes: number, seconds: number): void {
    this.#written += records;
    this.#lastId = lastId;
    this.#bytes = bytes;
    let bucket = 0;
    while (bucket < writeBounds.length && seconds > (writeBounds[bucket] as number)) bucket++;
    this.#writeCounts[bucket] = (this.#writeCounts[bucket] as number) + 1;
    this.#writeSum += seconds;
  }

  /** Counts records that are kept in memory, until they are {@link merged} or lost. */
  kept(records: number, lastId: number, bytes: number): void {
    this.#kept += records;
    this.#lastId = lastId;
    this.#bytes = bytes;
  }

  merged(records: number): void {
    this.#kept = Math.max(0, this.#kept - records);
  }

  /** Another process has written. */
  grown(lastId: number): void {
    this.#lastId = Math.max(this.#lastId, lastId);
  }

  /** The thread has ended, and the records that it kept in memory with it. */
  ended(): void {
    this.lost('memory', this.#kept);
  }

  lost(reason: DropReason, count: number): void {
    if (count === 0) return;
    if (reason === 'memory') this.#kept = Math.max(0, this.#kept - count);
    this.#dropped[reason] += count;
    const now = this.#core.clock.monotonic();
    if (now - this.#reportedAt < lossEventEvery) return;
    this.#reportedAt = now;
    this.#core.log.warn({ reason, dropped: { ...this.#dropped } }, 'journal.dropped');
  }

  stats(waiting: number, waitingBytes: number): JournalStats {
    return {
      state: this.state, lastId: this.#lastId, written: this.#written, dropped: { ...this.#dropped }, waiting: waiting + this.#kept, waitingBytes, bytes: this.#bytes,
      writeCounts: this.#writeCounts, writeSum: this.#writeSum, checkpoint: this.checkpoint,
    };
  }
}

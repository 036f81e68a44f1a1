import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Observer, ObserverModule } from '../../types/observer.d.ts';
import { verifierOf, type Signer } from './hash-chain.ts';
import { isPassing, reasonOf, usedBytes, type Opened } from './database.ts';
import { PlaceKeeper } from './places.ts';
import { upkeep } from './presence.ts';
import { type Batch, type CallName, decode, type FromWorker, movedOf, names, type RecordBuilder, type RecordMemory, type RecordRow, type RowTexts, type ToWorker, wipe, type WorkerCalls, type WorkerOptions, type WorkerSettings } from '../record/record.ts';
import { forget, namesOf } from './forget.ts';
import type { AccessLineWriter } from '../access-log/access-log.ts';
import { answerer } from './query.ts';
import { applyRetention, believedTime, enforceMaxSize, sparedRecords, type Retention } from './retention.ts';
import { headFileOf } from './head.ts';
import { Store, type Writing } from './store.ts';
import { attachSums, forgetSums, replaceSums, Sums } from './sums.ts';
import { headerReader, textLookup, textsOf } from './texts.ts';

/** Records of one transaction at most. Retention removes a transaction's records together. */
const maxRecords = 1000;
/** Delay before a failed write is tried again, milliseconds. */
const retryEvery = 1000;
/** How often the size is measured, milliseconds. */
const measureEvery = 1000;
/** How often a look is taken at what other processes have written, and at whether upkeep is theirs, milliseconds. */
const lookEvery = 1000;
/** How often records are added up, and how often while there are many of them, milliseconds. */
const sumEvery = 1000;
const sumEveryBehind = 100;
/**
 * Places of values are noted when there is time: while fewer records than these come in a second, and the pause behind each step is
 * so many times as long as the step. Else it is so long that they cost no hundredth of what the records do.
 */
const fewRecords = 200;
const placePause = { quiet: 1, busy: 250 };
/** Time that a session may be without a sign of life until its requests in hand are recorded, milliseconds: its thread may be starting again. */
const mourning = 20_000;

/** The calls that change the journal. */
const changing: ReadonlySet<CallName> = new Set(['forget', 'learn', 'retain', 'close']);

type Send = (message: FromWorker) => void;

/** What writers of one thread have in common. */
export interface WriterTools {
  readonly signer: Signer;
  readonly builder: RecordBuilder;
  readonly lines: AccessLineWriter;
  readonly send: Send;
  /** Called when the journal is closed. */
  readonly end: () => void;
}

/** A batch whose rows are built. */
interface PreparedBatch extends Pick<Batch, 'seq' | 'now' | 'cursors'> {
  /** The memory to erase; null for records that were kept in memory. */
  readonly raw: RecordMemory | null;
  readonly records: readonly RecordRow[];
  readonly intents: readonly RecordRow[];
  readonly texts: RowTexts;
}

/** The records that a journal in memory has kept. */
export interface Kept {
  readonly records: readonly RecordRow[];
  readonly texts: RowTexts;
  /** The last batch whose records they are. */
  readonly seq: number;
  /** Unix milliseconds. */
  readonly now: number;
}

/**
 * Writes batches to the database, beside other processes. A write that fails for a passing reason is tried again until it succeeds.
 * Of the processes that share a journal, the one that has the claim of upkeep signs checkpoints, applies retention, and records
 * what sessions that crashed had in hand; another one takes over when it ends.
 */
export class Writer {
  readonly #send: Send;
  readonly #end: () => void;
  readonly #opened: Opened;
  readonly #path: string | null;
  /** The file's inode. */
  readonly #place: number | undefined;
  readonly #signer: Signer;
  readonly #secrets: readonly string[];
  /** The observer hears of other instances. */
  readonly #shares: boolean;
  readonly #store: Store;
  readonly #builder: RecordBuilder;
  readonly #lines: AccessLineWriter;
  #retention: Retention;
  readonly #answer: ReturnType<typeof answerer>;
  readonly #queue: Batch[] = [];
  /** Batches that are prepared and could not be written yet. */
  #prepared: PreparedBatch[] = [];
  #scheduled: NodeJS.Immediate | null = null;
  /** No more batches belong to the last one that came. */
  #isWhole = true;
  #retry: NodeJS.Timeout | null = null;
  #isFull = false;
  #bytes = 0;
  #measuredAt = Number.NEGATIVE_INFINITY;
  /** Records that retention last left, since their age is not believed. */
  #spared = 0;
  #changes: Promise<void> = Promise.resolve();
  /** This session has the claim of upkeep. */
  #isKeeper = false;
  readonly #look: NodeJS.Timeout | null;
  /** When sessions with requests in hand were first seen without a sign of life. */
  readonly #missedSince = new Map<string, number>();
  /** The latest time of the main thread's clock, Unix milliseconds, and when it was told. */
  #told = 0;
  #toldAt = performance.now();
  /** Position of the last record of which followers of the journal were told. */
  #announced = 0;
  #observer: Observer | null = null;
  #headersOf: ReturnType<typeof headerReader>;
  /** What the observer was loaded with; null without one. */
  #observing: Pick<WorkerOptions, 'observer' | 'observerShares' | 'observerOptions'> | null = null;
  #sums: Sums | null;
  #summing: NodeJS.Timeout | null = null;
  #places: PlaceKeeper | null = null;
  #noting: NodeJS.Timeout | null = null;
  #cannotNote = false;
  /** The last record at a time, at least a second ago. */
  #before = { lastId: 0, at: 0, isQuiet: true };
  #closed = false;

  /** @param isPassing why records are kept in memory will pass: another process has the file for itself. */
  constructor(options: WorkerOptions, opened: Opened, { signer, builder, lines, send, end }: WriterTools, isPassing = false) {
    this.#send = send;
    this.#end = end;
    this.#opened = opened;
    this.#lines = lines;
    this.#told = options.now;
    this.#path = opened.memory === null ? options.path : null;
    this.#place = this.#path === null ? undefined : statSync(this.#path).ino;
    this.#signer = signer;
    this.#shares = options.observerShares;
    this.#secrets = [options.secret, ...options.previousSecrets];
    this.#store = new Store(opened.db, options.session, this.#signer);
    this.#builder = builder;
    this.#retention = this.#retentionOf(options);
    this.#store.onTextGone = () => this.#builder.texts.clear();
    this.#answer = answerer(() => opened.db);
    this.#headersOf = headerReader(textLookup(opened.db));
    attachSums(opened.db, this.#path);
    this.#sums = new Sums(opened.db, options.ownPaths);
    this.#begin(options.now, isPassing);
    this.#sumLater(sumEvery);
    void this.#observe(options);
    this.#look = this.#path === null ? null : setInterval(() => this.#lookAround(), lookEvery);
  }

  #retentionOf({ keepRecords, keepBodies, maxSize, sinks }: WorkerSettings): Retention {
    return { path: this.#path, keepRecords, keepBodies, maxSize, sinks, signer: this.#signer, lost: (reason, count) => this.#send({ kind: 'lost', reason, count }), removed: this.#textsRemoved };
  }

  /** Takes other settings from now on; the builder and the lines have them already. */
  #configure(settings: WorkerSettings): void {
    this.#retention = this.#retentionOf(settings);
    this.#sums?.leaveOut(settings.ownPaths);
    const next = { observer: settings.observer, observerShares: this.#shares, observerOptions: settings.observerOptions };
    if (isDeepStrictEqual(next, this.#observing)) return;
    this.#observer?.close();
    this.#observer = null;
    void this.#observe(next);
  }

  /** Loads the observer, if there is one. Its failures end it alone. */
  async #observe({ observer: module, observerShares, observerOptions }: Pick<WorkerOptions, 'observer' | 'observerShares' | 'observerOptions'>): Promise<void> {
    const mine = (this.#observing = { observer: module, observerShares, observerOptions });
    if (module === null) return;
    try {
      const { observe } = (await import(module)) as ObserverModule;
      if (this.#closed || this.#observing !== mine) return;
      const failed = (error: unknown): void => {
        if (this.#observing === mine) this.#observerFailed(error);
      };
      this.#observer = observe({ db: this.#opened.db, headersOf: (kept) => this.#headersOf(kept), shares: observerShares, options: observerOptions, leads: () => this.#isKeeper || this.#path === null, send: (value) => this.#send({ kind: 'observed', value }), failed });
    } catch (error) {
      this.#observerFailed(error);
    }
  }

  #observerFailed(error: unknown): void {
    this.#observer = null;
    this.#send({ kind: 'observerFailed', reason: reasonOf(error) });
  }

  #begin(now: number, isPassing: boolean): void {
    this.#takeOver(now, 0);
    this.#bytes = usedBytes(this.#opened.db, this.#path);
    this.#announced = this.#store.lastId;
    this.#send({ kind: 'opened', memory: this.#opened.memory, isPassing, exposed: this.#opened.exposed, lastId: this.#store.lastId, bytes: this.#bytes });
  }

  /** Claims upkeep. The first look at the journal compares it with its last signed state. @param patience as of {@link Writer.#recover}. */
  #takeOver(now: number, patience: number): void {
    if (this.#isKeeper || this.#path === null || !this.#opened.claim(upkeep)) return;
    this.#isKeeper = true;
    const problem = this.#store.attest(headFileOf(this.#path), verifierOf(this.#secrets), now);
    if (problem !== null) this.#send({ kind: 'tampered', reason: problem });
    this.#recover(now, patience);
    if (problem !== null) this.#checkpoint(now);
  }

  /** Records what ended sessions had in hand. @param patience milliseconds that a session may be without a sign of life. */
  #recover(now: number, patience: number): void {
    const records = this.#store.recover(now, verifierOf(this.#secrets), (sessions) => this.#living(sessions, patience));
    if (records > 0) this.#send({ kind: 'interrupted', records });
  }

  #living(sessions: ReadonlySet<string>, patience: number): ReadonlySet<string> {
    const living = new Set(this.#opened.others());
    const now = performance.now();
    for (const session of this.#missedSince.keys()) if (living.has(session) || !sessions.has(session)) this.#missedSince.delete(session);
    for (const session of sessions) {
      if (living.has(session)) continue;
      const since = this.#missedSince.get(session) ?? now;
      this.#missedSince.set(session, since);
      if (now - since < patience) living.add(session);
    }
    return living;
  }

  #sumLater(delay: number): void {
    this.#summing ??= setTimeout(() => {
      this.#summing = null;
      if (this.#isKeeper || this.#path === null) this.#sum();
    }, delay);
  }

  /** Adds up new records. A failure that does not pass costs the sums alone: they are made again. @returns whether there is more. */
  #sum(): boolean {
    if (this.#sums === null || this.#closed || this.#retry !== null) return false;
    try {
      const isBehind = this.#sums.update(this.#now());
      if (isBehind) this.#sumLater(sumEveryBehind);
      else if (this.#path !== null) this.#noteLater(sumEvery);
      return isBehind;
    } catch (error) {
      if (isPassing(error)) this.#sumLater(sumEvery);
      else if (!replaceSums(this.#opened.db, this.#path)) this.#sums = null;
      return false;
    }
  }

  #noteLater(delay: number): void {
    this.#noting ??= setTimeout(() => {
      this.#noting = null;
      this.#notePlaces();
    }, delay);
  }

  /** Notes places of some records. A failure ends that work until the next start. */
  #notePlaces(): void {
    if (this.#closed || !this.#isKeeper || this.#cannotNote) return;
    if (this.#retry !== null) return this.#noteLater(sumEvery);
    const begun = performance.now();
    try {
      const isBehind = (this.#places ??= new PlaceKeeper(this.#opened.db)).step();
      const took = performance.now() - begun;
      if (isBehind) this.#noteLater(took * (this.#isQuiet(begun) ? placePause.quiet : placePause.busy));
    } catch (error) {
      this.#places = null;
      this.#cannotNote = !isPassing(error);
      this.#noteLater(sumEvery);
    }
  }

  #isQuiet(now: number): boolean {
    const { at, lastId } = this.#before;
    const seconds = (now - at) / 1000;
    if (seconds >= 1) this.#before = { at: now, lastId: this.#store.lastId, isQuiet: at === 0 || this.#store.lastId - lastId < fewRecords * seconds };
    return this.#before.isQuiet;
  }

  #lookAround(): void {
    // A look waits for a batch that could not be written.
    if (this.#retry !== null) return;
    try {
      const now = this.#now();
      if (this.#isKeeper) this.#recover(now, mourning);
      else this.#takeOver(now, mourning);
      // A transaction of this process may have read the other's end of the chain before this look.
      this.#store.refresh();
      const { lastId } = this.#store;
      if (lastId <= this.#announced) return;
      this.#sumLater(sumEvery);
      this.#announced = lastId;
      this.#send({ kind: 'grown', lastId });
      this.#observer?.wake();
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
  }

  /** Unix milliseconds by the clock of the main thread. */
  #now(): number {
    return Math.floor(this.#told + performance.now() - this.#toldAt);
  }

  /** Writes what a journal in memory has kept. */
  adopt({ records, texts, seq, now }: Kept): void {
    // What is remembered was stored in memory.
    this.#builder.texts.clear();
    for (let at = 0; at < records.length; at += maxRecords) {
      this.#prepared.push({ seq, now, cursors: [], raw: null, records: records.slice(at, at + maxRecords), intents: [], texts });
      if (this.#retry === null) this.#commit();
    }
  }

  /** Ends a journal in memory. */
  handOver(): Kept {
    this.#write();
    if (this.#scheduled !== null) clearImmediate(this.#scheduled);
    const { db } = this.#opened;
    const records = db.prepare(`SELECT ${names.join(', ')} FROM heimdall_logs ORDER BY id`).all() as unknown as RecordRow[];
    if (this.#summing !== null) clearTimeout(this.#summing);
    const kept = { records, texts: textsOf(db, records), seq: this.#store.seq, now: this.#now() };
    this.#closed = true;
    this.#observer?.close();
    this.#observer = null;
    db.close();
    return kept;
  }

  /** Handles a message of the main thread. */
  onMessage(message: ToWorker): void {
    switch (message.kind) {
      case 'bodyChunk':
        this.#builder.bodyChunk(message.id, message.bytes);
        return this.#send({ kind: 'bodyChunkRead', bytes: message.bytes.length });
      case 'hide':
        return this.#builder.hide(message.secrets);
      case 'configure':
        return this.#configure(message.settings);
      case 'heard':
        return this.#observer?.hear(message.value);
      case 'lines':
        return this.#lines.writeUnplaced(message.unplaced);
      case 'batch':
        this.#told = message.now;
        this.#toldAt = performance.now();
        this.#queue.push(this.#retry === null ? message : this.#lines.writeEarly(message));
        return this.#writeSoon(!message.isPart);
      case 'commit':
        return this.#writeSoon(true);
      case 'call':
        if (message.name === 'sum') {
          this.#write();
          this.#send({ kind: 'result', call: message.call, value: this.#sum() });
        } else if (message.name === 'claim') this.#send({ kind: 'result', call: message.call, value: this.#opened.claim((message.request as WorkerCalls['claim']['request']).sink) });
        else if (message.name === 'observe') this.#send({ kind: 'result', call: message.call, value: this.#observer?.answer((message.request as WorkerCalls['observe']['request']).question) ?? null });
        else if (changing.has(message.name)) this.#change(message);
        else this.#answer(message, this.#send);
    }
  }

  /** Calls that change the journal run one after the other. */
  #change({ call, name, request }: ToWorker & { kind: 'call' }): void {
    const work = async (): Promise<number | null> => {
      if (name === 'forget') {
        const records = this.#forget(request as WorkerCalls['forget']['request']);
        this.#observer?.forgotten();
        return records;
      }
      if (name === 'learn') return this.#learn(request as WorkerCalls['learn']['request']);
      const { now } = request as WorkerCalls['retain']['request'];
      if (name === 'retain') this.#checkPlace();
      else this.#write();
      this.#takeOver(now, mourning);
      if (name === 'retain' && (this.#isKeeper || this.#path === null)) await this.#retain(request as WorkerCalls['retain']['request']);
      this.#checkpoint(now);
      return null;
    };
    this.#changes = this.#changes.then(work).then(
      (value) => this.#send({ kind: 'result', call, value }),
      (error: unknown) => this.#send({ kind: 'error', call, message: reasonOf(error) }),
    ).then(() => (name === 'close' ? this.#close() : undefined));
  }

  /** Removes what is old by a time that is believed, and says what it would remove by one that is not. */
  async #retain(times: WorkerCalls['retain']['request']): Promise<void> {
    const { db } = this.#opened;
    const believed = believedTime(db, times);
    const records = sparedRecords(db, this.#retention, times, believed);
    if (records !== this.#spared) this.#send({ kind: 'spared', records });
    this.#spared = records;
    if (believed !== null) await applyRetention(db, this.#retention, believed);
    else await enforceMaxSize(db, this.#retention);
  }

  #learn({ facts, now }: WorkerCalls['learn']['request']): number {
    return this.#store.learn(facts, now);
  }

  #forget({ now, ...what }: WorkerCalls['forget']['request']): number {
    const records = forget(this.#opened.db, what, { signer: this.#signer, secrets: this.#secrets, ledger: this.#store.ledger, removed: this.#textsRemoved, now });
    if (this.#path !== null) forgetSums(this.#path, namesOf(what, this.#secrets));
    return records;
  }

  /** A text that comes again is then added again. */
  readonly #textsRemoved = (digests: readonly string[]): void => {
    if (digests.length === 0) return;
    this.#store.textsRemoved();
    this.#headersOf = headerReader(textLookup(this.#opened.db));
    this.#builder.texts.drop(new Set(digests));
  };

  /** Ends the worker when the file was removed, so that the next worker creates a new one: a removed file cannot be read. */
  #checkPlace(): void {
    if (this.#path === null || statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#place) return;
    setImmediate(() => {
      throw new Error('the file is not there any more');
    });
    throw new Error('the file is not there any more');
  }

  #checkpoint(now: number): void {
    if (this.#path === null || !this.#isKeeper) return;
    const checkpoint = this.#store.checkpoint(now, headFileOf(this.#path));
    if (checkpoint !== null) this.#send({ kind: 'checkpoint', checkpoint });
  }

  #close(): void {
    this.#closed = true;
    this.#observer?.close();
    this.#observer = null;
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#scheduled !== null) clearImmediate(this.#scheduled);
    if (this.#look !== null) clearInterval(this.#look);
    if (this.#summing !== null) clearTimeout(this.#summing);
    if (this.#noting !== null) clearTimeout(this.#noting);
    this.#opened.close();
    this.#end();
  }

  /** @param isWhole no more batches belong to the last one. */
  #writeSoon(isWhole: boolean): void {
    this.#isWhole = isWhole;
    this.#scheduled ??= setImmediate(() => this.#write(this.#isWhole));
  }

  /** @param isWhole false: batches are prepared alone, unless there are many records. */
  #write(isWhole = true): void {
    this.#scheduled = null;
    if (this.#retry !== null) return;
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      this.#prepared.push(this.#prepare(batch));
      const records = this.#prepared.reduce((sum, { records: rows }) => sum + rows.length, 0);
      if ((records >= maxRecords || (isWhole && this.#queue.length === 0)) && !this.#commit()) return;
    }
    if (isWhole && this.#prepared.length > 0) this.#commit();
  }

  /** Builds the rows of a batch. A batch that an earlier worker has committed has none: it is only acknowledged again. */
  #prepare(batch: Batch): PreparedBatch {
    const records: RecordRow[] = [];
    const intents: RecordRow[] = [];
    const texts: RowTexts = new Map();
    let invalid = 0;
    if (batch.seq > this.#store.seq) {
      const raws = [...decode(batch)];
      if (!batch.isLined) this.#lines.write(raws, batch.seq);
      this.#builder.fingerprintAll(raws);
      for (const raw of raws) {
        if (raw?.isRecorded === false) continue;
        const row = raw === null ? null : this.#builder.tryBuild(raw, texts);
        if (row === null) invalid++;
        else (raw?.intent ? intents : records).push(row);
      }
    }
    // At once: the collector would keep the bodies of seconds.
    for (const memory of movedOf(batch)) memory.transfer(0);
    if (invalid > 0) this.#send({ kind: 'lost', reason: 'invalid', count: invalid });
    return { seq: batch.seq, now: batch.now, cursors: batch.cursors, raw: batch, records, intents, texts };
  }

  /** Writes the prepared batches in one transaction. @returns false when it has to be tried again. */
  #commit(): boolean {
    const prepared = this.#prepared;
    const last = prepared.at(-1) as PreparedBatch;
    const writing: Writing = {
      records: prepared.flatMap(({ records }) => records), texts: new Map(prepared.flatMap(({ texts }) => [...texts])), intents: prepared.flatMap(({ intents }) => intents), cursors: prepared.flatMap(({ cursors }) => cursors),
      seq: last.seq, now: last.now,
    };
    const began = performance.now();
    try {
      const { records, invalid } = this.#store.write(writing);
      if (invalid > 0) this.#send({ kind: 'lost', reason: 'invalid', count: invalid });
      this.#committed(prepared, records, (performance.now() - began) / 1000, last);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #committed(prepared: readonly PreparedBatch[], records: number, seconds: number, last: PreparedBatch): void {
    this.#prepared = [];
    let merged = 0;
    for (const { raw, records: rows } of prepared) {
      // SECURITY: raw headers and bodies are erased as soon as they are not needed any more.
      if (raw !== null) wipe(raw);
      else merged += rows.length;
    }
    if (merged > 0) this.#send({ kind: 'merged', records: merged });
    this.#observer?.wake();
    this.#sumLater(sumEvery);
    this.#measure();
    if (this.#isFull) this.#send({ kind: 'recovered' });
    this.#isFull = false;
    const { lastId } = this.#store;
    if (records > 0) this.#announced = lastId;
    this.#send(this.#path === null ? { kind: 'kept', seq: last.seq, lastId, records, bytes: this.#bytes } : { kind: 'written', seq: last.seq, lastId, records, seconds, bytes: this.#bytes });
  }

  #measure(): void {
    const now = performance.now();
    if (now - this.#measuredAt < measureEvery) return;
    this.#measuredAt = now;
    this.#bytes = usedBytes(this.#opened.db, this.#path);
    if (this.#path === null || this.#bytes > this.#retention.maxSize) this.#changes = this.#changes.then(() => enforceMaxSize(this.#opened.db, this.#retention)).catch(() => undefined);
  }

  /** Keeps the prepared batches and tries again later. Further records wait on the main thread, within bounds. */
  #failed(error: unknown): void {
    if (!this.#isFull) this.#send({ kind: 'full', reason: reasonOf(error) });
    this.#isFull = true;
    // Any other error means that the file has changed since it was opened. Another worker has to open it again.
    if (!isPassing(error)) throw error;
    for (const [at, batch] of this.#queue.entries()) this.#queue[at] = this.#lines.writeEarly(batch);
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#makeRoom();
      if (this.#commit()) this.#write();
    }, retryEvery);
  }

  /** Moves the write-ahead log into free pages of the file. */
  #makeRoom(): void {
    try {
      this.#opened.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // Tried again with the next write.
    }
  }
}

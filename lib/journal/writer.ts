import { statSync } from 'node:fs';
import { signerOf, trusting, type Signer } from './hash-chain.ts';
import { isPassing, reasonOf, usedBytes, type Opened } from './database.ts';
import { type Batch, type Calls, decode, type Draft, Drafter, type FromWorker, type ToWorker, wipe, type WorkerOptions } from '../record/record.ts';
import { forget } from './forget.ts';
import type { Lines } from '../access-log/access-log.ts';
import { answerer } from './query.ts';
import { shrink, tidy, type Retention } from './retention.ts';
import { headFileOf, Store, type Writing } from './store.ts';

/** Records of one transaction at most: what is removed later goes in one piece too. */
const mostRecords = 1000;
/** How often a write that failed is tried again, milliseconds. */
const retryEvery = 1000;
/** How often the size is looked at, milliseconds. */
const sizeEvery = 1000;

type Tell = (message: FromWorker) => void;

/** A batch whose records are ready to be written. */
interface Ready {
  readonly batch: Batch;
  readonly records: readonly Draft[];
  readonly intents: readonly Draft[];
}

/** Writes what comes; what cannot be written now is tried again until it can. */
export class Writer {
  readonly #tell: Tell;
  readonly #end: () => void;
  readonly #opened: Opened;
  readonly #path: string | null;
  /** The file's inode. */
  readonly #place: number | undefined;
  readonly #signer: Signer;
  readonly #secrets: readonly string[];
  readonly #store: Store;
  readonly #drafter: Drafter;
  readonly #lines: Lines;
  readonly #retention: Retention;
  readonly #answer: ReturnType<typeof answerer>;
  readonly #queue: Batch[] = [];
  /** Batches that are decoded and could not be written yet. */
  #ready: Ready[] = [];
  #scheduled: NodeJS.Immediate | null = null;
  #retry: NodeJS.Timeout | null = null;
  #isFull = false;
  #bytes = 0;
  #measuredAt = Number.NEGATIVE_INFINITY;
  #busy: Promise<void> = Promise.resolve();

  constructor(options: WorkerOptions, opened: Opened, lines: Lines, tell: Tell, end: () => void) {
    this.#tell = tell;
    this.#end = end;
    this.#opened = opened;
    this.#lines = lines;
    this.#path = opened.memory === null ? options.path : null;
    this.#place = this.#path === null ? undefined : statSync(this.#path).ino;
    this.#signer = signerOf(options.secret);
    this.#secrets = [options.secret, ...options.previousSecrets];
    this.#store = new Store(opened.db, options.session, this.#signer);
    this.#drafter = new Drafter(options);
    const { keepRecords, keepBodies, maxSize, sinks } = options;
    this.#retention = { path: this.#path, keepRecords, keepBodies, maxSize, sinks, signer: this.#signer, lost: (reason, count) => tell({ kind: 'lost', reason, count }) };
    this.#answer = answerer(() => opened.db);
    this.#begin(options.now);
  }

  #begin(now: number): void {
    const wrong = this.#path === null ? null : this.#store.compare(headFileOf(this.#path), trusting(this.#secrets.map((secret) => signerOf(secret).key)));
    if (wrong !== null) this.#tell({ kind: 'tampered', reason: wrong });
    const interrupted = this.#store.recover(now);
    this.#bytes = usedBytes(this.#opened.db, this.#path);
    this.#tell({ kind: 'opened', memory: this.#opened.memory, lastId: this.#store.lastId, bytes: this.#bytes, interrupted });
  }

  hear(message: ToWorker): void {
    switch (message.kind) {
      case 'piece':
        this.#drafter.piece(message.id, message.bytes);
        return this.#tell({ kind: 'taken', bytes: message.bytes.length });
      case 'lines':
        return this.#lines.ofSpared(message.spared);
      case 'batch':
        this.#queue.push(this.#retry === null ? message : this.#lines.early(message));
        this.#scheduled ??= setImmediate(() => this.#write());
        return;
      case 'call':
        if (message.name === 'forget' || message.name === 'tidy' || message.name === 'close') this.#change(message);
        else this.#answer(message, this.#tell);
    }
  }

  /** What changes the journal beside the writing goes one after the other. */
  #change({ call, name, ask }: ToWorker & { kind: 'call' }): void {
    const work = async (): Promise<number | null> => {
      if (name === 'forget') return this.#forget(ask as Calls['forget']['ask']);
      if (name === 'tidy') {
        this.#checkPlace();
        await tidy(this.#opened.db, this.#retention, (ask as Calls['tidy']['ask']).now);
      } else this.#write();
      this.#checkpoint((ask as Calls['tidy']['ask']).now);
      return null;
    };
    this.#busy = this.#busy.then(work).then(
      (value) => this.#tell({ kind: 'answer', call, value }),
      (error: unknown) => this.#tell({ kind: 'refused', call, message: reasonOf(error) }),
    ).then(() => (name === 'close' ? this.#close() : undefined));
  }

  #forget({ now, ...what }: Calls['forget']['ask']): number {
    return forget(this.#opened.db, this.#signer, this.#secrets, what, now);
  }

  /** Whoever removes the file has it made anew: what is written into the removed one nobody can read. */
  #checkPlace(): void {
    if (this.#path === null || statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#place) return;
    setImmediate(() => {
      throw new Error('the file is not there any more');
    });
    throw new Error('the file is not there any more');
  }

  #checkpoint(now: number): void {
    if (this.#path === null) return;
    const checkpoint = this.#store.checkpoint(now, headFileOf(this.#path));
    if (checkpoint !== null) this.#tell({ kind: 'checkpoint', checkpoint });
  }

  #close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#scheduled !== null) clearImmediate(this.#scheduled);
    this.#opened.close();
    this.#end();
  }

  #write(): void {
    this.#scheduled = null;
    if (this.#retry !== null) return;
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      this.#ready.push(this.#prepare(batch));
      const records = this.#ready.reduce((sum, ready) => sum + ready.records.length, 0);
      if ((records >= mostRecords || this.#queue.length === 0) && !this.#commit()) return;
    }
    if (this.#ready.length > 0) this.#commit();
  }

  /** What a worker before this one has committed already is only acknowledged again. */
  #prepare(batch: Batch): Ready {
    const records: Draft[] = [];
    const intents: Draft[] = [];
    let invalid = 0;
    if (batch.seq > this.#store.seq) {
      const raws = [...decode(batch)];
      if (!batch.isLined) this.#lines.of(raws, batch.seq);
      for (const raw of raws) {
        if (raw?.isRecorded === false) continue;
        const draft = raw === null ? null : this.#drafter.tryDraft(raw);
        if (draft === null) invalid++;
        else (raw?.intent ? intents : records).push(draft);
      }
    }
    if (invalid > 0) this.#tell({ kind: 'lost', reason: 'invalid', count: invalid });
    return { batch, records, intents };
  }

  /** @returns false when it has to be tried again. */
  #commit(): boolean {
    const ready = this.#ready;
    const last = (ready.at(-1) as Ready).batch;
    const writing: Writing = {
      records: ready.flatMap(({ records }) => records), intents: ready.flatMap(({ intents }) => intents), cursors: ready.flatMap(({ batch }) => batch.cursors),
      seq: last.seq, now: last.now,
    };
    const began = performance.now();
    try {
      const { records, invalid } = this.#store.write(writing);
      if (invalid > 0) this.#tell({ kind: 'lost', reason: 'invalid', count: invalid });
      this.#wrote(ready, records, (performance.now() - began) / 1000, last);
      return true;
    } catch (error) {
      this.#cannot(error);
      return false;
    }
  }

  #wrote(ready: readonly Ready[], records: number, seconds: number, last: Batch): void {
    this.#ready = [];
    // What raw headers and bodies held goes as soon as nobody needs it again.
    for (const { batch } of ready) wipe(batch);
    this.#measure();
    if (this.#isFull) this.#tell({ kind: 'recovered' });
    this.#isFull = false;
    this.#tell({ kind: 'written', seq: last.seq, lastId: this.#store.lastId, records, seconds, bytes: this.#bytes });
  }

  #measure(): void {
    const now = performance.now();
    if (now - this.#measuredAt < sizeEvery) return;
    this.#measuredAt = now;
    this.#bytes = usedBytes(this.#opened.db, this.#path);
    if (this.#path === null || this.#bytes > this.#retention.maxSize) this.#busy = this.#busy.then(() => shrink(this.#opened.db, this.#retention)).catch(() => undefined);
  }

  /** Nothing is lost yet: it waits here and is tried again, while what comes waits on the other side, within bounds. */
  #cannot(error: unknown): void {
    if (!this.#isFull) this.#tell({ kind: 'full', reason: reasonOf(error) });
    this.#isFull = true;
    // Not an error that passes: the file is not what it was when it was opened. Another worker has to open it anew.
    if (!isPassing(error)) throw error;
    for (const [at, batch] of this.#queue.entries()) this.#queue[at] = this.#lines.early(batch);
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#makeRoom();
      if (this.#commit()) this.#write();
    }, retryEvery);
  }

  /** What the log holds may find room in the file's free pages. */
  #makeRoom(): void {
    try {
      this.#opened.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // It is tried again with the next write.
    }
  }
}

import { type Batch, type Committed, type ExternalRecord, type Kind, type RecordMemory, Segment, type ToWorker, withoutMoved } from '../record/record.ts';

/** Records and bytes that may wait for the worker; further records are dropped. */
const maxRecords = 100_000;
const maxBytes = 67_108_864;
/** A segment with so many bytes is posted at once: bodies wait beside it. */
const pressingBytes = 1_048_576;
/** Bytes that may be posted in parts, whose commit waits for the next ones. */
const maxParts = 8_388_608;
/** Segments with unplaced records that may wait for their access lines. */
const maxUnplaced = 3;
/** Segments kept for reuse; a quiet gate needs two. */
const keptSegments = 8;

/** Writes a record into a segment. @param maxBody bytes of the body. @returns false when it does not fit; the segment is unchanged then. */
export type Encode<R> = (segment: Segment, record: R, kind: Kind, maxBody: number) => boolean;

interface Posted {
  readonly segment: Segment;
  message: Batch;
}

/**
 * Records that wait to be written: the segment being filled, full ones, and those posted to the worker and not yet committed.
 * Posted segments stay here, so that they can be posted to another worker, which skips what was committed.
 */
export class Outbox<R> {
  readonly #encode: Encode<R>;
  /** Bytes of a request body that are kept while more than half of the room is taken. */
  scarceBody: number;
  #current = new Segment();
  readonly #full: Segment[] = [];
  readonly #free: Segment[] = [];
  readonly #posted = new Map<number, Posted>();
  #cursors = new Map<string, number | null>();
  #awaited: { readonly seq: number; readonly done: () => void }[] = [];
  #seq = 0;
  #records = 0;
  #bytes = 0;
  #chunkBytes = 0;
  /** The last batch was a part. */
  #isOpen = false;
  #unplaced: Segment[] = [];
  #unplacedPosted = false;
  /** A segment is full and should be posted at once. Changed here only. */
  isPressing = false;

  constructor(encode: Encode<R>, scarceBody: number) {
    this.#encode = encode;
    this.scarceBody = scarceBody;
  }

  /** Records that wait. */
  get records(): number {
    return this.#records + this.#current.records;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes + this.#chunkBytes + this.#current.size;
  }

  /** More than half of the room is taken: large optional data should be left out. */
  get isScarce(): boolean {
    return this.bytes > maxBytes / 2;
  }

  /** Counts body chunks on their way to the worker. @param bytes added, or read when negative. */
  countChunk(bytes: number): void {
    this.#chunkBytes = Math.max(0, this.#chunkBytes + bytes);
  }

  /** Nothing is posted. */
  get isIdle(): boolean {
    return this.#posted.size === 0;
  }

  get isEmpty(): boolean {
    return this.isIdle && this.#full.length === 0 && this.#current.records === 0 && this.#cursors.size === 0 && this.#unplaced.length === 0;
  }

  /** Posted batches that are not committed, oldest first. */
  get unwritten(): readonly Batch[] {
    return [...this.#posted.values()].map(({ message }) => ({ ...message, isPart: false }));
  }

  /**
   * Adds a record.
   * @param then called when it is committed, or cannot be.
   * @returns false when there is no room.
   */
  add(record: R, kind: Kind, then?: Committed): boolean {
    if (this.#records >= maxRecords || this.#bytes >= maxBytes) return false;
    const maxBody = this.#bytes + this.#chunkBytes + this.#current.size > maxBytes / 2 ? this.scarceBody : Infinity;
    if (!this.#encode(this.#current, record, kind, maxBody)) {
      if (this.#current.records === 0) return false;
      this.#seal();
      if (!this.#encode(this.#current, record, kind, maxBody)) return false;
    }
    if (then !== undefined) this.#current.whenCommitted(then);
    if (this.#current.size > pressingBytes) this.#seal();
    return true;
  }

  /** A batch was posted, and bodies moved with it: another worker will not get them. */
  movedWith(batch: Batch): void {
    const posted = this.#posted.get(batch.seq);
    if (posted !== undefined) posted.message = withoutMoved(batch);
  }

  /** Takes a record for which there is no room: only its access line is written, unless too many wait for that too. */
  addUnplaced(record: R): void {
    const last = this.#unplaced.at(-1);
    if (last !== undefined && this.#encode(last, record, 'line', 0)) return;
    if (this.#unplaced.length >= maxUnplaced) return;
    const next = new Segment();
    if (this.#encode(next, record, 'line', 0)) this.#unplaced.push(next);
  }

  /** The access lines of a batch are written, or of unplaced records. @param seq null for those, also when their worker has ended. */
  lined(seq: number | null): void {
    if (seq === null) this.#unplacedPosted = false;
    const posted = this.#posted.get(seq ?? 0);
    if (posted !== undefined) posted.message = { ...posted.message, isLined: true };
  }

  /** Adds records from elsewhere. @returns false when there is no room. */
  append(records: readonly ExternalRecord[], then: Committed): boolean {
    if (this.#records + records.length > maxRecords || this.#bytes >= maxBytes) return false;
    for (const record of records) this.#current.append(record);
    this.#current.whenCommitted(then);
    return true;
  }

  /** Moves a sink's cursor with the next batch; null removes it. */
  move(sink: string, id: number | null): void {
    this.#cursors.set(sink, id);
  }

  /** A cursor that was moved and is not posted yet. */
  moved(sink: string): number | null | undefined {
    return this.#cursors.get(sink);
  }

  /**
   * Takes everything that is not posted yet, as messages for the worker.
   * @param now Unix milliseconds. @param hasWorker unplaced records are taken too; they are posted once and not kept.
   * @param isPart more of the same moment will be taken soon: one commit costs as much as the rest of ten records.
   */
  take(now: number, hasWorker: boolean, isPart = false): readonly ToWorker[] {
    const messages: ToWorker[] = [];
    if (this.#current.records > 0 || (this.#cursors.size > 0 && this.#full.length === 0)) this.#seal();
    for (let segment = this.#full.shift(); segment !== undefined; segment = this.#full.shift()) {
      const message = segment.message(++this.#seq, now, [...this.#cursors], this.#full.length > 0 || (isPart && this.#bytes < maxParts));
      this.#cursors = new Map();
      this.#posted.set(this.#seq, { segment, message });
      messages.push(message);
      this.#isOpen = message.isPart;
    }
    if (this.#isOpen && !isPart) {
      messages.push({ kind: 'commit' });
      this.#isOpen = false;
    }
    this.isPressing = false;
    if (hasWorker && this.#unplaced.length > 0 && !this.#unplacedPosted) messages.push({ kind: 'lines', unplaced: this.#takeUnplaced() });
    return messages;
  }

  #takeUnplaced(): readonly RecordMemory[] {
    const unplaced = this.#unplaced.map(({ content }) => content);
    this.#unplaced = [];
    this.#unplacedPosted = true;
    return unplaced;
  }

  /** Resolves when everything posted so far is committed, or cannot be. */
  settled(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((done) => this.#awaited.push({ seq: this.#seq, done }));
  }

  /** Releases everything up to a batch. @param kept whether it is committed. @returns the number of records. */
  written(seq: number, kept = true): number {
    const before = this.#records;
    for (const [posted, { segment }] of this.#posted) {
      if (posted > seq) break;
      this.#posted.delete(posted);
      this.#records -= segment.records;
      this.#bytes -= segment.size;
      segment.release(kept);
      if (this.#free.length < keptSegments) this.#free.push(segment);
    }
    if (this.#awaited.length > 0) this.#wake(seq);
    return before - this.#records;
  }

  #wake(seq: number): void {
    const over = this.#awaited.filter((awaited) => awaited.seq <= seq);
    this.#awaited = this.#awaited.filter((awaited) => awaited.seq > seq);
    for (const { done } of over) done();
  }

  /** Tells all callers that wait for a commit that it may take long. The records stay. */
  giveWay(): void {
    for (const { segment } of this.#posted.values()) segment.settle(false);
    for (const segment of this.#full) segment.settle(false);
    this.#current.settle(false);
    this.#wake(this.#seq);
  }

  /** Drops everything. @returns the number of records. */
  drop(): number {
    const lost = this.records;
    this.giveWay();
    this.#posted.clear();
    this.#full.length = 0;
    this.isPressing = false;
    this.#current = new Segment();
    this.#records = 0;
    this.#bytes = 0;
    return lost;
  }

  #seal(): void {
    this.#full.push(this.#current);
    this.isPressing = true;
    this.#records += this.#current.records;
    this.#bytes += this.#current.size;
    this.#current = this.#free.pop() ?? new Segment();
  }
}

import { type Added, type Batch, type Committed, type Kind, Segment, type Written } from '../record/record.ts';

/** Records and bytes that may wait for the writing before records are dropped. */
const mostRecords = 100_000;
const mostBytes = 67_108_864;
/** Segments of records without a place that may wait for their access lines. */
const mostSpare = 8;
/** Segments kept for later; a quiet gate needs two. */
const keptSegments = 4;

/** Writes a record into a segment. @param mostBody bytes of its body. @returns false when it does not fit, and nothing of it is there. */
export type Encode<R> = (segment: Segment, record: R, kind: Kind, mostBody: number) => boolean;

interface Posted {
  readonly segment: Segment;
  message: Batch;
}

/**
 * What waits to be written: the segment being filled, and those posted to the worker and not yet committed. Those stay, so
 * that they can be posted again to another worker, which skips what was committed.
 */
export class Outbox<R> {
  readonly #encode: Encode<R>;
  readonly #scarceBody: number;
  #current = new Segment();
  readonly #full: Segment[] = [];
  readonly #free: Segment[] = [];
  readonly #posted = new Map<number, Posted>();
  #cursors = new Map<string, number | null>();
  #awaited: { readonly seq: number; readonly done: () => void }[] = [];
  #seq = 0;
  #records = 0;
  #bytes = 0;
  #passing = 0;
  #spare: Segment[] = [];
  #sparePosted = false;

  /** @param scarceBody bytes of a body that are kept while room is scarce. */
  constructor(encode: Encode<R>, scarceBody: number) {
    this.#encode = encode;
    this.#scarceBody = scarceBody;
  }

  /** Records that wait. */
  get records(): number {
    return this.#records + this.#current.records;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes + this.#passing + this.#current.size;
  }

  /** Half of what may wait does: what is large and can be left out should be. */
  get isScarce(): boolean {
    return this.bytes > mostBytes / 2;
  }

  /** Counts pieces of bodies on their way to the worker. @param bytes more, or less. */
  passing(bytes: number): void {
    this.#passing = Math.max(0, this.#passing + bytes);
  }

  /** Nothing is posted. */
  get isIdle(): boolean {
    return this.#posted.size === 0;
  }

  get isEmpty(): boolean {
    return this.isIdle && this.#full.length === 0 && this.#current.records === 0 && this.#cursors.size === 0 && this.#spare.length === 0;
  }

  /** Every posted batch that is not committed, oldest first. */
  get unwritten(): readonly Batch[] {
    return [...this.#posted.values()].map(({ message }) => message);
  }

  /**
   * Adds a record.
   * @param then called when it is committed, or cannot be.
   * @returns false when too much waits.
   */
  add(record: R, kind: Kind, then?: Committed): boolean {
    if (this.#records >= mostRecords || this.#bytes >= mostBytes) return false;
    if (!this.#write(record, kind)) {
      if (this.#current.records === 0) return false;
      this.#seal();
      if (!this.#write(record, kind)) return false;
    }
    if (then !== undefined) this.#current.whenCommitted(then);
    return true;
  }

  /** While half of what may wait does, what is large and can be left out is. */
  #write(record: R, kind: Kind): boolean {
    return this.#encode(this.#current, record, kind, this.isScarce ? this.#scarceBody : Infinity);
  }

  /** What becomes of a record without a place: its access line is still made, unless too many wait for that too. */
  spare(record: R): void {
    const last = this.#spare.at(-1);
    if (last !== undefined && this.#encode(last, record, 'line', 0)) return;
    if (this.#spare.length >= mostSpare) return;
    const next = new Segment();
    if (this.#encode(next, record, 'line', 0)) this.#spare.push(next);
  }

  /** Hands out what was spared, when no more of it is on its way. */
  takeSpare(): readonly Written[] {
    if (this.#sparePosted) return [];
    const spared = this.#spare.map(({ written }) => written);
    this.#spare = [];
    this.#sparePosted = spared.length > 0;
    return spared;
  }

  /** The access lines of a batch are made, or of what was spared; null also says that its worker is gone. */
  lined(seq: number | null): void {
    if (seq === null) this.#sparePosted = false;
    const posted = this.#posted.get(seq ?? 0);
    if (posted !== undefined) posted.message = { ...posted.message, isLined: true };
  }

  /** Adds records from elsewhere. @returns false when too much waits. */
  append(added: readonly Added[], then: Committed): boolean {
    if (this.#records + added.length > mostRecords || this.#bytes >= mostBytes) return false;
    for (const one of added) this.#current.append(one);
    this.#current.whenCommitted(then);
    return true;
  }

  /** Moves a sink's cursor with the next batch; null forgets it. */
  move(sink: string, id: number | null): void {
    this.#cursors.set(sink, id);
  }

  /** Where a cursor is that was moved and not yet posted. */
  moved(sink: string): number | null | undefined {
    return this.#cursors.get(sink);
  }

  /** Whether a segment is full and should be posted at once. */
  get isPressing(): boolean {
    return this.#full.length > 0;
  }

  /** Hands out everything that is not posted yet. @param now Unix milliseconds. */
  *take(now: number): Generator<Batch> {
    if (this.#current.records > 0 || (this.#cursors.size > 0 && this.#full.length === 0)) this.#seal();
    for (let segment = this.#full.shift(); segment !== undefined; segment = this.#full.shift()) {
      const message = segment.message(++this.#seq, now, [...this.#cursors]);
      this.#cursors = new Map();
      this.#posted.set(this.#seq, { segment, message });
      yield message;
    }
  }

  /** Resolves when everything posted so far is committed, or must be given up waiting for. */
  settled(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((done) => this.#awaited.push({ seq: this.#seq, done }));
  }

  /** Lets go of everything up to a batch. @param kept whether it is committed. @returns how many records. */
  written(seq: number, kept = true): number {
    const before = this.#records;
    this.#letGo(seq, kept);
    this.#wake(seq);
    return before - this.#records;
  }

  #wake(seq: number): void {
    const over = this.#awaited.filter((awaited) => awaited.seq <= seq);
    if (over.length === 0) return;
    this.#awaited = this.#awaited.filter((awaited) => awaited.seq > seq);
    for (const { done } of over) done();
  }

  #letGo(seq: number, kept: boolean): void {
    for (const [posted, { segment }] of this.#posted) {
      if (posted > seq) return;
      this.#posted.delete(posted);
      this.#records -= segment.records;
      this.#bytes -= segment.size;
      segment.settle(kept);
      segment.clear();
      if (this.#free.length < keptSegments) this.#free.push(segment);
    }
  }

  /** Tells all who wait that it may take long; what waits stays. */
  giveWay(): void {
    for (const { segment } of this.#posted.values()) segment.settle(false);
    for (const segment of this.#full) segment.settle(false);
    this.#current.settle(false);
    this.#wake(this.#seq);
  }

  /** Drops everything. @returns how many records. */
  drop(): number {
    const lost = this.records;
    this.giveWay();
    this.#posted.clear();
    this.#full.length = 0;
    this.#current = new Segment();
    this.#records = 0;
    this.#bytes = 0;
    return lost;
  }

  #seal(): void {
    this.#full.push(this.#current);
    this.#records += this.#current.records;
    this.#bytes += this.#current.size;
    this.#current = this.#free.pop() ?? new Segment();
  }
}

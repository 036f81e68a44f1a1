import type { Timer } from '../../types/clock.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Checkpoint, Delivery, Sink, SinkState, SinkView } from '../../types/sink.d.ts';
import type { Core } from '../request/request.ts';
import { codeOf, describe } from '../platform/platform.ts';

/** Waits after a failure without a wait of its own, milliseconds; they double between the two. */
const firstWait = 1000;
const longestWait = 10_000;
/** No sink is asked again sooner after a failure, whatever it says. */
const leastWait = 100;
/** A call that takes longer is given up, and its records come again, milliseconds. */
const patience = 30_000;
/** So many records behind, or held for so long, a sink counts as lagging. */
const mayLag = 10_000;
const mayHold = 30_000;
/** How often a sink that is left alone is looked at, milliseconds. */
const lookEvery = 10_000;
/** How often it is said that records are set aside, milliseconds. */
const tellEvery = 60_000;
/** Most records read at a time where few are wanted. */
const longestLook = 200;
/** What is under way, and what was written last, may be delivered before the end; nothing is waited for longer, milliseconds. */
const grace = 1000;

/** Leads one sink along the journal with a cursor: at least once, in order, one call at a time. */
export class Follower {
  readonly #core: Core;
  readonly #journal: Journal;
  readonly #sink: Sink;
  readonly #ends: readonly (() => void)[];
  #state: SinkState = { kind: 'working' };
  /** Null until the journal has told it. */
  #cursor: number | null = null;
  #wait = firstWait;
  #timer: Timer | null = null;
  #busy: Promise<void> | null = null;
  #call: AbortController | null = null;
  #closing = false;
  #lagging = false;
  /** It was said that something is wrong, and not yet that it is over. */
  #troubled = false;
  #delivered = 0;
  #refused = 0;
  #refusedTold = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  #errors = 0;
  /** What was refused in one piece is tried in halves until the one record is found. */
  #atOnce: number;
  #look: number;
  #checkpoint: Checkpoint | null = null;

  constructor(core: Core, journal: Journal, sink: Sink) {
    this.#core = core;
    this.#journal = journal;
    this.#sink = sink;
    this.#atOnce = sink.batch;
    this.#look = sink.batch;
    this.#ends = [journal.onWritten(() => this.wake()), journal.onCheckpoint((checkpoint) => this.#signed(checkpoint))];
  }

  get name(): string {
    return this.#sink.name;
  }

  view(): SinkView {
    const lag = this.#cursor === null || this.#state.kind === 'off' ? 0 : Math.max(0, this.#journal.stats().lastId - this.#cursor);
    return { name: this.name, state: this.#state, lag, lagging: this.#lagging, delivered: this.#delivered, refused: this.#refused, errors: this.#errors };
  }

  /** Goes on where the sink was left, if it is not going already. */
  wake(): void {
    if (this.#cursor !== null) this.#judgeLag();
    if (this.#busy !== null || this.#timer !== null || this.#state.kind === 'off' || this.#closing) return;
    this.#busy = this.#follow().catch((error: unknown) => this.#hold('the journal could not be read', 0, error)).finally(() => {
      this.#busy = null;
      // What was written while the last look came back empty has called in vain.
      if (this.#cursor !== null && this.#journal.stats().lastId > this.#cursor) this.wake();
    });
  }

  /** What is under way gets a moment, as does what was written last; what was not delivered comes after the next start. */
  async close(): Promise<void> {
    if (this.#closing) return;
    if (this.#state.kind === 'working' && this.#timer === null && this.#cursor !== null) await briefly(this.#last());
    this.#closing = true;
    this.#call?.abort();
    for (const end of this.#ends) end();
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    await briefly(this.#busy);
    await briefly(this.#sink.close?.());
  }

  async #last(): Promise<void> {
    await this.#journal.flush();
    this.wake();
    await this.#busy;
  }

  async #follow(): Promise<void> {
    if (this.#cursor === null) {
      this.#cursor = await this.#journal.cursor(this.name);
      // From now on retention waits for it.
      this.#journal.advance(this.name, this.#cursor);
    }
    while (!this.#closing) {
      const { lastId } = this.#journal.stats();
      const records = await this.#journal.read(this.#cursor, Math.max(this.#atOnce, this.#look));
      if (this.#closing) return;
      if (records.length === 0) return this.#atTheEnd(lastId);
      if (!(await this.#pass(records))) return;
    }
  }

  /** Delivers the first of these records that are wanted, as many as go at once. @returns whether to go on. */
  async #pass(records: readonly AuditRecord[]): Promise<boolean> {
    const wanted: AuditRecord[] = [];
    let seen = 0;
    for (const record of records) {
      if (wanted.length === this.#atOnce) break;
      seen = record.id;
      if (this.#isWanted(record)) wanted.push(record);
    }
    if (wanted.length > 0) {
      this.#look = Math.max(this.#sink.batch, this.#look >> 1);
      return this.#deliver(wanted, seen);
    }
    this.#look = Math.min(longestLook, this.#look * 2);
    this.#moveTo(seen);
    return true;
  }

  /** One that throws over a record gets it: what becomes of it is then its own word. */
  #isWanted(record: AuditRecord): boolean {
    try {
      return this.#sink.wants?.(record) ?? true;
    } catch {
      return true;
    }
  }

  async #deliver(records: readonly AuditRecord[], seen: number): Promise<boolean> {
    const delivery = await this.#ask(records);
    switch (delivery.kind) {
      case 'delivered':
        this.#delivered += records.length;
        this.#atOnce = Math.min(this.#sink.batch, this.#atOnce * 2);
        return this.#passed(seen, delivery.wait);
      case 'refused':
        if (records.length === 1) return this.#setAside(records[0] as AuditRecord, seen, delivery);
        this.#atOnce = Math.ceil(records.length / 2);
        return !this.#rests(delivery.wait);
      case 'held':
        if (!this.#closing) this.#hold(delivery.reason, delivery.wait ?? 0);
        return false;
      case 'off':
        this.#switchOff(delivery.reason);
        return false;
    }
  }

  /** SECURITY: what somebody else's error says is not logged: it may quote the record, or a URL with a password. */
  async #ask(records: readonly AuditRecord[]): Promise<Delivery> {
    try {
      const delivery = await this.#within((signal) => this.#sink.deliver(records, signal));
      return kinds.has((delivery as Delivery | undefined)?.kind) ? delivery : { kind: 'held', reason: 'the sink did not say what became of the records' };
    } catch (error) {
      return { kind: 'held', reason: `the sink failed (${codeOf(error)})` };
    }
  }

  /** Gives a call its time: one that does not heed the signal is left behind. */
  async #within<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<never>();
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), { once: true });
    const timer = setTimeout(() => controller.abort(new DOMException('it took too long', 'TimeoutError')), patience);
    timer.unref();
    this.#call = controller;
    try {
      return await Promise.race([call(controller.signal), promise]);
    } finally {
      clearTimeout(timer);
      this.#call = null;
    }
  }

  /** The cursor is on the disk before the next call: a crash repeats no more than one. */
  async #passed(seen: number, wait: number | undefined): Promise<boolean> {
    this.#moveTo(seen);
    this.#wait = firstWait;
    if (this.#state.kind === 'held') this.#state = { kind: 'working' };
    await this.#journal.flush();
    return !this.#rests(wait);
  }

  #moveTo(seen: number): void {
    this.#cursor = seen;
    this.#journal.advance(this.name, seen);
    this.#judgeLag();
  }

  #setAside(record: AuditRecord, seen: number, { reason, wait }: Extract<Delivery, { kind: 'refused' }>): Promise<boolean> {
    this.#refused++;
    const now = this.#core.clock.now();
    if (now - this.#toldAt >= tellEvery) {
      this.#core.log.error({ sink: this.name, record: record.request_id, reason, records: this.#refused - this.#refusedTold }, 'sink.refused');
      this.#toldAt = now;
      this.#refusedTold = this.#refused;
    }
    return this.#passed(seen, wait);
  }

  /** @returns whether the sink is left alone now. */
  #rests(wait: number | undefined): boolean {
    if (wait === undefined || !(wait > 0) || this.#closing) return false;
    this.#rest(wait);
    return true;
  }

  #rest(wait: number): void {
    const turn = Math.min(wait, lookEvery);
    this.#timer = this.#core.clock.setTimeout(() => {
      this.#timer = null;
      if (wait > turn) {
        this.#judgeLag();
        this.#rest(wait - turn);
      } else this.wake();
    }, turn);
    this.#timer.unref();
  }

  #hold(reason: string, wait: number, cause?: unknown): void {
    this.#errors++;
    const { clock, log } = this.#core;
    if (this.#state.kind !== 'held') {
      this.#state = { kind: 'held', reason, since: clock.now() };
      log.warn({ sink: this.name, reason, ...(cause === undefined ? {} : { error: describe(cause) }) }, 'sink.held');
      this.#troubled = true;
    } else this.#state = { ...this.#state, reason };
    if (this.#closing) return;
    this.#rest(wait > 0 ? Math.max(wait, leastWait) : this.#wait);
    if (!(wait > 0)) this.#wait = Math.min(longestWait, this.#wait * 2);
  }

  /** Nothing waits for it any more: what is recorded meanwhile is not for it. */
  #switchOff(reason: string): void {
    this.#state = { kind: 'off', reason };
    this.#moveTo(this.#journal.stats().lastId);
    this.#core.log.warn({ sink: this.name, reason }, 'sink.off');
  }

  #signed(checkpoint: Checkpoint): void {
    if (this.#state.kind === 'off') return this.#journal.advance(this.name, this.#journal.stats().lastId);
    this.#checkpoint = checkpoint;
    this.wake();
  }

  /** @param lastId what was there before the look: where nothing is left of it, retention has removed it. */
  async #atTheEnd(lastId: number): Promise<void> {
    if (lastId > (this.#cursor as number)) this.#moveTo(lastId);
    if (this.#state.kind === 'held') this.#state = { kind: 'working' };
    this.#wait = firstWait;
    this.#judgeLag(true);
    const checkpoint = this.#checkpoint;
    if (checkpoint === null || checkpoint.record > (this.#cursor as number)) return;
    this.#checkpoint = null;
    await this.#within(async (signal) => this.#sink.checkpoint?.(checkpoint, signal)).catch(() => {
      this.#errors++;
    });
  }

  #judgeLag(atTheEnd = false): void {
    const lag = atTheEnd ? 0 : this.view().lag;
    const late = this.#state.kind === 'held' && lag > 0 && this.#core.clock.now() - this.#state.since >= mayHold;
    const lagging = late || lag > (this.#lagging ? mayLag / 2 : mayLag);
    if (lagging && !this.#lagging) this.#core.log.error({ sink: this.name, lag, state: this.#state.kind }, 'sink.lagging');
    const over = this.#lagging ? !lagging : lag === 0;
    this.#lagging = lagging;
    if (lagging) this.#troubled = true;
    if (!this.#troubled || !over || this.#state.kind !== 'working') return;
    this.#troubled = false;
    this.#core.log.info({ sink: this.name, lag }, 'sink.caught_up');
  }
}

/** Waits for what may never come, and for nothing it says. */
async function briefly(work: Promise<unknown> | null | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, grace);
  await Promise.race([promise, Promise.resolve(work).catch(() => undefined)]);
  clearTimeout(timer);
}

const kinds: ReadonlySet<unknown> = new Set<Delivery['kind']>(['delivered', 'held', 'refused', 'off']);

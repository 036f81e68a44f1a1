import type { Timer } from '../../types/clock.d.ts';
import type { Journal, SqlRow } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Checkpoint, Delivery, LearntOf, Sink, SinkState, SinkView } from '../../types/sink.d.ts';
import type { Core } from '../request/request.ts';
import { codeOf, describe, inBackground } from '../platform/platform.ts';

/** Waits after a failure that names no wait, milliseconds; they double from the first to the second value. */
const firstWait = 1000;
const maxWait = 10_000;
/** Shortest wait after a failure, whatever the sink asks for, milliseconds. */
const minWait = 100;
/** A longer call is given up, and its records are delivered again, milliseconds. */
const callTimeout = 30_000;
/** A sink counts as lagging when it is so many records behind, or held for so many milliseconds. */
const maxLag = 10_000;
const maxHold = 30_000;
/** How often the lag of a pausing sink is judged, milliseconds. */
const judgeEvery = 10_000;
/** Least interval between two events about refused records, milliseconds. */
const refusalEventEvery = 60_000;
/** How often a sink that another gate delivers to is claimed, milliseconds. */
const claimEvery = 1000;
/** Records read at a time, at most, where the sink wants few of them. */
const maxRead = 200;
/** Facts told at a time, and those told again after a start. */
const factsAtOnce = 500;
const factsAgain = 5000;
/** A sink of packed records is called again after this time, milliseconds, unless a whole batch waits: each call has a cost of its own. */
const gather = 200;
/** How long a close waits for the deliveries under way and for the last records, milliseconds. */
const grace = 1000;

/** A sink with what its follower has to know of it. */
export interface FollowingSink extends Sink {
  /** It is handed ids alone, `id` and `request_id`: what it sends is made where records are read. */
  readonly isLight?: boolean;
}

const idsAfter = 'SELECT id, request_id FROM heimdall_logs WHERE id > ? ORDER BY id LIMIT ?';

/** Delivers the journal to one sink, by a cursor: every record at least once, in order, one call at a time. */
export class Follower {
  readonly #core: Core;
  readonly #journal: Journal;
  readonly #sink: FollowingSink;
  readonly #ends: readonly (() => void)[];
  #state: SinkState = { kind: 'working' };
  /** Null until it was read from the journal. */
  #cursor: number | null = null;
  #wait = firstWait;
  #timer: Timer | null = null;
  #busy: Promise<void> | null = null;
  #aborter: AbortController | null = null;
  #closing = false;
  #lagging = false;
  /** A problem was reported as an event, and its end was not. */
  #troubled = false;
  #delivered = 0;
  #refused = 0;
  #refusedReported = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #errors = 0;
  /** Records of one call. Refused records are delivered again in halves until the refused one is found. */
  #atOnce: number;
  /** It waits for more records to come. */
  #gathers = false;
  /** Records read at a time. */
  #readSize: number;
  #checkpoint: Checkpoint | null = null;
  /** The last fact that was told; null until it was read. */
  #fact: number | null = null;

  constructor(core: Core, journal: Journal, sink: FollowingSink) {
    this.#core = core;
    this.#journal = journal;
    this.#sink = sink;
    this.#atOnce = sink.batch;
    this.#readSize = sink.batch;
    this.#ends = [journal.onWritten(() => this.wake()), journal.onOpened(() => this.#reopened()), journal.onCheckpoint((checkpoint) => this.#signed(checkpoint))];
  }

  get name(): string {
    return this.#sink.name;
  }

  view(): SinkView {
    const lag = this.#cursor === null || this.#state.kind === 'off' ? 0 : Math.max(0, this.#journal.stats().lastId - this.#cursor);
    return { name: this.name, state: this.#state, lag, lagging: this.#lagging, delivered: this.#delivered, refused: this.#refused, errors: this.#errors };
  }

  /** Continues at the cursor, unless a delivery is under way. */
  wake(): void {
    if (this.#cursor !== null) this.#judgeLag();
    if (this.#busy !== null || this.#timer !== null || this.#state.kind === 'off' || this.#closing) return;
    this.#busy = this.#follow().catch((error: unknown) => this.#hold('the journal could not be read', 0, error)).finally(() => {
      this.#busy = null;
      // Records may have been written while the last read returned none; their wake-up was ignored.
      if (this.#cursor !== null && this.#journal.stats().lastId > this.#cursor) this.wake();
    });
    inBackground(this.#core.log, this.name, this.#busy);
  }

  /** Waits shortly for deliveries under way and for the last records. The rest is delivered after the next start. */
  async close(): Promise<void> {
    if (this.#closing) return;
    if (this.#gathers && this.#timer !== null) this.#resume(this.#timer);
    if (this.#state.kind === 'working' && this.#timer === null && this.#cursor !== null) await briefly(this.#deliverLast());
    this.#closing = true;
    this.#aborter?.abort();
    for (const end of this.#ends) end();
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    await briefly(this.#busy);
    await briefly((async () => this.#sink.close?.())());
  }

  async #deliverLast(): Promise<void> {
    await this.#journal.flush();
    this.wake();
    await this.#busy;
  }

  async #follow(): Promise<void> {
    if (this.#cursor === null) {
      if (!(await this.#claimed())) return;
      this.#cursor = await this.#journal.cursor(this.name);
      // From now on retention waits for this cursor.
      this.#journal.advance(this.name, this.#cursor);
    }
    while (!this.#closing) {
      const { lastId } = this.#journal.stats();
      const records = await this.#read(this.#cursor, Math.max(this.#atOnce, this.#readSize));
      if (this.#closing) return;
      if (records.length === 0) return this.#atTheEnd(lastId);
      if (!(await this.#pass(records))) return;
    }
  }

  async #read(after: number, limit: number): Promise<readonly AuditRecord[]> {
    if (this.#sink.isLight !== true) return this.#journal.read(after, limit);
    return (await this.#journal.query(idsAfter, [after, Math.min(limit, 1000)])) as unknown as readonly AuditRecord[];
  }

  /** Of the gates that share a journal one delivers. The others look whether it has ended. */
  async #claimed(): Promise<boolean> {
    if (await this.#journal.claim(this.name)) {
      if (this.#state.kind === 'standby') this.#state = { kind: 'working' };
      return true;
    }
    this.#state = { kind: 'standby' };
    if (!this.#closing) this.#pause(claimEvery);
    return false;
  }

  /** The claim was lost with the journal's thread, and positions may be those of another file. */
  #reopened(): void {
    if (this.#cursor === null || this.#closing) return;
    void Promise.resolve(this.#busy).then(() => {
      this.#cursor = null;
      this.wake();
    });
  }

  /** Delivers the first wanted records, as many as one call takes. @returns whether to continue. */
  async #pass(records: readonly AuditRecord[]): Promise<boolean> {
    const wanted: AuditRecord[] = [];
    let seen = 0;
    for (const record of records) {
      if (wanted.length === this.#atOnce) break;
      seen = record.id;
      if (this.#isWanted(record)) wanted.push(record);
    }
    if (wanted.length > 0) {
      this.#readSize = Math.max(this.#sink.batch, this.#readSize >> 1);
      return this.#deliver(wanted, seen);
    }
    this.#readSize = Math.min(maxRead, this.#readSize * 2);
    this.#moveTo(seen);
    return true;
  }

  /** A sink that throws here gets the record; its `deliver` decides. */
  #isWanted(record: AuditRecord): boolean {
    try {
      return this.#sink.wants?.(record) ?? true;
    } catch {
      return true;
    }
  }

  async #deliver(records: readonly AuditRecord[], seen: number): Promise<boolean> {
    const delivery = await this.#callSink(records);
    switch (delivery.kind) {
      case 'delivered':
        this.#delivered += records.length - (delivery.refused ?? 0);
        if (delivery.refused !== undefined && delivery.refused > 0) this.#setAside(delivery.refused, 'the receiver took a part of them', null);
        this.#atOnce = Math.min(this.#sink.batch, this.#atOnce * 2);
        this.#gathers = this.#sink.isLight === true && delivery.wait === undefined && records.length < this.#sink.batch;
        return this.#passed(seen, this.#gathers ? gather : delivery.wait);
      case 'refused':
        if (records.length === 1) return this.#skip(records[0] as AuditRecord, seen, delivery);
        this.#atOnce = Math.ceil(records.length / 2);
        return !this.#pauses(delivery.wait);
      case 'held':
        if (!this.#closing) this.#hold(delivery.reason, delivery.wait ?? 0);
        return false;
      case 'off':
        this.#switchOff(delivery.reason);
        return false;
    }
  }

  /** SECURITY: the message of a sink's error is not logged: it may quote the record, or a URL with a password. */
  async #callSink(records: readonly AuditRecord[]): Promise<Delivery> {
    try {
      const delivery = await this.#within((signal) => this.#sink.deliver(records, signal));
      return kinds.has((delivery as Delivery | undefined)?.kind) ? delivery : { kind: 'held', reason: 'the sink did not say what became of the records' };
    } catch (error) {
      return { kind: 'held', reason: `the sink failed (${codeOf(error)})` };
    }
  }

  /** Limits the duration of a call. A call that ignores the signal is abandoned. */
  async #within<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<never>();
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), { once: true });
    const timer = setTimeout(() => controller.abort(new DOMException('it took too long', 'TimeoutError')), callTimeout);
    timer.unref();
    this.#aborter = controller;
    try {
      return await Promise.race([call(controller.signal), promise]);
    } finally {
      clearTimeout(timer);
      this.#aborter = null;
    }
  }

  /** Commits the cursor before the next call, so that a crash repeats at most one call. */
  async #passed(seen: number, wait: number | undefined): Promise<boolean> {
    this.#moveTo(seen);
    this.#wait = firstWait;
    if (this.#state.kind === 'held') this.#state = { kind: 'working' };
    await this.#journal.flush();
    return !this.#pauses(wait);
  }

  #moveTo(seen: number): void {
    this.#cursor = seen;
    this.#journal.advance(this.name, seen);
    this.#judgeLag();
  }

  #skip(record: AuditRecord, seen: number, { reason, wait }: Extract<Delivery, { kind: 'refused' }>): Promise<boolean> {
    this.#setAside(1, reason, record.request_id);
    return this.#passed(seen, wait);
  }

  /** Counts records that the sink refused for good. @param record the id of one of them. */
  #setAside(count: number, reason: string, record: string | null): void {
    this.#refused += count;
    const now = this.#core.clock.monotonic();
    if (now - this.#reportedAt >= refusalEventEvery) {
      this.#core.log.error({ sink: this.name, record, reason, records: this.#refused - this.#refusedReported }, 'sink.refused');
      this.#reportedAt = now;
      this.#refusedReported = this.#refused;
    }
  }

  /** Pauses when the sink asked for a wait. @returns whether it did. */
  #pauses(wait: number | undefined): boolean {
    if (wait === undefined || !(wait > 0) || this.#closing) return false;
    this.#pause(wait);
    return true;
  }

  /** Ends a pause. */
  #resume(timer: Timer): void {
    this.#gathers = false;
    this.#core.clock.clearTimeout(timer);
    this.#timer = null;
  }

  #pause(wait: number): void {
    const step = Math.min(wait, judgeEvery);
    this.#timer = this.#core.clock.setTimeout(() => {
      this.#timer = null;
      this.#gathers = false;
      if (wait > step) {
        this.#judgeLag();
        this.#pause(wait - step);
      } else this.wake();
    }, step);
    this.#timer.unref();
  }

  #hold(reason: string, wait: number, cause?: unknown): void {
    this.#errors++;
    const { clock, log } = this.#core;
    if (this.#state.kind !== 'held') {
      this.#state = { kind: 'held', reason, since: clock.monotonic() };
      log.warn({ sink: this.name, reason, ...(cause === undefined ? {} : { error: describe(cause) }) }, 'sink.held');
      this.#troubled = true;
    } else this.#state = { ...this.#state, reason };
    if (this.#closing) return;
    this.#pause(wait > 0 ? Math.max(wait, minWait) : this.#wait);
    if (!(wait > 0)) this.#wait = Math.min(maxWait, this.#wait * 2);
  }

  /** Ends the deliveries for good. Retention does not wait for this sink any more. */
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

  /** @param lastId last position before the read. Records up to it that were not found were removed by retention. */
  async #atTheEnd(lastId: number): Promise<void> {
    if (lastId > (this.#cursor as number)) this.#moveTo(lastId);
    if (this.#state.kind === 'held') this.#state = { kind: 'working' };
    this.#wait = firstWait;
    this.#judgeLag(true);
    await this.#teach();
    const checkpoint = this.#checkpoint;
    if (checkpoint === null || checkpoint.record > (this.#cursor as number)) return;
    this.#checkpoint = null;
    await this.#within(async (signal) => this.#sink.checkpoint?.(checkpoint, signal)).catch(() => {
      this.#errors++;
    });
  }

  /** Tells what was learnt about delivered records. Facts of a while ago are told again after a start: a sink changes nothing then. */
  async #teach(): Promise<void> {
    const { learn } = this.#sink;
    if (learn === undefined) return;
    try {
      this.#fact ??= Number((await this.#journal.query('SELECT max(coalesce(max(fact), 0) - ?, 0) AS fact FROM heimdall_learnt', [factsAgain]))[0]?.['fact'] ?? 0);
      for (let more = true; more && !this.#closing; ) {
        const rows = await this.#journal.query(newFacts, [this.#fact, factsAtOnce]);
        more = rows.length === factsAtOnce;
        if (rows.length === 0) return;
        await this.#within(async (signal) => learn.call(this.#sink, factsOf(rows), signal));
        this.#fact = Number(rows.at(-1)?.['fact']);
      }
    } catch (error) {
      this.#errors++;
      this.#core.log.debug({ sink: this.name, error: codeOf(error) }, 'sink.facts');
    }
  }

  #judgeLag(atTheEnd = false): void {
    const lag = atTheEnd ? 0 : this.view().lag;
    const late = this.#state.kind === 'held' && lag > 0 && this.#core.clock.monotonic() - this.#state.since >= maxHold;
    const lagging = late || lag > (this.#lagging ? maxLag / 2 : maxLag);
    if (lagging && !this.#lagging) this.#core.log.error({ sink: this.name, lag, state: this.#state.kind }, 'sink.lagging');
    const over = this.#lagging ? !lagging : lag === 0;
    this.#lagging = lagging;
    if (lagging) this.#troubled = true;
    if (!this.#troubled || !over || this.#state.kind !== 'working') return;
    this.#troubled = false;
    this.#core.log.info({ sink: this.name, lag }, 'sink.caught_up');
  }
}

const newFacts = `SELECT f.fact AS fact, f.name AS name, f.value AS value, l.request_id AS request_id, l.timestamp AS timestamp FROM heimdall_learnt AS f JOIN heimdall_logs AS l ON l.id = f.record
  WHERE f.fact > ? AND f.value IS NOT NULL AND f.name IN ('username', 'token_name', 'charged') ORDER BY f.fact LIMIT ?`;

/** Facts by record. */
function factsOf(rows: readonly SqlRow[]): readonly LearntOf[] {
  const found = new Map<string, { -readonly [N in keyof LearntOf]: LearntOf[N] }>();
  for (const { request_id: id, timestamp, name, value } of rows) {
    const fact = found.get(String(id)) ?? { request_id: String(id), timestamp: Number(timestamp) };
    found.set(fact.request_id, { ...fact, [String(name)]: JSON.parse(String(value)) as unknown });
  }
  return [...found.values()];
}

/** Waits for a promise for a bounded time, and ignores its result. */
async function briefly(work: Promise<unknown> | null | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, grace);
  await Promise.race([promise, Promise.resolve(work).catch(() => undefined)]);
  clearTimeout(timer);
}

const kinds: ReadonlySet<unknown> = new Set<Delivery['kind']>(['delivered', 'held', 'refused', 'off']);

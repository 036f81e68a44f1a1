/** Longest `Retry-After`, seconds. */
const horizon = 3600;
/** Seconds in the calendar: more than the horizon, so that no cell stands for two seconds at a time. */
const seconds = 4096;
/** A caller's first promise is of class 0, its second and third of 1, its next four of 2, and so on. */
const classes = 12;
/** Share of the expected free slots that is promised: some go to newcomers, and an upstream may slow down. */
const promised = 0.85;
/** Least number of requests admitted a second: a longer step would not fit into the calendar. */
const slowest = 0.01;
/** Requests of a step where fewer come free a second: enough that rounding costs little. */
const inStep = 4;
/** Share of the requests admitted at one moment that may be told to come at it. */
const together = 0.6;
/** How early a client that comes as told may be, and how late, milliseconds. */
const early = 250;
const late = 10_000;
/** Promises and callers remembered; beyond, a caller is still told when to come, but has no precedence then. */
const maxPromises = 50_000;
const maxCallers = 10_000;

/** How fast requests can be admitted. */
export interface Intake {
  /** Slots that come free a second. */
  readonly perSecond: number;
  /** Requests that can be admitted at one moment. */
  readonly atOnce: number;
}

/**
 * The times at which refused callers may come back: a calendar by the second that gives no second to more requests than slots
 * come free in it, so that a client that obeys `Retry-After` finds room. A caller's first promise ignores the second and
 * later promises of others: hundreds of refused requests delay their own caller only.
 */
export class RetrySchedule {
  /** Promises by second and class. */
  readonly #calendar = new Uint16Array(seconds * classes);
  /** By class, the first second that may have room; searched again every second. */
  readonly #from = new Float64Array(classes);
  /** Promises by caller, monotonic milliseconds, soonest first. */
  readonly #due = new Map<string, number[]>();
  #promises = 0;
  #today = 0;

  /**
   * @param now monotonic milliseconds.
   * @param earliest milliseconds from now before which there is certainly no room.
   * @returns seconds after which to come back, at least 1.
   */
  book(caller: string, now: number, earliest: number, { perSecond, atOnce }: Intake): number {
    this.#turnTo(now);
    const due = this.#dueOf(caller, now);
    const kind = Math.min(classes - 1, 31 - Math.clz32((due?.length ?? 0) + 1));
    const rate = Math.max(perSecond * promised, slowest);
    const step = Math.max(1, Math.ceil(inStep / rate));
    const room = Math.max(1, Math.floor(Math.min(rate, Math.max(1, Math.floor(atOnce * together))) * step));
    const first = this.#today + Math.max(1, Math.ceil(earliest / 1000));
    const second = Math.min(this.#today + horizon, this.#place(first, kind, step, room));
    const cell = (second % seconds) * classes + kind;
    this.#calendar[cell] = Math.min(65_535, (this.#calendar[cell] as number) + 1);
    if (due !== null) this.#remember(due, now + (second - this.#today) * 1000);
    return second - this.#today;
  }

  /** Whether a request of that caller was told to come about now; uses the promise up. */
  redeem(caller: string, now: number): boolean {
    const due = this.#due.get(caller);
    if (due === undefined) return false;
    this.#forget(due, now);
    const kept = due.length > 0 && (due[0] as number) <= now + early;
    if (kept) {
      due.shift();
      this.#promises--;
    }
    if (due.length === 0) this.#due.delete(caller);
    return kept;
  }

  #place(first: number, kind: number, step: number, room: number): number {
    const known = Math.max(this.#today + 1, this.#from[kind] as number);
    const from = Math.max(first, known);
    const last = this.#today + horizon;
    for (let at = Math.floor(from / step) * step; at <= last; at += step) {
      const begin = Math.max(at, first);
      const taken = Math.floor(((begin - at) * room) / step) + this.#between(begin, at + step, kind);
      if (taken >= room) continue;
      if (from === known) this.#from[kind] = at;
      return Math.max(begin, at + Math.ceil(((taken + 1) * step) / room) - 1);
    }
    if (from === known) this.#from[kind] = last;
    return last;
  }

  /** Promises from one second up to another, of a class and those before it. */
  #between(begin: number, end: number, kind: number): number {
    let count = 0;
    for (let second = begin; second < end; second++) {
      const base = (second % seconds) * classes;
      for (let each = 0; each <= kind; each++) count += this.#calendar[base + each] as number;
    }
    return count;
  }

  /** @returns null where no more callers are remembered. */
  #dueOf(caller: string, now: number): number[] | null {
    const known = this.#due.get(caller);
    if (known !== undefined) {
      this.#forget(known, now);
      return known;
    }
    if (this.#due.size >= maxCallers) return null;
    const due: number[] = [];
    this.#due.set(caller, due);
    return due;
  }

  #remember(due: number[], at: number): void {
    if (this.#promises >= maxPromises) return;
    this.#promises++;
    let place = due.length;
    while (place > 0 && (due[place - 1] as number) > at) place--;
    due.splice(place, 0, at);
  }

  /** Drops promises whose time is over. */
  #forget(due: number[], now: number): void {
    let gone = 0;
    while (gone < due.length && (due[gone] as number) < now - late) gone++;
    if (gone > 0) due.splice(0, gone);
    this.#promises -= gone;
  }

  #forgetAll(now: number): void {
    for (const [caller, due] of this.#due) {
      this.#forget(due, now);
      if (due.length === 0) this.#due.delete(caller);
    }
  }

  /** Clears the cells of past seconds before they are used again. */
  #turnTo(now: number): void {
    const today = Math.floor(now / 1000);
    if (today === this.#today) return;
    for (let second = Math.max(this.#today, today - seconds); second < today; second++) {
      const base = (second % seconds) * classes;
      this.#calendar.fill(0, base, base + classes);
    }
    this.#today = today;
    this.#from.fill(0);
    if (this.#promises >= maxPromises || this.#due.size >= maxCallers) this.#forgetAll(now);
  }
}

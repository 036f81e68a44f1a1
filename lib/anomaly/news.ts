import type { Signal } from '../../types/detector.d.ts';

/** Signals wait so long for those of other instances, milliseconds, so that both are judged in their order. */
export const holdFor = 2500;
/** A persona that was silent for so long is news again, milliseconds. */
const fresh = 3_600_000;
/** Signals about one caller, and about all, that are sent in a second. */
const perSecond = { caller: 50, all: 500 };
/** Callers whose personas are remembered, in each of two generations; personas of one caller. */
const most = { callers: 50_000, personas: 12 };

/** A signal that waits, and whether it is of this instance. */
export interface HeldSignal {
  readonly signal: Signal;
  readonly isOwn: boolean;
  /** Monotonic milliseconds of its arrival. */
  readonly at: number;
  sent: boolean;
}

/** When each persona of a caller was seen last, and how many signals were sent in a second. */
interface Known {
  readonly personas: Map<string, number>;
  second: number;
  sent: number;
}

/**
 * What instances tell each other of callers. A caller with one device, network and home is told of once in an hour; while it has
 * several, anywhere, all its requests are, within bounds: only their order shows whether two people share a key.
 */
export class News {
  readonly #send: (signals: readonly Signal[]) => void;
  #recent = new Map<string, Known>();
  #older = new Map<string, Known>();
  #held: HeldSignal[] = [];
  #outgoing: Signal[] = [];
  #second = 0;
  #sent = 0;

  constructor(send: (signals: readonly Signal[]) => void) {
    this.#send = send;
  }

  get waiting(): number {
    return this.#held.length;
  }

  /** Takes a signal of this instance. @param at monotonic milliseconds. */
  own(signal: Signal, at: number): void {
    const held: HeldSignal = { signal, isOwn: true, at, sent: false };
    this.#held.push(held);
    if (signal.caller === null) return;
    const known = this.#knownOf(signal);
    if (this.#note(known, signal) || this.#isShared(known, signal.time)) this.#publish(known, held);
  }

  /** Takes signals of other instances. @param at monotonic milliseconds. */
  foreign(signals: readonly Signal[], at: number): void {
    for (const signal of signals) {
      if (signal.caller === null) continue;
      this.#held.push({ signal, isOwn: false, at, sent: true });
      const known = this.#knownOf(signal);
      if (!this.#note(known, signal) || !this.#isShared(known, signal.time)) continue;
      const { id } = signal.caller;
      for (const held of this.#held) if (!held.sent && held.signal.caller?.id === id) this.#publish(known, held);
    }
  }

  /** Sends what is to be told. @returns the signals that have waited long enough, in the order of their arrival at the gates. */
  release(at: number): readonly HeldSignal[] {
    if (this.#outgoing.length > 0) this.#send(this.#outgoing);
    this.#outgoing = [];
    let until = Number.NEGATIVE_INFINITY;
    for (const held of this.#held) if (held.isOwn && at - held.at >= holdFor) until = Math.max(until, held.signal.time);
    // One of another instance is judged with those of this one that began when it did.
    const isDue = (held: HeldSignal): boolean => at - held.at >= holdFor || held.signal.time <= until;
    const due = this.#held.filter(isDue);
    if (due.length > 0) this.#held = this.#held.filter((held) => !isDue(held));
    return due.sort((one, other) => one.signal.time - other.signal.time);
  }

  /** Forgets everything. */
  clear(): void {
    this.#recent.clear();
    this.#older.clear();
    this.#held = [];
    this.#outgoing = [];
  }

  #knownOf({ caller }: Signal): Known {
    const name = `${caller?.kind} ${caller?.id}`;
    let known = this.#recent.get(name);
    if (known !== undefined) return known;
    known = this.#older.get(name) ?? { personas: new Map(), second: 0, sent: 0 };
    if (this.#recent.size >= most.callers) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(name, known);
    return known;
  }

  /** @returns whether the persona is news. */
  #note({ personas }: Known, signal: Signal): boolean {
    const persona = `${signal.device} ${signal.client} ${signal.platform} ${signal.home} ${signal.near}`;
    const before = personas.get(persona);
    personas.delete(persona);
    personas.set(persona, signal.time);
    if (personas.size > most.personas) personas.delete(personas.keys().next().value as string);
    return before === undefined || signal.time - before > fresh;
  }

  #isShared({ personas }: Known, now: number): boolean {
    let count = 0;
    for (const at of personas.values()) if (now - at <= fresh) count++;
    return count > 1;
  }

  #publish(known: Known, held: HeldSignal): void {
    const second = Math.floor(held.at / 1000);
    if (known.second !== second) Object.assign(known, { second, sent: 0 });
    if (this.#second !== second) [this.#second, this.#sent] = [second, 0];
    if (known.sent >= perSecond.caller || this.#sent >= perSecond.all) return;
    known.sent++;
    this.#sent++;
    held.sent = true;
    // What it used is counted where it was served.
    this.#outgoing.push({ ...held.signal, cost: 0, tokens: 0, content: null });
  }
}

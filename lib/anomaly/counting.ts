import { thresholds } from './thresholds.ts';

/** Times inside the watch are seconds since 2020, which V8 keeps as small integers. */
const epoch = 1_577_836_800;

/** Seconds since 2020 of Unix milliseconds. */
export const secondsOf = (time: number): number => Math.floor(time / 1000) - epoch;

/** Seconds. */
export const day = 86_400;

/** A short hash of a text: FNV-1a, 31 bits, never 0. Two texts of one caller collide once in a billion. */
export function shortHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash & 0x7fffffff) || 1;
}

/** What is left of a value after a time in which it fades by half again and again. @param since when it was the value. */
export function faded(value: number, since: number, now: number, halfLife: number): number {
  return value === 0 || now <= since ? value : value * 2 ** ((since - now) / halfLife);
}

/** A count that fades by half in a given time. */
export class Fading {
  value = 0;
  at = 0;

  add(now: number, amount: number, halfLife: number): void {
    this.value = this.read(now, halfLife) + amount;
    if (now > this.at) this.at = now;
  }

  read(now: number, halfLife: number): number {
    return faded(this.value, this.at, now, halfLife);
  }
}

/** Bits of one half of a window. */
const distinctBits = 256;
const distinctWords = distinctBits / 32;
/** Values up to which each has a number of its own. */
const mostSparse = distinctWords * 2 - 1;
/** Where bits are put together. */
const union = new Int32Array(distinctWords);

/**
 * Different values within a window, by linear counting in two halves (Whang et al., 1990). Most callers have one or two, and there are
 * several such counts for each, so it is a bare array: the number of the newer half, then a number for each bit that is set (the half's
 * parity, and the bit), or the words of both halves where many are. Null: nothing was counted.
 */
export type Distinct = readonly number[] | null;

/** @param window seconds. @returns the count with the value: another array where it grew. */
export function withValue(distinct: Distinct, now: number, value: number, window: number): Distinct {
  const bit = Math.imul(value, 0x9e3779b1) >>> (32 - 8);
  const half = Math.floor(now / (window / 2));
  const newer = distinct === null ? half : Math.max(half, distinct[0] as number);
  const code = ((newer & 1) << 8) | bit;
  if (distinct === null) return [newer, code];
  const turned = newer === distinct[0] ? distinct : turnedTo(newer, distinct);
  if (turned.length > mostSparse + 1) return withBit(turned, code);
  if (turned.includes(code, 1)) return turned;
  return turned.length <= mostSparse ? turned.concat(code) : withBit(dense(turned), code);
}

/** An estimate of the different values. @param window seconds. */
export function different(distinct: Distinct, now: number, window: number): number {
  if (distinct === null) return 0;
  const age = Math.floor(now / (window / 2)) - (distinct[0] as number);
  if (age > 1) return 0;
  // After a turn the older half is out of the window.
  const valid = age <= 0 ? null : (distinct[0] as number) & 1;
  union.fill(0);
  if (distinct.length > mostSparse + 1) {
    for (let at = 1; at < distinct.length; at++) if (valid === null || (at - 1) >>> 3 === valid) union[(at - 1) & 7] = (union[(at - 1) & 7] as number) | (distinct[at] as number);
  } else {
    for (let at = 1; at < distinct.length; at++) {
      const code = distinct[at] as number;
      if (valid === null || code >>> 8 === valid) union[(code & 255) >>> 5] = (union[(code & 255) >>> 5] as number) | (1 << (code & 31));
    }
  }
  let empty = 0;
  for (const word of union) empty += 32 - ones(word);
  return empty === 0 ? distinctBits * 6 : -distinctBits * Math.log(empty / distinctBits);
}

/** Without what is older than the half before. */
function turnedTo(newer: number, distinct: readonly number[]): readonly number[] {
  const keepsOlder = newer === (distinct[0] as number) + 1;
  if (distinct.length <= mostSparse + 1) return [newer, ...(keepsOlder ? distinct.filter((code, at) => at > 0 && code >>> 8 !== (newer & 1)) : [])];
  return distinct.map((word, at) => (at === 0 ? newer : keepsOlder && (at - 1) >>> 3 !== (newer & 1) ? word : 0));
}

function dense(sparse: readonly number[]): readonly number[] {
  let words: readonly number[] = [sparse[0] as number, ...new Array<number>(distinctWords * 2).fill(0)];
  for (let at = 1; at < sparse.length; at++) words = withBit(words, sparse[at] as number);
  return words;
}

function withBit(words: readonly number[], code: number): readonly number[] {
  const at = 1 + (code >>> 5);
  const word = (words[at] as number) | (1 << (code & 31));
  return word === words[at] ? words : words.with(at, word);
}

/** Bits that are set. */
export function ones(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Places in the numbers of a {@link Rate}: amounts, each with its time in the next place where it has one of its own. */
const places = { short: 0, long: 1, since: 2, shortPeak: 3, longPeak: 5, candidateShort: 7, candidateLong: 8, candidateSince: 9 } as const;
/** Numbers of a {@link Rate}. */
export const rateSize = 10;

/** Numbers that V8 keeps without a box for each. */
export const boxless = (count: number): number[] => new Array<number>(count).fill(0.5).fill(0);

/** An amount over a short and a long window, with the highest of each so far: a view of a part of an array, which several share. */
export class Rate {
  readonly #numbers: number[];
  readonly #from: number;

  constructor(numbers: number[], from: number) {
    this.#numbers = numbers;
    this.#from = from;
  }

  add(now: number, amount: number): void {
    this.#put(places.short, this.short(now) + amount);
    this.#put(places.long, this.long(now) + amount);
    if (now > this.#at(places.since)) this.#put(places.since, now);
    // The highest of the last hours does not justify itself: a peak becomes a baseline a day after it was reached.
    if (now - this.#at(places.candidateSince) >= day) {
      this.#raise(places.shortPeak, now, this.#at(places.candidateShort));
      this.#raise(places.longPeak, now, this.#at(places.candidateLong));
      this.#put(places.candidateShort, 0);
      this.#put(places.candidateLong, 0);
      this.#put(places.candidateSince, now);
    }
    this.#put(places.candidateShort, Math.max(this.#at(places.candidateShort), this.#at(places.short)));
    this.#put(places.candidateLong, Math.max(this.#at(places.candidateLong), this.#at(places.long)));
  }

  short(now: number): number {
    return faded(this.#at(places.short), this.#at(places.since), now, thresholds.shortWindow);
  }

  long(now: number): number {
    return faded(this.#at(places.long), this.#at(places.since), now, thresholds.longWindow);
  }

  shortPeak(now: number): number {
    return this.#peak(places.shortPeak, now);
  }

  longPeak(now: number): number {
    return this.#peak(places.longPeak, now);
  }

  #at(place: number): number {
    return this.#numbers[this.#from + place] as number;
  }

  #put(place: number, value: number): void {
    this.#numbers[this.#from + place] = value;
  }

  #peak(place: number, now: number): number {
    return faded(this.#at(place), this.#at(place + 1), now, thresholds.peakHalfLife);
  }

  #raise(place: number, now: number, value: number): void {
    if (value <= this.#peak(place, now)) return;
    this.#put(place, value);
    this.#put(place + 1, now);
  }
}

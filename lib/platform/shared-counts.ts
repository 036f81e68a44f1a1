import { createHash, randomFillSync } from 'node:crypto';

/** Names that are counted at a time, at most; further ones are counted by each thread alone. */
const places = 65_536;
/** Places that are looked at for one name. */
const mostLooks = 64;
/** Numbers before the first place: what the hash of names is keyed with. */
const seed = 4;

/** The memory of counts that the workers of a gate share: 4 bytes for each place and each worker, about 800 KB with two. */
export function sharedCountsMemory(workers: number): Int32Array {
  const memory = new Int32Array(new SharedArrayBuffer(4 * (seed + places * (1 + workers))));
  // SECURITY: without the key a stranger could choose names that share a place.
  memory.set(randomFillSync(new Int32Array(seed)));
  return memory;
}

/** Where a name is counted, in {@link SharedCounts}; -1 where there was no place for it. */
export type CountPlace = number;

/**
 * Counts by name that all workers hold together, without a lock and without a message. Each name has a place, marked with a part of
 * its hash, and there a number for each worker. A place whose numbers are all 0 goes to another name when there is no new one left.
 */
export class SharedCounts {
  readonly #memory: Int32Array;
  readonly #workers: number;
  readonly #worker: number;
  readonly #key: Uint8Array;

  /** @param memory from {@link sharedCountsMemory}. @param worker the place of this one among them. */
  constructor(memory: Int32Array, workers: number, worker: number) {
    this.#memory = memory;
    this.#workers = workers;
    this.#worker = worker;
    this.#key = Buffer.from(Int32Array.from(memory.subarray(0, seed)).buffer);
  }

  /** Counts one more of a name. */
  add(name: string): CountPlace {
    for (let tries = 0; tries < mostLooks; tries++) {
      const { at, mark } = this.#find(name, true);
      if (at === -1) return -1;
      Atomics.add(this.#memory, at + 1 + this.#worker, 1);
      if (Atomics.load(this.#memory, at) === mark) return at;
      // Another name has taken the place in this moment.
      this.remove(at);
    }
    return -1;
  }

  /** Counts one less. */
  remove(at: CountPlace): void {
    if (at !== -1) Atomics.sub(this.#memory, at + 1 + this.#worker, 1);
  }

  /** How many there are of a name in all workers. */
  of(name: string): number {
    const { at } = this.#find(name, false);
    return at === -1 ? 0 : this.sum(at);
  }

  /** How many there are at a place, in all workers. */
  sum(at: CountPlace): number {
    let sum = 0;
    for (let worker = 1; worker <= this.#workers; worker++) sum += Atomics.load(this.#memory, at + worker);
    return sum;
  }

  /** A worker has ended: what it has counted is no more. */
  static clear(memory: Int32Array, workers: number, worker: number): void {
    for (let at = seed + 1 + worker; at < memory.length; at += 1 + workers) Atomics.store(memory, at, 0);
  }

  #find(name: string, isNew: boolean): { readonly at: CountPlace; readonly mark: number } {
    const hash = createHash('sha1').update(this.#key).update(name).digest();
    // 0 marks a place that was never taken.
    const mark = hash.readInt32LE(4) || 1;
    let free = -1;
    for (let look = 0; look < mostLooks; look++) {
      const at = seed + ((hash.readUInt32LE(0) + look) % places) * (1 + this.#workers);
      const found = Atomics.load(this.#memory, at);
      if (found === mark) return { at, mark };
      if (found === 0) {
        if (!isNew) return { at: -1, mark };
        const before = Atomics.compareExchange(this.#memory, at, 0, mark);
        if (before === 0 || before === mark) return { at, mark };
      } else if (free === -1 && this.sum(at) === 0) free = at;
    }
    if (free === -1 || !isNew) return { at: -1, mark };
    Atomics.store(this.#memory, free, mark);
    return { at: free, mark };
  }
}

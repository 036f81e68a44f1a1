import type { Core } from '../request/request.ts';
import { type Crew, describe, Repeated } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { changeBetween, changedContents, emptyContents, type Change, type Contents, type Store } from './contents.ts';

/** Interval between two readings of the store, milliseconds: changes take effect on every instance within two seconds. */
const readEvery = 1000;
/** How long, and how often, the first reading is repeated while the connection is being established, milliseconds. */
const firstTimeout = 1000;
const firstReadEvery = 50;

/** Receives the results of readings. */
export interface Follower {
  /** The contents have changed. @param first whether this is the first successful reading. */
  changed(before: Contents, after: Contents, first: boolean): void;
  /** A reading is done, successful or not. */
  readDone(): void;
}

/** What a replica needs of the gate. @see Core */
export type ReplicaCore = Pick<Core, 'clock' | 'log'> & { readonly crew?: Crew | null };

/**
 * This instance's copy of the store: read every second, kept while the store cannot be read. In a gate with several threads the main
 * thread reads it, and tells the workers what has changed.
 */
export class Replica {
  contents: Contents = emptyContents;
  /** The first reading is done, successful or not. */
  settled = false;
  /** Why the last reading failed; null when it succeeded. */
  problem: string | null = null;
  readonly #core: ReplicaCore;
  readonly #store: Store;
  readonly #follower: Follower;
  #read = false;
  #first: Promise<void> | null = null;
  /** Readings and changes run one after another; otherwise an older reading could replace a newer change. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #readings: Repeated;
  #closed = false;

  constructor(core: ReplicaCore, store: Store, follower: Follower) {
    this.#core = core;
    this.#store = store;
    this.#follower = follower;
    const isTold = (): boolean => this.#read && core.crew?.isWorker === true;
    this.#readings = new Repeated(core, 'registry', readEvery, () => (isTold() ? follower.readDone() : this.#readOnce(true)));
    // A worker that begins reads the store itself.
    core.crew?.subscribe('registry', { hear: (change) => this.#hear(change as Change), known: () => [] });
  }

  /** Starts reading, and resolves when the first reading is done. */
  ready(): Promise<void> {
    return (this.#first ??= this.#start());
  }

  /** Changes the store. @param isDurable false for a change that may be lost with the power. @throws HeimdallError what `edit` throws, or `registry_unavailable`. */
  async change(edit: (contents: Contents) => Change, isDurable = true): Promise<Contents> {
    const contents = await this.#inTurn(() => this.#store.change(edit, isDurable)).catch((error: unknown) => {
      if (error instanceof HeimdallError) throw error;
      throw new HeimdallError('registry_unavailable', { cause: error });
    });
    this.#take(contents);
    this.#follower.readDone();
    return contents;
  }

  /** Uses what the store keeps beside the contents. @throws HeimdallError `registry_unavailable`. */
  async use<T>(run: (store: Store) => Promise<T>): Promise<T> {
    return this.#inTurn(() => run(this.#store)).catch((error: unknown) => {
      throw new HeimdallError('registry_unavailable', { cause: error });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#readings.stop();
    await this.#first;
    await this.#turn;
    await this.#store.close();
  }

  async #start(): Promise<void> {
    const { clock } = this.#core;
    const until = clock.monotonic() + (this.#store.connects ? firstTimeout : 0);
    while (!(await this.#readOnce(clock.monotonic() >= until)) && clock.monotonic() < until && !this.#closed) {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, firstReadEvery));
    }
    this.settled = true;
    this.#readings.start();
  }

  /** @param last whether a failure is reported. */
  async #readOnce(last: boolean): Promise<boolean> {
    try {
      const contents = await this.#inTurn(() => this.#store.read());
      if (this.problem !== null) this.#core.log.info({}, 'registry.back');
      this.problem = null;
      if (!this.#read || (contents !== null && contents !== this.contents)) this.#take(contents ?? emptyContents);
    } catch (error) {
      if (last) this.#lost(error);
    }
    this.#follower.readDone();
    return this.#read;
  }

  #lost(error: unknown): void {
    if (this.#closed) return;
    const effect = this.#read ? 'the keys and bans known stay in force, changes do not arrive' : 'keys made by `heimdall keys` are refused, bans are unknown';
    if (this.problem === null) this.#core.log.error({ error: describe(error), effect }, 'registry.unreadable');
    this.problem = error instanceof Error ? error.message : String(error);
  }

  #take(contents: Contents): void {
    const before = this.contents;
    const first = !this.#read;
    this.contents = contents;
    this.#read = true;
    if (contents.damaged > 0 && contents.damaged !== before.damaged) this.#core.log.error({ entries: contents.damaged }, 'registry.damaged');
    if (!first && this.#core.crew?.isWorker === false) this.#core.crew.publish('registry', changeBetween(before, contents));
    this.#follower.changed(before, contents, first);
  }

  /** In its turn: a reading that is under way may be older than the change. Without a reading, the next one has it. */
  #hear(change: Change): void {
    this.#inTurn(async () => {
      if (!this.#read) return;
      this.#take(changedContents(this.contents, change));
      this.#follower.readDone();
    }).catch((error: unknown) => this.#lost(error));
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

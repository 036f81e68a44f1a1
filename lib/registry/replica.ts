import type { Timer } from '../../types/clock.d.ts';
import type { Core } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { emptyContents, type Change, type Contents, type Store } from './contents.ts';

/** Time between two looks at the store, milliseconds: changes are in force on every instance within two seconds. */
const lookEvery = 1000;
/** How long the very first look is repeated where a connection takes a moment to be made, and how often, milliseconds. */
const firstPatience = 1000;
const firstLookEvery = 50;

/** Who is told what the looks bring. */
export interface Follower {
  /** The contents is another one. @param first it is the first that could be read. */
  changed(before: Contents, after: Contents, first: boolean): void;
  /** A look is over, whatever it found. */
  looked(): void;
}

/** What this instance knows of the store: read again every second, kept while the store cannot be read. */
export class Replica {
  contents: Contents = emptyContents;
  /** The first look is over, whatever it found. */
  settled = false;
  /** Why the store could not be read at the last look. */
  problem: string | null = null;
  readonly #core: Pick<Core, 'clock' | 'log'>;
  readonly #store: Store;
  readonly #follower: Follower;
  #read = false;
  #first: Promise<void> | null = null;
  /** Looks and changes follow each other, or an older look could come after a newer change. */
  #turn: Promise<unknown> = Promise.resolve();
  #timer: Timer | null = null;
  #closed = false;

  constructor(core: Pick<Core, 'clock' | 'log'>, store: Store, follower: Follower) {
    this.#core = core;
    this.#store = store;
    this.#follower = follower;
  }

  /** Starts looking, and resolves when the first look is over. */
  ready(): Promise<void> {
    return (this.#first ??= this.#start());
  }

  /** @throws HeimdallError what `edit` throws, or `registry_unavailable`. */
  async change(edit: (contents: Contents) => Change): Promise<Contents> {
    const contents = await this.#inTurn(() => this.#store.change(edit)).catch((error: unknown) => {
      if (error instanceof HeimdallError) throw error;
      throw new HeimdallError('registry_unavailable', { cause: error });
    });
    this.#take(contents);
    this.#follower.looked();
    return contents;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    await this.#first;
    await this.#turn;
    await this.#store.close();
  }

  async #start(): Promise<void> {
    const { clock } = this.#core;
    const until = clock.now() + (this.#store.connects ? firstPatience : 0);
    while (!(await this.#look(clock.now() >= until)) && clock.now() < until && !this.#closed) {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, firstLookEvery));
    }
    this.settled = true;
    this.#arm();
  }

  #arm(): void {
    if (this.#closed) return;
    this.#timer = this.#core.clock.setTimeout(() => void this.#look(true).then(() => this.#arm()), lookEvery);
    this.#timer.unref();
  }

  /** @param last whether a failure is to be told. */
  async #look(last: boolean): Promise<boolean> {
    try {
      const contents = await this.#inTurn(() => this.#store.read());
      if (this.problem !== null) this.#core.log.info({}, 'registry.back');
      this.problem = null;
      if (contents !== null || !this.#read) this.#take(contents ?? emptyContents);
    } catch (error) {
      if (last) this.#lost(error);
    }
    this.#follower.looked();
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
    this.#follower.changed(before, contents, first);
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { InterruptedRequest } from '../../types/queue.d.ts';
import { describe, makeDirectory, inBackground, Repeated } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import type { Counters } from './queue-stats.ts';

/** The state of a queue that is saved. */
export interface Snapshot {
  readonly concurrency: number;
  /** Milliseconds, or null before the first measurement. */
  readonly serviceTime: number | null;
  readonly samples: number;
  readonly counters: Counters;
  readonly inHand: readonly InterruptedRequest[];
}

/** The state that an earlier process saved. */
export type Saved = Omit<Snapshot, 'inHand' | 'counters'> & { readonly counters: Partial<Counters> };

const count = z.int().min(0);
const stored = z.object({
  version: z.literal(1),
  instance: z.string(),
  host: z.string(),
  pid: z.int().min(1),
  saved: z.number(),
  interval: z.number().min(0),
  closed: z.boolean(),
  configured: z.int().min(1),
  concurrency: z.int().min(1),
  service_time: z.number().min(0).nullable(),
  samples: count,
  counters: z.record(z.string(), count),
  in_hand: z.array(z.object({ id: z.string().max(64), time: z.number(), lane: z.string().max(512) })),
});
type Stored = z.output<typeof stored>;
const owned = stored.pick({ instance: true, host: true, pid: true, saved: true, interval: true, closed: true });
type Owned = z.output<typeof owned>;

/** A larger file is no state of a queue. */
const maxBytes = 67_108_864;
const nameInDirectory = 'queue.json';

/** The queues of this process that save. */
const here = new Set<string>();

/**
 * The state that outlives the process: the capacity set at run time, counters, the measured service time, and the requests in
 * hand, so that the next process knows which ones were lost. Written to a new file that replaces the old one. The state of
 * another process is not overwritten while that process lives. A failure is logged once and stops nothing.
 */
export class StateFile {
  /** Requests that were in hand when the process before this one ended without closing. */
  interrupted: readonly InterruptedRequest[] = [];
  readonly #core: Core;
  readonly #path: string;
  readonly #snapshot: () => Snapshot;
  readonly #instance = randomUUID();
  readonly #saves: Repeated;
  #saving: Promise<void> | null = null;
  #again = false;
  #opened = false;
  #closed = false;
  #reported = new Set<string>();

  /** @param path of a file, or of a directory to put one into. */
  constructor(core: Core, path: string, snapshot: () => Snapshot) {
    this.#core = core;
    this.#path = path;
    this.#snapshot = snapshot;
    this.#saves = new Repeated(core, 'queue.save', core.config.queue.saveInterval, () => this.save());
  }

  /** @returns the saved state, or null where there is none or it cannot be read. */
  open(): Saved | null {
    this.#opened = true;
    here.add(this.#instance);
    const state = this.#load();
    this.#saves.start();
    inBackground(this.#core.log, 'queue.save', this.save());
    return state === null ? null : this.#resume(state);
  }

  /** Saves now, or once more after the save that is under way. */
  save(): Promise<void> {
    if (this.#saving !== null) this.#again = true;
    return (this.#saving ??= this.#write().finally(() => {
      this.#saving = null;
      if (this.#again && !this.#closed) inBackground(this.#core.log, 'queue.save', this.save());
      this.#again = false;
    }));
  }

  async close(): Promise<void> {
    this.#saves.stop();
    this.#closed = true;
    await this.#saving?.catch(() => undefined);
    if (this.#opened) await this.#write();
    here.delete(this.#instance);
  }

  #resume(state: Stored): Saved {
    const { log, config } = this.#core;
    const { concurrency: configured } = config.queue;
    const edited = state.configured !== configured;
    if (edited) log.info({ configured, before: state.configured, saved: state.concurrency }, 'queue.config_wins');
    if (!state.closed && !this.#isOthers(state)) this.interrupted = state.in_hand.map(({ id, time, lane }) => ({ id, time, fairnessKey: lane }));
    if (this.interrupted.length > 0) log.warn({ requests: this.interrupted.length }, 'queue.interrupted');
    return { concurrency: edited ? configured : state.concurrency, serviceTime: state.service_time, samples: state.samples, counters: state.counters };
  }

  #load(): Stored | null {
    try {
      const file = this.#file();
      if (statSync(file).size > maxBytes) throw new Error('larger than any state of a queue');
      return stored.parse(JSON.parse(readFileSync(file, 'utf8')));
    } catch (error) {
      const effect = 'the queue begins as configured';
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.#core.log.info({ path: this.#path, effect }, 'queue.state_absent');
      else this.#report('queue.state_unusable', error, effect);
      return null;
    }
  }

  async #write(): Promise<void> {
    try {
      const file = this.#file();
      makeDirectory(dirname(file));
      const owner = await ownerOf(file);
      if (owner !== null && this.#isOthers(owner)) return this.#report('queue.state_shared', null, 'another process keeps its state there; this one saves none');
      await replace(file, `${file}.${this.#instance.slice(0, 8)}.tmp`, this.#text());
    } catch (error) {
      this.#report('queue.state_unwritable', error, 'a restart begins as configured');
    }
  }

  #text(): string {
    const { clock, config } = this.#core;
    const { concurrency, serviceTime, samples, counters, inHand } = this.#snapshot();
    const state: Stored = {
      version: 1, instance: this.#instance, host: hostname(), pid: process.pid, saved: clock.now(), interval: config.queue.saveInterval, closed: this.#closed,
      configured: config.queue.concurrency, concurrency, service_time: serviceTime, samples, counters, in_hand: inHand.map(({ id, time, fairnessKey }) => ({ id, time, lane: fairnessKey })),
    };
    return `${JSON.stringify(state)}\n`;
  }

  /** In a directory, or a path that ends like one, a file with a name of the gate's. */
  #file(): string {
    const isDirectory = /[/\\]$/.test(this.#path) || (statSync(this.#path, { throwIfNoEntry: false })?.isDirectory() ?? false);
    return isDirectory ? join(this.#path, nameInDirectory) : this.#path;
  }

  /** Whether another process that still lives keeps its state in the file. For one on another host the time of the last save decides. */
  #isOthers({ instance, host, pid, saved, interval, closed }: Owned): boolean {
    if (closed || instance === this.#instance) return false;
    if (here.has(instance)) return true;
    const isFresh = this.#core.clock.now() - saved < interval * 2.5 + 5000;
    if (host !== hostname()) return isFresh;
    return isFresh && pid !== process.pid && isRunning(pid);
  }

  #report(event: string, error: unknown, effect: string): void {
    if (this.#reported.has(event)) return;
    this.#reported.add(event);
    this.#core.log.warn({ path: this.#path, effect, ...(error === null ? {} : { error: describe(error) }) }, event);
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The process whose state the file holds; null where it holds none. */
async function ownerOf(file: string): Promise<Owned | null> {
  try {
    return owned.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

/** A reader of the file finds the old text or the new one, whatever happens in between. */
async function replace(file: string, beside: string, text: string): Promise<void> {
  try {
    const handle = await open(beside, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

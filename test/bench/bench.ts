import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CONTESTANTS, type Contestant, type Name, type Setting } from './contestants.ts';
import type { Job, Load, ProbeResult, RoundResult } from './load/jobs.ts';
import { chooseCores, isPinned, usageOf, type Cores } from './machine.ts';
import { launch, type Child } from './processes.ts';

/** What the command line asks for. */
export interface Options {
  readonly rounds: number;
  readonly only: readonly Name[] | undefined;
  readonly quick: boolean;
  /** Another checkout, measured beside this one as `before`. */
  readonly before: string | undefined;
  /** What the closed loop sends. */
  readonly load: Load;
  readonly progress: (text: string) => void;
}

/** A number of DESIGN's table, measured. */
export interface Verdict {
  readonly bar: string;
  readonly measured: string;
  /** Undefined when it could not be measured. */
  readonly reached: boolean | undefined;
  /** Decides the exit code. */
  readonly binding?: boolean;
}

/** What a suite brings back: text for people, verdicts, and its raw numbers. */
export interface SuiteResult {
  readonly name: string;
  readonly text: string;
  readonly verdicts: readonly Verdict[];
  readonly data: unknown;
}

/** How many times fewer requests of a kind of body settle the optimising compiler, or make a round. */
export const weights = { small: 1, agent: 2, conversation: 30, picture: 200 } as const;

/** Connections of the closed loop: large bodies would fill the sockets' buffers of more. */
export const connectionsFor = ({ body }: Load): number => ({ small: 32, agent: 32, conversation: 16, picture: 4 })[body];

/** A run: the stand-in API, the load process, and whoever was started to be measured. */
export class Bench {
  readonly options: Options;
  readonly cores: Cores = chooseCores();
  readonly dir: string = mkdtempSync(join(os.tmpdir(), 'heimdall-bench-'));
  /** Contestants that could not start or answered wrongly, with the reason. */
  readonly left = new Map<string, string>();
  #upstream: Child | undefined;
  #load: Child | undefined;
  #pinned = true;

  constructor(options: Options) {
    this.options = options;
  }

  /** Starts the API and the load process on the second core. */
  async open(): Promise<void> {
    this.#upstream = await this.helper('upstream', './upstream.ts', ['plain']);
    this.#load = await this.helper('load', './load/load.ts', []);
  }

  /** A further process on the load's core; the caller stops it. */
  async helper(name: string, file: string, args: readonly string[]): Promise<Child> {
    const entry = fileURLToPath(new URL(file, import.meta.url));
    const core = this.cores.load;
    const child = await launch({ name, command: process.execPath, args: [entry, ...args], dir: this.dir, core });
    this.#pinned &&= isPinned(child.pid, core);
    return child;
  }

  /** Starts one contestant and sees that it answers; undefined, with the reason kept, when it does not. */
  async start(name: Name, changes: Partial<Setting> = {}): Promise<Contestant | undefined> {
    const { only, before } = this.options;
    if ((only !== undefined && !only.includes(name)) || (name === 'before' && before === undefined)) return undefined;
    let started: Contestant | undefined;
    try {
      const upstream = this.#upstream?.port ?? 0;
      started = await CONTESTANTS[name]({ upstream, dir: this.dir, core: this.cores.gate, before, ...changes });
      if (started.child !== undefined) this.#pinned &&= isPinned(started.child.pid, this.cores.gate);
      if (changes.refused !== undefined) return started;
      if (started.child !== undefined) await usageOf(started.child);
      const { bytes } = await this.run<ProbeResult>({ kind: 'probe', to: started.to, load: this.options.load }, 30_000);
      // A streamed answer's length is known from its pace.
      return this.options.load.pace === undefined ? { ...started, to: { ...started.to, bytes } } : started;
    } catch (error) {
      await started?.child?.stop();
      this.left.set(name, `skipped: cannot start: ${(error as Error).message.replaceAll(process.cwd(), '.')}`);
      return undefined;
    }
  }

  /** Starts several, in order, without those that cannot. */
  async startAll(names: readonly Name[]): Promise<Contestant[]> {
    const started: Contestant[] = [];
    for (const name of names) {
      const contestant = await this.start(name);
      if (contestant !== undefined) started.push(contestant);
    }
    return started;
  }

  /** Gives the load process a job. */
  run<T>(job: Job, limit = 90_000): Promise<T> {
    if (this.#load === undefined) throw new Error('open() comes first');
    return this.#load.ask<T>('run', job, limit);
  }

  /** Lets the optimising compiler settle before latencies are read: a gate in service is not a cold one. */
  async warm(contestants: readonly Contestant[]): Promise<void> {
    const { load, quick } = this.options;
    const requests = Math.ceil((quick ? 5000 : 15_000) / weights[load.body]);
    for (const { to, name } of contestants) {
      this.options.progress(`warm-up ${name}`);
      const result = await this.run<RoundResult>({ kind: 'closed', to, connections: connectionsFor(load), requests, limit: 60_000, load });
      if (result.errors > 0) this.left.set(name, `invalid: ${result.errors} wrong answers, first: ${result.firstError}`);
    }
  }

  /** One line that says whether the cores were really apart. */
  describePinning(): string {
    const { gate, load } = this.cores;
    if (gate === undefined) return 'Not pinned (no taskset, or one core): read ratios only.';
    if (!this.#pinned) return 'PINNING FAILED for at least one process: do not trust these numbers.';
    return `Pinned: all threads of a contestant on core ${gate}, load and upstream on core ${load}.`;
  }

  /** Ends what `open` started and removes the run's directory. */
  async close(): Promise<void> {
    await Promise.all([this.#load?.stop(), this.#upstream?.stop()]);
    this.remove();
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The contestants in another order each round, so that nobody always runs after the same neighbour. */
export function rotated<T>(list: readonly T[], round: number): T[] {
  const at = list.length === 0 ? 0 : round % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

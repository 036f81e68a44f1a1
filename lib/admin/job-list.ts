import { randomUUID } from 'node:crypto';
import type { Forgetting } from '../../types/journal.d.ts';
import { HeimdallError } from '../errors.ts';
import type { JobWork, RunningJob } from '../journal/journal.ts';
import { describe, inBackground } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { ExportFile } from './export-file.ts';
import { iso } from './fields.ts';

/** Jobs that are kept, and those that run at a time. */
const mostJobs = 20;
const mostRunning = 2;

/** What jobs do with the journal. */
export interface JobJournal {
  work(work: JobWork, told: (done: number, total: number | null) => void): Promise<RunningJob>;
  forget(what: Forgetting): Promise<number>;
}

/** A job: what it does, how far it is, and what came of it. */
export interface Job {
  readonly id: string;
  readonly kind: 'verify' | 'export' | 'forget';
  state: 'running' | 'done' | 'failed' | 'cancelled';
  done: number;
  total: number | null;
  readonly started: number;
  ended: number | null;
  result: object | null;
  error: string | null;
  /** The file of an export. */
  readonly file: ExportFile | null;
  /** The last erasure of the journal when it began, for an export. */
  readonly erasure: number;
  cancel: (() => void) | null;
}

/** A job as JSON. */
export const jobJson = ({ id, kind, state, done, total, started, ended, result, error }: Job): object => ({ id, kind, state, done, total, started: iso(started), ended: iso(ended), result, error });

/** The jobs of one gate, the oldest first. They end with it. */
export class Jobs {
  readonly #all = new Map<string, Job>();

  list(): readonly Job[] {
    return [...this.#all.values()].reverse();
  }

  /** @throws HeimdallError where there is none of that id. */
  find(id: string): Job {
    const job = this.#all.get(id);
    if (job === undefined) throw new HeimdallError('not_found', { message: 'There is no job of that id.' });
    return job;
  }

  /** Begins a job. @param run gives its result. @param file the ending of the file that it writes, and the last erasure before it; null for none. */
  begin(kind: Job['kind'], { clock, log }: Pick<Core, 'clock' | 'log'>, file: { readonly ending: string; readonly erasure: number } | null, run: (job: Job) => Promise<object>): Job {
    if ([...this.#all.values()].filter(({ state }) => state === 'running').length >= mostRunning) throw new HeimdallError('conflict', { message: `Expected fewer than ${mostRunning} jobs at a time; wait for one, or cancel it.` });
    for (const [id, { state }] of this.#all) if (this.#all.size >= mostJobs && state !== 'running') this.remove(id);
    const id = randomUUID();
    const job: Job = { id, kind, state: 'running', done: 0, total: null, started: clock.now(), ended: null, result: null, error: null, file: file === null ? null : new ExportFile(id, file.ending), erasure: file?.erasure ?? 0, cancel: null };
    this.#all.set(id, job);
    const ended = (state: Job['state'], result: object | null, error: string | null): void => {
      if (job.state === 'running') Object.assign(job, { state, result, error, ended: clock.now() });
    };
    const over = run(job).then((result) => ended('done', result, null), (error: unknown) => {
      if (job.state === 'running') log.warn({ job: kind, error: describe(error) }, 'job.failed');
      ended('failed', null, error instanceof Error ? error.message : String(error));
    });
    inBackground(log, 'job', over.then(() => (job.state === 'done' ? undefined : job.file?.remove())));
    return job;
  }

  /** Whether there are exports that an erasure must reach. */
  get hasExports(): boolean {
    return [...this.#all.values()].some(({ kind }) => kind === 'export');
  }

  /** Removes exports that were begun before an erasure: they may hold what it has erased. */
  removeExports(erasure: number): void {
    for (const [id, job] of this.#all) if (job.kind === 'export' && job.erasure < erasure) this.remove(id);
  }

  /** Cancels a job that runs; removes one that is over, with its file. */
  remove(id: string): void {
    const job = this.find(id);
    job.cancel?.();
    if (job.state === 'running') job.state = 'cancelled';
    job.file?.remove();
    this.#all.delete(id);
  }

  close(): void {
    for (const id of this.#all.keys()) this.remove(id);
  }
}

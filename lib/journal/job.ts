import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Logger } from '../../types/logger.d.ts';
import { guard } from '../platform/platform.ts';
import type { Exporting } from './export.ts';

/** What a job does with the journal: it only reads it. */
export type JobWork = { readonly kind: 'verify' } | (Exporting & { readonly kind: 'export'; /** Where to: a file that is there. Its name is removed. */ readonly file: string });

/** The options of a job's thread. */
export interface JobOptions {
  readonly path: string;
  /** The install secret, then previous ones. */
  readonly secrets: readonly string[];
  readonly work: JobWork;
}

/** What the thread of a job says. */
export type JobMessage = { readonly kind: 'progress'; readonly done: number; readonly total: number | null } | { readonly kind: 'result'; readonly value: object };

/** A job that runs. */
export interface RunningJob {
  /** Its result. Rejects when it fails or is cancelled. */
  readonly result: Promise<object>;
  cancel(): void;
}

/** Sources run as `.ts`, the package as `.js`. */
const file = new URL(`./job-worker${extname(import.meta.url)}`, import.meta.url);

/** Runs a job in a thread of its own. @param told is called with its progress, a few times a second. */
export function runJob(log: Logger, options: JobOptions, told: (done: number, total: number | null) => void): RunningJob {
  const worker = new Worker(file, { workerData: options, name: `heimdall-job-${options.work.kind}`, execArgv: [], stdout: false });
  const { promise, resolve, reject } = Promise.withResolvers<object>();
  worker.on('message', guard(log, 'job', (message: JobMessage) => (message.kind === 'progress' ? told(message.done, message.total) : resolve(message.value))));
  worker.once('error', guard(log, 'job', (error: unknown) => reject(error instanceof Error ? error : new Error(String(error)))));
  worker.once('exit', guard(log, 'job', () => reject(new Error('cancelled'))));
  // A gate that ends does not wait for it.
  worker.unref();
  return { result: promise, cancel: () => void worker.terminate().catch(() => undefined) };
}

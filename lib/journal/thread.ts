import { extname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import { secretsOf } from '../config/config.ts';
import type { Core } from '../request/request.ts';
import type { AccessLog } from '../access-log/access-log.ts';
import type { CallName, Calls, FromWorker, LineOptions, ToWorker, WorkerOptions } from '../record/record.ts';

/** Sources run as `.ts`, the package as `.js`. */
const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
/** Of a worker, megabytes: the page cache of the database is not counted. */
const heap = { maxOldGenerationSizeMb: 512 };

/** What the journal needs of the gate. */
export interface JournalDeps {
  /** The install secret; asked for when the worker starts. */
  readonly secret: () => string;
  readonly routeOf: (method: string, path: string) => Route;
  /** Names of the sinks retention waits for; without it all that have a cursor. */
  readonly sinks?: readonly string[];
  readonly accessLog: AccessLog;
}

/** What a worker of this gate is told at its start. */
export function workerOptions({ config, clock }: Core, { secret, sinks, accessLog }: JournalDeps, role: WorkerOptions['role'], session: string): WorkerOptions {
  const { path, retention, maxSize, capture, durability, onFull } = config.audit;
  const durable = durability === 'strict';
  return {
    role,
    path: resolve(path),
    session,
    secret: secret(),
    previousSecrets: config.previousSecrets,
    hidden: secretsOf(config),
    durable,
    required: durable || onFull === 'refuse',
    maxSize,
    sinks: sinks ?? null,
    keepRecords: retention.records,
    keepBodies: retention.bodies,
    capture,
    queryAllow: config.logging.queryAllow,
    lines: accessLog.isRead ? lineOptions(config.logging, accessLog.isShown) : null,
    now: clock.now(),
  };
}

function lineOptions({ format, file, maxSize, maxFiles }: LoggingConfig, isShown: boolean): LineOptions {
  return { format, file: file === false ? false : resolve(file), maxSize, maxFiles, isShown };
}

interface Asked {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** What a worker says by itself. */
export type Told = Exclude<FromWorker, { kind: 'answer' | 'refused' }>;

/** What a thread tells its owner. */
export interface ThreadOwner {
  heard(message: Told): void;
  /** It ended by itself. @param error why, where it said so. */
  gone(error: Error | null): void;
}

/** A worker of the journal. It keeps the process alive only while somebody waits for it. */
export class Thread {
  readonly #worker: Worker;
  readonly #asked = new Map<number, Asked>();
  readonly #owner: ThreadOwner;
  #calls = 0;
  #holders = 0;
  #ended = false;

  constructor(options: WorkerOptions, owner: ThreadOwner) {
    this.#owner = owner;
    // What the process was started with (a test runner, a loader) is not for this thread.
    this.#worker = new Worker(file, { workerData: options, name: `heimdall-journal-${options.role}`, resourceLimits: heap, execArgv: [], stdout: false });
    this.#worker.unref();
    let failed: Error | null = null;
    this.#worker.on('message', (message: FromWorker) => this.#heard(message));
    this.#worker.on('error', (error: unknown) => {
      failed = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.once('exit', () => {
      for (const { reject } of this.#asked.values()) reject(failed ?? new Error('the journal was closed'));
      this.#asked.clear();
      if (this.#ended) return;
      this.#ended = true;
      owner.gone(failed);
    });
  }

  post(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    if (!this.#ended) this.#worker.postMessage(message, [...transfer]);
  }

  call<N extends CallName>(name: N, ask: Calls[N]['ask']): Promise<Calls[N]['answer']> {
    if (this.#ended) return Promise.reject(new Error('the journal was closed'));
    const { promise, resolve, reject } = Promise.withResolvers<Calls[N]['answer']>();
    const call = ++this.#calls;
    this.#asked.set(call, { resolve: resolve as Asked['resolve'], reject });
    this.post({ kind: 'call', call, name, ask });
    const release = this.hold();
    return promise.finally(release);
  }

  /** Keeps the process alive until what it returns is called. */
  hold(): () => void {
    if (this.#holders++ === 0) this.#worker.ref();
    return () => {
      if (--this.#holders === 0) this.#worker.unref();
    };
  }

  /** Has it close what it holds open and waits for its end. @param patience milliseconds. */
  async end(now: number, patience: number): Promise<void> {
    if (this.#ended) return;
    const over = new Promise<void>((resolve) => void this.#worker.once('exit', () => resolve()));
    // One that hangs in a call to the system cannot be ended at all.
    const gaveUp = Promise.withResolvers<void>();
    const late = setTimeout(() => void this.#worker.terminate(), patience);
    const tooLate = setTimeout(gaveUp.resolve, 2 * patience);
    this.call('close', { now }).catch(() => undefined);
    this.#ended = true;
    const release = this.hold();
    await Promise.race([over, gaveUp.promise]);
    release();
    clearTimeout(late);
    clearTimeout(tooLate);
  }

  #heard(message: FromWorker): void {
    if (message.kind !== 'answer' && message.kind !== 'refused') return this.#owner.heard(message);
    const asked = this.#asked.get(message.call);
    this.#asked.delete(message.call);
    if (message.kind === 'answer') asked?.resolve(message.value as never);
    else asked?.reject(new Error(message.message));
  }
}

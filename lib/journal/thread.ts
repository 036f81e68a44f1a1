import { extname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import type { Core } from '../request/request.ts';
import type { AccessLog } from '../access-log/access-log.ts';
import type { CallName, FromWorker, LineOptions, WorkerCalls, WorkerOptions } from '../record/record.ts';

/** Sources run as `.ts`, the package as `.js`. */
const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
/** Heap of a worker in megabytes; the page cache of the database is not part of it. */
const heap = { maxOldGenerationSizeMb: 512 };

/** The journal's dependencies on other parts of the gate. */
export interface JournalDeps {
  /** The install secret; read when the worker starts. */
  readonly secret: () => string;
  readonly routeOf: (method: string, path: string) => Route;
  /** Names of the sinks that retention waits for; without it, every sink that has a cursor. */
  readonly sinks?: readonly string[];
  readonly accessLog: AccessLog;
  /** What follows the journal in its thread. */
  readonly observer?: WorkerOptions['observer'];
  /** What follows the journal hears of other instances. Default: false. */
  readonly observerShares?: boolean;
}

/** The options of this gate's worker. */
export function workerOptions({ config, clock, hidden }: Core, { secret, sinks, accessLog, observer = null, observerShares = false }: JournalDeps, role: WorkerOptions['role'], session: string): WorkerOptions {
  const { enabled, path, retention, maxSize, capture, fingerprint, durability, onFull } = config.audit;
  const durable = durability === 'strict';
  return {
    role,
    path: enabled ? resolve(path) : null,
    session,
    secret: secret(),
    previousSecrets: config.previousSecrets,
    hidden: [...hidden],
    durable,
    required: durable || onFull === 'refuse',
    maxSize,
    sinks: sinks ?? null,
    keepRecords: retention.records,
    keepBodies: retention.bodies,
    capture,
    fingerprint,
    queryAllow: config.logging.queryAllow,
    ownPaths: [config.admin.path, config.endpoints.health, config.endpoints.metrics].filter((each) => each !== false),
    lines: accessLog.isRead ? lineOptions(config.logging, accessLog) : null,
    watched: enabled && config.anomaly.mode !== 'off',
    observer: role === 'write' ? observer : null,
    observerShares,
    now: clock.now(),
    ended: new Int32Array(new SharedArrayBuffer(4)),
  };
}

function lineOptions({ format, maxSize, maxFiles }: LoggingConfig, { file: logFile, isShown, isReadable }: AccessLog): LineOptions {
  return { format, file: logFile === false ? false : resolve(logFile), maxSize, maxFiles, isShown, isReadable };
}

interface PendingCall {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** A worker thread of the journal, and the calls that wait for its answers. It keeps the process alive only while a caller waits. */
export class Thread {
  /** Batches are posted here and messages arrive here directly, without a hop through this class. */
  readonly worker: Worker;
  readonly #endedFlag: Int32Array;
  readonly #pending = new Map<number, PendingCall>();
  #calls = 0;
  #holders = 0;
  #ended = false;

  /**
   * @param onMessage gets every message; those that answer a call have to be passed to {@link Thread.answered}.
   * @param onExit called when the worker ends by itself. @param error the reason, where there is one.
   */
  constructor(options: WorkerOptions, onMessage: (message: FromWorker) => void, onExit: (error: Error | null) => void) {
    this.#endedFlag = options.ended;
    // Options of the process (a test runner, a loader) do not apply to this thread.
    this.worker = new Worker(file, { workerData: options, name: `heimdall-journal-${options.role}`, resourceLimits: heap, execArgv: [], stdout: false });
    let failed: Error | null = null;
    this.worker.on('message', onMessage);
    this.worker.on('error', (error: unknown) => {
      failed = error instanceof Error ? error : new Error(String(error));
    });
    this.worker.once('exit', () => {
      for (const { reject } of this.#pending.values()) reject(failed ?? new Error('the journal was closed'));
      this.#pending.clear();
      if (this.#ended) return;
      this.#ended = true;
      onExit(failed);
    });
    // After the listeners, since one for messages keeps the process alive.
    this.worker.unref();
  }

  /** Calls the worker and resolves with its result. */
  call<N extends CallName>(name: N, request: WorkerCalls[N]['request']): Promise<WorkerCalls[N]['result']> {
    if (this.#ended) return Promise.reject(new Error('the journal was closed'));
    const { promise, resolve, reject } = Promise.withResolvers<WorkerCalls[N]['result']>();
    const call = ++this.#calls;
    this.#pending.set(call, { resolve: resolve as PendingCall['resolve'], reject });
    this.worker.postMessage({ kind: 'call', call, name, request });
    const release = this.hold();
    return promise.finally(release);
  }

  /** Settles the call that a message answers. */
  answered(message: FromWorker & { kind: 'result' | 'error' }): void {
    const pending = this.#pending.get(message.call);
    this.#pending.delete(message.call);
    if (message.kind === 'result') pending?.resolve(message.value as never);
    else pending?.reject(new Error(message.message));
  }

  /** Keeps the process alive until the returned function is called. */
  hold(): () => void {
    if (this.#holders++ === 0) this.worker.ref();
    return () => {
      if (--this.#holders === 0) this.worker.unref();
    };
  }

  /** Makes the worker close its files while the process ends: the thread works on, and this one waits for it. @param timeout milliseconds. */
  endNow(now: number, timeout: number): void {
    if (this.#ended) return;
    this.worker.postMessage({ kind: 'call', call: ++this.#calls, name: 'close', request: { now } });
    Atomics.wait(this.#endedFlag, 0, 0, timeout);
  }

  /** Makes the worker close its files, and waits for its end. @param timeout milliseconds until it is terminated. */
  async end(now: number, timeout: number): Promise<void> {
    if (this.#ended) return;
    const over = new Promise<void>((resolve) => void this.worker.once('exit', () => resolve()));
    // A worker that hangs in a system call cannot be terminated.
    const gaveUp = Promise.withResolvers<void>();
    const late = setTimeout(() => void this.worker.terminate(), timeout);
    const tooLate = setTimeout(gaveUp.resolve, 2 * timeout);
    this.call('close', { now }).catch(() => undefined);
    this.#ended = true;
    const release = this.hold();
    await Promise.race([over, gaveUp.promise]);
    release();
    clearTimeout(late);
    clearTimeout(tooLate);
  }
}

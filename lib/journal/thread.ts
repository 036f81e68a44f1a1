import { extname, resolve } from 'node:path';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import { type Core, ownPaths } from '../request/request.ts';
import type { Crew } from '../platform/platform.ts';
import type { AccessLog } from '../access-log/access-log.ts';
import type { CallName, FromWorker, LineOptions, WorkerCalls, WorkerOptions, WorkerSettings } from '../record/record.ts';

/** Sources run as `.ts`, the package as `.js`. */
const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
/** Heap of a worker in megabytes; the page cache of the database is not part of it. What a batch leaves behind is young and small. */
const heap = { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 12 };

/** The journal's dependencies on other parts of the gate. */
export interface JournalDeps {
  /** The install secret; read when the worker starts. */
  readonly secret: () => string;
  readonly routeOf: (method: string, path: string) => Route;
  /** Names of the sinks that retention waits for; without it, every sink that has a cursor. */
  readonly sinks?: () => readonly string[];
  readonly accessLog: AccessLog;
  /** What follows the journal in its thread, while `anomaly.mode` is not off. */
  readonly observer?: WorkerOptions['observer'];
  /** What follows the journal hears of other instances. Default: false. */
  readonly observerShares?: boolean;
  /** What it is handed. Default: null. */
  readonly observerOptions?: () => unknown;
}

/** The options of this gate's worker. */
export function workerOptions(core: Core, deps: JournalDeps, role: WorkerOptions['role'], session: string): WorkerOptions {
  const { config, clock, hidden } = core;
  const { enabled, path, durability, onFull } = config.audit;
  const durable = durability === 'strict';
  return {
    role,
    path: enabled ? resolve(path) : null,
    session,
    secret: deps.secret(),
    previousSecrets: config.previousSecrets,
    hidden: [...hidden],
    durable,
    required: durable || onFull === 'refuse',
    observerShares: deps.observerShares ?? false,
    ...workerSettings(core, deps, role),
    now: clock.now(),
    ended: new Int32Array(new SharedArrayBuffer(4)),
  };
}

/** What of them follows the configuration while the worker runs. */
export function workerSettings({ config }: Core, { sinks, accessLog, observer = null, observerOptions }: JournalDeps, role: WorkerOptions['role']): WorkerSettings {
  const { enabled, retention, maxSize, capture, fingerprint, otlp } = config.audit;
  const watched = enabled && config.anomaly.mode !== 'off';
  return {
    maxSize,
    sinks: sinks?.() ?? null,
    keepRecords: retention.records,
    keepBodies: retention.bodies,
    capture,
    traced: otlp.endpoint !== null && otlp.traces,
    fingerprint,
    queryAllow: config.logging.queryAllow,
    ownPaths: ownPaths(config),
    lines: accessLog.isRead ? lineOptions(config.logging, accessLog) : null,
    watched,
    observer: role === 'write' && watched ? observer : null,
    observerOptions: observerOptions?.() ?? null,
  };
}

function lineOptions({ format, maxSize, maxFiles }: LoggingConfig, { file: logFile, isShown, isReadable }: AccessLog): LineOptions {
  return { format, file: logFile === false ? false : resolve(logFile), maxSize, maxFiles, isShown, isReadable };
}

/** How often it is looked whether a thread that ends is silent, milliseconds, and after how many further looks it is given up. */
const lookEvery = 100;
const looksAfter = 50;

interface PendingCall {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** What a thread is told when a gate begins to use it. */
export interface Joining {
  readonly options: WorkerOptions;
  /** The thread's end of the gate's connection; what the gate asked for is over when it closes. */
  readonly port: MessagePort;
}

/** The threads of this process by what they do with which file: gates that share a journal share them. */
const threads = new Map<string, SharedThread>();

/** A worker thread. It ends when the last gate has left it, and keeps the process alive only while a caller waits. */
class SharedThread {
  readonly worker: Worker;
  readonly members = new Set<Thread>();
  readonly #key: string;
  #holders = 0;

  /** @throws where the host allows no threads. */
  constructor(key: string, role: WorkerOptions['role']) {
    this.#key = key;
    // Options of the process (a test runner, a loader) do not apply to this thread.
    this.worker = new Worker(file, { name: `heimdall-journal-${role}`, resourceLimits: heap, execArgv: [], stdout: false });
    let failed: Error | null = null;
    this.worker.on('error', (error: unknown) => {
      failed = error instanceof Error ? error : new Error(String(error));
    });
    this.worker.once('exit', () => {
      this.#forget();
      for (const member of [...this.members]) member.exited(failed);
    });
    // After the listeners, since one for messages keeps the process alive.
    this.worker.unref();
    threads.set(key, this);
  }

  /** @returns whether it was the last one: then the thread ends. */
  leave(member: Thread): boolean {
    this.members.delete(member);
    if (this.members.size > 0) return false;
    this.#forget();
    return true;
  }

  /** Takes in a gate, of this thread or of another one. */
  add(joining: Joining): void {
    this.worker.postMessage(joining, [joining.port]);
  }

  hold(): void {
    if (this.#holders++ === 0) this.worker.ref();
  }

  release(): void {
    if (--this.#holders === 0) this.worker.unref();
  }

  /** The next gate gets a thread that does not end. */
  #forget(): void {
    if (threads.get(this.#key) === this) threads.delete(this.#key);
  }
}

/** What a gate in another thread of this process joins. */
interface Request {
  readonly key: string;
  readonly role: WorkerOptions['role'];
  readonly joining: Joining;
}

const sharedThread = (key: string, role: WorkerOptions['role']): SharedThread => threads.get(key) ?? new SharedThread(key, role);

/** Lets the gates of other threads join the threads of this one. */
export function takeJoining(crew: Crew): void {
  crew.answer('journal', (asked) => {
    const { key, role, joining } = asked as Request;
    sharedThread(key, role).add(joining);
  });
}

/** A gate's part of a worker thread of the journal, and the calls that wait for its answers. */
export class Thread {
  /** Batches are posted here and messages arrive here directly, without a hop through this class. */
  readonly port: MessagePort;
  /** Null where it is a thread of the main thread, which this one has joined. */
  readonly #shared: SharedThread | null;
  readonly #endedFlag: Int32Array;
  readonly #onMessage: (message: FromWorker) => void;
  readonly #onExit: (error: Error | null) => void;
  readonly #pending = new Map<number, PendingCall>();
  #calls = 0;
  #ended = false;

  /**
   * @param onMessage gets every message; those that answer a call have to be passed to {@link Thread.answered}.
   * @param onExit called when the thread ends by itself. @param error the reason, where there is one.
   * @param crew the threads of a gate with several workers, which share those of the main thread.
   */
  constructor(options: WorkerOptions, onMessage: (message: FromWorker) => void, onExit: (error: Error | null) => void, crew: Crew | null = null) {
    const key = `${options.role} ${options.path ?? ''}`;
    const main = crew?.main ?? null;
    this.#shared = main === null ? sharedThread(key, options.role) : null;
    this.#endedFlag = options.ended;
    this.#onMessage = onMessage;
    this.#onExit = onExit;
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    const joining: Joining = { options, port: port2 };
    this.#shared?.members.add(this);
    this.#shared?.add(joining);
    main?.hand('journal', { key, role: options.role, joining } satisfies Request, [port2]);
    port1.on('message', onMessage);
    if (main !== null) port1.once('close', () => this.exited(null));
    // The worker is what keeps the process alive: its end is told.
    port1.unref();
  }

  /** Calls the worker and resolves with its result. */
  call<N extends CallName>(name: N, request: WorkerCalls[N]['request']): Promise<WorkerCalls[N]['result']> {
    if (this.#ended) return Promise.reject(new Error('the journal was closed'));
    const { promise, resolve, reject } = Promise.withResolvers<WorkerCalls[N]['result']>();
    const call = ++this.#calls;
    this.#pending.set(call, { resolve: resolve as PendingCall['resolve'], reject });
    this.port.postMessage({ kind: 'call', call, name, request });
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
    this.#shared?.hold();
    return () => this.#shared?.release();
  }

  /** The thread has ended. What it said before is heard first. */
  exited(failed: Error | null): void {
    this.#shared?.leave(this);
    // A port to another thread has told everything before it closes.
    if (this.#shared !== null) for (let said = receiveMessageOnPort(this.port); said !== undefined; said = receiveMessageOnPort(this.port)) this.#onMessage(said.message as FromWorker);
    this.port.close();
    this.#over(failed);
    if (this.#ended) return;
    this.#ended = true;
    this.#onExit(failed);
  }

  #over(failed: Error | null): void {
    for (const { reject } of this.#pending.values()) reject(failed ?? new Error('the journal was closed'));
    this.#pending.clear();
  }

  /** Makes the worker close its files while the process ends: the thread works on, and this one waits for it. @param timeout milliseconds. */
  endNow(now: number, timeout: number): void {
    if (this.#ended) return;
    this.port.postMessage({ kind: 'call', call: ++this.#calls, name: 'close', request: { now } });
    Atomics.wait(this.#endedFlag, 0, 0, timeout);
  }

  /** Makes the worker close its files, and waits until it has, and for its end when no other gate uses it. @param isSilent whether it is to be waited for no longer. */
  async end(now: number, isSilent: () => boolean): Promise<void> {
    if (this.#ended) return;
    const worker = this.#shared?.worker ?? null;
    this.call('close', { now }).catch(() => undefined);
    this.#ended = true;
    const isLast = this.#shared?.leave(this) ?? false;
    const over = Promise.withResolvers<void>();
    if (isLast && worker !== null) worker.once('exit', () => {
      this.exited(null);
      over.resolve();
    });
    // Nothing may be asked of a port that is just closing: Node would crash.
    else this.port.once('close', () => {
      this.#over(null);
      over.resolve();
    });
    // A worker that hangs in a system call cannot be terminated.
    const gaveUp = Promise.withResolvers<void>();
    let looks = 0;
    const timer = setInterval(() => {
      if (looks > 0 || isSilent()) looks++;
      if (looks === 1 && isLast) void worker?.terminate().catch(() => undefined);
      if (looks === looksAfter) gaveUp.resolve();
    }, lookEvery);
    const release = this.hold();
    await Promise.race([over.promise, gaveUp.promise]);
    release();
    clearInterval(timer);
  }
}

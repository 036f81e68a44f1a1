import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import type { Answer, Question, Ready } from './ipc.ts';

/** How to start a child; `port` is set for programs that do not speak our IPC. */
export interface Launch {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  readonly dir: string;
  /** Core all its threads are bound to; undefined leaves it to the scheduler. */
  readonly core?: number | undefined;
  /** Wait until this port accepts instead of for a `ready` message. */
  readonly port?: number;
  /** Milliseconds until it must accept. */
  readonly startLimit?: number;
}

/** A process that is measured from outside and ended at last. */
export interface Measured {
  readonly pid: number;
  stop(): Promise<void>;
}

const START_LIMIT = 20_000;
const running = new Set<Child>();

/** One process we started, spoken to over IPC and ended by its pid. */
export class Child implements Measured {
  readonly name: string;
  readonly process: ChildProcess;
  readonly pid: number;
  port = 0;
  #next = 1;
  readonly #waiting = new Map<number, (answer: Answer) => void>();

  constructor(name: string, child: ChildProcess) {
    if (child.pid === undefined) throw new Error(`${name}: could not be spawned`);
    this.name = name;
    this.process = child;
    this.pid = child.pid;
    running.add(this);
    child.on('message', (message: Answer) => this.#waiting.get(message.id)?.(message));
    child.on('exit', (code, signal) => this.#gone(`ended (${signal ?? code})`));
  }

  get alive(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Asks and waits for the answer; rejects after `limit` milliseconds, or when the child ends. */
  ask<T>(op: string, data: unknown = null, limit = 10_000): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      const settle = (answer: Answer): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        if (answer.error === undefined) resolve(answer.result as T);
        else reject(new Error(`${this.name}: ${answer.error}`));
      };
      const timer = setTimeout(() => settle({ id, error: `no answer to ${op} within ${limit} ms` }), limit);
      this.#waiting.set(id, settle);
      if (this.process.connected !== true) settle({ id, error: 'not connected' });
      else this.process.send({ id, op, data } satisfies Question);
    });
  }

  /** Ends it: politely when it speaks IPC, then SIGTERM, then SIGKILL. */
  async stop(): Promise<void> {
    if (this.process.connected === true) await this.ask('exit', null, 2500).catch(() => undefined);
    else this.process.kill('SIGTERM');
    if (!(await this.#ended(2500))) this.process.kill('SIGKILL');
    await this.#ended(1000);
  }

  kill(): void {
    if (this.alive) this.process.kill('SIGKILL');
  }

  #ended(limit: number): Promise<boolean> {
    if (!this.alive) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), limit);
      this.process.once('exit', () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  #gone(reason: string): void {
    running.delete(this);
    for (const [id, settle] of this.#waiting) settle({ id, error: reason });
  }
}

const adopted = new Set<Adopted>();

/** A process that a script of another project has started for us. */
export class Adopted implements Measured {
  readonly name: string;
  readonly pid: number;
  readonly #remove: () => void;

  /** @param remove called once it has been ended. */
  constructor(name: string, pid: number, remove: () => void) {
    this.name = name;
    this.pid = pid;
    this.#remove = remove;
    adopted.add(this);
  }

  async stop(): Promise<void> {
    this.kill('SIGTERM');
    for (let turn = 0; turn < 50 && this.kill(0); turn++) await pause(50);
    this.kill('SIGKILL');
    adopted.delete(this);
    this.#remove();
  }

  /** @returns whether there is such a process. */
  kill(signal: NodeJS.Signals | 0): boolean {
    try {
      return process.kill(this.pid, signal);
    } catch {
      return false;
    }
  }
}

/** Starts a child and waits until it listens; the error carries the end of its stderr. */
export async function launch(options: Launch): Promise<Child> {
  const { name, command, args, core, dir, port, startLimit = START_LIMIT } = options;
  const log = join(dir, `${name}.stderr`);
  const errors = openSync(log, 'a', 0o600);
  const pinned = core === undefined ? [command, ...args] : ['taskset', '-c', String(core), command, ...args];
  // Standard output goes to /dev/null: the log line's write is still a system call, and nothing is read back.
  const spawned = spawn(pinned[0] ?? command, pinned.slice(1), {
    cwd: dir,
    env: { ...process.env, NODE_ENV: 'production', ...options.env },
    stdio: ['ignore', 'ignore', errors, ...(port === undefined ? (['ipc'] as const) : [])],
  });
  closeSync(errors);
  spawned.on('error', () => undefined);
  const child = new Child(name, spawned);
  try {
    child.port = port ?? (await readyPort(child));
    if (port !== undefined) await acceptsOn(port, child, startLimit);
    return child;
  } catch (error) {
    child.kill();
    throw new Error(`${(error as Error).message}${tail(log)}`);
  }
}

function readyPort(child: Child): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`did not listen within ${START_LIMIT} ms`)), START_LIMIT);
    child.process.once('exit', () => {
      clearTimeout(timer);
      reject(new Error('ended before it listened'));
    });
    child.process.on('message', (message: Partial<Ready>) => {
      if (message.ready === undefined) return;
      clearTimeout(timer);
      resolve(message.ready);
    });
  });
}

async function acceptsOn(port: number, child: Child, within: number): Promise<void> {
  const limit = Date.now() + within;
  while (Date.now() < limit && child.alive) {
    if (await connects(port)) return;
    await pause(50);
  }
  throw new Error(child.alive ? `port ${port} does not accept` : 'ended before it listened');
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => resolve(true) ?? socket.destroy());
    socket.on('error', () => resolve(false));
  });
}

function tail(path: string): string {
  const text = readFileSync(path, 'utf8').trim();
  const line = text.split('\n').find((candidate) => /error/i.test(candidate)) ?? text.slice(-200);
  return line === '' ? '' : `: ${line.trim().slice(0, 200)}`;
}

/** A port that was free a moment ago, for programs that cannot choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}

/** Ends every child still running; the last resort when the benchmark itself is ended. */
export function killAll(): void {
  for (const child of running) child.kill();
  for (const one of adopted) one.kill('SIGKILL');
}

/** Waits `duration` milliseconds. */
export function pause(duration: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, duration));
}

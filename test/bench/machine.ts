import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import os from 'node:os';
import type { OwnUsage } from './ipc.ts';
import { Child, type Measured } from './processes.ts';

/** Where the gate and everything else run; undefined where nothing can be pinned. */
export interface Cores {
  readonly gate: number | undefined;
  readonly load: number | undefined;
}

/** CPU in microseconds since the process began, resident memory in bytes. */
export interface Usage {
  readonly total: number;
  /** The main thread alone; undefined where the system does not say. */
  readonly main: number | undefined;
  readonly rss: number;
}

/** The first two cores this process may use, when `taskset` can bind to them. */
export function chooseCores(): Cores {
  const allowed = expandList(statusField('self', 'Cpus_allowed_list') ?? '');
  const usable = allowed.length >= 2 && spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;
  return usable ? { gate: allowed[0], load: allowed[1] } : { gate: undefined, load: undefined };
}

/** Whether the kernel confirms that a child is bound to that core alone. */
export function isPinned(pid: number, core: number | undefined): boolean {
  return core !== undefined && statusField(String(pid), 'Cpus_allowed_list') === String(core);
}

/**
 * What a contestant has consumed, the same way for each of them: the scheduler's nanosecond account of every
 * thread (`/proc/PID/task/TID/schedstat`); elsewhere what the process says about itself.
 */
export async function usageOf(child: Measured): Promise<Usage> {
  const threads = threadTimes(child.pid);
  if (threads === undefined) {
    if (child instanceof Child) return child.ask<OwnUsage>('usage');
    throw new Error('the CPU time of its threads cannot be read here');
  }
  let total = 0;
  for (const time of threads.values()) total += time;
  return { total, main: threads.get(child.pid), rss: residentBytes(child.pid) };
}

/** CPU spent since `before`, read once the backlog (journal, logs, collector) has been worked off. */
export async function settledUsage(child: Measured): Promise<Usage> {
  let last = await usageOf(child);
  for (let turn = 0; turn < 15; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = await usageOf(child);
    if (now.total - last.total < 2000) return now;
    last = now;
  }
  return last;
}

/** One line about date and machine, as every printed table needs it. */
export function describeMachine(): string {
  const cpus = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  const when = new Date().toISOString().slice(0, 16).replace('T', ' ');
  return `${when} UTC · ${cpus.length} × ${cpus[0]?.model ?? 'unknown CPU'}, ${memory} GB · Node ${process.version} · ${os.type()} ${os.release().split('-')[0]}`;
}

function threadTimes(pid: number): Map<number, number> | undefined {
  const directory = `/proc/${pid}/task`;
  if (!existsSync(`${directory}/${pid}/schedstat`)) return undefined;
  const times = new Map<number, number>();
  for (const name of readdirSync(directory)) {
    const text = readOptional(`${directory}/${name}/schedstat`);
    // A thread may end between the listing and the read.
    if (text !== undefined) times.set(Number(name), Number(text.split(' ')[0]) / 1000);
  }
  return times;
}

function residentBytes(pid: number): number {
  return Number.parseInt(statusField(String(pid), 'VmRSS') ?? '0', 10) * 1024;
}

function statusField(pid: string, field: string): string | undefined {
  const text = readOptional(`/proc/${pid}/status`);
  return text?.match(new RegExp(`^${field}:\\s*(.+)$`, 'm'))?.[1];
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function expandList(list: string): number[] {
  return list.split(',').filter(Boolean).flatMap((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

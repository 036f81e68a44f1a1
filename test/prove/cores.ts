import { spawnSync } from 'node:child_process';
import { openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Gives the gate a core of its own, so that its answers wait for nothing but itself; its workers, and what is beside it and is begun later, have the others. */
export function part(gate: number): void {
  const last = availableParallelism() - 1;
  const pin = (...args: readonly string[]): unknown => spawnSync('taskset', ['-c', '-p', ...args]);
  if (last === 0) return;
  for (const thread of readdirSync(`/proc/${gate}/task`)) pin(readFileSync(`/proc/${gate}/task/${thread}/comm`, 'utf8').startsWith('heimdall') ? `1-${last}` : '0', thread);
  pin('-a', `1-${last}`, String(process.pid));
}

/** @returns a function that says how long the main threads of the gate and of this process have waited for a core so far, milliseconds: that is the machine's, not the gate's. */
export function waitingOf(gate: number): () => number {
  const files = [gate, process.pid].map((pid) => openSync(`/proc/${pid}/task/${pid}/schedstat`, 'r'));
  const bytes = Buffer.alloc(128);
  return () => files.reduce((sum, file) => sum + Number(bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0)).split(' ')[1]) / 1e6, 0);
}

/** Processor time of all threads of a process so far, milliseconds. */
export const used = (pid: number): number => readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6, 0);

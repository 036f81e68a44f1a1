// Loaded with `--import`: one worker that serves fails in the way that the file of WORKER_FAULT names.
import { readFileSync, renameSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const path = process.env['WORKER_FAULT'] ?? '';
/** How long it sleeps, milliseconds. */
const nap = 3000;

const faults: Readonly<Record<string, () => void>> = {
  throw: () => {
    throw new Error('a fault of the test');
  },
  loop: () => {
    for (;;);
  },
  heap: () => {
    const kept: unknown[] = [];
    for (;;) kept.push(Array.from({ length: 100_000 }, (_, at) => ({ at })));
  },
  nap: () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, nap),
};

/** @returns its name, for one of the workers alone. */
function taken(): string {
  const mine = `${path}.taken`;
  try {
    renameSync(path, mine);
    return readFileSync(mine, 'utf8');
  } catch {
    return '';
  }
}

const isServing = (): boolean => process.getActiveResourcesInfo().includes('TCPServerWrap');

if (!isMainThread) setInterval(() => {
  if (isServing()) faults[taken()]?.();
}, 20).unref();

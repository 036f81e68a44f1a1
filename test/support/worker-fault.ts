// Loaded with `--import`: the first worker of a gate fails in the way that the file of WORKER_FAULT names, and the second one sleeps.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { isMainThread, workerData } from 'node:worker_threads';

const path = process.env['WORKER_FAULT'] ?? '';
const place = isMainThread ? null : (workerData as { place?: unknown } | null)?.place;
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

if (place === 0 || place === 1) setInterval(() => {
  const name = existsSync(path) ? readFileSync(path, 'utf8') : '';
  if (name === '' || (name === 'nap') !== (place === 1)) return;
  rmSync(path, { force: true });
  faults[name]?.();
}, 20).unref();

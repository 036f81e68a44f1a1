// Loaded with `--import`: the first worker of a gate fails in the way that the file of WORKER_FAULT names.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { isMainThread, workerData } from 'node:worker_threads';

const path = process.env['WORKER_FAULT'] ?? '';
const isFirst = !isMainThread && (workerData as { place?: unknown } | null)?.place === 0;

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
};

if (isFirst) setInterval(() => {
  if (!existsSync(path)) return;
  const fault = faults[readFileSync(path, 'utf8')];
  rmSync(path);
  fault?.();
}, 20).unref();

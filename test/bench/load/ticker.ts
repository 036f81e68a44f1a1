import { parentPort, workerData } from 'node:worker_threads';

/**
 * Says `index` at `start + index × every`. A thread of its own that sleeps in `Atomics.wait`, because timers of
 * the event loop are a millisecond coarse, which is more than what is to be measured.
 */
const { start, every, count } = workerData as { start: number; every: number; count: number };
const bell = new Int32Array(new SharedArrayBuffer(4));
for (let index = 0; index < count; index++) {
  const wait = start + index * every - (performance.timeOrigin + performance.now());
  if (wait > 0) Atomics.wait(bell, 0, 0, wait);
  parentPort?.postMessage(index);
}

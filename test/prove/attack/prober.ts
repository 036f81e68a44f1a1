import { parentPort, workerData } from 'node:worker_threads';
import { chatOf } from './scene.ts';

const { port, from } = workerData as { readonly port: number; readonly from: string };
/** Milliseconds between two calls. */
const pace = 25;
let calls: { readonly ms: number; readonly wrong: string | null }[] = [];
let over = false;

parentPort?.on('message', (said: string) => {
  if (said === 'end') over = true;
  parentPort?.postMessage(calls);
  calls = [];
});

while (!over) {
  const began = performance.now();
  const wrong = await chatOf(port, from);
  const ms = performance.now() - began;
  calls.push({ ms, wrong });
  await new Promise((resolve) => setTimeout(resolve, Math.max(1, pace - ms)));
}
parentPort?.close();

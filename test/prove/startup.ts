import { runGate } from './gate.ts';
import type { Finding } from './proof.ts';

const runs = 5;
const limit = 600;

/** From spawning the command to listening, from source; the upstream is not there. */
export async function startup(): Promise<Finding> {
  const times: number[] = [];
  for (let n = 0; n < runs; n++) {
    const gate = await runGate('http://127.0.0.1:9');
    times.push(gate.startedIn);
    await gate.stop();
  }
  const median = times.toSorted((a, b) => a - b)[Math.floor(runs / 2)] as number;
  const rows = times.map((time, n) => ({ run: n + 1, 'ms to listening': Math.round(time) }));
  return { rows, bar: `median start below ${limit} ms (${Math.round(median)} ms)`, holds: median < limit };
}

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { AddressInfo, Server } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { answer } from '../bench/ipc.ts';

/** How late a gate's event loop was, milliseconds; every sample holds the interval of the timer that took it. */
export interface Delay {
  readonly p50: number;
  readonly p99: number;
}

/**
 * Loaded into a gate's process by `--import`: tells the parent where the gate listens, watches its event loop when asked to
 * `watch`, and answers for its `delay`. Only between these two, since the timer's own work would count as the gate's.
 */
const listening = 'tracing:net.server.listen:asyncEnd';
let histogram: ReturnType<typeof monitorEventLoopDelay> | null = null;

function tell(message: unknown): void {
  unsubscribe(listening, tell);
  const { port } = (message as { server: Server }).server.address() as AddressInfo;
  answer(port, { watch: (interval) => watch(interval as number), delay });
}

function watch(interval: number): void {
  histogram = monitorEventLoopDelay({ resolution: interval });
  histogram.enable();
}

function delay(): Delay {
  if (histogram === null) throw new Error('watch comes first');
  histogram.disable();
  return { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6 };
}

subscribe(listening, tell);

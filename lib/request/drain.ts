import type { Server } from 'node:http';
import type { Context, Core } from './context.ts';
import { guarded } from './context.ts';
import { HeimdallError } from '../errors.ts';

/** Time between two looks of a drain, milliseconds. */
const lookEvery = 50;

/**
 * Waits until no request is in hand, WebSockets included, then cuts off those that remain.
 * @param servers stop listening at once; their connections are closed as they become idle.
 * @param timeout milliseconds.
 */
export async function drained(core: Core, servers: ReadonlySet<Server>, timeout: number): Promise<void> {
  const until = core.clock.monotonic() + timeout;
  for (const server of servers) server.close();
  while (core.inFlight.size > 0 && core.clock.monotonic() < until) {
    for (const server of servers) server.closeIdleConnections();
    await new Promise<void>((resolve) => core.clock.setTimeout(resolve, lookEvery));
  }
  if (core.inFlight.size > 0) await cutOffAll(core);
  for (const server of servers) server.closeAllConnections();
}

/** Waiting clients get the error, reading clients a broken answer. All requests finish before the logs close. */
async function cutOffAll({ inFlight, log }: Core): Promise<void> {
  log.warn({ requests: inFlight.size }, 'drain.cut');
  for (const context of inFlight) guarded(context, () => cutOff(context))();
  await new Promise((resolve) => setImmediate(resolve));
  for (const context of inFlight) {
    context.req.socket.destroy();
    context.finish();
  }
}

function cutOff(context: Context): void {
  if (context.res.headersSent && !context.handedOver && context.outcome === 'served') context.outcome = 'interrupted';
  context.cutOff(new HeimdallError('shutting_down'));
}

import type { Server } from 'node:http';
import type { Context } from './context.ts';
import type { Core } from './context.ts';
import { HeimdallError } from '../errors.ts';

/** How often a drain looks again, milliseconds. */
const lookEvery = 50;

/**
 * Waits until no request is in hand, WebSockets included, then cuts what is left.
 * @param servers stop listening at once; their idle connections are closed as they become idle.
 * @param timeout milliseconds.
 */
export async function drained(core: Core, servers: ReadonlySet<Server>, timeout: number): Promise<void> {
  const until = core.clock.now() + timeout;
  for (const server of servers) server.close();
  while (core.inFlight.size > 0 && core.clock.now() < until) {
    for (const server of servers) server.closeIdleConnections();
    await new Promise<void>((resolve) => core.clock.setTimeout(resolve, lookEvery));
  }
  if (core.inFlight.size > 0) await cutAll(core);
  for (const server of servers) server.closeAllConnections();
}

/** Who waits is told so, who reads sees a broken answer; all are put away before the logs close. */
async function cutAll({ inFlight, log }: Core): Promise<void> {
  log.warn({ requests: inFlight.size }, 'drain.cut');
  for (const context of inFlight) tell(context);
  await new Promise((resolve) => setImmediate(resolve));
  for (const context of inFlight) {
    context.req.socket.destroy();
    context.finish();
  }
}

function tell(context: Context): void {
  if (context.res.headersSent && !context.handedOver && context.outcome === 'served') context.outcome = 'interrupted';
  context.cutOff(new HeimdallError('shutting_down'));
}

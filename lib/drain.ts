import type { Server } from 'node:http';
import type { Core } from './context.ts';

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
  while (core.live.size > 0 && core.clock.now() < until) {
    for (const server of servers) server.closeIdleConnections();
    await new Promise<void>((resolve) => core.clock.setTimeout(resolve, lookEvery));
  }
  if (core.live.size > 0) core.log.warn({ requests: core.live.size }, 'drain.cut');
  for (const context of core.live) {
    context.exchange?.abort();
    (context.req.heimdallUpgrade?.socket ?? context.req.socket).destroy();
  }
  for (const server of servers) server.closeAllConnections();
}

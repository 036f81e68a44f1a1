import type { Server } from 'node:http';
import type { Context, Core } from './context.ts';
import { guarded } from './context.ts';
import { HeimdallError } from '../errors.ts';

/** Time between two looks of a drain, milliseconds. */
const lookEvery = 50;
/** The longest time in which what has arrived is taken, milliseconds. */
const longestTaking = 1000;
/** Turns of the event loop without a new connection or request, after which nothing waits. */
const quietTurns = 3;

/** What ends when a gate does. */
export interface Ending {
  readonly core: Core;
  /** They listen until what was in hand is done, so that a balancer's probe is answered. Then their connections are closed as they become idle. */
  readonly servers: ReadonlySet<Server>;
  /** From now on requests that wait for a slot are refused, and those that would. */
  readonly refuse: () => void;
}

/**
 * Ends in three steps. While half of the time is left, what comes is served: a balancer goes on sending until a probe has told it.
 * Then requests that wait for a slot are refused, while their clients have time to go elsewhere. When those in hand are done the
 * servers stop listening. What remains at the end of the time is cut off, WebSockets included.
 * @param timeout milliseconds.
 * @param quiet milliseconds without a new connection or request after which nothing more is expected; open connections and probes
 * that have come at a steady pace are waited for so long. 0: as soon as nothing is in hand.
 */
export async function drained({ core, servers, refuse }: Ending, timeout: number, quiet = 0): Promise<void> {
  const { clock } = core;
  const began = clock.monotonic();
  const until = began + timeout;
  const look = (): Promise<void> => new Promise((resolve) => core.clock.setTimeout(resolve, lookEvery));
  const arrivals = new Arrivals(servers);
  // A connection of HTTP/2 tells its client at once.
  for (const server of servers) server.emit('draining');
  await serveOn(core, arrivals, { half: began + timeout / 2, quiet, look });
  refuse();
  const refusing = clock.monotonic();
  while (isLeft(core, refusing) && clock.monotonic() < until) await look();
  if (servers.size > 0 && clock.monotonic() < until) await arrivals.taken();
  arrivals.end();
  const closing = clock.monotonic();
  for (const server of servers) server.close();
  while (isLeft(core, closing) && clock.monotonic() < until) {
    for (const server of servers) server.closeIdleConnections();
    await look();
  }
  if (core.inFlight.size > 0) await cutOffAll(core);
  for (const server of servers) server.closeAllConnections();
}

async function serveOn(core: Core, arrivals: Arrivals, { half, quiet, look }: { half: number; quiet: number; look: () => Promise<void> }): Promise<void> {
  const { inFlight, clock, probes } = core;
  let seen = arrivals.count;
  let quietSince = quiet > 0 && (await arrivals.hasConnections()) ? clock.monotonic() : -Infinity;
  for (let now = clock.monotonic(); now < half; now = clock.monotonic()) {
    if (inFlight.size === 0 && now - quietSince >= quiet && (quiet === 0 || !probes.isExpected(now, half))) return;
    await look();
    if (arrivals.count === seen) continue;
    seen = arrivals.count;
    quietSince = clock.monotonic();
  }
}

/** Whether a request is in hand that came before a time. */
function isLeft({ inFlight }: Core, before: number): boolean {
  for (const { at } of inFlight) if (at <= before) return true;
  return false;
}

/** What reaches servers: connections and requests. */
class Arrivals {
  count = 0;
  readonly #servers: ReadonlySet<Server>;

  constructor(servers: ReadonlySet<Server>) {
    this.#servers = servers;
    for (const server of servers) server.on('connection', this.#add).on('request', this.#add);
  }

  /**
   * Lets connections and requests that have arrived be taken, as the event loop comes to them: the end of a server resets those
   * that wait in the queue of its socket, and closing an idle connection resets a request that is on it unread.
   */
  async taken(): Promise<void> {
    const until = performance.now() + longestTaking;
    for (let quiet = 0, before = this.count; quiet < quietTurns && performance.now() < until; before = this.count) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.count === before ? quiet + 1 : 0;
    }
  }

  async hasConnections(): Promise<boolean> {
    const counts = await Promise.all([...this.#servers].map((server) => new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count ?? 0)))));
    return counts.some((count) => count > 0);
  }

  end(): void {
    for (const server of this.#servers) server.off('connection', this.#add).off('request', this.#add);
  }

  readonly #add = (): void => void this.count++;
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

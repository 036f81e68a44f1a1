import type { Socket } from 'node:net';
import type { Context } from './context.ts';
import type { Core } from './context.ts';
import { HeimdallError } from '../errors.ts';

/** A body may take longer than `server.read_timeout` while it arrives at least this fast, bytes a second. */
const slowestBody = 65_536;
const tick = 100;

interface Seen {
  since: number;
  received: number;
  sent: number;
  sentAt: number;
}

/**
 * Every time limit of the requests in hand, looked at together some ten times a second: waits in the queue, exchanges with
 * upstreams, bodies that arrive slower than 64 KB/s beyond `server.read_timeout`, answers of which nothing could be sent for
 * `server.write_timeout`. Timers of their own would cost each request 3 microseconds. Runs only while requests are in hand.
 */
export class Deadlines {
  /** The time of the last look; late by less than one look. */
  now = 0;
  readonly #core: Pick<Core, 'config' | 'clock' | 'inFlight'>;
  readonly #every: number;
  readonly #seen = new WeakMap<Context, Seen>();
  #running = false;

  constructor(core: Pick<Core, 'config' | 'clock' | 'inFlight'>) {
    this.#core = core;
    const { server, llm, queue } = core.config;
    const shortest = Math.min(server.readTimeout, server.writeTimeout, queue.maxWait, ...Object.values(llm.timeouts));
    this.#every = Math.max(5, Math.min(tick, shortest / 4));
  }

  /** Called by every request that arrives. */
  wake(): void {
    if (this.#running) return;
    this.#running = true;
    this.now = this.#core.clock.now();
    this.#arm();
  }

  #arm(): void {
    this.#core.clock.setTimeout(() => this.#look(), this.#every).unref();
  }

  #look(): void {
    const { inFlight, clock } = this.#core;
    this.now = clock.now();
    for (const context of inFlight) {
      context.exchange?.look(this.now);
      this.#inspect(context);
    }
    if (inFlight.size > 0) this.#arm();
    else this.#running = false;
  }

  #inspect(context: Context): void {
    const { socket } = context.req;
    const before = this.#seen.get(context);
    const sent = delivered(socket);
    if (before === undefined) return void this.#seen.set(context, { since: this.now, received: socket.bytesRead, sent, sentAt: this.now });
    const { readTimeout, writeTimeout } = this.#core.config.server;
    if (isLateBody(context, before, this.now, readTimeout)) {
      this.#seen.delete(context);
      context.exchange?.abort();
      return context.fail(new HeimdallError('request_timeout'));
    }
    if (sent !== before.sent || socket.writableLength === 0) {
      before.sent = sent;
      before.sentAt = this.now;
    } else if (this.now - before.sentAt >= writeTimeout) socket.destroy();
  }
}

const delivered = (socket: Socket): number => socket.bytesWritten - socket.writableLength;

/** A body that the upstream does not take is not its sender's fault: its time begins again. */
function isLateBody({ req, res }: Context, before: Seen, now: number, patience: number): boolean {
  if (req.complete || res.headersSent) return false;
  if (req.isPaused()) {
    before.since = now;
    before.received = req.socket.bytesRead;
    return false;
  }
  const elapsed = now - before.since;
  return elapsed >= patience && req.socket.bytesRead - before.received < (slowestBody * elapsed) / 1000;
}

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Config } from '../../types/config.d.ts';
import type { Context, RequestList } from './context.ts';
import { HeimdallError } from '../errors.ts';
import { contain } from './context.ts';

/** A body may take longer than `server.read_timeout` while it arrives at least this fast, bytes a second. */
const slowestBody = 65_536;
/** Longest time between two looks, milliseconds. */
const longestTick = 100;

/** A connection with so many requests behind one that is not answered yet is not read, and what was parsed beyond them is looked at in its turn. */
const pipelinePaused = 16;
/** A connection with more is closed: a packet that is being parsed may hold thousands. */
const longestPipeline = 100;

/** What the last looks saw of a request's socket. Times are monotonic milliseconds, sizes bytes. */
interface Progress {
  since: number;
  received: number;
  sent: number;
  sentAt: number;
}

/**
 * All requests in hand, and their time limits: waits in the queue, exchanges with upstreams, bodies that arrive slower than
 * 64 KB/s after `server.read_timeout`, answers of which nothing could be sent for `server.write_timeout`. One timer looks at
 * all requests together some ten times a second, and only while there are any; a timer for each request costs 3 microseconds.
 *
 * The list is an array in which the last element fills a gap. A `Set` costs 10 microseconds a request more: V8 links an
 * outgrown hash table to its successor, which keeps requests alive that have ended.
 */
export class InFlight implements RequestList {
  /** Time of the last look, monotonic milliseconds; late by less than one look. */
  now = 0;
  readonly #contexts: Context[] = [];
  readonly #progress = new WeakMap<Context, Progress>();
  /** By connection, the requests that came while an earlier one was not answered. */
  readonly #pipelined = new WeakMap<Socket, number>();
  /** By connection, the response to the newest request of those that are not looked at yet. */
  readonly #far = new WeakMap<Socket, ServerResponse>();
  readonly #clock: Clock;
  #readTimeout = 0;
  #writeTimeout = 0;
  #tick = longestTick;
  #timer: Timer | null = null;

  constructor(config: Pick<Config, 'server' | 'llm' | 'queue'>, clock: Clock) {
    this.#clock = clock;
    this.configure(config);
  }

  /** Takes the time limits of a configuration. */
  configure({ server, llm, queue }: Pick<Config, 'server' | 'llm' | 'queue'>): void {
    const shortest = Math.min(server.readTimeout, server.writeTimeout, queue.maxWait, ...Object.values(llm.timeouts));
    this.#readTimeout = server.readTimeout;
    this.#writeTimeout = server.writeTimeout;
    this.#tick = Math.max(5, Math.min(longestTick, shortest / 4));
  }

  get size(): number {
    return this.#contexts.length;
  }

  /** Takes a request in hand. Its time limits are kept from now on. */
  add(context: Context): void {
    context.place = this.#contexts.length;
    this.#contexts.push(context);
    // Node gives a response its socket when all responses before it are sent.
    if (context.res.socket === null) this.#pipeline(context);
    if (this.#timer !== null) return;
    this.now = this.#clock.monotonic();
    this.#lookLater();
  }

  /** The last request has ended: nothing is looked at any more. */
  close(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  delete(context: Context): void {
    if (context.isPipelined) this.#unpipeline(context.req.socket);
    const last = this.#contexts.pop() as Context;
    if (last === context) return;
    this.#contexts[context.place] = last;
    last.place = context.place;
  }

  /** Iterates over a snapshot: what is done with a request may end it. */
  [Symbol.iterator](): Iterator<Context> {
    return [...this.#contexts][Symbol.iterator]();
  }

  /** Whether a request is so far behind others of its connection that it is looked at only in its turn: then it is counted. */
  isFar(res: ServerResponse): boolean {
    const { socket } = res.req;
    if (res.socket !== null || (this.#pipelined.get(socket) ?? 0) < pipelinePaused) return false;
    this.#far.set(socket, res);
    this.#count(socket);
    return true;
  }

  /** The turn of such a request has come. */
  begin(res: ServerResponse): void {
    const { socket } = res.req;
    if (this.#far.get(socket) === res) this.#far.delete(socket);
    this.#unpipeline(socket);
  }

  farthest(socket: Socket): ServerResponse | null {
    return this.#far.get(socket) ?? null;
  }

  #pipeline(context: Context): void {
    context.isPipelined = true;
    this.#count(context.req.socket);
  }

  #count(socket: Socket): void {
    const count = (this.#pipelined.get(socket) ?? 0) + 1;
    this.#pipelined.set(socket, count);
    if (count > longestPipeline) {
      stopParsing(socket);
      socket.destroy();
      // Behind the packet that is being parsed: Node reads on at the end of each request.
    } else if (count === pipelinePaused) process.nextTick(this.#pause, socket);
  }

  readonly #pause = (socket: Socket): void => {
    if ((this.#pipelined.get(socket) ?? 0) >= pipelinePaused) socket.pause();
  };

  #unpipeline(socket: Socket): void {
    const count = (this.#pipelined.get(socket) ?? 1) - 1;
    this.#pipelined.set(socket, count);
    if (count === pipelinePaused - 1) socket.resume();
  }

  readonly #look = (): void => {
    this.now = this.#clock.monotonic();
    for (const context of [...this.#contexts]) {
      try {
        context.exchange?.look(this.now);
        this.#inspect(context);
      } catch (error) {
        contain(context, error);
      }
    }
    this.#timer = null;
    if (this.#contexts.length > 0) this.#lookLater();
  };

  #lookLater(): void {
    this.#timer = this.#clock.setTimeout(this.#look, this.#tick);
    this.#timer.unref();
  }

  #inspect(context: Context): void {
    const { socket } = context.req;
    const before = this.#progress.get(context);
    const sent = deliveredBytes(socket);
    if (before === undefined) return void this.#progress.set(context, { since: this.now, received: socket.bytesRead, sent, sentAt: this.now });
    if (isLateBody(context, before, this.now, this.#readTimeout)) {
      this.#progress.delete(context);
      return context.cutOff(new HeimdallError('request_timeout'));
    }
    if (sent !== before.sent || socket.writableLength === 0) {
      before.sent = sent;
      before.sentAt = this.now;
    } else if (this.now - before.sentAt >= this.#writeTimeout) socket.destroy();
  }
}

/** A connection of Node's HTTP server, as far as its parser takes requests. */
interface Parsed {
  readonly parser?: { onIncoming?: (() => number) | null } | null;
}

/** The answer that Node gives its parser for an upgrade: what follows in the packet is not HTTP. */
const isNoMessage = (): number => 2;

/** Node parses a packet to its end, also of a connection that is closed by then: a thousand requests, some 20 microseconds each. */
function stopParsing(socket: Socket): void {
  const { parser } = socket as Socket & Parsed;
  if (parser) parser.onIncoming = isNoMessage;
}

const deliveredBytes = (socket: Socket): number => socket.bytesWritten - socket.writableLength;

/** While the upstream takes no more of a body, or another answer of the connection is not over, its sender is not late: the time starts again. */
function isLateBody({ req, res }: Context, before: Progress, now: number, patience: number): boolean {
  if (req.complete || res.headersSent) return false;
  if (res.socket === null || req.isPaused() || req.socket.isPaused()) {
    before.since = now;
    before.received = req.socket.bytesRead;
    return false;
  }
  const elapsed = now - before.since;
  return elapsed >= patience && req.socket.bytesRead - before.received < (slowestBody * elapsed) / 1000;
}

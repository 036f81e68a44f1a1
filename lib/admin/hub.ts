import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Config } from '../../types/config.d.ts';
import { toSnake } from '../config/config.ts';
import type { Context, Core, Exchange, Finisher } from '../request/request.ts';
import { networkOf } from '../identity/identity.ts';
import { HeimdallError } from '../errors.ts';
import { printableJson } from '../redaction/redaction.ts';
import { type Crew, Repeated } from '../platform/platform.ts';
import type { Level, Listener } from '../telemetry/telemetry.ts';
import type { Finished, LiveView } from './live-view.ts';

/** Most events kept for readers that reconnect. */
const remembered = 500;
/** Longest event in characters; a longer one is kept without its fields. */
const longestEvent = 4096;
const maxReaders = 64;
/** Readers from one address (IPv6: its /56): a quarter, so that no program that reconnects too often closes the stream to all others. */
const maxReadersOfAddress = 16;
/** Between two tellings of the rate, and of rows while there are more than are shown, milliseconds. */
const rateEvery = 1000;
const rowsEvery = 200;
/** Most unsent bytes of a reader before it is disconnected; more than all kept events. */
const mayLag = 4_194_304;
/** A comment is sent after this time without events, milliseconds, so that proxies keep the connection open. */
const keepAlive = 15_000;
/** Reconnection time that clients are told, milliseconds. */
const comeBackAfter = 3000;
const maxName = 256;
/** What threads say: whether there are readers, and of each request that has ended then. */
const topics = { watched: 'live.watched', finished: 'live.finished' } as const;

/** Distributes the event log and finished requests to the readers of the event stream, and keeps the latest events. */
export class Hub {
  readonly #readers = new Set<Reader>();
  /** By what they ask for. */
  readonly #audiences = new Map<string, Audience>();
  readonly #ring: string[] = [];
  /** Prefix of event ids, which differs between processes. */
  readonly #run: string;
  #last = 0;
  #rates: Repeated | null = null;
  /** The finishers of the configuration in force. */
  #finishers: Finisher[] = [];

  readonly #crew: Crew | null;
  /** There are readers, here or in the main thread. */
  #isWatched = false;
  readonly #finisher: Finisher;

  /** @param crew the threads of a gate with several workers: its readers are in the main thread, its requests in all. */
  constructor(now: number, crew: Crew | null = null) {
    this.#run = now.toString(36);
    this.#crew = crew;
    const main = crew?.main ?? null;
    this.#finisher = main === null ? (context) => this.#show(context) : (context) => main.tell(topics.finished, plainOf(context));
    crew?.subscribe(topics.watched, { hear: (isWatched) => this.#watch(isWatched === true), known: () => [this.#isWatched] });
    crew?.answer(topics.finished, (finished) => this.#show(finished as Finished));
  }

  /** Listeners for the event log; none where the admin API has no readers. Events of level `debug` only where they are logged. */
  listeners(now: () => number, { admin, logging: { level: least } }: Config): Listener[] {
    if (admin.token === null && admin.auth === 'token') return [];
    const debug = least === 'debug' || least === 'trace';
    return [(level, fields, event) => {
      if (debug || level !== 'debug') this.#event(now(), level, fields, event);
    }];
  }

  /** Another configuration is in force. Requests in hand under the one before are told of too. */
  enter(finishers: Finisher[]): void {
    this.#finishers = finishers;
    if (this.#isWatched) finishers.push(this.#finisher);
  }

  /** The finisher is in the list of the configuration in force only while there are readers. */
  #watch(isWatched: boolean): void {
    if (this.#isWatched === isWatched) return;
    this.#isWatched = isWatched;
    if (isWatched) this.#finishers.push(this.#finisher);
    else this.#finishers.splice(this.#finishers.indexOf(this.#finisher), 1);
    if (this.#crew?.isWorker === false) this.#crew.publish(topics.watched, isWatched);
  }

  #show(finished: Finished): void {
    let text: string | null = null;
    for (const audience of this.#audiences.values()) {
      if (audience.takes(finished)) audience.show((text ??= `event: request\ndata: ${printableJson(summaryOf(finished))}\n\n`));
    }
  }

  /**
   * Answers with the event stream. With `Last-Event-ID` it begins after that event, or with the oldest kept event.
   * @param view the requests that are shown; where it bounds their rows, the real rate is told every second.
   * @param waiting the requests that wait for a slot.
   * @throws HeimdallError when the number of readers, or of those from one address, is at its limit.
   */
  read(context: Context, view: LiveView, waiting: () => number): void {
    const { core, req } = context;
    if (core.draining) throw new HeimdallError('shutting_down');
    const network = networkOf(context.ip);
    const near = [...this.#readers].filter(({ ip }) => networkOf(ip) === network).length;
    if (this.#readers.size >= maxReaders || near >= maxReadersOfAddress) throw new HeimdallError('too_many_readers', { retryAfter: comeBackAfter / 1000 });
    const audience = this.#audiences.get(view.asked) ?? new Audience(view, core.clock);
    const reader = new Reader(context, () => this.#leave(reader, audience));
    context.exchange = reader;
    context.eventStream = true;
    // Middleware of a host that has replaced `write`, such as compression(), would collect the stream.
    if (Object.hasOwn(context.res, 'write')) context.extraHead = ['Cache-Control', 'no-store, no-transform'];
    context.begin(200, ['Content-Type', 'text/event-stream', 'X-Accel-Buffering', 'no']);
    this.#readers.add(reader);
    this.#audiences.set(view.asked, audience);
    audience.readers.add(reader);
    this.#watch(true);
    if (view.rows !== null && this.#rates === null) (this.#rates = new Repeated(core, 'rates', rateEvery, () => this.#tellRates(core, waiting()))).start();
    reader.write(Buffer.from(`retry: ${comeBackAfter}\n: connected\n\n${this.#since(req.headers['last-event-id'])}`));
  }

  get readers(): number {
    return this.#readers.size;
  }

  #leave(reader: Reader, audience: Audience): void {
    if (!this.#readers.delete(reader)) return;
    audience.leave(reader);
    if (audience.readers.size === 0) this.#audiences.delete(audience.view.asked);
    if (this.#readers.size === 0) this.#watch(false);
    if ([...this.#audiences.values()].some(({ view }) => view.rows !== null)) return;
    this.#rates?.stop();
    this.#rates = null;
  }

  #tellRates(core: Core, waiting: number): void {
    const time = new Date(core.clock.now()).toISOString();
    for (const audience of this.#audiences.values()) {
      if (audience.view.rows !== null) audience.tell(`event: rate\ndata: ${JSON.stringify({ time, ...audience.view.turn(), in_hand: inHandOf(core), waiting })}\n\n`);
    }
  }

  #event(now: number, level: Level, fields: object, event: string): void {
    const id = `${this.#run}-${++this.#last}`;
    const text = `id: ${id}\nevent: log\ndata: ${dataOf(now, level, fields, event)}\n\n`;
    this.#ring.push(text);
    if (this.#ring.length > remembered) this.#ring.shift();
    this.#broadcast(text);
  }

  #broadcast(text: string): void {
    if (this.#readers.size === 0) return;
    const bytes = Buffer.from(text);
    for (const reader of this.#readers) reader.write(bytes);
  }

  /** Events after the last one seen; without `Last-Event-ID` only the current id, to reconnect with. */
  #since(last: string | string[] | undefined): string {
    if (last === undefined) return `id: ${this.#run}-${this.#last}\n\n`;
    const [run, number] = String(last).split('-');
    const seen = run === this.#run && /^\d+$/.test(number ?? '') ? Number(number) : 0;
    return this.#ring.slice(Math.max(0, this.#ring.length - Math.max(0, this.#last - seen))).join('');
  }
}

/** Readers who ask for the same: a request is judged, and what they are told is made, once for all of them. */
class Audience {
  readonly view: LiveView;
  readonly readers = new Set<Reader>();
  readonly #clock: Clock;
  /** Rows that are told together: a write for each of them to each reader is what watching would cost most. */
  #rows = '';
  #timer: Timer | null = null;

  constructor(view: LiveView, clock: Clock) {
    this.view = view;
    this.#clock = clock;
  }

  takes(finished: Finished): boolean {
    return this.view.takes(finished, this.#clock.monotonic());
  }

  show(row: string): void {
    if (!this.view.isBusy) return this.tell(row);
    this.#rows += row;
    if (this.#timer !== null) return;
    this.#timer = this.#clock.setTimeout(() => this.tell(''), rowsEvery);
    this.#timer.unref();
  }

  /** Tells the readers what has waited, and a text. */
  tell(text: string): void {
    const bytes = Buffer.from(this.#rows + text);
    this.#rest();
    if (bytes.length > 0) for (const reader of this.readers) reader.write(bytes);
  }

  leave(reader: Reader): void {
    this.readers.delete(reader);
    if (this.readers.size === 0) this.#rest();
  }

  #rest(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#rows = '';
  }
}

/** One reader of the event stream. Its request ends it and triggers its keep-alive comments. */
class Reader implements Exchange {
  readonly #context: Context;
  readonly #left: () => void;
  #wroteAt: number;

  constructor(context: Context, left: () => void) {
    this.#context = context;
    this.#left = left;
    this.#wroteAt = context.at;
  }

  get ip(): string {
    return this.#context.ip;
  }

  write(bytes: Uint8Array): void {
    const { res, core } = this.#context;
    this.#wroteAt = core.clock.monotonic();
    this.#context.bytesOut += bytes.length;
    res.write(bytes);
    if (res.writableLength > mayLag) this.#drop();
  }

  look(now: number): void {
    const { core, res } = this.#context;
    if (core.draining) {
      this.#left();
      res.end();
    } else if (now - this.#wroteAt >= keepAlive) this.write(Buffer.from(': keep-alive\n\n'));
  }

  abort(): void {
    this.#left();
  }

  /** Disconnects a reader that is too slow, since its unsent events would grow without bound. */
  #drop(): void {
    this.#left();
    this.#context.res.destroy();
    this.#context.core.log.warn({ requestId: this.#context.id, ip: this.#context.ip }, 'admin.reader_dropped');
  }
}

function dataOf(now: number, level: Level, fields: object, event: string): string {
  const time = new Date(now).toISOString();
  const named = Object.entries(fields).map(([name, value]): [string, unknown] => [toSnake(name), value]);
  const text = printableJson({ time, level, event, ...Object.fromEntries(named) });
  return text.length <= longestEvent ? text : JSON.stringify({ time, level, event, truncated: true });
}

/** The requests in hand, those of all workers among them. */
export const inHandOf = ({ inFlight, crew }: Core): number => inFlight.size + (crew?.inHand ?? 0);

/** What of a request can go to another thread. */
function plainOf({ id, time, ip, key, token, route: { template }, req: { method }, model, stream, target, status, outcome, errorCode, duration, usage, cost }: Context): Finished {
  return {
    id, time, ip, key, model, stream, target, status, outcome, errorCode, duration, cost,
    token: token && { id: token.id, mask: token.mask },
    route: { template },
    req: { method },
    usage: usage && { prompt: usage.prompt, completion: usage.completion },
  };
}

function summaryOf(finished: Finished): object {
  const { id, time, ip, key, token, route, req, model, stream, target, status, outcome, errorCode, duration, usage, cost } = finished;
  return {
    id,
    time: new Date(time).toISOString(),
    ip,
    key,
    token: token?.id ?? null,
    token_mask: token?.mask ?? null,
    route: route.template,
    method: req.method?.slice(0, maxName) ?? null,
    model: model?.slice(0, maxName) ?? null,
    stream,
    target,
    status,
    outcome,
    error: errorCode,
    duration: Math.round(duration * 10) / 10,
    prompt_tokens: usage?.prompt ?? null,
    completion_tokens: usage?.completion ?? null,
    cost,
  };
}

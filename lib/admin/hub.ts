import type { Config } from '../../types/config.d.ts';
import { toSnake } from '../config/config.ts';
import type { Context, Core, Exchange, Finisher } from '../request/request.ts';
import { networkOf } from '../identity/identity.ts';
import { HeimdallError } from '../errors.ts';
import { printableJson } from '../redaction/redaction.ts';
import { type Crew, type Link, Repeated } from '../platform/platform.ts';
import type { Level, Listener } from '../telemetry/telemetry.ts';
import { type Asked, type Beat, beatLength, keyOf, LiveView } from './live-view.ts';

/** Most events kept for readers that reconnect. */
const remembered = 500;
/** Longest event in characters; a longer one is kept without its fields. */
const longestEvent = 4096;
const maxReaders = 64;
/** Readers from one address (IPv6: its /56): a quarter, so that no program that reconnects too often closes the stream to all others. */
const maxReadersOfAddress = 16;
/** Events that are told at once in a beat; those behind them are told together at its end, since a write to each reader for each of a storm of them would hold the requests. */
const eventsAtOnce = 4;
/** Most unsent bytes of a reader before it is disconnected; more than all kept events. */
const mayLag = 4_194_304;
/** A comment is sent after this time without events, milliseconds, so that proxies keep the connection open. */
const keepAlive = 15_000;
/** Reconnection time that clients are told, milliseconds. */
const comeBackAfter = 3000;
const maxName = 256;
/** What threads say: what readers ask for, and what of it a worker has. */
const topics = { watched: 'live.watched', seen: 'live.seen' } as const;

/** Requests of a worker for the readers that ask for the same, and the rows of some. */
type Seen = readonly [key: string, seen: Pick<Beat, 'requests' | 'rows'>];

/** Readers that ask for the same: a request is judged, and what they are told is made, once for all of them. */
interface Audience {
  readonly view: LiveView;
  readonly readers: Set<Reader>;
}

const audienceOf = (asked: Asked): Audience => ({ view: new LiveView(asked), readers: new Set() });

/** Distributes the event log and finished requests to the readers of the event stream, and keeps the latest events. */
export class Hub {
  readonly #readers = new Set<Reader>();
  /** By what they ask for; in a worker those of the main thread, without readers. */
  readonly #audiences = new Map<string, Audience>();
  readonly #ring: string[] = [];
  /** Prefix of event ids, which differs between processes. */
  readonly #run: string;
  /** Numbers of the last event, and of the last that readers were told. */
  #last = 0;
  #told = 0;
  #atOnce = eventsAtOnce;
  /** While there are readers. */
  #beats: Repeated | null = null;
  /** The gate, with the configuration in force. */
  #core: Core | null = null;
  #waiting = (): number => 0;

  readonly #crew: Crew | null;
  /** Of a worker: the thread that has the readers. */
  readonly #main: Link | null;
  readonly #finisher: Finisher = (finished) => this.#show(finished);

  /** @param crew the threads of a gate with several workers: its readers are in the main thread, its requests in all. */
  constructor(now: number, crew: Crew | null = null) {
    this.#run = now.toString(36);
    this.#crew = crew;
    this.#main = crew?.main ?? null;
    crew?.subscribe(topics.watched, { hear: (asked) => this.#follow(asked as readonly Asked[]), known: () => [this.#asked] });
    crew?.answer(topics.seen, (seen) => this.#add(...(seen as Seen)));
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
  enter(core: Core): void {
    this.#core = core;
    if (this.#audiences.size > 0) core.finishers.push(this.#finisher);
  }

  get #asked(): readonly Asked[] {
    return Array.from(this.#audiences.values(), ({ view }) => view.asked);
  }

  /** Readers in the main thread ask for something else than before. */
  #follow(asked: readonly Asked[]): void {
    const wanted = new Map(asked.map((each) => [keyOf(each), each]));
    for (const key of this.#audiences.keys()) if (!wanted.has(key)) this.#audiences.delete(key);
    for (const [key, each] of wanted) if (!this.#audiences.has(key)) this.#audiences.set(key, audienceOf(each));
    this.#watch();
  }

  /** What readers ask for has changed. The finisher is in the list of the configuration in force, and the beats go on, only while there are readers. */
  #watch(): void {
    const core = this.#core as Core;
    const isWatched = this.#audiences.size > 0;
    if (isWatched && this.#beats === null) {
      core.finishers.push(this.#finisher);
      (this.#beats = new Repeated(core, 'live view', beatLength, () => this.#beat(core))).start();
    } else if (!isWatched && this.#beats !== null) {
      this.#beats.stop();
      this.#beats = null;
      core.finishers.splice(core.finishers.indexOf(this.#finisher), 1);
    }
    if (this.#main === null) this.#crew?.publish(topics.watched, this.#asked);
  }

  /** A request has ended here. Its row is made where it is shown, once for all; any other request is counted and no more. */
  #show(finished: Context): void {
    let row: string | null = null;
    for (const [key, { view, readers }] of this.#audiences) {
      if (!view.takes(finished)) continue;
      row ??= `event: request\ndata: ${printableJson(summaryOf(finished))}\n\n`;
      if (view.asked.rows !== null) view.keep(row);
      else if (this.#main !== null) this.#main.tell(topics.seen, [key, { requests: 1, rows: [row] }] satisfies Seen);
      else write(readers, row);
    }
  }

  /** Takes what a worker has seen. Readers may have left since. */
  #add(key: string, seen: Seen[1]): void {
    const audience = this.#audiences.get(key);
    if (audience === undefined) return;
    if (audience.view.asked.rows === null) write(audience.readers, seen.rows.join(''));
    else audience.view.count(seen);
  }

  /**
   * Answers with the event stream. With `Last-Event-ID` it begins after that event, or with the oldest kept event.
   * @param asked the requests that are shown; where it bounds their rows, the real rate is told every second.
   * @param waiting the requests that wait for a slot.
   * @throws HeimdallError when the number of readers, or of those from one address, is at its limit.
   */
  read(context: Context, asked: Asked, waiting: () => number): void {
    const { core, req } = context;
    if (core.draining) throw new HeimdallError('shutting_down');
    const network = networkOf(context.ip);
    const near = [...this.#readers].filter(({ ip }) => networkOf(ip) === network).length;
    if (this.#readers.size >= maxReaders || near >= maxReadersOfAddress) throw new HeimdallError('too_many_readers', { retryAfter: comeBackAfter / 1000 });
    const key = keyOf(asked);
    const audience = this.#audiences.get(key) ?? audienceOf(asked);
    const reader = new Reader(context, () => this.#leave(reader, key, audience));
    context.exchange = reader;
    context.eventStream = true;
    // Middleware of a host that has replaced `write`, such as compression(), would collect the stream.
    if (Object.hasOwn(context.res, 'write')) context.extraHead = ['Cache-Control', 'no-store, no-transform'];
    context.begin(200, ['Content-Type', 'text/event-stream', 'X-Accel-Buffering', 'no']);
    write(this.#readers, this.#untold());
    this.#readers.add(reader);
    audience.readers.add(reader);
    this.#waiting = waiting;
    if (!this.#audiences.has(key)) {
      this.#audiences.set(key, audience);
      this.#watch();
    }
    reader.write(Buffer.from(`retry: ${comeBackAfter}\n: connected\n\n${this.#since(req.headers['last-event-id'])}`));
  }

  get readers(): number {
    return this.#readers.size;
  }

  #leave(reader: Reader, key: string, audience: Audience): void {
    if (!this.#readers.delete(reader)) return;
    audience.readers.delete(reader);
    if (audience.readers.size > 0) return;
    this.#audiences.delete(key);
    this.#watch();
  }

  /** A beat is over: each reader is told in one write what is new in it. A worker tells the main thread, which has the readers. */
  #beat(core: Core): void {
    const events = this.#untold();
    this.#atOnce = eventsAtOnce;
    for (const [key, { view, readers }] of this.#audiences) {
      const { requests, rows, second } = view.beat();
      if (this.#main === null) write(readers, events + rows.join('') + (second === null ? '' : `event: rate\ndata: ${this.#rate(core, second)}\n\n`));
      else if (requests > 0) this.#main.tell(topics.seen, [key, { requests, rows }] satisfies Seen);
    }
  }

  #rate(core: Core, second: object): string {
    return JSON.stringify({ time: new Date(core.clock.now()).toISOString(), ...second, in_hand: inHandOf(core), waiting: this.#waiting() });
  }

  #event(now: number, level: Level, fields: object, event: string): void {
    const id = `${this.#run}-${++this.#last}`;
    this.#ring.push(`id: ${id}\nevent: log\ndata: ${dataOf(now, level, fields, event)}\n\n`);
    if (this.#ring.length > remembered) this.#ring.shift();
    if (this.#readers.size > 0 && this.#atOnce-- > 0) write(this.#readers, this.#untold());
  }

  /** The events, as far as they are kept, that readers have not been told. */
  #untold(): string {
    const text = this.#after(this.#told);
    this.#told = this.#last;
    return text;
  }

  #after(number: number): string {
    return this.#ring.slice(Math.max(0, this.#ring.length - Math.max(0, this.#last - number))).join('');
  }

  /** Events after the last one seen; without `Last-Event-ID` only the current id, to reconnect with. */
  #since(last: string | string[] | undefined): string {
    if (last === undefined) return `id: ${this.#run}-${this.#last}\n\n`;
    const [run, number] = String(last).split('-');
    const seen = run === this.#run && /^\d+$/.test(number ?? '') ? Number(number) : 0;
    return this.#after(seen);
  }
}

/** Writes to each of them what is made once for all. */
function write(readers: Iterable<Reader>, text: string): void {
  if (text === '') return;
  const bytes = Buffer.from(text);
  for (const reader of readers) reader.write(bytes);
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

function summaryOf(finished: Context): object {
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

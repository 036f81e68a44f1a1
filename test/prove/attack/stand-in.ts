import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createHash } from 'node:crypto';

/** One request as it reached the upstream, read as strictly as RFC 9112 allows. */
export interface Arrival {
  /** Number of the connection, and of the request on it. */
  readonly connection: number;
  readonly nth: number;
  readonly method: string;
  readonly target: string;
  /** The head as it came, Latin-1. */
  readonly head: string;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  body: Buffer;
  complete: boolean;
  /** What is wrong with its framing. */
  readonly problems: readonly string[];
}

/** Bytes that answer a request, and whether the connection ends behind them. */
export interface Reaction {
  readonly bytes: string | Buffer;
  readonly close?: boolean;
}

/**
 * Says what is answered, asked twice: when the head is there, where null waits for the body, and when the body is complete. The
 * socket is for those that answer by themselves; `null` at the end says so.
 */
export type React = (arrival: Arrival, at: 'head' | 'end', socket: Socket) => Reaction | null;

/** An upstream in place of NewAPI that keeps every byte it was sent. */
export class StandIn {
  readonly arrivals: Arrival[] = [];
  /** Bytes that are no request, by connection. */
  readonly rubbish: string[] = [];
  react: React;
  readonly #server: Server;
  /** Numbers of the connections that are open. */
  readonly open = new Set<number>();
  readonly #sockets = new Set<Socket>();
  #connections = 0;
  #kept: Buffer[] | null = null;

  constructor(react: React) {
    this.react = react;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Keeps what comes from now on, for {@link all}. */
  keep(): void {
    this.#kept = [];
  }

  /** Every byte since {@link keep}, Latin-1. */
  all(): string {
    return Buffer.concat(this.#kept ?? []).toString('latin1');
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    const connection = this.#connections++;
    const reader = new Reader(connection);
    this.#sockets.add(socket);
    this.open.add(connection);
    socket.setNoDelay(true);
    socket.on('error', () => undefined).on('close', () => {
      this.#sockets.delete(socket);
      this.open.delete(connection);
    });
    socket.on('data', (chunk) => {
      this.#kept?.push(chunk);
      reader.push(chunk);
      for (const event of reader.events()) {
        if (event.kind === 'rubbish') {
          this.rubbish.push(event.text);
          return void socket.destroy();
        }
        if (event.kind === 'head') this.arrivals.push(event.arrival);
        const reaction = this.react(event.arrival, event.kind, socket);
        if (reaction === null) continue;
        if (reaction.bytes.toString().startsWith('HTTP/1.1 101')) reader.tunnel();
        socket.write(typeof reaction.bytes === 'string' ? Buffer.from(reaction.bytes, 'latin1') : reaction.bytes);
        if (reaction.close === true) socket.end();
      }
    });
  }
}

type ReaderEvent = { readonly kind: 'head' | 'end'; readonly arrival: Arrival } | { readonly kind: 'rubbish'; readonly text: string };

/** Takes requests from one connection's bytes. */
class Reader {
  readonly #connection: number;
  #tunnel = false;
  #nth = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #open: { readonly arrival: Arrival; readonly left: number | 'chunked' } | null = null;

  constructor(connection: number) {
    this.#connection = connection;
  }

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  /** What follows is no HTTP. */
  tunnel(): void {
    this.#tunnel = true;
  }

  *events(): Generator<ReaderEvent> {
    while (!this.#tunnel) {
      if (this.#open === null) {
        const end = this.#bytes.indexOf('\r\n\r\n');
        if (end === -1) return;
        const head = this.#bytes.toString('latin1', 0, end);
        this.#bytes = this.#bytes.subarray(end + 4);
        const read = readHead(head, this.#connection, this.#nth++);
        if (read === null) return void (yield { kind: 'rubbish', text: head.slice(0, 500) });
        this.#open = { arrival: read, left: framing(read) };
        yield { kind: 'head', arrival: read };
      }
      if (!this.#body(this.#open)) return;
      const { arrival } = this.#open;
      this.#open = null;
      arrival.complete = true;
      yield { kind: 'end', arrival };
    }
  }

  #body({ arrival, left }: { readonly arrival: Arrival; readonly left: number | 'chunked' }): boolean {
    if (left === 'chunked') return this.#chunks(arrival);
    const taken = this.#bytes.subarray(0, left - arrival.body.length);
    arrival.body = Buffer.concat([arrival.body, taken]);
    this.#bytes = this.#bytes.subarray(taken.length);
    return arrival.body.length === left;
  }

  #chunks(arrival: Arrival): boolean {
    for (;;) {
      const line = this.#bytes.indexOf('\r\n');
      if (line === -1) return false;
      const text = this.#bytes.toString('latin1', 0, line);
      if (!/^[\da-f]{1,8}$/i.test(text)) {
        (arrival.problems as string[]).push(`chunk size ${JSON.stringify(text.slice(0, 40))}`);
        return false;
      }
      const size = Number.parseInt(text, 16);
      const end = line + 2 + size + 2;
      if (this.#bytes.length < end) return false;
      if (size === 0 && this.#bytes.toString('latin1', line + 2, end) !== '\r\n') (arrival.problems as string[]).push('trailers');
      if (this.#bytes.toString('latin1', end - 2, end) !== '\r\n') (arrival.problems as string[]).push('a chunk without its end');
      arrival.body = Buffer.concat([arrival.body, this.#bytes.subarray(line + 2, line + 2 + size)]);
      this.#bytes = this.#bytes.subarray(end);
      if (size === 0) return true;
    }
  }
}

const token = /^[!#$%&'*+.^`|~\w-]+$/;

/** @returns null when it is no request at all. */
function readHead(head: string, connection: number, nth: number): Arrival | null {
  const [line = '', ...rest] = head.split('\r\n');
  const request = /^([!#$%&'*+.^`|~\w-]+) (\S+) HTTP\/1\.[01]$/.exec(line);
  if (request === null) return null;
  const problems: string[] = [];
  const headers = new Map<string, string[]>();
  if (['\r', '\n', '\0'].some((byte) => rest.join('').includes(byte))) problems.push('bare CR, LF or NUL in the head');
  for (const each of rest) {
    const colon = each.indexOf(':');
    const name = each.slice(0, Math.max(colon, 0));
    if (!token.test(name)) problems.push(`header line ${JSON.stringify(each.slice(0, 60))}`);
    const key = name.toLowerCase();
    headers.set(key, [...(headers.get(key) ?? []), each.slice(colon + 1).trim()]);
  }
  problems.push(...framingProblems(headers));
  return { connection, nth, method: request[1] as string, target: request[2] as string, head, headers, body: Buffer.alloc(0), complete: false, problems };
}

function framingProblems(headers: ReadonlyMap<string, readonly string[]>): string[] {
  const problems: string[] = [];
  const lengths = headers.get('content-length') ?? [];
  const codings = headers.get('transfer-encoding') ?? [];
  if (lengths.length > 1 || lengths.some((length) => !/^\d{1,15}$/.test(length))) problems.push(`Content-Length ${lengths.join(' | ')}`);
  if (codings.length > 1 || codings.some((coding) => coding.toLowerCase() !== 'chunked')) problems.push(`Transfer-Encoding ${codings.join(' | ')}`);
  if (lengths.length > 0 && codings.length > 0) problems.push('Content-Length beside Transfer-Encoding');
  if ((headers.get('host')?.length ?? 0) !== 1) problems.push(`${headers.get('host')?.length ?? 0} Host headers`);
  if ((headers.get('authorization')?.length ?? 0) > 1) problems.push('two Authorization headers');
  return problems;
}

function framing({ headers }: Arrival): number | 'chunked' {
  if (headers.has('transfer-encoding')) return 'chunked';
  return Number(headers.get('content-length')?.[0] ?? 0) || 0;
}

export const first = ({ headers }: Pick<Arrival, 'headers'>, name: string): string | null => headers.get(name)?.[0] ?? null;

/** Path and query of a target, the path decoded as Go's `url.Parse` decodes it. */
export function readTarget(target: string): { readonly path: string; readonly query: URLSearchParams } {
  const mark = target.indexOf('?');
  const raw = mark === -1 ? target : target.slice(0, mark);
  let path = raw;
  try {
    path = decodeURIComponent(raw);
  } catch {
    // Go would refuse it.
  }
  return { path, query: new URLSearchParams(mark === -1 ? '' : target.slice(mark)) };
}

/** The key by which NewAPI would take this request's caller, in its own order of carriers; '' for none. */
export function newapiKey(arrival: Pick<Arrival, 'headers' | 'target'>): string {
  const { path, query } = readTarget(arrival.target);
  const get = (name: string): string => first(arrival, name) ?? '';
  let value = get('authorization');
  const protocols = get('sec-websocket-protocol');
  if (protocols !== '') {
    const part = protocols.split(',').map((each) => each.trim()).find((each) => each.startsWith('openai-insecure-api-key'));
    value = `Bearer ${part === undefined ? protocols : part.replace(/^openai-insecure-api-key\./, '')}`;
  }
  if ((path.includes('/v1/messages') || path.includes('/v1/models')) && get('x-api-key') !== '') value = `Bearer ${get('x-api-key')}`;
  if (path.startsWith('/v1beta/models') || path.startsWith('/v1beta/openai/models') || path.startsWith('/v1/models/')) {
    if ((query.get('key') ?? '') !== '') value = `Bearer ${query.get('key')}`;
    if (get('x-goog-api-key') !== '') value = `Bearer ${get('x-goog-api-key')}`;
  }
  value = withoutBearer(value);
  if (value === '' || value === 'midjourney-proxy') value = withoutBearer(get('mj-api-secret'));
  return value.replace(/^sk-/, '').split('-')[0] ?? '';
}

const withoutBearer = (value: string): string => (/^[Bb]earer /.test(value) ? value.slice(7).trim() : value);

export const digest = (bytes: string | Buffer): string => createHash('sha1').update(bytes).digest('hex');

/** An answer of JSON, with what NewAPI signs its answers by. */
export function json(status: string, value: object, extra = ''): string {
  const text = JSON.stringify(value);
  return `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nX-Oneapi-Request-Id: r\r\n${extra}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

/** Tells who asked, where and with what body; by digests, since the gate masks a credential of its own that an answer quotes. */
export function tell(arrival: Arrival): Reaction {
  const seen = { id: 'c', object: 'chat.completion', choices: [], target: arrival.target, caller: digest(newapiKey(arrival)), digest: digest(arrival.body) };
  return { bytes: arrival.method === 'HEAD' ? 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' : json('200 OK', seen) };
}

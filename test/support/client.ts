import { request as open, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';

/** Headers as a record (an array value is sent as several lines) or as a flat `[name, value, name, value]` list. */
export type SentHeaders = Readonly<Record<string, string | readonly string[]>> | readonly string[];

/** What `request`, `openStream` and `sse` accept. */
export interface RequestOptions {
  /** Default: POST with a body, else GET. */
  readonly method?: string;
  readonly headers?: SentHeaders;
  /** Bytes or text as they are; anything else is sent as JSON with `Content-Type: application/json`. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** Request target sent as it stands, for what `URL` would normalise (`..`, `//`, `:`); default: path and query of the URL. */
  readonly target?: string;
}

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
  /** The body parsed as JSON; throws with the text when it is none. */
  json<T = unknown>(): T;
}

/** One event of a stream; `comment` is set instead of `data` for a comment frame. */
export interface StreamEvent {
  readonly event: string | undefined;
  readonly data: string | undefined;
  readonly comment: string | undefined;
}

/** A stream being read. */
export interface LiveStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  /** Grow while the stream runs. */
  readonly chunks: readonly Buffer[];
  readonly events: readonly StreamEvent[];
  /** `performance.now()` of each chunk. */
  readonly times: readonly number[];
  readonly text: string;
  /** True once the answer ended properly (terminating chunk or full length). */
  readonly complete: boolean;
  /** Set when it was cut. */
  readonly error: Error | undefined;
  /** Resolves, never rejects, when the stream is over either way. */
  readonly done: Promise<void>;
  /** Leaves, as a client that goes away. */
  abort(): void;
}

/** Anything with an end. */
export interface Closable {
  close(): unknown;
}

/** The part of node:test's context used here. */
export interface TestLike {
  after(fn: () => unknown): void;
}

/** Sends one request on its own connection and reads the whole answer; rejects when it is cut. */
export async function request(url: string | URL, options: RequestOptions = {}): Promise<Answer> {
  const message = await send(url, options);
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  return {
    status: message.statusCode ?? 0,
    statusText: message.statusMessage ?? '',
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    body,
    get text() {
      return body.toString();
    },
    json: <T>() => parse(body.toString()) as T,
  };
}

/** Resolves at the answer's head and goes on reading in the background. */
export async function openStream(url: string | URL, options: RequestOptions = {}): Promise<LiveStream> {
  const message = await send(url, options);
  const chunks: Buffer[] = [];
  const times: number[] = [];
  let error: Error | undefined;
  message.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    times.push(performance.now());
  });
  message.on('error', (reason) => {
    error = reason;
  });
  const done = new Promise<void>((resolve) => message.on('close', resolve));
  const text = (): string => Buffer.concat(chunks).toString();
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    chunks,
    times,
    done,
    get events() {
      return parseEvents(text());
    },
    get text() {
      return text();
    },
    get complete() {
      return message.complete && !error;
    },
    get error() {
      return error;
    },
    abort: () => void message.destroy(),
  };
}

/** Reads an event stream to its end, however it ends. */
export async function sse(url: string | URL, options: RequestOptions = {}): Promise<LiveStream> {
  const stream = await openStream(url, options);
  await stream.done;
  return stream;
}

/** Splits the text of an event stream into its events; what follows the last blank line is left out. */
export function parseEvents(text: string): StreamEvent[] {
  const frames = text.split(/\r?\n\r?\n/).slice(0, -1);
  return frames.map((frame) => {
    let event: string | undefined;
    let comment: string | undefined;
    const data: string[] = [];
    for (const line of frame.split(/\r?\n/)) {
      if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
      else if (line.startsWith('event:')) event = line.slice(6).trim();
      else if (line.startsWith(':')) comment = line.slice(1).trim();
    }
    return { event, data: data.length > 0 ? data.join('\n') : undefined, comment };
  });
}

/**
 * Writes bytes to a port of 127.0.0.1 and returns what comes back, until the peer closes, `end` is seen
 * or `ms` (default 15 s) have passed with nothing else happening.
 */
export function rawRequest(port: number, bytes: string | Uint8Array, end?: string, ms = 15_000): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(received);
    };
    const timer = setTimeout(finish, ms);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      timer.refresh();
      if (end !== undefined && received.includes(end)) finish();
    });
    socket.on('close', finish);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A reset after an answer is an ordinary way to refuse bytes; one before the connection is not.
      if (error.code === 'ECONNREFUSED') {
        clearTimeout(timer);
        reject(error);
      }
    });
  });
}

/** How long a test waits for what must come, milliseconds: more than the most loaded machine takes, since only a fault lets it pass. */
const patience = 120_000;

/** Waits until `check` gives something truthy and returns it. For conditions, not for time: there is no shorter wait than `patience`. @param what is waited for, in words. */
export async function until<T>(check: () => T | Promise<T>, what?: string, ms = patience): Promise<NonNullable<T>> {
  const value = await within(ms, check);
  if (value) return value;
  throw new Error(`Expected within ${ms} ms: ${what ?? check.toString()}`);
}

/** What `check` gives once it is truthy, or gave last when `ms` are over: where the time is what is measured, or what comes later does no harm. */
export async function within<T>(ms: number, check: () => T | Promise<T>): Promise<T> {
  const begun = performance.now();
  for (let round = 0; ; round++) {
    const value = await check();
    const waited = performance.now() - begun;
    if (value || waited > ms) return value;
    await new Promise<void>((resolve) => {
      if (round < 50 && waited < 10) setImmediate(resolve);
      // A tenth too late at most; asking every 2 ms takes the processor from what is waited for.
      else setTimeout(resolve, Math.min(Math.max(waited / 10, 2), 25));
    });
  }
}

/** Registers `thing.close()` with the test and returns the thing: `const api = closing(t, await startNewapi())`. */
export function closing<T extends Closable>(t: TestLike, thing: T): T {
  t.after(() => thing.close());
  return thing;
}

/** Closes in reverse order, all of them even when one throws; the first error comes out at the end. */
export async function closeAll(...things: readonly (Closable | undefined)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const thing of things.toReversed()) {
    try {
      await thing?.close();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

function send(url: string | URL, options: RequestOptions): Promise<IncomingMessage> {
  const body = toBytes(options.body);
  const flat = flatten(options.headers);
  const has = (name: string): boolean => flat.some((entry, i) => i % 2 === 0 && entry.toLowerCase() === name);
  const { host, hostname, port, pathname, search } = new URL(url);
  // Node adds neither Host nor a length to a flat list.
  if (!has('host')) flat.push('Host', host);
  if (body && !has('content-length') && !has('transfer-encoding')) flat.push('Content-Length', String(body.length));
  if (isJson(options.body) && !has('content-type')) flat.push('Content-Type', 'application/json');
  return new Promise((resolve, reject) => {
    const outgoing = open({
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path: options.target ?? pathname + search,
      method: options.method ?? (body ? 'POST' : 'GET'),
      headers: flat,
      agent: false,
      ...(options.signal && { signal: options.signal }),
    });
    outgoing.on('response', resolve);
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function flatten(headers: SentHeaders | undefined): string[] {
  if (!headers) return [];
  if (Array.isArray(headers)) return [...(headers as readonly string[])];
  const record = headers as Readonly<Record<string, string | readonly string[]>>;
  return Object.entries(record).flatMap(([name, value]) =>
    typeof value === 'string' ? [name, value] : value.flatMap((line) => [name, line]),
  );
}

function isJson(body: unknown): boolean {
  return body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array);
}

function toBytes(body: unknown): Buffer | undefined {
  if (body === undefined) return undefined;
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`Expected JSON, got ${JSON.stringify(text.slice(0, 200))}`);
  }
}

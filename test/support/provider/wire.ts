/** The head of a request. */
export interface Head {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
}

/** What a reader tells. */
export interface Reading {
  /** The head is complete; false stops reading for good. */
  head(head: Head): boolean;
  body(body: Buffer): void;
}

/** Reads requests from a connection's bytes, one at a time. */
export interface Reader {
  push(chunk: Buffer): void;
  /** The request in hand is answered: go on with what came behind it. */
  next(): void;
}

type Stage = { at: 'head' } | { at: 'body'; length: number | 'chunked' } | { at: 'busy' } | { at: 'stopped' };

/** Enough of HTTP/1.1 for a stand-in: Content-Length and chunked bodies, keep-alive, pipelining. */
export function createReader(reading: Reading): Reader {
  let stage: Stage = { at: 'head' };
  let held: Buffer = Buffer.alloc(0);

  const readHead = (): boolean => {
    const end = held.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const head = parseHead(held.toString('latin1', 0, end));
    held = held.subarray(end + 4);
    const chunked = /chunked/i.test(head.headers['transfer-encoding'] ?? '');
    const length = chunked ? 'chunked' : Number(head.headers['content-length'] ?? 0);
    stage = reading.head(head) ? { at: 'body', length } : { at: 'stopped' };
    return true;
  };

  const readBody = (length: number | 'chunked'): boolean => {
    const found = length === 'chunked' ? dechunk(held) : plain(held, length);
    if (!found) return false;
    held = held.subarray(found.used);
    stage = { at: 'busy' };
    reading.body(found.body);
    return true;
  };

  const run = (): void => {
    for (let more = true; more; ) {
      if (stage.at === 'head') more = readHead();
      else if (stage.at === 'body') more = readBody(stage.length);
      else more = false;
    }
  };

  return {
    push(chunk) {
      if (stage.at === 'stopped') return;
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      run();
    },
    next() {
      if (stage.at !== 'busy') return;
      stage = { at: 'head' };
      run();
    },
  };
}

/** One chunk of a chunked body. */
export function chunk(data: string | Buffer): Buffer {
  const bytes = Buffer.from(data);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

/** The end of a chunked body. */
export const LAST_CHUNK: Buffer = Buffer.from('0\r\n\r\n');

function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n');
  const [method = '', path = ''] = first.split(' ');
  const headers: Record<string, string> = {};
  const rawHeaders: string[] = [];
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    rawHeaders.push(name, value);
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? value : `${headers[key]}, ${value}`;
  }
  return { method, path, headers, rawHeaders };
}

function plain(held: Buffer, length: number): { body: Buffer; used: number } | undefined {
  return held.length < length ? undefined : { body: Buffer.from(held.subarray(0, length)), used: length };
}

function dechunk(held: Buffer): { body: Buffer; used: number } | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = held.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = Number.parseInt(held.toString('latin1', at, line), 16);
    const start = line + 2;
    if (held.length < start + size + 2) return undefined;
    if (size === 0) {
      // Trailers, if any, end with an empty line.
      const end = held.indexOf('\r\n\r\n', line);
      return end < 0 ? undefined : { body: Buffer.concat(parts), used: end + 4 };
    }
    parts.push(Buffer.from(held.subarray(start, start + size)));
    at = start + size + 2;
  }
}

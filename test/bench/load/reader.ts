/** Where a reader reports what it finds; `body` is called once for each piece of decoded payload. */
export interface ReaderEvents {
  head(status: number, closes: boolean): void;
  body(bytes: number): void;
  end(): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const EMPTY = Buffer.alloc(0);

type State =
  | { at: 'head' }
  | { at: 'length'; left: number }
  | { at: 'chunk-size' }
  | { at: 'chunk'; left: number }
  | { at: 'trailer' };

/** Reads the responses on one connection: just enough HTTP to know where each begins, how long it is and how it ends. */
export class ResponseReader {
  #state: State = { at: 'head' };
  #held: Buffer = EMPTY;
  readonly #events: ReaderEvents;

  constructor(events: ReaderEvents) {
    this.#events = events;
  }

  /** Takes the next bytes of the connection; throws when they are not HTTP/1.1. */
  push(bytes: Buffer): void {
    let buffer = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = EMPTY;
    while (buffer.length > 0) {
      const used = this.#take(buffer);
      if (used === 0) {
        // Short: a head, a chunk size or a line end cut by a segment.
        this.#held = buffer;
        return;
      }
      buffer = used === buffer.length ? EMPTY : buffer.subarray(used);
    }
  }

  #take(buffer: Buffer): number {
    switch (this.#state.at) {
      case 'head':
        return this.#head(buffer);
      case 'length':
        return this.#counted(buffer, this.#state.left);
      case 'chunk-size':
        return this.#chunkSize(buffer);
      case 'chunk':
        return this.#chunk(buffer, this.#state.left);
      case 'trailer':
        return this.#trailer(buffer);
    }
  }

  #head(buffer: Buffer): number {
    const end = buffer.indexOf(HEAD_END);
    if (end === -1) return 0;
    const head = buffer.toString('latin1', 0, end);
    if (!head.startsWith('HTTP/1.1 ')) throw new Error(`not HTTP/1.1: ${head.slice(0, 40)}`);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined && !/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error('an answer without length');
    this.#events.head(Number(head.slice(9, 12)), /\r\nconnection: *close/i.test(head));
    if (length === undefined) this.#state = { at: 'chunk-size' };
    else if (Number(length) > 0) this.#state = { at: 'length', left: Number(length) };
    else this.#finish();
    return end + 4;
  }

  #counted(buffer: Buffer, left: number): number {
    const used = Math.min(left, buffer.length);
    this.#events.body(used);
    if (used === left) this.#finish();
    else this.#state = { at: 'length', left: left - used };
    return used;
  }

  #chunkSize(buffer: Buffer): number {
    const end = buffer.indexOf('\r\n');
    if (end === -1) return 0;
    const size = Number.parseInt(buffer.toString('latin1', 0, end), 16);
    if (!Number.isFinite(size)) throw new Error('a chunk without size');
    this.#state = size === 0 ? { at: 'trailer' } : { at: 'chunk', left: size };
    return end + 2;
  }

  #chunk(buffer: Buffer, left: number): number {
    if (left > 0) {
      const used = Math.min(left, buffer.length);
      this.#events.body(used);
      this.#state = { at: 'chunk', left: left - used };
      return used;
    }
    if (buffer.length < 2) return 0;
    this.#state = { at: 'chunk-size' };
    return 2;
  }

  #trailer(buffer: Buffer): number {
    const end = buffer.indexOf('\r\n');
    if (end === -1) return 0;
    if (end === 0) this.#finish();
    return end + 2;
  }

  #finish(): void {
    this.#state = { at: 'head' };
    this.#events.end();
  }
}

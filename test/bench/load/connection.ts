import net from 'node:net';
import { ResponseReader } from './reader.ts';

/** What one exchange came to; times are `performance.now()` milliseconds. */
export interface Exchange {
  readonly status: number;
  readonly bytes: number;
  readonly firstByte: number;
  readonly ended: number;
  readonly error?: string;
}

/** Hears of an exchange as it goes. */
export interface Watcher {
  done(exchange: Exchange): void;
  /** Each piece of payload, as it arrives. */
  data?(bytes: number): void;
}

/** One keep-alive connection that carries one request after the other and opens itself again when it was closed. */
export class Connection {
  readonly #port: number;
  #socket: net.Socket | undefined;
  #watcher: Watcher | undefined;
  #status = 0;
  #bytes = 0;
  #firstByte = 0;
  #closes = false;

  constructor(port: number) {
    this.#port = port;
  }

  get busy(): boolean {
    return this.#watcher !== undefined;
  }

  /** Sends one request; the watcher's `done` is called exactly once. */
  send(request: Buffer | readonly Buffer[], watcher: Watcher): void {
    this.#watcher = watcher;
    this.#status = this.#bytes = this.#firstByte = 0;
    this.#socket ??= this.#open();
    if (Buffer.isBuffer(request)) this.#socket.write(request);
    else for (const part of request) this.#socket.write(part);
  }

  close(): void {
    this.#watcher = undefined;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): net.Socket {
    const socket = net.connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    const reader = new ResponseReader({
      head: (status, closes) => {
        this.#status = status;
        this.#closes = closes;
      },
      body: (bytes) => {
        if (this.#firstByte === 0) this.#firstByte = performance.now();
        this.#bytes += bytes;
        this.#watcher?.data?.(bytes);
      },
      end: () => {
        if (this.#closes) this.#drop(socket);
        this.#finish();
      },
    });
    socket.on('data', (bytes) => {
      try {
        reader.push(bytes);
      } catch (error) {
        this.#drop(socket);
        this.#finish((error as Error).message);
      }
    });
    socket.on('error', (error) => this.#lost(socket, error.message));
    socket.on('close', () => this.#lost(socket, 'connection closed'));
    return socket;
  }

  #drop(socket: net.Socket): void {
    if (this.#socket === socket) this.#socket = undefined;
    socket.destroy();
  }

  #lost(socket: net.Socket, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#finish(reason);
  }

  #finish(error?: string): void {
    const watcher = this.#watcher;
    if (watcher === undefined) return;
    this.#watcher = undefined;
    const exchange = { status: this.#status, bytes: this.#bytes, firstByte: this.#firstByte, ended: performance.now() };
    watcher.done(error === undefined ? exchange : { ...exchange, error });
  }
}

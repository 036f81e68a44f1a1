import type { MessagePort } from 'node:worker_threads';
import type { Logger } from '../../types/logger.d.ts';
import { guard } from './guard.ts';
import { MemorySocket } from './memory-socket.ts';

/** What the thread that serves a relayed connection is told of the client. */
export interface RelayedPeer {
  readonly remoteAddress: string | undefined;
  readonly encrypted: boolean;
}

type Said = Uint8Array | 'taken' | 'end';

/** One end of a byte stream between two threads, in place of a socket. A write is over when the other end has room again. */
export class RelaySocket extends MemorySocket {
  readonly remoteAddress: string | undefined;
  readonly encrypted: boolean;
  bytesRead = 0;
  bytesWritten = 0;
  readonly #port: MessagePort;
  #written: ((error?: Error | null) => void) | null = null;
  #owesRoom = false;
  #hasEnded = false;

  /** @param log where failures are said. */
  constructor(port: MessagePort, { remoteAddress, encrypted }: RelayedPeer, log: Logger) {
    super({ allowHalfOpen: false });
    this.#port = port;
    this.remoteAddress = remoteAddress;
    this.encrypted = encrypted;
    port.on('message', guard(log, 'relay', (said: Said) => this.#take(said)));
    port.once('close', guard(log, 'relay', () => this.#over()));
  }

  override _read(): void {
    if (this.#owesRoom) this.#port.postMessage('taken' satisfies Said);
    this.#owesRoom = false;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.bytesWritten += chunk.length;
    this.#written = done;
    this.#port.postMessage(new Uint8Array(chunk) satisfies Said);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#port.postMessage('end' satisfies Said);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#port.close();
    this.#wrote();
    done(error);
  }

  #take(said: Said): void {
    if (said === 'taken') return this.#wrote();
    if (said === 'end') {
      this.#hasEnded = true;
      return void this.push(null);
    }
    this.bytesRead += said.length;
    if (this.push(Buffer.from(said.buffer, said.byteOffset, said.length))) this.#port.postMessage('taken' satisfies Said);
    else this.#owesRoom = true;
  }

  #wrote(): void {
    const done = this.#written;
    this.#written = null;
    done?.();
  }

  /** The other end is gone: without its last word that is a broken connection. */
  #over(): void {
    if (!this.#hasEnded) this.destroy();
    else if (this.writableEnded) this.destroy();
  }
}

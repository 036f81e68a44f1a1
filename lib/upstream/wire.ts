import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

/** A larger head ends an answer, bytes. The defaults of undici and Node, 16 KB, are less than the cookies of some providers. */
export const maxAnswerHead = 131_072;

/** Offset of the status in a head: behind `HTTP/1.1 `. */
const statusAt = 9;
const digitOne = 0x31;
const endOfHead = '\r\n\r\n';
/** A longer interim head goes to the parser, bytes. */
const maxInterimHead = 16_384;

/**
 * Reads the bytes of a connection before undici's parser does and takes interim answers out (RFC 9110 §15.2: a client must be able
 * to parse them, even unasked). undici ends a connection at a `100 Continue` that it has not asked for.
 */
export class Wire {
  /** Bytes have come back since the last request went out. */
  begun = false;
  /** The next bytes begin a head. */
  #expecting = false;
  /** The beginning of a head that is not complete. */
  #held: Buffer | null = null;

  /** A request goes out: its answer follows. */
  expect(): void {
    this.begun = false;
    this.#expecting = true;
    this.#held = null;
  }

  /** The same connector; its sockets are read through this. */
  connector(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) => connect(options, (...result) => {
      const [, socket] = result;
      // undici leaves the socket out where its types say null.
      if (socket) this.#readThrough(socket);
      callback(...result);
    });
  }

  #readThrough(socket: Socket): void {
    const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
    socket.read = (size) => {
      for (;;) {
        const chunk = read(size);
        if (chunk === null || !this.#expecting) return chunk;
        const rest = this.#answer(chunk);
        if (rest !== null) return rest;
      }
    };
  }

  /** @returns what remains without interim answers, or null when more bytes are needed to tell. */
  #answer(chunk: Buffer): Buffer | null {
    this.begun = true;
    let bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = null;
    for (;;) {
      const isInterim = bytes.length <= statusAt ? 'HTTP/1.1 '.startsWith(bytes.toString('latin1')) : bytes[statusAt] === digitOne && bytes.toString('latin1', 0, 7) === 'HTTP/1.';
      const end = isInterim ? bytes.indexOf(endOfHead) : -1;
      if (!isInterim || (end === -1 && bytes.length > maxInterimHead) || bytes.toString('latin1', statusAt, statusAt + 3) === '101') {
        this.#expecting = false;
        return bytes;
      }
      if (end === -1) {
        this.#held = bytes;
        return null;
      }
      bytes = bytes.subarray(end + endOfHead.length);
    }
  }
}

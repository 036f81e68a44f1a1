import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

const firstBlock = 4096;
const largestBlock = 65_536;
/** A chunk of this size passes a stream as it is: it is a large part of the 64 KB at most that Node has read it into. */
const passedWhole = 16_384;

/**
 * Collects the chunks of a body in memory of about their size. A chunk costs an object of some 200 bytes and keeps alive what
 * Node has read it into, so that a body sent in chunks of one byte would cost three hundred times its size.
 */
export class ChunkCollector {
  size = 0;
  readonly #blocks: Buffer[] = [];
  readonly #declared: number;
  /** The only chunk so far, as it came: most bodies have no other. */
  #first: Buffer | null = null;
  #block: Buffer | null = null;
  #used = 0;

  /** @param declared size of the whole body in bytes; 0: unknown. */
  constructor(declared: number) {
    this.#declared = declared;
  }

  push(chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size === chunk.length) {
      this.#first = chunk;
      return;
    }
    if (this.#first !== null) this.#copy(this.#first, this.size);
    this.#first = null;
    this.#copy(chunk, this.size);
  }

  /** The bytes from a place on, of a body of declared size. */
  from(start: number): Buffer {
    return (this.#first ?? this.#block ?? (this.#blocks[0] as Buffer)).subarray(start, this.size);
  }

  /** All bytes in one piece. Called once, at the end. */
  take(): Buffer {
    if (this.#first !== null) return this.#first;
    if (this.#block !== null) this.#blocks.push(this.#block.subarray(0, this.#used));
    return this.#blocks.length === 1 ? (this.#blocks[0] as Buffer) : Buffer.concat(this.#blocks);
  }

  /** @param wanted bytes for which a new block should have room. */
  #copy(chunk: Buffer, wanted: number): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#block === null) {
        const size = this.#declared > 0 && this.#blocks.length === 0 ? this.#declared : Math.min(largestBlock, Math.max(firstBlock, wanted));
        this.#block = Buffer.allocUnsafeSlow(size);
        this.#used = 0;
      }
      const copied = chunk.copy(this.#block, this.#used, at);
      at += copied;
      this.#used += copied;
      if (this.#used < this.#block.length) continue;
      this.#blocks.push(this.#block);
      this.#block = null;
    }
  }
}

/**
 * The body of a request as a stream that joins small chunks. While it is full the socket is not read: to pause the request
 * instead would leave what has been parsed waiting in it, chunk by chunk.
 */
export class CompactBody extends Readable {
  readonly #req: IncomingMessage;
  #block: Buffer | null = null;
  #used = 0;
  #isScheduled = false;
  #isFull = false;

  constructor(req: IncomingMessage) {
    super({ highWaterMark: largestBlock });
    this.#req = req;
    req.on('data', this.#add).once('end', this.#end).once('close', this.#closed).resume();
    req.socket.on('resume', this.#holdBack);
  }

  override _read(): void {
    if (!this.#isFull) return;
    this.#isFull = false;
    this.#req.socket.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#req.off('data', this.#add).off('end', this.#end).off('close', this.#closed);
    this.#req.socket.off('resume', this.#holdBack);
    if (!this.#req.complete) this.#req.pause();
    this._read();
    done(error);
  }

  readonly #add = (chunk: Buffer): void => {
    if (chunk.length >= passedWhole) {
      this.#flush();
      return this.#pass(chunk);
    }
    for (let at = 0; at < chunk.length;) {
      this.#block ??= Buffer.allocUnsafeSlow(largestBlock);
      const copied = chunk.copy(this.#block, this.#used, at);
      at += copied;
      this.#used += copied;
      if (this.#used === largestBlock) this.#flush();
    }
    if (this.#used === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    // Behind all chunks of the packet that is being parsed.
    setImmediate(this.#flushLater);
  };

  readonly #flushLater = (): void => {
    this.#isScheduled = false;
    this.#flush();
  };

  readonly #end = (): void => {
    this.#flush();
    this.push(null);
    // What comes next belongs to another request.
    this.#req.socket.off('resume', this.#holdBack);
    this._read();
  };

  readonly #closed = (): void => {
    if (!this.#req.complete) this.destroy();
  };

  /** The request resumes its socket after each chunk. */
  readonly #holdBack = (): void => {
    if (this.#isFull) this.#req.socket.pause();
  };

  /** Passes on what is joined; a block that is hardly used is not kept alive by it. */
  #flush(): void {
    if (this.#block === null || this.#used === 0 || this.destroyed) return;
    const bytes = this.#block.subarray(0, this.#used);
    this.#pass(this.#used >= passedWhole ? bytes : Buffer.from(bytes));
    if (this.#used >= passedWhole) this.#block = null;
    this.#used = 0;
  }

  #pass(bytes: Buffer): void {
    if (this.push(bytes)) return;
    this.#isFull = true;
    this.#req.socket.pause();
  }
}

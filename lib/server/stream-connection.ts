import { constants, type ServerHttp2Stream } from 'node:http2';
import type { OutgoingHttpHeaders } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '../../types/logger.d.ts';
import { guard, MemorySocket } from '../platform/platform.ts';
import { AnswerReader, type AnswerSink } from './answer-reader.ts';
import { type StreamHead, trailerLines } from './stream-head.ts';

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

/** What is asked of a connection of streams by its session. */
export interface StreamOwner {
  readonly log: Logger;
  /** Its exchange is over, and it can take another. */
  readonly idle: (connection: StreamConnection) => void;
  /** The head of an answer goes out. */
  readonly answering: () => void;
}

/**
 * A connection of HTTP/1.1 in memory over which the streams of an HTTP/2 session are spoken to Node's HTTP server, one at a time: so
 * each request passes the same parser, limits and time limits as any other. Its end and that of its stream are one, in both
 * directions, and neither side is read faster than the other takes it.
 */
export class StreamConnection extends MemorySocket implements AnswerSink {
  readonly encrypted = true;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly remoteFamily: string | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  /** Its number among the connections of its session: the first stands for the session's own in the count of connections. */
  readonly place: number;
  bytesRead = 0;
  readonly #owner: StreamOwner;
  readonly #reader = new AnswerReader(this);
  #delivered = 0;
  #stream: ServerHttp2Stream | null = null;
  /** Bytes of the body that are still to come; null: in chunks. */
  #left: number | null = 0;
  #trailers = '';
  #isAsked = true;

  constructor({ remoteAddress, remotePort, remoteFamily, localAddress, localPort }: TLSSocket, place: number, owner: StreamOwner) {
    super({ allowHalfOpen: true });
    Object.assign(this, { remoteAddress, remotePort, remoteFamily, localAddress, localPort });
    this.place = place;
    this.#owner = owner;
  }

  /** As of a socket: with those that are not sent yet. */
  get bytesWritten(): number {
    return this.#delivered + this.writableLength;
  }

  /** It carries a stream. */
  get isBusy(): boolean {
    return this.#stream !== null;
  }

  /** Carries a stream to the server. @param isOver its head has ended it. */
  carry(stream: ServerHttp2Stream, { bytes, method, length }: StreamHead, isOver: boolean): void {
    this.#stream = stream;
    this.#left = length;
    this.#trailers = '';
    this.#isAsked = isOver;
    this.#reader.begin(method);
    const { log } = this.#owner;
    const gone = (): void => void this.destroy();
    stream.on('close', guard(log, 'http2', () => this.#closed(stream), gone));
    if (isOver) stream.resume();
    else {
      // The tunnel that it asks for is refused: what goes into it is nothing that could be read.
      const isTunnel = method === 'CONNECT';
      stream.on('trailers', guard(log, 'http2', (_fields: object, _flags: number, raw?: readonly string[]) => void (this.#trailers = trailerLines(raw ?? [])), gone));
      stream.on('data', guard(log, 'http2', (chunk: Buffer) => this.#take(stream, isTunnel ? chunk.subarray(chunk.length) : chunk), gone));
      stream.on('end', guard(log, 'http2', () => this.#asked(stream), gone));
    }
    this.#give(bytes);
  }

  interim(status: number, fields: OutgoingHttpHeaders): void {
    const stream = this.#stream;
    if (stream !== null && !stream.destroyed && !stream.headersSent && status !== 101) stream.additionalHeaders({ ...fields, ':status': status });
  }

  head(status: number, fields: OutgoingHttpHeaders, isWhole: boolean): void {
    const stream = this.#stream;
    if (stream === null || stream.destroyed || stream.headersSent) return;
    fields[':status'] = status;
    stream.respond(fields, { endStream: isWhole });
    this.#owner.answering();
  }

  override _read(): void {
    this.#stream?.resume();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#answer([typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk], done);
  }

  override _writev(chunks: { chunk: Buffer | string; encoding: BufferEncoding }[], done: (error?: Error | null) => void): void {
    this.#answer(chunks.map(({ chunk, encoding }) => (typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)), done);
  }

  /** The server has closed its side: an answer without a length is over. */
  override _final(done: (error?: Error | null) => void): void {
    const stream = this.#stream;
    this.#reader.close();
    done();
    if (stream === null || stream.writableEnded) return;
    if (this.#reader.isWhole) stream.end();
    this.destroy();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const stream = this.#stream;
    this.#stream = null;
    // A client that is still sending is told that it need not (RFC 9113 §8.1).
    if (stream !== null && !stream.destroyed) stream.close(this.#reader.isWhole && stream.writableEnded ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
    done(error);
  }

  /** As of a socket. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  #give(bytes: Buffer): boolean {
    this.bytesRead += bytes.length;
    return this.push(bytes);
  }

  #take(stream: ServerHttp2Stream, chunk: Buffer): void {
    if (this.#stream !== stream || chunk.length === 0) return;
    let goesOn: boolean;
    if (this.#left === null) {
      this.#give(Buffer.from(`${chunk.length.toString(16)}\r\n`, 'latin1'));
      this.#give(chunk);
      goesOn = this.#give(lineEnd);
    } else {
      this.#left -= chunk.length;
      // SECURITY: bytes beyond the length would be read as another request.
      if (this.#left < 0) return void this.destroy();
      goesOn = this.#give(chunk);
    }
    if (!goesOn) stream.pause();
  }

  #asked(stream: ServerHttp2Stream): void {
    if (this.#stream !== stream) return;
    if (this.#left === null) this.#give(Buffer.from(`0\r\n${this.#trailers}\r\n`, 'latin1'));
    // A body that ends before its length would make the server wait for the rest, which might be that of another stream.
    else if (this.#left > 0) return void this.destroy();
    this.#isAsked = true;
  }

  #answer(pieces: readonly Buffer[], done: (error?: Error | null) => void): void {
    const stream = this.#stream;
    if (stream === null || stream.destroyed) {
      this.destroy();
      return done();
    }
    const body: Buffer[] = [];
    let size = 0;
    for (const piece of pieces) {
      size += piece.length;
      body.push(...this.#reader.read(piece));
    }
    const taken = (error?: Error | null): void => {
      this.#delivered += size;
      if (error) this.destroy();
      else if (this.#reader.isWhole) setImmediate(guard(this.#owner.log, 'http2', () => this.#over(), () => this.destroy()));
      done();
    };
    const bytes = body.length === 1 ? (body[0] as Buffer) : Buffer.concat(body);
    if (this.#reader.isWhole && !stream.writableEnded) stream.end(bytes, taken);
    else if (bytes.length > 0) stream.write(bytes, taken);
    else taken();
  }

  /** The answer is out, and the server has noticed. */
  #over(): void {
    if (this.#stream === null || !this.#reader.isWhole) return;
    // SECURITY: what is left of a body would be read as another request.
    if (!this.#isAsked || this.#reader.closes || this.readableLength > 0 || this.writableLength > 0) return void this.destroy();
    this.#stream = null;
    this.#owner.idle(this);
  }

  #closed(stream: ServerHttp2Stream): void {
    if (this.#stream !== stream) return;
    if (this.#reader.isWhole && stream.rstCode === NGHTTP2_NO_ERROR) return;
    this.destroy();
  }
}

const lineEnd = Buffer.from('\r\n', 'latin1');

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Logger } from '../../types/logger.d.ts';
import { HeimdallError } from '../errors.ts';
import { Rounds } from '../platform/platform.ts';
import { Decompressor, canDecompress, type Decompressed } from './decompress.ts';
import { MemberScan, scanMembers, type Members, type WrongMember } from './json-scan.ts';
import { readForm } from './multipart.ts';

/** Members that bound a completion's tokens, by route. */
const bounds: Readonly<Record<string, readonly string[]>> = {
  '/v1/chat/completions': ['max_tokens', 'max_completion_tokens'],
  '/v1/completions': ['max_tokens', 'max_completion_tokens'],
  '/v1/messages': ['max_tokens'],
  '/v1/responses': ['max_output_tokens'],
};
const none: readonly string[] = [];

/** A body with the facts of its request that decide how it is read. */
export interface BodySource {
  readonly body: RequestBody;
  /** Has read the body; null for one that is no plain JSON. */
  readonly scan: MemberScan | null;
  /** `Content-Type`, or empty. */
  readonly type: string;
  /** `Content-Encoding`, or empty. */
  readonly encoding: string;
  /** Path template of the route. */
  readonly api: string;
  /** The route accepts forms. */
  readonly isForm: boolean;
}

/** What a body asks for. */
export interface BodyReading {
  readonly model: string | null;
  /** Byte offsets of the model's JSON string in the decoded body, quotes included. */
  readonly modelSpan: readonly [number, number] | null;
  readonly stream: boolean;
  /** Most completion tokens of all choices together; null when the body names no bound. */
  readonly maxTokens: number | null;
  /** Parsers may differ in what the body asks for. */
  readonly ambiguous: boolean;
  /** The decoded body of one that came with a coding, or null. */
  readonly decoded: Buffer | null;
  /** An error for a body that no upstream accepts, or null. */
  readonly problem: HeimdallError | null;
}

const unread: BodyReading = { model: null, modelSpan: null, stream: false, maxTokens: null, ambiguous: false, decoded: null, problem: null };

/** More codings, one upon the other, are no honest use. */
const mostCodings = 4;

/**
 * Reads the facts that the gate needs from the body of a model route, and finds bodies that no upstream accepts. The body
 * itself is not changed.
 */
export class BodyInspector {
  readonly #decompressor = new Decompressor();
  readonly #limit: number;
  readonly #acceptsUnbounded: boolean;

  /**
   * @param limit most bytes of a decompressed body (`server.buffer_body_bytes`).
   * @param acceptsUnbounded whether a token bound of -1 is accepted: some servers read it as no bound, NewAPI refuses it.
   */
  constructor(limit: number, acceptsUnbounded = false) {
    this.#limit = limit;
    this.#acceptsUnbounded = acceptsUnbounded;
  }

  /** Calls `done` at once, or later for a body that has to be decompressed. */
  inspect(source: BodySource, done: (reading: BodyReading) => void): void {
    if (source.scan !== null) {
      const members = source.scan.end();
      return done(this.#judge(members, source.body));
    }
    const codings = requestCodings(source.encoding);
    const bytes = source.body.whole();
    if (codings.length === 0) return done(this.#read(source, bytes));
    if (codings.length > mostCodings || !codings.every(canDecompress)) return done(this.#unknownCoding(source, bytes));
    // SECURITY: a thread reads the memory, which the end of the request must not free.
    const reader = { isFlushed: false };
    source.body.readBy(reader);
    this.#decompressor.decompress(bytes, codings, this.#limit, (result) => {
      reader.isFlushed = true;
      done(this.#decompressed(source, bytes, result));
    });
  }

  /** A scan for a body that is read as it arrives; null when it can be read as a whole alone. */
  scanOf(body: RequestBody, { type, encoding, api, isForm }: Omit<BodySource, 'body' | 'scan'>): MemberScan | null {
    if (encoding !== '' || (isForm && isMultipart(type))) return null;
    return new MemberScan(body, bounds[api] ?? none);
  }

  #read({ type, api, isForm }: BodySource, bytes: Buffer): BodyReading {
    if (isForm && isMultipart(type)) {
      const form = readForm(bytes, type);
      return form === null ? { ...unread, ambiguous: true, problem: unclearForm() } : { ...unread, model: form.model };
    }
    return this.#judge(scanMembers(bytes, bounds[api] ?? none), bytes);
  }

  #judge(members: Members | null, body: Buffer | RequestBody): BodyReading {
    if (members === null) return { ...unread, problem: notJson(body instanceof RequestBody ? body.size : body.length) };
    const { model, modelSpan, stream, maxTokens, choices, ambiguous, unbounded } = members;
    const wrong = members.wrong ?? (unbounded === null || this.#acceptsUnbounded ? null : { field: unbounded, expected: 'a positive whole number', got: '-1' });
    return { model, modelSpan, stream, maxTokens: maxTokens === null ? null : maxTokens * choices, ambiguous, decoded: null, problem: wrong === null ? null : wrongMember(wrong) };
  }

  /** Plain JSON under the name of an unknown coding can be read. Otherwise it is unknown what the body asks for. */
  #unknownCoding(source: BodySource, bytes: Buffer): BodyReading {
    return looksPlain(bytes) ? this.#read(source, bytes) : { ...unread, ambiguous: true };
  }

  #decompressed(source: BodySource, bytes: Buffer, result: Decompressed): BodyReading {
    switch (result.kind) {
      case 'too_large':
        return { ...unread, problem: new HeimdallError('body_too_large', { message: `body: expected at most ${this.#limit} bytes when decompressed (server.buffer_body_bytes), and a compression ratio of at most 200.` }) };
      case 'broken':
        // NewAPI reads the bytes as they are where it does not know the coding.
        return this.#read(source, bytes);
      case 'bytes': {
        const reading = this.#read(source, result.bytes);
        return { ...reading, decoded: result.bytes, ambiguous: reading.ambiguous || looksPlain(bytes) };
      }
    }
  }
}

const isMultipart = (type: string): boolean => /^multipart\//i.test(type.trim());

/** The codings of a `Content-Encoding`, in lower case and without `identity`. */
const requestCodings = (encoding: string): string[] => encoding.toLowerCase().split(',').map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity');

/** Whether the bytes are JSON without any decoding: some upstreams ignore a coding that they do not know. */
const looksPlain = (bytes: Buffer): boolean => scanMembers(bytes, none) !== null;

const wrongMember = ({ field, expected, got }: WrongMember): HeimdallError => new HeimdallError('invalid_value', { field, message: `${field}: expected ${expected}, got ${got}.` });

const unclearForm = (): HeimdallError =>
  new HeimdallError('ambiguous_body', { message: 'body: expected a multipart form that every parser reads alike: one boundary, CRLF line ends, no preamble, each name once and unencoded, a closing boundary.' });

function notJson(size: number): HeimdallError {
  const got = size === 0 ? 'an empty body' : `${size} bytes that are none`;
  return new HeimdallError('invalid_json', { message: `body: expected a JSON object, got ${got}. Example: {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}` });
}

/** A request whose body a host application may have read. */
export type ParsedRequest = IncomingMessage & { body?: unknown; rawBody?: unknown };

/**
 * For a body parser of a host application that runs before the gate: `express.json({ verify: keepRawBody })` keeps the bytes,
 * so that the gate sends upstream exactly what the client sent.
 */
export function keepRawBody(req: IncomingMessage, _res: ServerResponse, body: Buffer): void {
  (req as ParsedRequest).rawBody = body;
  dropContentEncoding(req as ParsedRequest);
}

/** Event logs that have had the warning: one per gate. */
const warned = new WeakSet<Logger>();

/**
 * The body that a host application has already read.
 * @returns null when the stream is still unread; an error that names the fix when the bytes are lost.
 */
export function bodyTaken(req: ParsedRequest, log: Logger): Buffer | null | HeimdallError {
  if (Buffer.isBuffer(req.rawBody)) return req.rawBody;
  if (!req.readableDidRead && !req.readableEnded) return null;
  if (isEmpty(req)) return noBytes;
  const { body } = req;
  if (body !== undefined) dropContentEncoding(req);
  if (Buffer.isBuffer(body)) return body;
  if (typeof body === 'string') return Buffer.from(body);
  if (body !== undefined && /json/i.test(req.headers['content-type'] ?? '')) return serialized(body, log);
  return new HeimdallError('body_already_read');
}

const noBytes = Buffer.alloc(0);

const isEmpty = ({ headers }: ParsedRequest): boolean => (headers['content-length'] ?? '0') === '0' && headers['transfer-encoding'] === undefined;

function serialized(body: unknown, log: Logger): Buffer {
  if (!warned.has(log)) log.warn({ effect: 'bodies are serialised again and may differ in white space and numbers', fix: 'mount heimdall() first, or express.json({ verify: keepRawBody })' }, 'host.body_parsed');
  warned.add(log);
  return Buffer.from(JSON.stringify(body));
}

/** A parser returns decompressed bytes: with the header, the upstream would decompress them again. */
function dropContentEncoding(req: ParsedRequest): void {
  if (req.headers['content-encoding'] === undefined) return;
  delete req.headers['content-encoding'];
  req.rawHeaders = req.rawHeaders.filter((_, at, all) => (all[at - (at % 2)] as string).toLowerCase() !== 'content-encoding');
}

/**
 * The body of a request to one of the gate's own endpoints.
 * @param limit most bytes.
 * @throws HeimdallError when it is longer or breaks off, or when the host application has read it.
 */
export async function readBody(req: ParsedRequest, res: ServerResponse, log: Logger, limit: number): Promise<Buffer> {
  const taken = bodyTaken(req, log);
  if (taken instanceof HeimdallError) throw taken;
  if (taken !== null) return within(taken, limit);
  if (Number(req.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  if (req.headers.expect !== undefined) res.writeContinue();
  const body = new RequestBody(0);
  const brake = new ChunkBrake(req.socket);
  try {
    // SECURITY: a body that is too long is not read to its end; the answer closes the connection.
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      body.push(chunk);
      if (body.size > limit) throw tooLarge(limit);
      if (!brake.count(chunk.length)) throw inCrumbs();
    }
  } catch (error) {
    // Any other error means that the client has closed the connection.
    throw error instanceof HeimdallError ? error : new HeimdallError('malformed_request', { cause: error });
  }
  return body.whole();
}

function within(bytes: Buffer, limit: number): Buffer {
  if (bytes.length > limit) throw tooLarge(limit);
  return bytes;
}

const tooLarge = (limit: number): HeimdallError => new HeimdallError('body_too_large', { message: `body: expected at most ${limit} bytes.` });

const firstBlock = 4096;
const largestBlock = 65_536;
/** A chunk of this size passes a stream as it is: it is a large part of the 64 KB at most that Node has read it into. */
const passedWhole = 16_384;
/** Chunks of at least this size are pieces of a body as they came, and so are the first few of any size. */
const ownPiece = 4096;
const firstPieces = 4;

/** Bytes from which the memory of a body is handed over rather than copied: below, a copy costs less. */
export const handedOver = 262_144;
/** Bytes from which the memory of a body is worth freeing by hand. */
export const freedByHand = 16_384;

/** What reads the memory of a body beside JavaScript: a connection on which its pieces were sent, or a thread. */
export interface BodyReader {
  /** It has taken all bytes that it was given. */
  readonly isFlushed: boolean;
}

/**
 * The body of a request in the pieces in which it came; small chunks are joined, since each costs an object of some 200 bytes: a
 * body sent in chunks of one byte would cost three hundred times its size.
 */
export class RequestBody {
  readonly pieces: Buffer[] = [];
  size = 0;
  readonly #declared: number;
  /** The open last piece, and its used bytes. */
  #block: Buffer | null = null;
  #used = 0;
  #whole: Buffer | null = null;
  /** The pieces belong to the gate alone, and are worth it: their memory may be handed over, or freed before the collector does it. */
  isOwn = false;
  readonly #readers: BodyReader[] = [];
  /** What has read it; null where it was no plain JSON. */
  scan: MemberScan | null = null;
  /** It goes on while it arrives. Its last bytes wait until the whole is judged. */
  isArriving = false;
  /** Called when more of it may be sent; set by what sends it. */
  onMore: (() => void) | null = null;
  #awaiting: (() => void)[] = [];

  /** @param declared size of the whole body in bytes; 0: unknown. */
  constructor(declared: number) {
    this.#declared = declared;
  }

  /** A body that is there as a whole. */
  static of(bytes: Buffer): RequestBody {
    const body = new RequestBody(bytes.length);
    if (bytes.length > 0) body.push(bytes);
    return body;
  }

  push(chunk: Buffer): void {
    this.size += chunk.length;
    if (chunk.length < ownPiece && (this.#block !== null || this.pieces.length >= firstPieces)) return this.#copy(chunk);
    if (this.#block !== null) this.end();
    this.pieces.push(chunk);
  }

  /** Bytes at absolute offsets, joined where they lie in several pieces. */
  bytes(from: number, to: number): Buffer {
    const last = this.pieces.at(-1) ?? nothing;
    if (this.#block === null && from >= this.size - last.length) return last.subarray(from - this.size + last.length, to - this.size + last.length);
    const parts: Buffer[] = [];
    // The latest piece first: it is the one that is being read.
    let end = this.size;
    for (let nth = this.pieces.length - 1; nth >= 0 && end > from; nth--) {
      const piece = this.#piece(nth);
      const start = end - piece.length;
      if (start < to) parts.unshift(piece.subarray(Math.max(0, from - start), to - start));
      end = start;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /** Bytes that it will have. */
  get total(): number {
    return this.isArriving ? this.#declared : this.size;
  }

  /** Pieces from the first that may be sent now. */
  get sendable(): number {
    return this.isArriving && (this.#block !== null || this.size >= this.#declared) ? this.pieces.length - 1 : this.pieces.length;
  }

  /** An answer waits for the end of its arrival. */
  get isAwaited(): boolean {
    return this.#awaiting.length > 0;
  }

  /** Calls back when it has arrived: a client may not read an answer before it has sent its request. */
  whenArrived(call: () => void): void {
    this.#awaiting.push(call);
  }

  /** It is whole, and all of it may be sent. */
  arrived(): void {
    this.end();
    this.isArriving = false;
    this.onMore?.();
    const awaiting = this.#awaiting;
    this.#awaiting = [];
    for (const call of awaiting) call();
  }

  /** No more of it is sent. */
  halt(): void {
    this.isArriving = false;
    this.onMore = null;
    this.#awaiting = [];
  }

  /** Ends it: no piece follows. */
  end(): void {
    if (this.#block === null) return;
    const used = this.#block.subarray(0, this.#used);
    // A block that is hardly used is not kept.
    this.pieces[this.pieces.length - 1] = this.#used >= this.#block.length / 2 ? used : Buffer.from(used);
    this.#block = null;
  }

  /** Ends it. One that is not too large is joined: undici sends a body of several pieces as a stream, which costs fifty times the copy. */
  settle(): void {
    this.end();
    if (this.size > handedOver) return;
    const whole = Buffer.allocUnsafeSlow(this.size);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.free();
    this.pieces.splice(0, Infinity, whole);
    this.isOwn = this.size >= freedByHand;
  }

  /** All bytes in one piece. */
  whole(): Buffer {
    this.end();
    if (this.pieces.length === 1) return this.pieces[0] as Buffer;
    return (this.#whole ??= Buffer.concat(this.pieces));
  }

  /** At least the first bytes, in one piece. */
  head(size: number): Buffer {
    const [first = nothing] = this.pieces;
    return first.length >= size ? first.subarray(0, size) : this.bytes(0, Math.min(size, this.size));
  }

  /** Its memory is being read, until the reader is flushed. */
  readBy(reader: BodyReader): void {
    if (!this.#readers.includes(reader)) this.#readers.push(reader);
  }

  /** The memory of the pieces, and of nothing else; null while it may still be read: a connection would send what is written there next. */
  get memory(): ArrayBuffer[] | null {
    if (!this.isOwn || !this.#readers.every(({ isFlushed }) => isFlushed)) return null;
    const memory: ArrayBuffer[] = [];
    for (const { buffer, length } of this.pieces) {
      if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== length) return null;
      memory.push(buffer);
    }
    return memory;
  }

  /**
   * Frees the memory at once, where nothing else needs it. Left to the collector, bodies of 64 KB cost 25 µs each for fresh pages,
   * and make it look at the whole heap every five hundred requests.
   */
  free(): void {
    for (const buffer of this.memory ?? []) buffer.transfer(0);
  }

  #piece(nth: number): Buffer {
    const piece = this.pieces[nth] as Buffer;
    return this.#block !== null && nth === this.pieces.length - 1 ? piece.subarray(0, this.#used) : piece;
  }

  #copy(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#block === null) {
        const left = this.#declared - this.size + chunk.length - at;
        this.#block = Buffer.allocUnsafeSlow(left > 0 ? Math.min(largestBlock, left) : Math.min(largestBlock, Math.max(firstBlock, this.size)));
        this.#used = 0;
        this.pieces.push(this.#block);
      }
      const copied = chunk.copy(this.#block, this.#used, at);
      at += copied;
      this.#used += copied;
      if (this.#used === this.#block.length) this.#block = null;
    }
  }
}

const nothing = Buffer.alloc(0);

/** The refusal of a body that comes in crumbs. */
export const inCrumbs = (): HeimdallError => new HeimdallError('body_too_large', { message: `body: expected chunks of at least ${crumb} bytes on average, got more than ${mostCrumbs} smaller ones. Example: Content-Length instead of Transfer-Encoding: chunked.` });

/** Chunks read of one connection before all others have their turn. */
const chunksInTurn = 500;
/** A body of more chunks than these is refused where they hold fewer bytes than {@link crumb} on average. */
const mostCrumbs = 65_536;
const crumb = 16;
/** Connections that wait for their next turn: what Node has read of one, up to 64 KB, is parsed to its end, 11 000 chunks in 30 ms. */
const turns = new Rounds(1);

/**
 * Lets other connections have their turn while one sends its body in very many chunks: Node reads up to 2 MB of a connection at
 * once, and to parse so much in chunks of one byte takes half a second.
 */
export class ChunkBrake {
  readonly #socket: Socket;
  #count = 0;
  #all = 0;
  #bytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Called for each chunk.
   * @returns false when the body has more chunks than it is worth: Node needs some 3 µs for each, so that a few megabytes in
   * chunks of one byte would take all of a core for seconds, also after their client has left.
   */
  count(size: number): boolean {
    this.#bytes += size;
    if (++this.#all > mostCrumbs && this.#bytes < this.#all * crumb) return false;
    if (++this.#count !== chunksInTurn) return true;
    this.#socket.on('resume', this.#hold).pause();
    turns.add(this.#release);
    return true;
  }

  /** Its turn has come. */
  readonly #release = (): void => {
    this.#count = 0;
    this.#socket.off('resume', this.#hold).resume();
  };

  /** The request resumes its socket after each chunk. */
  readonly #hold = (): void => void this.#socket.pause();
}

/**
 * The body of a request as a stream that joins small chunks. While it is full the socket is not read: to pause the request
 * instead would leave what has been parsed waiting in it, chunk by chunk.
 */
export class CompactBody extends Readable {
  readonly #req: IncomingMessage;
  readonly #refuse: (error: HeimdallError) => void;
  readonly #brake: ChunkBrake;
  #block: Buffer | null = null;
  #used = 0;
  #isScheduled = false;
  #isFull = false;

  /** @param refuse called for a body in crumbs, of which no more is read. */
  constructor(req: IncomingMessage, refuse: (error: HeimdallError) => void) {
    super({ highWaterMark: largestBlock });
    this.#req = req;
    this.#refuse = refuse;
    this.#brake = new ChunkBrake(req.socket);
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
    if (!this.#brake.count(chunk.length)) {
      this.#req.off('data', this.#add).pause();
      return this.#refuse(inCrumbs());
    }
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

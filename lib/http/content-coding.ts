import { brotliDecompressSync, constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import type { Transform } from 'node:stream';

/** A decompressor of Node's zlib. */
type Unpacker = Transform & { readonly bytesWritten: number };

/** Bytes that may wait for the decompressor before it counts as behind. */
const mostWaiting = 1_048_576;
/** Bytes that may wait before the decoder gives up: its user has not paused the sender. */
const mostHeld = 33_554_432;
/** Bytes of output a decompressor makes at a time; each is a trip to the thread pool. */
const chunkSize = 65_536;
/** An answer may unpack to this many bytes, or to 200 times its size; what unpacks to more is made to waste time. */
const smallBytes = 67_108_864;
const highestRatio = 200;
/** RFC 9110 allows any number of codings, one upon the other; more than this is no honest use. */
const mostCodings = 4;
/** RFC 9659: a frame of the coding `zstd` needs a window of at most 8 MB. */
const zstdWindow = 23;

const unpackers: Readonly<Record<string, (first: number) => Unpacker>> = {
  gzip: () => createGunzip({ chunkSize, finishFlush: constants.Z_SYNC_FLUSH }),
  'x-gzip': () => createGunzip({ chunkSize, finishFlush: constants.Z_SYNC_FLUSH }),
  // Some write `deflate` without the head of zlib.
  deflate: (first) => ((first & 0x0f) === 8 ? createInflate : createInflateRaw)({ chunkSize, finishFlush: constants.Z_SYNC_FLUSH }),
  br: () => createBrotliDecompress({ chunkSize, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
  zstd: () => createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: zstdWindow } }),
};

type DecodeOptions = { readonly maxOutputLength: number };

const decoders: Readonly<Record<string, (bytes: Buffer, options: DecodeOptions) => Buffer>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: (bytes, options) => (((bytes[0] ?? 0) & 0x0f) === 8 ? inflateSync : inflateRawSync)(bytes, options),
  br: brotliDecompressSync,
  zstd: zstdDecompressSync,
};

/**
 * Decodes a small body at once, on the main thread: some milliseconds a megabyte.
 * @param codings as `codingsOf` has them.
 * @param limit bytes it may decode to.
 * @returns null when it cannot be decoded, or to more.
 */
export function decoded(body: Buffer, codings: readonly string[], limit: number): Buffer | null {
  if (codings.length > mostCodings) return null;
  let bytes = body;
  try {
    for (let at = codings.length - 1; at >= 0; at--) {
      const coding = codings[at] as string;
      if (!Object.hasOwn(decoders, coding)) return null;
      bytes = (decoders[coding] as (typeof decoders)[string])(bytes, { maxOutputLength: limit });
    }
    return bytes;
  } catch {
    return null;
  }
}

/**
 * Decodes a body that passes by, in the thread pool and within bounds. Nothing it meets throws: it stops, and `failed` says so.
 */
export class BodyDecoder {
  /** The rest of the body is unknown: a coding that the gate does not read, broken bytes, or more of them than the bounds allow. */
  failed = false;
  /** Bytes pushed that were not decoded: of a body that failed, or was stopped. */
  lost = 0;
  #packed = 0;
  readonly #stages: Stage[] = [];
  readonly #hear: (bytes: Buffer) => void;
  #unpacked = 0;
  #ended: (() => void) | null = null;
  #caughtUp: (() => void) | null = null;

  /**
   * @param codings as `codingsOf` has them.
   * @param hear gets the decoded bytes.
   */
  constructor(codings: readonly string[], hear: (bytes: Buffer) => void) {
    this.#hear = hear;
    this.failed = codings.length > mostCodings || !codings.every((coding) => Object.hasOwn(unpackers, coding));
    if (this.failed) return;
    let next: Next = { push: (bytes) => this.#decoded(bytes), end: () => this.#over() };
    for (const coding of codings) {
      const stage = new Stage(coding, next, () => this.stop());
      this.#stages.unshift(stage);
      next = stage;
    }
  }

  /** More waits than is good: the sender should pause until {@link whenCaughtUp}. */
  get behind(): boolean {
    return !this.failed && this.#waiting > mostWaiting;
  }

  push(bytes: Buffer): void {
    this.#packed += bytes.length;
    if (this.failed) return void (this.lost += bytes.length);
    (this.#stages[0] as Stage).push(bytes);
    if (this.#waiting > mostHeld) this.stop();
  }

  /** Calls back once, when little is left to decode. */
  whenCaughtUp(then: () => void): void {
    this.#caughtUp = then;
  }

  /** No more comes. Calls back when everything is decoded, or at once when that has failed. */
  end(then: () => void): void {
    if (this.failed) return then();
    this.#ended = then;
    (this.#stages[0] as Stage).end();
  }

  /** Gives up what is not decoded yet. */
  stop(): void {
    if (this.failed) return;
    this.failed = true;
    this.lost = this.#waiting;
    for (const stage of this.#stages) stage.stop();
    this.#over();
  }

  get #waiting(): number {
    return this.#stages[0]?.waiting ?? 0;
  }

  #decoded(bytes: Buffer): void {
    if (this.failed) return;
    this.#unpacked += bytes.length;
    if (this.#unpacked > Math.max(smallBytes, this.#packed * highestRatio)) return this.stop();
    this.#hear(bytes);
    if (this.#caughtUp !== null && !this.behind) this.#resume();
  }

  #over(): void {
    this.#resume();
    const then = this.#ended;
    this.#ended = null;
    then?.();
  }

  #resume(): void {
    const then = this.#caughtUp;
    this.#caughtUp = null;
    then?.();
  }
}

interface Next {
  push(bytes: Buffer): void;
  end(): void;
}

/** One coding. Hands its decompressor one piece at a time, so that what it has not read when a frame ends begins the next. */
class Stage implements Next {
  waiting = 0;
  readonly #coding: string;
  readonly #next: Next;
  readonly #fail: () => void;
  readonly #pieces: Buffer[] = [];
  #unpacker: Unpacker | null = null;
  /** Bytes the decompressor was given before the piece in its hands. */
  #given = 0;
  #busy = false;
  #ended = false;
  #stopped = false;

  constructor(coding: string, next: Next, fail: () => void) {
    this.#coding = coding;
    this.#next = next;
    this.#fail = fail;
  }

  push(bytes: Buffer): void {
    if (bytes.length === 0 || this.#stopped) return;
    this.waiting += bytes.length;
    this.#pieces.push(bytes);
    this.#work();
  }

  end(): void {
    this.#ended = true;
    this.#work();
  }

  stop(): void {
    this.#stopped = true;
    this.#pieces.length = 0;
    this.waiting = 0;
    this.#unpacker?.destroy();
    this.#unpacker = null;
  }

  #work(): void {
    if (this.#busy || this.#stopped) return;
    // One trip to the thread pool for all that waits: an upstream may send a byte at a time.
    if (this.#pieces.length > 1) this.#pieces.splice(0, this.#pieces.length, Buffer.concat(this.#pieces));
    const [piece] = this.#pieces;
    if (piece === undefined) return this.#ended ? this.#finish() : undefined;
    this.#busy = true;
    const unpacker = (this.#unpacker ??= this.#open(piece[0] as number));
    unpacker.write(piece, this.#held(() => {
      if (this.#unpacker !== unpacker || this.#stopped) return;
      this.#busy = false;
      this.#given += piece.length;
      this.waiting -= piece.length;
      this.#pieces.shift();
      this.#work();
    }));
  }

  #finish(): void {
    if (this.#unpacker === null) return this.#next.end();
    this.#busy = true;
    this.#unpacker.end();
  }

  #open(first: number): Unpacker {
    const unpacker = (unpackers[this.#coding] as (first: number) => Unpacker)(first);
    this.#given = 0;
    unpacker.on('data', this.#held((bytes: Buffer) => {
      if (!this.#stopped) this.#next.push(bytes);
    }));
    unpacker.on('error', this.#held(() => {
      if (!this.#stopped) this.#fail();
    }));
    unpacker.on('end', this.#held(() => this.#frameEnded(unpacker)));
    return unpacker;
  }

  /** A listener of a decompressor. What throws while it reads ends the decoding: the body counts as damaged. */
  #held<Args extends readonly unknown[]>(listener: (...args: Args) => void): (...args: Args) => void {
    return (...args) => {
      try {
        listener(...args);
      } catch {
        this.stop();
        this.#fail();
      }
    };
  }

  /** A frame is complete. Bytes behind it begin another: Node leaves them, for `zstd`, to its caller. */
  #frameEnded(unpacker: Unpacker): void {
    if (this.#stopped || this.#unpacker !== unpacker) return;
    const [piece] = this.#pieces;
    this.#unpacker = null;
    this.#busy = false;
    if (piece !== undefined) {
      const read = unpacker.bytesWritten - this.#given;
      if (read <= 0) return this.#fail();
      this.waiting -= read;
      if (read >= piece.length) this.#pieces.shift();
      else this.#pieces[0] = piece.subarray(read);
    }
    unpacker.destroy();
    this.#work();
  }
}

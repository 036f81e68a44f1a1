import { BodyDecoder } from './content-coding.ts';
import { brotliDecompress, gunzip, inflate, inflateRaw, type BrotliOptions, type ZlibOptions } from 'node:zlib';

/** The result of decompressing. */
export type Decompressed = { readonly kind: 'bytes'; readonly bytes: Buffer } | { readonly kind: 'too_large' } | { readonly kind: 'broken' };

type Options = ZlibOptions & BrotliOptions;
type Decoder = (compressed: Buffer, options: Options, done: (error: Error | null, bytes: Buffer) => void) => void;

/** Content codings that are decoded at one go, by name (RFC 9110 §8.4.1, RFC 7932). Some clients send `deflate` without the zlib header. */
const decoders: Readonly<Record<string, Decoder>> = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: (compressed, options, done) => (((compressed[0] ?? 0) & 0x0f) === 8 ? inflate : inflateRaw)(compressed, options, done),
  br: brotliDecompress,
};

/** Most bodies decompressed at a time. libuv has four threads, which also resolve names and read files. */
const maxConcurrent = 2;
/** Text compresses 5 to 20 times. A body that grows more than this ratio, and beyond this many bytes, is an attack on memory. */
const maxRatio = 200;
const smallBytes = 1_048_576;

/** Whether the coding is known. @param coding in lower case. */
export const canDecompress = (coding: string): boolean => coding === 'zstd' || Object.hasOwn(decoders, coding);

interface Job {
  readonly compressed: Buffer;
  readonly codings: readonly string[];
  readonly limit: number;
  readonly done: (result: Decompressed) => void;
}

/** Decompresses bodies in the thread pool, two at a time, each within bounds. */
export class Decompressor {
  readonly #waiting: Job[] = [];
  #running = 0;

  /**
   * @param codings in the order of `Content-Encoding`; {@link canDecompress} holds for each.
   * @param limit most bytes of the result. Beyond 1 MB the result may also be at most 200 times the compressed size.
   */
  decompress(compressed: Buffer, codings: readonly string[], limit: number, done: (result: Decompressed) => void): void {
    const bound = Math.min(limit, Math.max(smallBytes, compressed.length * maxRatio));
    this.#waiting.push({ compressed, codings, limit: bound, done });
    this.#next();
  }

  #next(): void {
    if (this.#running >= maxConcurrent) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#running++;
    const done = (result: Decompressed): void => {
      this.#running--;
      job.done(result);
      this.#next();
    };
    const [coding = ''] = job.codings;
    // A body of `zstd` may have several frames (RFC 8878 §3.1), of which the decoder at one go reads the first.
    if (job.codings.length > 1 || coding === 'zstd') return decodeInTurn(job, done);
    (decoders[coding] as Decoder)(job.compressed, { maxOutputLength: job.limit, chunkSize: chunkFor(job) }, (error, bytes) => {
      done(error === null ? { kind: 'bytes', bytes } : { kind: (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too_large' : 'broken' });
    });
  }
}

/** Bytes that are given to the decoder at a time. */
const slice = 262_144;

/** Decodes several codings, or several frames of one. */
function decodeInTurn({ compressed, codings, limit }: Job, done: (result: Decompressed) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  const decoder = new BodyDecoder(codings, (bytes) => {
    size += bytes.length;
    if (size > limit) decoder.stop();
    else chunks.push(bytes);
  });
  if (compressed.length === 0) return done({ kind: 'broken' });
  let at = 0;
  const feed = (): void => {
    while (at < compressed.length && !decoder.failed) {
      decoder.push(compressed.subarray(at, (at += slice)));
      if (decoder.behind) return decoder.whenCaughtUp(feed);
    }
    decoder.end(() => done(size > limit ? { kind: 'too_large' } : decoder.failed ? { kind: 'broken' } : { kind: 'bytes', bytes: Buffer.concat(chunks) }));
  };
  feed();
}

/** Size of output chunks. Each costs a round trip to the thread pool. */
const chunkFor = ({ compressed, limit }: Job): number => Math.max(1024, Math.min(262_144, limit, compressed.length * 8));

import { brotliDecompress, constants, gunzip, inflate, inflateRaw, zstdDecompress, type BrotliOptions, type ZlibOptions, type ZstdOptions } from 'node:zlib';

/** The result of decompressing. */
export type Decompressed = { readonly kind: 'bytes'; readonly bytes: Buffer } | { readonly kind: 'too_large' } | { readonly kind: 'broken' };

type Options = ZlibOptions & BrotliOptions & ZstdOptions;
type Decoder = (compressed: Buffer, options: Options, done: (error: Error | null, bytes: Buffer) => void) => void;

/** Content codings by name (RFC 9110 §8.4.1, RFC 7932, RFC 8878). Some clients send `deflate` without the zlib header. */
const decoders: Readonly<Record<string, Decoder>> = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: (compressed, options, done) => (((compressed[0] ?? 0) & 0x0f) === 8 ? inflate : inflateRaw)(compressed, options, done),
  br: brotliDecompress,
  zstd: (compressed, options, done) => zstdDecompress(compressed, { ...options, params: { [constants.ZSTD_d_windowLogMax]: windowOf(options.maxOutputLength as number) } }, done),
};

/** Most bodies decompressed at a time. libuv has four threads, which also resolve names and read files. */
const maxConcurrent = 2;
/** Text compresses 5 to 20 times. A body that grows more than this ratio, and beyond this many bytes, is an attack on memory. */
const maxRatio = 200;
const smallBytes = 1_048_576;

/** Whether the coding is known. @param coding in lower case. */
export const canDecompress = (coding: string): boolean => Object.hasOwn(decoders, coding);

interface Job {
  readonly compressed: Buffer;
  readonly decoder: Decoder;
  readonly limit: number;
  readonly done: (result: Decompressed) => void;
}

/** Decompresses bodies in the thread pool, two at a time, each within bounds. */
export class Decompressor {
  readonly #waiting: Job[] = [];
  #running = 0;

  /**
   * @param coding one for which {@link canDecompress} holds.
   * @param limit most bytes of the result. Beyond 1 MB the result may also be at most 200 times the compressed size.
   */
  decompress(compressed: Buffer, coding: string, limit: number, done: (result: Decompressed) => void): void {
    const bound = Math.min(limit, Math.max(smallBytes, compressed.length * maxRatio));
    this.#waiting.push({ compressed, decoder: decoders[coding] as Decoder, limit: bound, done });
    this.#next();
  }

  #next(): void {
    if (this.#running >= maxConcurrent) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#running++;
    job.decoder(job.compressed, { maxOutputLength: job.limit, chunkSize: chunkFor(job) }, (error, bytes) => {
      this.#running--;
      job.done(error === null ? { kind: 'bytes', bytes } : { kind: (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too_large' : 'broken' });
      this.#next();
    });
  }
}

/** Size of output chunks. Each costs a round trip to the thread pool. */
const chunkFor = ({ compressed, limit }: Job): number => Math.max(1024, Math.min(262_144, limit, compressed.length * 8));

/** Base-2 logarithm of the largest window. A zstd frame may demand 2 GB; RFC 8878 §3.1.1.1.2 recommends support of 8 MB. */
const windowOf = (limit: number): number => Math.min(27, Math.max(23, Math.ceil(Math.log2(limit))));

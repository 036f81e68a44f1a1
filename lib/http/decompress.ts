import { brotliDecompress, constants, gunzip, inflate, inflateRaw, zstdDecompress, type BrotliOptions, type ZlibOptions, type ZstdOptions } from 'node:zlib';

/** What came of unpacking. */
export type Inflated = { readonly kind: 'bytes'; readonly bytes: Buffer } | { readonly kind: 'too_large' } | { readonly kind: 'broken' };

type Options = ZlibOptions & BrotliOptions & ZstdOptions;
type Decoder = (packed: Buffer, options: Options, done: (error: Error | null, bytes: Buffer) => void) => void;

/** Content codings by name (RFC 9110 §8.4.1, RFC 7932, RFC 8878). Some write `deflate` without zlib's head. */
const decoders: Readonly<Record<string, Decoder>> = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: (packed, options, done) => (((packed[0] ?? 0) & 0x0f) === 8 ? inflate : inflateRaw)(packed, options, done),
  br: brotliDecompress,
  zstd: (packed, options, done) => zstdDecompress(packed, { ...options, params: { [constants.ZSTD_d_windowLogMax]: windowOf(options.maxOutputLength as number) } }, done),
};

/** At a time, of libuv's four threads, which look up names and read files, too. */
const mostAtOnce = 2;
/** Text is packed some 5 to 20 times; what grows more and beyond this many bytes is made to exhaust memory. */
const highestRatio = 200;
const smallBytes = 1_048_576;

/** Whether bodies of that coding can be unpacked. */
export const isPacked = (coding: string): boolean => Object.hasOwn(decoders, coding);

interface Job {
  readonly packed: Buffer;
  readonly decoder: Decoder;
  readonly limit: number;
  readonly done: (result: Inflated) => void;
}

/** Unpacks bodies in the thread pool, a few at a time, each within bounds. */
export class Inflater {
  readonly #waiting: Job[] = [];
  #running = 0;

  /**
   * @param coding one for which {@link isPacked} holds.
   * @param limit bytes it may grow to; it may also grow to 200 times its size only, once that is more than 1 MB.
   */
  inflate(packed: Buffer, coding: string, limit: number, done: (result: Inflated) => void): void {
    const bound = Math.min(limit, Math.max(smallBytes, packed.length * highestRatio));
    this.#waiting.push({ packed, decoder: decoders[coding] as Decoder, limit: bound, done });
    this.#next();
  }

  #next(): void {
    if (this.#running >= mostAtOnce) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#running++;
    job.decoder(job.packed, { maxOutputLength: job.limit, chunkSize: chunkFor(job) }, (error, bytes) => {
      this.#running--;
      job.done(error === null ? { kind: 'bytes', bytes } : { kind: (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too_large' : 'broken' });
      this.#next();
    });
  }
}

/** Each chunk is a round trip to the thread pool. */
const chunkFor = ({ packed, limit }: Job): number => Math.max(1024, Math.min(262_144, limit, packed.length * 8));

/** A frame may demand a window of 2 GB before its first byte; RFC 8878 §3.1.1.1.2 asks for 8 MB. */
const windowOf = (limit: number): number => Math.min(27, Math.max(23, Math.ceil(Math.log2(limit))));

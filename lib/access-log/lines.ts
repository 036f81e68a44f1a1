import { describe } from '../platform/platform.ts';
import { accessLine } from './access-line.ts';
import { type Batch, decode, type FromWorker, type LineOptions, type Raw, wipe, type Written } from '../record/record.ts';
import { LogFile } from './log-file.ts';

const utf8 = new TextEncoder();

/** A file that cannot be written is told of at most this often, milliseconds. */
const tellEvery = 60_000;

/** Makes the access lines of what comes to the worker, whatever becomes of the records: writes them to the file, and hands them back for the console. */
export class Lines {
  readonly #tell: (message: FromWorker) => void;
  readonly #line: ((raw: Raw) => string) | null;
  readonly #file: LogFile | null;
  readonly #isShown: boolean;
  #toldAt = Number.NEGATIVE_INFINITY;

  /** @param options null when nobody reads them. @param allowed names of query parameters whose values may be shown. */
  constructor(options: LineOptions | null, allowed: readonly string[], tell: (message: FromWorker) => void) {
    this.#line = options === null ? null : accessLine(options.format, allowed);
    this.#file = options === null || options.file === false ? null : new LogFile(options.file, options);
    this.#isShown = options?.isShown ?? false;
    this.#tell = tell;
  }

  /** Of records already decoded. @param seq their batch. */
  of(raws: readonly (Raw | null)[], seq: number | null): void {
    if (this.#line === null) return;
    let text = '';
    for (const raw of raws) if (raw !== null && raw.isLined) text += this.#one(raw, this.#line);
    if (text === '' && seq !== null) return;
    const bytes = utf8.encode(text);
    this.#write(bytes);
    this.#tell({ kind: 'lines', seq, bytes: this.#isShown ? bytes : null });
  }

  #write(bytes: Uint8Array): void {
    if (this.#file === null || bytes.length === 0) return;
    try {
      const wrong = this.#file.write(bytes);
      if (wrong !== null) this.#failed(this.#file, wrong, 'the file grows beyond its size');
    } catch (error) {
      this.#failed(this.#file, error, 'access lines are lost');
    }
  }

  #failed({ path }: LogFile, error: unknown, effect: string): void {
    const now = performance.now();
    if (now - this.#toldAt < tellEvery) return;
    this.#toldAt = now;
    this.#tell({ kind: 'unlined', sink: path, error: describe(error), effect });
  }

  #one(raw: Raw, line: (raw: Raw) => string): string {
    try {
      return `${line(raw)}\n`;
    } catch {
      // No record of ours: it is counted where it is written.
      return '';
    }
  }

  /** Of a batch that cannot be written yet. @returns it, marked. */
  early(batch: Batch): Batch {
    if (batch.isLined) return batch;
    this.of([...decode(batch)], batch.seq);
    return { ...batch, isLined: true };
  }

  /** Of records that leave nothing else. */
  ofSpared(spared: readonly Written[]): void {
    this.of(spared.flatMap((written) => [...decode(written)]), null);
    for (const written of spared) wipe(written);
  }
}

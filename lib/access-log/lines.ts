import { describe } from '../platform/platform.ts';
import { accessLine } from './access-line.ts';
import { type Batch, decode, type FromWorker, type LineOptions, type RawRecord, type RecordMemory, wipe, type WorkerOptions } from '../record/record.ts';
import { LogFile } from './log-file.ts';

const utf8 = new TextEncoder();

/** Least interval between two events about the file, milliseconds. */
const eventEvery = 60_000;

/** Writes access lines on the worker: to the file, and back to the main thread for the console. Lines do not depend on what becomes of the records. */
export class AccessLineWriter {
  readonly #send: (message: FromWorker) => void;
  readonly #hidden: readonly string[];
  #line: ((raw: RawRecord) => string) | null = null;
  #file: LogFile | null = null;
  #isShown = false;
  /** The form of the lines for a terminal; null where the console gets those of the file. */
  #shown: ((raw: RawRecord) => string) | null = null;
  #reportedAt = Number.NEGATIVE_INFINITY;

  /** @param options null when no lines are written. @param hidden configured secrets. @param queryAllow names of query parameters whose values may be shown. */
  constructor(options: LineOptions | null, { queryAllow, hidden }: Pick<WorkerOptions, 'queryAllow' | 'hidden'>, send: (message: FromWorker) => void) {
    this.#hidden = hidden;
    this.#send = send;
    this.configure(options, queryAllow);
  }

  /** Takes other options from now on. */
  configure(options: LineOptions | null, queryAllow: readonly string[]): void {
    this.#line = options === null ? null : accessLine(options.format, queryAllow, this.#hidden);
    this.#file = options === null || options.file === false ? null : new LogFile(options.file, options);
    this.#isShown = options?.isShown ?? false;
    this.#shown = this.#isShown && options?.isReadable === true ? accessLine('readable', queryAllow, this.#hidden) : null;
  }

  /** Writes the lines of decoded records. @param seq their batch; null for unplaced records. */
  write(raws: readonly (RawRecord | null)[], seq: number | null): void {
    if (this.#line === null) return;
    const text = this.#all(raws, this.#line);
    if (text === '' && seq !== null) return;
    const bytes = utf8.encode(text);
    this.#append(bytes);
    const shown = this.#shown === null ? bytes : utf8.encode(this.#all(raws, this.#shown));
    this.#send({ kind: 'lines', seq, bytes: this.#isShown ? shown : null });
  }

  #append(bytes: Uint8Array): void {
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
    if (now - this.#reportedAt < eventEvery) return;
    this.#reportedAt = now;
    this.#send({ kind: 'lineFailure', sink: path, error: describe(error), effect });
  }

  #all(raws: readonly (RawRecord | null)[], line: (raw: RawRecord) => string): string {
    let text = '';
    for (const raw of raws) if (raw !== null && raw.isLined) text += this.#one(raw, line);
    return text;
  }

  #one(raw: RawRecord, line: (raw: RawRecord) => string): string {
    try {
      return `${line(raw)}\n`;
    } catch {
      // An invalid record; the writer of records counts it.
      return '';
    }
  }

  /** Writes the lines of a batch whose records cannot be written yet. @returns the batch, marked. */
  writeEarly(batch: Batch): Batch {
    if (batch.isLined) return batch;
    this.write([...decode(batch)], batch.seq);
    return { ...batch, isLined: true };
  }

  /** Writes the lines of records that leave nothing else. */
  writeUnplaced(unplaced: readonly RecordMemory[]): void {
    this.write(unplaced.flatMap((memory) => [...decode(memory)]), null);
    for (const memory of unplaced) wipe(memory);
  }
}

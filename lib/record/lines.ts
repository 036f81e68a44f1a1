import type { LoggingConfig } from '../../types/config.d.ts';
import { accessLine } from './access-line.ts';
import { decode, wipe, type Raw } from './decode.ts';
import type { Batch, FromWorker, Written } from './wire.ts';

const utf8 = new TextEncoder();

/** Makes the access lines of what comes to the worker, and hands them back whatever becomes of the records. */
export class Lines {
  readonly #tell: (message: FromWorker) => void;
  readonly #line: ((raw: Raw) => string) | null;

  /** @param format null when nobody reads them. @param allowed names of query parameters whose values may be shown. */
  constructor(format: LoggingConfig['format'] | null, allowed: readonly string[], tell: (message: FromWorker) => void) {
    this.#line = format === null ? null : accessLine(format, allowed);
    this.#tell = tell;
  }

  /** Of records already decoded. @param seq their batch. */
  of(raws: readonly (Raw | null)[], seq: number | null): void {
    if (this.#line === null) return;
    let text = '';
    for (const raw of raws) if (raw !== null && raw.isLined) text += this.#one(raw, this.#line);
    if (text !== '' || seq === null) this.#tell({ kind: 'lines', seq, bytes: utf8.encode(text) });
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

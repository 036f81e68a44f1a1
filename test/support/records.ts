import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until, type TestLike } from './client.ts';
import { temporary } from './gate.ts';

/** An access line, as far as tests read it. */
export interface AccessRecord {
  readonly id: string;
  readonly ip: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly outcome: string;
  readonly route: string;
  readonly target: string | null;
  readonly token: string | null;
}

/** The access lines of a gate that is started with this `logging`. */
export interface Records {
  readonly logging: { readonly file: string; readonly level: 'silent' };
  /** All written so far. */
  all(): AccessRecord[];
  /** Waits until at least `count` are written, then for nothing else: lines of requests that ended together come together. */
  atLeast(count: number): Promise<AccessRecord[]>;
}

/** A file of its own for the access log of one test. */
export function accessRecords(t: TestLike): Records {
  const file = join(temporary(t), 'access.log');
  const all = (): AccessRecord[] =>
    existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line) as AccessRecord) : [];
  return {
    logging: { file, level: 'silent' },
    all,
    atLeast: (count) => until(() => (all().length >= count ? all() : undefined), `${count} access lines`),
  };
}

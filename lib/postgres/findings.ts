import { isDeepStrictEqual } from 'node:util';
import type { Pool } from 'pg';
import type { Finding } from '../../types/finding.d.ts';
import { jsonFor, loadPg } from './connection.ts';

/** How long one write may take, milliseconds. */
const timeout = 10_000;

/** Keeps what this instance has found where every instance can read it. */
export class FindingsTable {
  readonly #url: string;
  readonly #instance: string;
  #pool: Promise<Pool> | null = null;
  /** What is written, by id. */
  #written: ReadonlyMap<string, Finding> = new Map();

  /** @param instance name of this one for people. */
  constructor(url: string, instance: string) {
    this.#url = url;
    this.#instance = instance;
  }

  /** Writes those that are new or have changed, and removes those that are gone. What did not change is the same object as a rule, and costs nothing. */
  async write(findings: ReadonlyMap<string, Finding>): Promise<void> {
    const before = this.#written;
    if (findings === before) return;
    const gone = [...before.keys()].filter((id) => !findings.has(id));
    const changed = [...findings].filter(([id, finding]) => before.get(id) !== finding && !isDeepStrictEqual(before.get(id), finding));
    if (changed.length > 0 || gone.length > 0) {
      const pool = await (this.#pool ??= this.#opened());
      await pool.query('SELECT heimdall_find($1::json, $2::text[])', [jsonFor(changed.map(([id, finding]) => ({ id, instance: this.#instance, last: finding.last, finding }))), gone]);
    }
    this.#written = findings;
  }

  async close(): Promise<void> {
    await (await this.#pool?.catch(() => null))?.end();
  }

  async #opened(): Promise<Pool> {
    try {
      const pg = await loadPg();
      const pool = new pg.Pool({ connectionString: this.#url, max: 1, allowExitOnIdle: true, connectionTimeoutMillis: timeout, query_timeout: timeout, application_name: 'heimdall findings' });
      pool.on('error', () => undefined);
      return pool;
    } catch (error) {
      this.#pool = null;
      throw error;
    }
  }
}

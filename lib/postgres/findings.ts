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
  readonly #written = new Map<string, string>();

  /** @param instance name of this one for people. */
  constructor(url: string, instance: string) {
    this.#url = url;
    this.#instance = instance;
  }

  /** Writes those that are new or have changed, and removes those that are gone. */
  async write(findings: Iterable<Finding>): Promise<void> {
    const gone = new Set(this.#written.keys());
    const changed: { readonly id: string; readonly instance: string; readonly last: number; readonly finding: Finding }[] = [];
    for (const finding of findings) {
      gone.delete(finding.id);
      if (this.#written.get(finding.id) !== JSON.stringify(finding)) changed.push({ id: finding.id, instance: this.#instance, last: finding.last, finding });
    }
    if (changed.length === 0 && gone.size === 0) return;
    const pool = await (this.#pool ??= this.#opened());
    await pool.query('SELECT heimdall_find($1::json, $2::text[])', [jsonFor(changed), [...gone]]);
    for (const id of gone) this.#written.delete(id);
    for (const { id, finding } of changed) this.#written.set(id, JSON.stringify(finding));
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

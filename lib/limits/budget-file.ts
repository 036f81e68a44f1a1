import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Timer } from '../../types/clock.d.ts';
import { atExit, calendarOf, describe, makeDirectory } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';

/** The spending of one caller in a day or month, nano-dollars. */
export interface Budget {
  spent: number;
  /** Reserved by requests in hand. */
  held: number;
  /** What all other instances had spent when Redis could last be reached. */
  elsewhere: number;
  /** End of the day or month, Unix milliseconds. */
  readonly until: number;
}

/** The name of the file, beside the journal. */
export const budgetFileName = 'heimdall.limits.json';

/** Erases what callers have spent from the file; a gate that runs writes what it counts again. @param ids names of callers. */
export function forgetSpending(directory: string, ids: readonly string[]): void {
  const path = join(directory, budgetFileName);
  if (!existsSync(path)) return;
  const file = JSON.parse(readFileSync(path, 'utf8')) as { readonly budgets?: Readonly<Record<string, unknown>> };
  const left = Object.entries(file.budgets ?? {}).filter(([key]) => !ids.some((id) => key.endsWith(`:${id}`)));
  writeFileSync(`${path}.tmp`, JSON.stringify({ ...file, budgets: Object.fromEntries(left) }), { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

/** The file is written so long after a change, milliseconds; later where writing takes long, so that it takes at most a hundredth of the time. */
const delay = 2000;
const pause = 100;

const version = 1;

/**
 * Spending that outlives a restart. Read at the first request, written two seconds after a change and at the end, to a new
 * file that replaces the old one (0600). Holds names of counters and amounts, no secret. A failure to read or write is
 * logged once; limits hold all the same.
 */
export class BudgetFile {
  readonly #core: Core;
  readonly #path: string;
  #budgets: Map<string, Budget> | null = null;
  #timer: Timer | null = null;
  #dirty = false;
  #warned = false;
  #took = 0;
  #staysAtExit: (() => void) | null = null;
  #isClosed = false;

  constructor(core: Core, path: string) {
    this.#core = core;
    this.#path = path;
  }

  get budgets(): Map<string, Budget> {
    return (this.#budgets ??= this.#read());
  }

  /** Called for every change. */
  touch(): void {
    this.#dirty = true;
    if (this.#isClosed) return this.save();
    this.#staysAtExit ??= atExit(() => this.save());
    if (this.#timer !== null) return;
    this.#timer = this.#core.clock.setTimeout(() => {
      this.#timer = null;
      this.save();
    }, Math.max(delay, this.#took * pause));
    this.#timer.unref();
  }

  /** Writes what has changed. */
  save(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    const began = performance.now();
    const now = calendarOf(this.#core.clock).now();
    const spent = [...this.budgets].filter(([, budget]) => budget.until > now && budget.spent > 0);
    const text = JSON.stringify({ version, budgets: Object.fromEntries(spent.map(([key, budget]) => [key, [budget.spent, budget.until]])) });
    try {
      makeDirectory(dirname(this.#path));
      writeFileSync(`${this.#path}.tmp`, text, { mode: 0o600 });
      renameSync(`${this.#path}.tmp`, this.#path);
    } catch (error) {
      this.#warn(error, 'a restart forgets what was spent');
    }
    this.#took = performance.now() - began;
  }

  /** Changes are written at once from then on. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) this.#core.clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.save();
    this.#staysAtExit?.();
    this.#staysAtExit = null;
  }

  #read(): Map<string, Budget> {
    try {
      return budgetsOf(JSON.parse(readFileSync(this.#path, 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#warn(error, 'budgets begin anew');
      return new Map();
    }
  }

  #warn(error: unknown, effect: string): void {
    if (!this.#warned) this.#core.log.warn({ path: this.#path, error: describe(error), effect }, 'limits.file');
    this.#warned = true;
  }
}

function budgetsOf(file: unknown): Map<string, Budget> {
  const { version: found, budgets } = file as { readonly version: unknown; readonly budgets: Readonly<Record<string, unknown>> };
  if (found !== version || typeof budgets !== 'object' || budgets === null) throw new Error(`expected version ${version} and budgets`);
  const known = new Map<string, Budget>();
  for (const [key, value] of Object.entries(budgets)) {
    const [spent, until] = Array.isArray(value) ? (value as unknown[]) : [];
    if (!Number.isSafeInteger(spent) || !Number.isSafeInteger(until) || (spent as number) < 0) throw new Error('expected whole numbers');
    known.set(key, { spent: spent as number, held: 0, elsewhere: 0, until: until as number });
  }
  return known;
}

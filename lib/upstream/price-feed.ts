import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, makeDirectory, Repeated } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { NewapiPrices } from '../usage/usage.ts';
import type { Target } from './targets.ts';

/** Between two looks at the prices, milliseconds; after a failure sooner. */
const every = 300_000;
const again = 15_000;
/** Longest time of a look, milliseconds, and largest list, bytes. */
const timeout = 10_000;
const largest = 8_388_608;

const fileName = 'heimdall.prices.json';
const version = 2;

/** The part of a target that is asked for its prices. */
export type Priced = Pick<Target, 'name' | 'provider' | 'pool' | 'base' | 'host'>;

/**
 * The price lists of each NewAPI among the targets, from its public `/api/pricing`. Asked from the first model request or the first
 * read of `ready` on, every five minutes, off every request's way. The last lists are kept beside the journal, so that budgets work
 * from the first request after a restart.
 */
export class PriceFeed {
  readonly #core: Core;
  readonly #targets: readonly Priced[];
  /** Null where nothing is written. */
  readonly #path: string | null;
  /** The known list of each target, by its name. */
  readonly lists: ReadonlyMap<string, NewapiPrices>;
  readonly #lists = new Map<string, NewapiPrices>();
  /** Where the list of each target comes from. */
  readonly places: ReadonlyMap<string, string>;
  /** Targets whose last look has failed, so that this is told once. */
  readonly #failed = new Set<string>();
  #first: Promise<void> | null = null;
  readonly #looks: Repeated;
  #closed = false;

  /**
   * @param targets all of a gate.
   * @param before the lists of the configuration before: a target keeps its list until it is asked again.
   */
  constructor(core: Core, targets: readonly Priced[], before: PriceFeed | null = null) {
    this.#core = core;
    this.#looks = new Repeated(core, 'prices', () => (this.#failed.size > 0 ? again : every), () => this.#look());
    this.lists = this.#lists;
    this.#targets = core.config.llm.priceSource === 'newapi' ? targets.filter(({ provider }) => provider.name === 'newapi') : [];
    for (const target of this.#targets) {
      const list = before?.lists.get(target.name);
      if (list !== undefined && before?.places.get(target.name) === placeOf(target)) this.#lists.set(target.name, list);
    }
    this.places = new Map(this.#targets.map((target) => [target.name, placeOf(target)]));
    const { enabled, path } = core.config.audit;
    this.#path = enabled ? join(dirname(path), fileName) : null;
  }

  /** Begins, once. Resolves after the first look, whatever it found. */
  start(): Promise<void> {
    if (this.#targets.length === 0) return Promise.resolve();
    if (this.#first === null) {
      this.#restore();
      this.#first = this.#look().finally(() => this.#looks.start());
    }
    return this.#first;
  }

  close(): void {
    this.#closed = true;
    this.#looks.stop();
  }

  async #look(): Promise<void> {
    const changed = (await Promise.all(this.#targets.map((target) => this.#ask(target)))).includes(true);
    if (this.#closed) return;
    if (changed) this.#save();
  }

  /** @returns whether the list has changed. */
  async #ask(target: Priced): Promise<boolean> {
    const { log } = this.#core;
    const { name } = target;
    try {
      const list = NewapiPrices.read(await fetched(target));
      const before = this.#lists.get(name);
      this.#lists.set(name, list);
      if (this.#failed.delete(name) || before === undefined) log.info({ target: name, models: list.size }, 'prices.loaded');
      return before === undefined || JSON.stringify(before) !== JSON.stringify(list);
    } catch (error) {
      const effect = this.#lists.has(name) ? 'the last known prices count' : 'the prices of llm.prices and of @pydantic/genai-prices count';
      if (!this.#closed && !this.#failed.has(name)) log.warn({ target: name, error: describe(error), effect }, 'prices.failed');
      this.#failed.add(name);
      return false;
    }
  }

  #restore(): void {
    if (this.#path === null) return;
    try {
      const { version: found, lists } = JSON.parse(readFileSync(this.#path, 'utf8')) as { readonly version: unknown; readonly lists: Readonly<Record<string, unknown>> };
      if (found !== version) return;
      for (const target of this.#targets) {
        const saved = lists[placeOf(target)];
        if (saved !== undefined) this.#lists.set(target.name, NewapiPrices.restore(saved));
      }
    } catch {
      // No file yet, or one that cannot be read: the first look brings the prices.
    }
  }

  #save(): void {
    if (this.#path === null) return;
    const lists = Object.fromEntries(this.#targets.flatMap((target) => (this.#lists.has(target.name) ? [[placeOf(target), this.#lists.get(target.name)]] : [])));
    try {
      makeDirectory(dirname(this.#path));
      writeFileSync(`${this.#path}.tmp`, JSON.stringify({ version, lists }), { mode: 0o600 });
      renameSync(`${this.#path}.tmp`, this.#path);
    } catch (error) {
      this.#core.log.warn({ path: this.#path, error: describe(error), effect: 'after a restart prices are unknown until NewAPI has told them' }, 'prices.file');
    }
  }
}

/** Prices belong to an address, whatever its target is called. */
const placeOf = ({ host, base }: Priced): string => host + base;

async function fetched({ pool, base, host }: Priced): Promise<unknown> {
  const signal = AbortSignal.timeout(timeout);
  const { statusCode, body } = await pool.request({ path: `${base.replace(/\/v1$/, '')}/api/pricing`, method: 'GET', headers: ['host', host, 'accept-encoding', 'identity'], signal });
  if (statusCode !== 200) {
    await body.dump();
    throw new Error(`/api/pricing answered ${statusCode}`);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > largest) throw new Error(`/api/pricing answered more than ${largest} bytes`);
  }
  return JSON.parse(Buffer.concat(chunks).toString());
}

import { randomUUID } from 'node:crypto';
import type { Logger } from '../../types/logger.d.ts';
import { scriptOf, type Redis } from '../platform/platform.ts';
import { parseContents, emptyContents, type Change, type Contents, type Rows, type Store } from './contents.ts';

const places = ['heimdall:{registry}:version', 'heimdall:{registry}:keys', 'heimdall:{registry}:bans'] as const;

/** Writers that meet at one moment; each round one of them wins. */
const mostRounds = 20;

const load = scriptOf("return {redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}");

/** ARGV: the version the change was made from, its own, then place, name and value of each entry. */
const commit = scriptOf(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
for at = 3, #ARGV, 3 do
  local place = KEYS[tonumber(ARGV[at])]
  if ARGV[at + 2] == '' then redis.call('HDEL', place, ARGV[at + 1]) else redis.call('HSET', place, ARGV[at + 1], ARGV[at + 2]) end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1`);

interface Known {
  /** A number that grows with every change, and an id of its own; empty while nothing was ever written. */
  readonly version: string;
  readonly contents: Contents;
}

const numberOf = (version: string): number => Number.parseInt(version, 10) || 0;

/**
 * Keys and bans in Redis, one hash each, and a version that every change renews: by it instances see at once that there is
 * something new. A Redis that lost its memory, or went back to an older one, gets back what this instance knows; of several
 * instances the one that knows the latest has the last word, or a revoked key could return.
 */
export class RedisStore implements Store {
  readonly connects = true;
  readonly #redis: Redis;
  readonly #log: Logger;
  #known: Known | null = null;

  constructor(redis: Redis, log: Logger) {
    this.#redis = redis;
    this.#log = log;
  }

  async read(): Promise<Contents | null> {
    const version = String((await this.#redis.send('GET', places[0])) ?? '');
    if (version === this.#known?.version) return null;
    if (this.#isOlder(version)) return this.#restore();
    return (this.#known = await this.#load()).contents;
  }

  async change(edit: (contents: Contents) => Change): Promise<Contents> {
    for (let round = 0; round < mostRounds; round++) {
      const from = await this.#load();
      if (this.#isOlder(from.version)) await this.#restore();
      else if (await this.#commit(from.version, numberOf(from.version) + 1, edit(from.contents))) return (this.#known = await this.#load()).contents;
    }
    throw new Error('Expected a moment without other writers, found none');
  }

  /** SECURITY: bans must outlive a Redis that was started anew without its data. */
  async #restore(): Promise<Contents> {
    const { version, contents: { keys, bans } } = this.#known as Known;
    const there = await this.#load();
    // Somebody else was quicker.
    if (!this.#isOlder(there.version)) return (this.#known = there).contents;
    const change = { keys: [...without(there.contents.keys, keys), ...keys], bans: [...without(there.contents.bans, bans), ...bans] };
    if (await this.#commit(there.version, numberOf(version), change)) this.#log.warn({ keys: keys.size, bans: bans.size }, 'registry.restored');
    return (this.#known = await this.#load()).contents;
  }

  #isOlder(version: string): boolean {
    return this.#known !== null && numberOf(version) < numberOf(this.#known.version);
  }

  async #load(): Promise<Known> {
    const [version, keys, bans] = (await this.#redis.run(load, places, [])) as [string | null, string[], string[]];
    return version === null ? { version: '', contents: emptyContents } : { version, contents: parseContents(pairs(keys), pairs(bans)) };
  }

  /** @param from the version the change was made from. @param number of the version after it. */
  async #commit(from: string, number: number, { keys = [], bans = [] }: Change): Promise<boolean> {
    const args = [from, `${number} ${randomUUID()}`];
    for (const [name, key] of keys) args.push('2', name, key === null ? '' : JSON.stringify(key));
    for (const [id, ban] of bans) args.push('3', id, ban === null ? '' : JSON.stringify(ban));
    return (await this.#redis.run(commit, places, args)) === 1;
  }

  /** The connection is shared, and closed by who made it. */
  close(): void {
    this.#known = null;
  }
}

/** Takes away what is there and not known. */
const without = (there: ReadonlyMap<string, unknown>, known: ReadonlyMap<string, unknown>): [string, null][] => [...there.keys()].filter((name) => !known.has(name)).map((name) => [name, null]);

function pairs(flat: readonly string[]): Rows {
  const rows: [string, string][] = [];
  for (let at = 0; at < flat.length; at += 2) rows.push([flat[at] as string, flat[at + 1] as string]);
  return rows;
}

import { randomUUID } from 'node:crypto';
import type { Logger } from '../../types/logger.d.ts';
import { scriptOf, type Redis } from '../platform/platform.ts';
import { changedContents, chunks, parseContents, emptyContents, mostSeen, type Change, type Contents, type Rows, type SeenName, type SeenTimes, type Store } from './contents.ts';

const places = ['heimdall:{registry}:version', 'heimdall:{registry}:keys', 'heimdall:{registry}:bans', 'heimdall:{registry}:findings'] as const;

/** Most attempts at a change: of concurrent writers, one succeeds in each round. */
const mostRounds = 20;

const load = scriptOf("return {redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4])}");

/** ARGV: the version that the change is based on, the new version, then hash, name and value of each entry. */
const commit = scriptOf(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
for at = 3, #ARGV, 3 do
  local place = KEYS[tonumber(ARGV[at])]
  if ARGV[at + 2] == '' then redis.call('HDEL', place, ARGV[at + 1]) else redis.call('HSET', place, ARGV[at + 1], ARGV[at + 2]) end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1`);

/** Entries about seen tokens, and when each was renewed. */
const seenPlaces = ['heimdall:{registry}:tokens', 'heimdall:{registry}:tokens-last'] as const;

/** ARGV: now, the oldest time that is kept, the most entries, then name and value of each entry. Drops at most 1000 entries. */
const remember = scriptOf(`
for at = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  redis.call('ZADD', KEYS[2], ARGV[1], ARGV[at])
end
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[2], 'LIMIT', 0, 1000)
local surplus = redis.call('ZCARD', KEYS[2]) - #old - ARGV[3]
if surplus > 0 then old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '+inf', 'LIMIT', 0, math.min(surplus + #old, 1000)) end
for _, name in ipairs(old) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
return #old`);

const recall = scriptOf(`
local found = {}
for at, name in ipairs(ARGV) do found[at] = redis.call('HGET', KEYS[1], name) or '' end
return found`);

/** ARGV: names. */
const forgetSeen = scriptOf(`
for _, name in ipairs(ARGV) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
return 1`);

interface Known {
  /** A number that grows with every change, and a random id; empty before the first change. */
  readonly version: string;
  readonly contents: Contents;
}

const numberOf = (version: string): number => Number.parseInt(version, 10) || 0;

/**
 * Keys, bans and findings in Redis, one hash each, with a version that every change renews, so that instances see at once whether
 * something has changed. When Redis has lost its data, or was restored to an older state, this instance writes its own contents
 * back. Of several instances the one with the latest version prevails; otherwise a revoked key could return.
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

  async read(): Promise<Contents> {
    const version = String((await this.#redis.send('GET', places[0])) ?? '');
    if (version === this.#known?.version) return this.#known.contents;
    if (this.#isOlder(version)) return this.#restore();
    return (this.#known = await this.#load()).contents;
  }

  async change(edit: (contents: Contents) => Change): Promise<Contents> {
    for (let round = 0; round < mostRounds; round++) {
      const from = this.#known ?? (await this.#load());
      let change: Change;
      try {
        change = edit(from.contents);
      } catch (error) {
        // What is known may be a second old, and the error with it.
        if ((await this.read()) === from.contents) throw error;
        continue;
      }
      const version = await this.#commit(from.version, numberOf(from.version) + 1, change);
      if (version !== null) {
        this.#known = from.contents.damaged > 0 ? await this.#load() : { version, contents: changedContents(from.contents, change) };
        return this.#known.contents;
      }
      // Another instance has changed it since, or it has lost its data.
      const there = await this.#load();
      if (this.#isOlder(there.version)) await this.#restore();
      else this.#known = there;
    }
    throw new Error('Expected a moment without other writers, found none');
  }

  async remember(names: readonly SeenName[], { now, oldest }: SeenTimes): Promise<void> {
    for (const some of chunks(names)) await this.#redis.run(remember, seenPlaces, [String(now), String(oldest), String(mostSeen), ...some.flat()]);
  }

  async recall(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    for (const some of chunks(names)) {
      const values = (await this.#redis.run(recall, seenPlaces, some)) as string[];
      for (const [at, name] of some.entries()) if (values[at]) found.set(name, values[at]);
    }
    return found;
  }

  async forgetToken(id: string): Promise<void> {
    const names = (await this.recall([id])).get(id)?.split(' ') ?? [];
    if (names.length > 0) await this.#redis.run(forgetSeen, seenPlaces, [id, ...names]);
  }

  /** SECURITY: bans must survive a restart of Redis without its data. */
  async #restore(): Promise<Contents> {
    const { version, contents: { keys, bans, findings } } = this.#known as Known;
    const there = await this.#load();
    // Another instance has restored it meanwhile.
    if (!this.#isOlder(there.version)) return (this.#known = there).contents;
    const change = { keys: [...without(there.contents.keys, keys), ...keys], bans: [...without(there.contents.bans, bans), ...bans], findings: [...without(there.contents.findings, findings), ...findings] };
    if ((await this.#commit(there.version, numberOf(version), change)) !== null) this.#log.warn({ keys: keys.size, bans: bans.size }, 'registry.restored');
    return (this.#known = await this.#load()).contents;
  }

  #isOlder(version: string): boolean {
    return this.#known !== null && numberOf(version) < numberOf(this.#known.version);
  }

  async #load(): Promise<Known> {
    const [version, keys, bans, findings] = (await this.#redis.run(load, places, [])) as [string | null, string[], string[], string[]];
    return version === null ? { version: '', contents: emptyContents } : { version, contents: parseContents(pairs(keys), pairs(bans), pairs(findings)) };
  }

  /** @param from the version that the change is based on. @param number of the new version. @returns the new version; null when there is another than `from`. */
  async #commit(from: string, number: number, { keys = [], bans = [], findings = [] }: Change): Promise<string | null> {
    const version = `${number} ${randomUUID()}`;
    const args = [from, version];
    for (const [name, key] of keys) args.push('2', name, key === null ? '' : JSON.stringify(key));
    for (const [id, ban] of bans) args.push('3', id, ban === null ? '' : JSON.stringify(ban));
    for (const [id, finding] of findings) args.push('4', id, finding === null ? '' : JSON.stringify(finding));
    return (await this.#redis.run(commit, places, args)) === 1 ? version : null;
  }

  /** The connection is shared; its creator closes it. */
  close(): void {
    this.#known = null;
  }
}

/** Removals of all entries that are not known. */
const without = (there: ReadonlyMap<string, unknown>, known: ReadonlyMap<string, unknown>): [string, null][] => [...there.keys()].filter((name) => !known.has(name)).map((name) => [name, null]);

function pairs(flat: readonly string[]): Rows {
  const rows: [string, string][] = [];
  for (let at = 0; at < flat.length; at += 2) rows.push([flat[at] as string, flat[at + 1] as string]);
  return rows;
}

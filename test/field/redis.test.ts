import '../support/node.ts';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { loadConfig } from '../../lib/config/config.ts';
import type { MemoryStore } from '../../lib/limits/memory-store.ts';
import { RedisStore } from '../../lib/limits/redis-store.ts';
import { SharedStore } from '../../lib/limits/shared-store.ts';
import { systemClock } from '../../lib/platform/platform.ts';
import { placeOf, redisOf, type Redis } from '../../lib/platform/redis.ts';
import { RedisStore as RegistryStore } from '../../lib/registry/redis-store.ts';
import type { Core } from '../../lib/request/request.ts';
import { file, refusals } from '../config/tools.ts';
import { budget, requests, slots, tokens } from '../limits/contract.ts';
import { chargesOf } from '../limits/charges.ts';
import { closing, until } from '../support/client.ts';
import { startFakeRedis, type FakeRedis } from '../support/fake-redis.ts';
import { recorder, type Recorder } from '../support/gate.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';

const secret = 'the-install-secret-of-these-tests';
const configOf = (url: string) => loadConfig(undefined, { HEIMDALL_SECRET: secret, REDIS_URL: url });

interface Scene {
  readonly fake: FakeRedis;
  readonly log: Recorder;
  readonly store: SharedStore;
  /** What was logged before the outage of the test. */
  readonly since: { downs: number; ups: number };
  /** Asks for one request. @returns who decided: Redis, or this instance alone. */
  ask(): Promise<'redis' | 'alone'>;
}

async function scene(t: TestContext): Promise<Scene> {
  const fake = closing(t, await startFakeRedis());
  const log = recorder();
  const config = configOf(fake.url);
  const redis = redisOf(config, log) as Redis;
  t.after(() => redis.close());
  let alone = false;
  const local = { take: () => ((alone = true), 'taken'), settle: () => undefined, learn: () => undefined, handOver: () => [], close: async () => undefined } as unknown as MemoryStore;
  const store = new SharedStore({ config, log, clock: systemClock } as unknown as Core, new RedisStore(redis, systemClock), local, () => undefined);
  store.start();
  return {
    fake, log, store, since: { downs: 0, ups: 0 },
    async ask() {
      alone = false;
      const set = chargesOf('a', [[requests, 1]]);
      await store.take(set);
      store.settle(set);
      return alone ? 'alone' : 'redis';
    },
  };
}

const downs = ({ log, since }: Scene): number => log.named('limits.store_down').length - since.downs;
const ups = ({ log, since }: Scene): number => log.named('limits.store_up').length - since.ups;
const inRedis = (each: Scene): Promise<boolean> => until(async () => (await each.ask()) === 'redis');

/** A slow machine may have taken the start of the first connection for an outage. */
async function started(each: Scene): Promise<void> {
  // An answer may come although the first probe took too long: its outage has to be over, too.
  await until(async () => (await each.ask()) === 'redis' && downs(each) === ups(each));
  Object.assign(each.since, { downs: each.since.downs + downs(each), ups: each.since.ups + ups(each) });
}

/** Answers of a Redis that takes no writes, and whether another server may be at its place by now, so that it is connected to anew. */
const states: readonly (readonly [error: string, anew: boolean])[] = [
  ["READONLY You can't write against a read only replica.", true], ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", true], ['CLUSTERDOWN The cluster is down', true],
  ['CLUSTERDOWN Hash slot not served', true], ['LOADING Redis is loading the dataset in memory', true], ['NOREPLICAS Not enough good replicas to write.', true],
  ["OOM command not allowed when used memory > 'maxmemory'.", false], ['MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.', false], ['BUSY Redis is busy running a script.', false],
  ["NOPERM User heimdall has no permissions to run the 'evalsha' command", false], ['NOAUTH Authentication required.', false], ['ERR max number of clients reached', false],
];

describe('a Redis that answers and cannot do what a request needs', { concurrency: 6 }, () => {
  for (const [error, anew] of states) {
    it(error.slice(0, 40), async (t) => {
      const each = await scene(t);
      await started(each);
      const { fake } = each;
      const before = { ...fake.seen };
      fake.error = error;
      // One request waits for an answer; from then on none does, and nothing says that Redis is back, however often it is probed.
      assert.equal(await each.ask(), 'alone');
      await until(() => fake.seen.scripts - before.scripts > 4);
      for (let n = 0; n < 50; n++) assert.equal(await each.ask(), 'alone');
      assert.deepEqual([downs(each), ups(each)], [1, 0]);
      if (anew) await until(() => fake.seen.connections > before.connections);
      else assert.equal(fake.seen.connections, before.connections);
      fake.error = null;
      await inRedis(each);
      for (let n = 0; n < 20; n++) assert.equal(await each.ask(), 'redis');
      assert.deepEqual([downs(each), ups(each)], [1, 1]);
      await each.store.close();
    });
  }

  it('NOSCRIPT: every script is sent once with its source', async (t) => {
    const each = await scene(t);
    await started(each);
    each.fake.error = 'NOSCRIPT No matching script. Please use EVAL.';
    for (let n = 0; n < 9; n++) assert.equal(await each.ask(), 'redis');
    // One of each script at most: those of the probe may be under way yet.
    assert.ok(each.fake.seen.sources >= 1 && each.fake.seen.sources <= 4, String(each.fake.seen.sources));
    assert.equal(downs(each), 0);
    await each.store.close();
  });

  it('a connection that was ended is opened again', async (t) => {
    const each = await scene(t);
    await started(each);
    each.fake.drop();
    await until(async () => (await each.ask()) === 'alone' || each.fake.seen.connections > 1);
    await inRedis(each);
    await each.store.close();
  });

  for (const [what, keep] of [['a connection that has gone silent', true], ['a server that takes connections and says nothing', false]] as const) {
    it(`${what} is given up for a new one`, async (t) => {
      const each = await scene(t);
      await started(each);
      const { fake } = each;
      const before = fake.seen.connections;
      fake.silent = true;
      assert.equal(await each.ask(), 'alone');
      await until(() => fake.seen.connections > before, 'a new connection, though the old one is written to four times a second');
      assert.deepEqual([downs(each), ups(each)], [1, 0]);
      fake.silent = false;
      if (!keep) fake.drop();
      await inRedis(each);
      assert.deepEqual([downs(each), ups(each)], [1, 1]);
      await each.store.close();
    });
  }
});

/** The minimal rights, as the documentation has them. */
const documented = /^ACL SETUSER heimdall (.*)$/m.exec(readFileSync(new URL('../../lib/limits/README.md', import.meta.url), 'utf8'))?.[1] ?? '';

describe('a Redis with a user of few rights', { skip: withoutRedis }, () => {
  it('serves limits and registry with the documented rights, and is down without any of them', async (t) => {
    const server = closing(t, await startRedis());
    await server.command('ACL', 'SETUSER', 'heimdall', ...documented.replace('<PASSWORD>', 'a-password').split(' '));
    const url = server.url.replace('redis://', 'redis://heimdall:a-password@');
    const log = recorder();
    const redis = redisOf(configOf(url), log) as Redis;
    t.after(() => redis.close());
    const store = new RedisStore(redis, systemClock);
    await store.probe();
    const set = chargesOf('a', [[requests, 1], [tokens, 5], [slots, 1], [budget, 7]]);
    assert.equal(await store.take(set), true);
    store.settle(set);
    await store.spend('key.budget.day:a', 5, Date.now() + 60_000);
    const registry = new RegistryStore(redis, log);
    await registry.change(() => ({ bans: [['b', { id: 'b' } as never]] }));
    await registry.change(() => ({ bans: [['b', null]] }));
    assert.deepEqual(log.events, []);
    await assert.rejects(redis.send('SET', 'others', '1'), /NOPERM/);
    await assert.rejects(redis.send('FLUSHALL'), /NOPERM/);
    // What only the counts of an address and the end of a lost lease need is not asked for here.
    const rights = documented.split(' ').filter((word) => /^\+(?!ping|hello|client|script|cluster|asking|incr$|pttl|decr$|decrby|auth)/.test(word));
    assert.ok(rights.length >= 16, rights.join());
    for (const right of rights) {
      await server.command('ACL', 'SETUSER', 'heimdall', right.replace('+', '-'));
      await server.command('SCRIPT', 'FLUSH');
      const works = async (): Promise<void> => {
        await store.probe();
        await registry.change(() => ({ bans: [['b', { id: 'b' } as never]] }));
        await registry.change(() => ({ bans: [['b', null]] }));
        // One that knows nothing yet reads all of it.
        await new RegistryStore(redis, log).read();
        await registry.recall(['a token']);
      };
      await assert.rejects(works, /NOPERM|permission|can't run this command/i, right);
      await server.command('ACL', 'SETUSER', 'heimdall', right);
    }
  });

  it('has all keys of a caller in one slot, whatever its name', async (t) => {
    const server = closing(t, await startRedis());
    const redis = redisOf(configOf(server.url), recorder()) as Redis;
    t.after(() => redis.close());
    const store = new RedisStore(redis, systemClock);
    for (const caller of ['key:team', 'token:0123456789abcdef', 'ip:2001:db8::1', 'jwt:{odd}', 'jwt:}{', 'key:50%', 'key:{', 'user:名']) {
      await server.command('FLUSHALL');
      await store.take(chargesOf(caller, [[requests, 1], [tokens, 5], [slots, 1], [budget, 7]]));
      const keys = (await redis.send('KEYS', '*')) as string[];
      assert.equal(keys.length, 5);
      const tags = new Set(keys.map((key) => /\{([^}]*)\}/.exec(key)?.[1]));
      assert.deepEqual([tags.size, [...tags][0] === ''], [1, false], keys.join(' '));
    }
  });
});

it('URLs of one server, of a cluster and of Sentinels, with and without TLS', () => {
  const rows: readonly (readonly [url: string, place: object])[] = [
    ['redis://h', { kind: 'server', secure: false, nodes: [{ host: 'h', port: 6379 }], master: 'mymaster', database: 0 }], ['rediss://u:p%40w@h:7/3', { kind: 'server', secure: true, nodes: [{ host: 'h', port: 7 }], username: 'u', password: 'p@w', database: 3 }],
    ['redis://:a:b@[::1]:80', { nodes: [{ host: '::1', port: 80 }], password: 'a:b' }], ['redis+cluster://a:1,b:2,c', { kind: 'cluster', nodes: [{ host: 'a', port: 1 }, { host: 'b', port: 2 }, { host: 'c', port: 6379 }] }],
    ['rediss+cluster://:p@a', { kind: 'cluster', secure: true, password: 'p' }], ['redis+sentinel://a,b:5/orders/2', { kind: 'sentinel', nodes: [{ host: 'a', port: 26_379 }, { host: 'b', port: 5 }], master: 'orders', database: 2 }],
    ['rediss+sentinel://u:p@a', { kind: 'sentinel', secure: true, username: 'u', password: 'p', master: 'mymaster' }], ['redis+sentinel://:p@a/m?sentinel_password=s%21', { password: 'p', sentinelPassword: 's!', master: 'm', database: 0 }],
  ];
  for (const [url, place] of rows) {
    assert.partialDeepStrictEqual(placeOf(url), place, url);
    assert.equal(configOf(url).rateLimit.redisUrl, url);
  }
  for (const url of ['redis+cluster://', 'redis+sentinel://a,,b', 'redis+cluster://a:99999', 'redis+sentinel://:p%a@h/m', 'redis+galaxy://h', 'http://h', 'redis+cluster://a b']) {
    assert.match(refusals(() => configOf(url)).join(), /^REDIS_URL: expected a URL that begins with redis:\/\/ or rediss:\/\//, url);
  }
  assert.match(refusals(() => loadConfig(file(`secret: ${secret}\nrate_limit: {redis_url: "rediss://h", redis_ca_path: /nowhere}`), {})).join(), /rate_limit\.redis_ca_path: expected a readable file/);
});

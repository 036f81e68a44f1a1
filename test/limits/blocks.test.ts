import '../support/node.ts';
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { ChargeSet, Rule } from '../../lib/limits/charge.ts';
import { RateLimitHeaders } from '../../lib/limits/rate-limit-headers.ts';
import { RedisStore } from '../../lib/limits/redis-store.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import { redisOf, type Redis } from '../../lib/platform/redis.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';
import { generator } from '../support/random.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';
import { problems } from '../config/tools.ts';
import { chargesOf, ruleOf, window } from './charges.ts';

const limit = 1000;
const size = limit / 100;
const instances = 3;
const blocks = { rate: 1, size, error: instances * size };
const requests = ruleOf({ kind: 'requests', limit, blocks });
const tokens = ruleOf({ kind: 'tokens', limit: 100 * limit, blocks: { rate: 1, size: limit, error: instances * limit } });

/** One of several instances, as its requests see it. */
interface Instance {
  readonly store: RedisStore;
  /** @returns the charges of a request that passed; null of one that was refused. */
  ask(rules?: readonly (readonly [Rule, number])[]): Promise<ChargeSet | null>;
}

let server: TestRedis;
let redis: Redis;
let commands = 0;
let isAway = false;

before(async () => {
  if (withoutRedis) return;
  server = await startRedis();
  const connected = redisOf(resolveConfig({ secret: 'a-secret-for-these-tests', rateLimit: { redisUrl: server.url } }), recorder()) as Redis;
  redis = { ...connected, run: (...given) => (commands++, isAway ? Promise.reject(new Error('away')) : connected.run(...given)), send: (...words) => connected.send(...words), close: () => connected.close() };
  await until(() => new RedisStore(redis, fakeClock()).probe().then(() => true, () => false));
});
beforeEach(async () => {
  if (!withoutRedis) await server.command('FLUSHALL');
  commands = 0;
});
after(async () => {
  await redis?.close();
  await server?.close();
});

function instance(clock: FakeClock): Instance {
  const store = new RedisStore(redis, clock, () => clock.now());
  return {
    store,
    async ask(rules = [[requests, 1]]) {
      const set = chargesOf('a', rules);
      return (store.draw(set) ?? (await store.take(set))) ? set : null;
    },
  };
}

/** Everything that was sent has arrived. */
const arrived = async (): Promise<void> => void (await redis.send('PING'));

/** A place is free again a sixtieth of the window and a remembered refusal late: at most so many requests of this test. */
const late = 80;

const begin = Date.UTC(2100, 0, 1);

describe('blocks of a fast caller', { skip: withoutRedis }, () => {
  it('save round trips, and no window holds more than the limit nor less than the limit and the error', async () => {
    const clock = fakeClock(begin);
    const all = Array.from({ length: instances }, () => instance(clock));
    const random = generator(5);
    const passed: number[] = [];
    let asked = 0;
    for (let ms = 0; ms < 2 * window; ms += 10) {
      clock.tick(10);
      await arrived();
      for (let n = 0; n < 4; n++, asked++) if ((await (all[random(instances)] as Instance).ask()) !== null) passed.push(clock.now());
    }
    for (const [at, time] of passed.entries()) {
      const next = passed.findIndex((other) => other >= time + window);
      assert.ok((next === -1 ? passed.length : next) - at <= limit, `${next - at} in a window`);
      if (next !== -1) assert.ok(next - at >= limit - blocks.error - late, `${next - at} in a window`);
    }
    assert.ok(commands < asked / 3, `${commands} commands for ${asked} requests`);
  });

  it('hold what an instance has that dies, and give back what one has that closes', async () => {
    const clock = fakeClock(begin);
    const [one, other] = [instance(clock), instance(clock)];
    for (let n = 0; n < 33; n++) await one.ask();
    const counted = async (): Promise<number> => {
      const set = chargesOf('a', [[requests, 0]]);
      await new RedisStore(redis, clock, () => clock.now()).take(set);
      return set.charges[0]?.used ?? 0;
    };
    assert.ok((await counted()) > 33);
    await one.store.close();
    assert.equal(await counted(), 33);
    for (let n = 0; n < 2000; n++) await other.ask();
    assert.equal(await counted(), limit);
  });

  it('of a store that closes are given back, also those that are granted or settled later, and no timer is left', async () => {
    const clock = fakeClock(begin);
    const { store, ask } = instance(clock);
    const drawn = await Promise.all(Array.from({ length: 33 }, () => ask([[requests, 1], [tokens, 10]])));
    const asking = ask([[requests, 40], [tokens, 10]]);
    await store.close();
    await asking;
    for (const set of [...drawn, await asking]) {
      for (const charge of set?.charges ?? []) if (charge.counter.rule.kind === 'tokens') charge.actual = 1;
      if (set !== null) store.settle(set);
    }
    await arrived();
    assert.equal(clock.pending, 0);
    const left = chargesOf('a', [[requests, 0], [tokens, 0]]);
    await new RedisStore(redis, clock, () => clock.now()).take(left);
    assert.deepEqual(left.charges.map((charge) => charge.used), [33 + 40, 34]);
  });

  it('count to their last use, also where Redis is away when they end', async () => {
    const clock = fakeClock(begin);
    const { store, ask } = instance(clock);
    let asked = 0;
    let before = -1;
    // Until one is decided by a block.
    for (; commands !== before; asked++) {
      before = commands;
      await ask();
    }
    clock.tick(150);
    await arrived();
    await ask();
    assert.equal(commands, before);
    isAway = true;
    clock.tick(200);
    await arrived();
    isAway = false;
    await store.recover();
    clock.tick(window - 250);
    const seen = chargesOf('a', [[requests, 0]]);
    await new RedisStore(redis, clock, () => clock.now()).take(seen);
    assert.equal(seen.charges[0]?.used, asked + 1);
  });

  it('are not asked for where one of them is smaller than a request', async () => {
    const { ask } = instance(fakeClock(begin));
    const few = ruleOf({ kind: 'tokens', limit: 100 * limit, blocks: { rate: 1, size, error: instances * size } });
    for (let n = 0; n < 50; n++) await ask([[requests, 1], [few, 2 * size]]);
    assert.equal(commands, 50);
  });

  it('settle tokens by what was used, while the block lasts and afterwards', async () => {
    const clock = fakeClock(begin);
    const { store, ask } = instance(clock);
    const held: ChargeSet[] = [];
    for (let n = 0; n < 40; n++) held.push((await ask([[requests, 1], [tokens, 100]])) as ChargeSet);
    const end = (sets: readonly ChargeSet[], used: number): void => {
      for (const set of sets) {
        for (const charge of set.charges) charge.actual = charge.counter.rule.kind === 'tokens' ? used : 1;
        store.settle(set);
      }
    };
    end(held.splice(0, 20), 10);
    clock.tick(2 * window);
    await arrived();
    end(held, 700);
    await store.close();
    const seen = chargesOf('a', [[tokens, 0]]);
    await new RedisStore(redis, clock, () => clock.now()).take(seen);
    // What was used at once has left the window; what took longer than the window counts when it ends.
    assert.equal(seen.charges[0]?.used, 20 * 700);
    assert.ok(commands < 60, String(commands));
  });

  it('refuse for a moment what Redis has refused, and not what is smaller', async () => {
    const clock = fakeClock(begin);
    const { ask } = instance(clock);
    for (let n = 0; n < 10; n++) await ask();
    for (let n = 0; n < 1100; n++) await ask();
    const before = commands;
    const refused = chargesOf('a', [[requests, 1]]);
    for (let n = 0; n < 100; n++) assert.equal(await ask(), null);
    assert.ok(commands - before <= 1);
    clock.tick(51);
    await arrived();
    assert.equal(await ask(), null);
    assert.ok(commands > before);
    assert.equal(refused.holder, null);
  });

  it('leave slow callers and other kinds alone', async () => {
    const clock = fakeClock(begin);
    const slow = instance(clock);
    const slots = ruleOf({ kind: 'concurrency', limit: 500 });
    for (let n = 0; n < 5; n++) {
      await slow.ask();
      clock.tick(1000);
      await arrived();
    }
    assert.equal(commands, 5);
    for (let n = 0; n < 50; n++) await slow.ask([[requests, 1], [slots, 1]]);
    assert.equal(commands, 55);
  });
});

it('the header names the error that is possible', () => {
  const head: string[] = [];
  const set = chargesOf('a', [[requests, 1]]);
  for (const charge of set.charges) charge.limit = limit;
  new RateLimitHeaders([requests]).add(head, set.charges, true);
  assert.equal(head[1], `"requests";q=${limit};w=${window / 1000};heimdall-error=${blocks.error}`);
});

it('rate_limit.redis_blocks is a rate, true for 1000/s, or off', () => {
  const of = (redisBlocks: unknown): unknown => resolveConfig({ rateLimit: { redisBlocks } } as never).rateLimit.redisBlocks;
  assert.deepEqual([undefined, false, true, '200/s', 5].map(of), [false, false, 1000, 200, 5]);
  assert.match(problems('rate_limit: { redis_blocks: soon }').join(), /^rate_limit\.redis_blocks: expected false, true or a rate above 0, got "soon"/);
});

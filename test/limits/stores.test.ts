import '../support/node.ts';
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from '../support/property.ts';
import { MemoryStore } from '../../lib/limits/memory-store.ts';
import { RedisStore } from '../../lib/limits/redis-store.ts';
import type { ChargeSet } from '../../lib/limits/charge.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import { redisOf, type Redis } from '../../lib/platform/redis.ts';
import { until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';
import { startRedis, withoutRedis, type TestRedis } from '../support/redis.ts';
import { chargesOf, found, ruleOf, window } from './charges.ts';
import { budget, contract, finish, requests, slots, tokens, type Bench, type Make } from './contract.ts';

const lease = 30_000;
/** Ahead of Redis's own time, which ends what has an end. */
const begin = Date.UTC(2100, 0, 1);

const inMemory: Make = async () => {
  const clock = fakeClock(begin);
  const store = new MemoryStore(clock, null);
  return { clock, store: { take: async (set) => store.take(set) === 'taken', settle: (set) => store.settle(set) } };
};

let server: TestRedis;
let redis: Redis;

const inRedis: Make = async () => {
  await server.command('FLUSHALL');
  const clock = fakeClock(begin);
  return { clock, store: new RedisStore(redis, clock, () => clock.now()) };
};

before(async () => {
  if (withoutRedis) return;
  server = await startRedis();
  const config = resolveConfig({ secret: 'a-secret-for-these-tests', rateLimit: { redisUrl: server.url } });
  redis = redisOf(config, recorder()) as Redis;
  // Loads the scripts, as a gate does when it starts.
  const store = new RedisStore(redis, fakeClock());
  await until(() => store.probe().then(() => true, () => false));
});
after(async () => {
  await redis?.close();
  await server?.close();
});

describe('the memory store', () => {
  for (const { what, holds } of contract) it(what, () => holds(inMemory));
});

it('the memory store remembers nobody who has used nothing', async () => {
  const clock = fakeClock();
  const store = new MemoryStore(clock, null);
  for (let n = 0; n < 100; n++) {
    const set = chargesOf(`stranger ${n}`, [[budget, 7]]);
    store.take(set);
    for (const charge of set.charges) charge.actual = 0;
    store.settle(set);
    store.learn(`other ${n}`, 0, 1);
  }
  assert.equal(store.budgets.size, 0);
});

describe('the Redis store', { skip: withoutRedis }, () => {
  for (const { what, holds } of contract) it(what, () => holds(inRedis));

  it('takes back what an instance held that is not heard of any more', async () => {
    const { clock, store } = await inRedis();
    for (let n = 0; n < 2; n++) await store.take(chargesOf('a', [[slots, 1], [budget, 500]]));
    // The clock of the store that renews is the test's, too: another instance charges, with time of its own.
    const other = new RedisStore(redis, fakeClock(), () => clock.now() + lease);
    const early = new RedisStore(redis, fakeClock(), () => clock.now() + lease - 1);
    assert.equal(await early.take(chargesOf('a', [[slots, 1], [budget, 1]])), false);
    const late = chargesOf('a', [[slots, 1], [budget, 1]]);
    assert.equal(await other.take(late), true);
    assert.deepEqual(late.charges.map(({ used }) => used), [0, 0]);
  });

  it('renews what is still in hand, and settles what it renewed', async () => {
    const { clock, store } = await inRedis();
    const long = chargesOf('a', [[slots, 1], [budget, 500]]);
    await store.take(long);
    for (let n = 0; n < 6; n++) {
      clock.tick(10_000);
      await redis.send('PING');
    }
    const during = chargesOf('a', [[slots, 1], [budget, 1]]);
    await store.take(during);
    assert.deepEqual(during.charges.map(({ used }) => used), [1, 500]);
    finish(store, long, 0, 300);
    const afterwards = chargesOf('a', [[slots, 1], [budget, 1]]);
    await store.take(afterwards);
    assert.deepEqual(afterwards.charges.map(({ used }) => used), [1, 301]);
  });

  it('leaves nothing in Redis that has no end', async () => {
    const { store } = await inRedis();
    await store.take(chargesOf('a', [[requests, 1], [tokens, 5], [slots, 1], [budget, 7]]));
    const keys = (await redis.send('KEYS', '*')) as string[];
    assert.deepEqual(keys.sort(), ['heimdall:held:heimdall:limit:key.budget:{a}', ...['budget', 'concurrency', 'requests', 'tokens'].map((name) => `heimdall:limit:key.${name}:{a}`)].sort());
    for (const key of keys) assert.ok(((await redis.send('PTTL', key)) as number) > 0, key);
  });

  it('forgets a budget of which nothing was spent', async () => {
    const { store } = await inRedis();
    const set = chargesOf('a', [[budget, 7]]);
    await store.take(set);
    finish(store, set, 0);
    await redis.send('PING');
    assert.deepEqual(await redis.send('KEYS', '*'), []);
  });

  it('uses one command for all rules, and its script is known from then on', async () => {
    const { store } = await inRedis();
    await store.take(chargesOf('a', [[requests, 1], [tokens, 5], [slots, 1], [budget, 7]]));
    const calls = async (name: string): Promise<number> => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await server.command('INFO', 'commandstats'))?.[1] ?? 0);
    const earlier = [await calls('evalsha'), await calls('eval')];
    await store.take(chargesOf('b', [[requests, 1], [tokens, 5], [slots, 1], [budget, 7]]));
    assert.deepEqual([(await calls('evalsha')) - (earlier[0] as number), (await calls('eval')) - (earlier[1] as number)], [1, 0]);
  });
});

type Step =
  | { readonly kind: 'ask'; readonly fairnessKey: string; readonly amounts: readonly number[]; readonly passed: number }
  | { readonly kind: 'end'; readonly nth: number; readonly actual: readonly number[]; readonly passed: number };

const small = fc.integer({ min: 0, max: 40 });
const amounts = fc.tuple(fc.constant(1), small, fc.constant(1), small);
/** The edges of what is counted together and of the window, and what lies between. */
const passed = fc.oneof(fc.integer({ min: 0, max: 1500 }), fc.constantFrom(0, 99, 100, 101, window - 100, window - 1, window));
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('ask' as const), fairnessKey: fc.constantFrom('a', 'b'), amounts, passed }),
    fc.record({ kind: fc.constant('end' as const), nth: fc.nat(20), actual: fc.tuple(fc.constantFrom(0, 1), small, fc.constant(0), small), passed }),
  ),
  { maxLength: 60 },
);

const everything = [ruleOf({ kind: 'requests', limit: 6 }), ruleOf({ kind: 'tokens', limit: 90 }), ruleOf({ kind: 'concurrency', limit: 4 }), ruleOf({ kind: 'budget', limit: 200 })];

/** Plays the steps. @returns all that the store said. */
async function play({ clock, store }: Bench, script: readonly Step[]): Promise<unknown[]> {
  const heard: unknown[] = [];
  const held: ChargeSet[] = [];
  for (const step of script) {
    clock.tick(step.passed);
    if (step.kind === 'ask') {
      const set = chargesOf(step.fairnessKey, everything.map((rule, at) => [rule, step.amounts[at] as number] as const));
      const taken = await store.take(set);
      if (taken) held.push(set);
      heard.push([taken, found(set)]);
    } else if (held.length > 0) {
      const [set] = held.splice(step.nth % held.length, 1);
      finish(store, set as ChargeSet, ...step.actual);
    }
  }
  return heard;
}

/** The rules as one would explain them, without any care for speed: every count kept with its time. */
async function explained(script: readonly Step[]): Promise<boolean[]> {
  const answers: boolean[] = [];
  const counted: { fairnessKey: string; at: number; amounts: number[]; ended: boolean }[] = [];
  const held: (typeof counted)[number][] = [];
  let now = 0;
  for (const step of script) {
    now += step.passed;
    if (step.kind === 'end') {
      const [request] = held.length > 0 ? held.splice(step.nth % held.length, 1) : [];
      if (request === undefined) continue;
      request.amounts = [...step.actual];
      request.ended = true;
      continue;
    }
    const mine = counted.filter(({ fairnessKey }) => fairnessKey === step.fairnessKey);
    const recent = mine.filter(({ at }) => at > now - window);
    const sum = (of: typeof counted, rule: number): number => of.reduce((total, each) => total + (each.amounts[rule] as number), 0);
    const used = [sum(recent, 0), sum(recent, 1), mine.filter(({ ended }) => !ended).length, sum(mine, 3)];
    const fits = everything.every(({ limit, kind }, rule) => (used[rule] as number) + Math.max(kind === 'budget' ? 1 : 0, step.amounts[rule] as number) <= limit);
    answers.push(fits);
    if (!fits) continue;
    const request = { fairnessKey: step.fairnessKey, at: now, amounts: [...step.amounts], ended: false };
    counted.push(request);
    held.push(request);
  }
  return answers;
}

/** Entries of their own, and requests that end within the window: then nothing is rounded, and the explanation is exact. */
const exact = (script: readonly Step[]): Step[] => script.map((step) => ({ ...step, passed: step.passed < 100 ? 0 : step.kind === 'end' ? 0 : step.passed }));

describe('the arithmetic', () => {
  it('of the memory store is that of the explanation', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const bench = await inMemory();
        const plain = exact(script).filter(({ kind }) => kind === 'ask');
        assert.deepEqual((await play(bench, plain)).map((heard) => (heard as [boolean])[0]), await explained(plain));
      }),
      { numRuns: 200 },
    );
  });

  it('of the memory store settles as the explanation does', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const still = script.map((step) => ({ ...step, passed: 0 }));
        assert.deepEqual((await play(await inMemory(), still)).map((heard) => (heard as [boolean])[0]), await explained(still));
      }),
      { numRuns: 200 },
    );
  });

  it('is the same in memory and in Redis, number by number', { skip: withoutRedis }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        assert.deepEqual(await play(await inRedis(), script), await play(await inMemory(), script));
      }),
      { numRuns: 150 },
    );
  });
});

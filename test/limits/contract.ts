import assert from 'node:assert/strict';
import type { Rule, ChargeSet } from '../../lib/limits/charge.ts';
import type { FakeClock } from '../support/clock.ts';
import { chargesOf, found, ruleOf, window, type Driven } from './charges.ts';

/** A store that begins empty, on a clock of the test's own. */
export interface Bench {
  readonly clock: FakeClock;
  readonly store: Driven;
}

export type Make = () => Promise<Bench>;

/** Something every store keeps to. */
export interface Promised {
  readonly what: string;
  holds(make: Make): Promise<void>;
}

/** Ends a request. @param actual what it used of each rule; as much as it took where nothing is said. */
export const finish = (store: Driven, set: ChargeSet, ...actual: readonly number[]): void => {
  for (const [at, charge] of set.charges.entries()) charge.actual = actual[at] ?? charge.amount;
  store.settle(set);
};

export const requests = ruleOf({ kind: 'requests', limit: 3 });
export const tokens = ruleOf({ kind: 'tokens', limit: 100 });
export const slots = ruleOf({ kind: 'concurrency', limit: 2 });
export const budget = ruleOf({ kind: 'budget', limit: 1000 });

/** What limits promise wherever they count. */
export const contract: readonly Promised[] = [
  {
    what: 'lets exactly the limit pass, and says when there is room again',
    async holds(make) {
      const { clock, store } = await make();
      const ask = async (): Promise<ChargeSet | null> => {
        const set = chargesOf('a', [[requests, 1]]);
        return (await store.take(set)) ? null : set;
      };
      assert.equal(await ask(), null);
      clock.tick(1000);
      assert.deepEqual([await ask(), await ask()], [null, null]);
      const refused = (await ask()) as ChargeSet;
      assert.deepEqual(found(refused), [{ used: 3, fits: false, wait: window - 1000, reset: window }]);
      clock.tick(window - 1001);
      assert.notEqual(await ask(), null);
      clock.tick(1);
      assert.equal(await ask(), null);
      assert.notEqual(await ask(), null);
    },
  },
  {
    what: 'counts together what is nearer than a sixtieth of the window, and apart what is not',
    async holds(make) {
      for (const [passed, used] of [[99, 2], [100, 1]] as const) {
        const { clock, store } = await make();
        await store.take(chargesOf('a', [[requests, 1]]));
        clock.tick(passed);
        await store.take(chargesOf('a', [[requests, 1]]));
        clock.tick(window - passed);
        const third = chargesOf('a', [[requests, 1]]);
        await store.take(third);
        assert.equal(third.charges[0]?.used, used);
      }
    },
  },
  {
    what: 'takes from all rules or from none',
    async holds(make) {
      const { store } = await make();
      const both = chargesOf('a', [[requests, 1], [slots, 1], [budget, 100], [tokens, 101]]);
      assert.equal(await store.take(both), false);
      assert.deepEqual(both.charges.map(({ fits }) => fits), [true, true, true, false]);
      const again = chargesOf('a', [[requests, 1], [slots, 1], [budget, 100], [tokens, 100]]);
      assert.equal(await store.take(again), true);
      assert.deepEqual(again.charges.map(({ used }) => used), [0, 0, 0, 0]);
    },
  },
  {
    what: 'says never to what is larger than the limit',
    async holds(make) {
      const { store } = await make();
      const set = chargesOf('a', [[tokens, 101]]);
      await store.take(set);
      assert.equal(set.charges[0]?.wait, Infinity);
    },
  },
  {
    what: 'counts in a rule that only observes what it would have refused',
    async holds(make) {
      const { store } = await make();
      const rule: Rule = { ...requests, limit: 1, share: 1, observe: true };
      for (const fits of [true, false, false]) {
        const set = chargesOf('a', [[rule, 1]]);
        assert.equal(await store.take(set), true);
        assert.equal(set.charges[0]?.fits, fits);
      }
      const strict = chargesOf('a', [[{ ...rule, limit: 3, share: 3, observe: false }, 1]]);
      assert.equal(await store.take(strict), false);
      assert.equal(strict.charges[0]?.used, 3);
    },
  },
  {
    what: 'settles tokens and money by what was used, and gives back what was not',
    async holds(make) {
      const { store } = await make();
      const first = chargesOf('a', [[tokens, 60], [budget, 600], [requests, 1]]);
      await store.take(first);
      finish(store, first, 10, 1000, 0);
      const second = chargesOf('a', [[tokens, 90], [budget, 0], [requests, 1]]);
      assert.equal(await store.take(second), false);
      assert.deepEqual(second.charges.map(({ used, fits }) => [used, fits]), [[10, true], [1000, false], [0, true]]);
    },
  },
  {
    what: 'counts the tokens of an answer that took longer than the window when it ends',
    async holds(make) {
      const { clock, store } = await make();
      const long = chargesOf('a', [[tokens, 60]]);
      await store.take(long);
      clock.tick(window + 1);
      finish(store, long, 80);
      const next = chargesOf('a', [[tokens, 30]]);
      assert.equal(await store.take(next), false);
      assert.equal(next.charges[0]?.used, 80);
    },
  },
  {
    what: 'gives slots back, each once',
    async holds(make) {
      const { store } = await make();
      const held = [chargesOf('a', [[slots, 1]]), chargesOf('a', [[slots, 1]])] as const;
      for (const set of held) assert.equal(await store.take(set), true);
      assert.equal(await store.take(chargesOf('a', [[slots, 1]])), false);
      assert.equal(await store.take(chargesOf('b', [[slots, 1]])), true);
      finish(store, held[0], 0);
      assert.equal(await store.take(chargesOf('a', [[slots, 1]])), true);
      assert.equal(await store.take(chargesOf('a', [[slots, 1]])), false);
    },
  },
  {
    what: 'has no room in a spent budget, not even for what costs nothing',
    async holds(make) {
      const { store } = await make();
      const all = chargesOf('a', [[budget, 1000]]);
      assert.equal(await store.take(all), true);
      const free = chargesOf('a', [[budget, 0]]);
      assert.equal(await store.take(free), false);
      finish(store, all, 999);
      assert.equal(await store.take(chargesOf('a', [[budget, 0]])), true);
      assert.equal(await store.take(chargesOf('a', [[budget, 2]])), false);
    },
  },
];

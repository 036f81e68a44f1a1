import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { strategyOf } from '../../lib/upstream/strategy.ts';
import type { Target } from '../../lib/upstream/targets.ts';
import { generator } from '../support/random.ts';

const target = (name: string, weight = 1, inHand = 0): Target => ({ name, weight, inHand }) as unknown as Target;
const names = (targets: readonly Target[]): string => targets.map(({ name }) => name).join('');

describe('every strategy', () => {
  for (const strategy of ['failover', 'weighted', 'least_busy'] as const) {
    it(`${strategy} keeps each target once and leaves the list alone`, () => {
      const list = Object.freeze([target('a', 5, 3), target('b', 1, 2), target('c', 2, 9)]) as readonly Target[];
      assert.deepEqual([...names(strategyOf(strategy)(list))].sort(), ['a', 'b', 'c']);
      assert.equal(names(strategyOf(strategy)(list.slice(0, 1))), 'a');
      assert.equal(names(strategyOf(strategy)([])), '');
    });
  }
});

describe('failover', () => {
  it('takes them as listed, however busy', () => {
    assert.equal(names(strategyOf('failover')([target('a', 1, 100), target('b', 1000), target('c')])), 'abc');
  });
});

describe('weighted', () => {
  it('asks each first by its weight, and the others after it', () => {
    const next = generator(7);
    const select = strategyOf('weighted', () => (next(1_000_000) + 0.5) / 1_000_000);
    const list = [target('a', 6), target('b', 3), target('c', 1)];
    const orders = Array.from({ length: 5000 }, () => names(select(list)));
    const share = (test: (order: string) => boolean): number => orders.filter(test).length / orders.length;
    for (const [name, expected] of [['a', 0.6], ['b', 0.3], ['c', 0.1]] as const) {
      assert.ok(Math.abs(share((order) => order[0] === name) - expected) < 0.03, name);
    }
    const behindA = orders.filter((order) => order[0] === 'a');
    assert.ok(Math.abs(behindA.filter((order) => order[1] === 'b').length / behindA.length - 0.75) < 0.04);
  });

  it('stands the ends of the random scale', () => {
    for (const value of [0, 1 - Number.EPSILON]) assert.equal(names(strategyOf('weighted', () => value)([target('a'), target('b', 1000)])).length, 2);
  });
});

describe('least_busy', () => {
  for (const [name, list, order] of [
    ['the fewest in hand first', [target('a', 1, 3), target('b', 1, 1), target('c', 1, 2)], 'bca'],
    ['as listed among equals', [target('a'), target('b'), target('c')], 'abc'],
    ['what a weight allows for', [target('a', 1, 2), target('b', 4, 6)], 'ba'],
    ['as listed when shares are equal', [target('a', 2, 2), target('b', 4, 4)], 'ab'],
  ] as const) {
    it(`takes ${name}`, () => assert.equal(names(strategyOf('least_busy')(list)), order));
  }
});

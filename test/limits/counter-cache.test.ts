import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStore } from '../../lib/limits/memory-store.ts';
import { CounterCache } from '../../lib/limits/policy-index.ts';
import type { Counter } from '../../lib/limits/charge.ts';
import { fakeClock } from '../support/clock.ts';
import { chargeOf, counterOf, ruleOf, window } from './charges.ts';
import { budget, requests, slots } from './contract.ts';

const noon = Date.UTC(2026, 0, 5, 12);
const day = 86_400_000;

describe('the counter cache', () => {
  it('has one list for a caller and a set of rules', () => {
    const cache = new CounterCache();
    const rules = [requests, slots];
    const counters = cache.of(rules, 'a', noon);
    const [first] = counters;
    assert.equal(first?.key, 'key.requests:a');
    assert.equal(cache.of(rules, 'a', noon + day), counters);
    assert.equal(counters[0], first);
    assert.notEqual(cache.of(rules, 'b', noon), counters);
    assert.notEqual(cache.of([...rules], 'a', noon), counters);
  });

  it('has another counter for another day, and the same all day', () => {
    const cache = new CounterCache();
    const rules = [budget];
    const at = (time: number): Counter | undefined => cache.of(rules, 'a', time)[0];
    const today = at(noon);
    assert.deepEqual([today?.key, today?.until], ['key.budget.2026-01-05:a', Date.UTC(2026, 0, 6)]);
    assert.equal(at(noon + day / 2 - 1), today);
    assert.equal(at(noon + day / 2)?.key, 'key.budget.2026-01-06:a');
    assert.equal(at(noon)?.key, today?.key);
  });

  it('drops all lists when there are too many', () => {
    const cache = new CounterCache();
    const rules = [requests];
    const first = cache.of(rules, 'first', noon);
    for (let n = 1; n < 10_000; n++) cache.of(rules, `stranger ${n}`, noon);
    assert.equal(cache.of(rules, 'first', noon), first);
    const last = cache.of(rules, 'one more', noon);
    assert.notEqual(cache.of(rules, 'first', noon), first);
    assert.equal(cache.of(rules, 'one more', noon), last);
  });
});

describe('a counter of the memory store', () => {
  const rule = ruleOf({ kind: 'requests', limit: 5 });
  const usedBefore = (store: MemoryStore, counter: Counter): number => {
    const charge = chargeOf(counter, 1);
    store.take({ id: 'r', charges: [charge], holder: null });
    return charge.used;
  };

  it('counts with others of its name, also when the store had dropped its count in between', () => {
    const clock = fakeClock(noon);
    const store = new MemoryStore(clock, null);
    const [kept, other] = [counterOf(rule, 'a'), counterOf(rule, 'a')];
    assert.deepEqual([usedBefore(store, kept), usedBefore(store, other), usedBefore(store, kept)], [0, 1, 2]);
    const before = kept.state;
    clock.tick(window);
    for (let n = 0; n < 1000; n++) usedBefore(store, counterOf(rule, `stranger ${n}`));
    assert.equal(before?.gone, true);
    assert.deepEqual([usedBefore(store, other), usedBefore(store, kept), usedBefore(store, other)], [0, 1, 2]);
    assert.equal(kept.state, other.state);
  });
});

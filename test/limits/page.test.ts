import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStore } from '../../lib/limits/memory-store.ts';
import { Pages } from '../../lib/limits/page.ts';
import { Account, Ask, Taking } from '../../lib/limits/rule.ts';
import { fakeClock } from '../support/clock.ts';
import { ruleOf, window } from './both.ts';
import { budget, requests, slots } from './contract.ts';

const noon = Date.UTC(2026, 0, 5, 12);
const day = 86_400_000;

describe('a page', () => {
  it('is one for a caller and a set of rules', () => {
    const pages = new Pages();
    const rules = [requests, slots];
    const page = pages.of(rules, 'a', noon);
    assert.equal(page.account(0, noon).key, 'key.requests:a');
    assert.equal(pages.of(rules, 'a', noon + day), page);
    assert.equal(page.account(0, noon + day), page.account(0, noon));
    assert.notEqual(pages.of(rules, 'b', noon), page);
    assert.notEqual(pages.of([...rules], 'a', noon), page);
  });

  it('has another account for another day, and the same all day', () => {
    const page = new Pages().of([budget], 'a', noon);
    const today = page.account(0, noon);
    assert.deepEqual([today.key, today.until], ['key.budget.2026-01-05:a', Date.UTC(2026, 0, 6)]);
    assert.equal(page.account(0, noon + day / 2 - 1), today);
    assert.equal(page.account(0, noon + day / 2).key, 'key.budget.2026-01-06:a');
    assert.equal(page.account(0, noon).key, today.key);
  });

  it('goes, with all others, when there are too many', () => {
    const pages = new Pages();
    const rules = [requests];
    const first = pages.of(rules, 'first', noon);
    for (let n = 1; n < 10_000; n++) pages.of(rules, `stranger ${n}`, noon);
    assert.equal(pages.of(rules, 'first', noon), first);
    const last = pages.of(rules, 'one more', noon);
    assert.notEqual(pages.of(rules, 'first', noon), first);
    assert.equal(pages.of(rules, 'one more', noon), last);
  });
});

describe('an account of the memory store', () => {
  const rule = ruleOf({ kind: 'requests', limit: 5 });
  const once = (store: MemoryStore, account: Account): number => {
    const ask = new Ask(account, 1);
    store.take(new Taking('r', [ask]), () => undefined);
    return ask.used;
  };

  it('counts with others of its name, also when the store had forgotten the counter in between', () => {
    const clock = fakeClock(noon);
    const store = new MemoryStore(clock, null);
    const [kept, other] = [new Account(rule, 'a', 0), new Account(rule, 'a', 0)];
    assert.deepEqual([once(store, kept), once(store, other), once(store, kept)], [0, 1, 2]);
    const before = kept.counter;
    clock.tick(window);
    for (let n = 0; n < 1000; n++) once(store, new Account(rule, `stranger ${n}`, 0));
    assert.equal(before?.gone, true);
    assert.deepEqual([once(store, other), once(store, kept), once(store, other)], [0, 1, 2]);
    assert.equal(kept.counter, other.counter);
  });
});

import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { grainOf, WindowLog } from '../../lib/limits/memory-store.ts';

const window = 6000;

describe('a window', () => {
  it('counts what came within it, to the millisecond where it came at once', () => {
    const log = new WindowLog(window);
    log.add(3, 1000);
    assert.equal(log.total(1000), 3);
    assert.equal(log.total(6999), 3);
    assert.equal(log.total(7000), 0);
  });

  it('says when enough will have left, and when all will', () => {
    const log = new WindowLog(window);
    log.add(2, 0);
    log.add(5, 1000);
    assert.equal(log.total(2000), 7);
    assert.deepEqual([log.untilLeft(1, 2000), log.untilLeft(2, 2000), log.untilLeft(3, 2000), log.untilLeft(8, 2000)], [4000, 4000, 5000, Infinity]);
    assert.equal(log.untilEmpty(2000), 5000);
  });

  it('corrects an entry while it counts, and counts late what comes after it left', () => {
    const log = new WindowLog(window);
    const early = log.add(10, 0);
    log.correct(early, -4, 6, 3000);
    assert.equal(log.total(3000), 6);
    log.correct(early, -100, 0, 3000);
    assert.equal(log.total(3000), 0);
    log.correct(early, -3, 7, 9000);
    assert.equal(log.total(9000), 7);
    assert.equal(log.total(15_000), 0);
  });

  it('keeps some sixty entries however often it is used', () => {
    const log = new WindowLog(window);
    for (let now = 0; now < 60_000; now++) {
      log.total(now);
      log.add(1, now);
    }
    const total = log.total(60_000);
    assert.ok(total >= window && total < window + grainOf(window), String(total));
    const leaving = new Set(Array.from({ length: total }, (_, surplus) => log.untilLeft(surplus + 1, 60_000)));
    assert.ok(leaving.size >= 60 && leaving.size <= 62, String(leaving.size));
  });

  it('forgets as it should when the clock is set back', () => {
    const log = new WindowLog(window);
    log.add(5, 3_600_000);
    assert.equal(log.total(1000), 5);
    assert.equal(log.total(7000), 0);
  });
});

/** Time passed, and how much is asked for. */
const steps = (most: number) => fc.array(fc.tuple(fc.integer({ min: 0, max: 2500 }), fc.integer({ min: 1, max: most })), { maxLength: 150 });

describe('whatever comes whenever', () => {
  it('no stretch of a window\'s length holds more than the limit, and what a sixtieth more would let in gets in', () => {
    fc.assert(
      fc.property(steps(4), fc.integer({ min: 1, max: 12 }), (asked, limit) => {
        const log = new WindowLog(window);
        const admitted: [at: number, amount: number][] = [];
        const since = (from: number): number => admitted.filter(([at]) => at > from).reduce((sum, [, amount]) => sum + amount, 0);
        let now = 1_700_000_000_000;
        for (const [passed, amount] of asked) {
          now += passed;
          const fits = log.total(now) + amount <= limit;
          if (since(now - window - grainOf(window)) + amount <= limit) assert.ok(fits, 'a place was free');
          if (!fits) continue;
          log.add(amount, now);
          admitted.push([now, amount]);
          assert.ok(since(now - window) <= limit);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('waiting as long as it says is enough, and a millisecond less is not', () => {
    fc.assert(
      fc.property(steps(4), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }), (added, limit, amount) => {
        const log = new WindowLog(window);
        let now = 1_700_000_000_000;
        for (const [passed, count] of added) log.add(count, (now += passed));
        const surplus = log.total(now) + amount - limit;
        fc.pre(surplus > 0);
        const wait = log.untilLeft(surplus, now);
        if (!Number.isFinite(wait)) return assert.ok(amount > limit);
        assert.ok(wait > 0);
        assert.ok(log.total(now + wait - 1) + amount > limit);
        assert.ok(log.total(now + wait) + amount <= limit);
      }),
      { numRuns: 300 },
    );
  });
});

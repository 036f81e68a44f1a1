import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { RetrySchedule, type Intake } from '../../lib/queue/retry-schedule.ts';

const noon = Date.UTC(2026, 0, 5, 12);
const quick: Intake = { perSecond: 20, atOnce: 1000 };

/** How many come back in each second. */
function spread(seconds: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const second of seconds) counts.set(second, (counts.get(second) ?? 0) + 1);
  return counts;
}

describe('when those sent away may come back', () => {
  it('is spread so that each second has no more than come free in it', () => {
    const returns = new RetrySchedule();
    const counts = spread(Array.from({ length: 200 }, (_, n) => returns.book(`caller ${n}`, noon, 0, quick)));
    assert.deepEqual([...counts.values()], [...Array.from({ length: 11 }, () => 17), 13]);
    assert.deepEqual([...counts.keys()], Array.from({ length: 12 }, (_, n) => n + 1));
  });

  it('is spread for one caller just as for many', () => {
    const returns = new RetrySchedule();
    const counts = spread(Array.from({ length: 500 }, () => returns.book('flood', noon, 0, quick)));
    assert.ok([...counts.values()].every((count) => count <= 20));
    assert.ok(Math.max(...counts.keys()) <= 500 / 17 + 1);
  });

  it('is soon for others, however often a flood was sent away before', () => {
    for (const perSecond of [20, 1, 0.1]) {
      const returns = new RetrySchedule();
      const intake = { perSecond, atOnce: 8 };
      for (let n = 0; n < 480; n++) returns.book('flood', noon, 0, intake);
      for (let other = 1; other <= 3; other++) assert.ok(returns.book(`other ${other}`, noon, 0, intake) <= (other + 2) / perSecond + 5, `${perSecond}`);
    }
  });

  it('is not more at one moment than can be taken in', () => {
    const returns = new RetrySchedule();
    const counts = spread(Array.from({ length: 60 }, (_, n) => returns.book(`caller ${n}`, noon, 0, { perSecond: 500, atOnce: 8 })));
    assert.deepEqual([...counts.values()], Array.from({ length: 15 }, () => 4));
  });

  it('is minutes away where a turn takes long', () => {
    const returns = new RetrySchedule();
    const seconds = Array.from({ length: 12 }, (_, n) => returns.book(`caller ${n}`, noon, 0, { perSecond: 0.1, atOnce: 2 }));
    for (let n = 1; n < seconds.length; n++) assert.ok((seconds[n] as number) - (seconds[n - 1] as number) >= 10, String(seconds));
    assert.ok((seconds[11] as number) <= 200);
  });

  it('is never before there can be room, at least a second and at most an hour', () => {
    const rates = fc.record({ perSecond: fc.double({ min: 1e-6, max: 1e6, noNaN: true }), atOnce: fc.integer({ min: 1, max: 1e6 }) });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), rates, fc.nat(100_000), fc.nat(3000)), { maxLength: 60 }), (asked) => {
        const returns = new RetrySchedule();
        let now = noon;
        for (const [fairnessKey, intake, earliest, later] of asked) {
          now += later;
          const seconds = returns.book(String(fairnessKey), now, earliest, intake);
          assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 3600);
          assert.ok(seconds >= Math.floor(earliest / 1000));
        }
      }),
    );
  });

  it('costs the same however many were sent away: a square of their number would outlast every test', () => {
    const returns = new RetrySchedule();
    for (let n = 0; n < 200_000; n++) returns.book(`caller ${n % 50_000}`, noon + n / 10, 0, { perSecond: 0.5, atOnce: 1 });
  });
});

describe('a promise', () => {
  it('is kept once, to the caller that has it, about the time it was given for', () => {
    const returns = new RetrySchedule();
    const due = noon + returns.book('a', noon, 0, quick) * 1000;
    assert.equal(returns.redeem('a', due - 300), false);
    assert.equal(returns.redeem('b', due), false);
    assert.equal(returns.redeem('a', due), true);
    assert.equal(returns.redeem('a', due), false);
  });

  it('is over some seconds after its time', () => {
    const returns = new RetrySchedule();
    const due = noon + returns.book('a', noon, 0, quick) * 1000;
    assert.equal(returns.redeem('a', due + 11_000), false);
    assert.equal(returns.redeem('a', due), false);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fakeClock } from './clock.ts';

test('timers fire in order of due time, then of arming, at their own moment', () => {
  const clock = fakeClock(1000);
  const fired: string[] = [];
  const arm = (name: string, ms: number) => clock.setTimeout(() => fired.push(`${name}@${clock.now()}`), ms);
  arm('late', 20);
  arm('first', 10);
  arm('second', 10);
  clock.tick(15);
  assert.deepEqual(fired, ['first@1010', 'second@1010']);
  assert.equal(clock.now(), 1015);
  clock.tick(5);
  assert.deepEqual(fired.at(-1), 'late@1020');
  assert.equal(clock.pending, 0);
});

test('refresh starts a timer again, fired or not; clearTimeout ends it', () => {
  const clock = fakeClock();
  let count = 0;
  const timer = clock.setTimeout(() => count++, 10);
  clock.tick(9);
  timer.refresh();
  clock.tick(9);
  assert.equal(count, 0);
  clock.tick(1);
  assert.equal(count, 1);
  timer.refresh();
  clock.tick(10);
  assert.equal(count, 2);
  clock.clearTimeout(timer);
  timer.refresh();
  clock.tick(100);
  assert.equal(count, 2);
  clock.clearTimeout(undefined);
});

test('a timer armed by a timer fires within the same tick when it falls due', () => {
  const clock = fakeClock(0);
  const at: number[] = [];
  const again = (): void => {
    at.push(clock.now());
    if (at.length < 3) clock.setTimeout(again, 10);
  };
  clock.setTimeout(again, 10);
  clock.tick(100);
  assert.deepEqual(at, [10, 20, 30]);
});

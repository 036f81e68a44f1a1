import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Probes } from '../../lib/request/request.ts';

const second = 1000;

/** Probes at these times; the last may be told. */
function probed(times: readonly number[], isTold = false): Probes {
  const probes = new Probes();
  for (const [nth, at] of times.entries()) probes.note('prober', at * second, isTold && nth === times.length - 1);
  return probes;
}

test('a probe is expected from whoever keeps a steady pace, until it is told or stays away', () => {
  const table: readonly (readonly [string, readonly number[], boolean, number, number, boolean])[] = [
    ['none', [], false, 0, 60, false],
    ['one', [0], false, 1, 60, false],
    ['two', [0, 10], false, 11, 60, false],
    ['three at a steady pace', [0, 10, 20], false, 21, 60, true],
    ['a pace with a little drift', [0, 10, 21], false, 22, 60, true],
    ['a start that asks until it is ready, and again by hand', [0, 0.1, 0.2, 9], false, 9.1, 60, false],
    ['gone for longer than it should', [0, 10, 20], false, 36, 60, false],
    ['told', [0, 10, 20, 30], true, 31, 60, false],
    ['not before the end', [0, 30, 60], false, 61, 75, false],
  ];
  for (const [what, times, isTold, now, end, expected] of table) assert.equal(probed(times, isTold).isExpected(now * second, end * second), expected, what);
});

test('callers are remembered in a bounded number', () => {
  const probes = new Probes();
  for (let round = 0; round < 3; round++) for (let caller = 0; caller < 40; caller++) probes.note(String(caller), round * second, false);
  // Each is forgotten before it comes again.
  assert.equal(probes.isExpected(2 * second, 60 * second), false);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedCounts, sharedCountsMemory } from '../../lib/platform/shared-counts.ts';

test('workers count names together, and one that ends takes back what it has counted', () => {
  const memory = sharedCountsMemory(2);
  const [one, other] = [new SharedCounts(memory, 2, 0), new SharedCounts(memory, 2, 1)];
  const places = [one.add('a'), other.add('a'), other.add('a'), one.add('b')];
  assert.deepEqual([one.of('a'), other.of('a'), one.of('b'), one.of('c')], [3, 3, 1, 0]);
  other.remove(places[1] as number);
  assert.equal(one.of('a'), 2);
  SharedCounts.clear(memory, 2, 1);
  assert.deepEqual([one.of('a'), one.of('b')], [1, 1]);
});

test('places that are free again go to other names, and what finds none is not counted', () => {
  const counts = new SharedCounts(sharedCountsMemory(1), 1, 0);
  for (let nth = 0; nth < 100_000; nth++) {
    const place = counts.add(`address ${nth}`);
    assert.notEqual(place, -1);
    counts.remove(place);
  }
  const held = Array.from({ length: 70_000 }, (_, nth) => counts.add(`held ${nth}`)).filter((place) => place !== -1);
  assert.ok(held.length > 50_000 && new Set(held).size === held.length, `${held.length}`);
});

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Rounds } from '../../lib/platform/rounds.ts';

const round = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

it('runs a few callbacks in each round of the event loop, in order, those that are added meanwhile too', async () => {
  const rounds = new Rounds(2);
  const ran: number[] = [];
  const soFar = (): number[] => ran;
  for (const nth of [1, 2, 3]) rounds.add(() => void ran.push(nth));
  rounds.add(() => {
    ran.push(4);
    rounds.add(() => void ran.push(5));
  });
  assert.deepEqual(soFar(), []);
  await round();
  assert.deepEqual(soFar(), [1, 2]);
  await round();
  assert.deepEqual(soFar(), [1, 2, 3, 4]);
  await round();
  assert.deepEqual(soFar(), [1, 2, 3, 4, 5]);
  rounds.add(() => void ran.push(6));
  await round();
  assert.deepEqual(soFar(), [1, 2, 3, 4, 5, 6]);
});

import '../support/node.ts';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { WatchedFiles } from '../../lib/server/watched-files.ts';
import { scratch } from '../support/scratch.ts';

it('a file that is watched from now on has not changed, until it does', () => {
  const [first, second] = [join(scratch(), 'first'), join(scratch(), 'second')];
  writeFileSync(first, 'a');
  writeFileSync(second, 'a');
  let paths = [first];
  const files = new WatchedFiles(() => paths);
  const looks = (): boolean[] => [files.haveChanged(), files.haveChanged(), files.haveChanged()];
  assert.deepEqual(looks(), [false, false, false]);
  writeFileSync(first, 'changed');
  // Once it rests.
  assert.deepEqual(looks(), [false, true, true]);
  files.taken();
  paths = [first, second];
  assert.deepEqual(looks(), [false, false, false]);
  writeFileSync(second, 'changed');
  assert.deepEqual(looks(), [false, true, true]);
  files.taken();
  paths = [second];
  assert.deepEqual(looks(), [false, false, false]);
});

import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeDirectory } from '../../lib/platform/directory.ts';
import { temporary } from '../support/gate.ts';

describe('a directory', () => {
  it('is made with those above it, for its owner alone, once', (t) => {
    const path = join(temporary(t), 'a/b/c');
    makeDirectory(path);
    makeDirectory(path);
    assert.deepEqual([statSync(path).isDirectory(), statSync(path).mode & 0o777], [true, 0o700]);
  });

  it('that cannot be made is an error, not a wait without end', { skip: process.platform === 'linux' ? false : 'there is no /proc' }, (t) => {
    assert.throws(() => makeDirectory('/proc/heimdall/data'), { code: 'ENOENT' });
    const file = join(temporary(t), 'file');
    writeFileSync(file, '');
    assert.throws(() => makeDirectory(join(file, 'data')), { code: 'ENOTDIR' });
  });
});

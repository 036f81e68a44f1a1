import assert from 'node:assert/strict';
import { chownSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { FileStore } from '../../lib/registry/file-store.ts';
import { installSecret } from '../../lib/identity/secret.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import { recorder, temporary } from '../support/gate.ts';

const skip = process.getuid?.() !== 0 && 'only root can give files away';

it('what root makes belongs to whom the directory belongs', { skip }, async (t) => {
  const directory = temporary(t);
  chownSync(directory, 12_345, 23_456);
  const store = new FileStore(join(directory, 'heimdall.state.db'), 100);
  await store.change(() => ({}));
  installSecret(resolveConfig({ audit: { path: join(directory, 'heimdall.db') } }), recorder());
  for (const name of ['heimdall.state.db', 'heimdall.state.db-wal', 'heimdall.secret']) {
    const { uid, gid, mode } = statSync(join(directory, name));
    assert.deepEqual([uid, gid, mode & 0o777], [12_345, 23_456, 0o600], name);
  }
  store.close();
});

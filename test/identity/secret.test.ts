import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { resolveConfig } from '../../lib/config/load.ts';
import { installSecret } from '../../lib/identity/secret.ts';
import { recorder, temporary } from '../support/gate.ts';

const configOf = (directory: string, secret?: string) => resolveConfig({ audit: { path: join(directory, 'heimdall.db') }, secret });

describe('the install secret', () => {
  it('is the configured one, and no file is written then', (t) => {
    const directory = temporary(t);
    assert.equal(installSecret(configOf(directory, 'a configured secret'), recorder()), 'a configured secret');
    assert.equal(existsSync(join(directory, 'heimdall.secret')), false);
  });

  it('is generated once, readable by its owner alone, in a directory made for it', (t) => {
    const directory = join(temporary(t), 'new', 'data');
    const secret = installSecret(configOf(directory), recorder());
    assert.match(secret, /^[0-9a-f]{64}$/);
    assert.equal(statSync(join(directory, 'heimdall.secret')).mode & 0o777, 0o600);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    assert.equal(installSecret(configOf(directory), recorder()), secret);
    assert.notEqual(installSecret(configOf(temporary(t)), recorder()), secret);
  });

  it('is read as an editor leaves it', (t) => {
    const directory = temporary(t);
    writeFileSync(join(directory, 'heimdall.secret'), '  my own words \r\n');
    assert.equal(installSecret(configOf(directory), recorder()), 'my own words');
  });

  it('lives in memory where nothing can be written or read, and says what that costs', (t) => {
    const inTheWay = join(temporary(t), 'file');
    writeFileSync(inTheWay, '');
    const isDirectory = temporary(t);
    mkdirSync(join(isDirectory, 'heimdall.secret'));
    const empty = temporary(t);
    writeFileSync(join(empty, 'heimdall.secret'), '\n');
    for (const directory of [join(inTheWay, 'data'), isDirectory, empty]) {
      const log = recorder();
      const secret = installSecret(configOf(directory), log);
      assert.match(secret, /^[0-9a-f]{64}$/);
      assert.equal(log.named('secret.in_memory').length, 1);
      assert.ok(!JSON.stringify(log.events).includes(secret));
    }
    assert.equal(readFileSync(join(empty, 'heimdall.secret'), 'utf8'), '\n');
  });

  it('is not overwritten by a file that may not be read', { skip: process.getuid?.() === 0 && 'root reads everything' }, (t) => {
    const directory = temporary(t);
    const path = join(directory, 'heimdall.secret');
    writeFileSync(path, 'kept secret');
    chmodSync(path, 0o000);
    assert.notEqual(installSecret(configOf(directory), recorder()), 'kept secret');
    chmodSync(path, 0o600);
    assert.equal(readFileSync(path, 'utf8'), 'kept secret');
  });

  it('is the same for all who start at once, and leaves nothing else behind', async (t) => {
    const directory = temporary(t);
    const code = `import { installSecret } from ${JSON.stringify(new URL('../../lib/identity/secret.ts', import.meta.url).href)}; process.stdout.write(installSecret({ secret: null, audit: { enabled: true, path: ${JSON.stringify(join(directory, 'heimdall.db'))} } }, console));`;
    const started = Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', code]));
    const secrets = (await Promise.all(started)).map(({ stdout }) => stdout);
    assert.match(secrets[0] as string, /^[0-9a-f]{64}$/);
    assert.equal(new Set(secrets).size, 1);
    assert.deepEqual(readdirSync(directory), ['heimdall.secret']);
  });

  it('is hidden again where a copy made it readable for others', (t) => {
    const directory = temporary(t);
    const path = join(directory, 'heimdall.secret');
    const secret = installSecret(configOf(directory), recorder());
    chmodSync(path, 0o644);
    assert.equal(installSecret(configOf(directory), recorder()), secret);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });
});

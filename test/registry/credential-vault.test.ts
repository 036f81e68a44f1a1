import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CredentialVault } from '../../lib/registry/credential-vault.ts';

const vault = (...secrets: readonly string[]): CredentialVault => new CredentialVault(() => secrets);
const token = 'sk-a-token-of-newapi';

describe('the vault', () => {
  it('opens what it sealed, and shows nothing of it', () => {
    const sealed = vault('secret').seal(token, 'team');
    assert.equal(vault('secret').open(sealed, 'team'), token);
    assert.ok(!Buffer.from(sealed, 'base64url').includes('newapi'));
    assert.notEqual(vault('secret').seal(token, 'team'), sealed);
  });

  it('opens what a previous secret sealed', () => {
    const sealed = vault('old').seal(token, 'team');
    assert.equal(vault('new', 'older', 'old').open(sealed, 'team'), token);
    assert.equal(vault('new', 'older').open(sealed, 'team'), null);
  });

  it('opens nothing that was changed, cut short or put beside another name', () => {
    const sealed = vault('secret').seal(token, 'team');
    const bytes = Buffer.from(sealed, 'base64url');
    for (const at of [0, 12, 28, bytes.length - 1]) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ 1;
      assert.equal(vault('secret').open(changed.toString('base64url'), 'team'), null, String(at));
    }
    assert.equal(vault('secret').open(sealed, 'other'), null);
    for (const length of [0, 5, 12, 20, 28]) assert.equal(vault('secret').open(bytes.subarray(0, length).toString('base64url'), 'team'), null, String(length));
  });

  it('asks for no secret before it needs one', () => {
    const asked: string[] = [];
    const lazy = new CredentialVault(() => [(asked.push('once'), 'secret')]);
    assert.deepEqual(asked, []);
    lazy.open(lazy.seal(token, 'a'), 'a');
    assert.deepEqual(asked, ['once']);
  });
});

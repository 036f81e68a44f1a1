import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { BanIndex } from '../../lib/registry/ban-index.ts';
import { readBan, spelling } from '../../lib/registry/ban.ts';
import { networkText } from '../../lib/identity/identity.ts';
import type { Ban, NewBan } from '../../types/registry.d.ts';

const now = 1_000_000;
const read = (ban: NewBan): Ban => readBan(ban, (name) => name === 'team', now);
const token = (id: string, ...former: string[]) => ({ id, former, mask: '' });

describe('a network', () => {
  it('has one spelling', () => {
    const spellings: [string, string | null][] = [
      ['203.0.113.7', '203.0.113.7'],
      ['203.0.113.7/32', '203.0.113.7'],
      ['203.0.113.7/24', '203.0.113.0/24'],
      ['255.255.255.255/1', '128.0.0.0/1'],
      ['10.1.2.3/0', '0.0.0.0/0'],
      ['::ffff:203.0.113.7', '203.0.113.7'],
      ['::FFFF:cb00:7107', '203.0.113.7'],
      ['::ffff:203.0.113.7/120', '203.0.113.0/24'],
      ['::ffff:203.0.113.7/90', null],
      ['2001:DB8:0:0::1', '2001:db8::1'],
      ['2001:db8::1/128', '2001:db8::1'],
      ['2001:db8:ffff:ffff::1/33', '2001:db8:8000::/33'],
      ['2001:db8:ffff:ffff::1/48', '2001:db8:ffff::/48'],
      ['::1/0', '::/0'],
      ['203.0.113.7/33', null],
      ['203.0.113.7/', null],
      ['203.0.113.7/24/8', null],
      ['203.0.113', null],
      ['example.com', null],
      ['', null],
    ];
    for (const [written, normal] of spellings) assert.equal(networkText(written), normal, written);
  });

  it('holds the address it was made of, and its spelling is stable', () => {
    const ip = fc.oneof(fc.ipV4().map((address) => [address, 32] as const), fc.ipV6().map((address) => [address, 128] as const));
    fc.assert(fc.property(ip, fc.nat(128), ([address, size], bits) => {
      const text = networkText(`${address}/${Math.min(bits, size)}`);
      // Mapped addresses are IPv4, whose networks cannot be that long.
      if (text === null) return assert.match(address, /^::f{4}:|^0*:0*:0*:0*:0*:f{4}:/i);
      assert.equal(networkText(text), text);
      const ban: Ban = { id: 'a', kind: 'address', value: text, reason: '', created: 0, expires: null };
      assert.equal(new BanIndex([ban], 0).ofAddress(networkText(address) as string), ban);
    }), { seed: 4, numRuns: 300 });
  });
});

describe('a ban', () => {
  it('is of what its value looks like', () => {
    const kinds: [string, string][] = [['203.0.113.7', 'address'], [' 2001:db8::/32 ', 'address'], ['0123456789abcdef', 'token'], ['team', 'key']];
    for (const [value, kind] of kinds) assert.equal(read({ value }).kind, kind, value);
    assert.equal(read({ value: 'nobody', kind: 'key' }).kind, 'key');
    assert.deepEqual({ ...read({ value: '203.0.113.9/24', reason: 'scans', expires: now + 1 }), id: 0 }, { id: 0, kind: 'address', value: '203.0.113.0/24', reason: 'scans', created: now, expires: now + 1 });
  });

  it('that is a typing error is refused with what is wrong', () => {
    const wrong: [NewBan, RegExp][] = [
      [{ value: 'tema' }, /^value: expected an address, a CIDR, the name of a key .* got "tema"\. Example: 203\.0\.113\.7$/],
      [{ value: '' }, /^value: expected an address/],
      [{ value: 'example.com', kind: 'address' }, /^value: expected an IP address or a CIDR, got "example\.com"/],
      [{ value: '0123', kind: 'token' }, /^value: expected the 16 hex digits/],
      [{ value: 'team', kind: 'user' as 'key' }, /^kind: expected address, key or token, got "user"/],
      [{ value: 'team', expires: now }, /^expires: expected a moment to come/],
      [{ value: 'team', expires: Number.NaN }, /^expires: /],
      [{ value: 'team', reason: 'a\nb' }, /^reason: expected one line/],
      [{ value: 'team', reason: 'a'.repeat(501) }, /^reason: .*got 501 characters/],
    ];
    for (const [ban, message] of wrong) assert.throws(() => read(ban), { code: 'invalid_value', message }, JSON.stringify(ban));
  });

  it('of half the internet, or of this machine, must be forced', () => {
    for (const value of ['0.0.0.0/0', '1.2.3.4/7', '::/0', '2000::/15', '::ffff:0.0.0.0/96', '127.0.0.1', '127.9.9.9', '127.0.0.0/8', '::1', '::/16', '::ffff:127.0.0.1']) {
      assert.throws(() => read({ value }), { code: 'invalid_value', field: 'value', message: /unless forced/ }, value);
      assert.equal(read({ value, force: true }).value, networkText(value), value);
    }
    for (const value of ['1.2.3.4/8', '2001::/16', '128.0.0.1']) assert.equal(read({ value }).kind, 'address', value);
  });

  it('can be named in any spelling', () => {
    assert.equal(spelling('::ffff:203.0.113.7'), '203.0.113.7');
    assert.equal(spelling('team'), 'team');
  });
});

describe('the bans in force', () => {
  const ban = (id: string, over: Partial<Ban>): Ban => ({ id, kind: 'address', value: '203.0.113.7', reason: '', created: 0, expires: null, ...over });

  it('are found by whom they concern', () => {
    const all = [ban('a', {}), ban('n', { value: '198.51.100.0/24' }), ban('6', { value: '2001:db8::/32' }), ban('k', { kind: 'key', value: 'team' }), ban('t', { kind: 'token', value: '0123456789abcdef' })];
    const index = new BanIndex(all, 0);
    const found = [
      index.ofAddress('203.0.113.7'), index.ofAddress('198.51.100.200'), index.ofAddress('2001:db8:1::1'), index.ofKey('team'), index.ofToken(token('0123456789abcdef')), index.ofToken(token('new', 'other', '0123456789abcdef')),
    ];
    assert.deepEqual(found.map((each) => each?.id), ['a', 'n', '6', 'k', 't', 't']);
    for (const nobody of [index.ofAddress('203.0.113.8'), index.ofAddress('2001:db9::1'), index.ofAddress(''), index.ofKey('203.0.113.7'), index.ofToken(token('team'))]) assert.equal(nobody, null);
  });

  it('leave out what is over, and say when the next one ends', () => {
    const index = new BanIndex([ban('a', { expires: 10 }), ban('b', { value: '203.0.113.8', expires: 20 }), ban('c', { value: '203.0.113.9' })], 10);
    assert.deepEqual([index.all.map(({ id }) => id), index.until, index.ofAddress('203.0.113.7')], [['b', 'c'], 20, null]);
    assert.deepEqual([new BanIndex([], 0).until, new BanIndex([], 0).isEmpty], [Number.POSITIVE_INFINITY, true]);
  });
});

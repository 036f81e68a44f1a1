import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AddressSet, clientAddress, parseAddress } from '../../lib/identity/address.ts';

describe('parseAddress', () => {
  const samples: Record<string, string | null> = {
    '203.0.113.9': '203.0.113.9',
    ' 203.0.113.9\t': '203.0.113.9',
    '203.0.113.9:5678': '203.0.113.9',
    '::ffff:203.0.113.9': '203.0.113.9',
    '::FFFF:203.0.113.9': '203.0.113.9',
    '::ffff:cb00:7109': '203.0.113.9',
    '0:0:0:0:0:ffff:203.0.113.9': '203.0.113.9',
    '[::ffff:203.0.113.9]:443': '203.0.113.9',
    '2001:db8::1': '2001:db8::1',
    '2001:DB8:0:0:0:0:0:1': '2001:db8::1',
    '2001:0db8::0001': '2001:db8::1',
    '[2001:db8::1]': '2001:db8::1',
    '[2001:db8::1]:443': '2001:db8::1',
    'fe80::1%eth0': 'fe80::1',
    '[fe80::1%25eth0]:80': 'fe80::1',
    '::1': '::1',
    '': null,
    unknown: null,
    _hidden: null,
    localhost: null,
    '203.0.113.256': null,
    '203.0.113': null,
    '0xcb.0.0x71.9': null,
    '203.0.113.09': null,
    '203.0.113.9.': null,
    '203.0.113.9 203.0.113.8': null,
    '203.0.113.9:port': null,
    '203.0.113.9:': null,
    '[203.0.113.90': null,
    '[2001:db8::1': null,
    '[2001:db8::1]x': null,
    '2001:db8::1::2': null,
    '[]': null,
    '[': null,
    '%eth0': null,
    '<script>': null,
    '127.0.0.1\n': '127.0.0.1',
  };
  for (const [text, expected] of Object.entries(samples)) {
    it(`reads ${JSON.stringify(text)} as ${expected}`, () => assert.equal(parseAddress(text), expected));
  }
});

describe('AddressSet', () => {
  it('knows each preset by its edges', () => {
    const samples: Record<string, { in: string[]; out: string[] }> = {
      loopback: { in: ['127.0.0.1', '127.255.255.255', '::1'], out: ['128.0.0.1', '126.255.255.255', '::2', '10.0.0.1'] },
      private: {
        in: ['10.0.0.0', '10.255.255.255', '172.16.0.1', '172.31.255.255', '192.168.0.1', '169.254.1.1', 'fc00::1', 'fdff::1', 'fe80::1', 'febf::1'],
        out: ['11.0.0.0', '172.15.255.255', '172.32.0.0', '192.169.0.0', 'fe00::1', 'fec0::1', '127.0.0.1', '::1'],
      },
      cloudflare: { in: ['104.16.0.1', '172.64.0.1', '162.159.255.255', '2606:4700::1111', '2a06:98c7::1'], out: ['104.32.0.1', '162.160.0.0', '2606:4701::1', '2a06:98c8::1', '10.0.0.1'] },
    };
    for (const [preset, { in: inside, out }] of Object.entries(samples)) {
      const set = new AddressSet([preset]);
      assert.deepEqual(inside.filter((address) => !set.has(address)), [], preset);
      assert.deepEqual(out.filter((address) => set.has(address)), [], preset);
    }
  });

  it('takes single addresses and CIDRs of both families', () => {
    const set = new AddressSet(['203.0.113.9', '198.51.100.0/24', '2001:db8::1', '2001:db8:1::/48']);
    assert.deepEqual(['203.0.113.9', '198.51.100.255', '2001:db8::1', '2001:db8:1:ffff::1'].map((address) => set.has(address)), [true, true, true, true]);
    assert.deepEqual(['203.0.113.8', '198.51.101.0', '2001:db8::2', '2001:db8:2::1'].map((address) => set.has(address)), [false, false, false, false]);
  });

  it('holds nothing when empty, and no text that is no address', () => {
    assert.deepEqual(['127.0.0.1', '::1', '', 'loopback'].map((address) => new AddressSet([]).has(address)), [false, false, false, false]);
    assert.equal(new AddressSet(['loopback']).has('loopback'), false);
  });

  it('answers alike however many other addresses it was asked about', () => {
    const set = new AddressSet(['10.0.0.0/8']);
    for (let n = 0; n < 3000; n++) assert.equal(set.has(`${n % 2 ? 10 : 11}.0.${n >> 8}.${n & 255}`), n % 2 === 1);
    assert.equal(set.has('10.0.0.1'), true);
  });
});

describe('clientAddress', () => {
  const trust = new AddressSet(['loopback', '10.0.0.0/8']);
  type Row = readonly [what: string, remote: string | undefined, headers: Record<string, string>, named: string | null, ip: string, trusted: boolean];
  const table: readonly Row[] = [
    ['a direct caller', '203.0.113.9', {}, null, '203.0.113.9', false],
    ['a direct caller that writes every header', '203.0.113.9', { 'x-forwarded-for': '10.0.0.1', 'x-real-ip': '127.0.0.1', 'cf-connecting-ip': '10.0.0.2' }, 'cf-connecting-ip', '203.0.113.9', false],
    ['a mapped peer', '::ffff:203.0.113.9', { 'x-forwarded-for': '127.0.0.1' }, null, '203.0.113.9', false],
    ['a mapped trusted peer', '::ffff:127.0.0.1', { 'x-forwarded-for': '203.0.113.9' }, null, '203.0.113.9', true],
    ['a trusted peer without headers', '127.0.0.1', {}, null, '127.0.0.1', true],
    ['one proxy', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9' }, null, '203.0.113.9', true],
    ['a value the client wrote left of the proxy\'s', '127.0.0.1', { 'x-forwarded-for': '198.51.100.1, 203.0.113.9' }, null, '203.0.113.9', true],
    ['two trusted hops', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9, 10.0.0.2' }, null, '203.0.113.9', true],
    ['a trusted address that the client wrote', '127.0.0.1', { 'x-forwarded-for': '10.9.9.9, 203.0.113.9, 10.0.0.2' }, null, '203.0.113.9', true],
    ['trusted hops only', '127.0.0.1', { 'x-forwarded-for': '10.0.0.3, 10.0.0.2' }, null, '10.0.0.3', true],
    ['an entry that is none', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9, unknown, 10.0.0.2' }, null, '10.0.0.2', true],
    ['a last entry that is none', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9, unknown' }, null, '127.0.0.1', true],
    ['an empty last entry', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9, ' }, null, '127.0.0.1', true],
    ['an empty chain', '127.0.0.1', { 'x-forwarded-for': '' }, null, '127.0.0.1', true],
    ['a chain with ports and brackets', '127.0.0.1', { 'x-forwarded-for': '[2001:db8::9]:1234, 10.0.0.2:80' }, null, '2001:db8::9', true],
    ['a mapped untrusted hop', '127.0.0.1', { 'x-forwarded-for': '198.51.100.1, ::ffff:203.0.113.9' }, null, '203.0.113.9', true],
    ['a mapped trusted hop', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9, ::ffff:10.0.0.2' }, null, '203.0.113.9', true],
    ['a mapped trusted hop in hex', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9, ::ffff:a00:2' }, null, '203.0.113.9', true],
    ['X-Real-IP alone', '127.0.0.1', { 'x-real-ip': '203.0.113.9' }, null, '203.0.113.9', true],
    ['X-Real-IP beside a chain', '127.0.0.1', { 'x-real-ip': '198.51.100.1', 'x-forwarded-for': '203.0.113.9' }, null, '203.0.113.9', true],
    ['an X-Real-IP that is none', '127.0.0.1', { 'x-real-ip': 'me' }, null, '127.0.0.1', true],
    ['the configured header', '127.0.0.1', { 'cf-connecting-ip': '203.0.113.9', 'x-forwarded-for': '198.51.100.1' }, 'cf-connecting-ip', '203.0.113.9', true],
    ['the configured header, absent', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9' }, 'cf-connecting-ip', '203.0.113.9', true],
    ['the configured header twice', '127.0.0.1', { 'cf-connecting-ip': '198.51.100.1, 203.0.113.9' }, 'cf-connecting-ip', '127.0.0.1', true],
    ['that header, not configured', '127.0.0.1', { 'cf-connecting-ip': '203.0.113.9' }, null, '127.0.0.1', true],
    ['a link-local peer with a zone', 'fe80::1%eth0', { 'x-forwarded-for': '203.0.113.9' }, null, 'fe80::1', false],
    ['a socket that is already gone', undefined, { 'x-forwarded-for': '203.0.113.9' }, null, '0.0.0.0', false],
  ];
  for (const [what, remote, headers, named, ip, trusted] of table) {
    it(`finds the client behind ${what}`, () => {
      const found = clientAddress(remote, headers, trust, named);
      assert.deepEqual({ ip: found.ip, trusted: found.trusted }, { ip, trusted });
    });
  }

  it('names the peer beside the client', () => {
    assert.equal(clientAddress('::ffff:127.0.0.1', { 'x-forwarded-for': '203.0.113.9' }, trust, null).peer, '127.0.0.1');
  });

  it("walks a chain of ten thousand entries to its end", () => {
    const chain = Array.from({ length: 10_000 }, () => '10.0.0.1').join(',');
    assert.equal(clientAddress('127.0.0.1', { 'x-forwarded-for': `203.0.113.9,${chain}` }, trust, null).ip, '203.0.113.9');
  });
});

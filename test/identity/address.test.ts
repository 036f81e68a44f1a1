import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { AddressSet, clientAddress, networkOf, parseAddress } from '../../lib/identity/address.ts';

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

/** An address in 128 bits, IPv4 where mapped ones lie. */
function bitsOf(address: string): bigint {
  if (!address.includes(':')) return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0xffffn);
  const [left = '', right] = address.split('::');
  const groups = (text: string): string[] => text.split(':').filter((group) => group !== '');
  const missing = right === undefined ? 0 : 8 - groups(left).length - groups(right).length;
  return [...groups(left), ...Array.from({ length: missing }, () => '0'), ...groups(right ?? '')].reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

const v4 = fc.ipV4();
/** All eight groups: how it is shortened is not this side's business. */
const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }).filter((all) => !(all.slice(0, 5).every((group) => group === 0) && [0, 0xffff].includes(all[5] ?? 0)));
const v6 = groups.map((all) => all.map((group) => group.toString(16)).join(':'));
const address = fc.oneof(v4, v6);

describe('an address, however it is made', () => {
  it('has one spelling', () => {
    fc.assert(fc.property(address, fc.nat({ max: 65_535 }), (text, port) => {
      const plain = parseAddress(text);
      assert.ok(plain !== null);
      assert.equal(bitsOf(plain), bitsOf(text));
      assert.equal(parseAddress(plain), plain);
      const spellings = text.includes(':') ? [text.toUpperCase(), `[${text}]`, `[${text}]:${port}`, `${text}%eth0`, ` ${text}`] : [`${text}:${port}`, `::ffff:${text}`, `::FFFF:${text}`, `[::ffff:${text}]:${port}`, `0:0:0:0:0:ffff:${text}`, `${text}\t`];
      for (const spelling of spellings) assert.equal(parseAddress(spelling), plain, spelling);
    }));
  });

  it('is read from nothing else', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%[]/x ') })), (text) => {
      const parsed = parseAddress(text);
      if (parsed !== null) assert.equal(parseAddress(parsed), parsed, text);
    }));
  });

  it('is in a network when its first bits are', () => {
    fc.assert(fc.property(fc.oneof(fc.tuple(v4, v4, fc.integer({ min: 0, max: 32 })), fc.tuple(v6, v6, fc.integer({ min: 0, max: 128 }))), ([network, other, prefix]) => {
      const size = network.includes(':') ? 128n : 32n;
      const drop = size - BigInt(prefix);
      const expected = bitsOf(network) >> drop === bitsOf(other) >> drop;
      const set = new AddressSet([`${network}/${prefix}`]);
      assert.equal(set.has(parseAddress(other) as string), expected, `${other} in ${network}/${prefix}`);
      assert.equal(set.has(parseAddress(network) as string), true);
    }));
  });

  it('counts as one sender with its neighbours in 56 bits, and with nobody else', () => {
    fc.assert(fc.property(v6, v6, (one, other) => {
      const [first, second] = [parseAddress(one) as string, parseAddress(other) as string];
      assert.equal(networkOf(first) === networkOf(second), bitsOf(one) >> 72n === bitsOf(other) >> 72n);
    }));
    fc.assert(fc.property(v4, (one) => assert.equal(networkOf(one), one)));
  });
});

describe('the client, whatever is written', () => {
  const trusted = fc.constantFrom('10.0.0.1', '10.200.3.4', '127.0.0.1', '::1', '::ffff:10.0.0.9');
  const outside = fc.oneof(v4.filter((text) => !/^(?:10|127)\./.test(text)), v6.filter((text) => parseAddress(text) !== '::1'));
  const trust = new AddressSet(['loopback', '10.0.0.0/8']);

  it('is the one the first trusted hop saw, whatever stands left of it', () => {
    fc.assert(fc.property(fc.string(), outside, fc.array(trusted, { maxLength: 4 }), (forged, client, hops) => {
      const chain = [forged.replaceAll(',', ''), client, ...hops].join(', ');
      assert.equal(clientAddress('127.0.0.1', { 'x-forwarded-for': chain }, trust, null).ip, parseAddress(client), chain);
    }));
  });

  it('is the peer where that is not trusted, whatever it sends', () => {
    fc.assert(fc.property(outside, fc.string(), fc.string(), fc.string(), (peer, chain, real, named) => {
      const headers = { 'x-forwarded-for': chain, 'x-real-ip': real, forwarded: `for=${chain}`, 'cf-connecting-ip': named };
      assert.deepEqual(clientAddress(peer, headers, trust, 'cf-connecting-ip'), { ip: parseAddress(peer), peer: parseAddress(peer), trusted: false });
    }));
  });

  it('is always an address', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (chain, real) => {
      const { ip } = clientAddress('127.0.0.1', { 'x-forwarded-for': chain, 'x-real-ip': real }, trust, null);
      assert.equal(parseAddress(ip), ip);
    }));
  });
});

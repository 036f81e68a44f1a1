import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { helloIn, ja4Of } from '../../lib/identity/ja4.ts';

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const list = (...values: number[]): Buffer => Buffer.concat(values.map(u16));
const block = (size: 1 | 2 | 3, bytes: Buffer): Buffer => {
  const length = Buffer.alloc(size);
  length.writeUIntBE(bytes.length, 0, size);
  return Buffer.concat([length, bytes]);
};

interface Parts {
  readonly version?: number;
  readonly ciphers?: readonly number[];
  readonly extensions?: readonly (readonly [type: number, data: Buffer])[];
}

/** The handshake message of a ClientHello, without a record around it. */
function message({ version = 0x0303, ciphers = [], extensions }: Parts): Buffer {
  const rest = extensions && block(2, Buffer.concat(extensions.map(([type, data]) => Buffer.concat([u16(type), block(2, data)]))));
  const body = Buffer.concat([u16(version), Buffer.alloc(32, 7), block(1, Buffer.alloc(32, 9)), block(2, list(...ciphers)), block(1, Buffer.from([0])), rest ?? Buffer.alloc(0)]);
  return Buffer.concat([Buffer.from([1]), block(3, body)]);
}

const record = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([22, 3, 1]), block(2, bytes)]);
const fingerprint = (parts: Parts): string => {
  const hello = helloIn(record(message(parts)));
  assert.ok(hello !== null && hello !== 'more');
  return ja4Of(hello);
};

const protocols = (...names: (string | Buffer)[]): readonly [number, Buffer] => [0x0010, block(2, Buffer.concat(names.map((name) => block(1, Buffer.from(name)))))];
const signatures = (...values: number[]): readonly [number, Buffer] => [0x000d, block(2, list(...values))];
const empty = Buffer.alloc(0);

/** The browser of FoxIO's own example, GREASE where Chrome puts it. */
const example: Parts = {
  ciphers: [0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035],
  extensions: [
    [0x2a2a, empty], [0x001b, empty], [0x0000, block(2, Buffer.from('\0\0\x01a', 'latin1'))], [0x0033, empty], protocols('h2', 'http/1.1'), [0x4469, empty], [0x0017, empty], [0x002d, empty],
    signatures(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601), [0x0005, empty], [0x0023, empty], [0x0012, empty],
    [0x002b, block(1, list(0xdada, 0x0304, 0x0303))], [0xff01, empty], [0x000b, empty], [0x000a, empty], [0x0015, empty], [0x3a3a, Buffer.from([0])],
  ],
};

describe('JA4', () => {
  it('is the one its authors give for their example', () => {
    assert.equal(fingerprint(example), 't13d1516h2_8daaf6152771_e5627efa2ab1');
  });

  it('hashes the extensions alone where no signature algorithm is named', () => {
    const extensions = example.extensions?.map(([type, data]) => (type === 0x000d ? ([type, block(2, empty)] as const) : ([type, data] as const))) ?? [];
    assert.equal(fingerprint({ ...example, extensions }), 't13d1516h2_8daaf6152771_6d807ffa2a79');
  });

  it('is the same in whatever order ciphers and extensions come', () => {
    const reversed = { ciphers: example.ciphers?.toReversed() ?? [], extensions: example.extensions?.toReversed() ?? [] };
    assert.equal(fingerprint(reversed), fingerprint(example));
  });

  it('shows that there is nothing instead of hashing nothing', () => {
    assert.equal(fingerprint({}), 't12i000000_000000000000_000000000000');
    assert.equal(fingerprint({ extensions: [] }), 't12i000000_000000000000_000000000000');
    assert.equal(fingerprint({ extensions: [[0x0000, empty], protocols('h2')] }), 't12d0002h2_000000000000_000000000000');
  });

  it('tells the version the client can at most, and 00 of one nobody knows', () => {
    const shown = (version: number, offered?: number[]): string => fingerprint({ version, ...(offered && { extensions: [[0x002b, block(1, list(...offered))]] }) }).slice(1, 3);
    assert.deepEqual([0x0303, 0x0302, 0x0301, 0x0300, 0x0002, 0x0305].map((version) => shown(version)), ['12', '11', '10', 's3', 's2', '00']);
    assert.deepEqual([[0x0303], [0x0304, 0x0303], [0x0303, 0x0304], [0xfafa, 0x0302], [0x7f1c]].map((offered) => shown(0x0303, offered)), ['12', '13', '13', '11', '00']);
  });

  it('counts to 99', () => {
    const ciphers = Array.from({ length: 120 }, (_, at) => at + 1);
    assert.equal(fingerprint({ ciphers }).slice(4, 6), '99');
    assert.equal(fingerprint({ ciphers: ciphers.slice(0, 7) }).slice(4, 6), '07');
  });

  it('takes the ends of the first protocol, in hex where they are no letter or digit', () => {
    const shown = (name: string | Buffer): string => fingerprint({ extensions: [protocols(name, 'h2')] }).slice(8, 10);
    const bytes = (...values: number[]): Buffer => Buffer.from(values);
    assert.deepEqual(['h2', 'http/1.1', 'a', '', 'a '].map(shown), ['h2', 'h1', 'aa', '00', '60']);
    assert.deepEqual([bytes(0xab), bytes(0xab, 0xcd), bytes(0x30, 0xab), bytes(0x30, 0x31, 0xab, 0xcd), bytes(0x30, 0xab, 0xcd, 0x31)].map(shown), ['ab', 'ad', '3b', '3d', '01']);
  });
});

describe('the look for a ClientHello', () => {
  const whole = message(example);

  it('waits for all of it, wherever the bytes break', () => {
    const bytes = record(whole);
    for (let end = 0; end < bytes.length; end++) assert.equal(helloIn(bytes.subarray(0, end)), 'more', `${end}`);
    assert.ok(typeof helloIn(Buffer.concat([bytes, Buffer.from('more of it')])) === 'object');
  });

  it('puts it together from several records', () => {
    const expected = helloIn(record(whole));
    for (const at of [1, 3, 4, 5, 100, whole.length - 1]) {
      const bytes = Buffer.concat([record(whole.subarray(0, at)), record(whole.subarray(at))]);
      assert.deepEqual(helloIn(bytes), expected, `${at}`);
      assert.equal(helloIn(bytes.subarray(0, -1)), 'more', `${at}`);
    }
  });

  it('sees at the first byte that something else comes', () => {
    for (const text of ['GET / HTTP/1.1\r\n', 'P', '\x15\x03\x01\0\x02\x01\0', '\x16\x03\x01\0\x04\x02\0\0\0', '\x16\x03\x01\0\0']) assert.equal(helloIn(Buffer.from(text, 'latin1')), null, JSON.stringify(text));
  });

  it('neither waits for one longer than any real one nor takes one whose lengths do not add up', () => {
    assert.equal(helloIn(Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff])), null);
    for (let at = 4; at < whole.length; at++) assert.ok(helloIn(record(Buffer.concat([Buffer.from([1]), block(3, whole.subarray(4, at))]))) !== 'more', `${at}`);
  });

  it('throws at nothing', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, framed) => {
      const hello = helloIn(framed ? record(Buffer.concat([Buffer.from([1]), block(3, Buffer.from(bytes))])) : Buffer.from(bytes));
      if (hello !== null && hello !== 'more') assert.match(ja4Of(hello), /^t(?:\d\d|s\d)[di]\d{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$/);
    }));
  });
});

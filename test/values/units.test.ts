import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { readDuration, readRate, readShare, readSize, writeDuration, writeSize } from '../../lib/values/values.ts';

/** Forms no unit takes for a number. */
const NONSENSE = [
  '',
  ' ',
  '5x',
  'x',
  '-1',
  '-1s',
  '+1',
  '1e3',
  '1e3s',
  '0x10',
  '1_000',
  '1,5s',
  '.5s',
  '1.s',
  '30 s',
  ' 30s',
  '1s1m',
  'NaN',
  'Infinity',
  NaN,
  Infinity,
  -1,
  -0.5,
  null,
  undefined,
  true,
  {},
  [],
  ['1s'],
  1n,
];

describe('durations', () => {
  it('are read in milliseconds', () => {
    const samples = {
      '100ms': 100,
      '30s': 30_000,
      '5m': 300_000,
      '1h': 3_600_000,
      '7d': 604_800_000,
      '0.5s': 500,
      '1.1s': 1100,
      '250': 250,
    };
    for (const [text, expected] of Object.entries(samples)) assert.equal(readDuration(text), expected, text);
    assert.equal(readDuration(1500), 1500);
    assert.equal(readDuration(0), 0);
  });

  it('are written so that they read back', () => {
    assert.deepEqual([90_000, 3_600_000, 1, 0, 86_400_000, 61_001].map(writeDuration), [
      '90s',
      '1h',
      '1ms',
      '0s',
      '1d',
      '61001ms',
    ]);
    for (let step = 0; step < 2_000; step += 1) {
      const milliseconds = step ** 3;
      assert.equal(readDuration(writeDuration(milliseconds)), milliseconds);
    }
  });

  it('refuse what is not one', () => {
    for (const value of [...NONSENSE, '5MB', '5M', '5S', '90%', '1/s', '99999999999999999999d'])
      assert.equal(readDuration(value), undefined, String(value));
  });
});

describe('sizes', () => {
  it('are read in bytes, by powers of 1024', () => {
    const samples = { '512B': 512, '64KB': 65_536, '6MB': 6_291_456, '1GB': 1_073_741_824, '1.5KB': 1536, '2097152': 2_097_152 };
    for (const [text, expected] of Object.entries(samples)) assert.equal(readSize(text), expected, text);
    assert.equal(readSize(2_097_152), 2_097_152);
  });

  it('are written so that they read back', () => {
    assert.deepEqual([1024, 1536, 0, 33_554_432].map(writeSize), ['1KB', '1536B', '0B', '32MB']);
    for (let step = 0; step < 2_000; step += 1) assert.equal(readSize(writeSize(step ** 3)), step ** 3);
  });

  it('refuse what is not one', () => {
    for (const value of [...NONSENSE, '5mb', '5kB', '5TB', '5s', '5M']) assert.equal(readSize(value), undefined, String(value));
  });
});

describe('rates and shares', () => {
  it('are read per second and from 0 to 1', () => {
    assert.deepEqual(['0.8/s', '30/m', '1800/h', '2', 0.5].map(readRate), [0.8, 0.5, 0.5, 2, 0.5]);
    assert.deepEqual(['90%', '0.9', 0.25, '100%', 0, 1].map(readShare), [0.9, 0.9, 0.25, 1, 0, 1]);
  });

  it('refuse what is not one', () => {
    for (const value of [...NONSENSE, '1/d', '1/ s', '/s', '5MB']) assert.equal(readRate(value), undefined, String(value));
    for (const value of [...NONSENSE, '101%', '1.1', 2, '%', '5s']) assert.equal(readShare(value), undefined, String(value));
  });
});

describe('units, whatever is written', () => {
  it('read what they write', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (amount) => {
      assert.equal(readDuration(writeDuration(amount)), amount);
      assert.equal(readSize(writeSize(amount)), amount);
      assert.equal(readDuration(amount), amount);
    }));
  });

  it('agree with the number of their smallest unit', () => {
    const factors = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
    fc.assert(fc.property(fc.nat({ max: 10_000 }), fc.nat({ max: 999 }), fc.constantFrom(...Object.entries(factors)), (whole, thousandths, [unit, factor]) => {
      const expected = Math.round((whole * 1000 + thousandths) * factor / 1000);
      assert.ok(Math.abs((readDuration(`${whole}.${String(thousandths).padStart(3, '0')}${unit}`) ?? -1) - expected) <= 1);
      assert.equal(readDuration(`${whole}${unit}`), whole * factor);
    }));
  });

  it('read nothing that is not written like a number and a unit', () => {
    fc.assert(fc.property(fc.anything(), (value) => {
      for (const [read, form] of [[readDuration, /^\d+(?:\.\d+)?(?:ms|s|m|h|d)?$/], [readSize, /^\d+(?:\.\d+)?(?:B|KB|MB|GB)?$/]] as const) {
        const amount = read(value);
        if (amount === undefined) continue;
        assert.ok(Number.isSafeInteger(amount) && amount >= 0);
        assert.ok(typeof value === 'number' || form.test(String(value)));
      }
    }));
  });

  it('read a share between nothing and all', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ noNaN: true }), (share, other) => {
      assert.equal(readShare(share), share);
      const read = readShare(other);
      assert.equal(read, other >= 0 && other <= 1 ? other : undefined);
    }));
  });

  it('give a rate a second', () => {
    fc.assert(fc.property(fc.nat({ max: 100_000 }), (count) => {
      assert.equal(readRate(`${count}/s`), count);
      assert.equal(readRate(`${count}/m`), count / 60);
      assert.equal(readRate(`${count}/h`), count / 3600);
    }));
  });
});

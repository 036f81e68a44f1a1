import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from '../support/property.ts';
import { Decompressor, canDecompress, type Decompressed } from '../../lib/http/decompress.ts';

const packers: Readonly<Record<string, (bytes: Uint8Array) => Buffer>> = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  br: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: zstdCompressSync,
};

const decompressor = new Decompressor();
const inflate = (compressed: Buffer, coding: string, limit = 10_000_000): Promise<Decompressed> => new Promise((resolve) => decompressor.decompress(compressed, coding.split(','), limit, resolve));

describe('the decompressor', () => {
  it('knows its codings and no others', () => {
    assert.deepEqual(Object.keys(packers).filter((coding) => !canDecompress(coding)), []);
    assert.deepEqual(['identity', 'compress', 'gzip, br', '', 'constructor', '__proto__', 'GZIP'].filter(canDecompress), []);
  });

  it('unpacks whatever was compressed', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), fc.constantFrom(...Object.keys(packers)), async (bytes, coding) => {
      const result = await inflate((packers[coding] as (of: Uint8Array) => Buffer)(bytes), coding);
      assert.deepEqual(result, { kind: 'bytes', bytes: Buffer.from(bytes) });
    }), { numRuns: 100 });
    assert.deepEqual(await inflate(deflateRawSync('without a head'), 'deflate'), { kind: 'bytes', bytes: Buffer.from('without a head') });
  });

  it('stops at the limit to the byte', async () => {
    const text = Buffer.alloc(100_000, 'abc def ');
    for (const [coding, pack] of Object.entries(packers)) {
      assert.equal((await inflate(pack(text), coding, text.length)).kind, 'bytes', coding);
      assert.equal((await inflate(pack(text), coding, text.length - 1)).kind, 'too_large', coding);
    }
  });

  it('stops what grows more than two hundred times and beyond a megabyte', async () => {
    for (const [coding, pack] of Object.entries(packers)) {
      assert.equal((await inflate(pack(Buffer.alloc(1_000_000)), coding)).kind, 'bytes', coding);
      assert.equal((await inflate(pack(Buffer.alloc(5_000_000)), coding)).kind, 'too_large', coding);
    }
  });

  it('says so of what is broken, cut short or something else', async () => {
    for (const [coding, pack] of Object.entries(packers)) {
      const whole = pack(Buffer.from('some text that is long enough to be cut '.repeat(20)));
      for (const bytes of [whole.subarray(0, -5), Buffer.from('{"model":"gpt-4o"}'), Buffer.alloc(0)]) assert.equal((await inflate(bytes, coding)).kind, 'broken', `${coding} ${bytes.length}`);
    }
  });

  it('refuses a zstd frame that demands more memory than its limit could need', async () => {
    const frame = zstdCompressSync(Buffer.alloc(1000, 'abc'), { params: { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 } });
    const demanding = Buffer.from(frame);
    // Single-segment off, a window of 2^30: RFC 8878 §3.1.1.1.
    demanding.set([0x00, (30 - 10) << 3], 4);
    assert.equal((await inflate(demanding, 'zstd')).kind, 'broken');
  });

  it('answers each of many with its own', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, at) => inflate(gzipSync(`number ${at}`), 'gzip')));
    assert.deepEqual(results.map((result) => result.kind === 'bytes' && result.bytes.toString()), Array.from({ length: 20 }, (_, at) => `number ${at}`));
  });
});

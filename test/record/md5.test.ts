import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { bare } from '../support/programs.ts';
import fc from '../support/property.ts';
import { md5Each } from '../../lib/record/md5.ts';

const noise = randomBytes(1_100_000);
/** Bytes that differ from message to message, in memory as requests have it. */
function message(size: number, nth: number): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(size + 8), nth % 8, size);
  bytes.set(noise.subarray(nth, nth + size));
  return bytes;
}

const expected = (messages: readonly Uint8Array[]): string[] => messages.map((each) => hash('md5', each));

describe('MD5 of many messages at once', () => {
  it('is that of each, whatever their lengths', () => {
    // Around the ends of blocks, of what is hashed together, and of the windows.
    const edge = fc.constantFrom(0, 2047, 2048, 32_703, 32_704, 32_760, 32_768, 65_527, 65_536).chain((about) => fc.integer({ min: Math.max(0, about - 2), max: about + 66 }));
    fc.assert(fc.property(fc.array(fc.oneof(edge, fc.nat(9000)), { maxLength: 10 }), (sizes) => {
      const messages = sizes.map(message);
      assert.deepEqual(md5Each(messages), expected(messages));
    }), { numRuns: 60 });
  });

  it('is right for very long ones beside short ones, and leaves those that came before alone', () => {
    const messages = [1_048_577, 1_048_576, 3000, 400_000, 5000, 66_000].map(message);
    for (const round of [1, 2]) assert.deepEqual(md5Each(messages), expected(messages), `${round}`);
  });

  it('needs no instructions that the processors of some virtual machines lack', () => {
    const program = `const { md5Each } = await import(${JSON.stringify(new URL('../../lib/record/md5.ts', import.meta.url).href)}); process.stdout.write(md5Each([5000, 6000, 7000].map((size) => Buffer.alloc(size, 'x'))).join())`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--no-enable-sse4-1', '--no-enable-ssse3', '--input-type=module', '-e', program], { env: bare, encoding: 'utf8' });
    assert.equal(stdout, expected([5000, 6000, 7000].map((size) => Buffer.alloc(size, 'x'))).join(), stderr);
  });
});

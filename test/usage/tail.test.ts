import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Tail } from '../../lib/usage/tail.ts';
import { generator } from '../support/random.ts';

describe('Tail', () => {
  it('keeps the end of whatever arrives, its limit at least and twice as much at most', () => {
    const pick = generator(9);
    for (let round = 0; round < 300; round++) {
      const limit = 1 + pick(2_000);
      const tail = new Tail(limit);
      let whole = Buffer.alloc(0);
      for (let pieces = pick(60); pieces > 0; pieces--) {
        const piece = Buffer.from(Array.from({ length: pick(pick(8) === 0 ? 3 * limit : 100) }, () => pick(256)));
        const from = pick(piece.length + 1);
        const to = from + pick(piece.length - from + 1);
        tail.append(piece, from, to);
        whole = Buffer.concat([whole, piece.subarray(from, to)]);
      }
      assert.equal(tail.empty, whole.length === 0);
      const kept = tail.take();
      assert.ok(kept.length >= Math.min(limit, whole.length) && kept.length <= 2 * limit, `${kept.length} of ${whole.length} within ${limit}`);
      assert.ok(kept.equals(whole.subarray(whole.length - kept.length)));
      assert.ok(tail.empty);
    }
  });

  it('begins anew when taken', () => {
    const tail = new Tail(10);
    tail.append(Buffer.from('first'));
    tail.take();
    tail.append(Buffer.from('second'));
    assert.equal(tail.take().toString(), 'second');
    assert.equal(tail.take().length, 0);
  });

  it('is made of copies', () => {
    const tail = new Tail(10);
    const piece = Buffer.from('abc');
    tail.append(piece);
    piece.fill('x');
    assert.equal(tail.take().toString(), 'abc');
  });
});

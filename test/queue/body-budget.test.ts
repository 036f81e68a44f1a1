import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { desk, type Asked, type Desk } from './fake.ts';

const kilobyte = 1024;

/** A caller may hold 1 KB, all together 8 KB. */
const start = (core: Parameters<typeof desk>[1] = {}): Desk => desk({}, core, { server: { maxInflightBytes: 8 * kilobyte } });
const take = (at: Desk, fairnessKey: string, bytes: number): Asked => {
  const asked = at.arrive(fairnessKey);
  at.bodies.take(asked.context, bytes);
  return asked;
};

describe('bytes in hand', () => {
  it('are an eighth of all for one caller', () => {
    const at = start();
    const first = take(at, 'a', 600);
    assert.equal(take(at, 'a', 424).error, null);
    const more = take(at, 'a', 1);
    assert.deepEqual([more.error?.code, more.error?.status], ['too_many_bytes', 429]);
    assert.ok((more.error?.retryAfter ?? 0) >= 1);
    assert.equal(take(at, 'b', kilobyte).error, null);
    at.bodies.give(first.context);
    assert.equal(take(at, 'a', 600).error, null);
  });

  it('can never be more than that for one body', () => {
    const at = start();
    const whole = take(at, 'a', kilobyte + 1);
    assert.deepEqual([whole.error?.code, whole.error?.status, whole.error?.retryAfter], ['body_too_large', 413, null]);
    const growing = take(at, 'a', kilobyte);
    assert.equal(at.bodies.take(growing.context, 1), false);
    assert.equal(growing.error?.code, 'body_too_large');
    assert.match(growing.error?.message ?? '', /at most 1024 bytes.*server\.max_inflight_bytes/);
    assert.equal(at.bodies.held, kilobyte);
  });

  it('are bounded for all together', () => {
    const at = start();
    for (let n = 0; n < 8; n++) assert.equal(take(at, `caller ${n}`, kilobyte).error, null);
    const more = take(at, 'one more', 1);
    assert.deepEqual([more.error?.code, more.error?.status], ['overloaded', 503]);
    assert.ok((more.error?.retryAfter ?? 0) >= 1);
  });

  it('of one caller are only noted in a gate that observes, those of all are memory', () => {
    const at = start({ observe: true });
    const first = take(at, 'a', 5 * kilobyte);
    at.bodies.take(first.context, kilobyte);
    assert.deepEqual([first.error, first.rules], [null, ['inflight_bytes']]);
    assert.equal(take(at, 'b', 3 * kilobyte).error?.code, 'overloaded');
    assert.equal(take(at, 'b', 9 * kilobyte).error?.code, 'body_too_large');
    at.bodies.give(first.context);
    assert.equal(at.bodies.held, 0);
  });

  it('are not taken for a request that is over', () => {
    const at = start();
    const asked = at.arrive('a');
    asked.context.finished = true;
    assert.equal(at.bodies.take(asked.context, 10), false);
    assert.deepEqual([at.bodies.held, asked.error], [0, null]);
  });

  it('come back whole, in whatever order', () => {
    const asks = fc.array(fc.record({ fairnessKey: fc.constantFrom('a', 'b', 'c'), pieces: fc.array(fc.nat(700), { maxLength: 4 }), stays: fc.boolean() }), { maxLength: 60 });
    fc.assert(
      fc.property(asks, (all) => {
        const at = start();
        const held = new Map<Asked, number>();
        for (const { fairnessKey, pieces, stays } of all) {
          const asked = at.arrive(fairnessKey);
          held.set(asked, pieces.reduce((sum, bytes) => sum + (asked.error === null && at.bodies.take(asked.context, bytes) ? bytes : 0), 0));
          if (!stays) {
            at.bodies.give(asked.context);
            at.bodies.give(asked.context);
            held.delete(asked);
          }
          const sum = (of: (asked: Asked) => boolean): number => [...held].reduce((total, [each, bytes]) => total + (of(each) ? bytes : 0), 0);
          assert.equal(at.bodies.held, sum(() => true));
          for (const each of ['a', 'b', 'c']) assert.ok(sum((other) => other.fairnessKey === each) <= kilobyte);
        }
        for (const { context } of held.keys()) at.bodies.give(context);
        assert.equal(at.bodies.held, 0);
      }),
    );
  });
});

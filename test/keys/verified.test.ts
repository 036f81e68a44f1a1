import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VerifiedTokens } from '../../lib/keys/store.ts';
import { fakeClock } from '../support/clock.ts';

describe('verified tokens', () => {
  it('count for as long as configured, each anew with every proof', () => {
    const clock = fakeClock();
    const tokens = new VerifiedTokens(clock, 1000);
    assert.equal(tokens.has('a'), false);
    tokens.accept('a');
    assert.equal(tokens.has('a'), true);
    assert.equal(tokens.has('b'), false);
    clock.tick(999);
    assert.equal(tokens.has('a'), true);
    tokens.accept('a');
    clock.tick(999);
    assert.equal(tokens.has('a'), true);
    clock.tick(1);
    assert.equal(tokens.has('a'), false);
  });

  it('are dropped at once, by a request that is younger than their acceptance', () => {
    const clock = fakeClock();
    const tokens = new VerifiedTokens(clock, 1000);
    const before = clock.now();
    clock.tick(1);
    tokens.accept('a');
    tokens.accept('b');
    tokens.drop('a', before);
    assert.equal(tokens.has('a'), true);
    tokens.drop('a', clock.now());
    tokens.drop('never seen', clock.now());
    assert.deepEqual([tokens.has('a'), tokens.has('b')], [false, true]);
  });

  it('are bounded: those in use stay, the rest is forgotten', () => {
    const tokens = new VerifiedTokens(fakeClock(), 1000);
    tokens.accept('in use');
    tokens.accept('idle');
    for (let n = 0; n < 100_000; n++) {
      tokens.accept(`token ${n}`);
      if (n % 1000 === 0) tokens.has('in use');
    }
    assert.deepEqual([tokens.has('in use'), tokens.has('idle')], [true, false]);
  });
});

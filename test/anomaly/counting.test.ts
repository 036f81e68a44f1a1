import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { different, type Distinct, withValue } from '../../lib/anomaly/counting.ts';
import { CallerState, type Latest } from '../../lib/anomaly/state.ts';
import type { Signal } from '../../types/detector.d.ts';

const window = 600;

describe('different values within a window', () => {
  it('are counted by the bits of both halves, few of them and many, in 17 numbers', () => {
    const sight = fc.record({ gap: fc.integer({ min: 0, max: 400 }), value: fc.integer({ min: 1, max: 60 }) });
    fc.assert(fc.property(fc.array(sight, { maxLength: 80 }), (sights) => {
      let distinct: Distinct = null;
      const seen: { readonly half: number; readonly bit: number }[] = [];
      let now = 1000;
      for (const { gap, value } of sights) {
        now += gap;
        distinct = withValue(distinct, now, value * 7919, window);
        seen.push({ half: Math.floor(now / 300), bit: Math.imul(value * 7919, 0x9e3779b1) >>> 24 });
        const bits = new Set(seen.filter(({ half }) => half >= Math.floor(now / 300) - 1).map(({ bit }) => bit)).size;
        assert.equal(different(distinct, now, window).toFixed(6), (-256 * Math.log(1 - bits / 256)).toFixed(6).replace('-0.000000', '0.000000'));
        assert.ok((distinct?.length ?? 0) <= 17);
      }
      assert.equal(different(distinct, now + 2 * window, window), 0);
    }), { numRuns: 100 });
  });

  it('are none before the first', () => assert.equal(different(null, 5, window), 0));
});

/** By a function, since the compiler takes `latest` for null once that was asked. */
const isNewOf = ({ latest }: CallerState): Latest['isNew'] | undefined => latest?.isNew;

describe('the state of a caller', () => {
  it('keeps nothing of a request that was judged', () => {
    const state = new CallerState({ kind: 'key', id: 'team' });
    const signal: Signal = {
      requestId: 'r', time: Date.UTC(2026, 0, 5, 10), duration: 900, caller: state.subject, refusedToken: null, network: '192.0.2.0/24', near: '192.0.0.0/16', country: 'DE', client: 'claude-cli', platform: 'linux x64',
      device: 'd', home: 'h', endUser: false, automated: false, forged: false, session: 's', model: 'm', route: '/v1/messages', path: '/v1/messages', failed: false, tokens: 20_000, cost: 0.5, size: 60_000, content: null,
    };
    state.take(signal);
    assert.deepEqual(isNewOf(state), { network: true, client: true, platform: true, home: false, model: true, hour: true, country: true });
    state.judged();
    assert.ok(state.latest === null);
    state.take({ ...signal, model: 'other' });
    assert.deepEqual(isNewOf(state), { network: false, client: false, platform: false, home: false, model: true, hour: false, country: false });
    assert.equal(state.spend.short(state.last), 1);
  });
});

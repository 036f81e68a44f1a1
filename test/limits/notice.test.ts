import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { limitLines } from '../../lib/limits/head.ts';
import { Notice } from '../../lib/limits/notice.ts';
import { Account, Ask, type Rule } from '../../lib/limits/rule.ts';
import { ruleOf, window } from './both.ts';

const rules = [
  ruleOf({ kind: 'requests', limit: 10 }),
  ruleOf({ kind: 'requests', limit: 10, name: 'key_limit.policies[0].requests' }),
  ruleOf({ kind: 'tokens', limit: 10 }),
  ruleOf({ kind: 'concurrency', limit: 10 }),
  ruleOf({ kind: 'budget', limit: 10 }),
];

function found(rule: Rule, over: Partial<Ask>, amount = 1): Ask {
  return Object.assign(new Ask(new Account(rule, 'key', 0), amount), { limit: 10, reset: rule.window, ...over });
}

/** What a store may say of requests it lets in. */
const asked = (rule: Rule): fc.Arbitrary<Ask> =>
  fc
    .record({
      limit: fc.constantFrom(10, 1000, 2 ** 31, Number.MAX_SAFE_INTEGER),
      left: fc.oneof(fc.nat(20), fc.nat(2 ** 31), fc.maxSafeNat()),
      amount: fc.nat(3),
      reset: rule.period === null ? fc.constant(rule.window) : fc.integer({ min: -5, max: 90_000_000 }),
    })
    .map(({ limit, left, amount, reset }) => found(rule, { limit, used: Math.max(0, limit - left), reset }, amount));

describe('a notice', () => {
  it('says what would be said without it, whatever it said before', () => {
    const some = fc.subarray(rules, { minLength: 1 }).chain((chosen) => fc.tuple(fc.constant(chosen), fc.array(fc.tuple(...chosen.map(asked)), { minLength: 1, maxLength: 12 })));
    fc.assert(
      fc.property(some, ([chosen, requests]) => {
        const notice = new Notice(chosen);
        for (const asks of requests) assert.equal(notice.lines(asks), limitLines(asks, true));
      }),
      { numRuns: 300 },
    );
  });

  it('keeps its numbers in place as they grow and shrink', () => {
    const rule = ruleOf({ kind: 'requests', limit: 1 });
    const notice = new Notice([rule]);
    const remaining = (used: number): string[] => [...notice.lines([found(rule, { limit: 2_000_000_000_000, used, reset: window }, 0)]).matchAll(/r=(\d+);|requests: (\d+)\r/g)].map(([, state, told]) => state ?? (told as string));
    for (const left of [2e12, 999_999_999_999, 1_000_000_001, 1_000_000_000, 999_999_999, 10, 9, 0, 100]) {
      assert.deepEqual(remaining(2e12 - left), [String(left), '2000000000000', String(left)]);
    }
  });
});

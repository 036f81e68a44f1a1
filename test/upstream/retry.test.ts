import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backoff, retryAfter, RetryBudget } from '../../lib/upstream/retry.ts';

const now = Date.UTC(2026, 0, 5, 12, 0, 0);
const inSeconds = (seconds: number): string => new Date(now + seconds * 1000).toUTCString();

describe('retryAfter', () => {
  const cases: readonly (readonly [name: string, head: readonly string[], ms: number | null])[] = [
    ['no header', ['Content-Type', 'text/plain'], null],
    ['seconds', ['Retry-After', '3'], 3000],
    ['seconds, name in any case', ['rETRY-aFTER', '3'], 3000],
    ['a part of a second', ['Retry-After', '0.25'], 250],
    ['none at all', ['Retry-After', '0'], 0],
    ['a date', ['Retry-After', inSeconds(7)], 7000],
    ['a date gone by', ['Retry-After', inSeconds(-7)], 0],
    ['a date in the form of RFC 850', ['Retry-After', 'Monday, 05-Jan-26 12:00:09 GMT'], 9000],
    ['milliseconds', ['retry-after-ms', '1500'], 1500],
    ['milliseconds before seconds', ['Retry-After', '9', 'retry-after-ms', '12.5'], 12.5],
    ['milliseconds that cannot be read', ['retry-after-ms', 'soon', 'Retry-After', '2'], 2000],
    ['more than a minute', ['Retry-After', '3600'], 60_000],
    ['a date in a year', ['Retry-After', inSeconds(31_536_000)], 60_000],
    ['more than a number holds', ['Retry-After', '9'.repeat(400)], 60_000],
    ['milliseconds, more than a minute', ['retry-after-ms', '99999999'], 60_000],
    ['words', ['Retry-After', 'soon'], null],
    ['words and a number', ['Retry-After', 'try again in 5'], null],
    ['less than nothing', ['Retry-After', '-5'], null],
    ['nothing', ['Retry-After', ''], null],
    ['a bare year', ['Retry-After', '2027-01-01'], null],
    ['a list', ['Retry-After', '1, 2'], null],
    ['hexadecimal', ['Retry-After', '0x10'], null],
  ];
  for (const [name, head, ms] of cases) it(`reads ${name} as ${ms}`, () => assert.equal(retryAfter(head, now), ms));
});

describe('backoff', () => {
  const retry = { maxRetries: 5, initialDelay: 100, maxDelay: 300, multiplier: 1.5, retryableErrors: [] };

  it('grows by the multiplier up to its bound, and is random below that', () => {
    assert.deepEqual([1, 2, 3, 4, 5].map((round) => backoff(retry, round, () => 1)), [100, 150, 225, 300, 300]);
    assert.deepEqual([1, 5].map((round) => backoff(retry, round, () => 0)), [0, 0]);
    assert.equal(backoff(retry, 2, () => 0.5), 75);
    assert.equal(backoff({ ...retry, multiplier: 10 }, 1000, () => 1), 300);
  });

  it('draws by itself when nobody else does', () => {
    const waits = Array.from({ length: 50 }, () => backoff(retry, 1));
    assert.ok(waits.every((ms) => ms >= 0 && ms < 100));
    assert.ok(new Set(waits).size > 40);
  });
});

describe('the retry budget', () => {
  const spend = (budget: RetryBudget, more: number): number => {
    budget.requests += more;
    let spent = 0;
    while (budget.withdraw()) spent++;
    return spent;
  };

  it('begins with a few, then allows a fifth of the traffic', () => {
    const budget = new RetryBudget();
    assert.equal(spend(budget, 0), 10);
    assert.equal(spend(budget, 4), 0);
    assert.equal(spend(budget, 101), 21);
  });

  it('saves up a bounded number', () => {
    const budget = new RetryBudget();
    assert.equal(spend(budget, 10_000), 100);
    assert.equal(spend(budget, 1), 0);
  });
});

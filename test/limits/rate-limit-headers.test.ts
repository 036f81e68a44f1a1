import '../support/node.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import express from 'express';
import fc from '../support/property.ts';
import type { Charge } from '../../lib/limits/charge.ts';
import { spanOf } from '../../lib/limits/policy-index.ts';
import { goDuration, RateLimitHeaders, withoutLimits } from '../../lib/limits/rate-limit-headers.ts';
import { refusalOf } from '../../lib/limits/refusal.ts';
import { heimdall } from '../../lib/index.ts';
import { closing, request } from '../support/client.ts';
import { recorder } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';
import { chargeOf, counterOf, ruleOf } from './charges.ts';

function found(kind: 'requests' | 'tokens' | 'concurrency' | 'budget', over: Partial<Charge>, amount = 1, name = `key_limit.${kind}`): Charge {
  return Object.assign(chargeOf(counterOf(ruleOf({ kind, limit: over.limit ?? 10, name }), 'key'), amount), { limit: 10, ...over });
}

function limitHead(charges: readonly Charge[], taken: boolean, headers = new RateLimitHeaders(charges.map(({ counter }) => counter.rule))): string[] {
  const head: string[] = [];
  headers.add(head, charges, taken);
  return head;
}

describe('what a client is told of its limits', () => {
  it('is written as the draft and OpenAI write it, the tightest of a kind in OpenAI\'s words', () => {
    const head = limitHead([found('requests', { used: 3, reset: 6000 }), found('requests', { used: 8, reset: 1500 }, 1, 'key_limit.policies[0].requests'), found('tokens', { limit: 100, used: 10, reset: 6000 }, 30)], true);
    assert.deepEqual(head, [
      'RateLimit-Policy', '"requests";q=10;w=6, "policies[0].requests";q=10;w=6, "tokens";q=100;qu="tokens";w=6',
      'RateLimit', '"requests";r=6;t=6, "policies[0].requests";r=1;t=2, "tokens";r=60;t=6',
      'x-ratelimit-limit-requests', '10', 'x-ratelimit-remaining-requests', '1', 'x-ratelimit-reset-requests', '1.5s',
      'x-ratelimit-limit-tokens', '100', 'x-ratelimit-remaining-tokens', '60', 'x-ratelimit-reset-tokens', '6s',
    ]);
  });

  it('counts money in whole millionths of a dollar, and slots without a time', () => {
    const budget = found('budget', { limit: 5_000_000_000, used: 1_234_567_890, reset: 3_600_000 }, 1_000);
    assert.deepEqual(limitHead([budget, found('concurrency', { used: 2 })], true), [
      'RateLimit-Policy', '"budget";q=5000000;qu="micro-usd";w=86400, "concurrency";q=10;qu="concurrent-requests"',
      'RateLimit', '"budget";r=3765431;t=3600, "concurrency";r=7',
    ]);
  });

  it('gives the time of Retry-After where it refuses', () => {
    const refusing = found('requests', { used: 10, fits: false, wait: 4200, reset: 6000 });
    assert.equal(limitHead([refusing], false)[3], '"requests";r=0;t=5');
    assert.equal(refusalOf([refusing]).retryAfter, 5);
  });

  it('describes the limits that hold now, also where they change', () => {
    const of = (limit: number): Charge => found('budget', { limit, used: 0, reset: 1000 });
    const headers = new RateLimitHeaders([of(1).counter.rule]);
    assert.deepEqual([5_000_000, 7_000_000, 7_000_000, 5_000_000].map((limit) => limitHead([of(limit)], true, headers)[1]), [5000, 7000, 7000, 5000].map((limit) => `"budget";q=${limit};qu="micro-usd";w=86400`));
  });

  it('tells no budget to a request whose model has no price', () => {
    const [requests, priced, unpriced] = [found('requests', {}), found('budget', { limit: 5_000_000 }, 1000), found('budget', { limit: 5_000_000 }, 0)] as const;
    const headers = new RateLimitHeaders([requests.counter.rule, priced.counter.rule]);
    for (const budget of [priced, unpriced, priced, unpriced]) {
      const head = limitHead([requests, budget], true, headers).join(' ');
      assert.deepEqual([head.match(/"budget"/g)?.length ?? 0, head.match(/"requests"/g)?.length], [budget === priced ? 2 : 0, 2], head);
    }
    assert.deepEqual(limitHead([unpriced], true, new RateLimitHeaders([unpriced.counter.rule])), []);
  });

  it('says nothing twice that a host of the gate has said before', async (t) => {
    const upstream = await startUpstream(t, (_req, res) => void res.writeHead(200, { 'Content-Type': 'application/json', RateLimit: 'of the upstream' }).end('{}'));
    const gate = heimdall({ newapi: { baseUrl: upstream.url }, rateLimit: { key: { requests: { limit: 3 } } } }, { log: recorder() });
    t.after(() => gate.close({ timeout: 0 }));
    const app = express().use((_req, res, next) => {
      res.set({ 'X-Powered-By': 'host', RateLimit: 'of the host' });
      next();
    }, gate);
    const host = closing(t, createServer(app));
    await once(host.listen(0, '127.0.0.1'), 'listening');
    const answer = await request(`http://127.0.0.1:${(host.address() as AddressInfo).port}/v1/chat/completions`, { body: { model: 'm', messages: [] }, headers: { Authorization: 'Bearer sk-a' } });
    const said = answer.rawHeaders.filter((_, at) => at % 2 === 0 && answer.rawHeaders[at]?.toLowerCase() === 'ratelimit');
    assert.deepEqual([said.length, answer.headers['ratelimit'], answer.headers['x-powered-by']], [1, '"requests";r=2;t=60', 'host']);
  });

  it('takes the place of what the upstream says of its own', () => {
    const head = ['Content-Type', 'a', 'X-RateLimit-Remaining-Requests', '9', 'x-request-cost', '1', 'RateLimit', 'x', 'retry-after', '3', 'x-ratelimit-limit-tokens', '5'];
    withoutLimits(head);
    assert.deepEqual(head, ['Content-Type', 'a', 'x-request-cost', '1', 'retry-after', '3']);
  });

  it('writes durations as Go does', () => {
    const written = [0, 17, 999.4, 1000, 1500, 59_999, 60_000, 61_000, 3_600_000, 90_061_000].map(goDuration);
    assert.deepEqual(written, ['0ms', '17ms', '1s', '1s', '1.5s', '1m0s', '1m0s', '1m1s', '1h0m0s', '25h1m1s']);
  });
});

describe('a refusal', () => {
  it('names the limit that takes longest, and waits for it', () => {
    const error = refusalOf([found('concurrency', { used: 10, fits: false, wait: 1000 }), found('tokens', { used: 9, fits: false, wait: 30_000 }, 5)]);
    assert.deepEqual([error.code, error.status, error.retryAfter, error.retryable], ['rate_limit_tokens', 429, 30, true]);
    assert.match(error.message, /limit is 10 tokens in 6s, 9 are used or reserved, and this request may use 5\. Try again in 30s\./);
  });

  it('is final where waiting does not help: money, and what is larger than the limit', () => {
    const large = refusalOf([found('tokens', { used: 0, fits: false, wait: Infinity }, 11), found('requests', { fits: false, wait: 10 })]);
    assert.deepEqual([large.code, large.retryAfter, large.retryable], ['rate_limit_tokens', null, false]);
    const spent = refusalOf([found('budget', { limit: 2_500_000_000, used: 2_499_000_000, fits: false, wait: 7_200_000 }, 3_000_000)]);
    assert.deepEqual([spent.code, spent.retryAfter, spent.retryable], ['budget_exceeded', 7200, false]);
    assert.match(spent.message, /budget is \$2\.5 a day \(UTC\), \$2\.499 are spent or reserved, and this request may cost \$0\.003\. It begins anew in 7200s\./);
  });
});

describe('a day and a month', () => {
  it('are those of the calendar in UTC, whatever was asked before', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: Date.UTC(2100, 0) }), { minLength: 1, maxLength: 20 }), (moments) => {
        for (const now of moments) {
          const date = new Date(now);
          const day = spanOf('day', now);
          assert.deepEqual([day.label, day.until], [date.toISOString().slice(0, 10), Date.parse(`${date.toISOString().slice(0, 10)}T00:00:00Z`) + 86_400_000]);
          const month = spanOf('month', now);
          assert.equal(month.label, date.toISOString().slice(0, 7));
          assert.ok(month.until > now && new Date(month.until).getUTCDate() === 1 && new Date(month.until - 1).toISOString().startsWith(month.label));
        }
      }),
      { numRuns: 300 },
    );
  });
});

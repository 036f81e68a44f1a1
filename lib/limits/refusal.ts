import { writeDuration } from '../values/values.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import type { Charge, Kind } from './charge.ts';

const codes: Readonly<Record<Kind, ErrorCode>> = {
  requests: 'rate_limit_requests',
  tokens: 'rate_limit_tokens',
  concurrency: 'rate_limit_concurrency',
  budget: 'budget_exceeded',
};

const second = 1000;
const billion = 1_000_000_000;

/**
 * The error for a request that does not fit. It names the limit with the longest wait, how much of it is used and when to
 * come back. Where coming back does not help, because the request is larger than the limit or the money is spent, it tells
 * the official SDKs not to retry.
 * @param charges those that refuse, at least one.
 */
export function refusalOf(charges: readonly Charge[]): HeimdallError {
  const worst = charges.reduce((longest, charge) => (charge.wait > longest.wait ? charge : longest));
  const never = !Number.isFinite(worst.wait);
  const retryAfter = never ? {} : { retryAfter: Math.max(1, Math.ceil(worst.wait / second)) };
  const lasting = never || charges.some(({ counter }) => counter.rule.kind === 'budget');
  return new HeimdallError(codes[worst.counter.rule.kind], { message: messageOf(worst, never), ...retryAfter, ...(lasting ? { retryable: false } : {}) });
}

function messageOf({ counter: { rule }, limit, used, amount, wait }: Charge, never: boolean): string {
  switch (rule.kind) {
    case 'requests':
      return `The limit is ${limit} requests in ${writeDuration(rule.window)}, and ${used} were made. Try again in ${seconds(wait)}.`;
    case 'tokens': {
      const limited = `The limit is ${limit} tokens in ${writeDuration(rule.window)}`;
      if (never) return `${limited}, and this request may use ${amount}. Make it shorter, or lower its max_tokens.`;
      return `${limited}, ${used} are used or reserved, and this request may use ${amount}. Try again in ${seconds(wait)}.`;
    }
    case 'concurrency':
      return `The limit is ${limit} requests at a time, and ${used} are being answered. Try again when one of them is done.`;
    case 'budget':
      return `The budget is ${dollars(limit)} a ${rule.period ?? ''} (UTC), ${dollars(used)} are spent or reserved${amount > 0 ? `, and this request may cost ${dollars(amount)}` : ''}. It begins anew in ${seconds(wait)}.`;
  }
}

const seconds = (ms: number): string => `${Math.max(1, Math.ceil(ms / second))}s`;

const dollars = (nano: number): string => `$${String(Number((nano / billion).toPrecision(6)))}`;

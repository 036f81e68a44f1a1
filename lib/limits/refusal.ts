import { writeDuration } from '../config/config.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import type { Ask, Kind } from './rule.ts';

const codes: Readonly<Record<Kind, ErrorCode>> = {
  requests: 'rate_limit_requests',
  tokens: 'rate_limit_tokens',
  concurrency: 'rate_limit_concurrency',
  budget: 'budget_exceeded',
};

const second = 1000;
const billion = 1_000_000_000;

/**
 * The error for a request that does not fit: names the limit that takes longest to have room, how much of it is used and
 * when to come back. Where coming back does not help, because the request is larger than the limit or money is spent, the
 * official SDKs are told not to.
 * @param asks those that refuse, at least one.
 */
export function refusalOf(asks: readonly Ask[]): HeimdallError {
  const worst = asks.reduce((longest, ask) => (ask.wait > longest.wait ? ask : longest));
  const never = !Number.isFinite(worst.wait);
  const retryAfter = never ? {} : { retryAfter: Math.max(1, Math.ceil(worst.wait / second)) };
  const lasting = never || asks.some(({ rule }) => rule.kind === 'budget');
  return new HeimdallError(codes[worst.rule.kind], { message: messageOf(worst, never), ...retryAfter, ...(lasting ? { retryable: false } : {}) });
}

function messageOf(ask: Ask, never: boolean): string {
  const { rule, limit, used, amount, wait } = ask;
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

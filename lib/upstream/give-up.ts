import type { Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import type { Failure, Reply } from './failure.ts';
import { deliver } from './answer.ts';
import { isOurKeyRefused, statusOf } from './judge.ts';
import { retryAfter } from './retry.ts';
import type { Target } from './targets.ts';

/** Answers with the failure that nobody could mend: an upstream's own words as they came, else ours. Never a 200. */
export function giveUp(context: Context, failure: Failure, target: Target): void {
  if (isOurKeyRefused(failure, target, context)) return context.fail(new HeimdallError('upstream_refused'));
  context.target = target.name;
  switch (failure.kind) {
    case 'reply':
      return pass(context, { ...failure.reply, status: statusOf(failure, target, context) }, target);
    case 'error_event':
      return tell(context, failure.error, statusOf(failure, target, context));
    case 'unreachable':
      return context.fail(new HeimdallError('upstream_unreachable'));
    case 'malformed':
      return context.fail(new HeimdallError('malformed_request'));
    case 'not_http':
    case 'cut':
      return context.fail(new HeimdallError('upstream_invalid'));
    case 'stale':
    case 'reset':
    case 'timeout':
      return context.fail(new HeimdallError('upstream_timeout'));
  }
}

/** An error that did not come whole keeps its status. */
function pass(context: Context, reply: Reply, target: Target): void {
  if (reply.status >= 500) context.outcome = 'upstream_error';
  if (reply.body !== null) return deliver(context, target, { ...reply, body: reply.body });
  const wait = retryAfter(reply.head, context.core.clock.now());
  context.fail(new HeimdallError('upstream_error', { status: reply.status, ...(wait === null ? {} : { retryAfter: Math.ceil(wait / 1000) }) }));
}

/** An error that came inside a 200 stream, as the answer it should have been. */
function tell(context: Context, error: unknown, status: number): void {
  const claude = context.route.errors === 'claude';
  // 529 is Anthropic's own.
  const fallback = new HeimdallError('upstream_error', { status: status === 529 && !claude ? 503 : status });
  if (context.res.headersSent || typeof error !== 'object' || error === null) return context.fail(fallback);
  context.outcome = 'upstream_error';
  context.errorCode = fallback.code;
  const body = claude ? { type: 'error', error, request_id: context.id } : { error };
  const head = ['Content-Type', 'application/json'];
  if (context.attempts > 1) head.push('x-should-retry', 'false');
  context.answer(fallback.status, head, JSON.stringify(body));
}

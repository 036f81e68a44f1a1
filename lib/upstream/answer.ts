import { guarded, type Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { headerOf } from '../http/http.ts';
import type { Failure, Reply } from './failure.ts';
import { failureStatus, isOurKeyRefused } from './judge.ts';
import { deliverAsEvent } from './prelude.ts';
import { refusalsOf } from './refusals.ts';
import { retryAfter } from './retry.ts';
import type { Target } from './targets.ts';

/** An answer up to this size is sent in one write with its head, bytes. */
const joinedBytes = 16_384;

/** Notes what an answer says about the caller and the upstream. */
export function noteAnswer(context: Context, target: Target, status: number, head: readonly string[]): void {
  context.answeredAt = context.elapsed();
  context.target = target.name;
  context.upstreamRequestId = headerOf(head, 'x-oneapi-request-id');
  context.tap?.head(head);
  if (target.credential === 'caller') context.newapiVerdict = status < 300 ? 'accepted' : status === 401 ? 'refused' : null;
}

/** Sends a complete answer, when the request has arrived. */
export function deliver(context: Context, target: Target, reply: Reply & { readonly body: Buffer }): void {
  if (context.body?.isArriving) return context.body.whenArrived(guarded(context, () => deliver(context, target, reply)));
  const { status, head, body } = reply;
  noteAnswer(context, target, status, head);
  if (context.newapiVerdict === 'refused' && context.upstreamCredential === null) refusalsOf(context.core).note(context, status, head, body);
  context.tap?.answer(body);
  if (context.prelude) return deliverAsEvent(context, status, body);
  if (status >= 429 && context.attempts > 1) head.push('x-should-retry', 'false');
  if (headerOf(head, 'content-length') === null) head.push('Content-Length', String(body.length));
  context.writeProxied(status, head);
  context.bytesOut += body.length;
  // One string is one write; head and bytes apart are a vector of two.
  if (body.length <= joinedBytes) context.res.end(body.toString('latin1'), 'latin1');
  else context.res.end(body);
}

/** Answers with the last failure: the upstream's own words unchanged, else an error of ours. Never a 200. */
export function giveUp(context: Context, failure: Failure, target: Target): void {
  if (isOurKeyRefused(failure, target, context)) return context.fail(new HeimdallError('upstream_refused'));
  context.target = target.name;
  switch (failure.kind) {
    case 'reply':
      return answerReply(context, { ...failure.reply, status: failureStatus(failure, target, context) }, target);
    case 'error_event':
      return answerErrorEvent(context, failure.error, failureStatus(failure, target, context));
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

/** An error that did not arrive whole keeps its status. */
function answerReply(context: Context, reply: Reply, target: Target): void {
  if (reply.status >= 500) context.outcome = 'upstream_error';
  if (reply.body !== null) return deliver(context, target, { ...reply, body: reply.body });
  const wait = retryAfter(reply.head, context.core.clock.now());
  context.fail(new HeimdallError('upstream_error', { status: reply.status, ...(wait === null ? {} : { retryAfter: Math.ceil(wait / 1000) }) }));
}

/** An error inside a 200 stream becomes an answer with the status that the error names. */
function answerErrorEvent(context: Context, error: unknown, status: number): void {
  const claude = context.route.errors === 'claude';
  // Only Anthropic uses 529.
  const fallback = new HeimdallError('upstream_error', { status: status === 529 && !claude ? 503 : status });
  if (context.res.headersSent || typeof error !== 'object' || error === null) return context.fail(fallback);
  context.outcome = 'upstream_error';
  context.errorCode = fallback.code;
  const body = claude ? { type: 'error', error, request_id: context.id } : { error };
  const head = ['Content-Type', 'application/json'];
  if (context.attempts > 1) head.push('x-should-retry', 'false');
  context.answer(fallback.status, head, JSON.stringify(body));
}

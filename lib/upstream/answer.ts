import type { Context } from '../request/request.ts';
import { headerOf } from '../http/http.ts';
import type { Reply } from './failure.ts';
import { deliverAsEvent } from './prelude.ts';
import type { Target } from './targets.ts';

/** Answers up to this size leave in one piece with their head. */
const joinedBytes = 16_384;

/** Notes what an answer says about the caller and the upstream. */
export function answered(context: Context, target: Target, status: number, head: readonly string[]): void {
  context.answeredAt = context.elapsed();
  context.target = target.name;
  context.upstreamRequestId = headerOf(head, 'x-oneapi-request-id');
  context.tap?.head(head);
  if (target.credential === 'caller' && !context.ambiguous) context.vouched = status < 300 ? 'accepted' : status === 401 ? 'refused' : null;
}

/** Sends a complete answer. */
export function deliver(context: Context, target: Target, reply: Reply & { readonly body: Buffer }): void {
  answered(context, target, reply.status, reply.head);
  context.tap?.answer(reply.body);
  if (context.prelude) return deliverAsEvent(context, reply.status, reply.body);
  if (reply.status >= 429 && context.attempts > 1) reply.head.push('x-should-retry', 'false');
  if (headerOf(reply.head, 'content-length') === null) reply.head.push('Content-Length', String(reply.body.length));
  context.writeProxied(reply.status, reply.head);
  context.bytesOut += reply.body.length;
  // One string is one write; head and bytes apart are a vector of two.
  if (reply.body.length <= joinedBytes) context.res.end(reply.body.toString('latin1'), 'latin1');
  else context.res.end(reply.body);
}

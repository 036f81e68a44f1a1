import type { RetryConfig } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';
import { isStatus } from '../config/config.ts';
import { describe } from '../platform/platform.ts';
import { headerOf } from '../http/http.ts';
import { errorStatus } from '../providers/providers.ts';
import { isOwnFault, plainBody, type ErrorEvent, type ErrorReply, type Failure, type Reply } from './failure.ts';
import { defaultRest, retryAfter } from './retry.ts';
import { errorIn } from './sse.ts';
import type { AttemptResult, Rest } from './breaker.ts';
import type { Target } from './targets.ts';

/** The consequences of a failed attempt. */
export interface Judgement {
  /** `next`: another target may be asked. `same`: this target is asked again at once. `return`: no target may be asked. */
  readonly verdict: 'next' | 'same' | 'return';
  /** This target may be asked again in a later round. */
  readonly again: boolean;
  /** What the failure says about the target. */
  readonly result: AttemptResult;
  /** Pause that the target asks for, or null. */
  readonly rest: Rest | null;
}

/** Codes with which NewAPI judges the request and not its own state: no other target may be asked. */
const finalCodes = new Set([
  'model_not_found', 'insufficient_user_quota', 'pre_consume_token_quota_failed', 'sensitive_words_detected', 'access_denied', 'invalid_request',
]);

/** The header with which NewAPI signs its answers. */
const signature = 'x-oneapi-request-id';
/** NewAPI has no channel for the model: older versions say so without a code. */
const noChannel = /no available channel|无可用渠道/i;
/** NewAPI's machine is above its limit of CPU, memory or disk. */
const machineOverloaded = /^system_\w+_overloaded$/;

const final: Judgement = { verdict: 'return', again: false, result: 'ok', rest: null };

/** The circumstances of a failure. */
export interface Circumstances {
  readonly context: Context;
  readonly target: Target;
  readonly retry: RetryConfig;
  /** The request has met a closed socket before and this is its second sending. */
  readonly resent: boolean;
  readonly now: number;
}

/**
 * The failure table. A request that may have been served is sent again only where that costs nothing or `retryable_errors`
 * names `timeout`. Requests for media and bodies that cannot be replayed are never sent twice.
 */
export function judge(failure: Failure, of: Circumstances): Judgement {
  const judgement = judgeKind(failure, of);
  if (of.context.bodyStream !== null || (of.context.route.media && failure.kind !== 'unreachable')) return { ...judgement, verdict: 'return', again: false };
  return judgement;
}

function judgeKind(failure: Failure, of: Circumstances): Judgement {
  switch (failure.kind) {
    case 'malformed':
      return { ...final, result: 'neutral' };
    case 'unreachable':
      return { verdict: 'next', again: true, result: isOwnFault(failure.cause) ? 'neutral' : 'fail', rest: null };
    case 'stale':
      return of.resent ? unclear(of) : { verdict: 'same', again: false, result: 'neutral', rest: null };
    case 'reset':
      if (isOwnFault(failure.cause)) return { ...unclear(of), result: 'neutral' };
      return failure.head !== null && isSigned(of, failure.head) ? { ...unclear(of), result: 'ok' } : unclear(of);
    case 'timeout':
      // One caller's model may be slow.
      return of.target.credential === 'own' ? unclear(of) : { ...unclear(of), result: 'neutral' };
    case 'not_http':
      return { verdict: 'next', again: false, result: 'fail', rest: null };
    case 'cut':
      return serverError(of, isSigned(of, failure.head) ? 'ok' : 'fail', null);
    case 'error_event':
      return judgeEvent(of, failure);
    case 'reply':
      return judgeReply(of, failure);
  }
}

/** The request may have been served and billed. */
function unclear({ context, retry }: Circumstances): Judgement {
  const repeatable = context.route.free || retry.retryableErrors.includes('timeout');
  return { verdict: repeatable ? 'next' : 'return', again: false, result: 'fail', rest: null };
}

function judgeReply(of: Circumstances, failure: ErrorReply): Judgement {
  const { target, now } = of;
  const { head } = failure.reply;
  const status = failureStatus(failure, target, of.context);
  if (target.credential === 'own' && (status === 401 || status === 403)) return ownKeyRefused;
  // An answer that NewAPI has signed shows that it works; below 500 it is a verdict on the caller.
  const signed = isSigned(of, head);
  const error = status >= 500 ? bodyError(failure.reply) : null;
  if (signed && (status < 500 || isFinal(error))) return final;
  const asked = status >= 500 || status === 429 ? retryAfter(head, now) : null;
  if (status === 429) return rateLimited(of, asked);
  if (status < 500) return final;
  if (isOverload(error, status)) return overloaded(of, error, status, signed, asked);
  // A NewAPI that is asked with a key of ours: another target may have the model, this one has not.
  if (headerOf(head, signature) !== null && hasNoChannel(error)) return { ...final, verdict: 'next' };
  return serverError(of, signed ? 'ok' : status === 502 || status === 504 ? 'fail' : 'neutral', asked);
}

/** The target refused our own key: a fault of ours, not of the target. */
const ownKeyRefused: Judgement = { verdict: 'next', again: false, result: 'neutral', rest: null };

/** An error inside a 200 stream comes from a provider behind NewAPI: NewAPI sends its own verdicts before a stream begins. */
function judgeEvent(of: Circumstances, failure: ErrorEvent): Judgement {
  const { error, head } = failure;
  const signed = isSigned(of, head);
  const status = failureStatus(failure, of.target, of.context);
  if (of.target.credential === 'own' && (status === 401 || status === 403)) return ownKeyRefused;
  if (isFinal(error) || (status < 500 && status !== 429)) return final;
  if (status === 429) return rateLimited(of, null);
  return isOverload(error, status) ? overloaded(of, error, status, signed, null) : serverError(of, signed ? 'ok' : 'neutral', null);
}

const hasNoChannel = (error: unknown): boolean => word(error, 'code') === 'model_not_found' || noChannel.test(word(error, 'message'));
const isFinal = (error: unknown): boolean => finalCodes.has(word(error, 'code')) || hasNoChannel(error);

/** 529 is Anthropic's status for it; others name it in the code or the type of a 5xx, or send nothing but a word. */
function isOverload(error: unknown, status: number): boolean {
  return status === 529 || /overload/i.test(typeof error === 'string' ? error : `${word(error, 'code')} ${word(error, 'type')}`);
}

/**
 * A target that says it is overloaded is asked again after a pause. A provider behind NewAPI that says so pauses its model alone.
 * @param asked pause that the target asks for, milliseconds.
 */
function overloaded({ target, retry }: Circumstances, error: unknown, status: number, signed: boolean, asked: number | null): Judgement {
  const known = retry.retryableErrors.includes(status === 529 ? 'rate_limit' : 'server_error');
  const whole = !signed || machineOverloaded.test(word(error, 'code'));
  const rest = { duration: asked ?? defaultRest, overloaded: true, whole };
  return { verdict: known ? 'next' : 'return', again: known, result: target.credential === 'own' ? 'fail' : 'neutral', rest };
}

/** Only a target with our key rests: one caller's limit at NewAPI must not stop the other callers. */
function rateLimited({ target, retry }: Circumstances, asked: number | null): Judgement {
  const known = retry.retryableErrors.includes('rate_limit');
  const own = target.credential === 'own';
  return { verdict: known ? 'next' : 'return', again: known && own, result: own ? 'fail' : 'neutral', rest: own ? { duration: asked ?? defaultRest, overloaded: false, whole: false } : null };
}

/**
 * NewAPI has tried its own channels: only another target can do better.
 * @param result for a target that is asked with the caller's credential; a target of ours always fails.
 * @param asked pause that a target of ours asks for, milliseconds.
 */
function serverError({ target, retry }: Circumstances, result: AttemptResult, asked: number | null): Judgement {
  const known = retry.retryableErrors.includes('server_error');
  const own = target.credential === 'own';
  return { verdict: known ? 'next' : 'return', again: known && own, result: own ? 'fail' : result, rest: own && asked !== null ? { duration: asked, overloaded: false, whole: false } : null };
}

const isSigned = ({ target }: Circumstances, head: readonly string[]): boolean => target.credential === 'caller' && headerOf(head, signature) !== null;

/** Whether a target refused our own credential. SECURITY: its text is not for the caller. */
export function isOurKeyRefused(failure: Failure, target: Target, context: Context): boolean {
  if (target.credential !== 'own' || (failure.kind !== 'reply' && failure.kind !== 'error_event')) return false;
  return [401, 403].includes(failureStatus(failure, target, context));
}

/** The HTTP status of a failure, as the target's provider reads it. */
export function failureStatus(failure: ErrorReply | ErrorEvent, { name, provider }: Target, { core }: Context): number {
  const sent = failure.kind === 'reply' ? failure.reply.status : 200;
  // The default reads an error status alone: the body need not be parsed.
  if (sent >= 400 && provider.errorStatus === errorStatus) return sent;
  try {
    const read = provider.errorStatus(failure.kind === 'reply' ? bodyError(failure.reply) : failure.error, sent);
    if (isStatus(read)) return read;
  } catch (error) {
    core.log.error({ target: name, function: 'errorStatus', error: describe(error) }, 'provider.failed');
  }
  return errorStatus(null, sent);
}

/** The `error` of a JSON body, as NewAPI, OpenAI and Anthropic send it, else the whole document; null when it is no JSON. */
function bodyError(reply: Reply): unknown {
  const body = plainBody(reply);
  if (body === null) return null;
  try {
    const answer: unknown = JSON.parse(body.toString());
    return errorIn(answer) ?? answer;
  } catch {
    return null;
  }
}

/** A member of an error as text; empty without it. */
const word = (error: unknown, name: 'code' | 'type' | 'message'): string => String((error as Readonly<Record<string, unknown>> | null)?.[name] ?? '');

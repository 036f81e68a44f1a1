import type { RetryConfig } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';
import { isStatus } from '../config/config.ts';
import { describe } from '../platform/platform.ts';
import { headerOf } from '../http/http.ts';
import { errorStatus } from '../providers/providers.ts';
import type { ErrorEvent, ErrorReply, Failure } from './failure.ts';
import { defaultRest, retryAfter } from './retry.ts';
import type { Result } from './breaker.ts';
import type { Target } from './targets.ts';

/** What a failed attempt means. */
export interface Judgement {
  /** `next`: another target may be asked. `same`: this one, at once. `return`: nobody else may be. */
  readonly verdict: 'next' | 'same' | 'return';
  /** In a later round this target may be asked again. */
  readonly again: boolean;
  /** What it says about the target. */
  readonly result: Result;
  /** Milliseconds it wants to be left alone, or null. */
  readonly rest: number | null;
}

/** Codes by which NewAPI judges the request, not its own state: no other target may be asked. */
const verdicts = new Set([
  'model_not_found', 'insufficient_user_quota', 'pre_consume_token_quota_failed', 'sensitive_words_detected', 'access_denied', 'invalid_request',
]);

const final: Judgement = { verdict: 'return', again: false, result: 'ok', rest: null };

/** What a failure is judged in the light of. */
export interface Case {
  readonly context: Context;
  readonly target: Target;
  readonly retry: RetryConfig;
  /** The request has met a closed socket before and was sent again. */
  readonly resent: boolean;
  readonly now: number;
}

/**
 * The failure table. Whatever could have been served already is asked again only where that costs nothing or
 * `retryable_errors` names `timeout`; media and bodies that cannot be replayed are never sent twice.
 */
export function judge(failure: Failure, of: Case): Judgement {
  const judgement = judgeKind(failure, of);
  if (of.context.bodyStream !== null || (of.context.route.media && failure.kind !== 'unreachable')) return { ...judgement, verdict: 'return', again: false };
  return judgement;
}

function judgeKind(failure: Failure, of: Case): Judgement {
  switch (failure.kind) {
    case 'malformed':
      return { ...final, result: 'neither' };
    case 'unreachable':
      return { verdict: 'next', again: true, result: 'fail', rest: null };
    case 'stale':
      return of.resent ? unclear(of) : { verdict: 'same', again: false, result: 'neither', rest: null };
    case 'reset':
      return unclear(of);
    case 'timeout':
      // What is slow may be one caller's model.
      return of.target.credential === 'own' ? unclear(of) : { ...unclear(of), result: 'neither' };
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

/** It may have been served and billed. */
function unclear({ context, retry }: Case): Judgement {
  const repeatable = context.route.free || retry.retryableErrors.includes('timeout');
  return { verdict: repeatable ? 'next' : 'return', again: false, result: 'fail', rest: null };
}

function judgeReply(of: Case, failure: ErrorReply): Judgement {
  const { target, now } = of;
  const { head, body } = failure.reply;
  const status = statusOf(failure, target, of.context);
  if (target.credential === 'own' && (status === 401 || status === 403)) return foreign;
  // An answer NewAPI has signed is a sign of its life, and below 500 its verdict on the caller.
  const signed = isSigned(of, head);
  if (signed && (status < 500 || (body !== null && verdicts.has(codeOf(errorIn(body)))))) return final;
  const asked = status >= 500 || status === 429 ? retryAfter(head, now) : null;
  if (status === 429 || status === 529) return rateLimited(of, asked);
  if (status < 500) return final;
  return serverError(of, signed ? 'ok' : status === 502 || status === 504 ? 'fail' : 'neither', asked);
}

/** Our own key was not accepted: our fault, not the target's health. */
const foreign: Judgement = { verdict: 'next', again: false, result: 'neither', rest: null };

/** An error inside a 200 stream comes from behind NewAPI, which gives its own verdicts before a stream begins. */
function judgeEvent(of: Case, failure: ErrorEvent): Judgement {
  const { error, head } = failure;
  const signed = isSigned(of, head);
  const status = statusOf(failure, of.target, of.context);
  if (of.target.credential === 'own' && (status === 401 || status === 403)) return foreign;
  if (verdicts.has(codeOf(error)) || (status < 500 && status !== 429)) return final;
  return status === 429 || status === 529 ? rateLimited(of, null) : serverError(of, signed ? 'ok' : 'neither', null);
}

/** Only a target with our key rests: one caller's limit at NewAPI must not be everybody's. */
function rateLimited({ target, retry }: Case, asked: number | null): Judgement {
  const known = retry.retryableErrors.includes('rate_limit');
  const own = target.credential === 'own';
  return { verdict: known ? 'next' : 'return', again: known && own, result: own ? 'fail' : 'neither', rest: own ? (asked ?? defaultRest) : null };
}

/**
 * NewAPI has tried its own channels: only another target can do better.
 * @param result what it says about a target that is asked with the caller's credential; against ours it always counts.
 * @param asked milliseconds ours wants to be left alone.
 */
function serverError({ target, retry }: Case, result: Result, asked: number | null): Judgement {
  const known = retry.retryableErrors.includes('server_error');
  const own = target.credential === 'own';
  return { verdict: known ? 'next' : 'return', again: known && own, result: own ? 'fail' : result, rest: own ? asked : null };
}

const isSigned = ({ target }: Case, head: readonly string[]): boolean => target.credential === 'caller' && headerOf(head, 'x-oneapi-request-id') !== null;

/** Whether a target did not accept our own credential; its text is for us alone. */
export function isOurKeyRefused(failure: Failure, target: Target, context: Context): boolean {
  if (target.credential !== 'own' || (failure.kind !== 'reply' && failure.kind !== 'error_event')) return false;
  return [401, 403].includes(statusOf(failure, target, context));
}

/** The HTTP status a failure stands for, as the target's provider reads it. */
export function statusOf(failure: ErrorReply | ErrorEvent, { name, provider }: Target, { core }: Context): number {
  const sent = failure.kind === 'reply' ? failure.reply.status : 200;
  // It goes by the status alone: no need to look into the body.
  if (sent >= 400 && provider.errorStatus === errorStatus) return sent;
  try {
    const read = provider.errorStatus(failure.kind === 'reply' ? errorIn(failure.reply.body) : failure.error, sent);
    if (isStatus(read)) return read;
  } catch (error) {
    core.log.error({ target: name, function: 'errorStatus', error: describe(error) }, 'provider.failed');
  }
  return errorStatus(null, sent);
}

/** Where NewAPI, OpenAI and Anthropic have it, else the whole. */
function errorIn(body: Buffer | null): unknown {
  if (body === null) return null;
  try {
    const answer = JSON.parse(body.toString()) as { error?: unknown } | null;
    return answer?.error ?? answer;
  } catch {
    return null;
  }
}

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '');

import type { Context, Core, Exchange } from '../context.ts';
import { describe } from '../context.ts';
import { HeimdallError, render } from '../errors.ts';
import { Attempt, deliver, type Failure, type Reply } from './attempt.ts';
import { headerOf } from '../head.ts';
import { eligible, type Target } from './targets.ts';

type Verdict = 'next' | 'same' | 'return';

/** Codes by which NewAPI judges the request, not its own state: no other target may be asked. */
const verdicts = new Set([
  'model_not_found', 'insufficient_user_quota', 'pre_consume_token_quota_failed', 'sensitive_words_detected', 'access_denied', 'invalid_request',
]);

/** Answers model routes: choose a target, ask it, judge the answer, again. */
export function forwarder(core: Core, targets: readonly Target[]): (context: Context) => void {
  return (context) => {
    const forward = new Forward(core, targets, context);
    context.exchange = forward;
    forward.next();
  };
}

class Forward implements Exchange {
  readonly #core: Core;
  readonly #targets: readonly Target[];
  readonly #context: Context;
  readonly #deadline: number;
  #at = 0;
  #attempt: Attempt | null = null;
  #retriedStale = false;
  /** The last failure that an upstream put in words, with who said it. */
  #spoken: { readonly failure: Failure; readonly target: Target } | null = null;

  constructor(core: Core, targets: readonly Target[], context: Context) {
    this.#core = core;
    this.#targets = targets;
    this.#context = context;
    this.#deadline = context.elapsed() + core.config.llm.timeouts.total;
  }

  /** Asks the next eligible target. */
  next(): void {
    const target = this.#choose();
    if (target === null) return this.#context.fail(this.#nobody());
    this.#ask(target);
  }

  abort(): void {
    this.#attempt?.abort();
  }

  look(now: number): void {
    this.#attempt?.look(now);
  }

  #choose(): Target | null {
    while (this.#at < this.#targets.length) {
      const target = this.#targets[this.#at++] as Target;
      if (eligible(target, this.#context)) return target;
    }
    return null;
  }

  #nobody(): HeimdallError {
    const { key, upstreamCredential, verified } = this.#context;
    if (key !== null && upstreamCredential === null) return new HeimdallError('no_upstream_credential');
    return new HeimdallError(verified ? 'no_target' : 'not_verified');
  }

  #ask(target: Target): void {
    const context = this.#context;
    context.attempts++;
    const patience = Math.min(this.#core.config.llm.timeouts.firstByte, Math.max(1, this.#deadline - context.elapsed()));
    this.#attempt = new Attempt(context, target, (failure, attempt) => this.#judge(failure, attempt.target));
    this.#attempt.start(patience);
  }

  #judge(failure: Failure, target: Target): void {
    if (failure.kind === 'reply' || failure.kind === 'error_event') this.#spoken = { failure, target };
    const verdict = this.#verdict(failure, target);
    if (verdict === 'same') {
      this.#retriedStale = true;
      return this.#ask(target);
    }
    const following = verdict === 'next' && this.#context.elapsed() < this.#deadline ? this.#choose() : null;
    this.#report(failure, target, following);
    if (following !== null) return this.#ask(following);
    const said = verdict === 'next' && this.#spoken !== null ? this.#spoken : { failure, target };
    this.#giveUp(said.failure, said.target);
  }

  #verdict(failure: Failure, target: Target): Verdict {
    if (failure.kind === 'malformed' || this.#context.bodyStream !== null) return 'return';
    if (failure.kind === 'unreachable') return 'next';
    if (this.#context.route.media) return 'return';
    switch (failure.kind) {
      case 'stale':
        return this.#retriedStale ? unclear(this.#context) : 'same';
      case 'reset':
      case 'timeout':
        return unclear(this.#context);
      case 'unusable':
        return 'next';
      case 'error_event':
        return verdicts.has(codeOf(failure.error)) ? 'return' : 'next';
      case 'reply':
        return verdictOn(failure.reply, target);
    }
  }

  #report(failure: Failure, target: Target, following: Target | null): void {
    const { log } = this.#core;
    const fields = { requestId: this.#context.id, target: target.name, failure: failure.kind, next: following?.name ?? null };
    if (isOurKeyRefused(failure, target)) log.error(fields, 'upstream.credential_refused');
    else if (following !== null) log.warn({ ...fields, ...cause(failure) }, 'upstream.failover');
    else if (failure.kind !== 'reply') log.warn({ ...fields, ...cause(failure) }, 'upstream.failed');
  }

  #giveUp(failure: Failure, target: Target): void {
    const context = this.#context;
    if (isOurKeyRefused(failure, target)) return context.fail(new HeimdallError('upstream_refused'));
    context.target = target.name;
    switch (failure.kind) {
      case 'reply':
        return this.#pass(failure.reply, target);
      case 'error_event':
        return tell(context, failure.error);
      case 'unreachable':
        return context.fail(new HeimdallError('upstream_unreachable'));
      case 'malformed':
        return context.fail(new HeimdallError('malformed_request'));
      case 'unusable':
        return context.fail(new HeimdallError('upstream_invalid'));
      case 'stale':
      case 'reset':
      case 'timeout':
        return context.fail(new HeimdallError('upstream_timeout'));
    }
  }

  /** An upstream's own error goes out as it came; one that did not come whole keeps its status. */
  #pass(reply: Reply, target: Target): void {
    const context = this.#context;
    if (reply.status >= 500) context.outcome = 'upstream_error';
    if (reply.body !== null) return deliver(context, target, { ...reply, body: reply.body });
    const seconds = Number(headerOf(reply.head, 'retry-after') ?? Number.NaN);
    context.fail(new HeimdallError('upstream_error', { status: reply.status, ...(seconds >= 0 ? { retryAfter: Math.ceil(seconds) } : {}) }));
  }
}

/** It may have been served and billed: asked again only where that costs nothing. */
const unclear = (context: Context): Verdict => (context.route.free ? 'next' : 'return');

function verdictOn(reply: Reply, target: Target): Verdict {
  const { status } = reply;
  if (target.credential === 'own') return status === 401 || status === 403 || status === 429 || status >= 500 ? 'next' : 'return';
  const signed = headerOf(reply.head, 'x-oneapi-request-id') !== null;
  if (status < 500) return status === 429 && !signed ? 'next' : 'return';
  return signed && reply.body !== null && verdicts.has(codeOf(errorIn(reply.body))) ? 'return' : 'next';
}

function isOurKeyRefused(failure: Failure, target: Target): boolean {
  if (target.credential !== 'own') return false;
  if (failure.kind === 'reply') return failure.reply.status === 401 || failure.reply.status === 403;
  return failure.kind === 'error_event' && [401, 403].includes(statusOf(failure.error));
}

const cause = (failure: Failure): object => ('cause' in failure && failure.cause instanceof Error ? { cause: describe(failure.cause) } : {});

function errorIn(body: Buffer): unknown {
  try {
    return (JSON.parse(body.toString()) as { error?: unknown } | null)?.error;
  } catch {
    return null;
  }
}

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '');

/** The HTTP status that an error event would have had. */
function statusOf(error: unknown): number {
  const { code, status, type } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  for (const number of [status, code].map(Number)) if (number >= 400 && number < 600) return number;
  const word = `${String(type)} ${String(code)}`;
  if (/rate_limit|too_many/.test(word)) return 429;
  if (/overloaded/.test(word)) return 503;
  if (/authentication|invalid_api_key/.test(word)) return 401;
  if (/permission/.test(word)) return 403;
  return /invalid_request/.test(word) ? 400 : 502;
}

/** An error that came inside a 200 stream, as the answer it should have been; never a 200. */
function tell(context: Context, error: unknown): void {
  const status = statusOf(error);
  const fallback = new HeimdallError('upstream_error', { status });
  context.outcome = 'upstream_error';
  context.errorCode = fallback.code;
  const claude = context.route.errors === 'claude';
  const known = typeof error === 'object' && error !== null;
  const body = known ? JSON.stringify(claude ? { type: 'error', error, request_id: context.id } : { error }) : render(fallback, context.route.errors, context.id);
  context.answer(status, ['Content-Type', 'application/json'], body);
}

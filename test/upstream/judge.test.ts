import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RetryConfig } from '../../types/config.d.ts';
import type { Context } from '../../lib/request/context.ts';
import type { Failure } from '../../lib/upstream/failure.ts';
import { providerOf } from '../../lib/providers/providers.ts';
import { failureStatus, isOurKeyRefused, judge, type Judgement } from '../../lib/upstream/judge.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import type { Target } from '../../lib/upstream/targets.ts';

type Retryable = RetryConfig['retryableErrors'][number];

interface Given {
  readonly own?: boolean;
  readonly errors?: readonly Retryable[];
  readonly route?: readonly [method: string, path: string];
  readonly resent?: boolean;
  readonly streams?: boolean;
}

const now = Date.UTC(2026, 0, 5);
const usual: readonly Retryable[] = ['rate_limit', 'server_error'];

function judged(failure: Failure, { own = false, errors = usual, route = ['POST', '/v1/chat/completions'], resent = false, streams = false }: Given = {}): Judgement {
  const context = { route: routeOf(...route), bodyStream: streams ? {} : null } as unknown as Context;
  const target = { credential: own ? 'own' : 'caller', provider: providerOf(own ? 'openai' : 'newapi') } as Target;
  const retry: RetryConfig = { maxRetries: 5, initialDelay: 100, maxDelay: 5000, multiplier: 1.5, retryableErrors: [...errors] };
  return judge(failure, { context, target, retry, resent, now });
}

/** As one line, so that a table reads like one. */
const line = ({ verdict, again, result, rest }: Judgement): string => [verdict, ...(again ? ['again'] : []), result, ...(rest === null ? [] : [rest.duration, ...(rest.overloaded ? ['overloaded'] : []), ...(rest.whole ? ['whole'] : [])])].join(' ');

const signature = ['X-Oneapi-Request-Id', 'id'];
const reply = (status: number, head: readonly string[] = [], body: unknown = {}): Failure => ({ kind: 'reply', reply: { status, head: [...head], body: body === null ? null : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) } });
const signed = (status: number, code?: string, head: readonly string[] = []): Failure => reply(status, [...signature, ...head], { error: { message: 'x', code } });
const event = (error: unknown, head: readonly string[] = []): Failure => ({ kind: 'error_event', error, head: [...head] });
const cut = (head: readonly string[] = []): Failure => ({ kind: 'cut', cause: null, head: [...head] });
const coded = (code: string): Error => Object.assign(new Error(code), { code });
const unreachable: Failure = { kind: 'unreachable', cause: null };
const reset: Failure = { kind: 'reset', cause: null, head: null };
const timeout: Failure = { kind: 'timeout' };
const stale: Failure = { kind: 'stale' };
const notHttp: Failure = { kind: 'not_http', cause: null };

/** Each failure at NewAPI with the caller's key, and at a target with ours. */
const rows: readonly (readonly [name: string, failure: Failure, caller: string, own: string])[] = [
  ['a request that cannot be sent', { kind: 'malformed', cause: null }, 'return neutral', 'return neutral'],
  ['a refused connection', unreachable, 'next again fail', 'next again fail'],
  ['a kept connection that was closed', stale, 'same neutral', 'same neutral'],
  ['a refused connection at one address, no route to the other', { kind: 'unreachable', cause: Object.assign(new AggregateError([coded('ECONNREFUSED'), coded('ENETUNREACH')]), { code: 'ECONNREFUSED' }) }, 'next again fail', 'next again fail'],
  ['a name that does not exist', { kind: 'unreachable', cause: coded('ENOTFOUND') }, 'next again fail', 'next again fail'],
  ['a reset behind a signed head', { kind: 'reset', cause: null, head: signature }, 'return ok', 'return fail'],
  ['a reset, unsigned, behind a head', { kind: 'reset', cause: null, head: [] }, 'return fail', 'return fail'],
  ...['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL', 'EAI_AGAIN', 'EAI_MEMORY', 'ENETDOWN', 'ENETUNREACH', 'EACCES'].map((code) => [`our own ${code}`, { kind: 'unreachable', cause: coded(code) }, 'next again neutral', 'next again neutral'] as const),
  ['our own ENOMEM once it was sent', { kind: 'reset', cause: coded('ENOMEM'), head: null }, 'return neutral', 'return neutral'],
  ['our own EMFILE at every address', { kind: 'unreachable', cause: new AggregateError([coded('EMFILE'), coded('EMFILE')]) }, 'next again neutral', 'next again neutral'],
  ['a reset', reset, 'return fail', 'return fail'],
  ['silence', timeout, 'return neutral', 'return fail'],
  ['another protocol', notHttp, 'next fail', 'next fail'],
  ['JSON cut short', cut(), 'next fail', 'next again fail'],
  ['JSON cut short, signed', cut(signature), 'next ok', 'next again fail'],
  ['500', reply(500), 'next neutral', 'next again fail'],
  ['502', reply(502, [], '<h1>Bad Gateway</h1>'), 'next fail', 'next again fail'],
  ['503', reply(503), 'next neutral', 'next again fail'],
  ['504', reply(504), 'next fail', 'next again fail'],
  ['503 with seconds', reply(503, ['Retry-After', '3']), 'next neutral', 'next again fail 3000'],
  ['502 with seconds', reply(502, ['Retry-After', '3']), 'next fail', 'next again fail 3000'],
  ['500 with a date', reply(500, ['Retry-After', new Date(now + 4000).toUTCString()]), 'next neutral', 'next again fail 4000'],
  ['504 with milliseconds', reply(504, ['retry-after-ms', '70']), 'next fail', 'next again fail 70'],
  ['500 without a body', reply(500, [], null), 'next neutral', 'next again fail'],
  ['529', reply(529), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
  ['529 with seconds', reply(529, ['Retry-After', '4']), 'next again neutral 4000 overloaded whole', 'next again fail 4000 overloaded whole'],
  ['signed 529', signed(529), 'next again neutral 1000 overloaded', 'next again fail 1000 overloaded whole'],
  ['signed 503 of a busy CPU', signed(503, 'system_cpu_overloaded'), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
  ['signed 503 of a full memory', signed(503, 'system_memory_overloaded'), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
  ['signed 503 of a full disk', signed(503, 'system_disk_overloaded', ['Retry-After', '2']), 'next again neutral 2000 overloaded whole', 'next again fail 2000 overloaded whole'],
  ['signed 503 of an overloaded provider', reply(503, signature, { error: { type: 'overloaded_error', message: 'Overloaded' } }), 'next again neutral 1000 overloaded', 'next again fail 1000 overloaded whole'],
  ['503 of an overloaded server', reply(503, [], { error: { code: 'server_overloaded' } }), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
  ['500 of Anthropic\'s kind', reply(500, [], { type: 'error', error: { type: 'overloaded_error' } }), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
  ['signed 503 without a channel, in words', reply(503, signature, { error: { message: 'No available channel for model m under group default (request id: r)', type: 'new_api_error', code: '' } }), 'return ok', 'next ok'],
  ['signed 503 without a channel, in Chinese', reply(503, signature, { error: { message: '当前分组 default 下对于模型 m 无可用渠道', type: 'new_api_error' } }), 'return ok', 'next ok'],
  ['429', reply(429), 'next neutral', 'next again fail 1000'],
  ['429 with seconds', reply(429, ['Retry-After', '2']), 'next neutral', 'next again fail 2000'],
  ['429 with an hour', reply(429, ['Retry-After', '3600']), 'next neutral', 'next again fail 60000'],
  ['400', reply(400), 'return ok', 'return ok'],
  ['401', reply(401), 'return ok', 'next neutral'],
  ['403', reply(403), 'return ok', 'next neutral'],
  ['404', reply(404), 'return ok', 'return ok'],
  ['408', reply(408, ['Retry-After', '1']), 'return ok', 'return ok'],
  ['413', reply(413), 'return ok', 'return ok'],
  ['signed 400', signed(400), 'return ok', 'return ok'],
  ['signed 429', signed(429, undefined, ['Retry-After', '1']), 'return ok', 'next again fail 1000'],
  ['signed 503 for a model that does not exist', signed(503, 'model_not_found'), 'return ok', 'next ok'],
  ['signed 500 for a quota', signed(500, 'insufficient_user_quota'), 'return ok', 'next again fail'],
  ['signed 500 for words', signed(500, 'sensitive_words_detected'), 'return ok', 'next again fail'],
  ['signed 503 otherwise', signed(503, 'get_channel_failed'), 'next ok', 'next again fail'],
  ['signed 502', signed(502), 'next ok', 'next again fail'],
  ['signed 504', signed(504), 'next ok', 'next again fail'],
  ['signed 503 that is no JSON', reply(503, signature, '<html>'), 'next ok', 'next again fail'],
  ['signed 503 of null', reply(503, signature, 'null'), 'next ok', 'next again fail'],
  ['unsigned 503 for a model that does not exist', reply(503, [], { error: { code: 'model_not_found' } }), 'next neutral', 'next again fail'],
  ['a stream that is overloaded', event({ type: 'overloaded_error' }, signature), 'next again neutral 1000 overloaded', 'next again fail 1000 overloaded whole'],
  ['a stream of an overloaded machine', event({ code: 'system_cpu_overloaded' }, signature), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
  ['a stream without a channel', event({ code: 'model_not_found' }, signature), 'return ok', 'return ok'],
  ['a stream that is limited', event({ code: 'rate_limit_exceeded' }), 'next neutral', 'next again fail 1000'],
  ['a stream with a server error', event({ type: 'server_error', code: null }), 'next neutral', 'next again fail'],
  ['a stream with a server error, signed', event({ type: 'server_error' }, signature), 'next ok', 'next again fail'],
  ['a stream that names 503', event({ code: 503 }), 'next neutral', 'next again fail'],
  ['a stream with a verdict', event({ code: 'insufficient_user_quota' }), 'return ok', 'return ok'],
  ['a stream with a wrong request', event({ type: 'invalid_request_error', code: null }), 'return ok', 'return ok'],
  ['a stream that does not know the key', event({ code: 'invalid_api_key' }), 'return ok', 'next neutral'],
  ['a stream that may not', event({ type: 'permission_error' }), 'return ok', 'next neutral'],
  ['a stream with nothing but a word', event('Overloaded'), 'next again neutral 1000 overloaded whole', 'next again fail 1000 overloaded whole'],
];

describe('a failure', () => {
  for (const [name, failure, caller, own] of rows) {
    it(`${name}: NewAPI ${caller}; ours ${own}`, () => {
      assert.equal(line(judged(failure)), caller);
      assert.equal(line(judged(failure, { own: true })), own);
    });
  }

  it('counts against NewAPI only without its signature', () => {
    const names = rows.filter(([, failure]) => judged(failure).result === 'fail').map(([name]) => name);
    assert.deepEqual(names.filter((name) => /signed/.test(name) && !/unsigned/.test(name)), []);
  });
});

describe('retryable_errors', () => {
  const kinds: readonly (readonly [Retryable, readonly Failure[]])[] = [
    ['rate_limit', [reply(429), reply(529), event({ type: 'rate_limit_error' }), event({ type: 'overloaded_error' })]],
    ['server_error', [reply(500), reply(503, ['Retry-After', '1']), cut(), event({ type: 'server_error' })]],
    ['timeout', [timeout, reset]],
  ];
  for (const [kind, failures] of kinds) {
    it(`${kind} decides about its own failures and no others`, () => {
      const others = kinds.map(([name]) => name).filter((name) => name !== kind);
      for (const failure of failures) for (const own of [true, false]) {
        assert.equal(judged(failure, { own, errors: [kind] }).verdict, 'next');
        const without = judged(failure, { own, errors: others });
        assert.deepEqual([without.verdict, without.again], ['return', false]);
      }
    });
  }

  it('of none still leaves what was never sent', () => {
    for (const failure of [unreachable, notHttp]) assert.equal(judged(failure, { errors: [] }).verdict, 'next');
    assert.equal(judged(stale, { errors: [] }).verdict, 'same');
  });

  it('does not bind what is free of charge', () => {
    for (const failure of [timeout, reset]) assert.equal(judged(failure, { route: ['GET', '/v1/models'], errors: [] }).verdict, 'next');
    assert.equal(judged(timeout, { route: ['POST', '/v1/moderations'], errors: [] }).verdict, 'next');
  });
});

describe('what may have been served is not asked again', () => {
  it('a connection that was closed twice', () => {
    assert.equal(line(judged(stale, { resent: true })), 'return fail');
    assert.equal(line(judged(stale, { resent: true, errors: ['timeout'] })), 'next fail');
  });

  const sent = [stale, reset, timeout, notHttp, cut(), reply(500), reply(429, ['Retry-After', '1']), event({ type: 'server_error' })];
  const everything: readonly Retryable[] = ['rate_limit', 'server_error', 'timeout'];

  it('media, once something was sent', () => {
    for (const path of ['/v1/images/generations', '/v1/images/edits', '/v1/audio/speech', '/v1/audio/transcriptions']) {
      const given: Given = { own: true, errors: everything, route: ['POST', path] };
      for (const failure of sent) assert.deepEqual([judged(failure, given).verdict, judged(failure, given).again], ['return', false]);
      assert.equal(judged(unreachable, given).verdict, 'next');
    }
  });

  it('a body that cannot be replayed', () => {
    for (const failure of [...sent, unreachable]) assert.equal(judged(failure, { errors: everything, streams: true }).verdict, 'return');
  });

  it('but what it says about the target still holds', () => {
    const { rest, result } = judged(reply(429, ['Retry-After', '2']), { own: true, streams: true });
    assert.deepEqual([rest?.duration, result], [2000, 'fail']);
  });
});

describe('an error as its provider reads it', () => {
  const failed: string[] = [];
  const context = { core: { log: { error: (_fields: object, event: string) => void failed.push(event) } } } as unknown as Context;
  const reading = (errorStatus: (error: unknown, status: number) => number): Target => ({ credential: 'own', name: 'mine', provider: providerOf({ name: 'mine', errorStatus }) }) as Target;
  const read = (failure: ReturnType<typeof reply>, errorStatus: (error: unknown, status: number) => number): number => failureStatus(failure as never, reading(errorStatus), context);

  it('is told what stands under error, else the whole, and null for what is no JSON', () => {
    const told: unknown[] = [];
    const note = (error: unknown, status: number): number => (told.push([error, status]), 503);
    for (const body of [{ error: { code: 7 } }, { code: 8 }, { error: null, code: 9 }, '<html>', 'null', null]) assert.equal(read(reply(500, [], body), note), 503);
    assert.equal(read(event({ code: 10 }), note), 503);
    assert.deepEqual(told, [[{ code: 7 }, 500], [{ code: 8 }, 500], [{ error: null, code: 9 }, 500], [null, 500], [null, 500], [null, 500], [{ code: 10 }, 200]]);
  });

  it('stands for its own status when the provider gives none', () => {
    for (const given of [200, 399, 600, 429.5, Number.NaN, '429']) assert.deepEqual([read(reply(500), () => given as number), read(event({}), () => given as number)], [500, 502], String(given));
    assert.deepEqual(failed, []);
    const throws = (): number => {
      throw new Error('mine');
    };
    assert.deepEqual([read(reply(429), throws), failed], [429, ['provider.failed']]);
  });

  it('decides what becomes of the request', () => {
    const case_ = (failure: Failure, status: number): string => {
      const target = reading(() => status);
      return line(judge(failure, { context: { route: routeOf('POST', '/v1/chat/completions'), bodyStream: null } as unknown as Context, target, retry: { maxRetries: 5, initialDelay: 1, maxDelay: 1, multiplier: 1, retryableErrors: usual }, resent: false, now }));
    };
    assert.deepEqual([case_(reply(500), 429), case_(reply(500), 400), case_(reply(400), 503), case_(event({}), 429), case_(reply(500), 401)], ['next again fail 1000', 'return ok', 'next again fail', 'next again fail 1000', 'next neutral']);
    assert.equal(isOurKeyRefused(reply(500), reading(() => 403), context), true);
  });
});

describe('our own key', () => {
  it('is refused by 401 and 403 where it was sent', () => {
    const context = {} as Context;
    const own = { credential: 'own', provider: providerOf('openai') } as Target;
    const caller = { credential: 'caller', provider: providerOf('newapi') } as Target;
    for (const failure of [reply(401), reply(403), event({ code: 'invalid_api_key' })]) {
      assert.deepEqual([isOurKeyRefused(failure, own, context), isOurKeyRefused(failure, caller, context)], [true, false]);
    }
    for (const failure of [reply(404), reply(500), timeout, event({ code: 'overloaded' })]) assert.equal(isOurKeyRefused(failure, own, context), false);
  });
});

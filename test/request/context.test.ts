import assert from 'node:assert/strict';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { Context } from '../../lib/request/context.ts';
import { stages, type Core, type GateRequest } from '../../lib/request/context.ts';
import { describe as describeError } from '../../lib/platform/describe.ts';
import { HeimdallError } from '../../lib/errors.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import { InFlight } from '../../lib/request/in-flight.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import { request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder, startGate, type Recorder } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

interface Loose {
  readonly observe?: boolean;
  readonly draining?: boolean;
  readonly finishers?: Core['finishers'];
}

const config = resolveConfig({ newapi: { baseUrl: 'http://127.0.0.1:1' } });

/** A core without a gate around it. */
function coreOf({ observe = false, draining = false, finishers = [] }: Loose = {}): Core & { readonly log: Recorder } {
  const heads = { every: [], own: [], proxied: [] };
  const clock = fakeClock();
  return { config, clock, log: recorder(), observe, draining, inFlight: new InFlight(config, clock), heads, finishers } as unknown as Core & { log: Recorder };
}

function loose(core: Core): Context {
  const req = new IncomingMessage(new Socket());
  return new Context(core, req, new ServerResponse(req));
}

/** Ids need no more of a request than that it is one. */
const idFrom = (core: Core): string => new Context(core, {} as GateRequest, { on: () => undefined } as unknown as ServerResponse).id;

/** A server whose requests become contexts that `run` answers. */
async function serve(t: TestContext, core: Core, run: (context: Context) => void): Promise<{ url: string; contexts: Context[] }> {
  const contexts: Context[] = [];
  const { url } = await startUpstream(t, (req, res) => {
    const context = new Context(core, req as GateRequest, res);
    context.route = routeOf('POST', '/v1/chat/completions');
    contexts.push(context);
    run(context);
  });
  return { url, contexts };
}

describe('the request id', () => {
  it('is a UUIDv7 of the time of arrival', () => {
    const core = coreOf();
    const { id, time } = loose(core);
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(Number.parseInt(id.replace('-', '').slice(0, 12), 16), time);
    assert.equal(time, core.clock.now());
  });

  it('is given once, though time stands still or goes back', () => {
    const core = coreOf();
    const ids = new Set<string>();
    for (let n = 0; n < 100_000; n++) ids.add(idFrom(core));
    const earlier = { ...core, clock: fakeClock(core.clock.now() - 1000) } as Core;
    for (let n = 0; n < 10_000; n++) ids.add(idFrom(n % 2 ? earlier : core));
    assert.equal(ids.size, 110_000);
    for (const id of ids) if (id.length !== 36) assert.fail(id);
  });

  it('sorts as given, thousands of times a millisecond', () => {
    const clock = fakeClock(Date.UTC(2027, 0, 1));
    const core = { ...coreOf(), clock } as Core;
    const ids: string[] = [];
    for (let ms = 0; ms < 5; ms++, clock.tick(1)) for (let n = 0; n < 4000; n++) ids.push(idFrom(core));
    assert.deepEqual(ids.toSorted(), ids);
  });
});

describe('a context', () => {
  it('is put away once, in order, even when something fails on the way', () => {
    const order: string[] = [];
    const core = coreOf({ finishers: [() => order.push('first'), () => assert.fail('on purpose'), () => order.push('last')] });
    const context = loose(core);
    assert.equal(core.inFlight.size, 1);
    context.finish();
    context.finish();
    context.res.emit('close');
    assert.deepEqual(order, ['first', 'last']);
    assert.equal(core.inFlight.size, 0);
    assert.deepEqual(core.log.named('finish.failed').map(({ requestId }) => requestId), [context.id]);
  });

  it('is put away in the order of the stages', async (t) => {
    assert.deepEqual(stages, ['settle', 'release', 'record', 'metrics']);
    const { gate } = await startGate(t);
    const { core } = internalsOf(gate);
    assert.ok(core.finishers.length >= 3);
    assert.equal(core.inFlight.size, 0);
  });

  it('counts a client that leaves before the answer as 499, and an answer in time as what it is', async (t) => {
    const core = coreOf();
    const { url, contexts } = await serve(t, core, (context) => {
      if (context.req.url === '/') context.answer(200, [], 'ok');
    });
    await request(url);
    const leaving = new AbortController();
    const asked = request(`${url}/wait`, { signal: leaving.signal });
    await until(() => contexts.length === 2);
    leaving.abort();
    await assert.rejects(asked);
    await until(() => contexts.every(({ finished }) => finished));
    assert.deepEqual(contexts.map(({ status, outcome }) => `${status} ${outcome}`), ['200 served', '499 aborted']);
  });

  it('answers once, with an id, counting the bytes of the body', async (t) => {
    const { url, contexts } = await serve(t, coreOf(), (context) => {
      context.answer(200, ['X-A', '1'], 'grüße \u{1f511}');
      context.answer(500, [], 'again');
    });
    const answer = await request(url);
    assert.deepEqual([answer.status, answer.text, answer.headers['x-a'], answer.headers['content-length']], [200, 'grüße \u{1f511}', '1', '12']);
    assert.equal(answer.headers['x-request-id'], contexts[0]?.id);
    assert.equal(contexts[0]?.bytesOut, 12);
    const head = await request(url, { method: 'HEAD' });
    assert.deepEqual([head.headers['content-length'], head.text], ['12', '']);
    assert.equal(contexts[1]?.bytesOut, 0);
  });

  it('closes the connection when draining, or when a body was left unread', async (t) => {
    const draining = await serve(t, coreOf({ draining: true }), (context) => context.answer(200, [], ''));
    assert.equal((await request(draining.url)).headers.connection, 'close');
    const unread = await serve(t, coreOf(), (context) => context.answer(401, [], ''));
    assert.equal((await request(unread.url, { body: 'x'.repeat(200_000) })).headers.connection, 'close');
    assert.notEqual((await request(unread.url, { headers: { Connection: 'keep-alive' } })).headers.connection, 'close');
  });
});

describe('refuse', () => {
  const rule = new HeimdallError('missing_credential');

  it('answers and stops the part', async (t) => {
    const { url, contexts } = await serve(t, coreOf(), (context) => assert.equal(context.refuse('auth', rule), true));
    const answer = await request(url);
    assert.equal(answer.status, 401);
    assert.equal(answer.headers['x-should-retry'], 'false');
    assert.equal(answer.json<{ error: { code: string } }>().error.code, 'missing_credential');
    await until(() => contexts[0]?.finished);
    assert.deepEqual([contexts[0]?.outcome, contexts[0]?.errorCode, contexts[0]?.wouldRefuse], ['refused', 'missing_credential', []]);
  });

  it('only notes the rule where the gate observes', async (t) => {
    const { url, contexts } = await serve(t, coreOf({ observe: true }), (context) => {
      assert.equal(context.refuse('auth', rule), false);
      assert.equal(context.refuse('rate_limit', rule), false);
      context.answer(200, [], '');
    });
    assert.equal((await request(url)).status, 200);
    await until(() => contexts[0]?.finished);
    assert.deepEqual([contexts[0]?.outcome, contexts[0]?.errorCode, contexts[0]?.wouldRefuse], ['served', null, ['auth', 'rate_limit']]);
  });
});

describe('fail', () => {
  it('says when to come back, and whether to', async (t) => {
    const { url } = await serve(t, coreOf(), (context) => context.fail(new HeimdallError('upstream_error', { status: 529, retryAfter: 7 })));
    const { status, headers } = await request(url);
    assert.deepEqual([status, headers['retry-after'], headers['x-should-retry'], headers['content-type']], [529, '7', undefined, 'application/json']);
  });

  it('ends an event stream that has begun with an error event, and cuts anything else', async (t) => {
    const { url, contexts } = await serve(t, coreOf(), (context) => {
      context.eventStream = context.req.url === '/stream';
      context.writeProxied(200, []);
      context.res.write('data: 1\n\n', () => context.fail(new HeimdallError('upstream_interrupted')));
    });
    const { text } = await request(`${url}/stream`);
    assert.match(text, /^data: 1\n\n\s*data: \{"error":\{[^\n]*"code":"upstream_interrupted"\}\}\n\n$/);
    await assert.rejects(request(url));
    await until(() => contexts.every(({ finished }) => finished));
    assert.deepEqual(contexts.map(({ outcome }) => outcome), ['upstream_error', 'upstream_error']);
  });

  it('remembers what went wrong first', async (t) => {
    const { url, contexts } = await serve(t, coreOf(), (context) => {
      context.fail(new HeimdallError('invalid_json'));
      context.fail(new HeimdallError('internal_error'));
    });
    assert.equal((await request(url)).status, 400);
    assert.equal(contexts[0]?.errorCode, 'invalid_json');
  });
});

describe('describe', () => {
  it('keeps of an error what may be logged', () => {
    const error = Object.assign(new TypeError('fetch failed', { cause: new Error('secret') }), { code: 'ECONNRESET', config: 'secret' });
    assert.deepEqual(describeError(error), { name: 'TypeError', message: 'fetch failed', code: 'ECONNRESET' });
    assert.deepEqual(describeError(Object.assign(new Error('x'), { code: 7 })), { name: 'Error', message: 'x' });
    for (const thrown of ['secret', null, undefined, 7, { message: 'secret' }]) assert.deepEqual(describeError(thrown), { name: 'unknown' });
  });
});

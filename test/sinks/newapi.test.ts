import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { newapiSink, type NewapiSinkOptions } from '../../lib/sinks/newapi.ts';
import type { Sink } from '../../types/sink.d.ts';
import { sinkContract } from '../contracts/sink.ts';
import { closing } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { aRecord } from '../support/fake-journal.ts';
import { startReceiver, type Manner, type Receiver } from '../support/receiver.ts';

const signal = new AbortController().signal;

async function start(t: TestContext, options: Partial<NewapiSinkOptions> = {}): Promise<{ receiver: Receiver; sink: Sink }> {
  const receiver = closing(t, await startReceiver());
  const sink = newapiSink({ url: receiver.url, select: 'all', rawToken: null, maxRate: 1000, clock: fakeClock(), ...options });
  t.after(() => sink.close?.());
  return { receiver, sink };
}

describe('NewAPI\'s receiver', () => {
  sinkContract('it', 'kept twice', async (t) => {
    const { receiver, sink } = await start(t);
    receiver.refuses = ({ request_path: path }) => path === '/v1/poison';
    return {
      sink,
      taken: async () => receiver.taken.map(({ request_path: path }) => Number(String(path).split('/').at(-1))),
      fail: () => receiver.stop(),
      async heal() {
        receiver.manner = 'well';
        await receiver.start();
      },
      hang: async () => void (receiver.manner = 'silent'),
      poison: { request_path: '/v1/poison' },
      secrets: [],
    };
  });

  it('is sent the original\'s fields, in its types', async (t) => {
    const { receiver, sink } = await start(t);
    await sink.deliver([aRecord(1, { response_time: 12.6, timestamp: 1_767_571_200.4 })], signal);
    assert.equal(receiver.calls[0]?.path, '/api/heimdall/log');
    assert.deepEqual(receiver.taken, [{
      token_key: 'sk-…last', request_path: '/v1/chat/completions', request_method: 'POST', real_ip: '192.0.2.7', forwarded_for: '192.0.2.7, 127.0.0.1', user_agent: 'openai-python/1.2',
      request_headers: '{"accept":"*/*"}', request_body: '{"model":"gpt-4o"}', content_fingerprint: 'd41d8cd98f00b204e9800998ecf8427e', device_fingerprint: 'a'.repeat(64), cookies: null,
      response_status: 200, response_time: 13, timestamp: 1_767_571_200,
    }]);
  });

  it('is sent text where a request had none', async (t) => {
    const { receiver, sink } = await start(t);
    await sink.deliver([aRecord(1, { token_key: null, token_id: null, user_agent: null, request_headers: null, request_body: null, content_fingerprint: null })], signal);
    const { token_key, user_agent, request_headers, request_body, content_fingerprint } = receiver.taken[0] ?? {};
    assert.deepEqual([token_key, user_agent, request_headers, request_body, content_fingerprint], [null, '', '{}', null, null]);
  });

  it('is sent the raw key where that is allowed and known', async (t) => {
    const { receiver, sink } = await start(t, { rawToken: (id) => (id === '0123456789abcdef' ? 'TheWholeKey' : null) });
    await sink.deliver([aRecord(1)], signal);
    await sink.deliver([aRecord(2, { token_id: 'ffffffffffffffff' })], signal);
    await sink.deliver([aRecord(3, { token_id: null, token_key: null })], signal);
    assert.deepEqual(receiver.taken.map(({ token_key: key }) => key), ['TheWholeKey', 'sk-…last', null]);
  });

  it('wants what is selected, and never what was handed in', async (t) => {
    const wants = async (select: NewapiSinkOptions['select'], ...records: Parameters<typeof aRecord>[1][]): Promise<boolean[]> => {
      const { sink } = await start(t, { select });
      return records.map((more, at) => sink.wants?.(aRecord(at, more)) ?? true);
    };
    const four = [{}, { outcome: 'refused:rate_limit_requests' as const }, { would_refuse: ['auth'] }, { source: 'ingest:0123abcd', outcome: 'refused:banned' as const }];
    assert.deepEqual(await wants('all', ...four), [true, true, true, false]);
    assert.deepEqual(await wants('flagged', ...four), [false, true, true, false]);
    const { sink } = await start(t, { select: 'sample' });
    const sampled = Array.from({ length: 1000 }, (_, at) => sink.wants?.(aRecord(at)) ?? true).filter(Boolean).length;
    assert.equal(sampled, 100);
  });

  it('is understood', async (t) => {
    const { receiver, sink } = await start(t);
    const said: Partial<Record<Manner, unknown>> = {};
    for (const manner of ['well', 'limited', 'limited with a word', 'broken', 'unsuccessful', 'page', 'redirect', 'absent'] as const) {
      receiver.manner = manner;
      said[manner] = await sink.deliver([aRecord(1)], signal);
    }
    assert.deepEqual(said, {
      'well': { kind: 'delivered', wait: 1 },
      'limited': { kind: 'held', reason: 'the receiver answered 429' },
      'limited with a word': { kind: 'held', reason: 'the receiver answered 429', wait: 3000 },
      'broken': { kind: 'held', reason: 'the receiver answered 500' },
      'unsuccessful': { kind: 'held', reason: 'the receiver answered 200 without success' },
      'page': { kind: 'held', reason: 'the receiver answered 200 without success' },
      'redirect': { kind: 'held', reason: 'the receiver answered 302' },
      'absent': { kind: 'off', reason: 'this NewAPI has no receiver at /api/heimdall/log (404)' },
    });
    assert.equal(receiver.calls.length, 8, 'nothing is followed');
    await receiver.stop();
    assert.deepEqual(await sink.deliver([aRecord(1)], signal), { kind: 'held', reason: 'the receiver cannot be reached (ECONNREFUSED)' });
  });

  it('is left alone between two calls, after a refusal too', async (t) => {
    const { receiver, sink } = await start(t, { maxRate: 0.8 });
    receiver.refuses = () => true;
    assert.deepEqual(await sink.deliver([aRecord(1)], signal), { kind: 'refused', reason: 'the receiver answered 400', wait: 1250 });
  });
});

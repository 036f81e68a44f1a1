import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';

import { closing, request, sse } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { fullBacklog, startProvider, type Fault, type Provider } from '../support/provider.ts';
import { bearer, CALLER, chat, OWN, servedBy, startScene, type Scene } from '../support/scene.ts';
import { shared } from '../support/shared.ts';

const streamed = { ...chat, stream: true };

/** How a request ends: who answers it, or with which status nobody does. */
type End = 'backup' | 'primary' | number;

interface Row {
  readonly fault: Fault;
  readonly chat: End;
  /** On a route that costs nothing: `GET /v1/models`. */
  readonly models?: End;
  /** On a connection that has served before. */
  readonly reused?: End;
}

const rows: Readonly<Record<string, Row>> = {
  'refuses connections': { fault: { kind: 'refuse' }, chat: 'backup', models: 'backup' },
  'answers 500': { fault: { kind: 'status', status: 500 }, chat: 'backup' },
  'answers 502': { fault: { kind: 'status', status: 502, body: '<h1>Bad Gateway</h1>' }, chat: 'backup' },
  'answers 503': { fault: { kind: 'status', status: 503 }, chat: 'backup', models: 'backup', reused: 'backup' },
  'answers 529': { fault: { kind: 'status', status: 529 }, chat: 'backup' },
  'answers 429 and did not say it is NewAPI': { fault: { kind: 'status', status: 429 }, chat: 'backup' },
  'answers 401': { fault: { kind: 'status', status: 401 }, chat: 401, models: 401 },
  'answers 404': { fault: { kind: 'status', status: 404 }, chat: 404, models: 404 },
  'redirects': { fault: { kind: 'redirect', location: 'http://127.0.0.1:1/v1/chat/completions' }, chat: 307 },
  'speaks another protocol': { fault: { kind: 'not_http' }, chat: 'backup', models: 'backup' },
  'sends a head without end': { fault: { kind: 'big_head', bytes: 200_000 }, chat: 'backup' },
  'sends a large head': { fault: { kind: 'big_head', bytes: 12_000 }, chat: 'primary' },
  'sends 103 first': { fault: { kind: 'early_hints' }, chat: 'primary', reused: 'primary' },
  'speaks HTTP/1.0': { fault: { kind: 'http10' }, chat: 'primary' },
  'sends half a JSON document': { fault: { kind: 'truncated', of: 'json' }, chat: 'backup', models: 'backup' },
  'cuts a chunked JSON document': { fault: { kind: 'truncated', of: 'chunked' }, chat: 'backup' },
  'announces more than it sends': { fault: { kind: 'short_length' }, chat: 'backup' },
  'cuts the answer behind its head by RST': { fault: { kind: 'reset', at: 'headers', after: 7, by: 'rst' }, chat: 'backup' },
  'hangs before its head': { fault: { kind: 'hang', at: 'headers' }, chat: 504, models: 'backup' },
  'hangs within a JSON document': { fault: { kind: 'hang', at: 'middle' }, chat: 504, models: 'backup' },
  'closes before its head': { fault: { kind: 'reset', at: 'before', by: 'fin' }, chat: 504, models: 'backup', reused: 'primary' },
  'resets before its head': { fault: { kind: 'reset', at: 'before', by: 'rst' }, chat: 504, models: 'backup', reused: 'primary' },
};

/** One fault for one request of any method. */
const meets = (primary: Provider, fault: Fault): Promise<void> => primary.script(fault.kind === 'refuse' ? fault : [fault], () => true);

async function ends({ primary, backup, ask }: Scene, end: End, options: Parameters<Scene['ask']>[0] = {}): Promise<void> {
  const answer = await ask(options);
  if (typeof end === 'number') {
    assert.equal(answer.status, end);
    assert.equal(backup.calls.length, 0);
  } else {
    assert.equal(answer.status, 200);
    assert.equal(options.method === 'GET' ? /"owned_by":"(\w+)"/.exec(answer.text)?.[1] : servedBy(answer), end);
    assert.equal(backup.calls.length, end === 'backup' ? 1 : 0);
    if (end === 'backup' && options.method !== 'GET') assert.deepEqual(JSON.parse(String(backup.calls[0]?.body)), chat);
  }
  assert.ok(primary.calls.length <= 2, 'asked again without end');
}

for (const [name, { fault, chat: end, models, reused }] of Object.entries(rows)) {
  const shown = (to: End): string => (typeof to === 'number' ? `a ${to}` : `the ${to}'s answer`);

  describe(`when NewAPI ${name}`, () => {
    // No breaker: what one test did to a target is nothing to the next.
    const scene = shared((scope) => startScene(scope, { circuitBreaker: { failureThreshold: 1000 } }));

    it('an unverified caller never reaches the backup', async () => {
      const { primary, backup, ask } = await scene();
      const before = backup.connections;
      await meets(primary, fault);
      const answer = await ask({ headers: bearer('sk-stranger') });
      assert.equal(backup.connections, before);
      // An upstream that is overloaded is asked again, whoever the caller is.
      if (end !== 'primary' && name !== 'answers 529') assert.ok(answer.status >= 300, String(answer.status));
      else assert.equal(servedBy(answer), 'primary');
    });

    it(`a verified caller gets ${shown(end)}`, async () => {
      const { primary, verify } = await scene();
      await verify(true);
      await meets(primary, fault);
      await ends(await scene(), end);
    });

    if (models !== undefined) {
      it(`the list of models is ${shown(models)}`, async () => {
        const { primary, verify } = await scene();
        await verify(true);
        await meets(primary, fault);
        await ends(await scene(), models, { path: '/v1/models', method: 'GET' });
      });
    }

    if (reused !== undefined) {
      it(`on a connection that has served before a verified caller gets ${shown(reused)}`, async () => {
        const { primary, verify } = await scene();
        await verify();
        await meets(primary, fault);
        await ends(await scene(), reused);
      });
    }
  });
}

const streams: Readonly<Record<string, readonly [Fault, End]>> = {
  'fails in its first event': [{ kind: 'error_event', shape: 'openai' }, 'backup'],
  'names its first event an error': [{ kind: 'error_event', shape: 'responses' }, 'backup'],
  'is empty': [{ kind: 'empty_stream' }, 'backup'],
  'holds comments alone': [{ kind: 'comments_only', count: 3 }, 'backup'],
  'hangs before its first event': [{ kind: 'hang', at: 'first_event' }, 504],
  'is a JSON error instead': [{ kind: 'status', status: 500 }, 'backup'],
  'is announced by a 103': [{ kind: 'early_hints' }, 'primary'],
};

for (const [name, [fault, end]] of Object.entries(streams)) {
  test(`a stream that ${name} ends for a verified caller with ${end}, for others never with the backup`, async (t) => {
    const { primary, backup, gate, verify } = await startScene(t);
    await verify();
    await primary.script([fault]);
    const url = `${gate.url}/v1/chat/completions`;
    const stream = await sse(url, { body: streamed, headers: bearer(CALLER) });
    assert.equal(stream.status, typeof end === 'number' ? end : 200);
    assert.equal(backup.calls.length, end === 'backup' ? 1 : 0);
    if (typeof end === 'string') {
      assert.equal(servedBy(stream), end);
      assert.equal(stream.events.filter(({ data }) => data === '[DONE]').length, 1);
      assert.ok(!stream.text.includes('error') && !stream.text.includes('waiting'));
    }
    const reached = backup.connections;
    await primary.script([fault]);
    const stranger = await sse(url, { body: streamed, headers: bearer('sk-stranger') });
    assert.equal(backup.connections, reached);
    assert.equal(stranger.status === 200, end === 'primary' || name === 'fails in its first event');
  });
}

test('an error in a later event is the caller\'s to read: the stream has begun', async (t) => {
  const { primary, backup, gate, verify } = await startScene(t);
  await verify();
  await primary.script([{ kind: 'error_event', shape: 'openai', after: 2 }]);
  const stream = await sse(`${gate.url}/v1/chat/completions`, { body: streamed, headers: bearer(CALLER) });
  assert.deepEqual([stream.status, stream.complete, backup.calls.length], [200, true, 0]);
  assert.match(String(stream.events[2]?.data), /Overloaded/);
});

test('NewAPI that hangs at connect is left for the next target in time, however long the chain', async (t) => {
  const nowhere = closing(t, await fullBacklog());
  const newapi = closing(t, await startProvider({ name: 'second' }));
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const gate = await startGate(t, {
    llm: {
      endpoint: `${nowhere.url}/v1`,
      backupProviders: [{ provider: 'newapi', endpoint: newapi.endpoint }, { provider: 'openai', endpoint: backup.endpoint, apiKey: OWN }],
      timeouts: { connect: 80 },
    },
  });
  const ask = (key: string) => request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(key) });
  assert.equal(servedBy(await ask(CALLER)), 'second');
  await newapi.stop();
  const stranger = await ask('sk-stranger');
  assert.deepEqual([stranger.status, stranger.json<{ error: { code: string } }>().error.code], [502, 'upstream_unreachable']);
  assert.equal(backup.connections, 0);
  assert.equal(servedBy(await ask(CALLER)), 'backup');
});

test('a request met by the end of two reused connections in a row is not sent a third time', async (t) => {
  const scene = await startScene(t);
  await scene.verify();
  await scene.primary.script([{ kind: 'reset', at: 'before', by: 'rst' }, { kind: 'reset', at: 'before', by: 'rst' }]);
  await ends(scene, 504);
  assert.equal(scene.primary.calls.length, 2);
});

for (const by of ['fin', 'rst'] as const) {
  test(`an answer that breaks off by ${by} within its head has begun, on a reused connection, too: it is not asked for again`, async (t) => {
    const scene = await startScene(t, { llm: { timeouts: { connect: '10s', firstByte: '10s', idle: '10s' } } });
    for (const byte of [1, 8, 40]) {
      await scene.verify();
      await scene.primary.script([{ kind: 'kill_at', byte, by }]);
      await ends(scene, 504);
      assert.equal(scene.primary.calls.length, 1);
    }
  });
}

for (const [name, fault] of Object.entries({
  'within a compressed JSON document': { kind: 'kill_at', byte: 200, by: 'rst', encoding: 'gzip' },
  'where a bracket closes': { kind: 'truncated', of: 'json', bytes: -1 },
} as const satisfies Record<string, Fault>)) {
  test(`an answer cut ${name} is one cut short: the backup answers`, async (t) => {
    const scene = await startScene(t);
    await scene.verify();
    await scene.primary.script([fault]);
    await ends(scene, 'backup');
  });
}

for (const reuse of ['fin', 'rst'] as const) {
  test(`a kept connection that NewAPI ends by ${reuse} as we write costs nobody an error`, async (t) => {
    const scene = await startScene(t, { primary: { reuse } });
    for (const calls of [1, 2]) {
      assert.equal(servedBy(await scene.ask()), 'primary');
      assert.equal(scene.primary.calls.length, calls);
    }
    assert.equal(scene.primary.resets, 1);
    assert.equal(scene.backup.connections, 0);
    assert.deepEqual(scene.gate.log.events, []);
  });
}

test('a connection attempt that failed does not make the next connection one that has served', async (t) => {
  const scene = await startScene(t);
  await scene.verify(true);
  await scene.primary.stop();
  assert.equal(servedBy(await scene.ask()), 'backup');
  await scene.primary.restart();
  scene.backup.clear();
  await scene.primary.script([{ kind: 'reset', at: 'before', by: 'fin' }]);
  await ends(scene, 504);
  assert.equal(scene.primary.calls.length, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closing, openStream, until, type Answer } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate } from '../support/gate.ts';
import { request } from '../support/client.ts';
import { DEMO_KEY, OTHER_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { startProvider } from '../support/provider.ts';
import { KEY, startRing, type Ring } from '../support/ring.ts';
import { bearer, chat, servedBy, startScene } from '../support/scene.ts';

const circuitBreaker = { failureThreshold: 3, timeout: '10s', maxRequests: 1 };
const retry = { maxRetries: 0 };

async function fails({ ask, targets }: Ring, times: number): Promise<void> {
  await targets[0]?.script({ kind: 'status', status: 500 });
  for (let n = 0; n < times; n++) assert.equal((await ask()).status, 500);
  await targets[0]?.script([]);
}

const refused = (answer: Answer): unknown[] => [answer.status, answer.json<{ error: { code: string } }>().error.code, answer.headers['retry-after']];

test('after so many failures in a row nobody is sent there; half-open lets one in, rejects the rest, and recovers', async (t) => {
  const ring = await startRing(t, { circuitBreaker, retry });
  await fails(ring, 3);
  assert.deepEqual(refused(await ring.ask()), [503, 'no_target', '10']);
  ring.clock.tick(4000);
  assert.deepEqual(refused(await ring.ask()), [503, 'no_target', '6']);
  assert.deepEqual(ring.calls(), [3]);
  assert.equal((await ring.ask({ model: 'gpt-4o' })).status, 200);
  ring.clock.tick(6000);
  await ring.targets[0]?.script([{ kind: 'slow', delay: 100 }]);
  const trial = ring.ask();
  await until(() => ring.calls()[0] === 5);
  assert.equal((await ring.ask()).status, 503);
  assert.equal(servedBy(await trial), 't0');
  assert.equal((await ring.ask()).status, 200);
  assert.deepEqual(['target.open', 'target.probing', 'target.up'].map((name) => ring.gate.log.named(name).length), [1, 1, 1]);
});

test('a trial that fails opens it again for the whole time', async (t) => {
  const ring = await startRing(t, { circuitBreaker, retry });
  await fails(ring, 3);
  ring.clock.tick(10_000);
  await fails(ring, 1);
  assert.deepEqual(refused(await ring.ask()), [503, 'no_target', '10']);
});

test('a stream that began is sign of life enough for half-open, whatever its end', async (t) => {
  const ring = await startRing(t, { circuitBreaker, retry });
  await fails(ring, 3);
  ring.clock.tick(10_000);
  await ring.targets[0]?.script([{ kind: 'hang', at: 'middle' }]);
  const stream = await openStream(`${ring.gate.url}/v1/chat/completions`, { body: { ...chat, stream: true }, headers: bearer(KEY) });
  assert.equal((await ring.ask()).status, 200);
  stream.abort();
});

test('the soonest of several half-opens is the one that is promised', async (t) => {
  const ring = await startRing(t, { size: 2, circuitBreaker: { ...circuitBreaker, failureThreshold: 1 }, retry });
  await ring.targets[0]?.script([{ kind: 'status', status: 500 }]);
  assert.equal(servedBy(await ring.ask()), 't1');
  ring.clock.tick(7000);
  await ring.targets[1]?.script([{ kind: 'status', status: 500 }]);
  assert.equal((await ring.ask()).status, 500);
  assert.deepEqual(refused(await ring.ask()), [503, 'no_target', '3']);
});

for (const at of ['headers', 'first_event'] as const) {
  test(`a client that leaves before it was answered (${at}) gives its half-open place back and proves nothing`, async (t) => {
    const ring = await startRing(t, { circuitBreaker, retry });
    await fails(ring, 3);
    ring.clock.tick(10_000);
    for (let n = 0; n < 2; n++) {
      await ring.targets[0]?.script([{ kind: 'hang', at }]);
      const leave = new AbortController();
      const left = assert.rejects(ring.ask({ stream: true, signal: leave.signal }));
      await until(() => ring.calls()[0] === 4 + n && ring.targets[0]?.calls.at(-1)?.received);
      leave.abort();
      await left;
      await until(() => ring.targets[0]?.calls.at(-1)?.aborted);
    }
    assert.deepEqual(ring.gate.log.named('target.up').length, 0);
    assert.equal((await ring.ask()).status, 200);
    assert.equal(ring.gate.log.named('target.up').length, 1);
  });
}

test('clients that leave never open it', async (t) => {
  const ring = await startRing(t, { circuitBreaker: { ...circuitBreaker, failureThreshold: 1 }, retry });
  for (const at of ['headers', 'first_event', 'middle'] as const) {
    await ring.targets[0]?.script([{ kind: 'hang', at }]);
    const leave = new AbortController();
    const calls = ring.calls()[0] ?? 0;
    const left = assert.rejects(ring.ask({ stream: true, signal: leave.signal }));
    await until(() => (ring.calls()[0] ?? 0) > calls && ring.targets[0]?.calls.at(-1)?.received);
    leave.abort();
    await left;
    await until(() => ring.targets[0]?.calls.at(-1)?.aborted);
  }
  assert.equal((await ring.ask()).status, 200);
  assert.deepEqual(ring.gate.log.events.filter(({ event }) => event.startsWith('target.')), []);
});

test('a failure that belongs to a time before the opening says nothing about the time after it', async (t) => {
  const ring = await startRing(t, { circuitBreaker: { ...circuitBreaker, failureThreshold: 1 }, retry });
  await ring.targets[0]?.script([{ kind: 'hang', at: 'headers' }]);
  const late = ring.ask();
  await until(() => ring.targets[0]?.calls[0]?.received);
  await fails(ring, 1);
  ring.clock.tick(10_000);
  assert.equal((await ring.ask()).status, 200);
  // The first one ends by a reset now.
  await ring.targets[0]?.stop();
  assert.equal((await late).status, 504);
  await ring.targets[0]?.restart();
  assert.equal((await ring.ask()).status, 200);
});

const unsigned = [['502', true], ['504', true], ['500', false], ['503', false], ['429', false]] as const;
for (const [status, counts] of unsigned) {
  test(`${status} that NewAPI did not sign ${counts ? 'counts' : 'does not count'} against it`, async (t) => {
    const scene = await startScene(t, { circuitBreaker, llm: { backupProviders: [] } });
    await scene.primary.script({ kind: 'status', status: Number(status) });
    for (let n = 0; n < 3; n++) assert.equal((await scene.ask()).status, Number(status));
    await scene.primary.script([]);
    assert.equal((await scene.ask()).status, counts ? 503 : 200);
  });
}

/** A gate before NewAPI alone that opens at one failure. */
async function single(t: Parameters<typeof startGate>[0], options: Parameters<typeof startNewapi>[0] = {}): Promise<{ api: Newapi; ask(key: string, model?: string): Promise<Answer> }> {
  const api = closing(t, await startNewapi(options));
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: api.url }, circuitBreaker: { failureThreshold: 1 }, rateLimit: { address: { limit: 100_000 } } });
  return { api, ask: (key, model = 'gpt-4o-mini') => request(`${gate.url}/v1/chat/completions`, { body: { ...chat, model }, headers: bearer(key) }) };
}

test('one user asks 200 times for a model that does not exist: everybody else is served throughout', async (t) => {
  const { ask } = await single(t);
  for (let n = 0; n < 10; n++) {
    const wrong = Array.from({ length: 20 }, () => ask(DEMO_KEY, 'no-such-model'));
    assert.equal((await ask(OTHER_KEY)).status, 200);
    for (const answer of wrong) assert.equal((await answer).status, 503);
  }
});

test('one user exhausts a limit of NewAPI: everybody else is served throughout', async (t) => {
  const { api, ask } = await single(t, { keys: { [DEMO_KEY]: { user: 1, modelLimit: 2 }, [OTHER_KEY]: { user: 3 } } });
  const statuses = new Set<number>();
  for (let n = 0; n < 100; n++) {
    statuses.add((await ask(DEMO_KEY)).status);
    assert.equal((await ask(OTHER_KEY)).status, 200);
  }
  assert.deepEqual([...statuses], [200, 429]);
  assert.equal(api.requests.length, 200);
});

test('what NewAPI signs closes half-open, an error too', async (t) => {
  const api = closing(t, await startNewapi());
  const clock = fakeClock();
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: api.url }, circuitBreaker: { failureThreshold: 1 }, llm: { retry } }, { clock });
  const ask = (): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(DEMO_KEY) });
  await api.stop();
  assert.equal((await ask()).status, 502);
  await api.restart();
  assert.equal((await ask()).status, 503);
  clock.tick(10_000);
  api.on('POST /v1/chat/completions', (_req, res) => void res.writeHead(500).end('{"error":{"message":"x"}}'));
  assert.equal((await ask()).status, 500);
  assert.deepEqual(gate.log.named('target.up').length, 1);
});

test('a model of NewAPI that never answers does not close NewAPI to others', async (t) => {
  const scene = await startScene(t, { circuitBreaker: { failureThreshold: 1 }, llm: { backupProviders: [] } });
  await scene.primary.script([{ kind: 'hang', at: 'headers' }, { kind: 'hang', at: 'first_event' }]);
  for (let n = 0; n < 2; n++) assert.equal((await scene.ask({ body: { ...chat, stream: true } })).status, 504);
  assert.equal((await scene.ask()).status, 200);
});

test('targets that probes alone call down are all tried, in their order, before anybody is turned away', async (t) => {
  const [first, second] = [closing(t, await startProvider({ name: 'first' })), closing(t, await startProvider({ name: 'second' }))];
  const sick = [{ kind: 'status', status: 500 }] as const;
  for (const target of [first, second]) await target.script(sick[0], ({ method }) => method === 'GET');
  const gate = await startGate(t, {
    audit: false,
    llm: { endpoint: first.endpoint, backupProviders: [{ provider: 'newapi', endpoint: second.endpoint }], healthCheck: { enabled: true }, retry },
    newapi: { baseUrl: first.url },
  }, { clock: fakeClock() });
  await gate.gate.ready;
  await until(() => gate.log.named('target.open').length === 2);
  const ask = (): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(DEMO_KEY) });
  await first.stop();
  assert.equal(servedBy(await ask()), 'second');
  assert.equal(gate.log.named('target.up').length, 1);
  await first.restart();
  await second.stop();
  assert.equal(servedBy(await ask()), 'first');
});

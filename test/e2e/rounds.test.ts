import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStream, request, until } from '../support/client.ts';
import type { Fault } from '../support/provider.ts';
import { startRing, KEY, type Ring } from '../support/ring.ts';
import { bearer, CALLER, chat, servedBy, startScene } from '../support/scene.ts';
import type { Answer } from '../support/client.ts';

const code = (answer: Answer): string => answer.json<{ error: { code: string } }>().error.code;

/** Moves the clock through so many waits of at most `ms`. */
async function waits({ clock, resting }: Ring, count: number, ms: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await resting();
    clock.tick(ms);
  }
}

test('a target alone that refuses is asked again with growing waits, then the answer is 502', async (t) => {
  const ring = await startRing(t, { retry: { maxRetries: 3, initialDelay: 1000, multiplier: 2, maxDelay: 3000 } });
  await ring.targets[0]?.stop();
  const answer = ring.ask();
  for (const most of [1000, 2000, 3000]) {
    await ring.resting();
    ring.clock.tick(most + 1);
  }
  assert.deepEqual([(await answer).status, code(await answer)], [502, 'upstream_unreachable']);
  assert.equal(ring.gate.log.named('upstream.failed').length, 4);
  ring.clock.tick(200);
  assert.deepEqual([ring.clock.armedBy('upstream/forward.ts'), ring.clock.armedBy('lib/request/in-flight.ts')], [0, 0]);
});

test('a target that comes back between rounds answers, and the caller never knew', async (t) => {
  const ring = await startRing(t);
  await ring.targets[0]?.stop();
  const answer = ring.ask();
  await ring.resting();
  await ring.targets[0]?.restart();
  ring.clock.tick(101);
  assert.equal(servedBy(await answer), 't0');
});

test('max_retries 0 asks every target once', async (t) => {
  const ring = await startRing(t, { size: 2, retry: { maxRetries: 0 } });
  for (const target of ring.targets) await target.script({ kind: 'status', status: 500 });
  assert.equal((await ring.ask()).status, 500);
  assert.deepEqual(ring.calls(), [1, 1]);
});

const date = (now: number, ms: number): string => new Date(now + ms).toUTCString();

for (const [name, status, headers, ms] of [
  ['429 and seconds', 429, () => ({ 'Retry-After': '3' }), 3000],
  ['503 and a date', 503, (now: number) => ({ 'Retry-After': date(now, 4000) }), 4000],
  ['529 and milliseconds', 529, () => ({ 'retry-after-ms': '2500' }), 2500],
  ['429 and nothing', 429, () => ({}), 1000],
] as const) {
  test(`alone, ${name} is waited for: ${ms} ms and not less`, async (t) => {
    const ring = await startRing(t, { retry: { initialDelay: 1 } });
    await ring.targets[0]?.script([{ kind: 'status', status, headers: headers(ring.clock.now()) }]);
    const answer = ring.ask();
    await ring.resting();
    ring.clock.tick(ms - 1);
    assert.deepEqual([ring.clock.armedBy('upstream/forward.ts'), ring.calls()], [1, [1]]);
    ring.clock.tick(2);
    assert.equal(servedBy(await answer), 't0');
    assert.deepEqual(ring.calls(), [2]);
  });

  test(`beside another target, ${name} costs no wait; that model rests there, others do not`, async (t) => {
    const ring = await startRing(t, { size: 2 });
    await ring.targets[0]?.script([{ kind: 'status', status, headers: headers(ring.clock.now()) }]);
    assert.equal(servedBy(await ring.ask()), 't1');
    assert.equal(servedBy(await ring.ask()), 't1');
    assert.equal(servedBy(await ring.ask({ model: 'gpt-4o' })), 't0');
    ring.clock.tick(ms);
    assert.equal(servedBy(await ring.ask()), 't0');
  });
}

for (const [name, headers] of [
  ['seconds', () => ({ 'Retry-After': '6' })],
  ['a date', (now: number) => ({ 'Retry-After': date(now, 6000) })],
  ['milliseconds', () => ({ 'retry-after-ms': '5001' })],
] as const) {
  test(`more than five seconds, in ${name}, are not waited for: the answer goes out with them`, async (t) => {
    const ring = await startRing(t);
    const sent = headers(ring.clock.now());
    await ring.targets[0]?.script([{ kind: 'status', status: 429, headers: sent }]);
    const answer = await ring.ask();
    assert.equal(answer.status, 429);
    for (const [header, value] of Object.entries(sent)) assert.equal(answer.headers[header.toLowerCase()], value);
    const next = await ring.ask();
    assert.deepEqual([next.status, code(next), next.headers['retry-after'], ring.calls()], [503, 'no_target', '6', [1]]);
  });
}

test('a request that meets a target at rest waits for its end, when that is near', async (t) => {
  const ring = await startRing(t, { retry: { maxRetries: 0 } });
  await ring.targets[0]?.script([{ kind: 'status', status: 429, headers: { 'Retry-After': '2' } }]);
  assert.equal((await ring.ask()).status, 429);
  const answers = [ring.ask(), ring.ask()];
  await until(() => ring.clock.armedBy('upstream/forward.ts') === 2);
  ring.clock.tick(2001);
  for (const answer of answers) assert.equal(servedBy(await answer), 't0');
});

test('neither a rest nor a backoff is waited for beyond the deadline', async (t) => {
  const ring = await startRing(t, { retry: { maxRetries: 0 }, llm: { timeouts: { total: '1500ms' } } });
  await ring.targets[0]?.script([{ kind: 'status', status: 429, headers: { 'Retry-After': '2' } }]);
  assert.deepEqual([(await ring.ask()).status, (await ring.ask()).status, ring.calls()], [429, 503, [1]]);
  const patient = await startRing(t, { llm: { timeouts: { total: '1500ms' } } });
  await patient.targets[0]?.script({ kind: 'status', status: 503, headers: { 'Retry-After': '1' } });
  const answer = patient.ask();
  await waits(patient, 1, 1001);
  assert.deepEqual([(await answer).status, patient.calls()], [503, [2]]);
});

test('what an upstream said last is told, also when the deadline ends the last attempt', async (t) => {
  const ring = await startRing(t, { llm: { timeouts: { total: '2s' } }, retry: { retryableErrors: ['server_error', 'timeout'] } });
  await ring.targets[0]?.script([{ kind: 'status', status: 503, body: { error: { message: 'tired', code: 'tired' } } }, { kind: 'hang', at: 'headers' }]);
  const answer = ring.ask();
  await waits(ring, 1, 101);
  await until(() => ring.targets[0]?.calls[1]?.received);
  ring.clock.tick(2100);
  assert.deepEqual([(await answer).status, code(await answer)], [503, 'tired']);
});

const errors: readonly (readonly ['rate_limit' | 'server_error' | 'timeout', Fault, number])[] = [
  ['rate_limit', { kind: 'status', status: 429 }, 429],
  ['server_error', { kind: 'status', status: 500 }, 500],
  ['server_error', { kind: 'status', status: 503, headers: { 'Retry-After': '1' } }, 503],
  ['timeout', { kind: 'reset', at: 'before', by: 'rst' }, 504],
];
for (const [kind, fault, status] of errors) {
  test(`${JSON.stringify(fault)} goes on to the next target when ${kind} is retryable, else it is the answer`, async (t) => {
    const all = ['rate_limit', 'server_error', 'timeout'] as const;
    const with_ = await startRing(t, { size: 2, retry: { retryableErrors: [kind] } });
    await with_.targets[0]?.script([fault]);
    assert.equal(servedBy(await with_.ask()), 't1');
    const without = await startRing(t, { size: 2, retry: { retryableErrors: all.filter((each) => each !== kind) } });
    await without.targets[0]?.script([fault]);
    assert.deepEqual([(await without.ask()).status, without.calls()], [status, [1, 0]]);
  });
}

test('retries stay a fifth of the traffic, however many fail', async (t) => {
  const ring = await startRing(t, { retry: { maxRetries: 100, initialDelay: 1, maxDelay: 1 } });
  await ring.targets[0]?.script({ kind: 'status', status: 500 });
  const answer = ring.ask();
  await waits(ring, 10, 2);
  assert.equal((await answer).status, 500);
  for (let n = 0; n < 12; n++) {
    const next = ring.ask();
    if ((n + 2) % 5 === 0) await waits(ring, 1, 2);
    assert.equal((await next).status, 500);
  }
  assert.deepEqual(ring.calls(), [1 + 10 + 12 + 2]);
});

test('a socket closed under the request is no round: each target has its own second chance', async (t) => {
  const ring = await startRing(t, { size: 2, circuitBreaker: { failureThreshold: 1 }, retry: { maxRetries: 0 } });
  await ring.ask();
  await ring.targets[0]?.script([{ kind: 'status', status: 500 }]);
  await ring.ask({ model: 'gpt-4o' });
  const dropped: Fault = { kind: 'reset', at: 'before', by: 'fin' };
  await ring.targets[0]?.script([dropped, { kind: 'status', status: 500 }]);
  await ring.targets[1]?.script([dropped]);
  assert.equal(servedBy(await ring.ask()), 't1');
  assert.deepEqual(ring.calls(), [4, 3]);
});

test('a client that leaves between two rounds leaves no timer and no later attempt', async (t) => {
  const ring = await startRing(t);
  await ring.targets[0]?.script({ kind: 'status', status: 500 });
  const leave = new AbortController();
  const left = assert.rejects(ring.ask({ signal: leave.signal }));
  await ring.resting();
  leave.abort();
  await left;
  await until(() => ring.clock.armedBy('upstream/forward.ts') === 0);
  ring.clock.tick(60_000);
  assert.deepEqual([ring.clock.armedBy('lib/request/in-flight.ts'), ring.calls()], [0, [1]]);
});

test('our key refused by one target does not hide what another said', async (t) => {
  const ring = await startRing(t, { size: 2, retry: { maxRetries: 0 } });
  await ring.targets[0]?.script([{ kind: 'status', status: 503, body: { error: { message: 'tired', code: 'tired' } } }]);
  ring.targets[1]?.set({ key: 'another' });
  const answer = await ring.ask();
  assert.deepEqual([answer.status, code(answer)], [503, 'tired']);
  assert.equal(ring.gate.log.named('upstream.credential_refused').length, 1);
});

test('NewAPI that failed by itself is not asked a second time, its channels were', async (t) => {
  const scene = await startScene(t, { llm: { backupProviders: [] } });
  await scene.primary.script({ kind: 'status', status: 503, headers: { 'Retry-After': '1' } });
  const answer = await scene.ask();
  assert.deepEqual([answer.status, answer.headers['retry-after'], scene.primary.calls.length], [503, '1', 1]);
});

test('every way a request ends gives the target its place back', async (t) => {
  const ring = await startRing(t, { size: 2, llm: { strategy: 'least_busy' }, retry: { maxRetries: 0 } });
  const [first] = ring.targets;
  const leaves = async (fault: Fault): Promise<void> => {
    await first?.script([fault]);
    const before = first?.calls.length ?? 0;
    const gone = new AbortController();
    const opened = openStream(`${ring.gate.url}/v1/chat/completions`, { headers: bearer(KEY), body: { ...chat, stream: true }, signal: gone.signal });
    const over = opened.then(({ done }) => done).catch(() => undefined);
    await until(() => (first?.calls.length ?? 0) > before && first?.calls.at(-1)?.received);
    if (fault.kind === 'hang' && fault.at === 'middle') await opened;
    gone.abort();
    await over;
    await until(() => first?.calls.at(-1)?.aborted);
  };
  for (const at of ['headers', 'first_event', 'middle'] as const) await leaves({ kind: 'hang', at });
  for (const fault of [{ kind: 'status', status: 500 }, { kind: 'not_http' }, { kind: 'truncated', of: 'json' }, { kind: 'error_event', shape: 'openai' }, { kind: 'ok' }] as const) {
    await first?.script([fault]);
    await ring.ask({ stream: fault.kind === 'error_event' });
  }
  // What was overloaded rests a second. All even, the first listed is asked first; one place not given back, and it would be the second.
  ring.clock.tick(1001);
  assert.equal(servedBy(await ring.ask()), 't0');
});

test('a caller without access upstream is told so at once', async (t) => {
  const scene = await startScene(t);
  await scene.primary.stop();
  const answer = await request(`${scene.gate.url}/v1/chat/completions`, { body: chat, headers: bearer(CALLER), signal: AbortSignal.timeout(5000) });
  assert.equal(answer.status, 502);
  assert.equal(scene.backup.connections, 0);
});

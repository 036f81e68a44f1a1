import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import type { ConfigInput, LlmInput, Provider } from '../../lib/index.ts';

import { closing, request, type Answer } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { startProvider, type Provider as StandIn } from '../support/provider.ts';
import { bearer, CALLER, chat, OWN, servedBy, startScene } from '../support/scene.ts';
import { nowhere, startUpstream } from '../support/upstream.ts';

/** An API of nobody's: its own key header, its own free path, its own words for what went wrong. */
interface Odd {
  readonly endpoint: string;
  readonly seen: readonly IncomingMessage[];
  /** What every POST is answered with. */
  answer(say: (res: ServerResponse) => void): void;
}

const KEY = 'the-key-of-mine';

const fault = (status: number, kind: string, head: Record<string, string> = {}) => (res: ServerResponse): void =>
  void res.writeHead(status, { 'Content-Type': 'application/json', ...head }).end(JSON.stringify({ fault: { kind } }));
const fine = (res: ServerResponse): void => void res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ model: 'mine/gpt-4o-mini', choices: [] }));

async function startOdd(t: TestContext): Promise<Odd> {
  const seen: IncomingMessage[] = [];
  let say = fine;
  const { url } = await startUpstream(t, (req, res) => {
    seen.push(req);
    req.resume().on('end', () => {
      if (req.headers['x-mine-key'] !== KEY) fault(418, 'key')(res);
      else if (req.method === 'GET') res.writeHead(req.url === '/api/v7/alive' ? 200 : 500).end();
      else say(res);
    });
  });
  return { endpoint: `${url}/api/v7`, seen, answer: (next) => void (say = next) };
}

const statuses: Readonly<Record<string, number>> = { quota: 429, busy: 503, broken: 500, wrong: 400, key: 401 };

/** All that the gate needs to know of it. */
const mine = (endpoint: string, more: Partial<Provider> = {}): Provider => ({
  name: 'mine',
  endpoint,
  speaks: ['/v1/chat/completions', '/v1/models'],
  credential: (key) => ['X-Mine-Key', key],
  probe: (base) => `${base}/alive`,
  errorStatus: (error, status) => statuses[(error as { fault?: { kind: string } } | null)?.fault?.kind ?? ''] ?? Math.max(500, status),
  ...more,
});

const code = (answer: Answer): unknown => answer.json<{ error?: { code: unknown } }>().error?.code;

/** The odd one answers whoever has a key of the gate's own, and what follows it. */
async function startPrimary(t: TestContext, backups: readonly StandIn[] = [], { llm, more = {}, ...config }: ConfigInput & { llm?: LlmInput; more?: Partial<Provider> } = {}) {
  const odd = await startOdd(t);
  const gateKey = `sk-gate-${'k'.repeat(40)}`;
  const gate = await startGate(t, {
    audit: false,
    ...config,
    newapi: { baseUrl: await nowhere() },
    auth: { mode: 'keys', keys: [{ name: 'team', sha256: hash('sha256', gateKey) }] },
    llm: { provider: mine(odd.endpoint, more), apiKey: KEY, backupProviders: backups.map(({ endpoint }) => ({ provider: 'openai', endpoint, apiKey: OWN })), ...llm },
  });
  const ask = (path = '/v1/chat/completions', body: object = chat): Promise<Answer> => request(gate.url + path, { headers: bearer(gateKey), body });
  return { odd, gate, ask };
}

test('a provider of code\'s own takes over from NewAPI, asked as it says and told nothing of the caller', async (t) => {
  const odd = await startOdd(t);
  const { primary, ask, verify } = await startScene(t, { target: { provider: mine(odd.endpoint), endpoint: null, apiKey: KEY, models: { 'gpt-4o-mini': 'm-1' } } });
  await verify();
  await primary.stop();
  assert.equal(servedBy(await ask()), 'mine');
  const [call] = odd.seen;
  assert.deepEqual([call?.method, call?.url, call?.headers['x-mine-key']], ['POST', '/api/v7/chat/completions', KEY]);
  assert.ok(!JSON.stringify(call?.rawHeaders).includes(CALLER.slice(3)) && call?.headers.authorization === undefined);
});

test('it is asked only what it speaks', async (t) => {
  const { odd, ask } = await startPrimary(t);
  for (const path of ['/v1/embeddings', '/v1/responses', '/v1/completions']) assert.deepEqual([(await ask(path)).status, odd.seen.length], [403, 0], path);
  assert.equal((await ask()).status, 200);
});

test('it is probed at its own free path, with its own key', async (t) => {
  const { odd, gate } = await startPrimary(t, [], { llm: { healthCheck: { enabled: true } } });
  await gate.gate.ready;
  assert.deepEqual(odd.seen.map(({ method, url, headers }) => [method, url, headers['x-mine-key']]), [['GET', '/api/v7/alive', KEY]]);
  assert.equal((await request(`${gate.url}/health/ready`)).status, 200);
});

for (const [kind, sent, retryable, next] of [
  ['quota', 500, 'rate_limit', true], ['quota', 500, 'server_error', false],
  ['broken', 429, 'rate_limit', false], ['broken', 429, 'server_error', true],
  ['wrong', 503, 'server_error', false], ['busy', 400, 'server_error', true],
] as const) {
  test(`how it reads "${kind}" in a ${sent} decides what follows where ${retryable} is tried again`, async (t) => {
    const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
    const { odd, ask } = await startPrimary(t, [backup], { llm: { retry: { retryableErrors: [retryable] } } });
    odd.answer(fault(sent, kind));
    const answer = await ask();
    assert.deepEqual([answer.status, servedBy(answer), backup.calls.length], next ? [200, 'backup', 1] : [statuses[kind], undefined, 0]);
    if (!next) assert.deepEqual(answer.json(), { fault: { kind } });
  });
}

test('a limit that it alone calls one makes it rest as long as it asks', async (t) => {
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const { odd, gate, ask } = await startPrimary(t, [backup]);
  odd.answer(fault(500, 'quota', { 'Retry-After': '30' }));
  for (let n = 0; n < 3; n++) assert.equal(servedBy(await ask()), 'backup');
  assert.equal(odd.seen.length, 1);
  assert.deepEqual(gate.log.named('target.resting').map(({ target }) => target), ['mine']);
});

test('our key refused in its own words is our fault: the next is asked, and alone it is a 502 without them', async (t) => {
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const { odd, gate, ask } = await startPrimary(t, [backup]);
  odd.answer(fault(418, 'key'));
  assert.equal(servedBy(await ask()), 'backup');
  assert.equal(gate.log.named('upstream.credential_refused').length, 1);
  await backup.stop();
  const alone = await ask();
  assert.deepEqual([alone.status, code(alone), alone.text.includes('fault')], [502, 'upstream_refused', false]);
});

test('an error inside its stream is read as well', async (t) => {
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const stream = (res: ServerResponse): void => void res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end('data: {"error":{"fault":{"kind":"wrong"}}}\n\n');
  const { odd, ask } = await startPrimary(t, [backup]);
  odd.answer(stream);
  const answer = await ask('/v1/chat/completions', { ...chat, stream: true });
  assert.deepEqual([answer.status, answer.json(), backup.calls.length], [400, { error: { fault: { kind: 'wrong' } } }, 0]);
});

test('it is left for the next when it fails, and no sooner', async (t) => {
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  const { odd, ask } = await startPrimary(t, [backup]);
  assert.equal(servedBy(await ask()), 'mine');
  assert.equal(backup.calls.length, 0);
  odd.answer(fault(500, 'broken'));
  assert.equal(servedBy(await ask()), 'backup');
});

test('a function of it that throws costs a request nothing but that target', async (t) => {
  const backup = closing(t, await startProvider({ name: 'backup', key: OWN }));
  let broken = false;
  const credential = (key: string): readonly string[] => {
    if (broken) throw new Error(`cannot sign with ${key}`);
    return ['X-Mine-Key', key];
  };
  const { gate, ask } = await startPrimary(t, [backup], { more: { credential } });
  assert.equal(servedBy(await ask()), 'mine');
  broken = true;
  assert.equal(servedBy(await ask()), 'backup');
  const [failed] = gate.log.named('provider.failed');
  assert.deepEqual([failed?.['target'], failed?.['function']], ['mine', 'credential']);
});

test('a route it is said to speak and nobody knows stops the start', async (t) => {
  const start = (speaks: readonly string[]): Promise<RunningGate> => startGate(t, { audit: false, llm: { backupProviders: [{ provider: mine('http://127.0.0.1:1/v1', { speaks }), apiKey: KEY }] } });
  await assert.rejects(start(['/v1/models', '/v1/chat/completion', '/api/*']), (error: Error) => {
    const [first, second, ...more] = error.message.split('\n');
    assert.match(first ?? '', /^llm\.backupProviders\[0\]\.provider\.speaks\[1\]: expected one of \/v1\/chat\/completions, .*, got "\/v1\/chat\/completion"\. Example: \/v1\/chat\/completions$/);
    assert.match(second ?? '', /speaks\[2\]: .* got "\/api\/\*"/);
    return more.length === 0 && error.name === 'ConfigError';
  });
});

test('every target with an object of its own is counted by its name', async (t) => {
  const { gate, ask } = await startPrimary(t, [], { metrics: { token: 'm' } });
  await ask();
  assert.match((await request(`${gate.url}/metrics`, { headers: bearer('m') })).text, /heimdall_upstream_attempts_total\{target="mine"\} 1/);
});

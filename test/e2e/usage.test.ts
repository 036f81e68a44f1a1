import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { closing, openStream, request, sse, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';

const token = 'usage-test-metrics-token';
const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const messages = [{ role: 'user', content: 'four words are here' }];

interface Line {
  readonly route: string;
  readonly usage: { readonly prompt: number; readonly completion: number; readonly estimated: boolean } | null;
  readonly cost: number | null;
  readonly outcome: string;
}

interface Accounting {
  readonly gate: RunningGate;
  /** Access lines, once there are so many. */
  lines(count: number): Promise<readonly Line[]>;
}

async function accounting(t: TestContext, behaviour: Parameters<typeof startNewapi>[0] = {}): Promise<Accounting> {
  const newapi = closing(t, await startNewapi(behaviour));
  const file = join(temporary(t), 'access.log');
  const prices = { 'gpt-4o-mini': { input: 1, output: 2 }, 'text-*': { input: 0.5, output: 0 } };
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, llm: { prices }, metrics: { token }, logging: { file } });
  return {
    gate,
    lines: (count) => until(() => {
      const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
      const found = text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Line);
      return found.length >= count ? found : null;
    }),
  };
}

test('tokens and costs of every model route stand in the record and in the metrics', async (t) => {
  const { gate, lines } = await accounting(t);
  const ask = (path: string, body: object): Promise<unknown> => request(gate.url + path, { method: 'POST', headers, body });
  await ask('/v1/chat/completions', { model: 'gpt-4o-mini', messages });
  await ask('/v1/embeddings', { model: 'text-embedding-3-small', input: 'four words are here' });
  await sse(`${gate.url}/v1/chat/completions`, { method: 'POST', headers, body: { model: 'gpt-4o-mini', messages, stream: true, stream_options: { include_usage: true } } });
  await sse(`${gate.url}/v1/messages`, { method: 'POST', headers, body: { model: 'gpt-4o-mini', max_tokens: 9, messages, stream: true } });
  const found = await lines(4);
  for (const line of found) {
    assert.ok((line.usage?.prompt ?? 0) > 0, line.route);
    assert.equal(line.usage?.estimated, false, line.route);
    const [input, output] = line.route === '/v1/embeddings' ? [0.5, 0] : [1, 2];
    assert.equal(line.cost, ((line.usage?.prompt ?? 0) * input + (line.usage?.completion ?? 0) * output) / 1_000_000, line.route);
  }
  const scrape = (await request(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).text;
  const sum = found.reduce((total, { usage }) => total + (usage?.prompt ?? 0), 0);
  assert.match(scrape, new RegExp(`^heimdall_tokens_total\\{target="newapi",kind="prompt"\\} ${sum}$`, 'm'));
  assert.match(scrape, /^heimdall_cost_usd_total\{target="newapi"\} \d/m);
  assert.match(scrape, /^heimdall_upstream_attempts_total\{target="newapi"\} 4$/m);
  assert.match(scrape, /^heimdall_circuit_breaker_state\{target="newapi"\} 0$/m);
});

test('a stream its client leaves is accounted for by what was seen, and says that it is an estimate', async (t) => {
  const { gate, lines } = await accounting(t, { chunks: 500, pace: 2 });
  const stream = await openStream(`${gate.url}/v1/chat/completions`, { method: 'POST', headers, body: { model: 'gpt-4o-mini', messages, stream: true } });
  await until(() => stream.events.length >= 3);
  stream.abort();
  const [line] = await lines(1);
  assert.deepEqual([line?.outcome, line?.usage?.estimated], ['aborted', true]);
  assert.ok((line?.usage?.prompt ?? 0) > 0 && (line?.usage?.completion ?? 0) > 0);
  assert.ok((line?.cost ?? 0) > 0);
});

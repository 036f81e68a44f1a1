import assert from 'node:assert/strict';
import type { IncomingMessage, RequestListener } from 'node:http';
import { test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { openStream, request, sse, until, type LiveStream } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, OTHER_KEY } from '../support/newapi.ts';
import { dial } from '../support/websocket.ts';
import { closing } from '../support/client.ts';
import { startNewapi } from '../support/newapi.ts';
import { startUpstream } from '../support/upstream.ts';

const metricsToken = 'limits-usage-metrics-token';
const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const question = { model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'count' }] };

const delta = (content: string): string => `data: {"id":"1","choices":[{"index":0,"delta":{"content":"${content}"}}],"usage":null}\n\n`;
const usage = (prompt: number, completion: number): string => `data: {"id":"1","choices":[],"usage":{"prompt_tokens":${prompt},"completion_tokens":${completion},"total_tokens":${prompt + completion}}}\n\n`;
const done = 'data: [DONE]\n\n';

interface Scene {
  readonly gate: RunningGate;
  /** Bodies the upstream was asked with. */
  readonly bodies: readonly string[];
  scrape(name: string): Promise<number>;
}

const limited: ConfigInput = { rateLimit: { key: { tokens: { limit: 100_000 } } } };

async function body(req: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of req) text += String(chunk);
  return text;
}

/** An upstream that tells the usage of a stream only when it is asked to, as OpenAI does. */
async function start(t: TestContext, config: ConfigInput = limited, pieces: (asked: boolean) => readonly string[] = (asked) => [delta('one'), delta('two'), ...(asked ? [usage(11, 7)] : []), done]): Promise<Scene> {
  const bodies: string[] = [];
  const answer: RequestListener = async (req, res) => {
    const asked = await body(req);
    bodies.push(asked);
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const piece of pieces(asked.includes('"include_usage":true'))) {
      res.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    res.end();
  };
  const upstream = await startUpstream(t, (req, res) => void answer(req, res));
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: upstream.url }, metrics: { token: metricsToken }, ...config });
  return { gate, bodies, scrape: (name) => scraped(gate, name) };
}

async function scraped(gate: RunningGate, name: string): Promise<number> {
  const { text } = await request(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${metricsToken}` } });
  return Number(new RegExp(`^heimdall_${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1]);
}

const settled = 'rate_limit_tokens_total{kind="settled"}';
const reserved = 'rate_limit_reserved{kind="tokens"}';

const ask = (gate: RunningGate, over: object = {}): Promise<LiveStream> => sse(`${gate.url}/v1/chat/completions`, { method: 'POST', headers, body: { ...question, ...over } });

test('a stream that tokens are counted of is asked for its usage, and its client sees none of it', async (t) => {
  const { gate, bodies, scrape } = await start(t);
  const stream = await ask(gate);
  assert.equal(stream.text, delta('one') + delta('two') + done);
  assert.equal(bodies[0], `${JSON.stringify(question).slice(0, -1)},"stream_options":{"include_usage":true}}`);
  await until(async () => (await scrape(settled)) === 18);
  assert.equal(await scrape(reserved), 0);
});

test('a client that asks for usage itself gets the bytes as they are', async (t) => {
  const { gate, bodies, scrape } = await start(t);
  const asking = { ...question, stream_options: { include_usage: true } };
  const stream = await ask(gate, asking);
  assert.equal(stream.text, delta('one') + delta('two') + usage(11, 7) + done);
  assert.equal(bodies[0], JSON.stringify(asking));
  await until(async () => (await scrape(settled)) === 18);
});

test('without a limit of tokens or money nothing is added and nothing taken out', async (t) => {
  for (const rateLimit of [{}, { key: { requests: { limit: 9 }, concurrency: 9 } }]) {
    const { gate, bodies } = await start(t, { rateLimit }, () => [delta('one'), usage(1, 2), done]);
    assert.equal((await ask(gate)).text, delta('one') + usage(1, 2) + done);
    assert.equal(bodies[0], JSON.stringify(question));
  }
});

test('the chunk is left out wherever the network cuts the stream, and no other byte', async (t) => {
  const text = `: hello\r\n\r\n${delta('one')}${usage(11, 7)}${done}`;
  for (const size of [1, 7, 64]) {
    const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, at) => text.slice(at * size, at * size + size));
    const { gate, scrape } = await start(t, limited, () => pieces);
    assert.equal((await ask(gate)).text, `: hello\r\n\r\n${delta('one')}${done}`, `pieces of ${size}`);
    await until(async () => (await scrape(settled)) === 18);
  }
});

test('a stream that its client leaves is settled by what was seen of it', async (t) => {
  const { gate, scrape } = await start(t, limited, () => [...Array.from({ length: 8 }, () => delta('four words are here ')), ...Array.from({ length: 400 }, () => ': wait\n\n')]);
  const stream = await openStream(`${gate.url}/v1/chat/completions`, { method: 'POST', headers, body: question });
  await until(() => stream.events.length >= 8);
  stream.abort();
  await until(async () => (await scrape(reserved)) === 0);
  const counted = await scrape(settled);
  assert.ok(counted >= 40 && counted <= 120, String(counted));
});

test('an answer that tells no usage is counted by its text', async (t) => {
  const { gate, scrape } = await start(t, limited, () => [...Array.from({ length: 8 }, () => delta('four words are here ')), done]);
  await ask(gate);
  await until(async () => (await scrape(settled)) > 0);
  const counted = await scrape(settled);
  assert.ok(counted >= 40 && counted <= 120, String(counted));
});

test('a failover settles what the second target used, once', async (t) => {
  const first = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(500).end('no')));
  const second = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}')));
  const key = 'sk-a-key-of-the-gate-that-is-long-enough';
  const { hash } = await import('node:crypto');
  const gate = await startGate(t, {
    audit: false,
    ...limited,
    metrics: { token: metricsToken },
    auth: { mode: 'keys', keys: [{ name: 'team', sha256: hash('sha256', key) }] },
    llm: { provider: 'openai', endpoint: `${first.url}/v1`, apiKey: 'one', backupProviders: [{ provider: 'openai', endpoint: `${second.url}/v1`, apiKey: 'two' }] },
  });
  const answer = await request(`${gate.url}/v1/chat/completions`, { body: { model: 'gpt-4o-mini', messages: [] }, headers: { Authorization: `Bearer ${key}` } });
  assert.equal(answer.status, 200);
  await until(async () => (await scraped(gate, settled)) === 11);
  assert.equal(await scraped(gate, reserved), 0);
});

test('a WebSocket holds its place until it closes', async (t) => {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, rateLimit: { key: { concurrency: 1 } } });
  const peer = await dial(`${gate.url}/v1/realtime?model=gpt-realtime`, { headers });
  const refused = await request(`${gate.url}/v1/chat/completions`, { body: { ...question, stream: false }, headers });
  assert.equal(refused.status, 429);
  peer.socket.close();
  await until(async () => (await request(`${gate.url}/v1/chat/completions`, { body: { ...question, stream: false }, headers })).status === 200);
});

test('what limits count is told by the metrics, by rules and not by keys', async (t) => {
  const { gate, scrape } = await start(t, { rateLimit: { key: { requests: { limit: 1 } }, policies: [{ match: { model: 'gpt-4o-mini' }, tokens: { limit: 9000 } }] } });
  await ask(gate);
  await ask(gate);
  assert.equal(await scrape('rate_limit_checks_total{result="allowed"}'), 1);
  assert.equal(await scrape('rate_limit_checks_total{result="refused"}'), 1);
  assert.equal(await scrape('rate_limit_hits_total{rule="key_limit.requests"}'), 1);
  assert.equal(await scrape('rate_limit_store_errors_total'), 0);
  await until(async () => (await scrape('rate_limit_reserved{kind="requests"}')) === 0);
});

test('Gemini\'s own API is no way around a limit of tokens, and its callers do not share their address\'s', async (t) => {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, metrics: { token: metricsToken }, rateLimit: { key: { tokens: { limit: 200 } } } });
  const generate = (key: string, method = 'generateContent') => request(`${gate.url}/v1beta/models/gemini-2.5-flash:${method}`, { body: { contents: [{ role: 'user', parts: [{ text: 'four words are here' }] }] }, headers: { 'x-goog-api-key': key } });
  let answered = 0;
  while ((await generate(DEMO_KEY, answered % 2 === 0 ? 'generateContent' : 'streamGenerateContent?alt=sse')).status === 200) assert.ok(++answered < 50);
  assert.ok(answered > 1, String(answered));
  const counted = await scraped(gate, settled);
  assert.ok(counted > 100 && counted <= 200, String(counted));
  assert.equal((await generate(OTHER_KEY)).status, 200);
});

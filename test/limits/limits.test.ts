import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import type { RequestListener } from 'node:http';
import type { ConfigInput } from '../../lib/index.ts';
import { behind, chat, codeOf, keyed, listed, type Behind } from '../middlewares/behind.ts';
import { fakeClock } from '../support/clock.ts';
import { openStream, type Answer } from '../support/client.ts';

const second = 1000;

/** Keys of the gate's own, before a NewAPI that is reached with its credential. */
const keysOnly: ConfigInput = { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-ours' }] } };
const otherKey = 'sk-another-key-of-the-gate-long-enough';
const other = { name: 'other', sha256: createHash('sha256').update(otherKey).digest('hex'), upstreamCredential: 'sk-ours' };

const ask = (gate: Behind, headers: Record<string, string> = keyed): Promise<Answer> => gate.ask('/v1/chat/completions', { body: chat, headers });

async function statuses(times: number, once: () => Promise<Answer>): Promise<number[]> {
  const found: number[] = [];
  for (let n = 0; n < times; n++) found.push((await once()).status);
  return found;
}

/** Says what it used. */
const using = (prompt: number, completion: number): RequestListener => (req, res) => {
  req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end(JSON.stringify({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion } })));
};

describe('limits of an office behind one address', () => {
  it('lets new tokens in as soon as the first answers of others have begun', async (t) => {
    const streaming: RequestListener = (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Oneapi-Request-Id': 'r' }).write('data: {"choices":[]}\n\n'));
    const gate = await behind(t, { rateLimit: { key: { concurrency: 1, requests: { limit: 1 } } } }, streaming);
    for (let n = 0; n < 3; n++) {
      const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: { ...chat, stream: true }, headers: { Authorization: `Bearer sk-employee${n}` } });
      assert.equal(stream.status, 200);
      assert.equal((await ask(gate, { Authorization: `Bearer sk-employee${n}` })).status, 429);
    }
  });
});

describe('a budget', () => {
  const prices = { 'gpt-4o': { input: 1000, output: 1000 } };
  const config: ConfigInput = { ...keysOnly, llm: { prices }, rateLimit: { key: { budget: { day: 0.1 } } } };

  it('stops when the money of the day is spent, until the day is over in UTC', async (t) => {
    const clock = fakeClock(Date.UTC(2026, 0, 5, 22));
    const gate = await behind(t, config, using(20, 20), { clock });
    assert.deepEqual(await statuses(3, () => ask(gate)), [200, 200, 429]);
    const refused = await ask(gate);
    assert.equal(codeOf(refused), 'budget_exceeded');
    assert.equal(refused.headers['x-should-retry'], 'false');
    assert.equal(refused.headers['retry-after'], String(2 * 3600));
    assert.match(refused.text, /budget is \$0\.1 a day \(UTC\), \$0\.08 are spent/);
    clock.tick(2 * 3600 * second);
    assert.equal((await ask(gate)).status, 200);
  });

  it('keeps the month beside the day', async (t) => {
    const clock = fakeClock(Date.UTC(2026, 0, 30));
    const gate = await behind(t, { ...config, rateLimit: { key: { budget: { day: 0.1, month: 0.15 } } } }, using(20, 20), { clock });
    assert.deepEqual(await statuses(3, () => ask(gate)), [200, 200, 429]);
    clock.tick(24 * 3600 * second);
    assert.deepEqual(await statuses(2, () => ask(gate)), [200, 429]);
    clock.tick(24 * 3600 * second);
    assert.equal((await ask(gate)).status, 200);
  });

  it('counts a model without a price as nothing', async (t) => {
    const gate = await behind(t, { ...config, llm: { prices: {} } }, using(20, 20));
    const free = (): Promise<Answer> => gate.ask('/v1/chat/completions', { body: { ...chat, model: 'nobody-knows-this-model' }, headers: keyed });
    assert.deepEqual(new Set(await statuses(6, free)), new Set([200]));
  });
});

describe('limits by key', () => {
  it('are shared by as many instances as are configured, each of which counts alone', async (t) => {
    const gate = await behind(t, { ...keysOnly, rateLimit: { key: { requests: { limit: 7 } }, instances: 2 } });
    assert.deepEqual(await statuses(4, () => ask(gate)), [200, 200, 200, 429]);
  });

  it('goes by the key\'s own limits first, by the others\' for the rest', async (t) => {
    const keys = [{ ...listed, upstreamCredential: 'sk-ours', requests: { limit: 1 } }, other];
    const gate = await behind(t, { auth: { mode: 'keys', keys }, rateLimit: { key: { requests: { limit: 2 }, concurrency: 9 } } });
    const first = await ask(gate);
    assert.equal(first.headers['ratelimit-policy'], '"requests";q=1;w=60, "concurrency";q=9;qu="concurrent-requests"');
    assert.equal((await ask(gate)).status, 429);
    assert.deepEqual(await statuses(3, () => ask(gate, { Authorization: `Bearer ${otherKey}` })), [200, 200, 429]);
  });

  it('exempts keys by name and addresses by network', async (t) => {
    const limits = { key: { requests: { limit: 1 } }, exempt: ['team', '203.0.113.0/24'] };
    const gate = await behind(t, { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-ours' }, other] }, rateLimit: limits });
    assert.deepEqual(await statuses(3, () => ask(gate)), [200, 200, 200]);
    const others = { Authorization: `Bearer ${otherKey}` };
    assert.deepEqual(await statuses(2, () => ask(gate, others)), [200, 429]);
    assert.deepEqual(await statuses(2, () => ask(gate, { ...others, 'X-Forwarded-For': '203.0.113.7' })), [200, 200]);
    assert.equal((await ask(gate)).headers['ratelimit'], undefined);
  });
});

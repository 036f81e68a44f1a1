import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RequestListener } from 'node:http';
import { keyLimit } from '../../lib/middlewares/key-limit.ts';
import { heimdall, type ConfigInput } from '../../lib/index.ts';
import { Limits } from '../../lib/limits/limits.ts';
import { internalsOf } from '../../lib/gateway.ts';
import type { Deps } from '../../lib/middlewares/middleware.ts';
import { fakeClock } from '../support/clock.ts';
import { openStream, until, type Answer } from '../support/client.ts';
import { recorder } from '../support/gate.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, behind, chat, codeOf, keyed, listed, type Behind } from './behind.ts';

const second = 1000;

/** Keys of the gate's own, before a NewAPI that is reached with its credential. */
const keysOnly: ConfigInput = { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-ours' }] } };

const ask = (gate: Behind, headers: Record<string, string> = keyed): Promise<Answer> => gate.ask('/v1/chat/completions', { body: chat, headers });

async function statuses(times: number, once: () => Promise<Answer>): Promise<number[]> {
  const found: number[] = [];
  for (let n = 0; n < times; n++) found.push((await once()).status);
  return found;
}

/** Says what it used. */
const using = (prompt: number, completion: number): RequestListener => (req, res) => {
  req.resume().on('end', () => {
    res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r', 'x-ratelimit-remaining-requests': 'theirs', 'x-ratelimit-other': 'theirs' });
    res.end(JSON.stringify({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion } }));
  });
};

/** Answers when it is told to. */
function holding(): { readonly listener: RequestListener; answer(): void } {
  const waiting: (() => void)[] = [];
  return {
    listener: (req, res) => void waiting.push(() => using(1, 1)(req, res)),
    answer: () => waiting.splice(0).forEach((go) => go()),
  };
}

describe('key_limit without a limit', () => {
  it('is not there', (t) => {
    const gate = heimdall({ newapi: { baseUrl: 'http://127.0.0.1:9' } }, { log: recorder() });
    t.after(() => gate.close());
    const { core } = internalsOf(gate);
    const limits = new Limits(core, {} as never);
    assert.deepEqual(keyLimit.create(core, { limits } as Deps), {});
  });
});

describe('key_limit of requests', () => {
  const rateLimit = { key: { requests: { limit: 3, window: '60s' } } };

  it('lets exactly as many pass, says how many are left, and when to come back', async (t) => {
    const clock = fakeClock();
    const gate = await behind(t, { ...keysOnly, rateLimit }, using(3, 4), { clock });
    const first = await ask(gate);
    assert.equal(first.status, 200);
    assert.equal(first.headers['ratelimit-policy'], '"requests";q=3;w=60');
    assert.equal(first.headers['ratelimit'], '"requests";r=2;t=60');
    assert.equal(first.headers['x-ratelimit-limit-requests'], '3');
    assert.equal(first.headers['x-ratelimit-remaining-requests'], '2');
    assert.equal(first.headers['x-ratelimit-reset-requests'], '1m0s');
    assert.equal(first.headers['x-ratelimit-other'], 'theirs');
    clock.tick(10 * second);
    assert.deepEqual(await statuses(2, () => ask(gate)), [200, 200]);
    const refused = await ask(gate);
    assert.equal(refused.status, 429);
    assert.equal(codeOf(refused), 'rate_limit_requests');
    assert.match(refused.text, /limit is 3 requests in 1m, and 3 were made\. Try again in 50s\./);
    assert.equal(refused.headers['retry-after'], '50');
    assert.equal(refused.headers['ratelimit'], '"requests";r=0;t=50');
    assert.equal(refused.headers['x-should-retry'], undefined);
    clock.tick(50 * second);
    assert.deepEqual(await statuses(2, () => ask(gate)), [200, 429]);
    assert.equal(gate.seen.length, 4);
  });

  it('counts the list of models and what begins a task, not what waits for one, nor pages', async (t) => {
    const gate = await behind(t, { rateLimit });
    const get = (path: string): Promise<Answer> => gate.ask(path, { headers: bearer });
    assert.equal((await get('/v1/models')).status, 200);
    assert.equal((await gate.ask('/suno/submit/music', { method: 'POST', body: '{}', headers: bearer })).status, 200);
    for (let n = 0; n < 6; n++) {
      assert.equal((await get('/suno/fetch/1')).headers['ratelimit'], undefined);
      assert.equal((await get('/api/status')).status, 200);
      assert.equal((await get('/')).status, 200);
    }
    assert.deepEqual([(await get('/v1/models')).status, (await get('/v1/models')).status], [200, 429]);
    assert.equal((await gate.ask('/suno/submit/music', { method: 'POST', body: '{}', headers: bearer })).status, 429);
  });

  it('answers in the dialect of the route', async (t) => {
    const gate = await behind(t, { rateLimit: { key: { requests: { limit: 1 } } } });
    await ask(gate, bearer);
    const claude = await gate.ask('/v1/messages', { body: { ...chat, max_tokens: 5 }, headers: bearer });
    assert.equal(claude.json<{ error: { type: string } }>().error.type, 'rate_limit_error');
    const gemini = await gate.ask('/v1beta/models/gemini-pro:generateContent', { body: {}, headers: bearer });
    assert.equal(gemini.json<{ error: { status: string } }>().error.status, 'RESOURCE_EXHAUSTED');
  });

  it('counts each token for itself, from its first request on', async (t) => {
    const gate = await behind(t, { rateLimit });
    assert.deepEqual(await statuses(4, () => ask(gate, bearer)), [200, 200, 200, 429]);
    assert.deepEqual(await statuses(4, () => ask(gate, { Authorization: 'Bearer sk-anothertoken' })), [200, 200, 200, 429]);
  });

  it('lets strangers share what an address has, so that made-up tokens gain nothing', async (t) => {
    const refusing: RequestListener = (req, res) => void req.resume().on('end', () => res.writeHead(403, { 'Content-Type': 'application/json' }).end('{}'));
    const gate = await behind(t, { rateLimit }, refusing);
    let made = 0;
    assert.deepEqual(await statuses(5, () => ask(gate, { Authorization: `Bearer sk-madeup${made++}` })), [403, 403, 403, 429, 429]);
    assert.deepEqual(await statuses(1, () => ask(gate, { Authorization: 'Bearer sk-x', 'X-Forwarded-For': '203.0.113.9' })), [403]);
  });

  it('gives back what was refused further down', async (t) => {
    const gate = await behind(t, { ...keysOnly, auth: { mode: 'keys', keys: [listed] }, rateLimit });
    const answers = await statuses(9, () => ask(gate));
    assert.deepEqual(new Set(answers), new Set([403]));
    assert.equal(gate.seen.length, 0);
  });

  it('lets a burst at arrival pass to the number', async (t) => {
    const gate = await behind(t, { ...keysOnly, rateLimit: { key: { requests: { limit: 20 } } } });
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask(gate)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 20);
    assert.equal(gate.seen.length, 20);
  });
});

describe('key_limit of tokens', () => {
  const limited = (limit: number): ConfigInput => ({ ...keysOnly, rateLimit: { key: { tokens: { limit, window: '60s' } } } });

  it('reserves an estimate and settles what was used', async (t) => {
    const gate = await behind(t, limited(100), using(30, 10));
    const first = await ask(gate);
    assert.ok(Number(first.headers['x-ratelimit-remaining-tokens']) < 80, 'prompt and a guess are reserved');
    const second_ = await ask(gate);
    assert.equal(second_.headers['ratelimit-policy'], '"tokens";q=100;qu="tokens";w=60');
    assert.ok(Number(second_.headers['x-ratelimit-remaining-tokens']) < 40);
    const third = await ask(gate);
    assert.equal(third.status, 429);
    assert.equal(codeOf(third), 'rate_limit_tokens');
    assert.match(third.text, /limit is 100 tokens in 1m, 80 are used or reserved/);
  });

  it('reserves as many as the body allows the answer, and gives back the rest', async (t) => {
    const upstream = holding();
    const gate = await behind(t, limited(1000), upstream.listener);
    const large = (): Promise<Answer> => gate.ask('/v1/chat/completions', { body: { ...chat, max_tokens: 900 }, headers: keyed });
    const first = large();
    await until(() => gate.seen.length === 1);
    assert.equal((await large()).status, 429);
    upstream.answer();
    assert.equal((await first).status, 200);
    const again = large();
    await until(() => gate.seen.length === 2);
    upstream.answer();
    assert.equal((await again).status, 200);
  });

  it('tells a client that waiting will not help where the request is larger than the limit', async (t) => {
    const gate = await behind(t, limited(1000));
    const refused = await gate.ask('/v1/chat/completions', { body: { ...chat, max_tokens: 1001 }, headers: keyed });
    assert.equal(refused.status, 429);
    assert.equal(refused.headers['x-should-retry'], 'false');
    assert.equal(refused.headers['retry-after'], undefined);
    assert.match(refused.text, /lower its max_tokens/);
  });

  it('counts nothing for what the upstream refused, and the prompt for who left', async (t) => {
    let answer: RequestListener = (req, res) => void req.resume().on('end', () => res.writeHead(400, { 'Content-Type': 'application/json' }).end('{}'));
    const gate = await behind(t, limited(100), (req, res) => answer(req, res));
    assert.deepEqual(await statuses(9, () => ask(gate)), Array.from({ length: 9 }, () => 400));
    answer = (req, res) => void req.resume().on('end', () => void res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders());
    const gone = new AbortController();
    const left = gate.ask('/v1/chat/completions', { body: chat, headers: keyed, signal: gone.signal }).catch(() => null);
    await until(() => gate.seen.length === 10);
    gone.abort();
    await left;
    answer = using(1, 1);
    const next = await ask(gate);
    const remaining = Number(next.headers['x-ratelimit-remaining-tokens']);
    assert.ok(remaining > 40 && remaining < 80, String(remaining));
  });

  it('refuses a body that others may read another way, and only where a rule depends on it', async (t) => {
    const twice = '{"model":"gpt-4o","Max_tokens":5,"messages":[]}';
    const gate = await behind(t, limited(1000));
    const refused = await gate.ask('/v1/chat/completions', { method: 'POST', body: twice, headers: { ...keyed, 'Content-Type': 'application/json' } });
    assert.deepEqual([refused.status, codeOf(refused)], [400, 'ambiguous_body']);
    const plain = await behind(t, { ...keysOnly, rateLimit: { key: { requests: { limit: 9 } } } });
    assert.equal((await plain.ask('/v1/chat/completions', { method: 'POST', body: twice, headers: { ...keyed, 'Content-Type': 'application/json' } })).status, 200);
  });
});

describe('key_limit of concurrency', () => {
  const rateLimit = { key: { concurrency: 2 } };

  it('holds a place until the answer is over, and gives it back when the client leaves', async (t) => {
    const streaming: RequestListener = (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: {"choices":[]}\n\n'));
    const gate = await behind(t, { ...keysOnly, rateLimit }, streaming);
    const open = () => openStream(`${gate.url}/v1/chat/completions`, { body: { ...chat, stream: true }, headers: keyed });
    const [first] = [await open(), await open()];
    const refused = await ask(gate);
    assert.deepEqual([refused.status, codeOf(refused), refused.headers['retry-after']], [429, 'rate_limit_concurrency', '1']);
    assert.equal(refused.headers['ratelimit-policy'], '"concurrency";q=2;qu="concurrent-requests"');
    first.abort();
    await until(async () => (await open()).status === 200);
  });
});

describe('key_limit that observes', () => {
  it('refuses nothing, counts everything and records which rule would have refused', async (t) => {
    const records = accessRecords(t);
    // A limit of the key's own and one of everybody's.
    const keys = [{ ...listed, upstreamCredential: 'sk-ours', tokens: { limit: 5 } }];
    const gate = await behind(t, { auth: { mode: 'keys', keys }, mode: 'observe', logging: records.logging, rateLimit: { key: { requests: { limit: 1 } }, policies: [{ match: {}, cidrs: ['203.0.113.0/24'] }] } }, using(3, 3));
    assert.deepEqual(await statuses(2, () => ask(gate)), [200, 200]);
    const lines = (await records.atLeast(2)) as unknown as { would_refuse: string[] }[];
    assert.deepEqual(lines[1]?.would_refuse, ['key_limit.policies[0].cidrs', 'key_limit.tokens', 'key_limit.requests']);
  });

  it('does so for one policy alone', async (t) => {
    const records = accessRecords(t);
    const policies = [{ match: { model: 'gpt-4o' }, requests: { limit: 1 }, mode: 'observe' as const }];
    const gate = await behind(t, { ...keysOnly, logging: records.logging, rateLimit: { key: { requests: { limit: 3 } }, policies } });
    assert.deepEqual(await statuses(4, () => ask(gate)), [200, 200, 200, 429]);
    const lines = (await records.atLeast(4)) as unknown as { would_refuse: string[] }[];
    assert.deepEqual(lines.map(({ would_refuse: rules }) => rules.join()), ['', 'key_limit.policies[0].requests', 'key_limit.policies[0].requests', '']);
  });
});


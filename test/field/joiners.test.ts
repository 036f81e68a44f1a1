import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { authority, noOpenssl } from '../support/authority.ts';
import { openStream, request, until } from '../support/client.ts';
import { startThreads, type Thread, type Threads } from '../support/crew.ts';
import { temporary } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

const admin = 'an-admin-token-of-32-characters-x';
const good = 'sk-goodgoodgoodgoodgoodgoodgoodgoodgoodgoodgoodgood';
const chat = { model: 'm', messages: [{ role: 'user', content: 'hello' }] };

/** What a thread has seen of the upstream, and how that answers. */
interface Scene extends Threads {
  readonly seen: string[];
  answer: RequestListener;
}

const ask = async ({ url }: Thread, { path = '/v1/chat/completions', token = good, body = chat as object, ip = '203.0.113.7' } = {}) => {
  const { status, text } = await request(`${url}${path}`, { headers: { Authorization: `Bearer ${token}`, 'X-Forwarded-For': ip, 'X-Own': 'a' }, body });
  return { status, code: (JSON.parse(text) as { error?: { code?: string } }).error?.code ?? null };
};
const statusOf = async (thread: Thread, options: Parameters<typeof ask>[1] = {}): Promise<number> => (await ask(thread, options)).status;
const answering = (status: number, body = '{}'): RequestListener => (req, res) => void req.resume().on('end', () => res.writeHead(status, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end(body));
const judging: RequestListener = (req, res) => answering(req.headers.authorization === `Bearer ${good}` ? 200 : 401)(req, res);

interface Case {
  readonly config?: (scene: { readonly url: string; readonly directory: string; readonly t: TestContext }) => ConfigInput;
  /** Brings the other threads to know something. */
  readonly before: (scene: Scene, first: Thread, t: TestContext) => Promise<void>;
  /** What one that begins then does. */
  readonly then: (scene: Scene, joiner: Thread, t: TestContext) => Promise<void>;
}

const own = (url: string): ConfigInput => ({ auth: { keys: [{ name: 'a', sha256: hash('sha256', good) }] }, llm: { provider: 'openai', endpoint: `${url}/v1`, apiKey: 'k', retry: { maxRetries: 0 } } });
const withBackup = (url: string): ConfigInput => ({ ...own(url), llm: { ...own(url).llm, backupProviders: [{ provider: 'openai', endpoint: `${url}/backup/v1`, apiKey: 'k' }] } });
const guessing: Case['config'] = () => ({ trustProxy: ['127.0.0.1'], rateLimit: { address: { limit: 3, window: '60s' } } });
const guess = async (scene: Scene, first: Thread): Promise<void> => {
  scene.answer = judging;
  for (let nth = 0; nth < 3; nth++) assert.equal(await statusOf(first, { token: `sk-guess${nth}` }), 401);
  await until(async () => (await statusOf(first, { token: 'sk-guess0' })) === 429, 'the block');
};

/** By what threads tell each other. */
const cases: Readonly<Record<string, Case>> = {
  addresses: {
    config: guessing,
    before: async (scene, first) => {
      await guess(scene, first);
      assert.equal(await statusOf(first, { token: 'sk-tried' }), 401, 'the one that is tried');
    },
    then: async (_, joiner) => {
      assert.deepEqual(await ask(joiner, { token: 'sk-guess0' }), { status: 429, code: 'too_many_failures' });
      assert.equal(await statusOf(joiner, { token: 'sk-next' }), 429, 'one has been tried in this second');
      assert.equal(await statusOf(joiner, { token: 'sk-other', ip: '203.0.113.8' }), 401);
    },
  },
  'tokens.accepted': {
    config: guessing,
    before: async (scene, first) => {
      scene.answer = judging;
      assert.equal(await statusOf(first), 200);
      await guess(scene, first);
      await statusOf(first, { token: 'sk-tried' });
    },
    then: async (_, joiner) => assert.equal(await statusOf(joiner), 200),
  },
  'tokens.refused': {
    config: guessing,
    before: async (scene, first) => {
      scene.answer = judging;
      assert.equal(await statusOf(first), 200);
      scene.clock.tick(1);
      scene.answer = answering(401);
      assert.equal(await statusOf(first), 401);
      await guess(scene, first);
      await statusOf(first, { token: 'sk-tried' });
    },
    then: async (_, joiner) => assert.equal(await statusOf(joiner), 429),
  },
  breaker: {
    config: ({ url }) => ({ ...own(url), circuitBreaker: { failureThreshold: 2, timeout: '1h' } }),
    before: async (scene, first) => {
      scene.answer = answering(500);
      for (let nth = 0; nth < 3; nth++) await ask(first);
      scene.answer = answering(200);
    },
    then: async ({ seen }, joiner) => {
      const before = seen.length;
      assert.deepEqual([await statusOf(joiner), seen.length], [503, before]);
    },
  },
  probe: {
    config: ({ url }) => ({ ...withBackup(url), llm: { ...withBackup(url).llm, healthCheck: { enabled: true, interval: '1h' } } }),
    before: async (scene) => {
      scene.answer = (req, res) => answering(req.url === '/v1/models' ? 500 : 200)(req, res);
      await scene.main.gate.ready;
    },
    then: async ({ seen }, joiner) => {
      assert.equal(await statusOf(joiner), 200);
      assert.deepEqual(seen.filter((each) => each.startsWith('POST')), ['POST /backup/v1/chat/completions']);
    },
  },
  route: {
    config: () => ({ routes: [{ path: '/v1/completions', healthCheck: { threshold: 1, interval: '1h' } }] }),
    before: async (scene, first) => {
      scene.answer = (req, res) => answering(req.method === 'GET' ? 500 : 200)(req, res);
      await scene.main.gate.ready;
      await until(async () => (await statusOf(first, { path: '/v1/completions' })) === 503, 'the other worker to know');
    },
    then: async ({ seen }, joiner) => {
      assert.equal(await statusOf(joiner, { path: '/v1/completions' }), 503);
      assert.deepEqual(seen.filter((each) => each.startsWith('GET')).length, 1, 'one thread checks for all');
    },
  },
  conversation: {
    config: ({ url }) => withBackup(url),
    before: async (scene, first) => {
      scene.answer = (req, res) => answering(req.url?.startsWith('/backup') ? 200 : 500, '{"id":"resp_1"}')(req, res);
      assert.equal(await statusOf(first, { path: '/v1/responses', body: { model: 'm', input: 'a' } }), 200);
      scene.answer = answering(200);
    },
    then: async ({ seen }, joiner) => {
      assert.equal(await statusOf(joiner, { path: '/v1/responses', body: { model: 'm', input: 'b', previous_response_id: 'resp_1' } }), 200);
      assert.equal(seen.at(-1), 'POST /backup/v1/responses');
    },
  },
  'live.watched': {
    config: () => ({ admin: { token: admin, listen: false } }),
    before: async ({ main }, first, t) => {
      const stream = await openStream(`${main.url}/heimdall/api/events`, { headers: { Authorization: `Bearer ${admin}` } });
      t.after(() => stream.abort());
      await until(() => stream.text.includes('connected'), 'the stream');
      reader = stream;
      await statusOf(first);
    },
    then: async (_, joiner) => {
      await statusOf(joiner, { body: { ...chat, model: 'of-the-joiner' } });
      await until(() => reader?.text.includes('of-the-joiner'), 'its request');
    },
  },
  'queue.crowded': {
    config: () => ({ queue: { concurrency: 1 } }),
    before: async (scene, first, t) => {
      scene.answer = (req) => void req.resume();
      for (let nth = 0; nth < 2; nth++) t.after(((sent) => () => sent.catch(() => undefined))(ask(first).catch(() => undefined)));
      await until(() => Atomics.load(scene.main.crew.counts, 1) === 1, 'one that waits');
    },
    then: async ({ told }) => assert.deepEqual(told.filter(([topic]) => topic === 'queue.crowded'), [['queue.crowded', true]]),
  },
  resources: {
    config: () => ({ server: { healthCheck: { memoryThreshold: '1%', threshold: 1, interval: '1s' } } }),
    before: async ({ main, clock }) => {
      await main.gate.ready;
      await until(async () => {
        clock.tick(1000);
        return (await request(`${main.url}/health/ready`)).status === 503;
      }, 'the shortage');
    },
    then: async (_, joiner) => assert.equal(await statusOf(joiner), 503),
  },
  certificate: {
    config: ({ t }) => {
      const { certPath, keyPath } = authority(t).issue('DNS:a.test');
      return { server: { tls: { certPath, keyPath } } };
    },
    before: async ({ main }) => {
      await until(() => main.crew.certificates.size === 1, 'what is served');
      writeFileSync(main.gate.config.server.tls?.certPath ?? '', 'no certificate');
    },
    then: async ({ main }, joiner) => {
      const endsOf = ({ gate }: Thread): number[] => [...internalsOf(gate).certificates].flatMap(({ all }) => all.map(({ ends }) => ends));
      assert.deepEqual(endsOf(joiner), endsOf(main));
    },
  },
  registry: {
    config: ({ directory }) => ({ audit: { path: join(directory, 'a.db') }, admin: { token: admin, listen: false } }),
    before: async ({ main }, first) => {
      await main.gate.ready;
      assert.equal(await statusOf(first), 200);
      await request(`${main.url}/heimdall/api/bans`, { headers: { Authorization: `Bearer ${admin}` }, body: { value: '203.0.113.7', reason: 'test' } });
      await until(async () => (await statusOf(first)) === 403, 'the ban');
    },
    then: async ({ log }, joiner) => {
      assert.equal(await statusOf(joiner), 403);
      assert.equal(log.named('ban.added').length, 1);
    },
  },
};

let reader: { readonly text: string } | null = null;

for (const [kind, { config, before, then }] of Object.entries(cases)) {
  it(`a worker that begins knows what the others have heard: ${kind}`, { skip: kind === 'certificate' && noOpenssl }, async (t) => {
    const seen: string[] = [];
    const upstream = await startUpstream(t, (req, res) => {
      seen.push(`${req.method} ${req.url}`);
      scene.answer(req, res);
    });
    const given = config?.({ url: upstream.url, directory: temporary(t), t }) ?? {};
    const threads = await startThreads(t, { newapi: { baseUrl: upstream.url }, trustProxy: ['127.0.0.1'], ...given });
    const scene: Scene = { ...threads, seen, answer: answering(200) };
    const first = await threads.join();
    await before(scene, first, t);
    await then(scene, await threads.join(), t);
  });
}

it('there is a case for all that threads hear of each other', async (t) => {
  const { topics } = await startThreads(t, { newapi: { baseUrl: 'http://127.0.0.1:1' } });
  assert.deepEqual(new Set(Object.keys(cases)), topics);
});

it('a refused reload changes nothing in what threads hear of each other', async (t) => {
  const upstream = await startUpstream(t, judging);
  const config = { newapi: { baseUrl: upstream.url }, ...guessing({ url: '', directory: '', t }) };
  const { main, join: another } = await startThreads(t, config);
  const [one, other] = [await another(), await another()];
  for (let nth = 0; nth < 2; nth++) assert.equal(await statusOf(one, { token: `sk-guess${nth}` }), 401);
  for (const { gate } of [main, one, other]) {
    const next = { ...gate.config, rateLimit: { ...gate.config.rateLimit, address: { ...gate.config.rateLimit.address, count: 'all' as const } } };
    await assert.rejects(internalsOf(gate).reload('test', next, async () => false), /refused elsewhere/);
  }
  assert.equal(await statusOf(one, { token: 'sk-guess2' }), 401);
  for (const thread of [one, other]) await until(async () => (await ask(thread, { token: 'sk-guess2' })).code === 'too_many_failures', 'the block');
});

import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it, test, type TestContext } from 'node:test';
import { heimdall, type ConfigInput, type HostRequest, type IdentifiedCaller } from '../../lib/index.ts';
import { readBan } from '../../lib/registry/ban.ts';
import { readNewKey } from '../../lib/registry/new-key.ts';
import { fakeClock } from '../support/clock.ts';
import { request, until, type Answer } from '../support/client.ts';
import { recorder, startGate, temporary, type RunningGate } from '../support/gate.ts';
import { accessRecords } from '../support/records.ts';
import { startUpstream } from '../support/upstream.ts';
import { refused } from '../support/websocket.ts';

const chat = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello' }] };
const granted = 'sk-granted-by-the-host-to-ada-alone';
const common = 'sk-common-to-all-users-of-the-host';
const sent = { Authorization: 'Bearer sk-sent-by-the-client-and-of-no-use' };

/** What the host gives for the value of its cookie `user`; `null` for any other. */
const users: Readonly<Record<string, () => unknown>> = {
  ada: () => ({ id: 'ada', name: 'Ada', group: 'staff', upstreamCredential: granted }),
  bare: () => Promise.resolve({ id: 'bare' }),
  seven: () => ({ id: 7, models: ['gpt-4o'], name: null }),
  nothing: () => ({ id: 'nothing', models: [] }),
  once: () => ({ id: 'once', requests: { limit: 1, window: '1h' } }),
  dear: () => ({ id: 'dear', budget: { day: 0 } }),
  late: () => new Promise(() => undefined),
  throws: () => { throw new Error('the session store is down'); },
  rejects: () => Promise.reject(new Error('the session store is down')),
};

const cookie = (user: string): { readonly Cookie: string } => ({ Cookie: `theme=dark; user=${user}` });
const userIn = (req: HostRequest): string => /user=(\w+)/.exec(req.headers.cookie ?? '')?.[1] ?? '';

interface Scene extends RunningGate {
  /** Headers of what NewAPI and a target of ours were sent. */
  readonly newapi: IncomingHttpHeaders[];
  readonly own: IncomingHttpHeaders[];
  /** Paths for which the host was asked. */
  readonly asked: string[];
  ask(path: string, headers?: Readonly<Record<string, string>>, method?: string): Promise<Answer>;
}

interface Options {
  readonly clock?: ReturnType<typeof fakeClock>;
  readonly identify?: (req: HostRequest) => unknown;
  readonly skip?: (req: HostRequest) => boolean | Promise<boolean>;
}

async function start(t: TestContext, config: ConfigInput = {}, { clock, identify, skip }: Options = {}): Promise<Scene> {
  const [newapi, own]: [IncomingHttpHeaders[], IncomingHttpHeaders[]] = [[], []];
  const upstreams = await Promise.all([newapi, own].map((into) => startUpstream(t, (req, res) => {
    into.push(req.headers);
    req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"usage":{"prompt_tokens":1,"completion_tokens":1}}'));
  })));
  upstreams[0]?.server.on('upgrade', (req, socket) => {
    newapi.push(req.headers);
    socket.end('HTTP/1.1 418 Seen\r\nContent-Length: 0\r\n\r\n');
  });
  const asked: string[] = [];
  const gate = await startGate(t, {
    newapi: { baseUrl: upstreams[0]?.url ?? '' },
    llm: { backupProviders: [{ provider: 'openai', endpoint: `${upstreams[1]?.url}/v1`, apiKey: 'our-own-key-at-the-backup' }] },
    ...config,
  }, {
    ...(clock && { clock }), ...(skip && { skip }),
    identify(req): IdentifiedCaller | null {
      asked.push(req.url ?? '');
      return (identify ?? ((its) => users[userIn(its)]?.() ?? null))(req) as IdentifiedCaller | null;
    },
  });
  const ask: Scene['ask'] = (path, headers = {}, method = 'POST') => request(gate.url + path, { method, headers, ...(method === 'POST' && { body: chat }) });
  return { ...gate, newapi, own, asked, ask };
}

const codeOf = (answer: { readonly text: string }): string | null => (JSON.parse(answer.text) as { error?: { code?: string } }).error?.code ?? null;
const handshake = (path: string, headers: Readonly<Record<string, string>>): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyAuLg==\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;

test('who is asked, and when: routes that need a credential, once a request', async (t) => {
  const { ask, asked, port, newapi } = await start(t);
  const rows: readonly (readonly [method: string, path: string, times: number])[] = [
    ['POST', '/v1/chat/completions', 1], ['POST', '/v1/messages', 1], ['GET', '/v1/models', 1], ['POST', '/v1beta/models/g:generateContent', 1],
    ['POST', '/suno/submit/music', 1], ['POST', '/mj/submit/imagine', 1],
    ['GET', '/', 0], ['GET', '/console', 0], ['GET', '/api/status', 0], ['POST', '/api/stripe/webhook', 0], ['POST', '/mj/notify', 0],
    ['GET', '/health', 0], ['GET', '/health/live', 0], ['GET', '/health/ready', 0],
  ];
  for (const [method, path, times] of rows) {
    asked.length = 0;
    await ask(path, cookie('ada'), method);
    assert.equal(asked.length, times, `${method} ${path}`);
  }
  asked.length = newapi.length = 0;
  assert.equal((await refused(port, handshake('/v1/realtime?model=m', cookie('ada')))).status, 418);
  assert.equal(asked.length, 1);
  assert.deepEqual([newapi[0]?.authorization, newapi[0]?.cookie], [`Bearer ${granted}`, undefined]);
});

describe('whoever cannot be identified is answered 503 without a reason, and told once', () => {
  const answers: readonly (readonly [what: string, answer: () => unknown])[] = [
    ['throws', () => users['throws']?.()], ['rejects', () => users['rejects']?.()], ['rejects with nothing', () => Promise.reject(undefined)],
    ['a promise that never ends', () => users['late']?.()], ['text', () => 'ada'], ['a number', () => 7], ['true', () => true], ['no id', () => ({ name: 'Ada' })],
    ['an empty id', () => ({ id: '' })], ['an id of two lines', () => ({ id: 'a\nb' })], ['an id that is too long', () => ({ id: 'a'.repeat(129) })], ['a limit below 1', () => ({ id: 'a', requests: { limit: 0 } })],
    ['a field that nobody knows', () => ({ id: 'a', request: { limit: 1 } })], ['models that are no list', () => ({ id: 'a', models: 'gpt-4o' })], ['a budget of text', () => ({ id: 'a', budget: { day: 'much' } })],
    ['a getter that throws', () => ({ get then() { throw new Error('no'); } })], ['a circle', () => { const self: { id: string; self?: unknown } = { id: 'a' }; self.self = self; return self; }],
  ];
  it('at once or after 5 seconds', async (t) => {
    let answer: () => unknown = () => null;
    const clock = fakeClock();
    const { ask, asked, log, newapi, own } = await start(t, { auth: { upstreamCredential: common } }, { clock, identify: () => answer() });
    for (const [what, its] of answers) {
      answer = its;
      asked.length = 0;
      const pending = ask('/v1/chat/completions', sent);
      if (what === 'a promise that never ends') {
        await until(() => asked.length === 1);
        clock.tick(4999);
        clock.tick(1);
      }
      const refusal = await pending;
      assert.deepEqual([refusal.status, codeOf(refusal)], [503, 'auth_unavailable'], what);
      assert.doesNotMatch(refusal.text, /session store|identify/, what);
    }
    assert.equal(log.named('auth.identify_failed').length, answers.length);
    assert.deepEqual([newapi.length, own.length], [0, 0]);
  });

  it('even by a gate that only observes', async (t) => {
    const { ask } = await start(t, { mode: 'observe' });
    assert.equal((await ask('/v1/chat/completions', { ...sent, ...cookie('throws') })).status, 503);
  });

  it('and an answer that comes after 4.9 seconds still counts, one that fails after 5 is not told again', async (t) => {
    const clock = fakeClock();
    const ends: ((error?: Error) => void)[] = [];
    const { ask, log, asked } = await start(t, { auth: { upstreamCredential: common } }, { clock, identify: () => new Promise((resolve, reject) => ends.push((error) => (error ? reject(error) : resolve({ id: 'slow' })))) });
    const inTime = ask('/v1/chat/completions');
    await until(() => asked.length === 1);
    clock.tick(4900);
    ends[0]?.();
    assert.equal((await inTime).status, 200);
    const late = ask('/v1/chat/completions');
    await until(() => asked.length === 2);
    clock.tick(5000);
    assert.equal((await late).status, 503);
    ends[1]?.(new Error('too late'));
    await new Promise(setImmediate);
    assert.equal(log.named('auth.identify_failed').length, 1);
    assert.equal(clock.armedBy('keys/host.ts'), 0);
  });
});

test('a page of another site acts for nobody: a cookie is no consent', async (t) => {
  const listed = 'https://app.example.com';
  const { ask, port, newapi } = await start(t, { auth: { upstreamCredential: common }, cors: { allowOrigins: [listed, 'https://two.example.com'] } });
  const self = `http://127.0.0.1:${port}`;
  const rows: readonly (readonly [what: string, headers: Readonly<Record<string, string>>, status: number, path?: string])[] = [
    ['no browser', {}, 200],
    ['its own page', { Origin: self, 'Sec-Fetch-Site': 'same-origin' }, 200],
    ['its own page, by the origin alone', { Origin: self }, 200],
    ['its own page, TLS ended in front', { Origin: self.replace('http:', 'https:') }, 200],
    ['an address typed in', { 'Sec-Fetch-Site': 'none' }, 200],
    ['another origin', { Origin: 'https://evil.example' }, 403],
    ['another port', { Origin: 'http://127.0.0.1:1' }, 403],
    ['a sandboxed page', { Origin: 'null' }, 403],
    ['no origin that makes sense', { Origin: 'nonsense' }, 403],
    ['another site by its word', { 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['a sister host', { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['another origin that says it is ours', { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'same-origin' }, 403],
    ['ours by its origin, another by its word', { Origin: self, 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['a listed origin', { Origin: listed, 'Sec-Fetch-Site': 'cross-site' }, 200],
    ['another that begins alike', { Origin: `${listed}.evil.example` }, 403],
    ['another with a key of its own', { Origin: 'https://evil.example', ...sent }, 200],
    ['another with the password that its browser remembers', { Origin: 'https://evil.example', Authorization: 'Basic dTpw' }, 403],
    ['another with a key in the query, which needs no preflight', { Origin: 'https://evil.example' }, 403, '/v1beta/models/g:generateContent?key=anything'],
    ['another with a key as subprotocol', { Origin: 'https://evil.example', 'Sec-WebSocket-Protocol': 'openai-insecure-api-key.x' }, 403],
    ['another that nobody knows', { Origin: 'https://evil.example', Cookie: 'user=stranger', ...sent }, 200],
  ];
  for (const [what, headers, status, path = '/v1/chat/completions'] of rows) {
    const answer = await ask(path, { ...cookie('bare'), ...headers });
    assert.equal(answer.status, status, what);
    if (status === 403 && path.startsWith('/v1/')) assert.equal(codeOf(answer), 'cross_site', what);
  }
  newapi.length = 0;
  assert.equal((await refused(port, handshake('/v1/realtime', { ...cookie('bare'), Origin: 'https://evil.example' }))).status, 403);
  assert.equal((await refused(port, handshake('/v1/realtime', { ...cookie('bare'), Origin: 'https://evil.example', 'Sec-WebSocket-Protocol': 'realtime, openai-insecure-api-key.x' }))).status, 403);
  assert.equal(newapi.length, 0);
  assert.equal((await refused(port, handshake('/v1/realtime', { ...cookie('bare'), Origin: 'http://a' }))).status, 418);
});

test('neither does one that only observes, nor one that allows all origins to read', async (t) => {
  const { ask } = await start(t, { mode: 'observe', auth: { upstreamCredential: common }, cors: { allowOrigins: ['*'] } });
  assert.equal((await ask('/v1/chat/completions', { ...cookie('bare'), Origin: 'https://evil.example' })).status, 403);
});

test('what leaves for a named caller: its token or the common one, never a cookie or what the client sent', async (t) => {
  const carriers = { ...sent, 'x-api-key': 'sk-of-the-client', 'x-goog-api-key': 'sk-of-the-client', 'api-key': 'sk-of-the-client', 'x-auth-token': 'sk-of-the-client', 'mj-api-secret': 'sk-of-the-client' };
  const { ask, newapi } = await start(t, { auth: { upstreamCredential: common } });
  for (const path of ['/v1/chat/completions', '/v1/messages', '/v1beta/models/g:generateContent?key=sk-of-the-client', '/suno/submit/music', '/mj/submit/imagine', '/v1/models/gpt']) {
    for (const [user, token] of [['ada', granted], ['bare', common]] as const) {
      newapi.length = 0;
      assert.equal((await ask(path, { ...cookie(user), ...carriers })).status, 200, path);
      assert.equal(newapi[0]?.authorization, `Bearer ${token}`, path);
      assert.doesNotMatch(JSON.stringify(newapi[0]), /theme|of-the-client|sent-by-the-client/, path);
    }
  }
  // Somebody whom the host does not know goes on as ever.
  newapi.length = 0;
  assert.equal((await ask('/v1/chat/completions', { Cookie: 'session=s', ...sent })).status, 200);
  assert.deepEqual([newapi[0]?.authorization, newapi[0]?.cookie], [sent.Authorization, 'session=s']);
  assert.equal((await ask('/v1/chat/completions', { Cookie: 'session=s' })).status, 401);
});

test('without a token a named caller reaches targets of ours alone', async (t) => {
  const { ask, newapi, own, port } = await start(t);
  assert.equal((await ask('/v1/chat/completions', { ...cookie('bare'), ...sent })).status, 200);
  assert.deepEqual([newapi.length, own[0]?.authorization, own[0]?.cookie], [0, 'Bearer our-own-key-at-the-backup', undefined]);
  for (const path of ['/suno/submit/music', '/v1/rerank']) {
    const answer = await ask(path, { ...cookie('bare'), ...sent });
    assert.deepEqual([answer.status, /no access to this route/.test(answer.text)], [403, true], path);
  }
  assert.equal((await refused(port, handshake('/v1/realtime', { ...cookie('bare'), ...sent }))).status, 403);
  assert.equal(newapi.length, 0);
  // The token that came along has proved nothing: alone it reaches no target of ours.
  newapi.length = own.length = 0;
  await ask('/v1/chat/completions', sent);
  assert.deepEqual([newapi.length, own.length], [1, 0]);
});

test('limits, policies, bans, models and the record are by the user', async (t) => {
  const records = accessRecords(t);
  const { ask, gate } = await start(t, {
    auth: { mode: 'keys', upstreamCredential: common },
    logging: records.logging,
    rateLimit: {
      key: { requests: { limit: 4, window: '1h' } },
      policies: [
        { match: { group: 'staff', route: '/v1/embeddings' }, requests: { limit: 1, window: '1h' } },
        { match: { user: '7', route: '/v1/embeddings' }, requests: { limit: 2, window: '1h' } },
      ],
      exempt: ['user:nothing'],
    },
  });
  const rows: readonly (readonly [user: string, path: string, statuses: readonly number[]])[] = [
    ['once', '/v1/chat/completions', [200, 429]],
    ['dear', '/v1/chat/completions', [429]],
    ['ada', '/v1/embeddings', [200, 429]],
    ['seven', '/v1/embeddings', [200, 200, 429]],
    ['bare', '/v1/embeddings', [200, 200, 200, 200, 429]],
    ['nothing', '/v1/chat/completions', [403, 403, 403, 403, 403, 403]],
  ];
  for (const [user, path, statuses] of rows) {
    const found: number[] = [];
    for (const _ of statuses) found.push((await ask(path, cookie(user))).status);
    assert.deepEqual(found, statuses, user);
  }
  const lines = await records.atLeast(19);
  assert.ok(lines.some((line) => (line as unknown as { key: string }).key === 'user:7'));
  assert.deepEqual([gate.config.auth.mode, (await ask('/v1/chat/completions')).status], ['keys', 401]);
});

test('models of a user are held to on every route', async (t) => {
  const { ask } = await start(t, { auth: { upstreamCredential: common } });
  assert.equal((await ask('/v1/chat/completions', cookie('seven'))).status, 200);
  const other = await ask('/v1beta/models/gemini-2:generateContent', cookie('seven'));
  assert.equal(other.status, 403);
});

test('skip leaves a request out of limits', async (t) => {
  let isSkipped: () => boolean | Promise<boolean> = () => true;
  const { ask, log } = await start(t, { auth: { upstreamCredential: common }, rateLimit: { address: { limit: 2, window: '1h' } } }, { skip: () => isSkipped() });
  const statuses = async (times: number, headers: Readonly<Record<string, string>>): Promise<number[]> => {
    const found: number[] = [];
    for (let n = 0; n < times; n++) found.push((await ask('/v1/chat/completions', headers)).status);
    return found;
  };
  assert.deepEqual(await statuses(3, cookie('once')), [200, 200, 200]);
  isSkipped = () => Promise.resolve(true);
  assert.deepEqual(await statuses(2, cookie('once')), [200, 200]);
  assert.deepEqual(await statuses(4, {}), [401, 401, 401, 401], 'failures that are skipped close no address');
  isSkipped = () => { throw new Error('no'); };
  assert.deepEqual(await statuses(2, cookie('once')), [200, 429]);
  assert.ok(log.named('limits.skip_failed').length > 0);
  isSkipped = () => false;
  assert.deepEqual(await statuses(4, {}), [401, 401, 429, 429]);
  // A user that the host names passes although others have guessed from the same address.
  assert.equal((await ask('/v1/chat/completions', cookie('ada'))).status, 200);
});

describe('names that begin with user: are the host\'s', () => {
  const sha256 = 'ab'.repeat(32);
  it('and no key\'s', () => {
    assert.throws(() => heimdall({ auth: { keys: [{ name: 'user:ada', sha256 }] } }, { log: recorder() }), /auth\.keys\[0\]\.name: expected a name that does not begin with jwt: or user:/);
    assert.throws(() => readNewKey({ name: 'user:ada' }, 0), /name: expected a name/);
  });

  it('and are banned without being known', () => {
    assert.deepEqual(((ban) => [ban.kind, ban.value])(readBan({ value: 'user:ada' }, () => false, 0)), ['key', 'user:ada']);
    assert.throws(() => readBan({ value: 'ada' }, () => false, 0), /value: expected/);
  });
});

test('what has no effect without identify is warned about, and identify without auth is refused', (t) => {
  const log = recorder();
  const gate = heimdall({ auth: { upstreamCredential: common }, rateLimit: { policies: [{ match: { group: 'staff' }, concurrency: 1 }] }, audit: { path: `${temporary(t)}/a.db` } }, { log });
  t.after(() => gate.close({ timeout: 0 }));
  const warnings = log.named('config.warning').map(({ warning }) => String(warning));
  assert.deepEqual(warnings.map((text) => text.split(':', 1)[0]), ['auth.upstream_credential', 'rate_limit.policies[0].match']);
  assert.throws(() => heimdall({ middleware: ['logging'] }, { log, identify: () => null }), /middleware: expected auth among the parts/);
  assert.throws(() => heimdall({}, { log, identify: 'ada' as never }), /identify: expected a function, got a string/);
});

test('a ban of a user holds, and other changes of keys and bans leave its requests alone', async (t) => {
  const token = 'a-token-of-the-admin-that-is-long-enough';
  const { ask, url, log } = await start(t, { auth: { mode: 'keys', upstreamCredential: common }, admin: { token, listen: false } });
  const change = (path: string, body: object): Promise<Answer> => request(`${url}/heimdall/api/${path}`, { headers: { Authorization: `Bearer ${token}` }, body });
  assert.equal((await change('keys', { name: 'other' })).status, 201);
  assert.equal((await ask('/v1/chat/completions', cookie('bare'))).status, 200);
  const banned = await change('bans', { value: 'user:bare', reason: 'test' });
  assert.deepEqual([banned.status, banned.json<{ kind: string }>().kind], [201, 'key']);
  const answer = await ask('/v1/chat/completions', cookie('bare'));
  assert.deepEqual([answer.status, codeOf(answer)], [403, 'banned']);
  assert.equal((await ask('/v1/chat/completions', cookie('ada'))).status, 200);
  assert.deepEqual(log.named('key.cut'), []);
});

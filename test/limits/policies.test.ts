import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { printable, resolveConfig } from '../../lib/config/load.ts';
import { ConfigError, loadConfig, type ConfigInput } from '../../lib/index.ts';
import { tokenIdentifier } from '../../lib/identity/caller.ts';
import { fakeClock } from '../support/clock.ts';
import { closing, request, until, type Answer, type SentHeaders } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, OTHER_KEY, startNewapi } from '../support/newapi.ts';

type Policy = NonNullable<NonNullable<ConfigInput['rateLimit']>['policies']>[number];

const secret = 'the-install-secret-of-these-tests';
const identity = (token: string): string => tokenIdentifier(secret)(token).id;
const gateKey = 'sk-a-key-of-the-gate-that-is-long-enough';

interface Scene {
  readonly gate: RunningGate;
  ask(over?: { readonly path?: string; readonly body?: object; readonly headers?: SentHeaders; readonly key?: string }): Promise<Answer>;
}

async function start(t: TestContext, policies: readonly Policy[], over: ConfigInput = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { audit: false, secret, newapi: { baseUrl: newapi.url }, rateLimit: { policies }, ...over });
  return {
    gate,
    ask: ({ path = '/v1/chat/completions', body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] }, headers = {}, key = DEMO_KEY } = {}) =>
      request(gate.url + path, { body, headers: { Authorization: `Bearer ${key}`, ...headers } }),
  };
}

async function statuses(times: number, once: () => Promise<Answer>): Promise<number[]> {
  const found: number[] = [];
  for (let n = 0; n < times; n++) found.push((await once()).status);
  return found;
}

const once: Partial<Policy> = { requests: { limit: 1, window: '60s' } };

describe('a policy for a token', () => {
  const mine = { 'by its identity': identity(DEMO_KEY), 'by the beginning of it': `${identity(DEMO_KEY).slice(0, 12)}*`, 'by the token itself': DEMO_KEY };
  for (const [how, token] of Object.entries(mine)) {
    it(`holds for that token alone: named ${how}`, async (t) => {
      const { ask } = await start(t, [{ match: { token }, ...once }]);
      assert.deepEqual(await statuses(2, () => ask()), [200, 429]);
      assert.deepEqual(await statuses(3, () => ask({ key: OTHER_KEY })), [200, 200, 200]);
    });
  }

  it('holds for a key of the gate by its name', async (t) => {
    const keys = ['team-a', 'team-b', 'else'].map((name) => ({ name, sha256: createHash('sha256').update(gateKey + name).digest('hex'), upstreamCredential: DEMO_KEY }));
    const { ask } = await start(t, [{ match: { token: 'team-*' }, ...once }, { match: { token: 'else' }, requests: { limit: 2 } }], { auth: { mode: 'keys', keys } });
    for (const name of ['team-a', 'team-b']) assert.deepEqual(await statuses(2, () => ask({ key: gateKey + name })), [200, 429], name);
    assert.deepEqual(await statuses(3, () => ask({ key: `${gateKey}else` })), [200, 200, 429]);
  });

  it('still knows an identity of before the secret was changed', async (t) => {
    const { ask } = await start(t, [{ match: { token: identity(DEMO_KEY) }, ...once }], { secret: 'a-newer-secret-for-these-tests', previousSecrets: [secret] });
    assert.deepEqual(await statuses(2, () => ask()), [200, 429]);
  });
});

describe('a policy for a model', () => {
  it('holds for what begins so, wherever the model stands', async (t) => {
    const { ask } = await start(t, [{ match: { model: 'gpt-4o*' }, requests: { limit: 2 } }]);
    assert.deepEqual(await statuses(3, () => ask()), [200, 200, 429]);
    assert.equal((await ask({ body: { model: 'claude-sonnet-4-5', messages: [] } })).status, 200);
    assert.equal((await ask({ path: '/v1beta/models/gpt-4o-mini:generateContent', body: { contents: [] } })).status, 429);
  });

  it('refuses bodies that name it twice or in other letters, since a rule depends on it', async (t) => {
    const { ask, gate } = await start(t, [{ match: { model: 'gpt-4o*', client: 'curl' }, requests: { limit: 2 } }]);
    const raw = (body: string, agent = 'curl/8.5.0'): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { method: 'POST', body, headers: { Authorization: `Bearer ${DEMO_KEY}`, 'Content-Type': 'application/json', 'User-Agent': agent } });
    for (const body of ['{"model":"a","model":"gpt-4o","messages":[]}', '{"Model":"gpt-4o","messages":[]}', '{"model":"a","MODEL":"gpt-4o","messages":[]}']) {
      const refused = await raw(body);
      assert.deepEqual([refused.status, refused.json<{ error: { code: string } }>().error.code], [400, 'ambiguous_body'], body);
      assert.notEqual((await raw(body, 'python-requests/2')).status, 400, 'no rule looks at it for this client');
    }
    assert.equal((await ask()).status, 200);
  });
});

describe('a policy for a model that nobody can tell', () => {
  it('holds for a body that is too large to be looked into', async (t) => {
    const { ask } = await start(t, [{ match: { model: 'gpt-4o*' }, requests: { limit: 1 } }], { server: { bufferBodyBytes: '1KB' } });
    const large = { body: { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'x'.repeat(2000) }] } };
    assert.deepEqual(await statuses(2, () => ask(large)), [200, 429]);
    assert.equal((await ask({ body: { model: 'claude-sonnet-4-5', messages: [] } })).status, 200);
  });
});

describe('a policy', () => {
  it('holds for a client by its family, and for a route by its path', async (t) => {
    const { ask } = await start(t, [{ match: { client: 'claude-cli' }, ...once }, { match: { route: '/v1/embeddings' }, ...once }]);
    const cli = { 'User-Agent': 'claude-cli/2.0.1 (external, cli)' };
    assert.deepEqual(await statuses(2, () => ask({ headers: cli })), [200, 429]);
    assert.deepEqual(await statuses(2, () => ask({ headers: { 'User-Agent': 'curl/8.5.0' } })), [200, 200]);
    assert.deepEqual(await statuses(2, () => ask({ path: '/v1/embeddings', body: { model: 'text-embedding-3-small', input: 'a' } })), [200, 429]);
  });

  it('asks for all that it names', async (t) => {
    const { ask } = await start(t, [{ match: { token: identity(DEMO_KEY), model: 'gpt-4o-mini', route: '/v1/chat/*' }, ...once }]);
    assert.deepEqual(await statuses(2, () => ask({ key: OTHER_KEY })), [200, 200]);
    assert.deepEqual(await statuses(2, () => ask()), [200, 429]);
  });

  it('holds beside the others: the tightest refuses, and what is refused counts in none', async (t) => {
    const { ask } = await start(t, [{ match: {}, requests: { limit: 3 } }, { match: { model: 'gpt-4o-mini' }, ...once }]);
    const claude = { body: { model: 'claude-sonnet-4-5', messages: [] } };
    assert.deepEqual(await statuses(3, () => ask()), [200, 429, 429]);
    assert.deepEqual(await statuses(3, () => ask(claude)), [200, 200, 429]);
    const both = await ask();
    assert.match(String(both.headers['ratelimit-policy']), /^"policies\[0\]\.requests";q=3;w=60, "policies\[1\]\.requests";q=1;w=60$/);
  });

  it('restricts the addresses of whom it matches', async (t) => {
    const { ask } = await start(t, [{ match: { token: identity(DEMO_KEY) }, cidrs: ['203.0.113.0/24', '2001:db8::/32'] }]);
    const from = (ip: string) => ({ headers: { 'X-Forwarded-For': ip } });
    for (const ip of ['203.0.113.7', '2001:db8::5']) assert.equal((await ask(from(ip))).status, 200, ip);
    const refused = await ask(from('198.51.100.1'));
    assert.deepEqual([refused.status, refused.json<{ error: { code: string } }>().error.code], [403, 'address_not_allowed']);
    assert.equal((await ask({ ...from('198.51.100.1'), key: OTHER_KEY })).status, 200);
  });
});

describe('the budgets of policies', () => {
  const policies: Policy[] = [{ match: { model: 'gpt-4o-mini' }, budget: { day: 0.02 } }];
  const prices = { 'gpt-4o-mini': { input: 100, output: 100 } };

  it('outlive a restart, in a file of the owner alone that holds no token', async (t) => {
    const directory = temporary(t);
    const over: ConfigInput = { llm: { prices }, audit: { path: join(directory, 'heimdall.db') } };
    const clock = fakeClock();
    const newapi = closing(t, await startNewapi());
    const config: ConfigInput = { secret, newapi: { baseUrl: newapi.url }, rateLimit: { policies }, ...over };
    const path = join(directory, 'heimdall.limits.json');
    const ask = (gate: RunningGate): Promise<Answer> => request(`${gate.url}/v1/chat/completions`, { body: { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] }, headers: { Authorization: `Bearer ${DEMO_KEY}` } });
    const first = await startGate(t, config, { clock });
    let spent = 0;
    while ((await ask(first)).status === 200) assert.ok(++spent < 100);
    assert.ok(spent > 0);
    clock.tick(2000);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await first.gate.close({ timeout: 0 });
    const file = readFileSync(path, 'utf8');
    assert.ok(file.includes(identity(DEMO_KEY)) && !file.includes(DEMO_KEY.slice(3, 20)), file);
    const second = await startGate(t, config, { clock });
    assert.equal((await ask(second)).status, 429);
    clock.tick(86_400_000);
    assert.equal((await ask(second)).status, 200);
  });

  it('begin anew, and say so, where the file is broken', async (t) => {
    const directory = temporary(t);
    writeFileSync(join(directory, 'heimdall.limits.json'), '{"version":1,"budgets":{"a":["x",1]}}');
    const { ask, gate } = await start(t, policies, { llm: { prices }, audit: { path: join(directory, 'heimdall.db') } });
    assert.equal((await ask()).status, 200);
    assert.equal(gate.log.named('limits.file').length, 1);
  });
});

describe('a policy by names of NewAPI', () => {
  const users = { owner: { id: 9, password: 'p', accessToken: 'owner-access-token', admin: true } };
  /** A gate in whose NewAPI `DEMO_KEY` is of user 1 and `OTHER_KEY` of user 3. */
  async function named(t: TestContext, policies: readonly Policy[], accessToken = 'owner-access-token') {
    const clock = fakeClock();
    const newapi = closing(t, await startNewapi({ users, keys: { [DEMO_KEY]: { user: 1 }, [SECOND_KEY]: { user: 1 }, [OTHER_KEY]: { user: 3 }, [VIP_KEY]: { user: 4, group: 'vip' } } }));
    const gate = await startGate(t, { secret, newapi: { baseUrl: newapi.url, accessToken, userId: 9 }, rateLimit: { policies } }, { clock });
    const ask = async (key: string): Promise<number> => (await request(`${gate.url}/v1/chat/completions`, { body: { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] }, headers: { Authorization: `Bearer ${key}` } })).status;
    /** Lets the gate ask NewAPI for names until a condition holds. */
    const learn = (holds: () => Promise<boolean>): Promise<boolean> => until(async () => {
      clock.tick(10_000);
      return holds();
    });
    return { ask, learn, gate };
  }
  const SECOND_KEY = `sk-${'HeimdallSecond00'.repeat(3)}`;
  /** Its token is named by its first four letters. */
  const VIP_KEY = `sk-${'LaptopOfSomebody'.repeat(3)}`;

  it('counts all tokens of the user together, with what they used before they were named, and nobody else', async (t) => {
    const { ask, learn } = await named(t, [{ match: { newapiUser: '1' }, requests: { limit: 3, window: '1d' } }]);
    for (const key of [DEMO_KEY, DEMO_KEY, DEMO_KEY, DEMO_KEY, SECOND_KEY, OTHER_KEY, OTHER_KEY, OTHER_KEY]) assert.equal(await ask(key), 200);
    await learn(async () => (await ask(SECOND_KEY)) === 429);
    assert.equal(await ask(DEMO_KEY), 429);
    assert.equal(await ask(OTHER_KEY), 200);
  });

  it('knows after reloads what a caller used before them without a name, wherever its policy stands now', async (t) => {
    const named1: Policy = { match: { newapiUser: '1' }, requests: { limit: 3, window: '1d' } };
    const { ask, learn, gate: { gate } } = await named(t, [named1]);
    for (let nth = 0; nth < 3; nth++) assert.equal(await ask(DEMO_KEY), 200);
    const { config } = gate;
    await gate.reload({ ...config, rateLimit: { ...config.rateLimit, policies: [{ match: { model: 'another' }, requests: { limit: 1, window: '1d' } }, named1] } } as ConfigInput);
    await learn(async () => (await ask(SECOND_KEY)) === 429);
  });

  for (const match of [{ newapiToken: 'Lap*' }, { newapiGroup: 'vip' }]) {
    it(`counts those that ${JSON.stringify(match)} names, and no others`, async (t) => {
      const { ask, learn } = await named(t, [{ match, requests: { limit: 1, window: '1d' } }]);
      for (const key of [VIP_KEY, OTHER_KEY, OTHER_KEY]) assert.equal(await ask(key), 200);
      await learn(async () => (await ask(VIP_KEY)) === 429);
      assert.equal(await ask(OTHER_KEY), 200);
    });
  }

  it('holds for everybody without a name where names cannot be learnt', async (t) => {
    const { ask, learn, gate } = await named(t, [{ match: { newapiGroup: 'free' }, requests: { limit: 1, window: '1d' } }], 'no-access-token-of-anybody');
    assert.equal(await ask(DEMO_KEY), 200);
    await learn(async () => gate.log.named('names.refused').length === 1);
    assert.deepEqual([await ask(DEMO_KEY), await ask(DEMO_KEY), await ask(OTHER_KEY)], [200, 429, 200]);
  });

  it('is refused where nothing can learn them', () => {
    assert.throws(() => resolveConfig({ rateLimit: { policies: [{ match: { newapiToken: 'laptop' }, concurrency: 1 }] } }), /rateLimit\.policies\[0\]\.match\.newapiToken: expected newapi\.access_token/);
  });
});

describe('a token in the configuration', () => {
  it('is shown nowhere', (t) => {
    const path = join(temporary(t), 'heimdall.yaml');
    const write = (token: string): void => writeFileSync(path, `rate_limit:\n  policies: [{ match: { token: "${token}" }, concurrency: 1 }]\n`, { mode: 0o600 });
    write(DEMO_KEY);
    assert.ok(!JSON.stringify(printable(loadConfig(path, {}))).includes(DEMO_KEY.slice(3, 12)));
    write('team-a');
    assert.ok(JSON.stringify(printable(loadConfig(path, {}))).includes('team-a'));
    write(`${DEMO_KEY}*x`);
    assert.throws(() => loadConfig(path, {}), (error) => error instanceof ConfigError && error.message.includes('match.token') && !error.message.includes(DEMO_KEY.slice(3, 12)));
  });
});

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { it } from 'node:test';
import { request, type Answer } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { bearer, listening, problem, startAdmin, token, type AdminHarness } from './harness.ts';

const readToken = 'a-token-that-reads-of-more-than-32-characters';

interface Both {
  readonly cookie: string;
  readonly proof: string;
}

const logIn = async ({ ask }: AdminHarness, text: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> => ask('login', { headers, body: { token: text } });

/** The two halves of a login. */
function bothOf(answer: Answer): Both {
  assert.equal(answer.status, 200, answer.text);
  const [cookie = ''] = answer.headers['set-cookie'] ?? [];
  return { cookie: cookie.split(';', 1)[0] as string, proof: answer.json<{ proof: string }>().proof };
}

const sent = ({ cookie, proof }: Both): Record<string, string> => ({ Cookie: cookie, 'X-Heimdall-Proof': proof });

it('a login gives a cookie and a proof, and only both together count', async (t) => {
  const harness = await startAdmin(t);
  const { ask, log } = harness;
  const answer = await logIn(harness, token);
  const both = bothOf(answer);
  assert.deepEqual(answer.headers['set-cookie']?.map((line) => line.replace(/=[\w-]{43};/, '=…;')), ['heimdall_ffffffff=…; Max-Age=43200; HttpOnly; SameSite=Strict']);
  assert.ok(!answer.headers['set-cookie']?.[0]?.includes(token));
  assert.equal((await ask('keys', { headers: sent(both) })).status, 200);
  assert.deepEqual((await ask('session', { headers: sent(both) })).json(), { auth: 'token', access: 'full', expires: answer.json<{ expires: string }>().expires, user: null });
  const forged = { Origin: harness.url, 'Sec-Fetch-Site': 'same-origin', Authorization: `Bearer ${both.proof}`, 'X-Heimdall-Proof': both.cookie };
  for (const headers of [{ Cookie: both.cookie }, { Cookie: both.cookie, ...forged }, { 'X-Heimdall-Proof': both.proof }, sent({ ...both, cookie: `${both.cookie}x` })]) {
    for (const [path, method] of [['keys', 'GET'], ['events', 'GET'], ['keys/alice', 'DELETE'], ['logout', 'POST']] as const) assert.equal((await ask(path, { method, headers })).status, 401, `${method} ${path}`);
  }
  assert.deepEqual(log.named('admin.login').map(({ access }) => access), ['full']);
});

it('a login ends by logout, on the server, and after twelve hours', async (t) => {
  const clock = fakeClock();
  const harness = await startAdmin(t, {}, { clock });
  const [first, second] = [bothOf(await logIn(harness, token)), bothOf(await logIn(harness, token))];
  const out = await harness.ask('logout', { method: 'POST', headers: sent(first) });
  assert.deepEqual([out.status, out.headers['set-cookie']], [204, ['heimdall_ffffffff=; Max-Age=0; HttpOnly; SameSite=Strict']]);
  assert.equal((await harness.ask('keys', { headers: sent(first) })).status, 401);
  assert.equal((await harness.ask('keys', { headers: sent(second) })).status, 200);
  clock.tick(12 * 3_600_000);
  assert.equal((await harness.ask('keys', { headers: sent(second) })).status, 401);
  assert.equal(harness.log.named('admin.auth_failed').length, 0, 'a login that has ended is no guess');
});

it('guesses at the login end in 429, and are not quoted', async (t) => {
  const harness = await startAdmin(t, { rateLimit: { address: { limit: 2 } } });
  const answers = [await logIn(harness, `${token}x`), await logIn(harness, readToken), await logIn(harness, 'x')];
  assert.deepEqual(answers.map(({ status }) => status), [401, 401, 429]);
  for (const { text } of answers) assert.ok(!text.includes(token) && !text.includes(readToken));
  const odd = await harness.ask('login', { headers: {}, body: { token: 5 } });
  assert.deepEqual([problem(odd), odd.text.includes('got 5')], [[400, 'invalid_value', 'token'], false]);
});

it('changes that another origin asks for are refused, with every credential', async (t) => {
  const harness = await startAdmin(t);
  const { url, ask } = harness;
  const { host, hostname } = new URL(url);
  const both = bothOf(await logIn(harness, token, { Origin: url }));
  const foreign = ['null', `https://${host}.example`, `http://${hostname}:1`, 'http://evil.example', `https://${hostname}`];
  for (const origin of foreign) {
    assert.deepEqual(problem(await logIn(harness, token, { Origin: origin })), [403, 'cross_site', null], origin);
    for (const headers of [sent(both), bearer]) assert.deepEqual(problem(await ask('keys/alice', { method: 'DELETE', headers: { ...headers, Origin: origin } })), [403, 'cross_site', null]);
  }
  for (const site of ['cross-site', 'same-site']) assert.equal((await ask('keys/alice', { method: 'DELETE', headers: { ...sent(both), Origin: url, 'Sec-Fetch-Site': site } })).status, 403);
  assert.ok(harness.keys.has('alice'));
  const proxied = { ...sent(both), Host: 'upstream:1', Origin: 'https://gate.example' };
  assert.equal((await ask('keys/alice', { method: 'DELETE', headers: { ...proxied, 'X-Forwarded-Host': 'gate.example' } })).status, 204, 'a proxy on this machine names the host');
});

it('a token for reading reads everything and changes nothing, whatever it asks for', async (t) => {
  const harness = await startAdmin(t, { admin: { readToken } });
  const both = bothOf(await logIn(harness, readToken));
  for (const headers of [{ Authorization: `Bearer ${readToken}` }, sent(both)]) {
    for (const path of ['keys', 'bans', 'config', 'health', 'findings', 'session']) assert.equal((await harness.ask(path, { headers })).status, 200, path);
    for (const [method, path] of [['POST', 'keys'], ['DELETE', 'keys/alice'], ['PATCH', 'queue'], ['POST', 'bans'], ['POST', 'nothing'], ['DELETE', 'keys/nobody'], ['PUT', 'keys'], ['PUT', 'logout'], ['DELETE', 'logout']] as const) {
      assert.deepEqual(problem(await harness.ask(path, { method, headers })), [403, 'read_only', null], `${method} ${path}`);
    }
  }
  assert.ok(harness.keys.has('alice') && !(await harness.ask('config')).text.includes(readToken));
  assert.equal((await harness.ask('session', { headers: sent(both) })).json<{ access: string }>().access, 'read');
  assert.equal((await harness.ask('logout', { method: 'POST', headers: sent(both) })).status, 204);
});

it('a host that vouches has no login of the gate', async (t) => {
  const harness = await startAdmin(t, { admin: { auth: 'host' } });
  assert.equal((await logIn(harness, token, { 'Content-Type': 'application/json' })).status, 404);
  assert.equal((await harness.ask('session', { headers: {} })).json<{ auth: string }>().auth, 'host');
});

it('the mount redirects to the page, relatively, and the page is public', async (t) => {
  const harness = await startAdmin(t);
  const own = harness.admin.alone('127.0.0.1');
  const apart = await listening(t, createServer((req, res) => own(req, res, () => undefined)));
  for (const [mount, name] of [[`${harness.url}/ops`, 'ops'], [`${apart}/heimdall`, 'heimdall']] as const) {
    const redirect = await request(`${mount}?x=//evil.example`);
    assert.deepEqual([redirect.status, redirect.headers.location], [302, `./${name}/`]);
    const page = await request(`${mount}/`);
    assert.ok(page.status === 200 || page.json<{ error: { code: string } }>().error.code === 'page_not_built');
    assert.equal((await request(`${mount}/`, { method: 'POST' })).status, 405);
  }
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../lib/index.ts';
import { warningsOf } from '../lib/config/load.ts';
import { closing, openStream, request, until } from './support/client.ts';
import { temporary } from './support/gate.ts';
import { DEMO_KEY, startNewapi } from './support/newapi.ts';
import { startProgram, type Program } from './support/program.ts';
import { nowhere, startUpstream } from './support/upstream.ts';
import { bare } from './support/programs.ts';
import { dial } from './support/websocket.ts';

const examples = fileURLToPath(new URL('../examples/', import.meta.url));
const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'one two three four five six seven eight nine ten' }] };
/** The page, or the word of a checkout in which it is not built. */
const builtPage = /<!doctype html>|page_not_built/i;
const noCurl = spawnSync('curl', ['--version']).status === 0 ? false : 'curl is not installed';

interface Running extends Program {
  /** The first URL that follows this text. */
  url(after: string): Promise<string>;
  /** Tells it to stop; its exit code. */
  stop(): Promise<number | string>;
}

/** Runs an example, or a program at a whole path, in a directory of its own on a free port. */
function run(t: TestContext, script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const program = startProgram(t, process.execPath, [resolve(examples, script), ...args], { cwd: temporary(t), env: { ...bare, HEIMDALL_PORT: '0', HEIMDALL_HOST: '127.0.0.1', ...env } });
  return {
    ...program,
    url: (after) => program.does(() => new RegExp(`${after}\\s+(http://[\\d.:]+)`).exec(program.said())?.[1], `a URL after "${after}"`),
    async stop() {
      program.child.kill('SIGTERM');
      return program.ended;
    },
  };
}

test('the demo serves, says where, and its curl line works when pasted', { skip: noCurl }, async (t) => {
  const demo = run(t, 'standalone/server.ts', ['--demo']);
  const url = await demo.url('gate');
  const line = await demo.does(() => /^ {2}(curl .+)$/m.exec(demo.said())?.[1], 'a line to paste');
  const pasted = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
  assert.equal(pasted.status, 0, pasted.stderr);
  const answer = JSON.parse(pasted.stdout) as { choices: { message: { content: string } }[] };
  assert.equal(answer.choices[0]?.message.content, 'Hello, Heimdall');
  assert.match((await request(url)).text, /Demo upstream/);
  assert.equal((await request(`${await demo.url('health')}/health`)).status, 200);
  await demo.does(() => /"path":"\/v1\/chat\/completions".*"outcome":"served"/.test(demo.said()), 'an access line');
  assert.doesNotMatch(demo.said(), /Nothing answers|warning|\berror\b/i);
  const lines = [...demo.said().matchAll(/^ {2}((?:curl|for) .+)$/gm)].map(([, each = '']) => each);
  const paste = (which: RegExp): string => spawnSync('sh', ['-c', lines.find((each) => which.test(each)) ?? ''], { encoding: 'utf8' }).stdout;
  assert.match(paste(/^for /), /rate_limit_requests/);
  assert.match(paste(/outage/), /backup\/gpt-4o-mini/);
  await until(() => /"rule": ?"shared_key"/.test(paste(/findings/)), 'the finding of a shared key');
  assert.match(paste(/api\/logs/), /rate_limit_requests/);
  const page = /page +(http\S+)/.exec(demo.said())?.[1] ?? '';
  assert.ok(builtPage.test((await request(page)).text), page);
  assert.match(demo.said(), /finding\.raised[^]*Try it:/);
  demo.child.kill('SIGHUP');
  assert.deepEqual(await once(demo.child, 'exit'), [0, null]);
});

test('the demo that is ended while it starts leaves no file behind', async (t) => {
  const at = temporary(t);
  const { child, ended, does } = run(t, 'standalone/server.ts', ['--demo'], { TMPDIR: at });
  const left = (): string[] => readdirSync(at).filter((name) => name.startsWith('heimdall-demo-'));
  await does(() => left().length === 1, 'a file of the demo');
  child.kill('SIGINT');
  await ended;
  assert.deepEqual(left(), []);
});

test('SIGTERM lets the stream in hand finish and ends with 0', async (t) => {
  const demo = run(t, 'standalone/server.ts', ['--demo']);
  const url = await demo.url('gate');
  const stream = await openStream(`${url}/v1/chat/completions`, { headers, body: { ...chat, stream: true } });
  await until(() => stream.events.length > 1);
  assert.equal(await demo.stop(), 0);
  await stream.done;
  assert.equal(stream.events.at(-1)?.data, '[DONE]');
  assert.equal(stream.complete, true);
});

test('with NewAPI down the standalone says so, serves health, and answers in the route\'s shape', async (t) => {
  const gone = await nowhere();
  const gate = run(t, 'standalone/server.ts', ['--json'], { NEWAPI_BASE_URL: gone });
  const url = await gate.url('listens on');
  const [line = ''] = await gate.does(() => /^\{"url":.*\}$/m.exec(gate.said()) ?? undefined, 'a line for programs');
  assert.deepEqual(JSON.parse(line), { url, page: null, admin_url: null, newapi: gone, pid: gate.child.pid });
  await gate.does(() => gate.said().includes(`Nothing answers at ${gone}`), 'a word about NewAPI');
  assert.equal((await request(`${url}/health`)).json<{ status: string }>().status, 'healthy');
  assert.equal((await request(`${url}/health/ready`)).status, 503);
  const model = await request(`${url}/v1/chat/completions`, { headers, body: chat });
  assert.deepEqual([model.status, model.json<{ error: { code: string } }>().error.code], [502, 'upstream_unreachable']);
  assert.match(model.text, /cannot be reached/);
  const claude = await request(`${url}/v1/messages`, { headers: { 'x-api-key': DEMO_KEY }, body: chat });
  assert.deepEqual([claude.status, claude.json<{ type: string }>().type], [502, 'error']);
  assert.equal(await gate.stop(), 0);
});

for (const args of [[], ['--demo']]) {
  test(`a port in use ends the process with what to do: ${args.join('') || 'plain'}`, async (t) => {
    const taken = createServer().listen(0, '127.0.0.1');
    t.after(() => taken.close());
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const gate = run(t, 'standalone/server.ts', args, { HEIMDALL_PORT: String(port) });
    assert.equal(await gate.ended, 1);
    assert.match(gate.said(), new RegExp(`server\\.port: expected a free port, got ${port}.*HEIMDALL_PORT=`));
    assert.doesNotMatch(gate.said(), /\n\s+at /);
  });
}

test('a configuration with mistakes ends the process with every one of them', async (t) => {
  const gate = run(t, 'standalone/server.ts', [], { HEIMDALL_PORT: 'many', NEWAPI_BASE_URL: 'nowhere' });
  assert.equal(await gate.ended, 1);
  assert.match(gate.said(), /^HEIMDALL_PORT: expected .*"many"/m);
  assert.match(gate.said(), /^NEWAPI_BASE_URL: expected .*"nowhere"/m);
});

test('the configuration to start from loads without a warning', () => {
  const config = loadConfig(`${examples}standalone/heimdall.yaml`, { NEWAPI_BASE_URL: 'http://newapi.test:3000' });
  assert.deepEqual(warningsOf(config), []);
  assert.equal(config.newapi.baseUrl, 'http://newapi.test:3000');
});

for (const mount of ['/', '/gate']) {
  test(`the embedded example serves the application and, at ${mount}, the gate`, async (t) => {
    const api = closing(t, await startNewapi());
    const host = run(t, 'embedded/server.ts', [mount], { NEWAPI_BASE_URL: api.url, NEWAPI_TOKEN: DEMO_KEY });
    const url = await host.url('listens on');
    const at = url + (mount === '/' ? '' : mount);
    assert.deepEqual((await request(`${url}/hello`)).json(), { hello: 'from the application' });
    assert.equal((await request(`${url}/fail`)).status, 500);
    const body = Buffer.from(` ${JSON.stringify(chat)}\n`);
    const answer = await request(`${at}/v1/chat/completions`, { headers: { ...headers, 'Content-Type': 'application/json' }, body });
    assert.equal(answer.status, 200);
    assert.deepEqual(api.requests.find(({ method }) => method === 'POST')?.body, body);
    const login = await request(`${url}/login`, { body: { user: 'ada' } });
    const Cookie = String(login.headers['set-cookie']?.[0]).split(';', 1)[0] as string;
    const named = await request(`${at}/v1/chat/completions`, { headers: { Cookie }, body: chat });
    assert.deepEqual([named.status, named.headers['x-ratelimit-limit-requests'], api.requests.at(-1)?.headers.cookie], [200, '60', undefined]);
    assert.equal((await request(`${at}/v1/chat/completions`, { body: chat })).status, 401);
    const own = await dial(`${url}/chat`);
    own.socket.send('hello');
    assert.equal(await own.message(0), 'chat: hello');
    const realtime = await dial(`${at}/v1/realtime?model=gpt-realtime`, { headers });
    assert.match(String(await realtime.message(0)), /session\.created/);
    if (mount !== '/') assert.deepEqual((await request(`${url}/nothing`)).json(), { message: 'not found here' });
    realtime.socket.close();
    await realtime.closed;
    assert.equal(await host.stop(), 0);
  });
}

test('the sidecar serves NewAPI, and to its administrators the page and the admin API below /gate', async (t) => {
  const newapi = closing(t, await startNewapi({ users: { owner: { id: 1, password: 'p', accessToken: 'owner-access-token', admin: true }, guest: { id: 2, password: 'p', accessToken: 'guest-access-token' } } }));
  const host = run(t, 'standalone/server.ts', ['-c', join(examples, 'newapi-sidecar/heimdall.yaml')], { NEWAPI_BASE_URL: newapi.url });
  const url = await host.url('listens on');
  assert.equal((await request(`${url}/v1/chat/completions`, { headers, body: chat })).status, 200, host.said());
  assert.match((await request(url)).text, /NewAPI stand-in/);
  const office = (token: string, user: number) => request(`${url}/gate/api/health`, { headers: { Authorization: `Bearer ${token}`, 'New-Api-User': String(user) } });
  assert.equal((await office('owner-access-token', 1)).json<{ status: string }>().status, 'healthy');
  for (const [token, user] of [['guest-access-token', 2], ['owner-access-token', 2], ['made-up', 1]] as const) assert.ok([401, 403].includes((await office(token, user)).status), token);
  assert.equal((await request(`${url}/gate/api/health`)).status, 401);
  assert.equal((await request(`${url}/gate/api/keys`, { method: 'POST', headers: { ...headers, 'New-Api-User': '1' }, body: { name: 'mine' } })).status, 401);
  assert.match((await request(`${url}/gate/`)).text, builtPage);
  // A session of NewAPI, as its page in a browser has it.
  const login = await request(`${url}/api/user/login`, { body: { username: 'owner', password: 'p' } });
  const cookie = String(login.headers['set-cookie']?.[0]).split(';', 1)[0] as string;
  assert.equal((await request(`${url}/gate/api/queue`, { headers: { Cookie: cookie, 'New-Api-User': '1' } })).status, 200);
  const foreign = await request(`${url}/gate/api/bans`, { method: 'POST', headers: { Cookie: cookie, 'New-Api-User': '1', 'Sec-Fetch-Site': 'cross-site' }, body: { value: '203.0.113.7' } });
  assert.deepEqual([foreign.status, (await request(`${url}/gate/nothing`, { headers: { Cookie: cookie, 'New-Api-User': '1' } })).status], [403, 404]);
  const realtime = await dial(`${url}/v1/realtime?model=gpt-realtime`, { headers });
  assert.match(String(await realtime.message(0)), /session\.created/);
  realtime.socket.close();
  await newapi.stop();
  assert.equal(await host.stop(), 0);
});

/** An OpenAI-compatible API that takes its key in this header. */
async function api(t: TestContext, header: string, key: string): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = [];
  const { url } = await startUpstream(t, (req, res) => {
    seen.push(`${req.method} ${req.url}`);
    req.resume().on('end', () => res.writeHead(req.headers[header] === key ? 200 : 401, { 'Content-Type': 'application/json' }).end('{"choices":[]}'));
  });
  return { url, seen };
}

const gateKey = `sk-${'g'.repeat(40)}`;
const yaml = (routes: string): string => `${routes}
auth: { mode: keys, keys: [{ name: me, sha256: ${hash('sha256', gateKey)} }] }
`;

test('a custom OpenAI-compatible provider needs a name and an endpoint in the file, and nothing else', async (t) => {
  const { url: upstream, seen } = await api(t, 'authorization', 'Bearer key-of-mine');
  const config = join(temporary(t), 'heimdall.yaml');
  writeFileSync(config, yaml('llm: { provider: mine, endpoint: "${MINE}/deep/v1", api_key: "${MINE_KEY}", models: { gpt-4o-mini: m-1 } }'), { mode: 0o600 });
  const gate = run(t, 'standalone/server.ts', [], { NEWAPI_BASE_URL: await nowhere(), HEIMDALL_CONFIG: config, MINE: upstream, MINE_KEY: 'key-of-mine' });
  const url = await gate.url('listens on');
  const mine = { Authorization: `Bearer ${gateKey}` };
  assert.deepEqual((await request(`${url}/v1/chat/completions`, { headers: mine, body: chat })).json(), { choices: [] });
  assert.equal((await request(`${url}/v1/models`, { headers: mine })).status, 200);
  assert.equal((await request(`${url}/health/ready`)).status, 200);
  assert.deepEqual([...new Set(seen)].toSorted(), ['GET /deep/v1/models', 'POST /deep/v1/chat/completions']);
  assert.equal(await gate.stop(), 0);
});

test('the provider in the guide of upstreams runs as it stands there, and answers when NewAPI does not', async (t) => {
  const readme = readFileSync(new URL('../lib/upstream/README.md', import.meta.url), 'utf8');
  const code = /```ts\n([^`]*: Provider = [^]*?)```/.exec(readme)?.[1] ?? assert.fail('no provider in the guide');
  const { url: upstream, seen } = await api(t, 'x-mine-key', 'key-of-mine');
  const program = join(temporary(t), 'program.ts');
  const at = (from: string, to: string) => (text: string): string => (assert.ok(text.includes(from), from), text.replace(from, to));
  writeFileSync(program, at("'express-heimdall'", `'${new URL('../lib/index.ts', import.meta.url).href}'`)(at('https://llm.example.com', upstream)(code)));
  const config = join(temporary(t), 'heimdall.yaml');
  writeFileSync(config, yaml(''), { mode: 0o600 });
  const gate = run(t, program, [], { NEWAPI_BASE_URL: await nowhere(), HEIMDALL_CONFIG: config, MINE_KEY: 'key-of-mine' });
  const url = await gate.url('listens on');
  assert.equal((await request(`${url}/v1/chat/completions`, { headers: { Authorization: `Bearer ${gateKey}` }, body: chat })).status, 200, gate.said());
  assert.equal((await request(`${url}/health/ready`)).status, 200);
  assert.deepEqual([...new Set(seen)].toSorted(), ['GET /v1/status', 'POST /v1/chat/completions']);
  assert.equal(await gate.stop(), 0);
});

test('the routes of a file do what they say', async (t) => {
  const { url: upstream, seen } = await api(t, 'authorization', 'Bearer key-of-mine');
  const config = join(temporary(t), 'heimdall.yaml');
  const routes = `
llm: { provider: mine, endpoint: "\${MINE}/v1", api_key: key-of-mine }
server: { middleware: [auth] }
routes:
  - { path: /metrics, handler: metrics, version: v1, methods: [GET], middleware: [auth] }
  - { path: /health, handler: health, version: v1, methods: [GET] }
  - { path: /ask, handler: chat, version: v1, middleware: [request-timer], headers: { X-Api-Version: "2" }, health_check: { interval: 100ms, threshold: 1, checks: { api: http, latency: threshold } } }
`;
  writeFileSync(config, yaml(routes), { mode: 0o600 });
  const gate = run(t, 'standalone/server.ts', [], { NEWAPI_BASE_URL: await nowhere(), HEIMDALL_CONFIG: config, MINE: upstream });
  const url = await gate.url('listens on');
  const mine = { Authorization: `Bearer ${gateKey}` };
  assert.deepEqual([(await request(`${url}/v1/health`)).status, (await request(`${url}/v1/metrics`)).status, (await request(`${url}/v1/metrics`, { headers: mine })).status], [200, 401, 200]);
  assert.match((await request(`${url}/v1/ask`, { headers: mine, body: chat })).text, /header x-api-version/);
  const asked = await request(`${url}/v1/ask`, { headers: { ...mine, 'X-Api-Version': '2' }, body: chat });
  assert.equal(asked.status, 200, gate.said());
  assert.ok(asked.headers['x-response-time'] && !(await request(`${url}/v1/chat/completions`, { headers: mine, body: chat })).headers['x-response-time']);
  assert.deepEqual([...new Set(seen)].toSorted(), ['GET /v1/models', 'POST /v1/chat/completions']);
  assert.deepEqual((await request(`${url}/health/ready`)).json<{ routes: object }>().routes, { '/v1/ask': 'healthy' });
  assert.equal(await gate.stop(), 0);
});

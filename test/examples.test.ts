import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../lib/index.ts';
import { warningsOf } from '../lib/config/load.ts';
import { closing, openStream, request, until } from './support/client.ts';
import { temporary } from './support/gate.ts';
import { DEMO_KEY, startNewapi } from './support/newapi.ts';
import { nowhere } from './support/upstream.ts';
import { dial } from './support/websocket.ts';

const examples = fileURLToPath(new URL('../examples/', import.meta.url));
const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'one two three four five six seven eight nine ten' }] };
const noCurl = spawnSync('curl', ['--version']).status === 0 ? false : 'curl is not installed';

interface Running {
  readonly child: ChildProcess;
  /** What it has said so far, on both outputs. */
  said(): string;
  /** The first URL that follows this text. */
  url(after: string): Promise<string>;
  /** Tells it to stop; its exit code. */
  stop(): Promise<number | null>;
}

/** Runs an example in a directory of its own on a free port. */
function run(t: TestContext, script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, [examples + script, ...args], {
    cwd: temporary(t),
    env: { PATH: process.env['PATH'], HEIMDALL_PORT: '0', HEIMDALL_HOST: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  let text = '';
  for (const output of [child.stdout, child.stderr]) {
    output?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  return {
    child,
    said: () => text,
    url: (after) => until(() => new RegExp(`${after}\\s+(http://[\\d.:]+)`).exec(text)?.[1], 8000, `a URL after "${after}", got ${text}`),
    async stop() {
      child.kill('SIGTERM');
      return (await exited)[0];
    },
  };
}

test('the demo serves, says where, and its curl line works when pasted', { skip: noCurl }, async (t) => {
  const demo = run(t, 'standalone/server.ts', ['--demo']);
  const url = await demo.url('gate');
  const line = await until(() => /^ {2}(curl .+)$/m.exec(demo.said())?.[1]);
  const pasted = spawnSync('sh', ['-c', line], { encoding: 'utf8', timeout: 8000 });
  assert.equal(pasted.status, 0, pasted.stderr);
  const answer = JSON.parse(pasted.stdout) as { choices: { message: { content: string } }[] };
  assert.equal(answer.choices[0]?.message.content, 'Hello, Heimdall');
  assert.match((await request(url)).text, /Demo upstream/);
  assert.equal((await request(`${await demo.url('health')}/health`)).status, 200);
  await until(() => /"path":"\/v1\/chat\/completions".*"outcome":"served"/.test(demo.said()));
  assert.doesNotMatch(demo.said(), /Nothing answers|warning|\berror\b/i);
  assert.equal(await demo.stop(), 0);
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
  const gone = await nowhere(t);
  const gate = run(t, 'standalone/server.ts', [], { NEWAPI_BASE_URL: gone });
  const url = await gate.url('listens on');
  await until(() => gate.said().includes(`Nothing answers at ${gone}`));
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
    const [code] = (await once(gate.child, 'exit')) as [number];
    assert.equal(code, 1);
    assert.match(gate.said(), new RegExp(`server\\.port: expected a free port, got ${port}.*HEIMDALL_PORT=`));
    assert.doesNotMatch(gate.said(), /\n\s+at /);
  });
}

test('a configuration with mistakes ends the process with every one of them', async (t) => {
  const gate = run(t, 'standalone/server.ts', [], { HEIMDALL_PORT: 'many', NEWAPI_BASE_URL: 'nowhere' });
  const [code] = (await once(gate.child, 'exit')) as [number];
  assert.equal(code, 1);
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
    const host = run(t, 'embedded/server.ts', [mount], { NEWAPI_BASE_URL: api.url });
    const url = await host.url('listens on');
    const at = url + (mount === '/' ? '' : mount);
    assert.deepEqual((await request(`${url}/hello`)).json(), { hello: 'from the application' });
    assert.equal((await request(`${url}/fail`)).status, 500);
    const body = Buffer.from(` ${JSON.stringify(chat)}\n`);
    const answer = await request(`${at}/v1/chat/completions`, { headers: { ...headers, 'Content-Type': 'application/json' }, body });
    assert.equal(answer.status, 200);
    assert.deepEqual(api.requests.find(({ method }) => method === 'POST')?.body, body);
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

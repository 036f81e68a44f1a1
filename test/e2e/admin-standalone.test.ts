import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openStream, request, until } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { bare } from '../support/programs.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const headers = { Authorization: `Bearer ${token}` };
const server = join(import.meta.dirname, '../../examples/standalone/server.ts');

/** Holds a port, or says that it cannot. */
async function hold(port: number): Promise<Server | null> {
  const holder = createServer((_req, res) => void res.end('somebody else')).listen(port, '127.0.0.1');
  return new Promise((resolve) => holder.on('listening', () => resolve(holder)).on('error', () => resolve(null)));
}

/** Two ports in a row that are free, below those that are given out to whoever asks for any; the second is held when asked for. */
async function pair(t: TestContext, taken: boolean): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const [first, second] = [await hold(port), await hold(port + 1)];
    const free = first !== null && second !== null;
    first?.close();
    if (free && taken) t.after(() => second.close());
    else second?.close();
    if (free) return port;
  }
}

interface Standalone {
  readonly child: ChildProcess;
  said(): string;
}

async function start(t: TestContext, port: number, env: NodeJS.ProcessEnv = {}): Promise<Standalone> {
  const upstream = await startUpstream(t, (_req, res) => void res.end('the upstream'));
  const child = spawn(process.execPath, [server], {
    cwd: temporary(t),
    env: { ...bare, HEIMDALL_PORT: String(port), HEIMDALL_HOST: '127.0.0.1', HEIMDALL_ADMIN_TOKEN: token, NEWAPI_BASE_URL: upstream.url, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  let text = '';
  for (const output of [child.stdout, child.stderr]) output?.on('data', (chunk: Buffer) => void (text += chunk.toString()));
  return { child, said: () => text };
}

const reach = (url: string, from?: string): Promise<string> => request(url, { headers: { ...headers, ...(from === undefined ? {} : { 'X-Forwarded-For': from }) } }).then(({ text }) => text, () => '');

test('the standalone has the API at the port after its own, and at its own for this machine alone, until it is told to stop', async (t) => {
  const port = await pair(t, false);
  const { child, said } = await start(t, port);
  const api = `http://127.0.0.1:${port + 1}/heimdall/api`;
  await until(() => said().includes(`The admin API is at ${api}\n`));
  assert.ok(said().includes(`Page: http://127.0.0.1:${port + 1}/heimdall/\n`), said());
  assert.match(await reach(`${api}/health`), /"status":"healthy"/);
  assert.match(await reach(`http://127.0.0.1:${port}/heimdall/api/health`), /"status":"healthy"/);
  assert.equal(await reach(`http://127.0.0.1:${port}/heimdall/api/health`, '192.0.2.1'), 'the upstream');
  const stream = await openStream(`${api}/events`, { headers });
  child.kill('SIGTERM');
  const [code] = (await once(child, 'exit')) as [number | null];
  await stream.done;
  assert.deepEqual([code, stream.complete], [0, true]);
});

test('the standalone goes on without an address for the API when the port after its own is taken, and says so', async (t) => {
  const port = await pair(t, true);
  const { said } = await start(t, port);
  await until(() => /The admin API has no address of its own: it is at http:\S+, for callers on this machine alone/.test(said()));
  await until(() => said().includes('"admin.not_listening"'));
  assert.equal(await reach(`http://127.0.0.1:${port + 1}/heimdall/api/health`), 'somebody else');
  assert.match(await reach(`http://127.0.0.1:${port}/heimdall/api/health`), /"status":"healthy"/);
  assert.equal(await reach(`http://127.0.0.1:${port}/heimdall/api/health`, '192.0.2.1'), 'the upstream');
});

test('the standalone does not start when the configured address is taken', async (t) => {
  const port = await pair(t, true);
  const { child, said } = await start(t, port, { HEIMDALL_CONFIG: yaml(t, `admin: { listen: "127.0.0.1:${port + 1}" }\n`) });
  const [code] = (await once(child, 'exit')) as [number | null];
  assert.equal(code, 1);
  assert.match(said(), new RegExp(`admin\\.listen: expected an address of this machine with a free port, got 127\\.0\\.0\\.1:${port + 1} \\(EADDRINUSE\\)`));
});

test('the standalone has the API at its own port alone when told so', async (t) => {
  const port = await pair(t, false);
  const { said } = await start(t, port, { HEIMDALL_CONFIG: yaml(t, 'admin: { listen: false, path: /ops }\n') });
  await until(() => said().includes(`it is at http://127.0.0.1:${port}/ops/api\n`));
  assert.match(await reach(`http://127.0.0.1:${port}/ops/api/health`, '192.0.2.1'), /"status":"healthy"/);
  assert.equal(await reach(`http://127.0.0.1:${port + 1}/ops/api/health`), '');
});

function yaml(t: TestContext, text: string): string {
  const path = join(temporary(t), 'heimdall.yaml');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

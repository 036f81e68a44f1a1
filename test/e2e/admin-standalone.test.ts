import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openStream, request } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { freePort } from '../support/ports.ts';
import { startProgram, type Program } from '../support/program.ts';
import { bare } from '../support/programs.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const headers = { Authorization: `Bearer ${token}` };
const server = join(import.meta.dirname, '../../examples/standalone/server.ts');

/** A port that is free, as is the one after it, unless somebody else is to have that one. */
async function pair(t: TestContext, taken: boolean): Promise<number> {
  const port = await freePort(2);
  if (!taken) return port;
  const holder = createServer((_req, res) => void res.end('somebody else')).listen(port + 1, '127.0.0.1');
  t.after(() => holder.close());
  await once(holder, 'listening');
  return port;
}

async function start(t: TestContext, port: number, env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const upstream = await startUpstream(t, (_req, res) => void res.end('the upstream'));
  return startProgram(t, process.execPath, [server], {
    cwd: temporary(t),
    env: { ...bare, HEIMDALL_PORT: String(port), HEIMDALL_HOST: '127.0.0.1', HEIMDALL_ADMIN_TOKEN: token, NEWAPI_BASE_URL: upstream.url, ...env },
  });
}

const reach = (url: string, from?: string): Promise<string> => request(url, { headers: { ...headers, ...(from === undefined ? {} : { 'X-Forwarded-For': from }) } }).then(({ text }) => text, () => '');

test('the standalone has the API at the port after its own, and at its own for this machine alone, until it is told to stop', async (t) => {
  const port = await pair(t, false);
  const { child, ended, said, does } = await start(t, port);
  const api = `http://127.0.0.1:${port + 1}/heimdall/api`;
  await does(() => said().includes(`The admin API is at ${api}\n`), 'a word about the API');
  assert.ok(said().includes(`Page: http://127.0.0.1:${port + 1}/heimdall/\n`), said());
  assert.match(await reach(`${api}/health`), /"status":"healthy"/);
  assert.match(await reach(`http://127.0.0.1:${port}/heimdall/api/health`), /"status":"healthy"/);
  assert.equal(await reach(`http://127.0.0.1:${port}/heimdall/api/health`, '192.0.2.1'), 'the upstream');
  const stream = await openStream(`${api}/events`, { headers });
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
  await stream.done;
  assert.equal(stream.complete, true);
});

test('the standalone goes on without an address for the API when the port after its own is taken, and says so', async (t) => {
  const port = await pair(t, true);
  const { said, does } = await start(t, port);
  await does(() => /The admin API has no address of its own: it is at http:\S+, for callers on this machine alone/.test(said()) && said().includes('"admin.not_listening"'), 'a word about the API, and an event');
  assert.equal(await reach(`http://127.0.0.1:${port + 1}/heimdall/api/health`), 'somebody else');
  assert.match(await reach(`http://127.0.0.1:${port}/heimdall/api/health`), /"status":"healthy"/);
  assert.equal(await reach(`http://127.0.0.1:${port}/heimdall/api/health`, '192.0.2.1'), 'the upstream');
});

test('the standalone does not start when the configured address is taken', async (t) => {
  const port = await pair(t, true);
  const { ended, said } = await start(t, port, { HEIMDALL_CONFIG: yaml(t, `admin: { listen: "127.0.0.1:${port + 1}" }\n`) });
  assert.equal(await ended, 1);
  assert.match(said(), new RegExp(`admin\\.listen: expected an address of this machine with a free port, got 127\\.0\\.0\\.1:${port + 1} \\(EADDRINUSE\\)`));
});

test('the standalone has the API at its own port alone when told so', async (t) => {
  const port = await pair(t, false);
  const { said, does } = await start(t, port, { HEIMDALL_CONFIG: yaml(t, 'admin: { listen: false, path: /ops }\n') });
  await does(() => said().includes(`it is at http://127.0.0.1:${port}/ops/api\n`), 'a word about the API');
  assert.match(await reach(`http://127.0.0.1:${port}/ops/api/health`, '192.0.2.1'), /"status":"healthy"/);
  assert.equal(await reach(`http://127.0.0.1:${port + 1}/ops/api/health`), '');
});

function yaml(t: TestContext, text: string): string {
  const path = join(temporary(t), 'heimdall.yaml');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

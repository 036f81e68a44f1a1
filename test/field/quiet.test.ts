import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { heimdall, ConfigError, type ConfigInput } from '../../lib/index.ts';
import { main } from '../../lib/cli/cli.ts';
import { nodeProblem } from '../../lib/start/start.ts';
import { request, until } from '../support/client.ts';
import { recorder, startGate, temporary } from '../support/gate.ts';
import { bare } from '../support/programs.ts';
import { startUpstream } from '../support/upstream.ts';

/** A host that asks its gate and ends. What it passes is in its first argument. */
const host = `
import { createServer } from 'node:http';
import { once } from 'node:events';
import { heimdall } from ${JSON.stringify(new URL('../../lib/start/entry.ts', import.meta.url).href)};
const gate = heimdall(JSON.parse(process.argv[1]));
const server = createServer((req, res) => gate(req, res, () => res.end('beyond')));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
for (const path of ['/api/one', '/v1/models']) await (await fetch('http://127.0.0.1:' + server.address().port + path, { headers: { Connection: 'close' } })).text();
server.close();
await gate.close();
`;

async function filesAfter(t: Parameters<typeof temporary>[0], config: ConfigInput): Promise<readonly string[]> {
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.end('{}')));
  const cwd = temporary(t);
  const child = spawn(process.execPath, ['--input-type=module', '-e', host, JSON.stringify({ newapi: { baseUrl: upstream.url }, ...config })], { cwd, env: bare, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
  let [out, wrong] = ['', ''];
  child.stdout.on('data', (text: Buffer) => void (out += String(text)));
  child.stderr.on('data', (text: Buffer) => void (wrong += String(text)));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.deepEqual([code, out], [0, ''], wrong);
  return (readdirSync(cwd, { recursive: true }) as string[]).sort();
}

describe('an embedded gate writes where the host said', () => {
  it('nothing with audit: false', async (t) => {
    assert.deepEqual(await filesAfter(t, { audit: false }), []);
  });

  it('access lines alone, where they are asked for', async (t) => {
    assert.deepEqual(await filesAfter(t, { audit: false, logging: { file: 'lines.log' } }), ['lines.log']);
  });

  it('beside the journal, and no access log of its own accord', async (t) => {
    const files = await filesAfter(t, { audit: { path: 'kept/here.db' } });
    assert.deepEqual(files.filter((file) => !file.startsWith('kept')), []);
    assert.ok(files.includes('kept/here.db'), files.join());
  });
});

describe('without a journal', () => {
  it('requests are served, keys and bans are kept in memory, and the admin API knows no record', async (t) => {
    const token = 'an-admin-token-of-more-than-thirty-two-letters';
    const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.end('{}')));
    const lines = join(temporary(t), 'lines.log');
    const { url } = await startGate(t, { newapi: { baseUrl: upstream.url }, audit: { enabled: false }, admin: { token }, logging: { file: lines } });
    const api = async (path: string, body?: object) => request(`${url}/heimdall/api/${path}`, { method: body === undefined ? 'GET' : 'POST', headers: { Authorization: `Bearer ${token}` }, ...(body !== undefined && { body }) });
    assert.equal((await request(`${url}/api/status`)).status, 200);
    assert.equal((await api('bans', { value: '192.0.2.1', reason: 'test' })).status, 201);
    assert.equal(((await api('bans')).json() as { bans: object[] }).bans.length, 1);
    assert.deepEqual(Object.values((await api('logs')).json() as object).find(Array.isArray), []);
    const health = (await api('health')).json() as { journal?: { state: string } };
    assert.match(JSON.stringify(health), /"off"/);
    await until(() => existsSync(lines) && readFileSync(lines, 'utf8').includes('/api/status'));
  });

  const refused: Readonly<Record<string, ConfigInput>> = {
    'a sink': { audit: { enabled: false, postgres: { url: 'postgres://localhost/a' } }, secret: 'a secret of more than sixteen letters' },
    ingestion: { audit: { enabled: false, ingest: { tokens: ['a-token-of-more-than-thirty-two-letters-for-ingestion'] } } },
    'strict durability': { audit: { enabled: false, durability: 'strict' } },
    'refusal when it is full': { audit: { enabled: false, onFull: 'refuse' } },
  };
  for (const [what, config] of Object.entries(refused)) it(`${what} is refused`, () => assert.throws(() => heimdall(config), (error) => error instanceof ConfigError && /audit\.enabled: expected true, since audit\./.test(error.message)));

  test('a sink of the program is refused', () => {
    const sink = { name: 'mine', deliver: async () => ({ kind: 'taken' }) } as never;
    assert.throws(() => heimdall({ audit: false }, { sinks: [sink], log: recorder() }), /audit: expected a journal, since sinks follow it, got false/);
  });

  it('commands that need it say so', async (t) => {
    const file = join(temporary(t), 'heimdall.yaml');
    writeFileSync(file, 'audit: false\n', { mode: 0o600 });
    for (const args of [['logs'], ['verify'], ['backup', 'a.db'], ['keys', 'create', 'team'], ['ban', '192.0.2.1', '--reason', 'x']]) {
      let said = '';
      assert.equal(await main([...args, '--config', file], { out: (text) => void (said += text), err: (text) => void (said += text) }), 1, args.join(' '));
      assert.match(said, /^audit: expected a journal/, args.join(' '));
    }
  });
});

describe('a Node that is too old', () => {
  const versions: Readonly<Record<string, boolean>> = { '18.20.8': false, '20.20.2': false, '21.7.3': false, '22.15.0': false, '22.18.9': false, '22.19.0': true, '22.21.1': true, '23.11.1': false, '24.0.0': true, '24.9.0': true, '26.1.0': true };
  for (const [version, fits] of Object.entries(versions)) it(version, () => assert.equal(nodeProblem(version) === null, fits));

  it('is told so before anything else is loaded', () => {
    // A stand-in: the check reads the version when it is loaded.
    const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } });";
    const run = (code: string) => spawnSync(process.execPath, ['--input-type=module', '-e', `${pretend} await import(${JSON.stringify(new URL(code, import.meta.url).href)});`], { env: bare, encoding: 'utf8' });
    const entry = run('../../lib/start/entry.ts');
    assert.match(entry.stderr, /express-heimdall: expected Node 22\.19 or a later 22, or Node 24 or later, got 20\.20\.2/);
    const cli = run('../../lib/cli.ts');
    assert.deepEqual([cli.status, cli.stderr], [1, 'heimdall: expected Node 22.19 or a later 22, or Node 24 or later, got 20.20.2. Example: npx -p node@24 -- node app.js\n']);
  });
});

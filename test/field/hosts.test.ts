import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it, test } from 'node:test';
import { heimdall } from '../../lib/index.ts';
import { watchUpgrades } from '../../lib/request/attach.ts';
import { asLive } from '../../lib/upstream/headers.ts';
import { recorder, startGate, temporary } from '../support/gate.ts';
import { journalOf, sql } from '../support/journal.ts';
import { bare } from '../support/programs.ts';
import { startUpstream } from '../support/upstream.ts';

/** A host that asks its gate twice and ends: by itself, at once, or by an error. */
const host = `
import { createServer } from 'node:http';
import { once } from 'node:events';
import { heimdall } from ${JSON.stringify(new URL('../../lib/index.ts', import.meta.url).href)};
const [base, path, end] = process.argv.slice(1);
const gate = heimdall({ newapi: { baseUrl: base }, llm: { priceSource: 'none', healthCheck: { enabled: false } }, audit: { path }, logging: { file: false } });
const server = createServer((req, res) => gate(req, res, () => res.end('beyond')));
gate.attach(server);
server.listen(0, '127.0.0.1');
await once(server, 'listening');
for (const path of ['/api/one', '/api/two']) await (await fetch('http://127.0.0.1:' + server.address().port + path, { headers: { Connection: 'close' } })).text();
server.close();
if (end === 'exit') process.exit(0);
if (end === 'throw') throw new Error('the host fails');
`;

describe('a host that ends has its records in the journal, and nothing of the gate keeps it or speaks on its standard output', () => {
  for (const [end, code] of [['by itself', 0], ['exit', 0], ['throw', 1]] as const) {
    it(end, async (t) => {
      const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.end('{}')));
      const path = join(temporary(t), 'heimdall.db');
      const child = spawn(process.execPath, ['--input-type=module', '-e', host, upstream.url, path, end], { env: bare, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
      let [out, wrong] = ['', ''];
      child.stdout.on('data', (text: Buffer) => void (out += String(text)));
      child.stderr.on('data', (text: Buffer) => void (wrong += String(text)));
      const [status] = (await once(child, 'close')) as [number | null];
      assert.deepEqual([status, out], [code, ''], wrong);
      const db = new DatabaseSync(path, { readOnly: true });
      assert.equal(db.prepare('SELECT count(*) AS n FROM heimdall_logs').get()?.['n'], 2);
      db.close();
    });
  }
});

for (const what of ['a busy machine is still starting', 'had nothing to do for a minute']) test(`a close waits for a thread that ${what}`, async (t) => {
  const { gate } = await startGate(t, { audit: { path: join(temporary(t), 'heimdall.db') } });
  const { path } = gate.config.audit;
  const journal = journalOf(gate);
  const time = Date.UTC(2026, 0, 5);
  const append = (path: string): Promise<unknown> => journal.append([{ time, request_method: 'GET', request_path: path, real_ip: '192.0.2.1', response_status: 200, response_time: 1, source: 'elsewhere' }]);
  const paths = what.startsWith('had') ? ['/one', '/two'] : ['/one'];
  if (paths.length > 1) {
    await append('/one');
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + 60_000);
  }
  const kept = append(paths.at(-1) as string);
  // Timers of this thread fall due while the other one has had no share of a processor.
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  let isClosed = false;
  const closing = journal.close().then(() => (isClosed = true));
  while (!isClosed) {
    t.mock.timers.tick(20_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.mock.timers.reset();
  await Promise.all([closing, kept]);
  assert.deepEqual(sql(path, 'SELECT request_path FROM heimdall_logs').map((row) => row['request_path']), paths);
});

test('only a WebSocket is an upgrade, also where Node takes every one for it', async (t) => {
  const asked: string[] = [];
  const server = createServer((req, res) => void req.resume().on('end', () => res.end(asked.push(`request ${String(req.headers.upgrade)}`).toString())));
  server.on('upgrade', (req, socket) => socket.end(`HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n${asked.push(`upgrade ${String(req.headers.upgrade)}`)}`));
  watchUpgrades(server, recorder(), ({ method, headers }) => method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const rows: readonly (readonly [upgrade: string, method: string, kind: string])[] = [['h2c', 'GET', 'request'], ['h2c', 'POST', 'request'], ['TLS/1.0', 'GET', 'request'], ['websocket', 'POST', 'request'], ['foo', 'OPTIONS', 'request'], ['websocket', 'GET', 'upgrade'], ['WebSocket', 'GET', 'upgrade']];
  for (const [upgrade, method] of rows) {
    const socket = connect(port, '127.0.0.1');
    socket.end(`${method} / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: ${upgrade}\r\n${method === 'POST' ? 'Content-Length: 2\r\n\r\nhi' : '\r\n'}`);
    socket.resume().on('error', () => undefined);
    await once(socket, 'close');
  }
  assert.deepEqual(asked, rows.map(([upgrade, , kind]) => `${kind} ${upgrade}`));
});

describe('an event stream asks not to be collected', () => {
  const rows: readonly (readonly [head: string[], expected: string[]])[] = [
    [[], ['X-Accel-Buffering', 'no', 'Cache-Control', 'no-transform']],
    [['Cache-Control', 'no-cache'], ['Cache-Control', 'no-cache, no-transform', 'X-Accel-Buffering', 'no']],
    [['cache-control', 'No-Transform, private'], ['cache-control', 'No-Transform, private', 'X-Accel-Buffering', 'no']],
    [['cache-control', 'x-no-transform-y'], ['cache-control', 'x-no-transform-y, no-transform', 'X-Accel-Buffering', 'no']],
    [['x-accel-buffering', 'yes'], ['x-accel-buffering', 'yes', 'Cache-Control', 'no-transform']],
  ];
  for (const [head, expected] of rows) {
    it(JSON.stringify(head), () => {
      const live = [...head];
      asLive(live, { write: () => true } as unknown as ServerResponse);
      assert.deepEqual(live, expected);
    });
  }
});

it('leaves the caching rules of an event stream alone where no middleware stands in front', () => {
  const live = ['Cache-Control', 'no-cache'];
  asLive(live, Object.create({ write: () => true }) as ServerResponse);
  assert.deepEqual(live, ['Cache-Control', 'no-cache', 'X-Accel-Buffering', 'no']);
});

describe('a request that an adapter makes up', () => {
  const rows: Readonly<Record<string, object>> = {
    'with headers only': { method: 'GET', url: '/', headers: { host: 'a' } },
    'without a socket': { method: 'GET', url: '/', headers: { host: 'a' }, rawHeaders: ['Host', 'a'] },
    'with empty rawHeaders': { method: 'GET', url: '/', headers: { host: 'a' }, rawHeaders: [], socket: {} },
  };
  for (const [what, made] of Object.entries(rows)) {
    it(`${what} is refused with what is missing`, async (t) => {
      const gate = heimdall({ audit: { path: join(temporary(t), 'a.db') } }, { log: recorder() });
      t.after(() => gate.close({ timeout: 0 }));
      const told = await new Promise((resolve) => gate(made as IncomingMessage, {} as ServerResponse, resolve));
      assert.match(String(told), /expected a request of node:http, with rawHeaders and a socket/);
    });
  }
});

test('one of several processes is told that limits are its own', () => {
  const warnings = (more: string): string => spawnSync(process.execPath, ['--input-type=module', '-e', `
    import { heimdall } from ${JSON.stringify(new URL('../../lib/index.ts', import.meta.url).href)};
    heimdall({ ${more} }, { log: { debug() {}, info() {}, warn: ({ warning }) => console.log(warning), error() {} } });`], { env: { ...bare, NODE_APP_INSTANCE: '1' }, encoding: 'utf8' }).stdout;
  assert.match(warnings(''), /rate_limit: this process is one of several/);
});

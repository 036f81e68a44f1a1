import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import express from 'express';
import { heimdall, type ConfigInput, type Gate } from '../../lib/index.ts';
import { request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder, startGate, temporary, type RunningGate } from '../support/gate.ts';
import { bearer, chat } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

const token = (of: string): string => `the-token-of-${of}-of-more-than-32-characters`;
const wrong = bearer('a-guess-of-more-than-32-characters-in-all');

/** Reloads with a change that has nothing to do with guesses. */
const reload = async ({ config, reload: load }: Gate): Promise<unknown> => load({ ...config, server: { ...config.server, readTimeout: config.server.readTimeout + 1 } } as ConfigInput);

const status = async (url: string, init: Parameters<typeof request>[1]): Promise<number> => (await request(url, init)).status;

/** Each sends one guess. After the third, that address is blocked there. */
const guesses: readonly (readonly [place: string, guess: (gate: RunningGate) => Promise<number>])[] = [
  ['admin API', ({ url }) => status(`${url}/heimdall/api/health`, { headers: wrong })],
  ['metrics', ({ url }) => status(`${url}/metrics`, { headers: wrong })],
  ['ingestion', ({ url }) => status(`${url}/api/log`, { headers: wrong, body: {} })],
  ["the original's API", ({ url }) => status(`${url}/api/anomaly/detections`, { headers: wrong })],
  ["the caller's own page", ({ url }) => status(`${url}/heimdall/api/me`, { headers: wrong })],
  ['a route of metrics', ({ url }) => status(`${url}/numbers`, { headers: wrong })],
  ['a model route', ({ url }) => status(`${url}/v1/chat/completions`, { headers: wrong, body: chat })],
];

test('a reload forgives no guess', async (t) => {
  const gate = await startGate(t, {
    admin: { token: token('admin') }, metrics: { token: token('metrics') }, audit: { ingest: { tokens: [token('ingest')] } }, anomaly: { api: true },
    auth: { mode: 'keys', keys: [{ name: 'team', sha256: createHash('sha256').update(token('team')).digest('hex') }] },
    rateLimit: { address: { limit: 3, window: '1h' } }, routes: [{ path: '/numbers', handler: 'metrics' }],
  });
  const found = new Map<string, number[]>(guesses.map(([place]) => [place, []]));
  for (let nth = 0; nth < 5; nth++) {
    for (const [place, guess] of guesses) found.get(place)?.push(await guess(gate));
    await reload(gate.gate);
  }
  assert.deepEqual(found, new Map(guesses.map(([place]) => [place, [401, 401, 401, 429, 429]])));
});

test('a reload forgives no credential that NewAPI did not know, and no rate of a source of records', async (t) => {
  const newapi = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(401, { 'Content-Type': 'application/json' }).end('{"success":false}')));
  const clock = fakeClock();
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { auth: 'newapi' }, audit: { ingest: { tokens: [token('ingest')], maxRate: 1 } } }, { clock });
  const found: number[] = [];
  for (let nth = 0; nth < 12; nth++) {
    found.push(await status(`${gate.url}/heimdall/api/health`, { headers: { 'New-Api-User': '1', Cookie: `session=guess-${nth}` } }));
    await reload(gate.gate);
  }
  assert.deepEqual(found, [...Array.from({ length: 10 }, () => 401), 429, 429]);
  const sent: number[] = [];
  for (let nth = 0; nth < 4; nth++) {
    sent.push(await status(`${gate.url}/api/log`, { headers: bearer(token('ingest')), body: {} }));
    await reload(gate.gate);
  }
  assert.deepEqual(sent, [422, 422, 429, 429]);
});

/** An Express server of a host with gates below `/0`, `/1` … */
async function host(t: { after(run: () => unknown): void }, count: number, config: ConfigInput) {
  const gates = Array.from({ length: count }, (_, at) => heimdall({ ...config, llm: { priceSource: 'none', healthCheck: { enabled: false } }, audit: { path: join(temporary(t), `${at}.db`) }, logging: { file: false } }, { log: recorder() }));
  const app = express();
  for (const [at, gate] of gates.entries()) app.use(`/${at}`, gate);
  const server = createServer(app).listen(0, '127.0.0.1');
  for (const gate of gates) gate.attach(server);
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    for (const gate of gates) await gate.close({ timeout: 0 });
  });
  return { gates, server, port: (server.address() as AddressInfo).port };
}

test("time limits of a host's server follow the configuration, but not over what the host has set", async (t) => {
  const { gates: [gate], server } = await host(t, 1, {});
  const load = async (readTimeout: string, idleTimeout: string): Promise<readonly number[]> => {
    await (gate as Gate).reload({ ...(gate as Gate).config, server: { ...(gate as Gate).config.server, readTimeout, idleTimeout } } as ConfigInput);
    return [server.headersTimeout, server.keepAliveTimeout];
  };
  assert.deepEqual([server.headersTimeout, server.keepAliveTimeout], [30_000, 72_000]);
  assert.deepEqual(await load('7s', '9s'), [7000, 9000]);
  assert.deepEqual(await load('8s', '9s'), [8000, 9000]);
  server.keepAliveTimeout = 1234;
  assert.deepEqual(await load('30s', '72s'), [30_000, 1234]);
});

test('malformed bytes behind a long pipeline are refused behind the answers of every gate', async (t) => {
  const waiting: (() => void)[] = [];
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => waiting.push(() => res.writeHead(200, { 'Content-Length': 2 }).end('ok'))));
  const { port } = await host(t, 2, { newapi: { baseUrl: upstream.url } });
  const socket = connect(port, '127.0.0.1');
  let said = '';
  socket.on('data', (chunk: Buffer) => void (said += chunk.toString())).on('error', () => undefined);
  const count = 24;
  socket.write(`${'GET /1/api/status HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(count)}\0\0 nonsense\r\n\r\n`);
  const timer = setInterval(() => waiting.shift()?.(), 5);
  t.after(() => clearInterval(timer));
  await until(() => socket.destroyed || socket.readableEnded);
  assert.deepEqual([said.match(/HTTP\/1\.1 200/g)?.length, said.match(/HTTP\/1\.1 400/g)?.length, said.lastIndexOf('HTTP/1.1 400') > said.lastIndexOf('HTTP/1.1 200')], [count, 1, true]);
});

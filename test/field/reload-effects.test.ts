import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { internalsOf } from '../../lib/gateway.ts';
import type { Journal, SqlRow } from '../../types/journal.d.ts';
import { request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';
import { shared } from '../support/shared.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';

const admin = 'an-admin-token-of-32-characters-x';
const ingest = 'an-ingest-token-of-32-characters-x';

/** What every change is tried with. */
interface Scene {
  readonly gate: RunningGate;
  readonly directory: string;
  /** What receivers of sinks and alerts have got, by path. */
  readonly received: string[];
}

/** Sends a chat. @returns what the journal keeps of it. */
async function recorded({ gate }: Scene): Promise<SqlRow> {
  const journal = internalsOf(gate.gate).journal;
  await request(`${gate.url}/v1/chat/completions?page=7`, { headers: { ...bearer(DEMO_KEY), 'X-Odd': 'odd' }, body: chat });
  let row: SqlRow | undefined;
  const seen = rows.size;
  await until(async () => {
    await journal.flush();
    [row] = await journal.query('SELECT * FROM heimdall_logs ORDER BY id DESC LIMIT 1');
    return row !== undefined && !rows.has(String(row['request_id']));
  });
  rows.add(String(row?.['request_id']));
  assert.equal(rows.size, seen + 1);
  return row as SqlRow;
}
const rows = new Set<string>();

const field = (name: string, test: (value: unknown) => unknown) => async (scene: Scene): Promise<unknown> => test((await recorded(scene))[name]);
/** Whether a receiver gets what is recorded from now on. A sink that is off has none, whatever it was just delivering. */
const reaches = (path: string) => async (scene: Scene): Promise<boolean> => {
  const before = scene.received.length;
  await recorded(scene);
  const health = await request(`${scene.gate.url}/heimdall/api/health`, { headers: bearer(admin) });
  if (health.json<{ sinks: object[] }>().sinks.length === 0) return false;
  return until(() => scene.received.slice(before).some((each) => each.startsWith(path)));
};

const status = (path: string, init: Parameters<typeof request>[1]) => async ({ gate }: Scene): Promise<number> => (await request(`${gate.url}${path}`, init)).status;
const lines = (name: string) => async (scene: Scene): Promise<unknown> => {
  await recorded(scene);
  const path = join(scene.directory, name);
  if (scene.gate.gate.config.logging.file === path) await until(() => existsSync(path));
  if (!existsSync(path)) return null;
  const text = readFileSync(path, 'utf8');
  rmSync(path);
  return text.startsWith('{') ? 'json' : 'combined';
};

/** Each change, what shows its effect, and what that shows before and after. */
const effects: readonly (readonly [key: string, change: (scene: Scene & { readonly receiver: string; readonly syslog: string }) => ConfigInput, probe: (scene: Scene) => Promise<unknown>, before: unknown, after: unknown])[] = [
  ['audit.capture.headers', () => ({ audit: { capture: { headers: 'all' } } }), field('request_headers', (value) => String(value).includes('x-odd')), false, true],
  ['audit.capture.headers', () => ({ audit: { capture: { headers: 'off' } } }), field('request_headers', (value) => value === null || value === '{}'), false, true],
  ['audit.capture.body', () => ({ audit: { capture: { body: 0 } } }), field('request_body', (value) => value !== null), true, false],
  ['audit.capture.response', () => ({ audit: { capture: { response: '1KB' } } }), field('response_body', (value) => value !== null), false, true],
  ['audit.fingerprint', () => ({ audit: { fingerprint: 'off' } }), field('content_fingerprint', (value) => value !== null), true, false],
  ['logging.query_allow', () => ({ logging: { queryAllow: ['page'] } }), field('query', (value) => String(value).includes('7')), false, true],
  ['logging.file', ({ directory }) => ({ logging: { file: join(directory, 'a.log') } }), lines('a.log'), null, 'json'],
  ['logging.format', ({ directory }) => ({ logging: { file: join(directory, 'a.log'), format: 'combined' } }), lines('a.log'), null, 'combined'],
  ['logging.max_size', ({ directory }) => ({ logging: { file: join(directory, 'b.log'), maxSize: '1KB' } }), async (scene) => {
    for (let n = 0; n < 4; n++) await recorded(scene);
    const rotated = join(scene.directory, 'b.1.log');
    if (scene.gate.gate.config.logging.maxSize === 1024) await until(() => existsSync(rotated));
    const isRotated = existsSync(rotated);
    rmSync(rotated, { force: true });
    return isRotated;
  }, false, true],
  ['logging.max_files', ({ directory }) => ({ logging: { file: join(directory, 'c.log'), maxSize: '1KB', maxFiles: 1 } }), async (scene) => {
    const { file, maxFiles } = scene.gate.gate.config.logging;
    if (file !== join(scene.directory, 'c.log')) return null;
    const [first, second] = [1, 2].map((nth) => join(scene.directory, `c.${nth}.log`)) as [string, string];
    for (let n = 0; n < 9; n++) await recorded(scene);
    await until(() => existsSync(first));
    return existsSync(second) === maxFiles > 1;
  }, null, true],
  ['audit.capture.text', () => ({ audit: { capture: { text: 0 } } }), async ({ gate }) => {
    const { journal } = internalsOf(gate.gate);
    // As an earlier turn: the newest one is kept with the body.
    const long = `${randomUUID()} `.repeat(400);
    const digests = async (): Promise<readonly SqlRow[]> => journal.query('SELECT id, content IS NULL AS bare FROM heimdall_texts ORDER BY id DESC LIMIT 1');
    const [before] = await digests();
    await request(`${gate.url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, messages: [{ role: 'system', content: long }, { role: 'user', content: 'hi' }] } });
    let row = before;
    await until(async () => {
      await journal.flush();
      [row] = await digests();
      return row?.['id'] !== before?.['id'];
    });
    return row?.['bare'] === 0;
  }, true, false],
  ['anomaly.rules', () => ({ anomaly: { rules: { honeyKey: { action: 'none' } } } }), async ({ gate }) => {
    const name = `trap-${randomUUID()}`;
    const { key } = (await request(`${gate.url}/heimdall/api/keys`, { headers: bearer(admin), body: { name, honey: true } })).json<{ key: string }>();
    assert.equal((await request(`${gate.url}/v1/models`, { headers: bearer(key) })).status, 401);
    const isFound = async (): Promise<boolean> => (await request(`${gate.url}/heimdall/api/findings?rule=honey_key`, { headers: bearer(admin) })).text.includes(name);
    return gate.gate.config.anomaly.rules.honeyKey.action === 'none' ? isFound() : until(isFound);
  }, true, false],
  ['admin.read_from', () => ({ admin: { readFrom: 'postgres' }, audit: { postgres: { url: 'postgres://127.0.0.1:1/none' } } }), async ({ gate }) => (await request(`${gate.url}/heimdall/api/logs`, { headers: bearer(admin) })).status, 200, 503],
  ['audit.ingest.tokens', () => ({ audit: { ingest: { tokens: [ingest] } } }), status('/api/log', { headers: bearer(ingest), body: {} }), 401, 422],
  ['anomaly.api', () => ({ anomaly: { api: true } }), async ({ gate }) => (await request(`${gate.url}/api/anomaly/detections`, { headers: bearer(admin) })).status === 200, false, true],
  ['anomaly.mode', () => ({ anomaly: { mode: 'off' } }), async (scene) => {
    await recorded(scene);
    const { journal, core } = internalsOf(scene.gate.gate);
    const asks = async (): Promise<boolean> => (await (journal as unknown as { askObserver(question: unknown): Promise<unknown> }).askObserver({ addresses: [] })) !== null;
    const isWatched = core.config.anomaly.mode !== 'off';
    await until(async () => (await asks()) === isWatched);
    return isWatched;
  }, true, false],
  ['audit.newapi', ({ receiver }) => ({ audit: { newapi: { enabled: true, url: `${receiver}/newapi`, maxRate: '1000/s' } } }), reaches('/newapi'), false, true],
  ['audit.otlp', ({ receiver }) => ({ audit: { otlp: { endpoint: `${receiver}/otlp` } } }), reaches('/otlp'), false, true],
  ['audit.syslog', ({ syslog }) => ({ audit: { syslog: { url: syslog } } }), reaches('/syslog'), false, true],
  ['audit.alerts', ({ receiver }) => ({ audit: { alerts: { webhook: `${receiver}/alert` } } }), async ({ gate, received }) => {
    const before = received.length;
    await assert.rejects(gate.gate.reload({ ...gate.gate.config, queue: { maxWait: 'soon' } } as ConfigInput));
    const isThere = (): boolean => received.slice(before).includes('/alert');
    return gate.gate.config.audit.alerts.webhook === null ? isThere() : until(isThere);
  }, false, true],
  ['newapi.access_token', () => ({ newapi: { accessToken: 'x'.repeat(32), userId: 1 } }), async ({ gate }) => gate.gate.config.newapi.accessToken !== null, false, true],
];

const upstream = shared(async (scope) => {
  const api = await startNewapi();
  scope.after(() => api.close());
  return api;
});

test('keys of logging, audit and anomaly take effect while the gate runs, and no longer when they are taken back', async (t) => {
  const api = await upstream();
  const received: string[] = [];
  const receiver = await startUpstream(t, (req, res) => void req.resume().on('end', () => {
    received.push(String(req.url));
    res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"success":true}');
  }));
  const syslog = createServer((socket) => void socket.on('data', () => received.push('/syslog')).on('error', () => undefined)).listen(0, '127.0.0.1');
  t.after(() => void syslog.close());
  await once(syslog, 'listening');
  const directory = temporary(t);
  const gate = await startGate(t, { secret: 'an-install-secret-of-these-tests', newapi: { baseUrl: api.url }, admin: { token: admin } });
  const base = gate.gate.config;
  const scene = { gate, directory, received, receiver: receiver.url, syslog: `tcp://127.0.0.1:${(syslog.address() as AddressInfo).port}` };
  for (const [key, change, probe, before, after] of effects) {
    const sections = Object.entries(change(scene)) as [keyof typeof base, object][];
    const merged = (one: object, other: object): object => Object.fromEntries(Object.entries({ ...one, ...other }).map(([name, value]) => [name, name in other && typeof value === 'object' && value !== null && !Array.isArray(value) ? merged(((one as Record<string, unknown>)[name] ?? {}) as object, value as object) : value]));
    assert.deepEqual(await probe(scene), before, `${key}, before`);
    const { changed, restart } = await gate.gate.reload({ ...base, ...Object.fromEntries(sections.map(([section, keys]) => [section, merged(base[section] as object, keys)])) } as ConfigInput);
    assert.deepEqual([restart, changed.some((each) => each.startsWith(key))], [[], true], `${key}: ${changed.join()}`);
    assert.deepEqual(await probe(scene), after, `${key}, after`);
    await gate.gate.reload(base);
    assert.deepEqual(await probe(scene), before, `${key}, taken back`);
  }
});

test('the bounds of the journal are those in force', async (t) => {
  const api = await upstream();
  const clock = fakeClock(Date.now());
  const gate = await startGate(t, { newapi: { baseUrl: api.url }, admin: { token: admin }, audit: { capture: { body: '64KB' } } }, { clock });
  const { journal } = internalsOf(gate.gate) as unknown as { journal: Journal & { retain(): Promise<void> } };
  const kept = async (what: string): Promise<number> => Number((await journal.query(`SELECT count(${what}) AS n FROM heimdall_logs`))[0]?.['n']);
  const ask = async (times: number): Promise<void> => {
    for (let n = 0; n < times; n++) await request(`${gate.url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, messages: [{ role: 'user', content: `${n} ${'many words '.repeat(4000)}` }] } });
    await journal.flush();
  };
  const bound = async (audit: object): Promise<void> => {
    await gate.gate.reload({ ...gate.gate.config, audit: { ...gate.gate.config.audit, ...audit } } as ConfigInput);
    await journal.retain();
  };
  await ask(60);
  await bound({});
  assert.equal(await kept('request_body'), 60);
  await bound({ maxSize: '1MB' });
  await ask(1);
  await journal.retain();
  assert.ok((await kept('*')) < 40, 'audit.max_size');
  clock.tick(2 * 86_400_000);
  await bound({ retention: { records: '30d', bodies: '1d' } });
  assert.equal(await kept('request_body'), 0, 'audit.retention.bodies');
  assert.ok((await kept('*')) > 0);
  await bound({ retention: { records: '1d', bodies: '1d' } });
  assert.equal(await kept('*'), 0, 'audit.retention.records');
});

test('files of secrets are read again at SIGHUP and watched, though their paths stay', async () => {
  const api = await upstream();
  const other = 'another-admin-token-of-32-chars-x';
  const gate = await startStandalone(api.url, 'admin: { token_file: admin }\nmetrics: { token: "${SCRAPER}" }\nserver: { watch: true }\nlogging: { file: false, level: error }\n', {
    env: (dir) => {
      writeFileSync(join(dir, 'admin'), `${admin}\n`);
      writeFileSync(join(dir, 'scraper'), admin);
      return { SCRAPER_FILE: join(dir, 'scraper') };
    },
  });
  const at = (name: string): string => join(gate.path, '..', name);
  const answers = async (path: string, token: string): Promise<boolean> => (await request(`${gate.url}${path}`, { headers: bearer(token) })).status === 200;
  try {
    assert.deepEqual([await answers('/heimdall/api/health', admin), await answers('/metrics', admin)], [true, true]);
    writeFileSync(at('admin'), other);
    await until(() => answers('/heimdall/api/health', other));
    assert.equal(await answers('/heimdall/api/health', admin), false);
    writeFileSync(gate.path, readFileSync(gate.path, 'utf8').replace('watch: true', 'watch: false').replace('level: error', 'level: info'));
    await until(() => /config\.reloaded/.test(gate.output()));
    writeFileSync(gate.path, `${readFileSync(gate.path, 'utf8').replace('level: info', 'level: info, console: false')}# quiet\n`);
    const shown = (): number => gate.output().split('"/api/shown').length;
    await request(`${gate.url}/api/shown`);
    await until(() => shown() > 1);
    writeFileSync(at('scraper'), other);
    process.kill(gate.pid, 'SIGHUP');
    await until(() => answers('/metrics', other));
    await request(`${gate.url}/api/hidden`);
  } finally {
    await gate.stop();
  }
  assert.ok(!gate.output().includes('"/api/hidden'), 'logging.console');
});

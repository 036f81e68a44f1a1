import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, test, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { bearer, behind, chat, codeOf, type Behind } from '../middlewares/behind.ts';
import { closing, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { temporary } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { accessRecords } from '../support/records.ts';
import { startStandalone } from '../support/standalone.ts';
import { handshake, refused } from '../support/websocket.ts';

const metrics = { token: 'a-token-for-metrics' };
const admin = { token: 'the-token-of-the-admin-in-32-characters-or-more' };
const scraper = { Authorization: `Bearer ${metrics.token}` };
const office = { Authorization: `Bearer ${admin.token}` };
const interval = 10_000;

interface Machine extends Behind {
  /** Has the disk of `audit.path` be one with something or with nothing on it, and lets the gate look. */
  disk(state: 'used' | 'empty'): Promise<void>;
}

/** A gate whose `audit.path` lies behind a link, so that a test says which disk it is on. */
async function machine(t: TestContext, config: ConfigInput = {}): Promise<Machine> {
  const at = temporary(t);
  const link = join(at, 'data');
  mkdirSync(join(at, 'used'));
  writeFileSync(join(at, 'used/file'), Buffer.alloc(4_194_304, 1));
  symlinkSync(join(at, 'used'), link);
  const clock = fakeClock();
  const healthCheck = { interval, threshold: 1, diskThreshold: 0.000_01, checks: { disk: 'system' } };
  const gate = await behind(t, { secret: 'an-install-secret-for-tests', metrics, admin, ...config, server: { healthCheck, ...config.server }, audit: { path: join(link, 'heimdall.db') } }, undefined, { clock });
  const seen = async (): Promise<string> => {
    const { text } = await gate.ask('/metrics', { headers: scraper });
    return /resource_short\{resource="disk"\} (\d)/.exec(text)?.[1] ?? '';
  };
  return {
    ...gate,
    async disk(state) {
      symlinkSync(state === 'used' ? join(at, 'used') : '/proc', join(at, 'next'));
      renameSync(join(at, 'next'), link);
      clock.tick(interval);
      await until(async () => (await seen()) === (state === 'used' ? '1' : '0'));
    },
  };
}

const ask = (gate: Behind, path: string, headers: Record<string, string> = bearer) => gate.ask(path, { headers, ...(path.startsWith('/v1/') && path !== '/v1/models' && { body: chat }) });

describe('a gate that is short of something', () => {
  it('refuses new work with when to come back, each in its route\'s shape, and asks no upstream', async (t) => {
    const gate = await machine(t);
    assert.equal((await ask(gate, '/v1/chat/completions')).status, 200);
    await gate.disk('used');
    const before = gate.seen.length;
    for (const path of ['/v1/chat/completions', '/v1/embeddings', '/v1/models', '/v1/audio/speech', '/v1/videos']) {
      const answer = await ask(gate, path);
      assert.deepEqual([answer.status, codeOf(answer), answer.headers['retry-after'], answer.headers['x-should-retry']], [503, 'overloaded', '20', undefined], path);
    }
    const claude = await ask(gate, '/v1/messages');
    assert.deepEqual([claude.status, claude.json<{ type: string }>().type, claude.headers['retry-after']], [503, 'error', '20']);
    const task = await gate.ask('/suno/submit/music', { headers: bearer, body: {} });
    assert.deepEqual([task.status, task.headers['retry-after']], [503, '20']);
    const socket = await refused(gate.port, handshake('/v1/realtime', `Authorization: ${bearer.Authorization}`));
    assert.deepEqual([socket.status, socket.ended, /"code":"(\w+)"/.exec(socket.text)?.[1]], [503, true, 'overloaded']);
    assert.equal(gate.seen.length, before);
    const { text } = await gate.ask('/metrics', { headers: scraper });
    assert.match(text, /^heimdall_guard_refused_total\{reason="resources"\} 8$/m);
    assert.match(text, /^heimdall_error_total\{type="overloaded"\} 8$/m);
  });

  it('goes on with everything else: pages, dashboard, webhooks, tasks that run, metrics, admin', async (t) => {
    const gate = await machine(t);
    await ask(gate, '/');
    await gate.disk('used');
    for (const path of ['/', '/api/status', '/api/user/self', '/api/stripe/webhook', '/pg/models', '/mj/task/1/fetch', '/suno/fetch/1', '/health', '/health/live']) assert.equal((await gate.ask(path, { headers: bearer })).status, 200, path);
    const preflight = await gate.ask('/v1/chat/completions', { method: 'OPTIONS', headers: { Origin: 'https://chat.example.com', 'Access-Control-Request-Method': 'POST' } });
    assert.equal(preflight.status, 200);
    assert.deepEqual((await gate.ask('/health')).json<object>(), { status: 'healthy', service: 'Heimdall Security Gateway', timestamp: Math.floor(Date.UTC(2026, 0, 5) / 1000) + interval / 1000 });
    const health = await gate.ask('/heimdall/api/health', { headers: office });
    const { status, resources } = health.json<{ status: string; resources: { resource: string; short: boolean; value: number }[] }>();
    assert.deepEqual([status, resources.map(({ resource, short }) => [resource, short])], ['degraded', [['disk', true]]]);
    assert.ok((resources[0]?.value ?? 0) > 0);
  });

  it('leaves the balancer and says so once, and serves again when there is enough', async (t) => {
    const gate = await machine(t);
    await gate.gate.ready;
    assert.equal((await gate.ask('/health/ready')).status, 200);
    await gate.disk('used');
    await gate.disk('used');
    assert.equal((await gate.ask('/health/ready')).status, 503);
    assert.equal((await ask(gate, '/v1/chat/completions')).status, 503);
    await gate.disk('empty');
    assert.deepEqual([(await gate.ask('/health/ready')).status, (await ask(gate, '/v1/chat/completions')).status], [200, 200]);
    await gate.disk('used');
    assert.equal((await ask(gate, '/v1/chat/completions')).status, 503);
    assert.deepEqual([gate.log.named('resources.short').length, gate.log.named('resources.recovered').length], [2, 1]);
  });

  it('is noted and lets pass by a gate that observes', async (t) => {
    const records = accessRecords(t);
    const gate = await machine(t, { mode: 'observe', logging: records.logging });
    await ask(gate, '/');
    await gate.disk('used');
    assert.deepEqual([(await ask(gate, '/v1/chat/completions')).status, (await gate.ask('/health/ready')).status], [200, 200]);
    await gate.gate.close({ timeout: 0 });
    const noted = records.all().filter(({ route }) => route === '/v1/chat/completions') as unknown as { would_refuse: string[] }[];
    assert.deepEqual(noted.map(({ would_refuse: rules }) => rules), [['resources']]);
  });
});

const noMount = process.getuid?.() === 0 ? false : 'only root can mount a disk';

test('the seed\'s configuration sheds at a full disk and recovers, without a restart', { skip: noMount }, async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'heimdall-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk], { encoding: 'utf8' });
  if (mounted.status !== 0) return t.skip(`no disk can be mounted here: ${mounted.stderr}`);
  const newapi = closing(t, await startNewapi());
  const started = startStandalone(newapi.url, `
server:
  health_check:
    enabled: true
    interval: 100ms
    timeout: 5s
    threshold: 2
    checks: { disk: system }
health_check:
  memory_threshold: "99%"
  cpu_threshold: "99%"
  disk_threshold: "75%"
  latency_threshold: "20s"
audit: { path: "${disk}/heimdall.db" }
metrics: { token: ${metrics.token} }
`);
  t.after(async () => {
    await started.then((running) => running.kill(), () => undefined);
    spawnSync('umount', [disk]);
    rmdirSync(disk);
  });
  const gate = await started;
  const ask = async (): Promise<number> => (await request(`${gate.url}/v1/chat/completions`, { headers: { Authorization: `Bearer ${DEMO_KEY}` }, body: chat })).status;
  assert.equal(await ask(), 200, gate.output());
  writeFileSync(join(disk, 'filler'), Buffer.alloc(6_500_000, 1));
  await until(async () => (await ask()) === 503, 'new work to be refused');
  assert.equal((await request(`${gate.url}/health`)).status, 200);
  const { text } = await request(`${gate.url}/metrics`, { headers: scraper });
  assert.match(text, /^heimdall_resource_short\{resource="disk"\} 1$/m);
  assert.ok(Number(/^heimdall_resource_usage_ratio\{resource="disk"\} (\S+)$/m.exec(text)?.[1]) > 0.75);
  assert.match(gate.output(), /resources\.short/);
  rmSync(join(disk, 'filler'));
  await until(async () => (await ask()) === 200, 'new work to be let in');
  await until(() => gate.output().includes('resources.recovered'));
});

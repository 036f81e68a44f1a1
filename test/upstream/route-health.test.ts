import assert from 'node:assert/strict';
import dns from 'node:dns';
import { describe, it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import type { RouteHealth } from '../../lib/upstream/route-health.ts';
import { routeHealth } from '../../lib/upstream/route-health.ts';
import { routeTable } from '../../lib/upstream/routes.ts';
import { targetsOf } from '../../lib/upstream/targets.ts';
import type { ConfigInput, RouteConfig } from '../../types/config.d.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, type Recorder } from '../support/gate.ts';
import { nowhere, startUpstream } from '../support/upstream.ts';

interface Checking {
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly health: RouteHealth;
  readonly row: RouteConfig;
  /** Lets the interval pass and waits for what the check found. */
  look(): Promise<string>;
}

function checking(t: TestContext, config: ConfigInput): Checking {
  const clock = fakeClock();
  const log = recorder();
  const core = { clock, log, config: resolveConfig(config) } as unknown as Core;
  const targets = targetsOf(core);
  const health = routeHealth(core, routeTable(core.config.routes).rows, targets);
  t.after(async () => {
    await health.close();
    await Promise.all(targets.map(({ pool }) => pool.destroy()));
  });
  const look = async (): Promise<string> => {
    if (clock.pending === 0) health.start();
    else clock.tick(30_000);
    await until(() => clock.pending === 1);
    return health.shown().map(({ status }) => status).join();
  };
  return { clock, log, health, row: core.config.routes[0] as RouteConfig, look };
}

/** An upstream that answers as it is told and notes what it was asked. */
async function answering(t: TestContext): Promise<{ url: string; seen: string[]; set(status: number): void }> {
  let status = 200;
  const seen: string[] = [];
  const { url } = await startUpstream(t, (req, res) => {
    seen.push(`${req.method} ${req.url} ${req.headers.authorization ?? ''}`.trim());
    res.writeHead(status).end('{}');
  });
  return { url, seen, set: (next) => void (status = next) };
}

describe('the checks of a route', () => {
  it('start when told to, ask what is free, and as often as configured', async (t) => {
    const { url, seen } = await answering(t);
    const { health, clock, look, row } = checking(t, { newapi: { baseUrl: url }, routes: [{ path: '/v1/completions', healthCheck: {} }] });
    assert.deepEqual([seen.length, health.retryAfter(row), clock.pending], [0, null, 0]);
    await look();
    health.start();
    clock.tick(29_999);
    assert.deepEqual(seen, ['GET /api/status']);
    clock.tick(1);
    await until(() => seen.length === 2 && clock.pending === 1);
    assert.deepEqual(health.shown(), [{ path: '/v1/completions', status: 'healthy', checks: { api: true } }]);
  });

  it('say nothing of a route when this machine could not ask', async (t) => {
    t.mock.method(dns, 'lookup', ((_name: string, _options: object, done: (error: Error) => void) => void done(Object.assign(new Error('EMFILE'), { code: 'EMFILE' }))) as never);
    const { look, log } = checking(t, { newapi: { baseUrl: 'http://newapi.test:3000' }, routes: [{ path: '/ask', handler: 'chat', healthCheck: {} }] });
    for (let n = 0; n < 4; n++) assert.equal(await look(), 'healthy');
    assert.deepEqual(log.named('route.unhealthy'), []);
  });

  it('close it after so many failures in a row and open it with the first success', async (t) => {
    const { url, set } = await answering(t);
    const { health, look, log, row, clock } = checking(t, { newapi: { baseUrl: url }, routes: [{ path: '/ask', handler: 'chat', healthCheck: { checks: { reach: 'http' } } }] });
    const found: string[] = [];
    for (const status of [503, 502, 200, 500, 500, 500, 500, 401, 500]) {
      set(status);
      found.push(await look());
    }
    assert.deepEqual(found, ['healthy', 'healthy', 'healthy', 'healthy', 'healthy', 'unhealthy', 'unhealthy', 'healthy', 'healthy']);
    assert.deepEqual([log.named('route.unhealthy'), log.named('route.healthy')], [[{ route: '/ask', failed: ['reach'] }], [{ route: '/ask', failed: [] }]]);
    assert.equal(health.retryAfter(row), null);
    for (let n = 0; n < 2; n++) {
      set(500);
      await look();
    }
    assert.equal(health.retryAfter(row), 30);
    clock.tick(12_001);
    assert.equal(health.retryAfter(row), 18);
    assert.deepEqual(health.shown()[0]?.checks, { reach: false });
  });

  it('call what answers too late slow, and leave it open', async (t) => {
    const { url } = await startUpstream(t, (_req, res) => setTimeout(() => res.end('{}'), 30));
    const { health, look, log, row } = checking(t, { newapi: { baseUrl: url }, routes: [{ path: '/v1/completions', healthCheck: { threshold: 1, latencyThreshold: 1, checks: { api: 'http', latency: 'threshold' } } }] });
    assert.equal(await look(), 'degraded');
    assert.deepEqual([health.retryAfter(row), health.shown()[0]?.checks], [null, { api: true, latency: false }]);
    assert.deepEqual(log.named('route.degraded'), [{ route: '/v1/completions', failed: ['latency'] }]);
  });

  it('take a deadline for a failure', async (t) => {
    const { url } = await startUpstream(t, () => undefined);
    const { look } = checking(t, { newapi: { baseUrl: url }, routes: [{ path: '/v1/completions', healthCheck: { timeout: 20, threshold: 1 } }] });
    assert.equal(await look(), 'unhealthy');
  });

  it('are passed while anything that can serve the route answers, with our key where it is ours', async (t) => {
    const { url, seen } = await answering(t);
    const dead = await nowhere();
    const backupProviders = [{ provider: 'anthropic', endpoint: `${url}/a/v1`, apiKey: 'ka' }, { provider: 'openai', endpoint: `${url}/o/v1`, apiKey: 'ko' }];
    const { health } = checking(t, {
      newapi: { baseUrl: dead },
      llm: { backupProviders },
      routes: [{ path: '/v1/completions', healthCheck: { threshold: 1 } }, { path: '/v1/messages', healthCheck: { threshold: 1 } }, { path: '/v1/rerank', healthCheck: { threshold: 1 } }, { path: '/v1/chat/completions' }],
    });
    health.start();
    await until(() => health.shown()[2]?.status === 'unhealthy');
    assert.deepEqual(health.shown().map(({ path, status }) => `${path} ${status}`), ['/v1/completions healthy', '/v1/messages healthy', '/v1/rerank unhealthy']);
    await until(() => seen.length === 2);
    assert.deepEqual(seen.toSorted(), ['GET /a/v1/models Bearer ka', 'GET /o/v1/models Bearer ko']);
  });

  it('ask NewAPI where no target answers the route, even if none of them is NewAPI', async (t) => {
    const { url, seen } = await answering(t);
    const dead = await nowhere();
    const { look } = checking(t, { newapi: { baseUrl: `${url}/below` }, llm: { provider: 'openai', endpoint: dead, apiKey: 'k' }, routes: [{ path: '/mj/submit/imagine', healthCheck: { threshold: 1 } }] });
    assert.equal(await look(), 'healthy');
    assert.deepEqual(seen, ['GET /below/api/status']);
  });

  it('are none where they are switched off, and end with the gate', async (t) => {
    const { url, seen } = await answering(t);
    const { health, clock } = checking(t, { newapi: { baseUrl: url }, routes: [{ path: '/a', healthCheck: { enabled: false } }, { path: '/b', healthCheck: {} }] });
    assert.deepEqual(health.shown().map(({ path }) => path), ['/b']);
    health.start();
    await until(() => seen.length === 1 && clock.pending === 1);
    await health.close();
    assert.equal(clock.pending, 0);
  });
});

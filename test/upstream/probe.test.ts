import assert from 'node:assert/strict';
import dns from 'node:dns';
import { describe, it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import { prober, type Prober } from '../../lib/upstream/probe.ts';
import { targetsOf, type Target } from '../../lib/upstream/targets.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, type Recorder } from '../support/gate.ts';
import { nowhere, startUpstream } from '../support/upstream.ts';

interface Probing {
  readonly core: Core;
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly targets: readonly Target[];
  readonly asked: Prober;
}

function probing(t: TestContext, config: ConfigInput): Probing {
  const clock = fakeClock();
  const log = recorder();
  const core = { clock, log, config: resolveConfig(config) } as unknown as Core;
  const targets = targetsOf(core);
  const asked = prober(core, targets);
  t.after(async () => {
    asked.close();
    await Promise.all(targets.map(({ pool }) => pool.destroy()));
  });
  return { core, clock, log, targets, asked };
}

const newapi = (t: TestContext, baseUrl: string): Probing => probing(t, { newapi: { baseUrl } });

describe('the prober', () => {
  it('asks NewAPI for its status, without a credential, every interval, and nobody before it is started', async (t) => {
    const seen: string[] = [];
    const { url } = await startUpstream(t, (req, res) => {
      seen.push(`${req.method} ${req.url} ${req.headers.authorization ?? ''}`);
      res.end('{}');
    });
    const { asked, clock } = newapi(t, url);
    assert.deepEqual(seen, []);
    asked.start();
    asked.start();
    assert.equal(await asked.ready(), true);
    assert.deepEqual(seen, ['GET /api/status ']);
    await until(() => clock.pending === 1);
    clock.tick(14_999);
    assert.equal(seen.length, 1);
    clock.tick(1);
    await until(() => seen.length === 2);
  });

  it('takes one miss for chance where an earlier configuration has probed the target', async (t) => {
    let status = 200;
    const { url } = await startUpstream(t, (_req, res) => void res.writeHead(status).end());
    const { core, targets, asked } = newapi(t, url);
    assert.equal(await asked.ready(), true);
    asked.close();
    status = 503;
    const next = prober(core, targets);
    t.after(() => next.close());
    assert.deepEqual([await next.ready(), targets[0]?.lastProbe?.alive], [true, false]);
  });

  it('asks a provider for its models, with our key', async (t) => {
    const seen: string[] = [];
    const { url } = await startUpstream(t, (req, res) => {
      seen.push(`${req.method} ${req.url} ${req.headers.authorization ?? ''}`);
      res.end('{}');
    });
    const { asked } = probing(t, { llm: { provider: 'openai', endpoint: `${url}/v1`, apiKey: 'our-key' } });
    assert.equal(await asked.ready(), true);
    assert.deepEqual(seen, ['GET /v1/models Bearer our-key']);
  });

  it('takes any answer below 500 for a sign of life', async (t) => {
    let status = 200;
    const { url } = await startUpstream(t, (_req, res) => void res.writeHead(status).end('x'.repeat(100_000)));
    for (const [answered, alive] of [[200, true], [404, true], [429, true], [302, true], [500, false], [502, false], [503, false]] as const) {
      status = answered;
      const { asked, clock, targets: [target] } = newapi(t, url);
      assert.equal(target?.lastProbe, null);
      assert.equal(await asked.ready(), alive, `${answered}`);
      assert.deepEqual(target?.lastProbe, { time: clock.now(), alive, status: answered, duration: 0 });
    }
  });

  it('finds nobody where nothing listens, what listens resets, or no HTTP is spoken, and never throws', async (t) => {
    const resetting = await startUpstream(t, (req) => void req.socket.destroy());
    const babbling = await startUpstream(t, (req) => void req.socket.end('SSH-2.0-OpenSSH\r\n'));
    for (const url of [await nowhere(), resetting.url, babbling.url]) {
      const { asked, targets: [target] } = newapi(t, url);
      assert.equal(await asked.ready(), false, url);
      assert.deepEqual([target?.lastProbe?.alive, target?.lastProbe?.status], [false, null]);
    }
  });

  it('blames no target for what this machine lacks', async (t) => {
    t.mock.method(dns, 'lookup', ((_name: string, _options: object, done: (error: Error) => void) => void done(Object.assign(new Error('EMFILE'), { code: 'EMFILE' }))) as never);
    const { asked, targets: [target] } = newapi(t, 'http://newapi.test:3000');
    assert.equal(await asked.ready(), true);
    assert.deepEqual([target?.lastProbe, target?.state.isDown], [null, false]);
  });

  it('believes one miss at first, and later only as many in a row as configured', async (t) => {
    let status = 200;
    let seen = 0;
    const { url } = await startUpstream(t, (_req, res) => {
      seen++;
      res.writeHead(status).end();
    });
    const { asked, clock, targets: [target], log } = newapi(t, url);
    assert.equal(await asked.ready(), true);
    for (const [answer, down] of [[500, false], [200, false], [500, false], [500, true], [200, false]] as const) {
      status = answer;
      const before = seen;
      await until(() => clock.pending === 1);
      clock.tick(15_000);
      await until(() => seen > before && clock.pending === 1);
      assert.equal(target?.state.isDown, down, `${answer} after ${before}`);
    }
    assert.deepEqual([log.named('target.open').length, log.named('target.up').length], [1, 1]);
  });

  it('looks again at a target that was down when readiness is asked for, at most every five seconds', async (t) => {
    let status = 500;
    let seen = 0;
    const { url } = await startUpstream(t, (_req, res) => {
      seen++;
      res.writeHead(status).end();
    });
    const { asked, clock } = newapi(t, url);
    assert.equal(await asked.ready(), false);
    status = 200;
    clock.tick(4999);
    assert.deepEqual([await asked.ready(), seen], [false, 1]);
    clock.tick(1);
    assert.deepEqual([await asked.ready(), seen], [true, 2]);
  });
});

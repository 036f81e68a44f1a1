import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/context.ts';
import { probe } from '../../lib/upstream/probe.ts';
import { fakeClock } from '../support/clock.ts';
import { nowhere, startUpstream } from '../support/upstream.ts';

const coreOf = (baseUrl: string, clock = fakeClock()): Core => ({ clock, config: resolveConfig({ newapi: { baseUrl } }, {}) }) as unknown as Core;

describe('the probe', () => {
  it('asks for the status, without a credential, at most once in five seconds', async (t) => {
    const seen: string[] = [];
    const { url } = await startUpstream(t, (req, res) => {
      seen.push(`${req.method} ${req.url} ${req.headers.authorization ?? ''}`);
      res.end('{}');
    });
    const clock = fakeClock();
    const asked = probe(coreOf(url, clock));
    assert.deepEqual(seen, []);
    assert.deepEqual(await Promise.all([asked.alive(), asked.alive()]), [true, true]);
    clock.tick(4999);
    assert.equal(await asked.alive(), true);
    assert.deepEqual(seen, ['GET /api/status ']);
    clock.tick(1);
    await asked.alive();
    assert.equal(seen.length, 2);
  });

  it('takes any answer below 500 for a sign of life', async (t) => {
    let status = 200;
    const { url } = await startUpstream(t, (_req, res) => void res.writeHead(status).end('x'.repeat(100_000)));
    for (const [answered, alive] of [[200, true], [404, true], [429, true], [302, true], [500, false], [502, false], [503, false]] as const) {
      status = answered;
      assert.equal(await probe(coreOf(url)).alive(), alive, `${answered}`);
    }
  });

  it('finds nobody where nothing listens, what listens resets, or no HTTP is spoken, and never throws', async (t) => {
    const resetting = await startUpstream(t, (req) => void req.socket.destroy());
    const foreign = await startUpstream(t, (req) => void req.socket.end('220 mail.test ESMTP\r\n'));
    for (const url of [await nowhere(t), resetting.url, foreign.url]) assert.equal(await probe(coreOf(url)).alive(), false, url);
  });

  it('notices that NewAPI is back', async (t) => {
    let up = false;
    const { url } = await startUpstream(t, (_req, res) => void res.writeHead(up ? 200 : 503).end());
    const clock = fakeClock();
    const asked = probe(coreOf(url, clock));
    assert.equal(await asked.alive(), false);
    up = true;
    assert.equal(await asked.alive(), false);
    clock.tick(5000);
    assert.equal(await asked.alive(), true);
  });
});

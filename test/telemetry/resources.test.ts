import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import { Resources, type Measurement } from '../../lib/telemetry/resources.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

type Health = NonNullable<NonNullable<ConfigInput['server']>['healthCheck']>;

function watched(healthCheck: Health, looks: (Partial<Measurement> | Error)[]) {
  const clock = fakeClock();
  const log = recorder();
  let closed = 0;
  const core = { config: resolveConfig({ server: { healthCheck } }), clock, log } as unknown as Core;
  const calm = { memory: 0.1, cpu: 0.1, disk: 0.1, latency: 1 };
  let taken = 0;
  const resources = new Resources(core, () => ({
    measure: async () => {
      const next = looks[taken++] ?? calm;
      if (next instanceof Error) throw next;
      return { ...calm, ...next };
    },
    close: () => closed++,
  }));
  /** Lets the next look happen and be judged. */
  const turn = async (): Promise<void> => {
    const before = taken;
    clock.tick(core.config.server.healthCheck?.interval ?? 0);
    await until(() => taken > before && clock.pending > 0);
  };
  return { resources, clock, log, turn, closed: () => closed };
}

describe('resources', () => {
  it('run short after so many bad looks in a row and recover below the threshold by a margin', async () => {
    const bad = { cpu: 0.8 };
    const near = { cpu: 0.77 };
    const { resources, log, turn } = watched({ interval: 1000, threshold: 2, cpuThreshold: 0.8 }, [bad, near, bad, bad, near, { cpu: 0.75 }]);
    resources.start();
    const seen: string[] = [];
    for (let look = 0; look < 6; look++) {
      await turn();
      seen.push(resources.short.join());
    }
    assert.deepEqual(seen, ['', '', '', 'cpu', 'cpu', '']);
    assert.deepEqual(log.events.map(({ level, event, fields }) => [level, event, fields['resource']]), [['error', 'resources.short', 'cpu'], ['info', 'resources.recovered', 'cpu']]);
    resources.close();
  });

  it('are each judged by their own threshold, and by name alone where names are given', async () => {
    const all = { memory: 0.95, cpu: 0.95, disk: 0.99, latency: 900 };
    const every = watched({ interval: 1000, threshold: 1 }, [all]);
    const some = watched({ interval: 1000, threshold: 1, checks: { memory: 'system', latency: 'http' } }, [all]);
    for (const { resources, turn } of [every, some]) {
      resources.start();
      await turn();
    }
    assert.deepEqual(every.resources.short, ['memory', 'cpu', 'disk', 'latency']);
    assert.deepEqual(some.resources.short, ['memory', 'latency']);
    assert.deepEqual(some.resources.usage(), [
      { resource: 'memory', value: 0.95, threshold: 0.9, short: true },
      { resource: 'latency', value: 900, threshold: 500, short: true },
    ]);
    assert.equal(every.resources.retryAfter, 2);
    every.resources.close();
    some.resources.close();
  });

  it('that cannot be looked at count as bad', async () => {
    const { resources, turn } = watched({ interval: 1000, threshold: 2 }, [new Error('no'), { disk: null }, {}]);
    resources.start();
    await turn();
    assert.deepEqual(resources.short, []);
    await turn();
    assert.deepEqual(resources.short, ['disk']);
    await turn();
    assert.deepEqual(resources.short, []);
    resources.close();
  });

  it('are not watched unless asked for, and no longer after closing', async () => {
    const off = watched({ enabled: false }, []);
    off.resources.start();
    assert.equal(off.clock.pending, 0);
    const on = watched({ interval: 1000 }, []);
    on.resources.start();
    on.resources.start();
    assert.equal(on.clock.pending, 1);
    on.resources.close();
    assert.deepEqual([on.clock.pending, on.closed()], [0, 1]);
    on.resources.start();
    assert.equal(on.clock.pending, 0);
  });

  it('of this machine are shares and milliseconds', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'heimdall-resources-'));
    const config = resolveConfig({ audit: { path: join(directory, 'h.db') }, server: { healthCheck: { interval: 50, threshold: 1, memoryThreshold: 1e-6, diskThreshold: 1e-6 } } });
    const clock = fakeClock();
    const resources = new Resources({ config, clock, log: recorder() } as unknown as Core);
    resources.start();
    clock.tick(50);
    await until(() => clock.pending === 1);
    const usage = Object.fromEntries(resources.usage().map(({ resource, value }) => [resource, value ?? -1]));
    for (const share of ['memory', 'cpu', 'disk']) assert.ok((usage[share] ?? -1) >= 0 && (usage[share] ?? 2) <= 1, `${share}: ${usage[share]}`);
    assert.ok((usage['latency'] ?? -1) >= 0);
    assert.deepEqual(resources.short.filter((name) => name === 'memory' || name === 'disk'), ['memory', 'disk']);
    resources.close();
    rmSync(directory, { recursive: true });
  });
});

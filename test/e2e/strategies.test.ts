import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../support/client.ts';
import { startRing, type Ring } from '../support/ring.ts';
import { servedBy } from '../support/scene.ts';

/** Who answers so many requests in a row. */
async function answers({ ask }: Ring, count: number): Promise<(string | undefined)[]> {
  const by: (string | undefined)[] = [];
  for (let n = 0; n < count; n++) by.push(servedBy(await ask()));
  return by;
}

test('failover asks the first listed as long as it answers', async (t) => {
  const ring = await startRing(t, { size: 3 });
  assert.deepEqual(new Set(await answers(ring, 10)), new Set(['t0']));
  await ring.targets[0]?.stop();
  assert.deepEqual(await answers(ring, 1), ['t1']);
});

test('weighted shares requests by weight, and leaves out nobody who can help', async (t) => {
  const ring = await startRing(t, { size: 2, llm: { strategy: 'weighted', weight: 9, backupProviders: [{ weight: 1 }] } });
  const by = await answers(ring, 200);
  const share = by.filter((name) => name === 't0').length / by.length;
  assert.ok(share > 0.78 && share < 0.98, String(share));
  await ring.targets[0]?.stop();
  assert.deepEqual(new Set(await answers(ring, 20)), new Set(['t1']));
});

test('least_busy asks who has the fewest requests in hand for its weight', async (t) => {
  const ring = await startRing(t, { size: 2, llm: { strategy: 'least_busy', backupProviders: [{ weight: 2 }] } });
  for (const target of ring.targets) await target.script({ kind: 'hang', at: 'headers' });
  const leave = new AbortController();
  const all: Promise<void>[] = [];
  for (let n = 1; n <= 6; n++) {
    all.push(assert.rejects(ring.ask({ signal: leave.signal })));
    await until(() => ring.calls().reduce((sum, calls) => sum + calls) === n);
  }
  assert.deepEqual(ring.calls(), [2, 4]);
  leave.abort();
  await Promise.all(all);
  await until(() => ring.targets.every(({ calls }) => calls.every(({ aborted }) => aborted)));
  for (const target of ring.targets) await target.script([]);
  assert.deepEqual(await answers(ring, 3), ['t0', 't0', 't0']);
});

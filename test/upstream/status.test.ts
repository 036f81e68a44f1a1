import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import { targetsOf, type Target } from '../../lib/upstream/targets.ts';
import { targetStatuses } from '../../lib/upstream/status.ts';
import type { BreakerView } from '../../types/target.d.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

const clock = fakeClock();

function targets(t: TestContext): readonly [Target, Target] {
  const config = resolveConfig({ circuitBreaker: { failureThreshold: 1, timeout: '10s' }, llm: { backupProviders: [{ provider: 'openai', endpoint: 'https://secret-path.example.com/a-secret/v1', apiKey: 'a-secret-key', weight: 3 }] } });
  const made = targetsOf({ clock, config, log: recorder() } as unknown as Core) as unknown as [Target, Target];
  t.after(() => Promise.all(made.map(({ pool }) => pool.destroy())));
  return made;
}

const breakerOf = ({ state, until, by }: BreakerView): unknown[] => [state, until, by];

it('a target is shown without its key and its path', (t) => {
  const [newapi, openai] = targetStatuses(targets(t), clock.now());
  assert.deepEqual(openai, { name: 'openai', provider: 'openai', credential: 'own', host: 'secret-path.example.com', weight: 3, inHand: 0, state: 'up', until: null, by: null, lastProbe: null, models: [] });
  assert.deepEqual([newapi?.name, newapi?.credential], ['newapi', 'caller']);
  assert.ok(!JSON.stringify(openai).includes('a-secret'));
});

it('a target is shown as the next request finds it', (t) => {
  const [target] = targets(t);
  const now = clock.now();
  const shown = (at: number): unknown[] => breakerOf(targetStatuses([target], at)[0] as BreakerView);
  const { base } = target.state;
  base.rest(now + 2000);
  assert.deepEqual([shown(now), shown(now + 2000)], [['resting', now + 2000, null], ['up', null, null]]);
  base.leave(base.enter(now + 2000), 'fail', now + 2000);
  assert.deepEqual([shown(now + 2000), shown(now + 12_000)], [['open', now + 12_000, 'traffic'], ['probing', null, null]]);
  base.leave(base.enter(now + 12_000), 'ok', now + 12_000);
  base.probe(false, 1);
  assert.deepEqual(shown(now), ['open', null, 'probes']);
});

it('a target with our own credential is shown with the models that are not up', (t) => {
  const [, target] = targets(t);
  const now = clock.now();
  for (const model of ['good', 'bad', 'x'.repeat(5000)]) {
    const breaker = target.state.breaker(model);
    breaker.leave(breaker.enter(now), model === 'good' ? 'ok' : 'fail', now);
  }
  const [view] = targetStatuses([target], now);
  assert.deepEqual([view?.state, view?.models.map(({ model, state, until }) => [model.length, state, until])], ['up', [[3, 'open', now + 10_000], [256, 'open', now + 10_000]]]);
});

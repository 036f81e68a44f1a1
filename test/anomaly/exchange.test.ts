import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Exchange } from '../../lib/anomaly/exchange.ts';
import { signalColumns, signalOf } from '../../lib/anomaly/signals.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Redis } from '../../lib/platform/platform.ts';
import type { Core } from '../../lib/request/context.ts';
import type { Signal } from '../../types/detector.d.ts';
import { until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

const row: Readonly<Record<string, string | number>> = { request_id: '01999f3e-0000-7000-8000-000000000000', timestamp: 1_760_000_000, response_status: 200, response_time: 12, outcome: 'served', client: 'curl/8', user_agent: 'curl/8', key_id: 'team', request_path: '/v1/chat/completions', real_ip: '192.0.2.7' };
const signal = signalOf(signalColumns.map((name) => row[name] ?? null));

test('messages of no instance are left out and counted, and those around them are heard', async (t) => {
  const good = (path: string): string => JSON.stringify(['another', 1, { ...signal, path }]);
  const with_ = (change: object): string => JSON.stringify(['another', 2, { ...signal, ...change }]);
  const bad = [
    'no JSON', '', 'null', '7', '"text"', '{}', '[]', '["another"]', '["another",1,null]', '["another",1,[]]', '["another",1,{}]', JSON.stringify([7, 1, signal]),
    with_({ caller: 'team' }), with_({ caller: { kind: 'network', id: '192.0.2.0/24' } }), with_({ caller: { kind: 'key' } }), with_({ caller: { kind: 'key', id: '' } }), with_({ time: 'now' }), with_({ time: -1 }), with_({ time: null }),
    with_({ network: null }), with_({ path: 'x'.repeat(5000) }), with_({ tokens: '9' }), with_({ device: 7 }), with_({ forged: 'no' }), with_({ cost: undefined }),
  ];
  const clock = fakeClock();
  const log = recorder();
  let answers: unknown[][] = [[1], [30, good('/before'), ...bad, good('/behind')], ['no number', good('/lost')], [31, good('/last')]];
  const heard: Signal[] = [];
  const redis = { run: async () => answers.shift() ?? [31] } as unknown as Redis;
  const exchange = new Exchange({ config: resolveConfig({}), clock, log } as unknown as Core, redis, (signals) => heard.push(...signals));
  t.after(() => exchange.stop());
  exchange.start();
  await until(() => {
    clock.tick(300);
    return answers.length === 0 && heard.length >= 3;
  });
  assert.deepEqual([heard.map(({ path }) => path), exchange.refused], [['/before', '/behind', '/last'], bad.length]);
  assert.deepEqual([log.named('watch.refused').length, log.named('watch.alone').length], [1, 1]);
  answers = [];
});

import '../support/node.ts';
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { NewapiNames } from '../../lib/sinks/newapi-names.ts';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import type { Journal, LearntFact } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { fakeJournal } from '../support/fake-journal.ts';
import { recorder } from '../support/gate.ts';

function start(answer: (path: string) => { status: number; body: unknown }) {
  const clock = fakeClock();
  const log = recorder();
  const records: AuditRecord[] = [];
  const facts: LearntFact[] = [];
  const asked: string[] = [];
  const add = (upstream: string | null, token: string, status = 200): void => void records.push({ id: records.length + 1, request_id: `r${records.length + 1}`, upstream_request_id: upstream, token_id: token, key_id: null, model: 'm', timestamp: 1000, response_status: status } as AuditRecord);
  const journal = { ...fakeJournal(), stats: () => fakeJournal().stats(), query: async () => [], read: async (after: number) => records.filter(({ id }) => id > after), learn: async (some: readonly LearntFact[]) => facts.push(...some) } as unknown as Journal;
  const core = { clock, log, draining: false, config: resolveConfig({ newapi: { accessToken: 'the-access-token', userId: 1 } }) } as unknown as Core;
  const names = new NewapiNames(core, journal, async (path, headers) => {
    assert.deepEqual(headers, ['authorization', 'the-access-token', 'new-api-user', '1']);
    asked.push(path);
    return answer(path);
  });
  names.start();
  const tick = async (ms: number): Promise<void> => {
    clock.tick(ms);
    // The round ends when its timer is armed again.
    await until(() => clock.pending > 0);
  };
  return { names, add, facts, asked, tick, log };
}

const row = (id: string, token: string) => ({ request_id: id, user_id: 7, username: 'ada', token_id: 3, token_name: token, group: 'default', quota: 250_000 });
const page = (...items: object[]) => ({ status: 200, body: { success: true, data: { items } } });

it('names and charges come from the rows that join, and nothing is guessed', async () => {
  const scene = start(() => page(row('up1', 'laptop'), row('of another', 'x')));
  scene.add('up1', 't1');
  scene.add('up2', 't2');
  scene.add(null, 't3');
  await scene.tick(10_000);
  assert.deepEqual(scene.asked, ['/api/log/?type=2&p=1&page_size=100&start_timestamp=995']);
  assert.deepEqual(scene.names.nameOf('token', 't1'), { user_id: 7, username: 'ada', token_id: 3, token_name: 'laptop', group: 'default' });
  for (const id of ['t2', 't3', null]) assert.equal(scene.names.nameOf('token', id), null);
  assert.deepEqual(scene.facts.map(({ requestId, name, value }) => [requestId, name, name === 'newapi' ? '…' : value]), [['r1', 'newapi', '…'], ['r1', 'username', 'ada'], ['r1', 'token_name', 'laptop'], ['r1', 'charged', 0.5]]);
  await scene.tick(10_000);
  await scene.tick(10_000);
  assert.equal(scene.asked[2], '/api/log/?request_id=up2', 'the one that has waited longest is asked for by itself');
});

it('with no caller to name charges are asked for twice a minute, and a refusal ends it with one event', async () => {
  let refuses = false;
  const scene = start(() => (refuses ? { status: 200, body: { success: false } } : page(row('up1', 'laptop'), row('up2', 'laptop'))));
  scene.add('up1', 't1');
  await scene.tick(10_000);
  scene.add('up2', 't1');
  await scene.tick(10_000);
  assert.equal(scene.asked.length, 1);
  await scene.tick(20_000);
  assert.equal(scene.asked.length, 2);
  refuses = true;
  scene.add('up3', 't2');
  for (let nth = 0; nth < 3; nth++) await scene.tick(30_000);
  assert.deepEqual([scene.asked.length, scene.log.named('names.refused').length], [3, 1]);
});

it('unknown tokens keep no caller from its name, and do not make names count as not to be had', async () => {
  const scene = start((path) => (path.includes('request_id=') ? page() : page(row('up9', 'laptop'))));
  for (let nth = 0; nth < 5; nth++) scene.add(`refused${nth}`, `unknown${nth}`, 401);
  await scene.tick(10_000);
  for (let nth = 0; nth < 13; nth++) await scene.tick(10_000);
  assert.deepEqual([scene.names.blind, scene.asked], [false, []]);
  scene.add('up9', 't9');
  await scene.tick(10_000);
  assert.equal(scene.names.nameOf('token', 't9')?.username, 'ada');
});

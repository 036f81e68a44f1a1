import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { messageOf, problem, startAdmin } from './harness.ts';

describe('bans', () => {
  it('are made, listed, and taken back by id or value', async (t) => {
    const { ask, asked, core, log } = await startAdmin(t);
    const made = await ask('bans', { body: { value: '203.0.113.0/24', reason: 'scans', expires: '24h' } });
    const until = new Date(core.clock.now() + 86_400_000).toISOString();
    const shown = { id: 'b1', kind: 'address', value: '203.0.113.0/24', reason: 'scans', created: new Date(core.clock.now()).toISOString(), expires: until };
    assert.deepEqual([made.status, made.json(), made.headers.location], [201, shown, 'bans/b1']);
    assert.deepEqual(asked, [{ value: '203.0.113.0/24', reason: 'scans', expires: Date.parse(until), force: false }]);
    assert.deepEqual((await ask('bans')).json(), { bans: [shown], holds: 'this', available: true });
    assert.equal((await ask('bans/203.0.113.0%2F24', { method: 'DELETE' })).status, 204);
    await ask('bans', { body: { value: 'alice', kind: 'key' } });
    assert.deepEqual(asked[1], { value: 'alice', kind: 'key', reason: '', expires: null, force: false });
    await ask('bans', { body: { value: '10.0.0.0/8', force: true } });
    for (const which of ['b1', '10.0.0.0/8']) assert.equal((await ask(`bans/${which}`, { method: 'DELETE' })).status, 204, which);
    assert.deepEqual((await ask('bans')).json(), { bans: [], holds: 'this', available: true });
    assert.deepEqual(problem(await ask('bans/b1', { method: 'DELETE' })), [404, 'not_found', null]);
    assert.deepEqual(log.named('admin.change').map(({ action, subject }) => [action, subject]), [
      ['ban.create', '203.0.113.0/24'], ['ban.remove', '203.0.113.0/24'], ['ban.create', 'alice'], ['ban.create', '10.0.0.0/8'], ['ban.remove', 'b1'], ['ban.remove', '10.0.0.0/8'],
    ]);
  });

  it('are refused with the field that is wrong', async (t) => {
    const { ask, asked } = await startAdmin(t);
    const wrong = [
      [{}, 'value'], [{ value: 5 }, 'value'], [{ value: 'x', kind: 'ip' }, 'kind'], [{ value: 'x', reason: 7 }, 'reason'], [{ value: 'x', expires: '2020-01-01' }, 'expires'], [{ value: 'x', force: 'yes' }, 'force'],
      [{ value: 'x', until: '1h' }, 'until'],
    ] as const;
    for (const [body, field] of wrong) assert.deepEqual(problem(await ask('bans', { body })), [400, 'invalid_value', field], JSON.stringify(body));
    assert.equal(messageOf(await ask('bans', { body: { value: 'x', kind: 'adress' } })), 'kind: expected one of address, key, token, got "adress". Example: address');
    assert.equal(messageOf(await ask('bans', { body: { value: 'x', expires: '2020-01-01' } })), 'expires: expected a moment to come, got 2020-01-01T00:00:00.000Z. Example: 24h');
    assert.deepEqual(asked, []);
  });
});

import '../support/node.ts';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { request, until } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { bytesOf, journalOf, recorded, sql, verified } from '../support/journal.ts';
import { startScene } from '../support/scene.ts';

describe('records from elsewhere', () => {
  it('are masked and hashed as our own, and reach those who follow', async (t) => {
    const gate = await startGate(t);
    const journal = journalOf(gate.gate);
    const heard: number[] = [];
    const end = journal.onWritten((lastId) => heard.push(lastId));
    const token = 'sk-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL';
    await journal.append([
      { time: Date.UTC(2026, 0, 5), request_method: 'POST', request_path: '/v1/chat/completions?key=x', real_ip: '192.0.2.1', response_status: 200, response_time: 12, source: 'elsewhere', token_key: token, user_agent: 'curl/8.5.0', headers: { Authorization: `Bearer ${token}`, Accept: '*/*' }, request_body: `{"content":"${token}"}`, cookies: { session: 'raw cookie' }, user_id: 7 },
      { time: Date.UTC(2026, 0, 5), request_method: 'POST', request_path: '/api/user/login', real_ip: '192.0.2.1', response_status: 200, response_time: 1, source: 'elsewhere', request_body: '{"password":"hunter2"}', content_fingerprint: 'f'.repeat(32), headers: { 'X-Any': 'thing' } },
    ]);
    end();
    const records = await journal.read(0, 10);
    assert.deepEqual(records.map(({ token_key: key, user_id: user, route, client, request_body: body, content_fingerprint: print, request_headers: headers, query, source, stream, would_refuse: rules }) => ({ key, user, route, client, body, print, headers, query, source, stream, rules })), [
      { key: 'sk-…IJKL', user: 7, route: '/v1/chat/completions', client: 'curl/8', body: '{"content":"[masked]"}', print: records[0]?.content_fingerprint, headers: '{"user-agent":"curl/8.5.0","accept":"*/*"}', query: 'key', source: 'elsewhere', stream: false, rules: [] },
      { key: null, user: null, route: '/api/*', client: null, body: null, print: null, headers: null, query: null, source: 'elsewhere', stream: false, rules: [] },
    ]);
    assert.match(String(records[0]?.content_fingerprint), /^[0-9a-f]{32}$/);
    assert.deepEqual(heard, [2]);
    assert.deepEqual(await journal.read(1, 10), [records[1]]);
    for (const secret of [token, token.slice(3), 'raw cookie', 'hunter2']) assert.ok(!bytesOf(gate.gate.config.audit.path).includes(secret), secret);
  });

  it('leave cursors where sinks have moved them', async (t) => {
    const audit = { path: join(temporary(t), 'heimdall.db') };
    const first = await startGate(t, { audit });
    journalOf(first.gate).advance('one', 5);
    journalOf(first.gate).advance('two', 6);
    assert.equal(await journalOf(first.gate).cursor('one'), 5);
    await journalOf(first.gate).flush();
    journalOf(first.gate).abandon('two');
    await first.gate.close();
    const next = await startGate(t, { audit });
    assert.deepEqual([await journalOf(next.gate).cursor('one'), await journalOf(next.gate).cursor('two')], [5, 0]);
  });

  it('cannot be asked for by a statement that writes', async (t) => {
    const gate = await startGate(t);
    await assert.rejects(journalOf(gate.gate).query('DELETE FROM heimdall_logs'), /readonly|read-only|attempt to write/i);
    await assert.rejects(journalOf(gate.gate).query('SELECT nowhere FROM heimdall_logs'), /no such column/);
  });
});

it('what the queue had saved as in hand is recorded too, unless it has a record', async (t) => {
  const directory = temporary(t);
  const audit = { path: join(directory, 'heimdall.db') };
  const statePath = join(directory, 'queue.json');
  const scene = await startScene(t, { audit });
  const known = String((await scene.ask()).headers['x-request-id']);
  await scene.gate.gate.close();
  const time = Date.UTC(2026, 0, 5);
  const inHand = [{ id: known, time, lane: 'token:0123456789abcdef' }, { id: '019b8a00-0000-7000-8000-000000000001', time, lane: 'key:team-a' }, { id: '019b8a00-0000-7000-8000-000000000002', time, lane: 'address:192.0.2.9' }];
  const saved = { version: 1, instance: 'before', host: 'elsewhere', pid: 1, saved: time, interval: 1000, closed: false, configured: 1000, concurrency: 1000, service_time: null, samples: 0, counters: {}, in_hand: inHand };
  writeFileSync(statePath, JSON.stringify(saved), { mode: 0o600 });
  const gate = await startGate(t, { audit, queue: { statePath } });
  await gate.gate.ready;
  const rows = await until(async () => {
    const found = await recorded(gate.gate);
    return found.length === 3 ? found : null;
  }, 'two more records');
  assert.deepEqual(rows.map(({ outcome, key_id: key, real_ip: ip, timestamp }) => [outcome, key, ip, outcome === 'served' || timestamp === time / 1000]), [['served', null, '127.0.0.1', true], ['interrupted', 'team-a', '', true], ['interrupted', null, '192.0.2.9', true]]);
});

describe('facts learnt later', () => {
  it('are joined on reading, change no record, and go with it', async (t) => {
    const token = 'an-admin-token-of-this-test-0123456789';
    const { gate, ask } = await startScene(t, { audit: {}, admin: { token } });
    const { headers } = await ask();
    await ask();
    const journal = journalOf(gate.gate);
    const before = await recorded(gate.gate);
    const requestId = String(headers['x-request-id']);
    assert.equal(await journal.learn([{ requestId, name: 'charged', value: 0.1 }, { requestId, name: 'group', value: 'vip' }, { requestId: 'unknown', name: 'charged', value: 1 }]), 2);
    assert.equal(await journal.learn([{ requestId, name: 'charged', value: 0.2 }]), 1);
    assert.deepEqual(await recorded(gate.gate), before);
    const read = async (path: string): Promise<unknown> => (await request(`${gate.url}/heimdall/api/logs${path}`, { headers: { Authorization: `Bearer ${token}` } })).json();
    assert.deepEqual((await read(`/${requestId}`) as { learnt: unknown }).learnt, { charged: 0.2, group: 'vip' });
    const { logs } = (await read('?order=oldest')) as { logs: readonly { learnt?: unknown }[] };
    assert.deepEqual(logs.slice(0, 2).map(({ learnt }) => learnt), [{ charged: 0.2, group: 'vip' }, undefined]);
    const { path } = gate.gate.config.audit;
    assert.equal(verified(path).broken, null);
    assert.equal(await journal.forget({ kind: 'address', value: '127.0.0.1' }), 4);
    assert.equal(await journal.learn([{ requestId, name: 'charged', value: 0.3 }]), 0);
    assert.equal(verified(path).broken, null);
    assert.deepEqual(sql(path, 'SELECT value, salt FROM heimdall_learnt').map((row) => ({ ...row })), Array(3).fill({ value: null, salt: null }));
    assert.ok(!bytesOf(path).includes('vip'));
  });
});

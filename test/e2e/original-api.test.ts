import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { closing, request } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
type Body = { success: boolean; message: string; data: Record<string, unknown> & { detections: Record<string, unknown>[] } };

async function scene(t: TestContext) {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, anomaly: { api: true }, audit: { path: join(temporary(t), 'heimdall.db') } });
  const ask = async (path: string, method = 'GET', body?: object): Promise<{ status: number; body: Body }> => {
    const answer = await request(`${gate.url}/api/anomaly/${path}`, { method, headers: { ...bearer(token), 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) });
    return { status: answer.status, body: answer.json<Body>() };
  };
  return { newapi, gate, ask };
}

test('the original API answers over the findings, in its words', async (t) => {
  const { gate, ask } = await scene(t);
  const served = await request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: bearer(DEMO_KEY), body: chat });
  assert.equal(served.status, 200);
  await request(`${gate.url}/heimdall/api/leaked`, { method: 'POST', headers: { ...bearer(token), 'content-type': 'application/json' }, body: JSON.stringify({ keys: [DEMO_KEY] }) });
  const { body: { success, data } } = await ask('detections?page=1&page_size=500');
  const [detection = {}] = data.detections;
  assert.deepEqual([success, data['total'], data['page'], data['page_size'], data.detections.length], [true, 1, 1, 20, 1]);
  const now = Date.now() / 1000;
  assert.deepEqual([detection['user_id'], detection['anomaly_type'], detection['risk_score'], detection['status'], detection['action'], Math.abs(Number(detection['detected_at']) - now) < 60], [0, 'leaked_key', 100, 'detected', 'block', true]);
  const id = String(detection['id']);
  assert.equal((await ask(`detections/${id}`)).body.data['id'], id);
  assert.deepEqual((await ask('detections?status=resolved')).body.data['total'], 0);
  assert.deepEqual((await ask('detections?min_risk_score=100.5')).body.data['total'], 0);
  assert.deepEqual((await ask('statistics')).body.data, { total_anomalies: 1, high_risk_count: 1, avg_risk_score: 100 });
  assert.deepEqual((await ask(`statistics?end_time=${Math.floor(now) - 1000}`)).body.data, { total_anomalies: 0, high_risk_count: 0, avg_risk_score: 0 });
  for (const [word, shown] of [['alert', 'alert'], ['rate_limit', 'rate_limit'], ['block', 'block'], ['none', 'none']] as const) assert.equal((await ask(`detections/${id}/action`, 'PUT', { action: word })).body.data['action'], shown);
  for (const word of ['reviewing', 'resolved', 'false_positive', 'detected']) assert.equal((await ask(`detections/${id}/status`, 'PUT', { status: word })).body.data['status'], word);
  const [row] = await recorded(gate.gate);
  const byDevice = (await ask(`device-aggregation?device_fingerprint=${row?.device_fingerprint}&page_size=1`)).body.data;
  const byAddress = (await ask('ip-aggregation?ip=127.0.0.1')).body.data;
  for (const found of [byDevice, byAddress]) assert.deepEqual([Number(found['logs_total']) >= 1, (found['logs'] as object[]).length >= 1, found['anomaly_total']], [true, true, 1]);
  assert.equal((await ask('trigger/7', 'POST')).body.success, true);
});

test('it refuses what it does not know, and passes nothing on', async (t) => {
  const { newapi, gate, ask } = await scene(t);
  for (const [path, method, body] of [
    ['detections/nothing', 'GET'], ['detections?status=lost', 'GET'], ['detections/x/status', 'PUT', { status: 'resolved' }], ['detections/x/action', 'PUT', { action: 'shout' }], ['nothing', 'GET'], ['', 'GET'], ['statistics', 'DELETE'],
    ['device-aggregation', 'GET'], ['trigger/all', 'POST'], ['detections/x/status', 'PUT'],
  ] as const) {
    assert.equal((await ask(path, method, body)).body.success, false, `${method} ${path}`);
  }
  for (const headers of [{}, bearer('wrong'), bearer(DEMO_KEY)]) {
    const answer = await request(`${gate.url}/api/anomaly/detections`, { headers });
    assert.deepEqual([answer.status, answer.json<Body>().success], [401, false]);
  }
  assert.equal(newapi.requests.length, 0);
  assert.notEqual((await request(`${gate.url}/api/heimdall/log`, { method: 'POST', headers: bearer(token), body: '{}' })).status, 200);
  assert.equal(newapi.requests.length, 0);
});

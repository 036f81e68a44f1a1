import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporary } from '../support/gate.ts';
import { replay } from '../simulate/replay.ts';

const began = Date.UTC(2026, 4, 4, 9);

/** A record of Claude Code on one of two machines, a minute after the one before. */
const record = (at: number, device: string): object => {
  const time = began + at * 60_000;
  const hex = time.toString(16).padStart(12, '0');
  return { id: at, request_id: `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${String(at).padStart(12, '0')}`, timestamp: Math.floor(time / 1000), response_status: 200, response_time: 900, outcome: 'served', client: 'claude-cli/2', user_agent: 'claude-cli/2.1.197', model: 'claude', route: '/v1/messages', token_id: 'a'.repeat(16), key_id: null, request_path: '/v1/messages', real_ip: '192.0.2.7', bytes_in: 6000, stream: true, source: 'gate', device_id: device.repeat(16), session_id: device.repeat(8) };
};

test('records that were printed are judged in the order of their arrival', async (t) => {
  const file = join(temporary(t), 'records.jsonl');
  const lines = Array.from({ length: 30 }, (_, at) => JSON.stringify(record(at, at % 2 === 0 ? 'a' : 'b')));
  writeFileSync(file, `${lines.reverse().join('\n')}\n\n`);
  const { records, findings } = await replay(file);
  const [{ rule, caller, would, since, last, evidence, sentence } = {} as Record<string, unknown>] = findings as Record<string, unknown>[];
  assert.deepEqual([records, findings.length, rule, caller, would !== 'flag'], [30, 1, 'shared_key', { kind: 'token', id: 'a'.repeat(16), newapi: null }, true]);
  assert.ok(Date.parse(String(since)) > began && Date.parse(String(last)) === began + 29 * 60_000);
  assert.deepEqual([(evidence as { devices: number }).devices, (evidence as { records: string[] }).records.length > 15, Object.keys(sentence as object)], [2, true, ['en', 'zh-CN']]);
  writeFileSync(file, Array.from({ length: 30 }, (_, at) => JSON.stringify(record(at, at < 15 ? 'a' : 'b'))).join('\n'));
  assert.deepEqual(await replay(file), { records: 30, findings: [] });
  writeFileSync(file, '{}\n');
  await assert.rejects(replay(file), /line 1: expected a record/);
});

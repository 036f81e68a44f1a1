import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { closing, request, until, type Answer } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';

interface Scene extends RunningGate {
  readonly path: string;
  /** Asks below the admin API. */
  api<T>(path: string): Promise<{ status: number; body: T }>;
  ask(model: string, headers?: Record<string, string>): Promise<Answer>;
  /** Resolves when so many records can be read. */
  recorded(count: number): Promise<void>;
}

interface Listed {
  readonly logs: readonly { readonly request_id: string; readonly model: string | null; readonly real_ip: string; readonly response_status: number; readonly outcome: string; readonly time: string; readonly id: number }[];
  readonly next: number | null;
  readonly count?: number;
}

async function start(t: TestContext): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const path = join(temporary(t), 'heimdall.db');
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, audit: { path } });
  const api = async <T>(what: string): Promise<{ status: number; body: T }> => {
    const answer = await request(`${gate.url}/heimdall/api/${what}`, { headers: bearer(token) });
    return { status: answer.status, body: answer.json<T>() };
  };
  return {
    ...gate,
    path,
    api,
    ask: (model, headers = {}) => request(`${gate.url}/v1/chat/completions`, { body: { ...chat, model }, headers: { ...bearer(DEMO_KEY), ...headers } }),
    recorded: async (count) => {
      const listed = async (): Promise<number> => (await api<Listed>('logs?count=true&route=/v1/chat/completions')).body.count ?? 0;
      let seen = 0;
      await until(async () => (seen = await listed()) >= count);
      assert.equal(seen, count);
    },
  };
}

test('records are found by the API and the command, by page, by filter and one by one', async (t) => {
  const { api, ask, recorded, path, log } = await start(t);
  for (const [model, ip] of [['gpt-4o', '192.0.2.1'], ['gpt-4o-mini', '192.0.2.1'], ['gpt-4o', '198.51.100.7']] as const) assert.equal((await ask(model, { 'X-Forwarded-For': ip })).status, 200);
  assert.equal((await ask('gpt-4o', { Authorization: 'Bearer sk-somebody-else' })).status, 401);
  await recorded(4);
  const { body: first } = await api<Listed>('logs?limit=3&route=/v1/chat/completions');
  assert.deepEqual(first.logs.map(({ response_status, outcome, model }) => [response_status, outcome, model]), [[401, 'served', 'gpt-4o'], [200, 'served', 'gpt-4o'], [200, 'served', 'gpt-4o-mini']]);
  const { body: second } = await api<Listed>(`logs?limit=3&route=/v1/chat/completions&cursor=${first.next}`);
  assert.deepEqual([second.logs.map(({ real_ip }) => real_ip), second.next], [['192.0.2.1'], null]);
  assert.deepEqual((await api<Listed>('logs?address=198.51.100.7')).body.logs.length, 1);
  const id = second.logs[0]?.request_id ?? '';
  const { body: one } = await api<{ request_body: string; request_headers: string; request_id: string }>(`logs/${id}`);
  assert.equal(one.request_id, id);
  assert.match(one.request_body, /"messages"/);
  assert.ok(!JSON.stringify([first, second]).includes('messages'));
  assert.deepEqual(log.named('admin.change').map(({ action, subject }) => [action, subject]), [['log.read', id]]);
  assert.equal((await api('logs/unknown')).status, 404);
  const said = { out: '', err: '' };
  const code = await main(['logs', '--path', path, '--format', 'jsonl', '--request-id', id], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  assert.deepEqual([code, (JSON.parse(said.out) as { request_id: string }).request_id], [0, id]);
});

test('records are put together by device, address and key, and counted over time', async (t) => {
  const { api, ask, recorded } = await start(t);
  for (const [ip, agent] of [['192.0.2.1', 'a/1'], ['192.0.2.1', 'b/1'], ['192.0.2.2', 'a/1']] as const) await ask('gpt-4o', { 'X-Forwarded-For': ip, 'User-Agent': agent });
  await recorded(3);
  type Groups = { groups: readonly { value: string; requests: number; devices: number; addresses: number; keys: number }[] };
  const { body: byAddress } = await api<Groups>('logs/aggregate?by=address&route=/v1/chat/completions');
  assert.deepEqual(byAddress.groups.map(({ value, requests, devices, keys }) => [value, requests, devices, keys]), [['192.0.2.1', 2, 2, 1], ['192.0.2.2', 1, 1, 1]]);
  const { body: byDevice } = await api<Groups>('logs/aggregate?by=device&route=/v1/chat/completions&sort=addresses&least=2');
  assert.deepEqual(byDevice.groups.map(({ requests, addresses }) => [requests, addresses]), [[2, 2]]);
  const { body: often } = await api<{ frequency: readonly { requests: number }[] }>('logs/frequency?interval=3600&by=key&route=/v1/chat/completions');
  assert.equal(often.frequency.reduce((sum, { requests }) => sum + requests, 0), 3);
});

test('a search that makes no sense is refused with the field it is about', async (t) => {
  const { api } = await start(t);
  type Refused = { error: { message: string; param: string } };
  for (const [query, field] of [['logs?adress=x', 'adress'], ['logs?address=home', 'address'], ['logs?limit=0', 'limit'], ['logs?limit=5&limit=6', 'limit'], ['logs/aggregate?by=colour', 'by'], ['logs/frequency?interval=x', 'interval'], ["logs?order=1'--", 'order']] as const) {
    const { status, body } = await api<Refused>(query);
    assert.deepEqual([status, body.error.param], [400, field], query);
    assert.match(body.error.message, /expected/);
  }
});

import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { agentSession, writer, type Dialect } from '../support/agent-session.ts';
import { closing, request } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { bytesOf, journalOf, recorded, verified } from '../support/journal.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';

interface Listed {
  readonly logs: readonly { readonly request_id: string; readonly model: string | null; readonly prompt_tokens: number | null }[];
  readonly next: number | null;
  readonly stopped?: boolean;
  readonly count?: number;
  readonly error?: { readonly param: string };
}

async function api<T>({ url }: RunningGate, what: string): Promise<{ status: number; body: T }> {
  const answer = await request(`${url}/heimdall/api/${what}`, { headers: bearer(token) });
  return { status: answer.status, body: answer.json<T>() };
}

async function command(path: string, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await main([...args, '--path', path], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  return { code, ...said };
}

test('what agents ask is in their records, is found by its text, and put together again by the API, the command and exports', async (t) => {
  const { url: baseUrl } = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"candidates":[],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2}}')));
  const path = join(temporary(t), 'heimdall.db');
  const gate = await startGate(t, { newapi: { baseUrl }, admin: { token }, audit: { path, fingerprint: 'turn' } });
  const dialects: readonly Dialect[] = ['messages', 'chat', 'responses', 'gemini'];
  const sent = dialects.flatMap((dialect, at) => agentSession(dialect, 40 + at, 3));
  for (const { path: to, body } of sent) assert.equal((await request(gate.url + to, { body: { ...body, stream: false }, headers: bearer(DEMO_KEY) })).status, 200, to);
  await journalOf(gate.gate).flush();
  const file = join(path, '../all.jsonl');
  assert.equal((await command(path, 'logs', '--export', file)).code, 0);
  const exported = new Map(readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { request_id: string; request_body: string }).map((record) => [record.request_id, record.request_body]));
  for (const { question, body } of sent) {
    const { body: { logs, next, stopped } } = await api<Listed>(gate, `logs?order=oldest&grep=${encodeURIComponent(question)}`);
    const id = String(logs[0]?.request_id);
    assert.deepEqual([logs.length > 0, next, stopped], [true, null, false], question);
    const { body: whole } = await api<{ request_body: string; content_fingerprint: string }>(gate, `logs/${id}`);
    const { contents, messages, input, tools } = JSON.parse(whole.request_body) as Record<string, unknown>;
    assert.deepEqual(JSON.parse(JSON.stringify({ contents, messages, input, tools })), JSON.parse(JSON.stringify({ contents: body['contents'], messages: body['messages'], input: body['input'], tools: body['tools'] })));
    const shown = JSON.parse((await command(path, 'logs', 'show', id)).out) as { request_body: string };
    assert.deepEqual([shown.request_body, exported.get(id)], [whole.request_body, whole.request_body]);
  }
  // Gemini's model stands in the path, and its usage is counted.
  const { body: { logs: [gemini] } } = await api<Listed>(gate, 'logs?route=/v1beta/models/*&limit=1');
  assert.deepEqual([gemini?.model, gemini?.prompt_tokens], ['gemini-2.5-pro', 9]);
  const one = await command(path, 'logs', '--grep', String(sent[4]?.question), '--limit', '1', '--format', 'jsonl');
  assert.deepEqual([one.code, one.out.trimEnd().split('\n').length, /Go on with --cursor \d+/.test(one.err)], [0, 1, true]);
  for (const [what, field] of [['grep=', 'grep'], [`grep=${'x'.repeat(1001)}`, 'grep'], ['grep=x&count=true', 'count'], ['grep=x&status=many', 'status']] as const) {
    const { status, body } = await api<Listed>(gate, `logs?${what}`);
    assert.deepEqual([status, body.error?.param], [400, field], what);
  }
  assert.equal((await command(path, 'logs', 'show', 'unknown')).code, 1);
  await gate.gate.close();
  assert.equal(verified(path).broken, null);
});

test('a session of fifty turns costs the journal about 90 KB', async (t) => {
  const { url: baseUrl } = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"content":[],"usage":{"input_tokens":9,"output_tokens":2}}')));
  const path = join(temporary(t), 'heimdall.db');
  const start = (): Promise<RunningGate> => startGate(t, { newapi: { baseUrl }, audit: { path } });
  const before = await start();
  await before.gate.ready;
  await before.gate.close();
  const empty = statSync(path).size;
  const gate = await start();
  for (const { path: to, body } of agentSession('messages', 3, 50)) assert.equal((await request(gate.url + to, { body: { ...body, stream: false }, headers: bearer(DEMO_KEY) })).status, 200);
  await journalOf(gate.gate).flush();
  await gate.gate.close();
  // A batch a record, on a slow machine, costs 16 KB more.
  const grown = statSync(path).size - empty;
  assert.ok(grown < 120_000, String(grown));
});

test('a secret in any part of a long body is nowhere in the journal, its log, the answers and exports', async (t) => {
  const newapi = closing(t, await startNewapi());
  const path = join(temporary(t), 'heimdall.db');
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, audit: { path } });
  const say = writer(77);
  const secrets = ['sk-proj-planted0123456789abcdef', 'AKIA1234567890ABCDEF', DEMO_KEY.slice(3), 'planted-password-1'];
  const hidden = `${secrets[0]} ${secrets[1]} ${secrets[2]} password: ${secrets[3]}`;
  const places: readonly object[] = [
    { messages: [{ role: 'user', content: `${say(60_000)} ${hidden} ${say(6000)}` }] },
    { messages: [{ role: 'user', content: `${say(30_000)} ${hidden}` }, { role: 'assistant', content: say(20_000) }, { role: 'user', content: 'and now?' }] },
    { messages: [{ role: 'system', content: `${say(40_000)} ${hidden}` }, { role: 'system', content: `${say(32_700)} ${hidden} ${say(3000)}` }, { role: 'user', content: 'and now?' }] },
    { messages: [{ role: 'user', content: 'and now?' }], tools: Array.from({ length: 20 }, (_, at) => ({ type: 'function', function: { name: `f${at}`, description: `${say(3000)} ${hidden}`, parameters: {} } })) },
  ];
  for (const place of places) for (let times = 0; times < 2; times++) assert.equal((await request(`${gate.url}/v1/chat/completions`, { body: { model: 'gpt-4o-mini', ...place }, headers: bearer(DEMO_KEY) })).status, 200);
  const rows = await recorded(gate.gate);
  const file = join(path, '../all.csv');
  await command(path, 'logs', '--export', file);
  const answers = await Promise.all(rows.map(async ({ request_id: id }) => JSON.stringify((await api(gate, `logs/${String(id)}`)).body)));
  for (const secret of secrets) {
    assert.ok(!bytesOf(path).includes(secret) && !readFileSync(file).includes(secret), secret);
    assert.ok(answers.every((answer) => !answer.includes(secret)), secret);
  }
  assert.ok(answers.some((answer) => answer.includes('[masked]')));
  await gate.gate.close();
  assert.ok(secrets.every((secret) => !bytesOf(path).includes(secret)));
  assert.equal(verified(path).broken, null);
});

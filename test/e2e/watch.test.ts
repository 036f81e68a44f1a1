import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Answer, closing, openStream, request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { mmdbOf } from '../support/mmdb.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { recorded } from '../support/journal.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { bearer } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';

interface Found {
  readonly id: string;
  readonly rule: string;
  readonly score: number;
  readonly state: string;
  readonly action: string;
  readonly would: string | null;
  readonly evidence: { readonly records: readonly string[]; readonly requests: number; readonly places?: readonly object[] };
}

async function api<T>({ url }: RunningGate, what: string, method = 'GET', body?: object): Promise<{ status: number; body: T }> {
  const answer = await request(`${url}/heimdall/api/${what}`, { method, headers: { ...bearer(token), 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) });
  return { status: answer.status, body: answer.json<T>() };
}

/** A request of Claude Code on one of two machines. */
function ask({ url }: RunningGate, device: string): Promise<Answer> {
  const userId = JSON.stringify({ device_id: device.repeat(64), account_uuid: '', session_id: `0000000${device}-1111-4222-8333-444444444444` });
  const body = JSON.stringify({ model: 'gpt-4o-mini', max_tokens: 16, messages: [{ role: 'user', content: `hello from ${device}` }], metadata: { user_id: userId } });
  return request(`${url}/v1/messages`, { method: 'POST', headers: { ...bearer(DEMO_KEY), 'content-type': 'application/json', 'user-agent': 'claude-cli/2.1.197 (external, cli)' }, body });
}

/** @param mmdb a file that says where addresses are. */
async function gateOf(t: Parameters<typeof startGate>[0], mode: 'shadow' | 'enforce', mmdb: Buffer | null = null): Promise<RunningGate> {
  const path = temporary(t);
  if (mmdb !== null) writeFileSync(join(path, 'places.mmdb'), mmdb);
  const { url: baseUrl } = closing(t, await startNewapi());
  return startGate(t, { newapi: { baseUrl }, admin: { token }, anomaly: { mode, mmdb: mmdb === null ? null : join(path, 'places.mmdb') }, audit: { path: join(path, 'heimdall.db') } });
}

async function foundIn(gate: RunningGate, fits: (finding: Found) => boolean): Promise<Found> {
  let found: Found | undefined;
  await until(async () => {
    const { body } = await api<{ findings: Found[] }>(gate, 'findings?rule=shared_key');
    found = body.findings.find(fits);
    return found !== undefined;
  });
  return found as Found;
}

test('headers that the journal keeps once tell an agent from a forged one', async (t) => {
  const gate = await gateOf(t, 'shadow');
  const said = (more: Readonly<Record<string, string>>): Promise<Answer> =>
    request(`${gate.url}/v1/messages`, { method: 'POST', headers: { ...bearer(DEMO_KEY), 'content-type': 'application/json', 'user-agent': 'claude-cli/2.1.197 (external, cli)', ...more }, body: JSON.stringify({ model: 'gpt-4o-mini', max_tokens: 16, messages: [{ role: 'user', content: 'hello' }] }) });
  for (let turn = 0; turn < 12; turn++) assert.equal((await said({ 'x-stainless-os': 'Linux', 'x-stainless-lang': 'js', 'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27' })).status, 200);
  for (let turn = 0; turn < 12; turn++) assert.equal((await said({ 'x-title': 'not what it says, in as many letters as the headers need that are kept once, as those of the agent itself are' })).status, 200);
  const rows = await recorded(gate.gate);
  assert.equal(rows.filter(({ request_headers: kept }) => String(kept).startsWith('{')).length, 2);
  let judged: readonly string[] = [];
  await until(async () => {
    const { body } = await api<{ findings: Found[] }>(gate, 'findings?rule=client_forgery');
    judged = body.findings[0]?.evidence.records ?? [];
    return judged.length > 0;
  });
  const honest = rows.slice(0, 12).map(({ request_id: id }) => String(id));
  assert.deepEqual(judged.filter((id) => honest.includes(id)), []);
});

test('two machines in turn behind one key are found with their requests; in shadow mode nothing is done', async (t) => {
  const gate = await gateOf(t, 'shadow', mmdbOf({ '127.0.0.0/8': { country: { iso_code: 'DE' }, autonomous_system_number: 64500 } }));
  for (let turn = 0; turn < 10; turn++) for (const device of ['a', 'b']) assert.equal((await ask(gate, device)).status, 200);
  const found = await foundIn(gate, ({ score }) => score >= 80);
  assert.deepEqual([found.state, found.action, found.would === 'slow' || found.would === 'limit'], ['open', 'none', true]);
  assert.ok(found.evidence.records.length >= 2 && found.evidence.records.length <= 20);
  const { body: record } = await api<{ device_id: string | null; session_id: string | null; home_id: string | null; request_body: string }>(gate, `logs/${found.evidence.records.at(-1)}`);
  assert.match(record.device_id ?? '', /^[0-9a-f]{16}$/);
  assert.match(record.session_id ?? '', /^[0-9a-f]{16}$/);
  assert.equal(record.home_id, null);
  assert.doesNotMatch(JSON.stringify(record), /b{20}/);
  const place = { asn: 64500, organization: null, country: 'DE', hosting: null };
  assert.deepEqual(found.evidence.places, [{ network: '127.0.0.0/24', ...place }]);
  const { body: { findings: [about] } } = await api<{ findings: { caller: { id: string } }[] }>(gate, 'findings');
  const { body: caller } = await api<{ networks: Readonly<Record<string, unknown>>[] }>(gate, `callers/${about?.caller.id}`);
  assert.deepEqual(caller.networks.map(({ id, asn, country }) => ({ id, asn, country })), [{ id: '127.0.0.1', asn: 64500, country: 'DE' }]);
  assert.equal((await ask(gate, 'a')).status, 200);
});

test('one machine after the other is no finding', async (t) => {
  const gate = await gateOf(t, 'enforce', Buffer.from('no file in the format'));
  for (const device of ['a', 'b']) for (let turn = 0; turn < 8; turn++) await ask(gate, device);
  await until(async () => (await api<{ anomaly: { lag: number; callers: number } }>(gate, 'health')).body.anomaly.callers === 1);
  assert.deepEqual((await api<{ findings: Found[] }>(gate, 'findings')).body.findings, []);
  assert.match(String(gate.log.named('watch.mmdb')[0]?.['problem']), /no file in MaxMind's format/);
});

test('in enforce mode the caller is slowed, then frozen, and free again with one call', async (t) => {
  const gate = await gateOf(t, 'enforce');
  for (let turn = 0; turn < 20; turn++) for (const device of ['a', 'b']) await ask(gate, device);
  const { id, action } = await foundIn(gate, (found) => found.action !== 'none' && found.action !== 'flag');
  assert.equal(action, 'slow');
  let turn = 0;
  await until(async () => (await ask(gate, turn++ % 2 === 0 ? 'a' : 'b')).status === 403);
  assert.equal((await api<Found>(gate, `findings/${id}/undo`, 'POST', {})).status, 200);
  assert.equal((await ask(gate, 'a')).status, 200);
  assert.equal((await api<Found>(gate, `findings/${id}/act`, 'POST', { action: 'freeze', expires: '1h', reason: 'a test' })).body.action, 'freeze');
  assert.equal((await ask(gate, 'a')).status, 403);
  const undone = await api<Found>(gate, `findings/${id}/undo`, 'POST', {});
  assert.deepEqual([undone.status, undone.body.state, undone.body.action], [200, 'undone', 'none']);
  for (let turn = 0; turn < 6; turn++) for (const device of ['a', 'b']) assert.equal((await ask(gate, device)).status, 200);
  assert.deepEqual((await api<{ findings: Found[] }>(gate, 'findings?state=open')).body.findings, []);
  assert.equal((await api<Found>(gate, `findings/${id}/act`, 'POST', { action: 'limit' })).body.action, 'limit');
  const limited = await ask(gate, 'a');
  assert.deepEqual([limited.status, limited.headers['retry-after']], [429, '60']);
  await api(gate, `findings/${id}/undo`, 'POST', {});
  const bad = await api<{ error: { message: string } }>(gate, `findings/${id}/act`, 'POST', { action: 'shout' });
  assert.equal(bad.status, 400);
});

test('a running stream of a caller that is frozen ends', async (t) => {
  const { url: baseUrl } = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Oneapi-Request-Id': 'r' }).write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')));
  const gate = await startGate(t, { newapi: { baseUrl }, admin: { token }, anomaly: { mode: 'enforce' }, audit: { path: join(temporary(t), 'heimdall.db') } });
  const open = async (device: string) => {
    const body = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'hello' }], metadata: { user_id: `user_${device.repeat(64)}_account__session_0000000${device}-1111-4222-8333-444444444444` } });
    return openStream(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: { ...bearer(DEMO_KEY), 'content-type': 'application/json', 'user-agent': 'claude-cli/2.1.197' }, body });
  };
  // Records are written when requests end.
  for (let turn = 0; turn < 9; turn++) for (const device of ['a', 'b']) (await open(device)).abort();
  const { id } = await foundIn(gate, ({ score }) => score >= 70);
  await api(gate, `findings/${id}/act`, 'POST', { action: 'flag' });
  const stream = await open('a');
  assert.equal(stream.status, 200);
  await api(gate, `findings/${id}/act`, 'POST', { action: 'freeze' });
  await stream.done;
  assert.equal(gate.log.named('finding.cut').length, 1);
});

test('switched off it reads no ids and finds nothing', async (t) => {
  const { url: baseUrl } = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl }, admin: { token }, anomaly: { mode: 'off' }, audit: { path: join(temporary(t), 'heimdall.db') } });
  for (let turn = 0; turn < 10; turn++) for (const device of ['a', 'b']) await ask(gate, device);
  const rows = await recorded(gate.gate);
  assert.deepEqual([rows.length, ...new Set(rows.map(({ device_id: id }) => id))], [20, null]);
  assert.deepEqual((await api<{ anomaly: object }>(gate, 'health')).body.anomaly, { mode: 'off', callers: 0, lag: 0 });
});

test('what is decided about a network meets its refused tries, and good keys pass from there', async (t) => {
  const { url: baseUrl } = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl }, admin: { token }, auth: { mode: 'keys' }, rateLimit: { address: { limit: 0 } }, anomaly: { mode: 'enforce' }, audit: { path: join(temporary(t), 'heimdall.db') } });
  const { body: { key } } = await api<{ key: string }>(gate, 'keys', 'POST', { name: 'good', upstream_credential: DEMO_KEY });
  const statusOf = async (credential: string): Promise<number> => (await request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: bearer(credential), body: { model: 'gpt-4o-mini', messages: [] } })).status;
  for (let at = 0; at < 70; at++) assert.equal(await statusOf(`sk-${String(at).padStart(43, 'x')}`), 401);
  const found = await until(async () => (await api<{ findings: Found[] }>(gate, 'findings?rule=credential_stuffing')).body.findings.find(({ action }) => action === 'limit'));
  const tries = [await statusOf('sk-another-that-is-none'), await statusOf('sk-another-that-is-none')];
  assert.ok(tries.includes(429), String(tries));
  await api(gate, `findings/${found.id}/act`, 'POST', { action: 'freeze' });
  assert.equal(await statusOf('sk-another-that-is-none'), 403);
  assert.equal((await request(`${gate.url}/v1/models`)).status, 403);
  assert.equal(await statusOf(key), 200);
  await api(gate, `findings/${found.id}/undo`, 'POST', {});
  assert.equal(await statusOf('sk-another-that-is-none'), 401);
});

test('two people with one key are found over two instances that each see one of them', { skip: withoutRedis }, async (t) => {
  const redis = closing(t, await startRedis());
  const { url: baseUrl } = closing(t, await startNewapi());
  const start = (): Promise<RunningGate> => startGate(t, { newapi: { baseUrl }, admin: { token }, secret: 'an install secret that two share', rateLimit: { redisUrl: redis.url }, anomaly: { mode: 'enforce' }, audit: { path: join(temporary(t), 'heimdall.db') } });
  const [one, two] = [await start(), await start()];
  await Promise.all([one, two].map((gate) => until(async () => (await api<{ anomaly: { mode: string } }>(gate, 'health')).body.anomaly.mode === 'enforce')));
  for (let turn = 0; turn < 25; turn++) {
    await ask(one, 'a');
    await ask(two, 'b');
  }
  const found = await foundIn(two, ({ action }) => action !== 'none' && action !== 'flag');
  await until(async () => (await api<{ findings: Found[] }>(one, 'findings?rule=shared_key')).body.findings.length === 1);
  assert.equal((await api<Found>(one, `findings/${found.id}/undo`, 'POST', {})).body.state, 'undone');
  await until(async () => (await api<Found>(two, `findings/${found.id}`)).body.state === 'undone');
  assert.equal((await ask(two, 'b')).status, 200);
});

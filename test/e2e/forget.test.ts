import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { closing, request, until } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const secret = 'an install secret of one gate';

/** The names of the files that hold a text. */
const filesWith = (directory: string, text: string): string[] => readdirSync(directory).filter((name) => readFileSync(join(directory, name)).includes(text)).sort();

test('what is forgotten of a caller is in no file any more: records, also of the admin API, sums, findings, noted tokens, spending; counts remain', async (t) => {
  const { url: baseUrl } = closing(t, await startNewapi());
  const [data, other] = [temporary(t), temporary(t)];
  const path = join(data, 'heimdall.db');
  const gate = await startGate(t, { newapi: { baseUrl }, admin: { token }, secret, audit: { path }, logging: { file: false } });
  const api = async <T>(what: string): Promise<T> => (await request(`${gate.url}/heimdall/api/${what}`, { headers: bearer(token) })).json<T>();
  for (let turn = 0; turn < 18; turn++) {
    const device = turn % 2 === 0 ? 'a' : 'b';
    const body = JSON.stringify({ model: 'gpt-4o-mini', max_tokens: 16, messages: [{ role: 'user', content: `hello ${turn}` }], metadata: { user_id: JSON.stringify({ device_id: device.repeat(64), account_uuid: '', session_id: `0000000${device}-1111-4222-8333-444444444444` }) } });
    await request(`${gate.url}/v1/messages`, { method: 'POST', headers: { ...bearer(DEMO_KEY), 'content-type': 'application/json', 'user-agent': 'claude-cli/2.1.197' }, body });
  }
  const { caller: { id } } = await until(async () => (await api<{ findings: { rule: string; caller: { id: string } }[] }>('findings')).findings.find(({ rule }) => rule === 'shared_key'));
  assert.equal((await api<{ requests: number }>(`callers/${id}`)).requests, 18);
  await gate.gate.close();
  const spent = (key: string): object => ({ version: 1, budgets: { [`a.day:token:${id}`]: [1, 2], [key]: [3, 4] } });
  writeFileSync(join(data, 'heimdall.limits.json'), JSON.stringify(spent('a.day:token:another')));
  assert.deepEqual(filesWith(data, id), ['heimdall.db', 'heimdall.limits.json', 'heimdall.state.db', 'heimdall.sums.db']);
  const config = join(other, 'heimdall.yaml');
  writeFileSync(config, `newapi: { base_url: "${baseUrl}" }\nsecret: ${secret}\naudit: { path: ${path} }\nlogging: { file: false }\n`);
  const said = { out: '', err: '' };
  const run = (...args: string[]): Promise<number | null> => main([...args, '--config', config], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  assert.equal(await run('backup', join(other, 'copy.db')), 0, said.err);
  assert.deepEqual(filesWith(other, id), ['copy.db', 'copy.state.db']);
  said.out = '';
  assert.equal(await run('forget', '--key', id), 0, said.err);
  assert.match(said.out, /^19 records erased\.\n\d+ findings? erased, with what they did\.\n$/);
  assert.deepEqual(filesWith(data, id), []);
  assert.deepEqual(JSON.parse(readFileSync(join(data, 'heimdall.limits.json'), 'utf8')), { version: 1, budgets: { 'a.day:token:another': [3, 4] } });
  said.out = '';
  assert.equal(await run('verify'), 0, said.out);
  assert.match(said.out, /19 of them erased on demand/);
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { request, until } from '../support/client.ts';
import { recorder, startGate, temporary } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { startUpstream } from '../support/upstream.ts';
import { secretScrubber } from '../../lib/redaction/redaction.ts';

const admin = 'an-admin-token-of-at-least-32-characters';
/** Of no form by which a credential is known. */
const credential = 'granted.to.one.team/by~newapi';

it('masks the credential of a key that was made while the gate runs, wherever it is repeated', async (t) => {
  const upstream = await startUpstream(t, (req, res) => req.resume().on('end', () => res.writeHead(200, { 'X-Oneapi-Request-Id': `as ${credential}` }).end('{}')));
  const file = join(temporary(t), 'access.log');
  const log = recorder();
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, auth: { mode: 'keys' }, admin: { token: admin }, logging: { file, level: 'silent', queryAllow: ['page'] }, audit: { capture: { headers: 'all' } } }, { log });
  const quoting = () => request(`${gate.url}/api/one?page=${encodeURIComponent(credential)}`, { headers: { 'User-Agent': `agent ${credential}`, Referer: `https://x.example/${credential}` } });
  // The thread that writes runs already.
  await quoting();
  const before = (await recorded(gate.gate)).length;
  const made = await request(`${gate.url}/heimdall/api/keys`, { method: 'POST', headers: { Authorization: `Bearer ${admin}` }, body: { name: 'team', upstream_credential: credential } });
  assert.equal(made.status, 201, made.text);
  await quoting();
  const rows = await until(async () => ((found) => (found.length > before + 1 ? found.slice(before) : undefined))(await recorded(gate.gate)));
  for (const row of rows) for (const [column, value] of Object.entries(row)) assert.ok(!String(value).includes('one.team'), `${column}: ${String(value)}`);
  const lines = await until(() => ((found) => (found.length > before + 1 ? found.slice(before) : undefined))(readFileSync(file, 'utf8').split('\n').slice(0, -1)));
  assert.ok(!lines.join('').includes('one.team'), lines.join('\n'));
  assert.ok(!JSON.stringify(log.events).includes('one.team'));
});

it('masks secrets that are added later', () => {
  const hidden: string[] = [];
  const scrub = secretScrubber(hidden);
  assert.equal(scrub('the first-secret'), 'the first-secret');
  hidden.push('first-secret');
  assert.ok(!scrub('the first-secret').includes('first-secret'));
  for (let nth = 0; nth < 100; nth++) hidden.push(`secret-number-${nth}`);
  assert.ok(!scrub('a secret-number-99 and the first-secret').match(/number|first-secret/));
});

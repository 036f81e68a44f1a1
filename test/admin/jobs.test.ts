import '../support/node.ts';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { internalsOf } from '../../lib/gateway.ts';
import type { WorkerJournal } from '../../lib/journal/journal.ts';
import { closing, request, until, type Answer } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { journalOf } from '../support/journal.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const readToken = 'a-token-that-only-reads-in-32-characters';

interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly done: number;
  readonly total: number | null;
  readonly ended: string | null;
  readonly result: Record<string, unknown> | null;
  readonly error: string | null;
}

async function start(t: TestContext) {
  const newapi = closing(t, await startNewapi());
  const { gate, url, log } = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token, readToken } });
  const ask = (path: string, body?: object, method?: string, as = token): Promise<Answer> => request(`${url}/heimdall/api/${path}`, { headers: bearer(as), ...(body === undefined ? {} : { body }), ...(method === undefined ? {} : { method }) });
  const ended = async (job: object): Promise<Job> => {
    const begun = await ask('jobs', job);
    assert.equal(begun.status, 202, begun.text);
    const { id } = begun.json<Job>();
    await until(async () => (await ask(`jobs/${id}`)).json<Job>().state !== 'running');
    return (await ask(`jobs/${id}`)).json();
  };
  for (let nth = 0; nth < 3; nth++) await request(`${url}/v1/chat/completions`, { body: { ...chat, model: nth === 0 ? 'another' : chat.model }, headers: bearer(DEMO_KEY) });
  await journalOf(gate).flush();
  return { ask, ended, gate, url, log, path: internalsOf(gate).core.config.audit.path };
}

test('the journal is verified, exported and freed of a caller as jobs, which tell how far they are', async (t) => {
  const { ask, ended } = await start(t);
  const verified = await ended({ kind: 'verify' });
  assert.deepEqual([verified.state, verified.error, verified.result?.['whole'], verified.done, verified.total, verified.result?.['records']], ['done', null, true, verified.total, verified.done, verified.done]);
  assert.ok(verified.done >= 3 && verified.ended !== null);
  const exported = await ended({ kind: 'export', format: 'csv', filters: { model: chat.model, route: '/v1/chat/completions' } });
  assert.deepEqual([exported.state, exported.result, exported.done, exported.total], ['done', { records: 2 }, 2, 2]);
  const file = await ask(`jobs/${exported.id}/file`, undefined, undefined, readToken);
  assert.deepEqual([file.status, file.headers['content-disposition'], file.text.split('\r\n').length, file.text.includes('request_id')], [200, 'attachment; filename="heimdall.csv"', 4, true]);
  const lines = (await ask(`jobs/${(await ended({ kind: 'export', filters: { route: '/v1/chat/completions' } })).id}/file`)).text;
  const token = (JSON.parse(lines.split('\n')[0] as string) as { token_id: string }).token_id;
  const forgotten = await ended({ kind: 'forget', token });
  assert.deepEqual([forgotten.state, forgotten.result], ['done', { erased: 3 }]);
  assert.equal((await ended({ kind: 'verify' })).result?.['whole'], true);
  const { jobs } = (await ask('jobs')).json<{ jobs: Job[] }>();
  assert.deepEqual(jobs.map(({ kind }) => kind), ['verify', 'forget', 'verify']);
  assert.equal((await ask(`jobs/${verified.id}`, undefined, 'DELETE')).status, 204);
  for (const path of [`jobs/${verified.id}`, `jobs/${exported.id}/file`, `jobs/${verified.id}/file`]) assert.equal((await ask(path)).status, 404, path);
});

test('a caller that is forgotten as a job is in no finding, noted token or sum any more, by the token itself too', async (t) => {
  const { ask, ended, path } = await start(t);
  const leaked = async (): Promise<{ keys: { id: string }[] }> => (await ask('leaked', { keys: [DEMO_KEY] })).json();
  const { keys: [{ id }] } = (await leaked()) as { keys: [{ id: string }] };
  const findings = async (): Promise<number> => (await ask('findings')).json<{ findings: object[] }>().findings.length;
  assert.deepEqual([await findings(), (await ask(`callers/${id}`)).status], [1, 200]);
  const files = (): string[] => readdirSync(dirname(path)).filter((name) => /\.(?:sums|state)\.db/.test(name) && readFileSync(join(dirname(path), name)).includes(id));
  assert.notDeepEqual(files(), []);
  assert.equal((await ended({ kind: 'forget', key: DEMO_KEY })).error, null);
  assert.deepEqual(files(), []);
  assert.deepEqual([await findings(), (await leaked()).keys], [0, []]);
});

test('a token that is still to be noted is forgotten too', async (t) => {
  const { ask, ended } = await start(t);
  assert.equal((await ended({ kind: 'forget', key: DEMO_KEY })).error, null);
  assert.deepEqual((await ask('leaked', { keys: [DEMO_KEY] })).json<{ keys: object[] }>().keys, []);
});

test('an export is on the disk without a name, and gone with its job, a client that leaves, a failure, a cancel or an erasure', async (t) => {
  const { TMPDIR: before } = process.env;
  process.env['TMPDIR'] = temporary(t);
  t.after(() => (before === undefined ? delete process.env['TMPDIR'] : (process.env['TMPDIR'] = before)));
  const { ask, ended, gate, url, log } = await start(t);
  const named = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('heimdall-export-'));
  /** Files of exports that this process has open; elsewhere than on Linux that cannot be told. */
  const open = (): string[] => (process.platform === 'linux' ? readdirSync('/proc/self/fd').map((fd) => `/proc/self/fd/${fd}`).filter((fd) => { try { return readlinkSync(fd).includes('/heimdall-export-'); } catch { return false; } }) : []);
  const { id } = await ended({ kind: 'export' });
  assert.deepEqual([named(), open().length], [[], process.platform === 'linux' ? 1 : 0], 'a process that is killed leaves nothing behind');
  for (const file of open()) truncateSync(file, 64_000_000);
  const leaving = new AbortController();
  const answer = await fetch(`${url}/heimdall/api/jobs/${id}/file`, { headers: bearer(token), signal: leaving.signal });
  assert.equal(answer.status, 200);
  assert.equal((await ask(`jobs/${id}`, undefined, 'DELETE')).status, 204);
  leaving.abort();
  await until(() => open().length === 0);
  const begun = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  const mocked = t.mock.method(journalOf(gate) as WorkerJournal, 'work', async (...[what]: Parameters<WorkerJournal['work']>) => {
    if (what.kind === 'export' && what.format === 'csv') throw new Error('no space');
    await begun.promise;
    return { result: cancelled.promise.then(() => Promise.reject(new Error('cancelled'))), cancel: cancelled.resolve };
  });
  const early = (await ask('jobs', { kind: 'export' })).json<Job>().id;
  assert.equal((await ask(`jobs/${early}`, undefined, 'DELETE')).status, 204);
  begun.resolve();
  await cancelled.promise;
  assert.deepEqual(log.named('job.failed'), []);
  const { state, error } = await ended({ kind: 'export', format: 'csv' });
  assert.deepEqual([state, error], ['failed', 'no space']);
  await until(() => named().length + open().length === 0);
  mocked.mock.restore();
  const kept = async (): Promise<string[]> => (await ask('jobs')).json<{ jobs: Job[] }>().jobs.filter((job) => job.kind === 'export' && job.state === 'done').map((job) => job.id);
  const erasures = [() => ended({ kind: 'forget', key: DEMO_KEY }), () => journalOf(gate).forget({ kind: 'address', value: '127.0.0.1' })];
  for (const erase of erasures) {
    const before = (await ended({ kind: 'export' })).id;
    assert.deepEqual(await kept(), [before]);
    await erase();
    assert.equal((await ask(`jobs/${before}/file`)).status, 404);
    assert.deepEqual([await kept(), open()], [[], []]);
  }
});

test('an erasure that runs cannot be cancelled', async (t) => {
  const { ask, gate } = await start(t);
  const over = Promise.withResolvers<number>();
  t.mock.method(journalOf(gate), 'forget', () => over.promise);
  const { id } = (await ask('jobs', { kind: 'forget', key: 'team-a' })).json<Job>();
  assert.equal((await ask(`jobs/${id}`, undefined, 'DELETE')).status, 409);
  over.resolve(0);
  await until(async () => (await ask(`jobs/${id}`)).json<Job>().state === 'done');
  assert.equal((await ask(`jobs/${id}`, undefined, 'DELETE')).status, 204);
});

test('a job that cannot be is refused by the name of its field, and a token that only reads begins none', async (t) => {
  const { ask } = await start(t);
  for (const [body, field] of [[{}, 'kind'], [{ kind: 'burn' }, 'kind'], [{ kind: 'export', format: 'xml' }, 'format'], [{ kind: 'export', filters: { colour: 'red' } }, 'filters.colour'], [{ kind: 'export', filters: { status: 'x' } }, 'filters.status'],
    [{ kind: 'forget' }, 'body'], [{ kind: 'forget', key: 'a', ip: '::1' }, 'body'], [{ kind: 'forget', ip: 'x' }, 'ip'], [{ kind: 'forget', token: 'sk-x' }, 'token'], [{ kind: 'verify', at: 1 }, 'at']] as const) {
    const answer = await ask('jobs', body);
    assert.deepEqual([answer.status, answer.json<{ error: { param: string } }>().error.param], [400, field], JSON.stringify(body));
  }
  assert.equal((await ask('jobs', { kind: 'verify' }, 'POST', readToken)).status, 403);
});

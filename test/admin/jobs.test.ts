import '../support/node.ts';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { closing, request, until, type Answer } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
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
  const { gate, url } = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token, readToken } });
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
  return { ask, ended };
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
  assert.deepEqual(jobs.map(({ kind }) => kind), ['verify', 'forget', 'export', 'export', 'verify']);
  assert.equal((await ask(`jobs/${exported.id}`, undefined, 'DELETE')).status, 204);
  for (const path of [`jobs/${exported.id}`, `jobs/${exported.id}/file`, `jobs/${verified.id}/file`]) assert.equal((await ask(path)).status, 404, path);
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

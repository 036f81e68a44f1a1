import '../support/node.ts';
import assert from 'node:assert/strict';
import pg from 'pg';
import { after, before, describe, it } from 'node:test';
import { DatabaseSync } from 'node:sqlite';
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { main } from '../../lib/cli/cli.ts';
import type { ConfigInput } from '../../lib/index.ts';
import { journalReader, type Wanted } from '../../lib/journal/journal.ts';
import { callersOf, queryAbout, seriesOf, spendOf, spendSince, totalsOf } from '../../lib/journal/callers.ts';
import { search } from '../../lib/journal/grep.ts';
import { readRequest } from '../../lib/journal/query.ts';
import { balanceOf, countOf, filters, frequencyOf, groups, groupsOf, measures } from '../../lib/journal/search.ts';
import { attachSums, Sums } from '../../lib/journal/sums.ts';
import { FindingsTable, postgresReader, schemaSql } from '../../lib/postgres/postgres.ts';
import { postgresSink } from '../../lib/sinks/postgres.ts';
import type { Finding } from '../../types/finding.d.ts';
import type { JournalSearch, Position, SqlValue } from '../../types/journal.d.ts';
import type { Question, RecordReader } from '../../types/reader.d.ts';
import { closing, request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { startPostgres, withoutPostgres, type TestPostgres } from '../support/postgres.ts';
import { journalOf, noon } from '../support/rows.ts';
import { bearer, chat } from '../support/scene.ts';
import { uuidOf } from '../support/uuid.ts';

const signal = new AbortController().signal;
const own = ['/heimdall', '/health'];
const size = 120;
const now = (noon + size * 2300) * 1000;
let server: TestPostgres;
let db: DatabaseSync;
let journal: RecordReader;
let shared: RecordReader & { close(): Promise<void> };

/** Records of three days, of few callers with much in common. */
const rowOf = (_: unknown, nth: number) => ({
  request_id: uuidOf((noon + nth * 2200) * 1000 + (nth % 1000), nth), timestamp: noon + nth * 2200, response_status: [200, 200, 429, 503, 0][nth % 5] as number, outcome: ['served', 'served', 'refused:rate_limited', 'upstream_error', 'aborted'][nth % 5] as string,
  key_id: nth % 4 === 0 ? `team-${nth % 3}` : null, token_id: nth % 7 === 0 ? null : `${'0'.repeat(15)}${nth % 6}`, user_id: nth % 3 === 0 ? nth % 9 : null, real_ip: `10.${nth % 3}.0.${nth % 11}`, device_fingerprint: `${'ab'.repeat(31)}${nth % 4}0`,
  session: `5e55${nth % 9}`.padEnd(16, '0'), device_id: nth % 2 === 0 ? `dede${nth % 5}`.padEnd(32, '0') : null, session_id: nth % 3 === 0 ? `1d1d${nth % 4}`.padEnd(32, '0') : null, home_id: null, client: nth % 10 === 9 ? 'my_client/1' : `openai-python/${nth % 2}`, model: nth % 8 === 0 ? null : `gpt-${nth % 3}-mini`,
  route: nth % 10 === 0 ? '/heimdall/api/logs' : '/v1/chat/completions', target: nth % 2 === 0 ? 'newapi' : 'backup', source: nth % 13 === 0 ? 'edge' : 'gate', cost: nth / 1000, prompt_tokens: nth, completion_tokens: nth % 17, tokens_reserved: 5, tokens_settled: 3, tokens_released: 2,
  content_fingerprint: `c0ffee${nth % 6}`.padEnd(32, '0'), upstream_request_id: `up-${nth}`, overhead: nth % 3 === 0 ? null : 0.5, first_byte: 10.5, response_body: nth % 50 === 0 ? `it said "needle" ${nth}` : null, would_refuse: nth % 6 === 0 ? 'a,b' : null, stream: nth % 2,
});

before(async () => {
  if (withoutPostgres) return;
  server = await startPostgres();
  db = journalOf(':memory:', Array.from({ length: size }, rowOf));
  attachSums(db, null);
  while (new Sums(db, own).update(now));
  const query = async (sql: string, values: readonly SqlValue[] = []) => db.prepare(sql).all(...values) as never;
  journal = journalReader({ query, request: async (id) => readRequest(db, id), grep: async (asked) => search(db, asked), sum: async () => undefined }) as RecordReader;
  const sink = postgresSink(server.url, { own, nameOf: () => null, lacks: (what) => assert.fail(what) });
  const records = [];
  for (let id = 0; id < size; id++) records.push(await journal.request(uuidOf((noon + id * 2200) * 1000 + (id % 1000), id)));
  for (let at = 0; at < size; at += 60) assert.deepEqual(await sink.deliver(records.slice(at, at + 60) as never, signal), { kind: 'delivered' });
  // Delivered again nothing counts twice.
  await sink.deliver(records.slice(0, 100) as never, signal);
  await sink.learn?.([{ request_id: rowOf(0, 3).request_id, timestamp: rowOf(0, 3).timestamp, username: 'alice', token_name: 'laptop', charged: 0.5 }], signal);
  await sink.close?.();
  await server.query("CREATE ROLE reader LOGIN PASSWORD 'change-me'");
  await server.query('GRANT SELECT ON heimdall_logs, heimdall_minutes, heimdall_hours, heimdall_callers, heimdall_caller_hours, heimdall_caller_values, heimdall_findings TO reader');
  shared = postgresReader(server.urlOf('reader', 'change-me')) as never;
});
after(async () => {
  await shared?.close();
  await server?.close();
});

const plain: Omit<JournalSearch<Position>, 'now' | 'wanted'> = { grep: null, limit: 40, cursor: null, order: 'newest', time: Infinity };

/** The paths of the records that a walk finds, page by page. */
async function walked(reader: RecordReader, asked: Partial<JournalSearch<Position>> & { readonly wanted: Wanted }): Promise<string[]> {
  const found: string[] = [];
  for (let cursor: Position | null = null; ; ) {
    const { records, next } = await reader.search({ ...plain, now, ...asked, cursor });
    found.push(...records.map(({ request_id: id }) => id));
    if (next === null) return found;
    cursor = next;
  }
}

/** Sums of fractions differ by their order. */
const rounded = (value: unknown): unknown => (typeof value === 'number' ? Math.round(value * 1e6) / 1e6 : value);
const answered = async (reader: RecordReader, question: Question): Promise<object[]> => (await reader.ask(question)).map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, rounded(value)])));

describe('records of all instances in PostgreSQL', { skip: withoutPostgres }, () => {
  const { username: _user, token_name: _token, ...others } = filters;
  const examples: Record<string, string[]> = {
    key: ['team-1', `${'0'.repeat(15)}3`], user: ['3'], address: ['10.1.0.4', '10.2.0.0/16'], device: [`${'ab'.repeat(31)}30`, 'abab'], session: ['5e552'], device_id: ['dede2'], session_id: ['1d1d'], home_id: ['abcd'], client: ['openai-python', 'openai-python/1', 'my_client', 'my%', 'My_client'],
    content: ['c0ffee4'], status: ['503', '4xx', '0'], outcome: ['refused', 'served'], model: ['gpt-1-mini', 'gpt-*', 'none', 'a\0*', '\ud800'], route: ['/v1/chat/completions'], target: ['backup'], source: ['edge'], request_id: [rowOf(0, 77).request_id, 'nothing'], upstream_request_id: ['up-9'],
    from: ['24h', '2026-11-24'], to: ['2026-11-23T12:00:00Z', '900000d'],
  };

  it('are found by every filter as in a journal, page by page in both directions', async () => {
    assert.deepEqual(Object.keys(examples), Object.keys(others));
    const all: Wanted[] = [{}, ...Object.entries(examples).flatMap(([name, texts]) => texts.map((text) => ({ [name]: text }))), { from: '3d', to: '1d', status: '5xx', target: 'backup' }];
    for (const wanted of all) {
      const newest = await walked(journal, { wanted });
      assert.deepEqual(await walked(shared, { wanted }), newest, JSON.stringify(wanted));
      assert.deepEqual(await walked(shared, { wanted, order: 'oldest', last: await shared.latest() }), newest.toReversed(), JSON.stringify(wanted));
      assert.deepEqual(await answered(shared, countOf(wanted, now)), [{ records: newest.length }], JSON.stringify(wanted));
    }
    assert.equal((await walked(shared, { wanted: { client: 'my_client' } })).length, size / 10);
    for (const asked of [{ without: ['/heimdall', '/metrics'] }, { callers: ['team-1', `${'0'.repeat(15)}2`] }, { grep: 'said "needle"', limit: 3 }]) assert.deepEqual(await walked(shared, { wanted: {}, ...asked }), await walked(journal, { wanted: {}, ...asked }), JSON.stringify(asked));
  });

  it('are looked for no longer than a page may take, from a first look on that always ends', async (t) => {
    const holder = new pg.Client(server.url);
    const waiting = new pg.Client(server.url);
    for (const client of [holder, waiting]) await client.connect();
    t.after(() => Promise.all([holder.end(), waiting.end()]));
    const oldest = 'heimdall_logs_20261122';
    await holder.query(`BEGIN; LOCK TABLE ${oldest} IN ACCESS EXCLUSIVE MODE`);
    await waiting.query("SET lock_timeout = '3s'");
    const gaveUp = waiting.query(`SELECT 1 FROM ${oldest} LIMIT 1`).then(() => null, () => null);
    const found = await Promise.race([gaveUp, shared.search({ ...plain, cursor: null, last: null, wanted: { model: 'none' }, now, time: 200 })]);
    assert.deepEqual([found?.records, found?.stopped], [[], true], 'answers before one that waits for three seconds');
    assert.ok(found !== null && typeof found.next === 'string' && found.next > rowOf(0, 0).request_id);
    await holder.query('ROLLBACK');
    await gaveUp;
  });

  it('are whole as in a journal, with what was learnt later', async () => {
    const { id: _id, ...whole } = (await journal.request(rowOf(0, 50).request_id)) ?? assert.fail();
    const { id: _other, ...read } = (await shared.request(rowOf(0, 50).request_id)) ?? assert.fail();
    assert.deepEqual(read, whole);
    assert.equal(await shared.request('no-such-request'), null);
    assert.deepEqual((await shared.request(rowOf(0, 3).request_id))?.learnt, { username: 'alice', token_name: 'laptop', charged: 0.5 });
    assert.deepEqual([await walked(shared, { wanted: { username: 'alice' } }), await walked(shared, { wanted: { token_name: 'desktop' } })], [[rowOf(0, 3).request_id], []]);
  });

  it('are grouped and summed as in a journal', async () => {
    const questions: Question[] = [
      ...Object.keys(groups).map((by) => groupsOf({ wanted: {}, by: by as keyof typeof groups, sort: 'requests', least: 0, limit: 50, offset: 0, now })),
      ...measures.map((sort) => groupsOf({ wanted: { from: '3d' }, by: 'address', sort, least: 1.5, limit: 5, offset: 2, now })),
      frequencyOf({}, null, 3600, 100, now), frequencyOf({ status: '5xx' }, 'model', 86_400, 100, now), balanceOf({ target: 'backup' }, now),
      callersOf(5, null), callersOf(5, { last: noon + 60 * 2200, kind: 'token', id: 'x' }), seriesOf('minute', noon, noon + 86_400), seriesOf('hour', noon, noon + 86_400 * 9), seriesOf('day', noon - 43_200, noon + 86_400 * 9),
      totalsOf(noon, noon + 86_400), spendOf(noon, noon + 7200), spendSince({ kind: 'key', id: 'team-0' }, noon + 86_400),
      queryAbout({ kind: 'key', id: 'team-1' }), queryAbout({ kind: 'token', id: `${'0'.repeat(15)}1` }),
    ];
    for (const question of questions) {
      const [expected, found] = [await answered(journal, question), await answered(shared, question)];
      const bare = ({ first: _first, last: _last, ...row }: Record<string, unknown>): unknown => row;
      const isBalance = expected.length === 1 && 'tokens_reserved' in (expected[0] as object);
      // Rows that no order tells apart may come in any.
      const inOrder = (rows: object[]): unknown[] => rows.map((row) => (isBalance ? bare(row as Record<string, unknown>) : row)).sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
      assert.deepEqual(inOrder(found), inOrder(expected), question({ begins: () => ({ sql: '', values: [] }), learnt: () => ({ sql: '', values: [] }), among: () => '', newest: '', sums: '', recent: { sql: '', values: [] } }).sql);
    }
    for (const caller of [{ kind: 'key', id: 'team-1' }, { kind: 'token', id: `${'0'.repeat(15)}1` }]) assert.deepEqual(await shared.requestsOf(caller, 5), (await journal.requestsOf(caller, 5)).map((row) => ({ ...row })));
  });

  it('are one page, one API and one command for two instances that share nothing else', async (t) => {
    await server.query('CREATE DATABASE pages');
    const token = 'the-token-of-the-admin-in-32-characters-or-more';
    const newapi = closing(t, await startNewapi());
    const url = server.url.replace(/\/postgres$/, '/pages');
    const config = (): ConfigInput => ({ secret: 'the-secret-that-both-of-them-have', newapi: { baseUrl: newapi.url }, admin: { token, readFrom: 'postgres' }, audit: { path: join(temporary(t), 'heimdall.db'), postgres: { url } } });
    const [one, other] = [await startGate(t, config()), await startGate(t, config())];
    const api = async <T>({ url: at }: RunningGate, what: string, body?: object): Promise<{ status: number; body: T }> => {
      const answer = await request(`${at}/heimdall/api/${what}`, { headers: bearer(token), ...(body !== undefined && { body }) });
      return { status: answer.status, body: answer.json() };
    };
    // The first records make the tables.
    for (const [what, empty] of [['logs?own=false&count=true', { logs: [], next: null, count: 0 }], ['callers', { callers: [], next: null }]] as const) assert.deepEqual(await api<object>(one, what), { status: 200, body: empty });
    assert.equal((await api(one, 'overview')).status, 200);
    for (const gate of [one, other]) await request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(DEMO_KEY) });
    const routes = 'logs?route=/v1/chat/completions&own=false';
    type Logs = { logs: { request_id: string; token_id: string }[]; next: string | null };
    for (const gate of [one, other]) await until(async () => (await api<Partial<Logs>>(gate, routes)).body.logs?.length === 2);
    const { body: { logs } } = await api<Logs>(one, `${routes}&limit=1`);
    const { body: page } = await api<Logs>(one, `${routes}&order=oldest&limit=1`);
    assert.deepEqual((await api<Logs>(one, `${routes}&order=oldest&limit=1&cursor=${page.next}`)).body.logs.map(({ request_id: id }) => id), logs.map(({ request_id: id }) => id));
    for (const wrong of ['cursor=12_', `user=${'9'.repeat(30)}`]) assert.equal((await api(one, `logs?${wrong}`)).status, 400, wrong);
    for (const { request_id: id } of [...logs, ...page.logs]) assert.equal((await api(one, `logs/${id}`)).status, 200);
    const caller = logs[0]?.token_id ?? '';
    assert.deepEqual((await api<{ callers: { id: string; requests: number }[] }>(one, 'callers')).body.callers.map(({ id, requests }) => [id, requests]), [[caller, 2]]);
    assert.equal((await api<{ requests: number }>(one, `callers/${caller}`)).body.requests, 2);
    const overview = await api<{ requests: { hour: number }; read_from: string; instance_only: boolean }>(one, 'overview');
    assert.deepEqual([overview.body.requests.hour, overview.body.read_from, overview.body.instance_only], [2, 'postgres', true]);
    assert.equal((await request(`${other.url}/heimdall/api/me`, { headers: bearer(DEMO_KEY) })).json<{ requests: unknown[] }>().requests.length, 2);

    assert.equal((await api(other, 'leaked', { keys: [DEMO_KEY] })).status, 200);
    type Found = { id: string; rule: string; instance: string | null };
    let found: Found[] = [];
    await until(async () => (found = (await api<{ findings: Found[] }>(one, 'findings')).body.findings).length === 1);
    assert.deepEqual(found.map(({ rule, instance }) => [rule, instance]), [['leaked_key', hostname()]]);
    const [{ id }] = found as [Found];
    assert.deepEqual([(await api(one, `findings/${id}`)).status, (await api(one, `findings/${id}/undo`, {})).status, (await api<Found>(other, `findings/${id}/undo`, { reason: 'not a\0 leak' })).body.instance], [200, 409, null]);
    await until(async () => (await api<{ state: string }>(one, `findings/${id}`)).body.state === 'undone');

    const file = join(temporary(t), 'heimdall.yaml');
    writeFileSync(file, JSON.stringify({ newapi: { base_url: newapi.url }, secret: 'the-secret-that-both-of-them-have', audit: { postgres: { url, read_url: url } }, admin: { token, read_from: 'postgres' } }), { mode: 0o600 });
    const command = async (...args: string[]): Promise<readonly [number | null, string]> => {
      let said = '';
      const code = await main([...args, '-c', file], { out: (text) => void (said += text), err: (text) => void (said += text) });
      return [code, said];
    };
    assert.deepEqual(JSON.parse((await command('logs', '--route', '/v1/chat/completions', '--json'))[1]).map(({ request_id: each }: { request_id: string }) => each).sort(), [...logs, ...page.logs].map(({ request_id: each }) => each).sort());
    assert.equal(JSON.parse((await command('logs', 'show', logs[0]?.request_id ?? ''))[1]).token_id, caller);
    assert.match((await command('logs', '--by', 'key'))[1], new RegExp(`${caller} +3 `));
    const [code, refusal] = await command('logs', '--follow');
    assert.deepEqual([code, /expected the journal of an instance, got PostgreSQL/.test(refusal)], [2, true], refusal);
  });

  it('are missed while PostgreSQL is away, and the instance shows what it has by itself', async (t) => {
    await server.query('CREATE DATABASE away');
    const token = 'the-token-of-the-admin-in-32-characters-or-more';
    const newapi = closing(t, await startNewapi());
    const { url } = await startGate(t, { secret: 'the-secret-that-all-of-them-have', newapi: { baseUrl: newapi.url }, admin: { token, readFrom: 'postgres' }, anomaly: { api: true }, rateLimit: { key: { requests: { limit: 9, window: 60_000 } } }, audit: { path: join(temporary(t), 'heimdall.db'), postgres: { url: server.url.replace(/\/postgres$/, '/away') } } });
    const ask = async (path: string, credential = token, body?: object) => request(url + path, { headers: bearer(credential), ...(body !== undefined && { body }) });
    type Told = { records: { available: boolean; problem?: string }; findings: { id: string }[]; requests: unknown; spend: object; limits: { remaining: number }[]; targets: unknown[]; problems: { code: string }[]; data: { total: number; logs_total: number }; message: string };
    await ask('/v1/chat/completions', DEMO_KEY, chat);
    assert.equal((await ask('/heimdall/api/leaked', token, { keys: [DEMO_KEY] })).status, 200);
    await until(async () => (await ask('/heimdall/api/me', DEMO_KEY)).json<{ requests: unknown[] }>().requests.length === 1);
    await server.query("SELECT heimdall_find('[{\"id\":\"theirs\",\"instance\":\"another\",\"last\":1,\"finding\":{\"id\":\"theirs\",\"rule\":\"shared_key\",\"caller\":{\"kind\":\"key\",\"id\":\"team-z\"},\"score\":50,\"since\":1,\"last\":1,\"state\":\"open\",\"action\":\"flag\",\"evidence\":{\"records\":[],\"requests\":1},\"reason\":\"devices\",\"baseline\":{},\"restsUntil\":null,\"note\":\"\",\"expires\":null,\"would\":null}}]'::json, '{}')", [], 'away');
    // The original's API shows what other instances have found too, and says who can act on it.
    assert.equal((await ask('/api/anomaly/detections')).json<Told>().data.total, 2);
    assert.equal((await ask('/api/anomaly/detections/theirs')).json<{ data: { id: string } }>().data.id, 'theirs');
    const refused = await request(`${url}/api/anomaly/detections/theirs/status`, { method: 'PUT', headers: bearer(token), body: { status: 'resolved' } });
    assert.deepEqual([refused.status, /another/.test(refused.json<Told>().message)], [200, true]);
    assert.ok((await ask('/api/anomaly/ip-aggregation?ip=127.0.0.1')).json<Told>().data.logs_total > 0);

    await server.stop();
    try {
      const overview = await ask('/heimdall/api/overview');
      const shown = overview.json<Told>();
      assert.deepEqual([overview.status, shown.records.available, /PostgreSQL/.test(shown.records.problem ?? ''), shown.targets.length, shown.problems.some(({ code }) => code === 'records'), shown.requests], [200, false, true, 1, true, { hour: null, last_week: null }]);
      const findings = (await ask('/heimdall/api/findings')).json<Told>();
      assert.deepEqual([findings.findings.length, findings.records.available], [1, false]);
      assert.equal((await ask(`/heimdall/api/findings/${findings.findings[0]?.id}`)).status, 200);
      const mine = await ask('/heimdall/api/me', DEMO_KEY);
      const { records, findings: about, spend, requests, limits } = mine.json<Told>();
      assert.deepEqual([mine.status, records, about.length, spend, requests, limits[0]?.remaining], [200, { available: false }, 1, { day: null, month: null }, [], 8]);
      const { data, message } = (await ask('/api/anomaly/detections')).json<Told>();
      assert.deepEqual([data.total, /PostgreSQL/.test(message)], [1, true]);
      for (const path of ['/heimdall/api/logs', '/heimdall/api/findings/theirs', '/api/anomaly/ip-aggregation?ip=127.0.0.1']) assert.equal((await ask(path)).status, 503, path);
    } finally {
      await server.start();
    }
    assert.equal((await ask('/heimdall/api/overview')).json<Told>().records.available, true);
    assert.equal((await ask('/heimdall/api/findings')).json<Told>().findings.length, 2);
  });

  it('come with the findings of an instance, of which those that have changed are written alone', async (t) => {
    await server.query('CREATE DATABASE found');
    for (const statement of schemaSql) await server.query(statement, [], 'found');
    const table = new FindingsTable(server.url.replace(/\/postgres$/, '/found'), 'here');
    t.after(() => table.close());
    let reads = 0;
    const finding = (id: string, last: number): Finding => Object.defineProperty({ id, last } as Finding, 'rule', { enumerable: true, get: () => {
      if (id === 'same') reads++;
      return 'shared_key';
    } });
    const [same, grown, gone] = [finding('same', 1), finding('grown', 1), finding('gone', 1)];
    const written = (): Promise<object[]> => server.query<object>('SELECT id, instance, last::int AS last FROM heimdall_findings ORDER BY id', [], 'found');
    await table.write(new Map([same, grown, gone].map((each) => [each.id, each])));
    assert.deepEqual(await written(), ['gone', 'grown', 'same'].map((id) => ({ id, instance: 'here', last: 1 })));
    const once = reads;
    await server.query("DELETE FROM heimdall_findings WHERE id = 'same'", [], 'found');
    await table.write(new Map([same, finding('grown', 2)].map((each) => [each.id, each])));
    assert.deepEqual([await written(), reads], [[{ id: 'grown', instance: 'here', last: 2 }], once], 'what has not changed is not even read');
  });

  it('are in partitions of a day, which a function removes', async () => {
    const parts = await server.query<{ name: string }>("SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'heimdall_logs'::regclass ORDER BY 1");
    assert.deepEqual(parts.map(({ name }) => name).slice(0, 2), ['heimdall_logs_20261122', 'heimdall_logs_20261123']);
    const places = await server.query<object>("SELECT relname AS name, count(*)::int AS columns FROM pg_class JOIN pg_am ON pg_am.oid = relam JOIN pg_attribute ON attrelid = pg_class.oid WHERE amname = 'brin' AND relname ~ '^heimdall_logs_20261122_[a-z]+$' GROUP BY 1 ORDER BY 1");
    assert.deepEqual(places, [{ name: 'heimdall_logs_20261122_callers', columns: 3 }, { name: 'heimdall_logs_20261122_contents', columns: 2 }, { name: 'heimdall_logs_20261122_devices', columns: 4 }, { name: 'heimdall_logs_20261122_places', columns: 7 }], 'tell which pages have what few records have, and what few values a column has lies apart');
    await server.query('CREATE DATABASE other');
    for (const statement of schemaSql) await server.query(statement, [], 'other');
    const empty = postgresReader(server.url.replace(/\/postgres$/, '/other'));
    assert.deepEqual(await empty.search({ ...plain, cursor: null, last: null, wanted: {}, now, time: 0 }), { records: [], next: null, stopped: false });
    await empty.close();
    await server.query("SELECT heimdall_write('[{\"request_id\":\"x\",\"timestamp\":1},{\"request_id\":\"ffffffff-ffff-7000-8000-000000000000\",\"timestamp\":86400}]', '{}')", [], 'other');
    assert.deepEqual(await server.query<object>('SELECT day::text, request_id FROM heimdall_logs ORDER BY 1', [], 'other'), [{ day: '1970-01-01', request_id: 'x' }, { day: '1970-01-02', request_id: 'ffffffff-ffff-7000-8000-000000000000' }]);
    await server.query("SELECT heimdall_find('[{\"id\":\"old\",\"instance\":\"a\",\"finding\":{},\"last\":86399000},{\"id\":\"new\",\"instance\":\"a\",\"finding\":{},\"last\":86400000}]'::json, '{}')", [], 'other');
    assert.deepEqual(await server.query<object>("SELECT heimdall_drop('1970-01-02') AS dropped", [], 'other'), [{ dropped: '1' }]);
    assert.equal((await server.query('SELECT FROM heimdall_logs', [], 'other')).length, 1);
    assert.deepEqual(await server.query<object>('SELECT id FROM heimdall_findings', [], 'other'), [{ id: 'new' }]);
  });

  it('cannot be changed by who reads them, nor read from tables that are not there', async () => {
    await assert.rejects(shared.ask(() => ({ sql: 'DELETE FROM heimdall_minutes', values: [] })), { code: 'records_unavailable' });
    const nowhere = postgresReader(server.url.replace(/\/postgres$/, '/template1'));
    await assert.rejects(nowhere.latest(), /psql -f postgres\.sql/);
    await nowhere.close();
    const fresh = postgresReader(server.url.replace(/\/postgres$/, '/template1'), () => true);
    assert.deepEqual([await fresh.findings(), await fresh.request(rowOf(0, 3).request_id)], [[], null]);
    await fresh.close();
    const away = postgresReader('postgresql://me:a-secret-one@127.0.0.1:1/none');
    await assert.rejects(away.latest(), { code: 'records_unavailable', message: 'The records cannot be read from PostgreSQL: PostgreSQL cannot be reached (ECONNREFUSED).' });
    await away.close();
  });
});

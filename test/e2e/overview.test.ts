import assert from 'node:assert/strict';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { closing, request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { journalOf } from '../support/journal.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';

interface Scene extends RunningGate {
  api<T>(path: string): Promise<{ status: number; body: T }>;
}

async function start(t: TestContext, path = join(temporary(t), 'heimdall.db')): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, admin: { token }, rateLimit: { key: { requests: { limit: 100, window: '1h' } } }, audit: { path } });
  const api: Scene['api'] = async (what) => {
    const answer = await request(`${gate.url}/heimdall/api/${what}`, { headers: bearer(token) });
    return { status: answer.status, body: answer.json() };
  };
  return { ...gate, api };
}

const ask = ({ url }: RunningGate, key = DEMO_KEY): Promise<{ status: number }> => request(`${url}/v1/chat/completions`, { body: chat, headers: bearer(key) });

interface Overview {
  readonly status: string;
  readonly requests: { readonly hour: number; readonly last_week: number };
  readonly refused: { readonly hour: number };
  readonly overhead: { readonly hour: number | null };
  readonly findings: { readonly open: number };
  readonly series: { readonly requests: readonly number[] };
}

interface Callers {
  readonly callers: readonly { readonly kind: string; readonly id: string; readonly requests: number }[];
  readonly next: string | null;
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

test('the overview and series count what passed, without the gate\'s own paths, from sums of the journal', async (t) => {
  const gate = await start(t);
  for (let nth = 0; nth < 3; nth++) await ask(gate);
  await request(`${gate.url}/v1/chat/completions`, { body: chat });
  await request(`${gate.url}/health`);
  await journalOf(gate.gate).flush();
  const { body } = await gate.api<Overview>('overview');
  assert.deepEqual([body.status, body.requests, body.refused.hour, body.findings.open, total(body.series.requests)], ['healthy', { hour: 4, last_week: 0 }, 1, 0, 4]);
  assert.ok((body.overhead.hour ?? -1) >= 0 && body.series.requests.length === 60);
  for (const step of ['minute', 'hour', 'day']) {
    const { body: series } = await gate.api<{ step: string; times: number[]; requests: number[]; prompt_tokens: number[]; duration: (number | null)[] }>(`series?from=2h&step=${step}`);
    assert.deepEqual([series.step, total(series.requests), series.times.length === series.duration.length], [step, 4, true]);
    assert.ok(total(series.prompt_tokens) > 0);
  }
  for (const [query, field] of [['from=soon', 'from'], ['from=2h&to=3h', 'from'], ['from=90d&step=minute', 'step'], ['step=week', 'step']]) {
    const answer = await gate.api<{ error: { param: string } }>(`series?${query}`);
    assert.deepEqual([answer.status, answer.body.error.param], [400, field], query);
  }
});

test('the list of requests leaves out the admin\'s own where it is asked to, and health names Redis and certificates', async (t) => {
  const gate = await start(t);
  await ask(gate);
  await gate.api('targets');
  await journalOf(gate.gate).flush();
  const before = (await gate.api<{ logs: { id: number }[] }>('logs?limit=1')).body.logs[0]?.id ?? 0;
  // A page that takes too long stops, and says where to go on.
  const routes = async (query: string): Promise<string[]> => {
    const found: string[] = [];
    for (let cursor: string | number | null = ''; cursor !== null;) {
      const { logs, next }: { logs: { id: number; route: string }[]; next: string | number | null } = (await gate.api<{ logs: { id: number; route: string }[]; next: string | number | null }>(`logs?${query}${cursor === '' ? '' : `&cursor=${cursor}`}`)).body;
      found.push(...logs.filter(({ id }) => id <= before).map(({ route }) => route));
      cursor = next;
    }
    return found.sort();
  };
  assert.deepEqual([await routes(''), await routes('own=false')], [['/heimdall/api/targets', '/v1/chat/completions'], ['/v1/chat/completions']]);
  // What the overview counts is what the list, its count and its sums have.
  const { body: page } = await gate.api<{ count: number }>('logs?own=false&count=true');
  const sums = async (query: string) => (await gate.api<{ groups: { value: string; requests: number }[] }>(`logs/aggregate?by=source${query}`)).body.groups.map(({ value, requests }) => [value, requests]);
  assert.deepEqual([page.count, await sums('&own=false')], [1, [['gate', 1]]]);
  await journalOf(gate.gate).flush();
  assert.ok(Number((await sums(''))[0]?.[1]) >= 4);
  const { body } = await gate.api<{ redis: unknown; certificates: unknown }>('health');
  assert.deepEqual([body.redis, body.certificates], [{ used: false, state: null }, []]);
});

test('callers come by page, the latest first, and one is forgotten in its sums too', async (t) => {
  const gate = await start(t);
  await ask(gate);
  for (const key of ['sk-one', 'sk-two', 'sk-three']) await ask(gate, key);
  await journalOf(gate.gate).flush();
  const ids: string[] = [];
  let cursor = '';
  for (let page = 0; page < 5; page++) {
    const { body } = await gate.api<Callers>(`callers?limit=2${cursor}`);
    ids.push(...body.callers.map(({ id }) => id));
    if (body.next === null) break;
    cursor = `&cursor=${encodeURIComponent(body.next)}`;
  }
  assert.equal(new Set(ids).size, 4);
  const id = ids[0] as string;
  const { body: one } = await gate.api<{ requests: number; networks: unknown[]; hours: { requests: number }[]; spend: { day: number; month: number }; limits: { rule: string; limit: number; remaining: number }[] }>(`callers/${id}`);
  assert.deepEqual([one.requests, one.networks.length, one.hours.map(({ requests }) => requests)], [1, 1, [1]]);
  assert.deepEqual([Object.keys(one.spend), one.limits], [['day', 'month'], [{ rule: 'key_limit.requests', limit: 100, remaining: 99, window: 3600 }]]);
  assert.equal((await gate.api('callers?cursor=nothing')).status, 400);
  await journalOf(gate.gate).forget({ kind: 'key', value: id });
  assert.ok(!(await gate.api<Callers>('callers')).body.callers.some((each) => each.id === id));
  assert.equal((await gate.api(`callers/${id}`)).status, 404);
});

test('a journal that is far ahead of its sums shows those it has, and in the end all', async (t) => {
  const path = join(temporary(t), 'heimdall.db');
  const first = await start(t, path);
  await ask(first);
  await journalOf(first.gate).flush();
  await first.gate.close();
  const db = new DatabaseSync(path);
  db.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
    INSERT INTO heimdall_logs (id, request_id, timestamp, response_status, response_time, route, model, outcome, source, token_id, digest) SELECT 1000 + i, 'r' || i, ${Math.floor(Date.now() / 1000)}, 200, 5, '/v1/x', 'm', 'served', 'gate', printf('%016x', 7), '' FROM n`);
  db.close();
  const second = await start(t, path);
  const seen: number[] = [];
  await until(async () => {
    seen.push((await second.api<Overview>('overview')).body.requests.hour);
    return seen.at(-1) === 12_001;
  });
  assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
  assert.equal((await second.api<{ requests: number }>(`callers/${'0'.repeat(15)}7`)).body.requests, 12_000);
});

test('sums go on after a restart, and are made again when their file is damaged', async (t) => {
  const path = join(temporary(t), 'heimdall.db');
  const sums = path.replace(/db$/, 'sums.db');
  const first = await start(t, path);
  await ask(first);
  await journalOf(first.gate).flush();
  assert.equal((await first.api<Overview>('overview')).body.requests.hour, 1);
  assert.equal(statSync(sums).mode & 0o777, 0o600);
  await first.gate.close();
  const second = await start(t, path);
  await ask(second);
  await journalOf(second.gate).flush();
  assert.equal((await second.api<Overview>('overview')).body.requests.hour, 2);
  await second.gate.close();
  writeFileSync(sums, 'no database at all');
  const third = await start(t, path);
  await until(async () => (await third.api<Overview>('overview')).body.requests.hour === 2);
  assert.ok(existsSync(sums));
});

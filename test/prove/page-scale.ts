import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { request } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { startNewapi } from '../support/newapi.ts';
import { PlaceKeeper } from '../../lib/journal/places.ts';
import { attachSums, Sums } from '../../lib/journal/sums.ts';
import { schemaSql } from '../../lib/postgres/postgres.ts';
import { startPostgres, withoutPostgres, type TestPostgres } from '../support/postgres.ts';
import { scratch } from '../support/scratch.ts';
import { uuidOf } from '../support/uuid.ts';
import type { Finding } from './proof.ts';

/** Records; fewer for a quick look. */
const records = Number(process.env['PAGE_SCALE_RECORDS'] ?? 10_000_000);
/** Where the journal is kept for the next run; else it goes with this one. */
const directory = process.env['PAGE_SCALE_DIR'];
/** Which of the two is asked; by default both. */
const only = process.env['PAGE_SCALE_IN'];
const chunk = 250_000;
const days = 30;
const rounds = 20;
/** One record of so many is of a model, a client, a caller … that no other one has; the first so many are of a target that is gone. */
const rareEvery = 3_000_000;
const formerly = 20_000;
/** A hexadecimal name that only such records have. */
const rare = (length: number): string => 'feedface'.repeat(length / 8);
/** How long the sums of a journal that did not grow by itself are waited for, milliseconds: a gate that runs keeps them up. */
const sumPatience = Number(process.env['PAGE_SCALE_WAIT'] ?? 600_000);
const token = 'the-token-of-the-admin-in-32-characters-or-more';

/** The slowest of twenty, milliseconds: of what a panel asks for when it is opened, and of a page of a list. */
const ofPanels = 100;
const ofLists = 50;

/**
 * What the page asks for with a journal of ten million records: each panel, each list with its next page, and filters that few or no
 * records pass.
 */
export async function pageScale(): Promise<Finding> {
  const found = [...(only === 'postgres' ? [] : [await inJournal()]), ...(only === 'sqlite' || withoutPostgres !== false ? [] : [await inPostgres()])];
  const rows = found.flat();
  const bad = rows.filter(({ ok }) => ok !== 'yes').length;
  return { rows, bar: `every panel within ${ofPanels} ms, every page of a list within ${ofLists} ms, p95 (${bad} of ${rows.length} beyond)`, holds: bad === 0 };
}

type Row = Record<string, string | number>;
type Ask = (what: string) => Promise<Record<string, unknown>>;

async function inPostgres(): Promise<Row[]> {
  const ends: (() => unknown)[] = [];
  const scope = { after: (end: () => unknown) => void ends.push(end) };
  try {
    const server = await startPostgres(['shared_buffers=512MB', 'max_wal_size=4GB'], directory === undefined ? null : join(directory, 'postgres'));
    scope.after(() => server.close());
    if ((await server.query<{ there: boolean }>("SELECT to_regclass('heimdall_logs') IS NOT NULL AS there"))[0]?.there !== true) await fillPostgres(server);
    const newapi = await startNewapi();
    scope.after(() => newapi.close());
    const { gate, url } = await startGate(scope, { secret: 'the-secret-of-this-proof-of-the-page', newapi: { baseUrl: newapi.url }, admin: { token, readFrom: 'postgres' }, audit: { path: join(scratch(), 'heimdall.db'), postgres: { url: server.url } }, anomaly: { mode: 'off' } });
    await gate.ready;
    return await asked(askOf(url), 'postgres ');
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

const askOf = (url: string): Ask => async (what) => {
  const answer = await request(`${url}/heimdall/api/${what}`, { headers: { Authorization: `Bearer ${token}` } });
  if (answer.status !== 200) throw new Error(`${what}: ${answer.status} ${answer.text.slice(0, 300)}`);
  return answer.json();
};

async function asked(ask: Ask, where: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [what, bar] of await questions(ask)) {
    const { logs, stopped } = await ask(what);
    rows.push({ ...(await timed(`${where}${what}`, bar, () => ask(what))), found: Array.isArray(logs) ? `${logs.length}${stopped === true ? ', goes on' : ''}` : '' });
    process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
  }
  return rows;
}

async function inJournal(): Promise<Row[]> {
  const ends: (() => unknown)[] = [];
  const scope = { after: (end: () => unknown) => void ends.push(end) };
  const path = join(directory ?? scratch(), 'heimdall.db');
  try {
    const newapi = await startNewapi();
    scope.after(() => newapi.close());
    const config = { secret: 'the-secret-of-this-proof-of-the-page', newapi: { baseUrl: newapi.url }, admin: { token }, audit: { path, maxSize: '100GB', retention: { records: '400d' } }, anomaly: { mode: 'off' as const } };
    if (!existsSync(path)) await fill(scope, config, path);
    const { gate, url } = await startGate(scope, config);
    await gate.ready;
    const ask = askOf(url);
    const begun = performance.now();
    let known = await summed(ask);
    while (known < records * 0.99 && performance.now() - begun < sumPatience) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      known = await summed(ask);
    }
    while (placed(path) < Math.floor(records / 16_384) && performance.now() - begun < sumPatience) await new Promise((resolve) => setTimeout(resolve, 500));
    const sums = { what: `sums of ${known} of ${records} records, once (${Math.round(statSync(path).size / 2 ** 20)} MiB)`, median: Math.round(performance.now() - begun), p95: 0, cpu: 0, bar: 0, ok: 'yes', found: '' };
    return [sums, ...(await asked(ask, ''))];
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

/** A caller among a thousand, an hour of sessions, and by each filter what many, few and no records are of. */
const caller = `${'0'.repeat(13)}07b`;
const filtered: Readonly<Record<string, readonly string[]>> = {
  key: [caller, 'team-3', 'rare-key', 'nobody'], user: ['17', '4242', '999999'], address: ['10.3.0.0/16', '203.0.113.9', '192.0.2.1'], device: ['0'.repeat(61), 'feedface', 'abcdef'], session: ['0'.repeat(29), 'feedface', 'abcdef'], device_id: ['0'.repeat(29), 'feedface', 'abcdef'],
  session_id: ['1e3a', 'feedface', 'abcdef012345'], home_id: ['0'.repeat(29), 'feedface', 'abcdef'], client: ['openai-python', 'rare-client', 'none'], content: ['1e3a', 'feedface', 'abcdef012345'], status: ['200', '5xx', '418', '2xx', '451'], outcome: ['served', 'refused', 'interrupted', 'aborted'],
  model: ['gpt-5*', 'gpt-4', 'rare', 'no-such-model'], route: ['/v1/chat/completions', '/v1/rare', '/v1/none'], target: ['newapi', 'former', 'rare', 'none'], source: ['gate', 'rare', 'none'], username: ['user-17', 'rare-user', 'nobody'], token_name: ['token-123', 'rare-token', 'nobody'], upstream_request_id: ['the-rare-one', 'none'], request_id: ['00000000-0000-7000-8000-000000000000'],
};
const together = ['model=rare&status=4xx', `model=gpt-4&key=${caller}&status=503`, `key=${caller}&address=203.0.113.9`, 'outcome=served&model=gpt-5&target=former', 'status=503&outcome=served&source=gate', 'from=20d&to=19d', 'from=20d&to=19d&model=rare', 'from=29d&to=28d&status=503', 'from=1h', 'to=25d', 'from=12d&key=rare-key'];

/** What the panels and lists ask for, with their bars. */
async function questions(ask: Ask): Promise<readonly (readonly [string, number])[]> {
  const [callers, logs] = [await ask('callers?limit=100'), await ask('logs?limit=100&own=false')];
  const oldest = await ask('logs?limit=100&order=oldest');
  const filters = [...Object.entries(filtered).flatMap(([name, values]) => values.map((value) => `${name}=${encodeURIComponent(value)}`)), ...together];
  return [
    ...['overview', 'findings', 'callers?limit=100', 'logs?limit=100&own=false', 'keys', 'bans', 'targets', 'health', 'config', 'callers/team-3', `callers/${caller}`, 'callers/10.3.17.0%2F24'].map((what) => [what, ofPanels] as const),
    ...['series?from=1h', 'series?from=24h', 'series?from=30d'].map((what) => [what, ofPanels] as const),
    ...[
      `callers?limit=100&cursor=${encodeURIComponent(String(callers['next']))}`, `logs?limit=100&cursor=${String(logs['next'])}`, `logs?limit=100&order=oldest&cursor=${String(oldest['next'])}`, `logs?limit=100&cursor=${middle(logs['next'])}`,
      ...filters.map((filter) => `logs?${filter}`), 'logs?target=none&order=oldest', 'logs?model=rare&order=oldest', 'logs?status=503&order=oldest', `logs?model=rare&cursor=${middle(logs['next'])}`, `logs?key=${caller}&cursor=${middle(logs['next'])}`,
    ].map((what) => [what, ofLists] as const),
  ];
}

/** The position in the middle of all records. */
const middle = (next: unknown): string => (typeof next === 'number' ? String(Math.floor(records / 2)) : uuidOf(Date.now() - (days * 86_400_000) / 2, 0));

/** Blocks of records whose places are known. */
function placed(path: string): number {
  const db = new DatabaseSync(path.replace(/\.db$/, '.sums.db'), { readOnly: true });
  try {
    return Number(db.prepare('SELECT count(*) AS n FROM heimdall_blocks').get()?.['n']);
  } finally {
    db.close();
  }
}

/** Records that the sums hold. */
async function summed(ask: (what: string) => Promise<Record<string, unknown>>): Promise<number> {
  return ((await ask('series?from=31d&step=day'))['requests'] as number[]).reduce((sum, each) => sum + each, 0);
}

/** `cpu`: what one took of this process's processors, milliseconds, which other programs do not change. */
async function timed(what: string, bar: number, work: () => Promise<unknown>): Promise<Row> {
  const times: number[] = [];
  for (let nth = 0; nth < 3; nth++) await work();
  const before = process.cpuUsage();
  for (let nth = 0; nth < rounds; nth++) {
    const begun = performance.now();
    await work();
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  const [median, p95] = [0.5, 0.95].map((share) => Math.round((times[Math.ceil(times.length * share) - 1] as number) * 10) / 10) as [number, number];
  const used = process.cpuUsage(before);
  return { what, median, p95, cpu: Math.round((used.user + used.system) / times.length / 100) / 10, bar, ok: p95 <= bar ? 'yes' : 'NO' };
}

/**
 * Makes a journal by a gate, and fills it with made-up records, whose sums and places are made by what makes them in a gate: a chain over
 * ten million of them would take an hour, and so would a log of what is written.
 */
async function fill(scope: { after(end: () => unknown): void }, config: object, path: string): Promise<void> {
  const first = await startGate(scope, config);
  await first.gate.ready;
  await first.gate.close({ timeout: 0 });
  const db = new DatabaseSync(path);
  const unlogged = (name: string): void => db.exec(`PRAGMA ${name}.journal_mode = MEMORY; PRAGMA ${name}.synchronous = OFF; PRAGMA ${name}.cache_size = -400000`);
  db.exec('PRAGMA locking_mode = EXCLUSIVE');
  unlogged('main');
  const end = Math.floor(Date.now() / 1000);
  const insert = db.prepare(rowsSql);
  for (let from = 1; from <= records; from += chunk) {
    insert.run({ from, to: Math.min(records, from + chunk - 1), begin: end - days * 86_400, spread: (days * 86_400) / records });
    if (from % (4 * chunk) === 1) process.stderr.write(`${from + chunk - 1} records\n`);
  }
  attachSums(db, path);
  unlogged('sums');
  const sums = new Sums(db, []);
  while (sums.update(Date.now(), chunk));
  process.stderr.write('their sums\n');
  const places = new PlaceKeeper(db);
  while (places.step());
  process.stderr.write('their places\n');
  for (const name of ['sums', 'main']) db.exec(`PRAGMA ${name}.journal_mode = WAL`);
  db.close();
}

const rowsSql = `WITH RECURSIVE n(i) AS (SELECT CAST($from AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < $to), r AS (SELECT i, CAST($begin + i * $spread AS INTEGER) AS t, (i * 7919) % 1000 AS who, i % ${rareEvery} = 7 AS rare FROM n)
INSERT INTO heimdall_logs (id, request_id, timestamp, request_method, response_status, response_time, route, client, model, stream, target, attempts, outcome, queue_wait, first_byte, overhead, prompt_tokens, completion_tokens, cost, bytes_in, bytes_out, source, created_at, user_id, token_key, token_id, key_id, session, request_path, real_ip, upstream_request_id, content_fingerprint, device_fingerprint, user_agent, request_headers, request_body, salt, digest, device_id, session_id, home_id)
SELECT i, printf('%08x-%04x-7%03x-8%03x-%012x', (t * 1000) >> 16, (t * 1000) & 65535, i & 4095, who, i), t, 'POST', CASE WHEN rare THEN 418 WHEN i % 50 = 0 THEN 503 WHEN i % 33 = 0 THEN 429 ELSE 200 END, 400 + i % 900, iif(rare, '/v1/rare', '/v1/chat/completions'), iif(rare, 'rare-client/1', 'openai-python/2.3.' || (i % 5)),
  CASE WHEN rare THEN 'rare' ELSE 'gpt-' || (4 + i % 3) || CASE i % 2 WHEN 0 THEN '-mini' ELSE '' END END, i % 2, CASE WHEN rare THEN 'rare' WHEN i <= ${formerly} THEN 'former' ELSE 'newapi' END, 1, CASE WHEN rare THEN 'interrupted' WHEN i % 50 = 0 THEN 'upstream_error' WHEN i % 33 = 0 THEN 'refused:rate_limited' ELSE 'served' END, 0.5, 180.5, 0.3, 900, 120, 0.0021, 1800, 900, iif(rare, 'rare', 'gate'), datetime(t, 'unixepoch'),
  iif(rare, 4242, who % 300), printf('sk-…%04d', who), iif(rare, '${rare(16)}', printf('%016x', who)), CASE WHEN rare THEN 'rare-key' WHEN who < 20 THEN 'team-' || who END, iif(rare, '${rare(32)}', printf('%032x', who * 7)), '/v1/chat/completions', iif(rare, '203.0.113.9', '10.' || (who % 8) || '.' || (i % 250) || '.' || (who % 200)), iif(rare, 'the-rare-one', printf('%016x', i * 2654435761 % 4294967296)), iif(rare, '${rare(32)}', printf('%08x%024x', i * 2654435761 % 4294967296, i)), iif(rare, '${rare(64)}', printf('%064x', who)), 'OpenAI/Python 2.3.' || (i % 5),
  '{"content-type":"application/json","user-agent":"OpenAI/Python 2.3.0","x-stainless-lang":"python","x-stainless-os":"Linux"}', '{"model":"gpt-5","messages":[{"role":"user","content":"a question of usual length, number ' || i || '"}]}', 'c2FsdA', printf('%064x', i), iif(rare, '${rare(32)}', printf('%032x', who)), iif(rare, '${rare(32)}', printf('%08x%024x', (i / 30000 * 1000 + who) * 2654435761 % 4294967296, i / 30000 * 1000 + who)), iif(rare, '${rare(32)}', printf('%032x', who * 3)) FROM r`;

/** The same records, and sums of them in one go: by the sink they would take an hour. */
async function fillPostgres(server: TestPostgres): Promise<void> {
  for (const statement of schemaSql) await server.query(statement);
  const [{ begin = 0 } = {}] = await server.query<{ begin: number }>(`SELECT extract(epoch FROM now())::int - ${days} * 86400 AS begin`);
  await server.query(`SELECT heimdall_partition((to_timestamp(${begin}) AT TIME ZONE 'UTC')::date + nth) FROM generate_series(0, ${days}) AS nth`);
  const indices = ['token', 'key', 'address', 'device', 'time'];
  for (const name of indices) await server.query(`DROP INDEX heimdall_logs_by_${name}`);
  for (let from = 1; from <= records; from += chunk) {
    await server.query(postgresRows(begin, from, Math.min(records, from + chunk - 1)));
    if (from % (4 * chunk) === 1) process.stderr.write(`${from + chunk - 1} records in PostgreSQL\n`);
  }
  await server.query('SELECT heimdall_create()');
  const sums = "count(*), count(*) FILTER (WHERE outcome = 'upstream_error'), count(*) FILTER (WHERE starts_with(outcome, 'refused')), sum(prompt_tokens), sum(completion_tokens), sum(cost)";
  const times = `${sums}, sum(overhead), count(overhead), sum(response_time), sum(first_byte), count(first_byte)`;
  const caller = "CASE WHEN key_id IS NULL THEN 'token' ELSE 'key' END, coalesce(key_id, token_id)";
  await server.query(`INSERT INTO heimdall_minutes SELECT timestamp / 60 * 60, ${times} FROM heimdall_logs GROUP BY 1`);
  await server.query(`INSERT INTO heimdall_hours SELECT timestamp / 3600 * 3600, ${times} FROM heimdall_logs GROUP BY 1`);
  await server.query(`INSERT INTO heimdall_callers SELECT ${caller}, min(timestamp), max(timestamp), ${sums} FROM heimdall_logs GROUP BY 1, 2`);
  await server.query(`INSERT INTO heimdall_caller_hours SELECT ${caller}, timestamp / 3600 * 3600, ${sums} FROM heimdall_logs GROUP BY 1, 2, 3`);
  await server.query(`INSERT INTO heimdall_caller_values SELECT ${caller}, 'models', model, count(*), min(timestamp), max(timestamp) FROM heimdall_logs GROUP BY 1, 2, 4`);
  await server.query('VACUUM ANALYZE');
}

const postgresRows = (begin: number, from: number, to: number): string => `INSERT INTO heimdall_logs (day, request_id, timestamp, request_method, response_status, response_time, route, client, model, stream, target, attempts, outcome, queue_wait, first_byte, overhead, prompt_tokens, completion_tokens, cost, bytes_in, bytes_out, source, user_id, username, token_name, token_key, token_id, key_id, session, request_path, real_ip, upstream_request_id, forwarded_for, content_fingerprint, device_fingerprint, user_agent, request_headers, request_body, device_id, session_id, home_id)
SELECT (to_timestamp(t) AT TIME ZONE 'UTC')::date, left(lpad(to_hex(t * 1000 + i % 1000), 12, '0'), 8) || '-' || right(lpad(to_hex(t * 1000 + i % 1000), 12, '0'), 4) || '-7' || lpad(to_hex(i & 4095), 3, '0') || '-8000-' || lpad(to_hex(i), 12, '0'), t, 'POST', CASE WHEN rare THEN 418 WHEN i % 50 = 0 THEN 503 WHEN i % 33 = 0 THEN 429 ELSE 200 END, 400 + i % 900, CASE WHEN rare THEN '/v1/rare' ELSE '/v1/chat/completions' END, CASE WHEN rare THEN 'rare-client/1' ELSE 'openai-python/2.3.' || i % 5 END,
  CASE WHEN rare THEN 'rare' ELSE 'gpt-' || 4 + i % 3 || CASE i % 2 WHEN 0 THEN '-mini' ELSE '' END END, i % 2, CASE WHEN rare THEN 'rare' WHEN i <= ${formerly} THEN 'former' ELSE 'newapi' END, 1, CASE WHEN rare THEN 'interrupted' WHEN i % 50 = 0 THEN 'upstream_error' WHEN i % 33 = 0 THEN 'refused:rate_limited' ELSE 'served' END, 0.5, 180.5, 0.3, 900, 120, 0.0021, 1800, 900, CASE WHEN rare THEN 'rare' ELSE 'gate' END,
  CASE WHEN rare THEN 4242 ELSE who % 300 END, CASE WHEN rare THEN 'rare-user' ELSE 'user-' || who % 300 END, CASE WHEN rare THEN 'rare-token' ELSE 'token-' || who END, 'sk-…' || who, CASE WHEN rare THEN '${rare(16)}' ELSE lpad(to_hex(who), 16, '0') END, CASE WHEN rare THEN 'rare-key' WHEN who < 20 THEN 'team-' || who END, CASE WHEN rare THEN '${rare(32)}' ELSE lpad(to_hex(who * 7), 32, '0') END, '/v1/chat/completions', CASE WHEN rare THEN '203.0.113.9' ELSE '10.' || who % 8 || '.' || i % 250 || '.' || who % 200 END, CASE WHEN rare THEN 'the-rare-one' ELSE lpad(to_hex(i * 2654435761 % 4294967296), 16, '0') END, '', CASE WHEN rare THEN '${rare(32)}' ELSE lpad(to_hex(i * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(i), 24, '0') END, CASE WHEN rare THEN '${rare(64)}' ELSE lpad(to_hex(who), 64, '0') END, 'OpenAI/Python 2.3.' || i % 5,
  '{"content-type":"application/json","user-agent":"OpenAI/Python 2.3.0","x-stainless-lang":"python","x-stainless-os":"Linux"}', '{"model":"gpt-5","messages":[{"role":"user","content":"a question of usual length, number ' || i || '"}]}', CASE WHEN rare THEN '${rare(32)}' ELSE lpad(to_hex(who), 32, '0') END, CASE WHEN rare THEN '${rare(32)}' ELSE lpad(to_hex((i / 300) * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(i / 300), 24, '0') END, CASE WHEN rare THEN '${rare(32)}' ELSE lpad(to_hex(who * 3), 32, '0') END
FROM (SELECT i, (${begin} + i * ${(days * 86_400) / records})::bigint AS t, (i * 7919) % 1000 AS who, i % ${rareEvery} = 7 AS rare FROM generate_series(${from}::bigint, ${to}) AS i) AS r`;

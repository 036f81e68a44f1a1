import '../support/node.ts';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { schemaSql } from '../../lib/postgres/postgres.ts';
import { postgresSink, type PostgresNeeds } from '../../lib/sinks/postgres.ts';
import { columns } from '../../lib/record/columns.ts';
import type { Delivery, Sink } from '../../types/sink.d.ts';
import { sinkContract } from '../contracts/sink.ts';
import { aRecord } from '../support/fake-journal.ts';
import { startPostgres, withoutPostgres, type TestPostgres } from '../support/postgres.ts';

const root = new URL('../..', import.meta.url).pathname;
let server: TestPostgres;
let databases = 0;

before(async () => {
  if (!withoutPostgres) server = await startPostgres();
});
after(() => server?.close());

interface Place {
  readonly name: string;
  readonly url: string;
  query<Row extends object>(sql: string): Promise<Row[]>;
}

/** An empty database of its own. */
async function place(): Promise<Place> {
  const name = `place_${++databases}`;
  await server.query(`CREATE DATABASE ${name}`);
  return { name, url: server.url.replace(/\/postgres$/, `/${name}`), query: (sql) => server.query(sql, [], name) };
}

const needs: PostgresNeeds = { own: ['/heimdall', '/health'], nameOf: () => null, lacks: () => undefined };

function sinkAt(t: TestContext, url: string, more: Partial<PostgresNeeds> = {}): Sink {
  const sink = postgresSink(url, { ...needs, ...more });
  t.after(() => sink.close?.());
  return sink;
}

const signal = new AbortController().signal;
const idsIn = async ({ query }: Place): Promise<number[]> => (await query<{ request_path: string }>('SELECT request_path FROM heimdall_logs ORDER BY id')).map(({ request_path: path }) => Number(path.split('/').at(-1)));

describe('PostgreSQL', { skip: withoutPostgres }, () => {
  sinkContract('the table', 'kept once', async () => {
    const at = await place();
    return {
      sink: postgresSink(at.url, needs),
      taken: () => idsIn(at),
      fail: () => server.stop(),
      async heal() {
        server.thaw();
        await server.start();
      },
      hang: async () => server.freeze(),
      poison: { request_path: '/v1/poison', response_status: 1e30 },
      secrets: [new URL(at.url).password, decodeURIComponent(new URL(at.url).password)],
    };
  });

  it('has the journal\'s columns, and those the original\'s readers ask for', async (t) => {
    const at = await place();
    await sinkAt(t, at.url).deliver([aRecord(1)], signal);
    const there = (await at.query<{ name: string }>("SELECT attname AS name FROM pg_attribute WHERE attrelid = 'heimdall_logs'::regclass AND attnum > 0")).map(({ name }) => name);
    assert.deepEqual(there.sort(), [...columns.map(({ name }): string => name).filter((name) => name !== 'request_texts'), 'day', 'username', 'token_name', 'charged', 'deleted_at'].sort());
    const [row] = await at.query<Record<string, unknown>>('SELECT * FROM heimdall_logs WHERE deleted_at IS NULL');
    assert.deepEqual([row?.['stream'], row?.['would_refuse'], row?.['queue_wait'], row?.['timestamp'], row?.['user_id'], row?.['created_at'] instanceof Date], ['1', null, 0.25, '1767571200', null, true]);
  });

  it('keeps what text can hold, and marks the rest', async (t) => {
    const at = await place();
    const given = { request_body: '漢字 "quoted" \\u0041 \n', user_agent: 'a\0b', query: `half ${'\ud83d'}`, would_refuse: ['a', 'b'] };
    assert.deepEqual(await sinkAt(t, at.url).deliver([aRecord(1, given)], signal), { kind: 'delivered' });
    const [row] = await at.query<object>('SELECT request_body, user_agent, query, would_refuse FROM heimdall_logs');
    assert.deepEqual(row, { request_body: given.request_body, user_agent: 'a\u2400b', query: 'half \ufffd', would_refuse: 'a,b' });
  });

  it('is shared: many gateways make it at once and write side by side', async (t) => {
    const at = await place();
    const sinks = [1, 2, 3, 4].map(() => sinkAt(t, at.url));
    const kinds = await Promise.all(sinks.map((sink, nth) => sink.deliver([aRecord(nth), aRecord(100)], signal)));
    assert.deepEqual(kinds, Array<Delivery>(4).fill({ kind: 'delivered' }));
    assert.equal((await at.query('SELECT FROM heimdall_logs')).length, 5);
  });

  it('needs no right but to insert, as the guide of the sinks says', async (t) => {
    const at = await place();
    const block = /```sql\n([\s\S]*?)```/.exec(readFileSync(`${root}/lib/sinks/README.md`, 'utf8'))?.[1] ?? '';
    for (const statement of schemaSql) await at.query(statement);
    await at.query(block.replaceAll('heimdall_gate', `role_${at.name}`));
    const url = server.urlOf(`role_${at.name}`, 'change-me', at.name);
    const sink = sinkAt(t, url);
    assert.deepEqual(await sink.deliver([aRecord(1), aRecord(1), aRecord(2)], signal), { kind: 'delivered' });
    await sink.checkpoint?.({ batch: 1, record: 2, time: 3, hash: 'ab', key: 'k', signature: 's' }, signal);
    await sink.checkpoint?.({ batch: 1, record: 2, time: 3, hash: 'ab', key: 'k', signature: 's' }, signal);
    assert.deepEqual((await at.query<object>('SELECT batch, record, hash, signature FROM heimdall_checkpoints')), [{ batch: '1', record: '2', hash: 'ab', signature: 's' }]);
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    t.after(() => client.end());
    for (const sql of ['SELECT * FROM heimdall_logs', 'DELETE FROM heimdall_logs', 'UPDATE heimdall_logs SET outcome = \'x\'', 'TRUNCATE heimdall_checkpoints', 'DROP TABLE heimdall_logs']) {
      await assert.rejects(client.query(sql), { code: '42501' }, sql);
    }
    assert.equal((await at.query('SELECT FROM heimdall_logs')).length, 2);
  });

  it('comes with a file that makes it', () => {
    assert.equal(readFileSync(`${root}/examples/deploy/postgres.sql`, 'utf8').replace(/^--.*\n/gm, ''), `${schemaSql.join(';\n')};\n`);
  });

  it('may be NewAPI\'s own, which gets the columns it has not', async (t) => {
    const at = await place();
    await at.query(`CREATE TABLE heimdall_logs (id bigserial PRIMARY KEY, user_id bigint, token_key varchar(255), request_path varchar(512), request_method varchar(16), real_ip varchar(64), forwarded_for varchar(255), user_agent text,
      request_headers text, request_body text, content_fingerprint varchar(255), device_fingerprint varchar(255), cookies text, response_status bigint, response_time bigint, timestamp bigint NOT NULL, created_at timestamptz, deleted_at timestamptz)`);
    await at.query("INSERT INTO heimdall_logs (request_path, timestamp) VALUES ('/theirs', 1)");
    const sinks = [sinkAt(t, at.url), sinkAt(t, at.url)];
    for (const delivery of await Promise.all(sinks.map((sink) => sink.deliver([aRecord(1)], signal)))) assert.deepEqual(delivery, { kind: 'delivered' });
    assert.equal((await at.query('SELECT FROM heimdall_logs')).length, 2);
  });

  it('goes on in a table of an earlier release, tells once what the role may not add, and takes the rows over', async (t) => {
    const at = await place();
    await at.query('CREATE TABLE heimdall_logs (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, request_id text NOT NULL, timestamp bigint NOT NULL, request_path text, outcome text, response_status bigint, source text, token_id text)');
    await at.query('CREATE UNIQUE INDEX heimdall_logs_request ON heimdall_logs (request_id)');
    await at.query('CREATE TABLE heimdall_checkpoints (signature text PRIMARY KEY)');
    await at.query(`CREATE ROLE old_${at.name} LOGIN PASSWORD 'change-me'; GRANT INSERT ON heimdall_logs TO old_${at.name}`);
    const told: [string, string][] = [];
    const url = server.urlOf(`old_${at.name}`, 'change-me', at.name);
    for (const nth of [1, 2]) {
      const sink = sinkAt(t, url, { lacks: (what, sql) => void told.push([what, sql]) });
      assert.deepEqual(await sink.deliver([aRecord(nth)], signal), { kind: 'delivered' });
      await sink.learn?.([{ request_id: aRecord(nth).request_id, timestamp: aRecord(nth).timestamp, charged: 1 }], signal);
    }
    assert.deepEqual(told.map(([what]) => what.split(', ').at(-1)), ['charged', 'partitions and sums', 'charged', 'partitions and sums']);
    assert.match(told[0]?.[1] ?? '', /^ALTER TABLE heimdall_logs ADD COLUMN IF NOT EXISTS request_method text; .*ADD COLUMN IF NOT EXISTS charged double precision;$/);
    for (const statement of schemaSql) await at.query(statement);
    assert.deepEqual(await at.query<object>('SELECT heimdall_migrate() AS moved'), [{ moved: '2' }]);
    const sink = sinkAt(t, at.url, { nameOf: (kind, id) => (kind === 'token' && id === aRecord(3).token_id ? { username: 'alice', token_name: 'laptop' } : null) });
    await sink.deliver([aRecord(2), aRecord(3)], signal);
    await sink.learn?.([{ request_id: aRecord(3).request_id, timestamp: aRecord(3).timestamp, charged: 0.25 }], signal);
    assert.deepEqual(await at.query<object>('SELECT day::text, request_id, username, token_name, charged FROM heimdall_logs ORDER BY request_id'), [1, 2, 3].map((nth) => ({ day: '2026-01-05', request_id: aRecord(nth).request_id, username: nth === 3 ? 'alice' : null, token_name: nth === 3 ? 'laptop' : null, charged: nth === 3 ? 0.25 : null })));
    assert.deepEqual(await at.query<object>('SELECT id, requests, (SELECT sum(requests) FROM heimdall_minutes) AS minutes FROM heimdall_callers'), [{ id: aRecord(1).token_id, requests: 3, minutes: 3 }]);
    assert.deepEqual(await at.query<object>('SELECT heimdall_migrate() AS moved'), [{ moved: '0' }]);
  });

  it('is made again when somebody has dropped it', async (t) => {
    const at = await place();
    const sink = sinkAt(t, at.url);
    await sink.deliver([aRecord(1)], signal);
    await at.query('DROP TABLE heimdall_logs');
    assert.equal((await sink.deliver([aRecord(2)], signal)).kind, 'held');
    assert.equal((await sink.deliver([aRecord(2)], signal)).kind, 'delivered');
  });

  it('says why it is held, without the password', async (t) => {
    const at = await place();
    const reasons: string[] = [];
    for (const url of [at.url.replace(/:[^:@]+@/, ':a-wrong-one@'), at.url.replace(/\/[^/]+$/, '/nowhere'), 'postgresql://user:a-secret-one@127.0.0.1:1/none', 'postgresql://user:a-secret-one@host.invalid/none']) {
      const delivery = await sinkAt(t, url).deliver([aRecord(1)], signal);
      reasons.push(delivery.kind === 'held' ? delivery.reason : delivery.kind);
    }
    assert.match(reasons[0] ?? '', /^PostgreSQL: password authentication failed for user "postgres" \(28P01\)$/);
    assert.match(reasons[1] ?? '', /^PostgreSQL: database "nowhere" does not exist \(3D000\)$/);
    assert.match(reasons[2] ?? '', /^PostgreSQL cannot be reached \(ECONNREFUSED\)$/);
    assert.match(reasons[3] ?? '', /^PostgreSQL cannot be reached \((?:ENOTFOUND|EAI_AGAIN)\)$/);
  });

  it('refuses for a trigger or a check, and says no more than that', async (t) => {
    const at = await place();
    const sink = sinkAt(t, at.url);
    await sink.deliver([aRecord(1)], signal);
    await at.query("ALTER TABLE heimdall_logs ADD CONSTRAINT sane CHECK (request_method <> 'BREW')");
    await at.query("CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no: %', NEW.request_body; END $$");
    assert.deepEqual(await sink.deliver([aRecord(2, { request_method: 'BREW' })], signal), { kind: 'refused', reason: 'PostgreSQL refused it (23514)' });
    await at.query('CREATE TRIGGER complains BEFORE INSERT ON heimdall_logs FOR EACH ROW EXECUTE FUNCTION complain()');
    assert.deepEqual(await sink.deliver([aRecord(3)], signal), { kind: 'refused', reason: 'PostgreSQL refused it (P0001)' });
  });
});

import '../support/node.ts';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { Journal } from '../../types/journal.d.ts';
import { serve } from '../../lib/index.ts';
import { secretFileOf } from '../../lib/identity/secret.ts';
import { signedText, signerOf } from '../../lib/journal/hash-chain.ts';
import { schemaVersion } from '../../lib/journal/schema.ts';
import { fakeClock } from '../support/clock.ts';
import { request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { bytesOf, journalOf, recorded, sql, verified } from '../support/journal.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, CALLER, chat, startScene } from '../support/scene.ts';
import { nowhere } from '../support/upstream.ts';

const day = 86_400_000;
const outcomes = async (running: RunningGate): Promise<unknown[]> => (await recorded(running.gate)).map((row) => row['outcome']);
const ask = (running: RunningGate, path = '/v1/chat/completions', body: unknown = chat) => request(running.url + path, { method: 'POST', headers: bearer(CALLER), body });

/** The workers that are started while a test runs. */
function workers(t: TestContext): Worker[] {
  const started: Worker[] = [];
  const note = (worker: Worker): void => void started.push(worker);
  process.on('worker', note);
  t.after(() => process.off('worker', note));
  return started;
}

describe('the file', () => {
  it('is made with its directory, for its owner alone, when the first record comes', async (t) => {
    const path = join(temporary(t), 'deep/data/heimdall.db');
    const gate = await startGate(t, { audit: { path } });
    assert.throws(() => statSync(path));
    await request(`${gate.url}/x`);
    await journalOf(gate.gate).flush();
    for (const file of [path, `${path}-wal`, `${path}-shm`]) assert.equal(statSync(file).mode & 0o777, 0o600, file);
    assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
    await gate.gate.close();
    assert.deepEqual([verified(path).records, verified(path).broken], [1, null]);
    assert.equal(sql(path, 'PRAGMA user_version')[0]?.['user_version'], schemaVersion);
  });

  it('is gone on with after a restart, and closes without a request', async (t) => {
    const audit = { path: join(temporary(t), 'heimdall.db') };
    for (let run = 1; run <= 3; run++) {
      const gate = await startGate(t, { audit });
      if (run !== 2) await request(`${gate.url}/x`);
      await gate.gate.close();
    }
    assert.deepEqual([verified(audit.path).records, verified(audit.path).checkpoints], [2, 2]);
  });

  it('that cannot be made leaves the latest records in memory, loudly', async (t) => {
    const path = join(temporary(t), 'file');
    writeFileSync(path, '');
    const gate = await startGate(t, { audit: { path: join(path, 'heimdall.db') }, secret: 'a secret of this test' });
    assert.equal((await request(`${gate.url}/health`)).status, 200);
    await request(`${gate.url}/x`);
    assert.equal((await recorded(gate.gate)).length, 1);
    assert.equal(journalOf(gate.gate).stats().state.kind, 'memory');
    assert.match(String(gate.log.named('journal.memory')[0]?.['reason']), /ENOTDIR|EEXIST/);
  });

  it('of something else is not touched', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    writeFileSync(path, 'no database, but somebody’s text'.repeat(100));
    const gate = await startGate(t, { audit: { path } });
    await request(`${gate.url}/x`);
    assert.equal((await recorded(gate.gate)).length, 1);
    assert.equal(gate.log.named('journal.memory')[0]?.['reason'], 'file is not a database');
    assert.match(readFileSync(path, 'utf8'), /^no database/);
  });

  it('that somebody removes is made anew', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const gate = await startGate(t, { audit: { path } });
    await request(`${gate.url}/x`);
    await journalOf(gate.gate).flush();
    for (const file of [path, `${path}-wal`, `${path}-shm`]) rmSync(file);
    await assert.rejects((journalOf(gate.gate) as Journal & { retain(): Promise<void> }).retain(), /not there any more/);
    await until(() => existsSync(path), 'a new file');
    await request(`${gate.url}/y`);
    await until(async () => (await recorded(gate.gate).catch(() => [])).length > 0, 'a record in it');
    assert.deepEqual(sql(path, 'SELECT request_path FROM heimdall_logs').map((row) => row['request_path']), ['/y']);
  });
});

describe('without its file', () => {
  for (const audit of [{ durability: 'strict' }, { onFull: 'refuse' }] as const) {
    it(`a gate with ${JSON.stringify(audit)} does not start, and embedded refuses model routes alone`, async (t) => {
      const blocked = join(temporary(t), 'file');
      writeFileSync(blocked, '');
      const config = { secret: 'a secret of this test', newapi: { baseUrl: await nowhere() }, audit: { path: join(blocked, 'heimdall.db'), ...audit }, logging: { level: 'silent', file: false }, server: { host: '127.0.0.1', port: 0 } } as const;
      await assert.rejects(serve(config), /audit\.path: expected a database/);
      const gate = await startGate(t, config);
      await assert.rejects(gate.gate.ready, /audit\.path/);
      const refused = await ask(gate);
      assert.deepEqual([refused.status, refused.json<{ error: { code: string } }>().error.code, refused.headers['retry-after']], [503, 'journal_unavailable', '5']);
      assert.equal((await request(`${gate.url}/v1/dashboard/x`)).status, 502);
      assert.equal((await request(`${gate.url}/health/ready`)).status, 503);
    });
  }

  it('requests leave their access lines, and are served and recorded again once it is there', async (t) => {
    const blocked = join(temporary(t), 'file');
    writeFileSync(blocked, '');
    const lines = accessRecords(t);
    const { gate } = await startScene(t, { secret: 'a secret of this test', audit: { path: join(blocked, 'heimdall.db'), durability: 'strict' }, logging: lines.logging });
    await assert.rejects(gate.gate.ready, /audit\.path/);
    assert.equal((await ask(gate)).status, 503);
    assert.equal((await request(`${gate.url}/x`)).status, 404);
    assert.deepEqual((await lines.atLeast(2)).map(({ outcome }) => outcome), ['refused:journal_unavailable', 'served']);
    await until(() => journalOf(gate.gate).stats().waiting === 2, 'both are kept');
    assert.equal(journalOf(gate.gate).stats().state.kind, 'failed');
    rmSync(blocked);
    await until(async () => (await ask(gate)).status === 200, 'the gate serves again');
    const rows = await recorded(gate.gate);
    assert.deepEqual([rows[0]?.['response_status'], rows[1]?.['response_status'], rows.at(-1)?.['response_status']], [503, 404, 200]);
    assert.equal(gate.log.named('journal.failed').length, 1);
  });
});

describe('a worker that ends', () => {
  for (const durability of ['batched', 'strict'] as const) {
    it(`is followed by another that writes what it had not, once (${durability})`, async (t) => {
      const started = workers(t);
      const lines = accessRecords(t);
      const { gate } = await startScene(t, { audit: { durability }, logging: lines.logging });
      await gate.gate.ready;
      for (let round = 0; round < 3; round++) {
        const asked = Array.from({ length: 20 }, () => ask(gate));
        await started.at(-1)?.terminate();
        await Promise.all(asked);
        await until(() => started.length === round + 2, 'another worker');
      }
      const rows = await until(async () => {
        const found = await recorded(gate.gate);
        return found.length >= 60 ? found : null;
      }, 'sixty records');
      assert.equal(rows.length, 60);
      assert.deepEqual(rows.map((row) => row['id']), rows.map((_, at) => at + 1));
      assert.equal(gate.log.named('journal.worker_failed').length, 3);
      const { path } = gate.gate.config.audit;
      assert.deepEqual([verified(path).records, verified(path).broken], [60, null]);
      assert.equal(journalOf(gate.gate).stats().waiting, 0);
      // The line of a request is written before its record: it may come again from the next worker, and is never missing.
      const ids = new Set(rows.map((row) => row['request_id']));
      await until(async () => new Set((await lines.atLeast(60)).map(({ id }) => id)).size === 60, 'sixty lines');
      assert.deepEqual(new Set((await lines.atLeast(60)).map(({ id }) => id)), ids);
    });
  }
});

describe('strict', () => {
  it('has the intent committed before the upstream hears of the request', async (t) => {
    const { gate, primary } = await startScene(t, { audit: { durability: 'strict' } });
    const { path } = gate.gate.config.audit;
    await primary.script([{ kind: 'hang', at: 'headers' }]);
    const answer = ask(gate);
    await until(() => primary.calls.length > 0, 'the upstream is asked');
    const [intent, ...more] = sql(path, 'SELECT draft FROM heimdall_intents');
    const { outcome, route, model, token_id: token } = JSON.parse(String(intent?.['draft'])) as Record<string, unknown>;
    assert.deepEqual([outcome, route, model, typeof token, more], ['interrupted', '/v1/chat/completions', 'gpt-4o-mini', 'string', []]);
    assert.equal((await answer).status, 504);
    assert.deepEqual(await outcomes(gate), ['upstream_error']);
    assert.deepEqual(sql(path, 'SELECT * FROM heimdall_intents'), []);
  });
});

describe('what was in hand at a crash', () => {
  it('is recorded as interrupted by the next run, and chained', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const { gate } = await startScene(t, { audit: { path, durability: 'strict' } });
    await ask(gate);
    await journalOf(gate.gate).flush();
    const [row] = sql(path, 'SELECT * FROM heimdall_logs');
    const draft = { ...row, request_id: '01900000-0000-7000-8000-000000000001', outcome: 'interrupted', response_status: 0 };
    const [id, session, text] = [draft.request_id, 'of an earlier run', JSON.stringify(draft)];
    const signer = signerOf(readFileSync(secretFileOf(path), 'utf8').trim());
    sql(path, 'INSERT INTO heimdall_intents (request_id, session, draft, mac) VALUES (?, ?, ?, ?)', id, session, text, signer.mac(signedText.intent(id, session, text)));
    await gate.gate.close();
    const next = await startGate(t, { audit: { path } });
    await next.gate.ready;
    assert.deepEqual(next.log.named('journal.interrupted').map((fields) => fields['records']), [1]);
    const rows = await recorded(next.gate);
    assert.deepEqual(rows.map(({ outcome, response_status: status, real_ip: ip, id }) => ({ outcome, status, ip, id })), [{ outcome: 'served', status: 200, ip: '127.0.0.1', id: 1 }, { outcome: 'interrupted', status: 0, ip: '127.0.0.1', id: 2 }]);
    assert.equal(verified(path).broken, null);
  });
});

describe('what is old', () => {
  it('loses its bodies, then goes, by the gate’s own clock', async (t) => {
    const clock = fakeClock();
    const path = join(temporary(t), 'heimdall.db');
    const scene = await startScene(t, { audit: { path } });
    await scene.gate.gate.close();
    const gate = await startGate(t, { audit: { path }, newapi: { baseUrl: scene.primary.url } }, { clock });
    const journal = journalOf(gate.gate) as Journal & { retain(): Promise<void> };
    await ask(gate);
    assert.match(String((await recorded(gate.gate))[0]?.['request_body']), /one two three/);
    clock.tick(8 * day);
    await journal.retain();
    assert.deepEqual((await recorded(gate.gate)).map((row) => row['request_body']), [null]);
    assert.ok(!bytesOf(path).includes('one two three'));
    clock.tick(23 * day);
    await journal.retain();
    assert.deepEqual(await recorded(gate.gate), []);
    assert.equal(verified(path).broken, null);
    await gate.gate.close();
    assert.equal(clock.pending, 0);
  });
});

describe('the size', () => {
  it('is kept within its bound, the oldest records going first and counted', async (t) => {
    const scene = await startScene(t, { audit: { maxSize: '1MB', capture: { body: '64KB' } } });
    const long = { ...chat, messages: [{ role: 'user', content: 'many words '.repeat(4000) }] };
    const journal = journalOf(scene.gate.gate) as Journal & { retain(): Promise<void> };
    for (let round = 0; round < 60; round++) {
      await ask(scene.gate, '/v1/chat/completions', long);
      // What goes goes in whole batches.
      if (round % 2 === 1) await journal.flush();
    }
    await journal.retain();
    const rows = await recorded(scene.gate.gate);
    const { size } = journal.stats().dropped;
    assert.ok(rows.length > 5 && rows.length < 40, `${rows.length}`);
    assert.equal(size + rows.length, 60);
    assert.equal(rows.at(-1)?.['id'], 60);
    assert.equal(verified(scene.gate.gate.config.audit.path).broken, null);
    assert.equal(scene.gate.log.named('journal.dropped')[0]?.['reason'], 'size');
  });
});

describe('forgetting', () => {
  it('takes an address out of every byte, and the chain verifies', async (t) => {
    const { gate } = await startScene(t, { audit: {}, trustProxy: ['loopback'] });
    const from = (ip: string) => request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: { ...bearer(CALLER), 'X-Forwarded-For': ip }, body: { ...chat, user: `who ${ip} is` } });
    for (const ip of ['192.0.2.77', '198.51.100.1', '192.0.2.77']) await from(ip);
    await journalOf(gate.gate).flush();
    const { path } = gate.gate.config.audit;
    assert.ok(bytesOf(path).includes('192.0.2.77'));
    assert.equal(await journalOf(gate.gate).forget({ kind: 'address', value: '192.0.2.77' }), 2);
    assert.ok(!bytesOf(path).includes('192.0.2.77'));
    assert.deepEqual((await recorded(gate.gate)).map((row) => row['real_ip']), ['', '198.51.100.1', '']);
    assert.deepEqual([verified(path).erased, verified(path).broken], [2, null]);
  });

  it('knows a key by its name, its identity and itself', async (t) => {
    const { gate } = await startScene(t, { audit: {} });
    await ask(gate);
    const [row] = await recorded(gate.gate);
    assert.equal(await journalOf(gate.gate).forget({ kind: 'key', value: `Bearer ${CALLER}` }), 1);
    await ask(gate);
    assert.equal(await journalOf(gate.gate).forget({ kind: 'key', value: String(row?.['token_id']) }), 1);
    assert.deepEqual((await recorded(gate.gate)).map((each) => [each['token_id'], each['token_key']]), [[null, null], [null, null]]);
  });
});

it('a directory in the place of the file is no reason to fail', async (t) => {
  const path = join(temporary(t), 'heimdall.db');
  mkdirSync(path);
  const gate = await startGate(t, { audit: { path } });
  assert.equal((await request(`${gate.url}/health`)).status, 200);
  await gate.gate.ready;
  assert.equal(journalOf(gate.gate).stats().state.kind, 'memory');
});
